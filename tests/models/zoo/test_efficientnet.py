"""EfficientNet and its Lite form: figures by hand from the table and the scales, names of three kinds of files."""

import json
from collections.abc import Iterator
from math import ceil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from saccade.core.errors import WeightsError
from saccade.core.types import Preprocessing
from saccade.models.architecture import MODELS, build_model
from saccade.models.layers import StochasticDepth
from saccade.weights.public import find_weights
from saccade.weights.tensors import match_names, tensor_shapes

# Table 1 of the paper, stages 2 to 8: expansion, kernel, channels, layers, and the stride in front of each.
TABLE_1 = (
    (1, 3, 16, 1, 1),
    (6, 3, 24, 2, 2),
    (6, 5, 40, 2, 2),
    (6, 3, 80, 3, 2),
    (6, 5, 112, 3, 1),
    (6, 5, 192, 4, 2),
    (6, 3, 320, 1, 1),
)
# Width, depth, input: the authors' lists of the two families.
SCALES = {
    "b0": (1.0, 1.0, 224),
    "b1": (1.0, 1.1, 240),
    "b2": (1.1, 1.2, 260),
    "b3": (1.2, 1.4, 300),
    "b4": (1.4, 1.8, 380),
    "lite0": (1.0, 1.0, 224),
    "lite1": (1.0, 1.1, 240),
    "lite2": (1.1, 1.2, 260),
    "lite3": (1.2, 1.4, 280),
    "lite4": (1.4, 1.8, 300),
}
Block = tuple[int, int, int, int, int, int]  # stage, channels in, inside, out, kernel, stride


def scaled(channels: int, width: float) -> int:
    """The nearest multiple of 8 that is not below 0.9 of it."""
    exact = channels * width
    nearest = 8 * int(exact / 8 + 0.5)
    return nearest if nearest >= 0.9 * exact else nearest + 8


def blocks(scale: str) -> Iterator[Block]:
    width, depth, _ = SCALES[scale]
    is_lite = "lite" in scale
    channels = 32 if is_lite else scaled(32, width)
    for stage, (expansion, kernel, out, layers, stride) in enumerate(TABLE_1):
        fixed = is_lite and stage in (0, len(TABLE_1) - 1)
        for layer in range(layers if fixed else ceil(layers * depth)):
            yield stage, channels, channels * expansion, scaled(out, width), kernel, stride if layer == 0 else 1
            channels = scaled(out, width)


def figures(scale: str, side_px: int) -> tuple[int, int]:
    """(parameters, multiply-adds) without torch: weights, two numbers a channel of normalisation, biases."""
    is_lite = "lite" in scale
    ends = [32, 1280] if is_lite else [scaled(channels, SCALES[scale][0]) for channels in (32, 1280)]
    side = ceil(side_px / 2)
    parameters, products = 27 * ends[0] + 2 * ends[0], 27 * ends[0] * side**2
    for _, given, inner, out, kernel, stride in blocks(scale):
        if inner > given:
            parameters += given * inner + 2 * inner
            products += given * inner * side**2
        side = ceil(side / stride)
        parameters += kernel**2 * inner + 2 * inner + inner * out + 2 * out
        products += (kernel**2 * inner + inner * out) * side**2
        if not is_lite:
            squeezed = given // 4
            parameters += 2 * inner * squeezed + squeezed + inner
            products += 2 * inner * squeezed
    parameters += out * ends[1] + 2 * ends[1] + 1000 * ends[1] + 1000
    return parameters, products + out * ends[1] * side**2 + 1000 * ends[1]


@pytest.mark.parametrize("scale", SCALES)
def test_the_figures_follow_from_table_1_and_the_scales(scale: str):
    architecture = MODELS.get(f"efficientnet-{scale}")
    assert architecture.default_spec.input_CHW == (3, SCALES[scale][2], SCALES[scale][2])
    for reference in architecture.references:
        assert (reference.parameters, reference.multiply_adds) == figures(scale, reference.spec.input_CHW[1])


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    sizes = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {**sizes, f"{name}.num_batches_tracked": ()}


def timm_shapes(scale: str) -> dict[str, tuple[int, ...]]:
    """A file as timm writes it, by timm's own words for the layers."""
    rows = list(blocks(scale))
    stem, last, shapes = rows[0][1], 1280, {}
    if "lite" not in scale:
        last = scaled(1280, SCALES[scale][0])
    shapes |= {"conv_stem.weight": (stem, 3, 3, 3), **norm("bn1", stem)}
    for number, (stage, given, inner, out, kernel, _) in enumerate(rows):
        place = f"blocks.{stage}.{number - [row[0] for row in rows].index(stage)}"
        expands = inner > given
        if expands:
            shapes |= {f"{place}.conv_pw.weight": (inner, given, 1, 1), **norm(f"{place}.bn1", inner)}
        shapes |= {f"{place}.conv_dw.weight": (inner, 1, kernel, kernel)}
        shapes |= norm(f"{place}.{'bn2' if expands else 'bn1'}", inner)
        if "lite" not in scale:
            shapes |= {f"{place}.se.conv_reduce.weight": (given // 4, inner, 1, 1)}
            shapes |= {f"{place}.se.conv_reduce.bias": (given // 4,)}
            shapes |= {f"{place}.se.conv_expand.weight": (inner, given // 4, 1, 1)}
            shapes |= {f"{place}.se.conv_expand.bias": (inner,)}
        shapes |= {f"{place}.{'conv_pwl' if expands else 'conv_pw'}.weight": (out, inner, 1, 1)}
        shapes |= norm(f"{place}.{'bn3' if expands else 'bn2'}", out)
    shapes |= {"conv_head.weight": (last, out, 1, 1), **norm("bn2", last)}
    return shapes | {"classifier.weight": (1000, last), "classifier.bias": (1000,)}


def torchvision_shapes(scale: str) -> dict[str, tuple[int, ...]]:
    """A file as torchvision writes it: features.0 the stem, 1 to 7 the stages, 8 the head's convolution."""
    rows, last = list(blocks(scale)), scaled(1280, SCALES[scale][0])
    shapes = {"features.0.0.weight": (rows[0][1], 3, 3, 3), **norm("features.0.1", rows[0][1])}
    for number, (stage, given, inner, out, kernel, _) in enumerate(rows):
        place = f"features.{stage + 1}.{number - [row[0] for row in rows].index(stage)}.block"
        part = 0
        if inner > given:
            shapes |= {f"{place}.0.0.weight": (inner, given, 1, 1), **norm(f"{place}.0.1", inner)}
            part = 1
        shapes |= {f"{place}.{part}.0.weight": (inner, 1, kernel, kernel), **norm(f"{place}.{part}.1", inner)}
        for layer, sizes in (("fc1", (given // 4, inner)), ("fc2", (inner, given // 4))):
            shapes |= {f"{place}.{part + 1}.{layer}.weight": (*sizes, 1, 1)}
            shapes |= {f"{place}.{part + 1}.{layer}.bias": (sizes[0],)}
        shapes |= {f"{place}.{part + 2}.0.weight": (out, inner, 1, 1), **norm(f"{place}.{part + 2}.1", out)}
    shapes |= {"features.8.0.weight": (last, out, 1, 1), **norm("features.8.1", last)}
    return shapes | {"classifier.1.weight": (1000, last), "classifier.1.bias": (1000,)}


def family_shapes(scale: str) -> dict[str, tuple[int, ...]]:
    """A file of the "efficientnet-pytorch" family: blocks counted through."""
    shapes = {"_conv_stem.weight": (32, 3, 3, 3), **norm("_bn0", 32)}
    for number, (_, given, inner, out, kernel, _) in enumerate(blocks(scale)):
        place = f"_blocks.{number}"
        if inner > given:
            shapes |= {f"{place}._expand_conv.weight": (inner, given, 1, 1), **norm(f"{place}._bn0", inner)}
        shapes |= {f"{place}._depthwise_conv.weight": (inner, 1, kernel, kernel), **norm(f"{place}._bn1", inner)}
        shapes |= {f"{place}._project_conv.weight": (out, inner, 1, 1), **norm(f"{place}._bn2", out)}
    shapes |= {"_conv_head.weight": (1280, out, 1, 1), **norm("_bn1", 1280)}
    return shapes | {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}


FILES = [
    *((timm_shapes, scale) for scale in SCALES),
    *((torchvision_shapes, scale) for scale in SCALES if "lite" not in scale),
    *((family_shapes, scale) for scale in SCALES if "lite" in scale),
]


@pytest.mark.parametrize(("shapes_of", "scale"), FILES)
def test_every_tensor_of_a_public_file_has_its_place(shapes_of, scale: str):
    architecture = MODELS.get(f"efficientnet-{scale}")
    with torch.device("meta"):
        ours = tensor_shapes(build_model(architecture.name, architecture.default_spec))
    theirs = shapes_of(scale)
    names, unused = match_names(list(theirs), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    assert {key: ours[place] for key, place in names.items()} == theirs


def test_names_of_the_family_mean_nothing_where_its_padding_is_not_ours():
    rename = MODELS.get("efficientnet-b0").rename_key
    assert match_names(["_conv_stem.weight", "_blocks.0._bn1.bias"], {}, rename) == (
        {},
        ["_conv_stem.weight", "_blocks.0._bn1.bias"],
    )


def test_stochastic_depth_rises_block_by_block_towards_a_fifth():
    with torch.device("meta"):
        network = build_model("efficientnet-b1", MODELS.get("efficientnet-b1").default_spec)
    probabilities = [module.probability for module in network.modules() if isinstance(module, StochasticDepth)]
    assert len(probabilities) == 23
    assert probabilities == pytest.approx([0.2 * number / 23 for number in range(23)])


def saved(folder: Path, scale: str, shapes: dict[str, tuple[int, ...]], card: dict[str, object] | None) -> Path:
    folder.mkdir()
    save_file({name: torch.ones(shape) for name, shape in shapes.items()}, folder / "model.safetensors")
    if card is not None:
        (folder / "config.json").write_text(json.dumps(card))
    return folder


@pytest.mark.parametrize(
    ("scale", "theirs", "words"),
    [
        ("b0", "tf_efficientnet_b0", "pads its maps as TensorFlow does"),
        ("lite0", "efficientnet_lite0", "pads both sides of its maps alike"),
    ],
)
def test_weights_of_timms_network_with_the_other_padding_are_refused(tmp_path: Path, scale, theirs, words):
    card = {"architecture": theirs, "pretrained_cfg": {"input_size": [3, 224, 224]}}
    folder = saved(tmp_path / "w", scale, timm_shapes(scale), card)
    with pytest.raises(WeightsError) as error:
        find_weights(str(folder), f"efficientnet-{scale}")
    assert str(error.value) == (
        f"{folder / 'model.safetensors'} holds weights of timm's {theirs}, which has the same tensors as "
        f"efficientnet-{scale} and {words}.\n"
        "Its answers here would be wrong; take the weights of another one (docs/weights.md)."
    )
    (folder / "config.json").unlink()
    (note,) = [note for note in find_weights(str(folder), f"efficientnet-{scale}").notes if "which of timm's" in note]
    assert note == (
        f"{folder / 'model.safetensors'} does not say which of timm's networks it is of; {theirs} has the same tensors "
        f"and {words}: its answers here would be wrong."
    )


def test_a_file_that_says_nothing_of_its_pixels_is_read_as_its_authors_did(tmp_path: Path):
    folder = saved(tmp_path / "w", "lite2", family_shapes("lite2"), None)
    weights = find_weights(str(folder), "efficientnet-lite2")
    mean, std = (127 / 255,) * 3, (128 / 255,) * 3
    assert weights.preprocessing == Preprocessing(
        resize_px=292, input_height_px=260, input_width_px=260, interpolation="bicubic", mean=mean, std=std
    )
    assert weights.notes[0] == (
        f"{folder / 'model.safetensors'} does not say how pixels become inputs; assumed as for Google's public files: "
        "short side to 292, centre 260x260, bicubic, mean 0.498 and deviation 0.502. Another one: "
        "--preprocessing FILE.json."
    )
    folder = saved(tmp_path / "b3", "b3", torchvision_shapes("b3"), None)
    assert find_weights(str(folder), "efficientnet-b3").preprocessing == Preprocessing(
        resize_px=320, input_height_px=300, input_width_px=300, interpolation="bicubic"
    )
