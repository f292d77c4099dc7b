"""Inception-v4 and Inception-ResNet-v2: map sizes, a residual block by hand, and the names of their public files."""

import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, norm, with_bias
from torch import nn
from torch.nn import functional

from saccade.core.errors import ModelError
from saccade.core.types import Preprocessing
from saccade.design.layers import read_layers
from saccade.design.trace import trace
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.models.build import without_weights
from saccade.models.zoo.inception_v4 import FIGURE_16, _residual
from saccade.weights.card import public_preprocessing

IMAGENET = ModelSpec(num_classes=1000, input_CHW=(3, 299, 299))
NAMES = ("inception-v4", "inception-resnet-v2")

# Public names of the convolutions, their weights' (out, in, height, width) as timm prints them.
V4_STEM = {
    "0": (32, 3, 3, 3),
    "1": (32, 32, 3, 3),
    "2": (64, 32, 3, 3),
    "3.conv": (96, 64, 3, 3),
    "4.branch0.0": (64, 160, 1, 1),
    "4.branch0.1": (96, 64, 3, 3),
    "4.branch1.0": (64, 160, 1, 1),
    "4.branch1.1": (64, 64, 1, 7),
    "4.branch1.2": (64, 64, 7, 1),
    "4.branch1.3": (96, 64, 3, 3),
    "5.conv": (192, 192, 3, 3),
}
V4_A = {
    "branch0": (96, 384, 1, 1),
    "branch1.0": (64, 384, 1, 1),
    "branch1.1": (96, 64, 3, 3),
    "branch2.0": (64, 384, 1, 1),
    "branch2.1": (96, 64, 3, 3),
    "branch2.2": (96, 96, 3, 3),
    "branch3.1": (96, 384, 1, 1),
}
V4_REDUCTION_A = {
    "branch0": (384, 384, 3, 3),
    "branch1.0": (192, 384, 1, 1),
    "branch1.1": (224, 192, 3, 3),
    "branch1.2": (256, 224, 3, 3),
}
V4_B = {
    "branch0": (384, 1024, 1, 1),
    "branch1.0": (192, 1024, 1, 1),
    "branch1.1": (224, 192, 1, 7),
    "branch1.2": (256, 224, 7, 1),
    "branch2.0": (192, 1024, 1, 1),
    "branch2.1": (192, 192, 7, 1),
    "branch2.2": (224, 192, 1, 7),
    "branch2.3": (224, 224, 7, 1),
    "branch2.4": (256, 224, 1, 7),
    "branch3.1": (128, 1024, 1, 1),
}
V4_REDUCTION_B = {
    "branch0.0": (192, 1024, 1, 1),
    "branch0.1": (192, 192, 3, 3),
    "branch1.0": (256, 1024, 1, 1),
    "branch1.1": (256, 256, 1, 7),
    "branch1.2": (320, 256, 7, 1),
    "branch1.3": (320, 320, 3, 3),
}
V4_C = {
    "branch0": (256, 1536, 1, 1),
    "branch1_0": (384, 1536, 1, 1),
    "branch1_1a": (256, 384, 1, 3),
    "branch1_1b": (256, 384, 3, 1),
    "branch2_0": (384, 1536, 1, 1),
    "branch2_1": (448, 384, 3, 1),
    "branch2_2": (512, 448, 1, 3),
    "branch2_3a": (256, 512, 1, 3),
    "branch2_3b": (256, 512, 3, 1),
    "branch3.1": (256, 1536, 1, 1),
}
V4_BLOCKS = [V4_A] * 4 + [V4_REDUCTION_A] + [V4_B] * 7 + [V4_REDUCTION_B] + [V4_C] * 3
RESNET_ONCE: dict[str, Shapes] = {
    "conv2d_1a": {"": (32, 3, 3, 3)},
    "conv2d_2a": {"": (32, 32, 3, 3)},
    "conv2d_2b": {"": (64, 32, 3, 3)},
    "conv2d_3b": {"": (80, 64, 1, 1)},
    "conv2d_4a": {"": (192, 80, 3, 3)},
    "mixed_5b": {
        "branch0": (96, 192, 1, 1),
        "branch1.0": (48, 192, 1, 1),
        "branch1.1": (64, 48, 5, 5),
        "branch2.0": (64, 192, 1, 1),
        "branch2.1": (96, 64, 3, 3),
        "branch2.2": (96, 96, 3, 3),
        "branch3.1": (64, 192, 1, 1),
    },
    "mixed_6a": {
        "branch0": (384, 320, 3, 3),
        "branch1.0": (256, 320, 1, 1),
        "branch1.1": (256, 256, 3, 3),
        "branch1.2": (384, 256, 3, 3),
    },
    "mixed_7a": {
        "branch0.0": (256, 1088, 1, 1),
        "branch0.1": (384, 256, 3, 3),
        "branch1.0": (256, 1088, 1, 1),
        "branch1.1": (288, 256, 3, 3),
        "branch2.0": (256, 1088, 1, 1),
        "branch2.1": (288, 256, 3, 3),
        "branch2.2": (320, 288, 3, 3),
    },
    "conv2d_7b": {"": (1536, 2080, 1, 1)},
}
BLOCK_35 = {
    "branch0": (32, 320, 1, 1),
    "branch1.0": (32, 320, 1, 1),
    "branch1.1": (32, 32, 3, 3),
    "branch2.0": (32, 320, 1, 1),
    "branch2.1": (48, 32, 3, 3),
    "branch2.2": (64, 48, 3, 3),
}
BLOCK_17 = {
    "branch0": (192, 1088, 1, 1),
    "branch1.0": (128, 1088, 1, 1),
    "branch1.1": (160, 128, 1, 7),
    "branch1.2": (192, 160, 7, 1),
}
BLOCK_8 = {
    "branch0": (192, 2080, 1, 1),
    "branch1.0": (192, 2080, 1, 1),
    "branch1.1": (224, 192, 1, 3),
    "branch1.2": (256, 224, 3, 1),
}
RESNET_REPEATED = {
    **{f"repeat.{number}": (BLOCK_35, 320, 128) for number in range(10)},
    **{f"repeat_1.{number}": (BLOCK_17, 1088, 384) for number in range(20)},
    **{f"repeat_2.{number}": (BLOCK_8, 2080, 448) for number in range(9)},
    "block8": (BLOCK_8, 2080, 448),
}


def normalised(name: str, shape: tuple[int, ...]) -> Shapes:
    return {f"{name}.conv.weight": shape, **norm(f"{name}.bn", shape[0])}


def test_every_tensor_of_inception_v4s_public_file_has_its_place():
    theirs: Shapes = {}
    for name, shape in V4_STEM.items():
        theirs |= normalised(f"features.{name}", shape)
    for number, block in enumerate(V4_BLOCKS, start=6):
        for name, shape in block.items():
            theirs |= normalised(f"features.{number}.{name}", shape)
    theirs |= with_bias("last_linear", 1000, 1536)
    check_every_tensor_has_its_place("inception-v4", theirs)


@pytest.mark.parametrize("head", ["classif", "last_linear"])
def test_every_tensor_of_inception_resnet_v2s_public_files_has_its_place(head: str):
    theirs: Shapes = {}
    for place, layers in RESNET_ONCE.items():
        for name, shape in layers.items():
            theirs |= normalised(f"{place}.{name}".rstrip("."), shape)
    for place, (layers, channels, inside) in RESNET_REPEATED.items():
        for name, shape in layers.items():
            theirs |= normalised(f"{place}.{name}", shape)
        theirs |= with_bias(f"{place}.conv2d", channels, inside, 1, 1)
    theirs |= with_bias(head, 1000, 1536)
    check_every_tensor_has_its_place("inception-resnet-v2", theirs)


@pytest.mark.parametrize("name", NAMES)
def test_names_that_are_not_of_the_public_file_mean_nothing(name: str):
    rename_key = MODELS.get(name).rename_key
    assert rename_key is not None
    strange = ["", "features", "features.22.branch0.conv.weight", "features.x.conv.weight", "features.6.conv.weight"]
    strange += ["features.6.branch4.conv.weight", "repeat.x.conv2d.bias", "repeat", "mixed_5b.conv.weight", "conv2d_1a"]
    strange += ["block8.branch7.conv.weight", "AuxLogits.fc.weight"]
    with torch.device("meta"):
        ours = set(build_model(name, IMAGENET).state_dict())
    assert [key for key in strange if rename_key(key) in ours] == []


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("inception-v4", [(384, 35, 35), (384, 35, 35), (1024, 17, 17), (1536, 8, 8)]),
        ("inception-resnet-v2", [(192, 35, 35), (320, 35, 35), (1088, 17, 17), (1536, 8, 8)]),
    ],
)
def test_maps_have_the_sizes_of_the_figures(name: str, expected: list[tuple[int, ...]]):
    with torch.device("meta"):
        model = build_model(name, IMAGENET)
        map_BCHW = model.stem(torch.zeros(1, 3, 299, 299))
        shapes = [tuple(map_BCHW.shape[1:])]
        for stage in model.stages:
            map_BCHW = stage(map_BCHW)
            shapes.append(tuple(map_BCHW.shape[1:]))
    assert shapes == expected


def test_a_residual_block_adds_a_part_of_its_branches_to_the_map():
    torch.manual_seed(0)
    block = _residual(24, FIGURE_16, 0.17, nn.ReLU()).eval()
    map_BCHW = torch.randn(2, 24, 5, 6)
    mixed, project = block.branch.mixed, block.branch.project
    sides = [mixed.branch1x1(map_BCHW), mixed.branch3x3(map_BCHW), mixed.branch3x3dbl(map_BCHW)]
    joined = functional.conv2d(torch.cat(sides, 1), project.weight, project.bias)
    assert project.weight.shape == (24, 128, 1, 1)
    torch.testing.assert_close(block(map_BCHW), torch.relu(map_BCHW + 0.17 * joined))


def test_averages_leave_out_the_zeros_around_a_map():
    with torch.device("meta"):
        networks = [build_model(name, IMAGENET) for name in (*NAMES, "inception-v3")]
    counted = [
        {pool.count_include_pad for pool in network.modules() if isinstance(pool, nn.AvgPool2d) and pool.padding == 1}
        for network in networks
    ]
    assert counted == [{False}, {False}, {True}]


def test_the_table_names_blocks_and_folds_the_scale_into_the_convolution_before_it():
    """By hand: 17x17 positions of 384 to 1,088 channels."""
    with without_weights():
        model = build_model("inception-resnet-v2", IMAGENET)
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    layers = read_layers(trace(model, IMAGENET.input_CHW), sizes, fold=True)
    row = next(layer for layer in layers if layer.name == "stages.stage2.block20.branch.project")
    assert (row.kind, row.folded, row.output) == ("conv", ("scale",), (1088, 17, 17))
    assert (row.parameters, row.multiply_adds) == (384 * 1088 + 1088, 289 * 384 * 1088)
    after = next(layer for layer in layers if layer.name == "stages.stage2.block20.add")
    assert (after.kind, after.folded, after.output, after.jump) == ("add", ("relu",), (1088, 17, 17), (16, 16))


@pytest.mark.parametrize(("name", "resize_px"), [("inception-v4", 341), ("inception-resnet-v2", 333)])
def test_a_file_that_says_nothing_of_its_pixels_is_read_as_timms(name: str, resize_px: int):
    assert public_preprocessing(name, "here")[0] == Preprocessing(
        resize_px=resize_px,
        input_height_px=299,
        input_width_px=299,
        interpolation="bicubic",
        mean=(0.5, 0.5, 0.5),
        std=(0.5, 0.5, 0.5),
    )


def test_the_smallest_input_is_75_pixels():
    with torch.device("meta"):
        for name in NAMES:
            build_model(name, ModelSpec(num_classes=10, input_CHW=(3, 75, 75)))
    with torch.device("meta"), pytest.raises(ModelError) as error:
        build_model("inception-v4", ModelSpec(num_classes=10, input_CHW=(3, 74, 80)))
    assert str(error.value) == (
        "inception-v4 cannot take an input of 74x80x3: "
        "layer 'stages.stage3.mixed7a.branch3x3.convolution2.convolution': "
        "convolution f3 s2 on 2x3: floor((2 + 0 - 3)/2) + 1 = 0.\n"
        "Use larger images than 74x80, for example --input 160x160x3 for a table, --set input.size_px=160 to train."
    )
    with (
        torch.device("meta"),
        pytest.raises(ModelError, match="layer 'stages.stage3.mixed7a.branch3x3.convolution2.convolution'"),
    ):
        build_model("inception-resnet-v2", ModelSpec(num_classes=10, input_CHW=(3, 74, 80)))
