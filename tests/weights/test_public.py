"""Where weights come from, what their card says, and what is said of files that do not fit."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from saccade.core.errors import ConfigError, SaccadeError, UnknownNameError, WeightsError
from saccade.core.types import Preprocessing
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.weights.card import public_preprocessing
from saccade.weights.public import find_weights, head_outputs, load_backbone, network_of_weights

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))
ASSUMED = (
    "{} does not say how pixels become inputs; assumed as for torchvision's public files: short side to 256, "
    "centre 224x224, bilinear, ImageNet's mean and deviation. Another one: --preprocessing FILE.json."
)
NO_LICENCE = "{} does not say under which licence it may be used; ask where you got it."


def save(folder: Path, model: str, num_classes: int = 7, metadata: dict[str, str] | None = None) -> Path:
    """A file of `model` under our own names."""
    torch.manual_seed(0)
    spec = ModelSpec(num_classes=num_classes, input_CHW=MODELS.get(model).default_spec.input_CHW)
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: tensor.contiguous() for name, tensor in build_model(model, spec).state_dict().items()}
    save_file(tensors, folder / "model.safetensors", metadata=metadata)
    return folder / "model.safetensors"


def refused(text: Path | str, model: str, preprocessing: Path | None = None) -> str:
    with pytest.raises(SaccadeError) as error:
        find_weights(str(text), model, preprocessing)
    assert 1 <= len(error.value.message.splitlines()) <= 4
    return error.value.message


@pytest.mark.parametrize(
    ("text", "model", "remedy"),
    [
        (
            "IMAGENET1K_V2",
            "resnet18",
            "Of resnet18 it has resnet18.a1_in1k, resnet18.tv_in1k, resnet18.fb_swsl_ig1b_ft_in1k: "
            "--weights resnet18.a1_in1k",
        ),
        (
            "ResNet50_Weights.DEFAULT",
            "",
            "Of resnet50 it has resnet50.a1_in1k, resnet50.tv2_in1k, resnet50.tv_in1k and more: "
            "--weights resnet50.a1_in1k",
        ),
        ("imagenet", "", "Name a network, as --backbone resnet18 without --weights"),
    ],
)
def test_a_word_that_other_libraries_take_for_weights_is_told_with_the_weights_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, model: str, remedy: str
):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError) as error:
        find_weights(text, model) if model else network_of_weights(text)
    assert error.value.message == (
        f"There is no weight file {text}, and the table of public weights has no such name.\n"
        f"{remedy}; or leave both out. 'saccade weights' lists all."
    )


def test_a_folder_of_real_weights_with_its_classes(shared: Callable[[str], Path]):
    folder = shared("weights/squeezenet1_1")
    weights = find_weights(str(folder), "squeezenet1.1")
    path = folder / "model.safetensors"
    assert (weights.path, weights.model, weights.num_classes) == (path, "squeezenet1.1", 1000)
    assert weights.preprocessing == Preprocessing(resize_px=256)
    names = json.loads((folder / "imagenet_classes.json").read_text())
    assert [(k, name) for k, name in enumerate(names) if names.count(name) > 1] == [
        (134, "crane"),
        (517, "crane"),
        (638, "maillot"),
        (639, "maillot"),
    ]  # a bird and a machine, two kinds of swimsuit: the answers say which
    told = {134: "crane (134)", 517: "crane (517)", 638: "maillot (638)", 639: "maillot (639)"}
    assert weights.classes == tuple(told.get(number, name) for number, name in enumerate(names))
    assert (weights.licence, weights.source) == ("", "squeezenet1_1/model.safetensors")
    assert weights.notes == (ASSUMED.format(path), NO_LICENCE.format(path))
    network, tensors = load_backbone(weights), load_file(path)
    assert isinstance(network, nn.Module)
    assert torch.equal(network.state_dict()["head.convolution.weight"], tensors["classifier.1.weight"])


def test_the_only_weight_file_of_a_folder_has_its_card_however_it_is_named(tmp_path: Path):
    path = save(tmp_path, "squeezenet1.1").rename(tmp_path / "squeeze.safetensors")
    config = {"input_size": [3, 96, 96], "crop_pct": 1.0, "interpolation": "bicubic", "license": "mit"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    one, other = (find_weights(str(text), "squeezenet1.1") for text in (tmp_path, path))
    assert one.preprocessing == other.preprocessing
    assert (one.preprocessing.input_height_px, one.preprocessing.interpolation, one.licence) == (96, "bicubic", "mit")
    (tmp_path / "second.safetensors").write_bytes(path.read_bytes())
    several = find_weights(str(path), "squeezenet1.1")
    assert several.notes[:2] == (
        f"{tmp_path / 'config.json'} is not used: 2 weight files lie beside it.",
        ASSUMED.format(path),
    )


def test_the_card_in_the_file_and_the_card_given_come_before_the_one_beside_it(tmp_path: Path):
    own = Preprocessing(resize_px=64, input_height_px=56, input_width_px=56)
    metadata = {
        "saccade.preprocessing": own.model_dump_json(),
        "saccade.classes": json.dumps(list("abcdefg")),
        "saccade.licence": "BSD-3-Clause",
        "saccade.source": "made here",
    }
    path = save(tmp_path, "resnet18", metadata=metadata)
    (tmp_path / "config.json").write_text(json.dumps({"pretrained_cfg": {"input_size": [3, 32, 32], "license": "x"}}))
    weights = find_weights(str(path), "resnet18")
    assert (weights.preprocessing, weights.classes, weights.num_classes) == (own, tuple("abcdefg"), 7)
    assert (weights.licence, weights.source, weights.notes) == ("BSD-3-Clause", "made here", ())
    (tmp_path / "given.json").write_text('{"resize_px": 300}')
    given = find_weights(str(path), "resnet18", tmp_path / "given.json")
    assert given.preprocessing == Preprocessing(resize_px=300)


def test_timms_card(tmp_path: Path):
    # resnet50.a1_in1k's entries, with other names; timm resizes to floor(224 / 0.95) = 235.
    card = {
        "architecture": "resnet18",
        "label_names": list("abcdefg"),
        "pretrained_cfg": {
            "input_size": [3, 224, 224],
            "interpolation": "bicubic",
            "crop_pct": 0.95,
            "crop_mode": "center",
            "mean": [0.5, 0.4, 0.3],
            "std": [0.2, 0.3, 0.4],
            "license": "apache-2.0",
        },
    }
    path = save(tmp_path, "resnet18")
    (tmp_path / "config.json").write_text(json.dumps(card))
    weights = find_weights(str(tmp_path), "resnet18")
    assert weights.preprocessing == Preprocessing(
        resize_px=235, interpolation="bicubic", mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.4)
    )
    assert (weights.classes, weights.licence, weights.notes) == (tuple("abcdefg"), "apache-2.0", ())
    card["pretrained_cfg"] |= {"crop_mode": "squash", "crop_pct": 1.0}
    (tmp_path / "config.json").write_text(json.dumps(card))
    assert find_weights(str(path), "resnet18").preprocessing.resize_px is None
    card["pretrained_cfg"] |= {"crop_mode": "border"}
    (tmp_path / "config.json").write_text(json.dumps(card))
    bordered = find_weights(str(path), "resnet18").preprocessing
    assert (bordered.fit, bordered.resize_px, bordered.input_CHW) == ("pad", None, (3, 224, 224))
    card["pretrained_cfg"] |= {"crop_pct": 0.9}
    (tmp_path / "config.json").write_text(json.dumps(card))
    assert refused(tmp_path, "resnet18") == (
        f"{tmp_path}/config.json asks for preprocessing that Saccade does not have: crop_mode 'border' with crop_pct "
        "0.9 at 224x224.\nGive a JSON file of it with --preprocessing."
    )


def test_the_licence_of_a_readme_and_classes_that_do_not_fit(tmp_path: Path):
    path = save(tmp_path, "resnet18")
    (tmp_path / "README.md").write_text("---\ntags: [a]\nlicense: mit\n---\nlicense: no\n")
    (tmp_path / "classes.json").write_text('["a", "b"]')
    weights = find_weights(str(path), "resnet18")
    assert (weights.licence, weights.classes) == ("mit", ())
    assert weights.notes == (
        ASSUMED.format(path),
        f"{path}: 2 class names for 7 outputs; the names are not used.",
    )


def test_public_googlenet_wants_other_pixels_and_may_lack_its_side_branches(tmp_path: Path):
    path = save(tmp_path, "googlenet-bn3x3")
    whole = find_weights(str(path), "googlenet-bn3x3")
    assert whole.preprocessing == Preprocessing(resize_px=256, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    assert whole.num_classes == 7
    tensors = {name: tensor for name, tensor in load_file(path).items() if not name.startswith("auxiliary.")}
    save_file(tensors, path)
    without = find_weights(str(path), "googlenet-bn3x3")
    assert without.notes[1:] == (
        f"{path} has no side branches; those of googlenet-bn3x3 start anew.",
        NO_LICENCE.format(path),
    )
    loaded = load_backbone(without).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_weights_of_another_network_are_recognised(tmp_path: Path):
    path = save(tmp_path, "resnet34")
    message = refused(path, "resnet18")
    assert re.fullmatch(
        re.escape(f"{path} has 96 tensors that the network does not: ")
        + r"'.+', '.+', '.+' and 93 more\.\nThese look like the weights of resnet34, not of resnet18\.",
        message,
    )


def test_weights_of_several_other_networks_are_named_all(tmp_path: Path):
    path = small(tmp_path, "w.safetensors", "plain20", 10)
    assert refused(path, "lenet5").endswith("\nThese look like the weights of plain20 or resnet20, not of lenet5.")


def test_files_that_fit_nothing(tmp_path: Path):
    path = save(tmp_path, "resnet18")
    tensors = load_file(path)
    save_file({name: tensor for name, tensor in tensors.items() if name != "head.bias"}, path)
    assert refused(path, "resnet18") == (
        f"{path} lacks 1 of the network's 122 tensors: 'head.bias'.\n"
        "All that it has fits, so it is incomplete; get it again from where it came."
    )
    save_file({**tensors, "head.scale": torch.ones(1)}, path)
    assert refused(path, "resnet18") == (
        f"{path} has 1 tensor that the network does not: 'head.scale'.\n"
        "It holds the weights of a larger or other architecture; choose the one it was made for."
    )
    save_file({**tensors, "head.weight": torch.ones(7, 3)}, path)
    assert refused(path, "resnet18") == (
        f"{path}: 1 tensor has another shape than in the network: 'head.weight' has 7x3, expected 7x512.\n"
        "The file was made for another number of classes, another input or another variant of the network."
    )
    content = path.read_bytes()
    path.write_bytes(content[:-1000])
    assert f"{path} is truncated or padded: its tensors end at byte" in refused(path, "resnet18")


def test_the_right_shapes_under_other_names_are_told(tmp_path: Path):
    path = save(tmp_path, "resnet18")
    tensors = {name.replace("stages.", "encoder."): tensor for name, tensor in load_file(path).items()}
    save_file(tensors, path)
    first, second = refused(path, "resnet18").splitlines()
    assert first == (
        f"{path} has tensors of just the shapes of resnet18, under names that are not known: "
        f"'encoder.stage1.0.convolution1.convolution.weight', where the network has "
        f"'stages.stage1.0.convolution1.convolution.weight'."
    )
    assert second == (
        "It may be the same network written by somebody else. Where it is, rename its tensors to those of "
        "saccade.models.architecture.build_model('resnet18', ...).state_dict()."
    )


def test_values_that_are_not_finite_and_files_that_change_in_between(tmp_path: Path):
    path = save(tmp_path, "resnet18")
    weights, tensors = find_weights(str(path), "resnet18"), load_file(path)
    save_file({**tensors, "head.bias": torch.full((7,), torch.nan)}, path)
    with pytest.raises(WeightsError) as error:
        load_backbone(weights)
    assert str(error.value) == (
        f"{path}: the tensor 'head.bias' holds values that are not finite.\n"
        "The file is damaged or its training diverged; take another one."
    )
    save_file({**tensors, "head.bias": torch.ones(7)}, path)
    now = find_weights(str(path), "resnet18").sha256
    with pytest.raises(WeightsError) as error:
        load_backbone(weights)
    assert str(error.value) == (
        f"{path} has changed since it was looked at: its SHA-256 is {now[:12]}..., expected {weights.sha256[:12]}....\n"
        "Run the command again when nothing writes to it."
    )


def test_folders_without_exactly_one_weight_file(tmp_path: Path):
    assert refused(tmp_path, "resnet18") == (
        f"{tmp_path} holds no .safetensors file.\nGive the file, a folder with model.safetensors, or hub:OWNER/NAME."
    )
    (tmp_path / "w.pth").write_bytes(b"x")
    assert refused(tmp_path, "resnet18") == (
        f"{tmp_path} holds no .safetensors file, only pickles such as w.pth.\n"
        f"saccade convert {tmp_path}/w.pth --model NAME --out FILE.safetensors"
    )
    (tmp_path / "a.safetensors").write_bytes(b"")
    (tmp_path / "b.safetensors").write_bytes(b"")
    assert refused(tmp_path, "resnet18") == (
        f"{tmp_path} holds 2 weight files: a.safetensors, b.safetensors; none has the tensors of resnet18.\n"
        "Give the one that you want."
    )


def small(folder: Path, name: str, model: str, num_classes: int = 7) -> Path:
    """A small file of `model` that says how pixels become its inputs."""
    channels = MODELS.get(model).default_spec.input_CHW[0]
    pixels = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.5]}
    if channels == 3:
        pixels |= {"channels": "rgb", "mean": [0.5] * 3, "std": [0.5] * 3}
    path = save(folder / "new", model, num_classes, {"saccade.preprocessing": json.dumps(pixels)})
    return path.rename(folder / name)


def test_of_several_files_in_a_folder_the_one_of_the_network_is_taken_and_told(tmp_path: Path):
    small(tmp_path, "a.safetensors", "lenet5")
    small(tmp_path, "b.safetensors", "convnet-b")
    (tmp_path / "damaged.safetensors").write_bytes(b"")
    (tmp_path / "config.json").write_text('{"license": "mit"}')  # nothing says whose
    found = find_weights(str(tmp_path), "lenet5")
    assert (found.path, found.source) == (tmp_path / "a.safetensors", f"{tmp_path.name}/a.safetensors")
    assert found.notes == (
        f"{tmp_path} holds 3 weight files; a.safetensors is the only one of lenet5.",
        NO_LICENCE.format(found.path),
    )
    small(tmp_path, "c.safetensors", "lenet5", 10)
    assert refused(tmp_path, "lenet5") == (
        f"{tmp_path} holds 4 weight files: a.safetensors, b.safetensors, c.safetensors, ...; those of lenet5 are "
        "a.safetensors, c.safetensors.\nGive the one that you want."
    )


def test_weights_that_fit_several_networks_are_of_the_one_that_is_asked_for(tmp_path: Path):
    path = small(tmp_path, "w.safetensors", "plain20", 10)
    with pytest.raises(WeightsError) as error:
        network_of_weights(str(path))
    assert error.value.message == (
        f"The tensors of {path} fit several networks: plain20, resnet20.\n"
        "Say which one is meant with --backbone; 'saccade models' lists them."
    )
    assert network_of_weights(str(path), ("lenet5", "resnet20")) == "resnet20"
    with pytest.raises(WeightsError, match="fit several networks"):
        network_of_weights(str(path), ("plain20", "resnet20"))


def test_cards_that_say_nothing_usable(tmp_path: Path):
    path = save(tmp_path / "photos", "resnet18")
    given = tmp_path / "p.json"
    assert refused(path, "resnet18", given) == f"There is no file {given}.\nCheck the path and its spelling."
    given.write_text("{")
    assert refused(path, "resnet18", given).startswith(f"{given} is not valid JSON: ")
    given.write_text("[]")
    assert refused(path, "resnet18", given) == (
        f'{given} must hold one JSON object of preprocessing, such as {{"resize_px": 256}}.'
    )
    given.write_text('{"resise_px": 256}')
    with pytest.raises(ConfigError, match="Did you mean 'resize_px'"):
        find_weights(str(path), "resnet18", given)
    digits = save(tmp_path / "digits", "lenet5", 10)
    assert refused(digits, "lenet5") == (
        f"{digits} does not say how pixels become inputs of lenet5.\nGive a JSON file of it with --preprocessing."
    )
    with pytest.raises(UnknownNameError, match="Did you mean 'resnet18'"):
        find_weights(str(path), "resnet8")


@pytest.mark.parametrize("name", [name for name in MODELS if MODELS.get(name).rename_key])
def test_every_public_network_has_a_head_whose_size_is_the_number_of_classes(name: str):
    architecture = MODELS.get(name)
    heads = {tensor for tensor in head_outputs(architecture, IMAGENET) if tensor.startswith("head.")}
    assert len(heads) == 2
    if (
        architecture.default_spec != IMAGENET and architecture.public_input is None
    ):  # the assumption about their preprocessing rests on it
        with pytest.raises(WeightsError):
            public_preprocessing(name, "w")


@pytest.mark.parametrize(
    ("name", "resize_px", "input_px", "mean", "words"),
    [
        ("densenet121", 256, 224, 0.485, "centre 224x224, bilinear, ImageNet's mean and deviation"),
        ("convnext-tiny", 236, 224, 0.485, "centre 224x224, bilinear, ImageNet's mean and deviation"),
        ("inception-v3", 342, 299, 0.5, "centre 299x299, bilinear, mean and deviation 0.5"),
    ],
)
def test_a_file_without_a_card_is_read_as_torchvisions_first(
    name: str, resize_px: int, input_px: int, mean: float, words: str
):
    preprocessing, note = public_preprocessing(name, "w")
    assert (preprocessing.resize_px, preprocessing.input_CHW) == (resize_px, (3, input_px, input_px))
    assert preprocessing.mean[0] == mean
    assert note == (
        "w does not say how pixels become inputs; assumed as for torchvision's public files: "
        f"short side to {resize_px}, {words}. Another one: --preprocessing FILE.json."
    )


def test_a_licence_that_lies_beside_the_weights_is_named(tmp_path: Path):
    weights = build_model("lenet5", ModelSpec(num_classes=3, input_CHW=(1, 32, 32))).state_dict()
    save_file({name: tensor.contiguous() for name, tensor in weights.items()}, tmp_path / "model.safetensors")
    (tmp_path / "LICENSE").write_text("Do as you like.")
    pixels = Preprocessing(
        channels="grey", resize_px=None, input_height_px=32, input_width_px=32, mean=(0.5,), std=(0.5,)
    )
    notes = find_weights(str(tmp_path), "lenet5", pixels).notes
    where = tmp_path / "model.safetensors"
    assert notes == (f"{where} does not say under which licence it may be used; read LICENSE beside it.",)
