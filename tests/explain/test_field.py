"""What one value sees, found by experiment, against the arithmetic of windows, which does not run the network."""

import pytest
import torch

from saccade.conv.geometry import ReceptiveField, Window
from saccade.explain.field import SeenField, seen_field
from saccade.models.architecture import ModelSpec, build_model

# Windows (kernel, stride, padding) up to the end of each layer, from the papers' tables.
LENET = {"stem": [(5, 1, 0), (2, 2, 0)], "stage1": [(5, 1, 0), (2, 2, 0)]}
RESNET_STEM = [(3, 1, 1)]
RESNET_BLOCK = [(3, 1, 1), (3, 1, 1)]


def expected_side(windows: list[tuple[int, int, int]], place: int, size_px: int) -> tuple[int, int]:
    """(first, one after the last) input position that output `place` depends on, cut to the image."""
    field = ReceptiveField()
    for kernel, stride, padding in windows:
        field = field.after(Window(kernel, stride, padding))
    first, last = (field.first + place * field.jump, field.last + place * field.jump)
    return max(first, 0), min(last + 1, size_px)


def field_of(model_name: str, input_CHW: tuple[int, int, int], layer: str, position: tuple[int, int]) -> SeenField:
    torch.manual_seed(0)
    model = build_model(model_name, ModelSpec(num_classes=10, input_CHW=input_CHW)).eval()
    return seen_field(model, torch.randn(1, *input_CHW), layer, position)


@pytest.mark.parametrize("position", [(0, 0), (2, 3), (4, 1)])
@pytest.mark.parametrize("layer", ["stem", "stage1"])
def test_the_field_is_that_of_the_arithmetic_in_lenet(layer: str, position: tuple[int, int]):
    windows = LENET["stem"] + (LENET["stage1"] if layer == "stage1" else [])
    field = field_of("lenet5", (1, 32, 32), layer, position)
    assert (field.top, field.bottom) == expected_side(windows, position[0], 32)
    assert (field.left, field.right) == expected_side(windows, position[1], 32)


@pytest.mark.parametrize("position", [(0, 5), (7, 15), (12, 30)])
def test_the_field_is_that_of_the_arithmetic_with_padding_shortcuts_and_normalisation(position: tuple[int, int]):
    field = field_of("resnet20", (3, 24, 40), "stage1", position)
    windows = RESNET_STEM + 3 * RESNET_BLOCK
    assert (field.top, field.bottom) == expected_side(windows, position[0], 24)
    assert (field.left, field.right) == expected_side(windows, position[1], 40)
    side_px = f"{field.right - field.left}x{field.bottom - field.top}"
    assert field.words() == f"framed: what the strongest value of 'stage1' sees, {side_px} px"


def test_a_value_that_sees_everything_is_said_to():
    field = field_of("resnet20", (3, 16, 16), "stage3", (1, 1))
    assert (field.top, field.left, field.bottom, field.right) == (0, 0, 16, 16)
    assert field.words() == "the strongest value of 'stage3' sees all of it"
