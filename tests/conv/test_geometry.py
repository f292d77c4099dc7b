"""Sizes, coverage, receptive fields and costs against torch, hand figures, published figures and a brute force."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from saccade.conv import geometry
from saccade.conv.geometry import ReceptiveField, Window, combine, receptive_field, same_window
from saccade.core.errors import ModelError

windows = st.builds(
    Window,
    kernel=st.integers(1, 5),
    stride=st.integers(1, 4),
    padding=st.tuples(st.integers(0, 3), st.integers(0, 3)),
    dilation=st.integers(1, 3),
)


def convolve(signal_N: torch.Tensor, window: Window) -> torch.Tensor:
    """torch's 1-D convolution with a filter of ones."""
    padded = F.pad(signal_N[None, None], window.pads)
    ones = torch.ones(1, 1, window.kernel, dtype=signal_N.dtype)
    return F.conv1d(padded, ones, stride=window.stride, dilation=window.dilation)[0, 0]


# Sizes


@pytest.mark.parametrize(
    ("size", "window", "expected"),
    [
        (6, Window(3), 4),  # valid: n - f + 1
        (7, Window(3, stride=2), 3),
        (32, Window(5), 28),
        (39, Window(3), 37),  # network A
        (37, Window(5, stride=2), 17),
        (17, Window(5, stride=2), 7),
        (227, Window(11, stride=4), 55),  # AlexNet
        (224, Window(7, stride=2, padding=3), 112),  # ResNet
        (112, Window(3, stride=2, ceil_mode=True), 56),  # GoogLeNet's first pooling
        (28, same_window(5), 28),
        (28, same_window(4), 28),
        (28, same_window(2), 28),
        (28, same_window(3, dilation=4), 28),
    ],
)
def test_sizes_are_those_of_the_literature(size: int, window: Window, expected: int):
    assert window.output_size(size) == expected


@settings(deadline=None, max_examples=150)
@given(window=windows, size=st.integers(1, 30))
def test_size_is_the_number_of_values_torch_computes(window: Window, size: int):
    assume(window.output_size(size) >= 1)
    assert convolve(torch.zeros(size), window).shape[0] == window.output_size(size)


@settings(deadline=None, max_examples=150)
@given(
    kernel=st.integers(1, 5),
    stride=st.integers(1, 5),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    size=st.integers(1, 20),
)
def test_pooling_in_ceil_mode_has_torchs_size(kernel: int, stride: int, padding: int, dilation: int, size: int):
    assume(padding <= kernel // 2)
    window = Window(kernel, stride, padding, dilation, ceil_mode=True)
    signal = torch.zeros(1, 1, size)
    if window.output_size(size) < 1:
        with pytest.raises(RuntimeError, match="(?i)output size"):
            F.max_pool1d(signal, kernel, stride, padding, dilation, ceil_mode=True)
        return
    assert F.max_pool1d(signal, kernel, stride, padding, dilation, ceil_mode=True).shape[2] == window.output_size(size)


@settings(deadline=None)
@given(kernel=st.integers(1, 12), dilation=st.integers(1, 4), size=st.integers(1, 60))
def test_same_padding_keeps_every_size_and_is_symmetric_exactly_where_it_can_be(kernel: int, dilation: int, size: int):
    before, after = geometry.same_padding(kernel, dilation)
    assert same_window(kernel, dilation).output_size(size) == size
    assert after - before == (dilation * (kernel - 1)) % 2


def test_same_padding_for_an_even_filter_is_asymmetric():
    assert geometry.same_padding(5) == (2, 2)
    assert geometry.same_padding(4) == (1, 2)


@pytest.mark.parametrize(
    ("window", "size", "expected"),
    [
        (Window(2, stride=2), 1, "floor((1 + 0 - 2)/2) + 1 = 0"),
        (Window(3, stride=2), 7, "floor((7 + 0 - 3)/2) + 1 = 3"),
        (Window(3, padding=(1, 2), dilation=2), 4, "floor((4 + 3 - 5)/1) + 1 = 3"),
        (Window(3, stride=2, ceil_mode=True), 112, "ceil((112 + 0 - 3)/2) + 1 = 56"),
        (Window(2, 3, 1, ceil_mode=True), 5, "ceil((5 + 2 - 2)/3) + 1 - 1 (the last would start outside) = 2"),
    ],
)
def test_the_formula_shows_its_numbers(window: Window, size: int, expected: str):
    assert window.formula(size) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"kernel": 0}, "The kernel of a window must be at least 1, got 0."),
        ({"kernel": 3, "stride": 0}, "The stride of a window must be at least 1, got 0."),
        ({"kernel": 3, "dilation": -1}, "The dilation of a window must be at least 1, got -1."),
        ({"kernel": 3, "padding": (0, -1)}, "The padding of a window must not be negative, got (0, -1)."),
    ],
)
def test_a_window_that_cannot_be_is_refused(arguments: dict, message: str):
    with pytest.raises(ModelError) as error:
        Window(**arguments)
    assert str(error.value) == message


# Coverage


def test_without_padding_the_corner_is_used_once_and_the_middle_three_times():
    assert Window(3).coverage(6) == (1, 2, 3, 3, 2, 1)
    assert Window(3, padding=1).coverage(6) == (2, 3, 3, 3, 3, 2)


@pytest.mark.parametrize(
    ("window", "size", "expected"),
    [
        (Window(3, stride=2), 7, ()),
        (Window(3, stride=2), 8, (7,)),
        (Window(2, stride=2), 5, (4,)),
        (Window(2, stride=2, ceil_mode=True), 5, ()),
        (Window(1, stride=2), 6, (1, 3, 5)),
        (Window(3), 2, (0, 1)),
    ],
)
def test_positions_that_no_window_covers_are_named(window: Window, size: int, expected: tuple[int, ...]):
    assert window.never_covered(size) == expected


@settings(deadline=None, max_examples=80)
@given(window=windows, size=st.integers(1, 20))
def test_coverage_is_the_gradient_of_the_sum_of_a_filter_of_ones(window: Window, size: int):
    assume(window.output_size(size) >= 1)
    signal = torch.ones(size, dtype=torch.float64, requires_grad=True)
    convolve(signal, window).sum().backward()
    assert window.coverage(size) == tuple(int(count) for count in signal.grad)


# Receptive fields


def influencing(output_N: torch.Tensor, signal_N: torch.Tensor, index: int) -> tuple[int, int]:
    """First and last input position on which output `index` depends, by automatic differentiation."""
    (gradient_N,) = torch.autograd.grad(output_N[index], signal_N, retain_graph=True)
    positions = gradient_N.nonzero().flatten()
    return int(positions[0]), int(positions[-1])


def assert_field_is_what_influences(field: ReceptiveField, output_N: torch.Tensor, signal_N: torch.Tensor):
    inside = [
        i
        for i in range(len(output_N))
        if field.first + i * field.jump >= 0 and field.last + i * field.jump < len(signal_N)
    ]
    assert len(inside) >= 2, "the signal is too short to tell"
    for index in (inside[0], inside[1], inside[-1]):
        expected = field.first + index * field.jump, field.last + index * field.jump
        assert influencing(output_N, signal_N, index) == expected


small_windows = st.builds(
    Window,
    kernel=st.integers(1, 4),
    stride=st.integers(1, 2),
    padding=st.tuples(st.integers(0, 2), st.integers(0, 2)),
    dilation=st.integers(1, 2),
)


@settings(deadline=None, max_examples=60)
@given(chain=st.lists(small_windows, min_size=1, max_size=4))
def test_the_field_of_a_sequence_is_what_influences_its_output(chain: list[Window]):
    signal_N = torch.ones(300, dtype=torch.float64, requires_grad=True)
    output_N = signal_N
    for window in chain:
        output_N = convolve(output_N, window)
    assert_field_is_what_influences(receptive_field(chain), output_N, signal_N)


@settings(deadline=None, max_examples=60)
@given(
    stem=small_windows,
    branches=st.lists(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 2)), max_size=3), min_size=2, max_size=4),
    tail=small_windows,
)
def test_the_field_of_branches_that_meet_is_what_influences_their_sum(stem: Window, branches: list, tail: Window):
    signal_N = torch.ones(300, dtype=torch.float64, requires_grad=True)
    stem_N, stem_field = convolve(signal_N, stem), receptive_field([stem])
    outputs, fields = [], []
    for branch in branches:
        output_N, field = stem_N, stem_field
        for kernel, dilation in branch:
            window = same_window(kernel, dilation)
            output_N, field = convolve(output_N, window), field.after(window)
        outputs.append(output_N)
        fields.append(field)
    output_N = convolve(torch.stack(outputs).sum(0), tail)
    assert_field_is_what_influences(combine(fields).after(tail), output_N, signal_N)


def resnet_field(units: tuple[int, ...], bottleneck: bool, stride_last: bool = False) -> ReceptiveField:
    """ResNet (He et al. 2015, Table 1) with torchvision's strides, or TF-slim v1's in the last unit of a block."""
    field = receptive_field([Window(7, 2, 3), Window(3, 2, 1)])
    for stage, num_units in enumerate(units):
        for unit in range(num_units):
            if stride_last:
                strided = stage < 3 and unit == num_units - 1
            else:
                strided = stage > 0 and unit == 0
            stride = 2 if strided else 1
            kernels = (
                [Window(1), Window(3, stride, 1), Window(1)] if bottleneck else [Window(3, stride, 1), Window(3, 1, 1)]
            )
            branch = field
            for window in kernels:
                branch = branch.after(window)
            field = combine([branch, field.after(Window(1, stride))])
    return field


@pytest.mark.parametrize(
    ("field", "size"),
    [
        (resnet_field((2, 2, 2, 2), bottleneck=False), 435),
        (resnet_field((3, 4, 6, 3), bottleneck=True), 427),
        (resnet_field((3, 4, 6, 3), bottleneck=True, stride_last=True), 483),  # the often-quoted one, of TF-slim v1
        (
            receptive_field(
                [w for convs in (2, 2, 3, 3, 3) for w in [*[Window(3, padding=1)] * convs, Window(2, stride=2)]]
            ),
            212,  # VGG-16 at pool5
        ),
    ],
)
def test_published_receptive_fields(field: ReceptiveField, size: int):
    assert (field.size, field.jump) == (size, 32)


def test_two_3x3_see_what_one_5x5_sees():
    assert receptive_field([Window(3), Window(3)]) == receptive_field([Window(5)])


def test_start_jump_and_size_by_hand():
    field = receptive_field([Window(3, 2, 1), Window(3, 2, 1)])
    assert (field.first, field.last, field.size, field.jump, field.start) == (-3, 3, 7, 4, 0.0)
    even = receptive_field([Window(2, stride=2)])
    assert (even.size, even.jump, even.start) == (2, 2, 0.5)
    dense = even.after_whole_map(16)
    assert (dense.first, dense.last, dense.size) == (0, 31, 32)


def test_a_gate_from_global_pooling_makes_the_field_of_every_position_the_whole_map():
    field = receptive_field([Window(3, stride=2, padding=1)])
    gated = combine([field, field.after_whole_map(16)], num_positions=16)
    assert (gated.first, gated.last, gated.jump) == (-1, 31, 2)


def test_branches_with_different_strides_cannot_meet():
    with pytest.raises(ModelError) as error:
        combine([receptive_field([Window(1, stride=2)]), ReceptiveField()])
    assert str(error.value) == (
        "Branches that meet must have one jump, got 1, 2.\n"
        "The strides along the branches differ, so their maps do not lie on each other."
    )
    with pytest.raises(ModelError) as error:
        combine([])
    assert str(error.value) == "A sum or concatenation needs at least one branch, got none."


# Parameters and multiply-adds


def test_sharing_parameters_against_a_dense_layer():
    assert geometry.dense_parameters(32 * 32 * 3, 28 * 28 * 6, bias=False) == 14_450_688
    assert geometry.conv_parameters(3, 6, (5, 5)) == 456
    assert geometry.conv_parameters(1, 6, (5, 5)) == 156
    assert geometry.dense_parameters(1000 * 1000 * 3, 1000, bias=False) == 3_000_000_000
    assert geometry.conv_parameters(3, 10, (3, 3)) == 280


def test_network_b_has_the_parameters_of_its_table():
    assert geometry.conv_parameters(3, 8, (5, 5)) == 608
    assert geometry.conv_parameters(8, 16, (5, 5)) == 3216
    assert [geometry.dense_parameters(*io) for io in ((400, 120), (120, 84), (84, 10))] == [48120, 10164, 850]


def test_network_b_has_the_activations_of_its_table():
    sizes = [32]
    for window in (Window(5), Window(2, 2), Window(5), Window(2, 2)):
        sizes.append(window.output_size(sizes[-1]))
    channels = [3, 8, 8, 16, 16]
    assert [size * size * c for size, c in zip(sizes, channels)] == [3072, 6272, 1568, 1600, 400]


def test_network_a_ends_in_1960_values():
    size = 39
    for window in (Window(3), Window(5, stride=2), Window(5, stride=2)):
        size = window.output_size(size)
    assert size * size * 40 == 1960


def test_multiply_adds_of_the_naive_and_the_bottleneck_inception_branch():
    assert geometry.conv_multiply_adds(192, (32, 28, 28), (5, 5)) == 120_422_400
    assert geometry.conv_multiply_adds(192, (16, 28, 28), (1, 1)) == 2_408_448
    assert geometry.conv_multiply_adds(16, (32, 28, 28), (5, 5)) == 10_035_200


@settings(deadline=None, max_examples=30)
@given(
    groups=st.integers(1, 3),
    multiples=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    kernel_hw=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    bias=st.booleans(),
)
def test_parameters_are_those_of_torchs_layer(groups: int, multiples: tuple, kernel_hw: tuple, bias: bool):
    inputs, outputs = groups * multiples[0], groups * multiples[1]
    layer = torch.nn.Conv2d(inputs, outputs, kernel_hw, groups=groups, bias=bias)
    assert geometry.conv_parameters(inputs, outputs, kernel_hw, groups, bias) == sum(
        p.numel() for p in layer.parameters()
    )


def test_a_grouped_convolution_costs_the_dense_one_divided_by_the_groups():
    assert geometry.conv_multiply_adds(96, (256, 27, 27), (5, 5), groups=2) * 2 == geometry.conv_multiply_adds(
        96, (256, 27, 27), (5, 5)
    )
    assert geometry.dense_multiply_adds(400, 120) == 48_000


def test_groups_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ModelError) as error:
        geometry.conv_parameters(3, 8, (3, 3), groups=2)
    assert str(error.value) == "Groups must divide the channels, got 2 groups for 3 -> 8 channels."
