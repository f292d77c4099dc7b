"""Inception-v3: its map sizes, its side branch at any input, and the names of its public files."""

import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, norm, with_bias

from saccade.core.errors import ModelError
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo.inception_v3 import AUXILIARY_WEIGHT

# Public names of the convolutions, their weights' (out, in, height, width) as torchvision prints them.
STEM = {
    "Conv2d_1a_3x3": (32, 3, 3, 3),
    "Conv2d_2a_3x3": (32, 32, 3, 3),
    "Conv2d_2b_3x3": (64, 32, 3, 3),
    "Conv2d_3b_1x1": (80, 64, 1, 1),
    "Conv2d_4a_3x3": (192, 80, 3, 3),
}


def figure_5(channels: int, pool: int) -> Shapes:
    return {
        "branch1x1": (64, channels, 1, 1),
        "branch5x5_1": (48, channels, 1, 1),
        "branch5x5_2": (64, 48, 5, 5),
        "branch3x3dbl_1": (64, channels, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
        "branch_pool": (pool, channels, 1, 1),
    }


def figure_6(width: int) -> Shapes:
    return {
        "branch1x1": (192, 768, 1, 1),
        "branch7x7_1": (width, 768, 1, 1),
        "branch7x7_2": (width, width, 1, 7),
        "branch7x7_3": (192, width, 7, 1),
        "branch7x7dbl_1": (width, 768, 1, 1),
        "branch7x7dbl_2": (width, width, 7, 1),
        "branch7x7dbl_3": (width, width, 1, 7),
        "branch7x7dbl_4": (width, width, 7, 1),
        "branch7x7dbl_5": (192, width, 1, 7),
        "branch_pool": (192, 768, 1, 1),
    }


def figure_7(channels: int) -> Shapes:
    return {
        "branch1x1": (320, channels, 1, 1),
        "branch3x3_1": (384, channels, 1, 1),
        "branch3x3_2a": (384, 384, 1, 3),
        "branch3x3_2b": (384, 384, 3, 1),
        "branch3x3dbl_1": (448, channels, 1, 1),
        "branch3x3dbl_2": (384, 448, 3, 3),
        "branch3x3dbl_3a": (384, 384, 1, 3),
        "branch3x3dbl_3b": (384, 384, 3, 1),
        "branch_pool": (192, channels, 1, 1),
    }


BLOCKS: dict[str, Shapes] = {
    "5b": figure_5(192, 32),
    "5c": figure_5(256, 64),
    "5d": figure_5(288, 64),
    "6a": {
        "branch3x3": (384, 288, 3, 3),
        "branch3x3dbl_1": (64, 288, 1, 1),
        "branch3x3dbl_2": (96, 64, 3, 3),
        "branch3x3dbl_3": (96, 96, 3, 3),
    },
    "6b": figure_6(128),
    "6c": figure_6(160),
    "6d": figure_6(160),
    "6e": figure_6(192),
    "7a": {
        "branch3x3_1": (192, 768, 1, 1),
        "branch3x3_2": (320, 192, 3, 3),
        "branch7x7x3_1": (192, 768, 1, 1),
        "branch7x7x3_2": (192, 192, 1, 7),
        "branch7x7x3_3": (192, 192, 7, 1),
        "branch7x7x3_4": (192, 192, 3, 3),
    },
    "7b": figure_7(1280),
    "7c": figure_7(2048),
}
AUXILIARY = {"AuxLogits.conv0": (128, 768, 1, 1), "AuxLogits.conv1": (768, 128, 5, 5)}


def test_every_tensor_of_the_public_file_has_its_place():
    inside = {f"Mixed_{name}.{layer}": shape for name, layers in BLOCKS.items() for layer, shape in layers.items()}
    theirs: Shapes = {}
    for name, shape in {**STEM, **inside, **AUXILIARY}.items():
        theirs |= {f"{name}.conv.weight": shape, **norm(f"{name}.bn", shape[0])}
    theirs |= with_bias("AuxLogits.fc", 1000, 768) | with_bias("fc", 1000, 2048)
    check_every_tensor_has_its_place("inception-v3", theirs)


def test_maps_have_the_sizes_of_table_1():
    with torch.device("meta"):
        model = build_model("inception-v3", ModelSpec(num_classes=1000, input_CHW=(3, 299, 299)))
        map_BCHW = model.stem(torch.zeros(1, 3, 299, 299))
        shapes = [tuple(map_BCHW.shape[1:])]
        for stage in model.stages:
            map_BCHW = stage(map_BCHW)
            shapes.append(tuple(map_BCHW.shape[1:]))
    assert shapes == [(192, 35, 35), (288, 35, 35), (768, 17, 17), (2048, 8, 8)]


@pytest.mark.parametrize("input_px", [75, 150, 298, 299, 400])
def test_the_side_branch_answers_at_every_input_with_the_same_weights(input_px: int):
    with torch.device("meta"):
        model = build_model("inception-v3", ModelSpec(num_classes=10, input_CHW=(3, input_px, input_px)))
        logits_BK, [(weight, auxiliary_BK)] = model.forward_train(torch.zeros(2, 3, input_px, input_px))
    assert weight == AUXILIARY_WEIGHT
    assert logits_BK.shape == auxiliary_BK.shape == (2, 10)
    assert model.auxiliary.convolution1.convolution.weight.shape == (768, 128, 5, 5)


def test_the_smallest_input_is_75_pixels():
    with pytest.raises(ModelError) as error:
        build_model("inception-v3", ModelSpec(num_classes=10, input_CHW=(3, 74, 80)))
    assert str(error.value) == (
        "inception-v3 cannot take an input of 74x80x3: "
        "layer 'stages.stage3.mixed7a.branch3x3.convolution2.convolution': "
        "convolution f3 s2 on 2x3: floor((2 + 0 - 3)/2) + 1 = 0.\n"
        "Use larger images than 74x80, for example --input 160x160x3 for a table, --set input.size_px=160 to train."
    )
