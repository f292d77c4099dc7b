"""`saccade convert`: tensors come through unchanged; what asks for code, memory or time is refused, without effect."""

import hashlib
import json
import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from saccade.core.errors import UsageError, WeightsError
from saccade.core.types import Preprocessing
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.weights.convert import ConvertRequest, convert
from saccade.weights.convert_child import Refused, plain_tensors
from saccade.weights.public import find_weights, load_backbone

MODEL = "squeezenet1.1"
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


def test_a_pickle_that_never_ends_is_stopped(tmp_path: Path):
    path = tmp_path / "slow.pth"
    path.write_bytes(b"\x80\x02N" + b"q\x00" * 40_000_000)  # remember None, and again
    assert refused(path, time_limit_s=3) == (
        f"{path} could not be opened in 3 s; the process that tried was stopped.\n"
        "The file is damaged or made to hang; take another one."
    )


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
        f"{path} is no file that torch.save wrote.\nIf it is safetensors already, use it as it is."
    )
    assert refused(tmp_path) == f"{tmp_path} is no file.\nGive the .pth file itself."
    with pytest.raises(UsageError) as error:
        convert(ConvertRequest(path=path, model=MODEL, out=tmp_path / "w.bin"))
    assert str(error.value) == f"--out must end in .safetensors, got {tmp_path / 'w.bin'}."


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
        shapes = _expected_of(architecture, ModelSpec(num_classes=11, input_CHW=(3, 224, 224)))
        assert _check_architecture(architecture, Preprocessing(resize_px=256), shapes, Path(name)) == 11
