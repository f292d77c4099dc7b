"""`saccade convert`: tensors come through unchanged; what asks for code, memory or time is refused, without effect."""

import hashlib
import json
import os
import pickle
import struct
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from saccade.classify.classifier import open_classifier, open_member
from saccade.classify.judge import pass_over
from saccade.core.errors import UsageError, WeightsError
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.data.source import open_source
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.weights import convert as conversion
from saccade.weights.convert import ConvertRequest, convert
from saccade.weights.convert_child import Refused, plain_tensors
from saccade.weights.public import find_weights, load_backbone
from saccade.weights.tensors import match_names, tensor_shapes

MODEL = "squeezenet1.1"
CIFAR = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
DAMAGED = "It is truncated, damaged or no state dict; take another one."


def network(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build_model(MODEL, ModelSpec(num_classes=5, input_CHW=(3, 224, 224))).eval()


def refused(path: Path, time_limit_s: int = 60) -> str:
    out = path.parent / "out.safetensors"
    with pytest.raises(WeightsError) as error:
        convert(ConvertRequest(path=path, model=MODEL, out=out, time_limit_s=time_limit_s))
    assert not out.exists()
    assert len(error.value.message.splitlines()) <= 4
    return error.value.message


def test_a_pickle_comes_back_as_the_same_network_with_its_card(saccade: Callable, tmp_path: Path):
    ours, pickle = network(), tmp_path / "weights.pth"
    torch.save({"state_dict": ours.state_dict(), "epoch": 3}, pickle)
    preprocessing = Preprocessing(resize_px=72, input_height_px=64, input_width_px=64)
    (tmp_path / "p.json").write_text(preprocessing.model_dump_json())
    (tmp_path / "c.json").write_text('["a", "b", "c", "d", "e"]')
    out = tmp_path / "new" / "w.safetensors"
    card = ["--preprocessing", tmp_path / "p.json", "--classes", tmp_path / "c.json", "--licence", "MIT"]
    done = saccade("convert", pickle, "--model", MODEL, "--out", out, *card, "--source", "a lab", "--json")
    assert (done.status, done.errors) == (0, "")
    answer = json.loads(done.output)
    assert answer["original_sha256"] == hashlib.sha256(pickle.read_bytes()).hexdigest()
    assert answer["sha256"] == hashlib.sha256(out.read_bytes()).hexdigest()
    assert {"processor time", "file size", "open files"} <= set(answer["enforced"])
    weights = find_weights(str(out), MODEL)
    assert (weights.preprocessing, weights.classes, weights.num_classes) == (preprocessing, tuple("abcde"), 5)
    assert (weights.licence, weights.source, weights.notes) == ("MIT", "a lab", ())
    image_BCHW = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        assert torch.equal(load_backbone(weights).eval()(image_BCHW), ours(image_BCHW))
    assert list(out.parent.iterdir()) == [out]


def test_public_names_stay_and_old_pickles_are_read(shared: Callable[[str], Path], tmp_path: Path):
    public = load_file(shared("weights/squeezenet1_1") / "model.safetensors")
    torch.save(OrderedDict(public), tmp_path / "old.pth", _use_new_zipfile_serialization=False)
    request = ConvertRequest(path=tmp_path / "old.pth", model=MODEL, out=tmp_path / "new.safetensors")
    converted = convert(request)
    assert (converted.num_tensors, converted.weights.source) == (len(public), "old.pth")
    written = load_file(request.out)
    assert written.keys() == public.keys()
    assert all(torch.equal(written[name], tensor) for name, tensor in public.items())


class Command:
    """What an attacker puts into a pickle: os.system is called when it is opened."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.command,)


def test_a_pickle_that_asks_for_a_command_is_refused_and_nothing_happens(tmp_path: Path):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    torch.save({"state_dict": network().state_dict(), "more": Command(f"touch {trace}")}, path)
    assert refused(path) == (
        f"{path} is not converted: it asks for 'posix.system', which is code and no tensor; it was not run.\n"
        "A whole network was saved instead of its state_dict, or the file is made to do harm."
    )
    assert not trace.exists()
    torch.load(path, weights_only=False)  # the file is real: opened without care, it acts
    assert trace.exists()


def test_an_archive_of_images_is_told_before_the_preprocessing_that_it_has_none_of(tmp_path: Path):
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("cat/1.jpg", b"x")
    with pytest.raises(WeightsError) as error:  # a network whose public files say no preprocessing
        convert(ConvertRequest(path=path, model="lenet5", out=tmp_path / "out.safetensors"))
    assert error.value.message == (
        f"{path} is a zip archive, but not one that torch.save wrote: it holds no weights.\n"
        f"Give the weight file itself; images are read from the folder that they are unpacked to."
    )


def test_truncated_files_and_wrong_tensors(tmp_path: Path):
    path = tmp_path / "w.pth"
    torch.save(network().state_dict(), path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    message = refused(path)
    assert message.startswith(f"{path} cannot be opened: RuntimeError: PytorchStreamReader failed reading zip archive")
    assert message.endswith(f"\n{DAMAGED}")
    tensors = network().state_dict()
    tensors["head.convolution.bias"][2] = torch.nan
    torch.save(tensors, path)
    assert refused(path) == (
        f"{path}: the tensor 'head.convolution.bias' holds values that are not finite.\n"
        "The file is damaged or its training diverged; take another one."
    )


def test_weights_of_another_network_are_refused_by_the_name_of_the_pickle(saccade: Callable, tmp_path: Path):
    path, out = tmp_path / "w.pth", tmp_path / "w.safetensors"
    torch.save(network().state_dict(), path)
    done = saccade("convert", path, "--model", "squeezenet1.0", "--out", out)
    assert (done.status, done.output) == (1, "")
    first, second = done.errors.splitlines()
    assert first.startswith(f"error: {path} lacks 18 of the network's 52 tensors: 'stages.")
    assert second == "These look like the weights of squeezenet1.1, not of squeezenet1.0."
    assert not out.exists()


def test_tensors_larger_than_their_file_are_refused_before_they_are_made(tmp_path: Path):
    path = tmp_path / "huge.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 40)}, path)
    assert refused(path) == (
        f"{path} is not converted: its tensors would be larger than the file.\n"
        "Save the network's state_dict with torch.save, alone or under the key 'state_dict' or 'model'."
    )


def test_a_pickle_that_never_ends_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A key of 60 pairs in pairs, 300 bytes: its hash takes 2**60 steps."""
    torch.save(network().state_dict(), tmp_path / "w.pth")
    path = tmp_path / "slow.pth"
    with zipfile.ZipFile(tmp_path / "w.pth") as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.infolist():
            pairs = b"\x80\x02})q\x00" + b"h\x00\x86q\x00" * 60 + b"K\x01s."
            target.writestr(entry.filename, pairs if entry.filename.endswith("data.pkl") else source.read(entry))
    assert refused(path, time_limit_s=1) == (
        f"{path} could not be opened in 1 s; the process that tried was stopped.\n"
        "The file is damaged or made to hang; take another one."
    )
    monkeypatch.setattr(conversion, "PROCESSOR_S", 2)  # in place of 10
    assert refused(path, time_limit_s=600) == (
        f"Opening {path} took more than 2 s of processor time, which no state dict of its size needs; "
        "the process that tried was stopped.\n"
        "The file is damaged or made to hang; take another one."
    )


LEGACY = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({}, 2)


@pytest.mark.parametrize(
    ("instructions", "reason"),
    [
        (b"q\x00" * 3_000_000, "its pickle has more than 2,000,000 instructions, the most that are read"),
        (
            b"B" + struct.pack("<I", 1 << 31),
            "it names its tensors in more than 16,777,216 bytes, the most that are read",
        ),
        (b"N0" * 40_000_000, "its pickle has more than 2,000,000 instructions, the most that are read"),
        (b"V" + b"a" * 40_000_000, "it names its tensors in more than 16,777,216 bytes, the most that are read"),
    ],
)
def test_a_long_pickle_in_the_format_before_1_6_is_counted_and_not_run(
    tmp_path: Path, instructions: bytes, reason: str
):
    path = tmp_path / "old.pth"
    path.write_bytes(LEGACY + b"\x80\x02N" + instructions)
    assert refused(path, time_limit_s=100) == (
        f"{path} is not converted: {reason}.\n"
        "Save the network's state_dict with torch.save, alone or under the key 'state_dict' or 'model'."
    )


@pytest.mark.parametrize("protocol", range(2, 6))
def test_a_pickle_that_torch_did_not_write_is_called_one(tmp_path: Path, protocol: int):
    path, trace = tmp_path / "evil.pth", tmp_path / "trace"
    path.write_bytes(pickle.dumps(Command(f"touch {trace}"), protocol))
    assert refused(path) == (
        f"{path} is a Python pickle, but not one that torch.save wrote; nothing of it was run.\n"
        "Save the network's state_dict with torch.save, with the defaults for its format."
    )
    assert not trace.exists()


def rezipped(path: Path, method: int, extra_bytes: int = 0) -> Path:
    """The entries of a zip that torch wrote, stored by another method; the pickle longer by opcodes without effect."""
    torch.save(network().state_dict(), path)
    packed = path.with_name("packed.pth")
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(packed, "w", method) as target:
        for entry in source.infolist():
            content = source.read(entry)
            if entry.filename.endswith("data.pkl"):
                content = content[:2] + b"N0" * (extra_bytes // 2) + content[2:]
            target.writestr(entry.filename, content)
    return packed


def test_a_compressed_zip_is_refused_before_it_is_unpacked(tmp_path: Path):
    """Deflated, 100 KB of a pickle that does nothing for an hour would hold the child until its time is over."""
    path = rezipped(tmp_path / "w.pth", zipfile.ZIP_DEFLATED, 100 << 20)
    assert path.stat().st_size < 6_000_000
    message = refused(path)
    assert message == (
        f"{path} is not converted: its entry 'w/data.pkl' is compressed, which torch.save never does.\n"
        "Save the network's state_dict with torch.save, alone or under the key 'state_dict' or 'model'."
    )


def test_a_pickle_that_is_longer_than_any_is_refused(tmp_path: Path):
    path = rezipped(tmp_path / "w.pth", zipfile.ZIP_STORED, 17 << 20)
    assert refused(path).startswith(f"{path} is not converted: it names its tensors in 17,8")


def test_files_that_are_no_pickles_are_refused_without_a_child(tmp_path: Path):
    path = tmp_path / "w.pth"
    assert refused(path) == f"There is no weight file {path}.\nCheck the path and its spelling."
    path.write_bytes(b"<html>not found</html>")
    assert refused(path) == (
        f"{path} is not a file that torch.save wrote.\nIf it is safetensors already, use it as it is."
    )
    assert refused(tmp_path) == f"{tmp_path} is not a file.\nGive the .pth file itself."
    with pytest.raises(UsageError) as error:
        convert(ConvertRequest(path=path, model=MODEL, out=tmp_path / "w.bin"))
    assert str(error.value) == (
        f"--out must end in .safetensors, or be a new folder without an ending, got {tmp_path / 'w.bin'}."
    )
    with pytest.raises(UsageError) as error:
        convert(ConvertRequest(path=path, model=MODEL, out=tmp_path))
    assert str(error.value) == f"--out {tmp_path} is there already; name a new folder."


def test_a_checkpoint_made_of_a_pickle_answers_like_a_run(tmp_path: Path):
    """Small ResNets under their public names, in two wrappers, as the `.th` files of CIFAR's have them."""
    torch.manual_seed(0)
    ours = build_model("resnet20", CIFAR).eval()
    torch.save({"state_dict": public_names(ours.state_dict()), "best_prec1": 91.0}, tmp_path / "w.th")
    (tmp_path / "p.json").write_text('{"resize_px": null, "input_height_px": 32, "input_width_px": 32}')
    asked = ConvertRequest(
        path=tmp_path / "w.th",
        model="resnet20",
        out=tmp_path / "run",
        preprocessing=tmp_path / "p.json",
        licence="BSD-2-Clause",
    )
    converted = convert(asked)
    member = open_member(tmp_path / "run")
    assert member.classes == tuple("0123456789")
    assert (converted.weights.licence, converted.weights.model) == ("BSD-2-Clause", "resnet20")
    image_BCHW = torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected_BK = ours(normalize(image_BCHW, Preprocessing(), torch.float32))
    torch.testing.assert_close(member.logits(image_BCHW), expected_BK)


def test_real_cifar_networks_go_through_and_answer_as_an_independent_translation_does(shared: Callable, tmp_path: Path):
    """81.3 % of the first 2,000 test images (the README beside the files), whatever a library of JPEG rounds: 1 %."""
    (tmp_path / "p.json").write_text('{"resize_px": null, "input_height_px": 32, "input_width_px": 32}')
    asked = ConvertRequest(
        path=shared("weights/cifar_resnets") / "resnet20-12fca82f.th",
        model="resnet20",
        out=tmp_path / "run",
        preprocessing=tmp_path / "p.json",
    )
    convert(asked)
    source = open_source(str(shared("data/cifar10-jpeg")))
    index_N = np.array([i for i in range(len(source)) if source.record(i).split == "test"][:2000])
    answers = pass_over(open_classifier(tmp_path / "run"), source, index_N)
    right_N = answers.probability_NK.argmax(1) == answers.label_N
    assert float(right_N.mean()) == pytest.approx(0.813, abs=0.01)


def public_names(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """As CIFAR's files name them, in front of it what DataParallel and a wrapper write."""
    words = {
        "stem.convolution.": "conv1.",
        "stem.norm.": "bn1.",
        "stages.stage": "layer",
        "convolution1.convolution.": "conv1.",
        "convolution2.convolution.": "conv2.",
        "convolution1.norm.": "bn1.",
        "convolution2.norm.": "bn2.",
        "shortcut.convolution.": "shortcut.0.",
        "shortcut.norm.": "shortcut.1.",
        "head.": "linear.",
    }
    renamed = {}
    for name, tensor in tensors.items():
        for ours, theirs in words.items():
            name = name.replace(ours, theirs)
        renamed[f"module.model.{name}"] = tensor
    return renamed


@pytest.mark.parametrize("name", ["resnet20", "resnet56", "resnet20-projection", "plain20"])
def test_small_networks_are_read_under_their_public_names(name: str):
    ours = tensor_shapes(build_model(name, CIFAR))
    theirs = public_names({tensor: torch.zeros(1) for tensor in ours})
    names, unused = match_names(list(theirs), ours, MODELS.get(name).rename_key)
    assert list(names.values()) == list(ours)
    assert not unused


@pytest.mark.parametrize(
    ("loaded", "why"),
    [
        ([torch.ones(1)], "it holds a list, no state dict"),
        (3, "it holds an int, no state dict"),
        ({}, "it is empty"),
        ({"state_dict": {"a": torch.ones(1), "b": "text"}}, "its entry 'b' is a str, no tensor"),
        ({"optimizer": {}, "a": torch.ones(1)}, "its entry 'optimizer' is a dict, no tensor"),
        ({"a": torch.eye(2).to_sparse()}, "it holds sparse, quantised or absent tensors, not only plain ones"),
        ({"a": torch.empty(2, device="meta")}, "it holds sparse, quantised or absent tensors, not only plain ones"),
    ],
)
def test_what_is_no_state_dict(loaded: object, why: str):
    with pytest.raises(Refused) as error:
        plain_tensors(loaded, torch, 1000)
    assert str(error.value) == why


def test_tensors_that_share_memory_or_lie_crosswise_become_plain():
    base = torch.arange(6.0).reshape(2, 3)
    plain = plain_tensors({"model": {"a": base, "b": base.T, "c": torch.nn.Parameter(base[0])}}, torch, 1000)
    assert [tensor.tolist() for tensor in plain.values()] == [
        [[0, 1, 2], [3, 4, 5]],
        [[0, 3], [1, 4], [2, 5]],
        [0, 1, 2],
    ]
    assert all(tensor.is_contiguous() and not tensor.requires_grad for tensor in plain.values())
    assert len({tensor.data_ptr() for tensor in plain.values()}) == 3


def test_what_was_assumed_of_the_pixels_goes_into_the_card_and_is_said_by_whoever_reads_it(tmp_path: Path):
    torch.save(network().state_dict(), tmp_path / "w.pth")
    converted = convert(ConvertRequest(path=tmp_path / "w.pth", model=MODEL, out=tmp_path / "w.safetensors"))
    with safe_open(tmp_path / "w.safetensors", "pt") as file:
        assert Preprocessing.model_validate_json(file.metadata()["saccade.preprocessing"]) == Preprocessing(
            resize_px=256
        )
    assert converted.weights.preprocessing == Preprocessing(resize_px=256)
    assert converted.weights.notes[0] == (
        "w.pth does not say how pixels become inputs; assumed as for torchvision's public files: short side to 256, "
        "centre 224x224, bilinear, ImageNet's mean and deviation. Another one: --preprocessing FILE.json."
    )


def test_every_public_network_is_accepted_by_its_shapes():
    """Without data: the shapes of every network whose weights are public are those of that network, and its classes."""
    from saccade.weights.public import _check_architecture, _expected_of

    for name in MODELS:
        architecture = MODELS.get(name)
        if architecture.rename_key is None:
            continue
        _, height_px, width_px = architecture.default_spec.input_CHW
        preprocessing = Preprocessing(input_height_px=height_px, input_width_px=width_px)
        shapes = _expected_of(architecture, ModelSpec(num_classes=11, input_CHW=preprocessing.input_CHW))
        assert _check_architecture(architecture, preprocessing, shapes, Path(name)) == 11
