"""Receptive fields against what gradients say: the input pixels that an output really depends on."""

import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from saccade.design.fields import FieldFollower
from saccade.design.trace import trace
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

SIZE_PX = 128
EDGE_PX = 24  # nearer to the edge, the padding inside the network hides a part of the field
WINDOWS = st.sampled_from(
    ["conv 2 f3 same", "conv 2 f5", "conv 2 f3 s2 same", "conv 2 f3 d2 same", "conv 2 f1", "conv 2 f4 same"]
    + ["pool", "avgpool f3 s2", "avgpool f2 s2", "res( conv 2 f3 same | conv 2 f3 same )", "conv 2 f2 s3"]
    + ["cat( conv 1 f1 ; conv 1 f5 same ; avgpool f3 s1 same )", "res( conv 4 f3 s2 same | conv 4 f5 same )"]
)


def seen_by_gradient(network: nn.Module, map_of: nn.Module) -> tuple[int, int, int]:
    """(first, last, jump) along the rows: which input rows the middle output of `map_of` depends on.

    Positive weights, average instead of max pooling and no nonlinearity let every path carry some gradient.
    """
    maps: list[torch.Tensor] = []
    handle = map_of.register_forward_hook(lambda module, inputs, output: maps.append(output))
    image_BCHW = torch.ones(1, 3, SIZE_PX, SIZE_PX, dtype=torch.float64, requires_grad=True)
    network(image_BCHW)
    handle.remove()
    rows = []
    middle = maps[0].shape[2] // 2
    for row in (middle, middle + 1):
        (gradient,) = torch.autograd.grad(
            maps[0][0, :, row, maps[0].shape[3] // 2].sum(), image_BCHW, retain_graph=True
        )
        touched = gradient.abs().sum((0, 1, 3)).nonzero().flatten()
        rows.append((int(touched[0]), int(touched[-1])))
    return rows[0][0], rows[0][1], rows[1][0] - rows[0][0]


def smooth(network: nn.Module) -> nn.Module:
    """`network` with positive weights, and with average pooling for max pooling."""
    for name, child in list(network.named_children()):
        if isinstance(child, nn.MaxPool2d):
            setattr(network, name, nn.AvgPool2d(child.kernel_size, child.stride, child.padding))
        elif isinstance(child, nn.ReLU):
            setattr(network, name, nn.Identity())
        else:
            smooth(child)
    with torch.no_grad():
        for parameter in network.parameters(recurse=False):
            parameter.fill_(0.1)
    return network


@settings(max_examples=40, deadline=None)
@given(st.lists(WINDOWS, min_size=1, max_size=4))
def test_fields_are_those_that_gradients_show(layers: list[str]):
    line = " | ".join([*layers, "conv 2 f1", "gap", "softmax"])
    network = resolve_model(line, ModelSpec(num_classes=2, input_CHW=(3, SIZE_PX, SIZE_PX)))
    network = smooth(network.double())
    last = next(module for module in reversed(list(network.modules())) if isinstance(module, nn.Conv2d))
    traced = trace(network, (3, SIZE_PX, SIZE_PX))
    follower = FieldFollower(traced.input_BCHW)
    for operation in traced.operations:
        follower.follow(operation)
    made = next(o.made[0] for o in reversed(traced.operations) if o.name == "convolution")
    field = follower.of(made)
    assert field is not None
    assume(made.shape[2] >= 3)
    first, end, jump = seen_by_gradient(network, last)
    middle = made.shape[2] // 2
    expected = (field.rows.first + middle * field.rows.jump, field.rows.last + middle * field.rows.jump)
    if expected[0] >= EDGE_PX and expected[1] + field.rows.jump <= SIZE_PX - EDGE_PX:
        assert (first, end, jump) == (*expected, field.rows.jump)
    else:
        assert expected[0] <= first
        assert end <= expected[1]


class Various(nn.Module):
    """One operation under test."""

    def __init__(self, work) -> None:
        super().__init__()
        self.work = work

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return self.work(image_BCHW)


def field_of(work, size_px: int = 8):
    traced = trace(Various(work), (3, size_px, size_px))
    follower = FieldFollower(traced.input_BCHW)
    for operation in traced.operations:
        follower.follow(operation)
    field = follower.of(traced.operations[-1].made[0])
    return None if field is None else (field.rows.first, field.rows.last, field.rows.jump, field.whole)


def test_padding_slicing_and_pooling_move_and_stretch_the_grid():
    assert field_of(lambda x: functional.pad(x, (1, 1, 2, 2))) == (-2, -2, 1, False)
    assert field_of(lambda x: x[:, :, ::2, ::2] + 1) == (0, 0, 2, False)
    assert field_of(lambda x: x[:, :, 1::2, 1::2] + 1) == (1, 1, 2, False)
    assert field_of(lambda x: functional.adaptive_avg_pool2d(x, 4)) == (0, 1, 2, False)
    assert field_of(lambda x: functional.adaptive_avg_pool2d(x, 1)) == (0, 7, 8, True)
    assert field_of(lambda x: x.mean((2, 3))) == (0, 7, 8, True)
    assert field_of(lambda x: x.mean(1, keepdim=True)) == (0, 0, 1, False)
    assert field_of(lambda x: functional.max_pool2d(x, 3, 2, ceil_mode=True)) == (0, 2, 2, False)


def test_what_has_no_single_field_is_unknown():
    assert field_of(lambda x: functional.adaptive_avg_pool2d(x, 3)) is None
    assert field_of(lambda x: functional.interpolate(x, scale_factor=2)) is None


def test_a_gate_over_the_whole_map_widens_the_field_to_all_of_it():
    assert field_of(lambda x: x * x.mean((2, 3), keepdim=True)) == (-0, 7, 1, False)
