"""The NumPy reference against hand figures, torch in float64 (values and gradients), and algebra."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from saccade.conv import reference
from saccade.conv.geometry import Window, same_window
from saccade.conv.reference import Windows, convolve, cross_correlate, flip, full_windows
from saccade.core.errors import ModelError

TOLERANCE = 1e-10

ASKED = np.array([[0, 1, 4, 9, 16], [8, 2, 15, 13, 13], [15, 2, 8, 16, 9], [4, 1, 0, 1, 4], [9, 16, 8, 2, 15]])
SOBEL_X = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]])
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])
VERTICAL = np.array([[1, 0, -1]] * 3)


def one(array_HW: np.ndarray) -> np.ndarray:
    """One image of one channel, or one kernel of one channel."""
    return np.asarray(array_HW, np.float64)[None, None]


THREE = Window(3)


def square(window: Window) -> Windows:
    return window, window


def correlated(image_HW: np.ndarray, kernel_HW: np.ndarray, window: Window = THREE) -> np.ndarray:
    return cross_correlate(one(image_HW), one(kernel_HW), square(window))[0, 0]


def convolved(image_HW: np.ndarray, kernel_HW: np.ndarray, window: Window = THREE) -> np.ndarray:
    return convolve(one(image_HW), one(kernel_HW), square(window))[0, 0]


# Figures by hand


def test_the_vertical_edge_of_the_literature():
    left_bright = np.repeat([[10] * 3 + [0] * 3], 6, axis=0)
    assert_array_equal(correlated(left_bright, VERTICAL), [[0, 30, 30, 0]] * 4)
    assert_array_equal(correlated(left_bright[:, ::-1], VERTICAL), [[0, -30, -30, 0]] * 4)


def test_the_horizontal_edge_of_the_literature():
    quarters = np.kron([[10, 0], [0, 10]], np.ones((3, 3)))
    expected = [[0, 0, 0, 0], [30, 10, -10, -30], [30, 10, -10, -30], [0, 0, 0, 0]]
    assert_array_equal(correlated(quarters, VERTICAL.T), expected)


def test_sobel_vectors():
    expected = np.array([[11, 44, 9], [-11, 39, 4], [-16, 0, 16]])
    assert_array_equal(correlated(ASKED, SOBEL_X), expected)
    assert_array_equal(convolved(ASKED, SOBEL_X), -expected)
    strided = correlated(ASKED, SOBEL_X, Window(3, stride=2, padding=1))
    assert_array_equal(strided, [[4, 27, -31], [7, 39, -46], [33, -28, -5]])


def test_emboss_vectors_tell_correlation_from_true_convolution():
    assert_array_equal(correlated(ASKED, EMBOSS), [[26, 60, 28], [-22, 5, -17], [-3, 0, 5]])
    assert_array_equal(convolved(ASKED, EMBOSS), [[-22, -30, -2], [26, 11, 49], [5, 0, -3]])


def test_the_flip_of_the_literature():
    flipped = flip(np.array([[3, 4, 5], [1, 0, 2], [-1, 9, 7]]))
    assert_array_equal(flipped, [[7, 9, -1], [2, 0, 1], [5, 4, 3]])


def test_a_filter_on_the_red_channel_only_is_zero_in_the_others():
    rng = np.random.default_rng(0)
    image_BCHW = rng.normal(size=(1, 3, 6, 6))
    kernel_OIHW = np.zeros((1, 3, 3, 3))
    kernel_OIHW[0, 0] = VERTICAL
    result = cross_correlate(image_BCHW, kernel_OIHW, square(Window(3)))
    assert_allclose(result[0, 0], correlated(image_BCHW[0, 0], VERTICAL), atol=1e-12)


def test_a_vertical_and_a_horizontal_filter_together_give_two_output_channels():
    image_BCHW = np.random.default_rng(1).normal(size=(1, 3, 6, 6))
    kernel_OIHW = np.stack([np.stack([VERTICAL] * 3), np.stack([VERTICAL.T] * 3)])
    assert cross_correlate(image_BCHW, kernel_OIHW, square(Window(3))).shape == (1, 2, 4, 4)


def test_pooling_by_hand():
    image = one([[1, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]])
    assert_array_equal(reference.max_pool(image, square(Window(2, 2)))[0, 0], [[9, 2], [6, 3]])
    assert_array_equal(reference.average_pool(image, square(Window(2, 2)))[0, 0], [[3.75, 1.25], [3.75, 2]])
    overlapping = one([[1, 3, 2, 1, 3], [2, 9, 1, 1, 5], [1, 3, 2, 3, 2], [8, 3, 5, 1, 0], [5, 6, 1, 2, 9]])
    assert_array_equal(reference.max_pool(overlapping, square(Window(3)))[0, 0], [[9, 9, 5], [9, 9, 5], [8, 6, 9]])


def test_average_pooling_collapses_the_last_map_of_a_deep_network():
    image_BCHW = np.random.default_rng(0).normal(size=(1, 1000, 7, 7))
    pooled = reference.average_pool(image_BCHW, square(Window(7)))
    assert pooled.shape == (1, 1000, 1, 1)
    assert_allclose(pooled[..., 0, 0], image_BCHW.mean(axis=(2, 3)), atol=1e-12)


def test_padding_never_wins_a_maximum_and_counts_as_zeros_in_a_mean_unless_told_otherwise():
    image, windows = one(-np.ones((2, 2))), square(Window(2, 2, 1))
    assert_array_equal(reference.max_pool(image, windows)[0, 0], [[-1, -1], [-1, -1]])
    assert_array_equal(reference.average_pool(image, windows)[0, 0], np.full((2, 2), -0.25))
    assert_array_equal(reference.average_pool(image, windows, count_include_pad=False)[0, 0], -np.ones((2, 2)))


def test_the_gradient_of_a_maximum_goes_to_the_first_of_equals():
    gradient = reference.max_pool_gradient(one([[7.0]]), one(np.zeros((2, 2))), square(Window(2)))
    assert_array_equal(gradient[0, 0], [[7, 0], [0, 0]])


# Algebra

small_arrays = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 2**32 - 1)).map(
    lambda shape_seed: np.random.default_rng(shape_seed[2]).integers(-9, 10, shape_seed[:2])
)


def full(operation, image_HW: np.ndarray, kernel_HW: np.ndarray) -> np.ndarray:
    return operation(one(image_HW), one(kernel_HW), full_windows(kernel_HW))[0, 0]


@settings(deadline=None, max_examples=60)
@given(a=small_arrays, b=small_arrays, c=small_arrays)
def test_true_convolution_is_associative_and_commutative(a: np.ndarray, b: np.ndarray, c: np.ndarray):
    assert_array_equal(full(convolve, full(convolve, a, b), c), full(convolve, a, full(convolve, b, c)))
    assert_array_equal(full(convolve, a, b), full(convolve, b, a))


def test_cross_correlation_is_not_associative():
    rng = np.random.default_rng(2)
    a, b, c = (rng.integers(-9, 10, (3, 3)) for _ in range(3))
    left = full(cross_correlate, full(cross_correlate, a, b), c)
    right = full(cross_correlate, a, full(cross_correlate, b, c))
    assert left.shape == right.shape
    assert np.abs(left - right).max() > 100


@settings(deadline=None, max_examples=40)
@given(a=small_arrays, b=small_arrays, c=small_arrays)
def test_correlating_twice_is_correlating_with_the_true_convolution_of_the_kernels(a, b, c):
    twice = full(cross_correlate, full(cross_correlate, a, b), c)
    assert_array_equal(twice, full(cross_correlate, a, full(convolve, b, c)))


# Against torch


@st.composite
def layers(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, Windows, int]:
    """image_BCHW, kernel_OIHW, windows that fit, groups."""
    integers = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    groups = integers(1, 3)
    windows = tuple(
        Window(
            kernel=integers(1, 4),
            stride=integers(1, 3),
            padding=(integers(0, 3), integers(0, 3)),
            dilation=integers(1, 3),
        )
        for _ in range(2)
    )
    size_hw = [integers(1, 9) for _ in range(2)]
    assume(all(window.output_size(size) >= 1 for window, size in zip(windows, size_hw)))
    rng = np.random.default_rng(integers(0, 2**32 - 1))
    inputs, outputs = integers(1, 2), integers(1, 2)
    image_BCHW = rng.normal(size=(integers(1, 2), groups * inputs, *size_hw))
    kernel_OIHW = rng.normal(size=(groups * outputs, inputs, windows[0].kernel, windows[1].kernel))
    return image_BCHW, kernel_OIHW, windows, groups


def torch_conv2d(image: torch.Tensor, kernel: torch.Tensor, windows: Windows, groups: int) -> torch.Tensor:
    height, width = windows
    padded = F.pad(image, (*width.pads, *height.pads))
    strides, dilations = (height.stride, width.stride), (height.dilation, width.dilation)
    return F.conv2d(padded, kernel, stride=strides, dilation=dilations, groups=groups)


def differentiable(array: np.ndarray) -> torch.Tensor:
    return torch.tensor(array, dtype=torch.float64, requires_grad=True)


@settings(deadline=None, max_examples=150)
@given(layer=layers(), flipped=st.booleans())
def test_torchs_convolution_and_its_gradients_are_the_references(layer: tuple, flipped: bool):
    image_BCHW, kernel_OIHW, windows, groups = layer
    image, kernel = differentiable(image_BCHW), differentiable(kernel_OIHW)
    output = torch_conv2d(image, kernel.flip(2, 3) if flipped else kernel, windows, groups)
    operation = convolve if flipped else cross_correlate
    gradients = reference.convolve_gradients if flipped else reference.cross_correlate_gradients
    expected = operation(image_BCHW, kernel_OIHW, windows, groups)
    assert_allclose(output.detach().numpy(), expected, atol=TOLERANCE, rtol=0)

    upstream = np.random.default_rng(3).normal(size=expected.shape)
    output.backward(torch.tensor(upstream))
    by_image, by_kernel = gradients(upstream, image_BCHW, kernel_OIHW, windows, groups)
    assert_allclose(image.grad.numpy(), by_image, atol=TOLERANCE, rtol=0)
    assert_allclose(kernel.grad.numpy(), by_kernel, atol=TOLERANCE, rtol=0)


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")
@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("dilation", [1, 2])
def test_torchs_same_padding_is_ours(kernel_size: int, dilation: int):
    rng = np.random.default_rng(kernel_size)
    image_BCHW, kernel_OIHW = rng.normal(size=(1, 2, 9, 7)), rng.normal(size=(3, 2, kernel_size, kernel_size))
    layer = torch.nn.Conv2d(2, 3, kernel_size, padding="same", dilation=dilation, bias=False, dtype=torch.float64)
    layer.weight = torch.nn.Parameter(torch.tensor(kernel_OIHW))
    windows = square(same_window(kernel_size, dilation))
    expected = cross_correlate(image_BCHW, kernel_OIHW, windows)
    assert_allclose(layer(torch.tensor(image_BCHW)).detach().numpy(), expected, atol=TOLERANCE, rtol=0)


@st.composite
def pools(draw: st.DrawFn) -> tuple[np.ndarray, Windows]:
    """image_BCHW and pooling windows that torch takes and that fit."""
    integers = lambda low, high: draw(st.integers(low, high))  # noqa: E731
    ceil_mode, windows = draw(st.booleans()), []
    for _ in range(2):
        kernel = integers(1, 4)
        windows.append(Window(kernel, integers(1, 4), integers(0, kernel // 2), integers(1, 2), ceil_mode))
    size_hw = [integers(1, 9) for _ in range(2)]
    assume(all(window.output_size(size) >= 1 for window, size in zip(windows, size_hw)))
    rng = np.random.default_rng(integers(0, 2**32 - 1))
    # Few distinct values: ties are part of the contract.
    return rng.integers(-3, 4, (2, 2, *size_hw)).astype(np.float64), (windows[0], windows[1])


def pool_arguments(windows: Windows) -> dict:
    height, width = windows
    names = {"kernel_size": "kernel", "stride": "stride", "padding": "padding"}
    arguments = {theirs: (getattr(height, ours), getattr(width, ours)) for theirs, ours in names.items()}
    return {**arguments, "ceil_mode": height.ceil_mode}


@settings(deadline=None, max_examples=120)
@given(pool=pools())
def test_torchs_max_pooling_and_its_gradient_are_the_references(pool: tuple[np.ndarray, Windows]):
    image_BCHW, windows = pool
    # A dilated window can have all its taps in the padding; torch's backward then writes outside its memory and aborts.
    assume(np.isfinite(reference.max_pool(image_BCHW, windows)).all())
    image = differentiable(image_BCHW)
    dilation = (windows[0].dilation, windows[1].dilation)
    output = F.max_pool2d(image, dilation=dilation, **pool_arguments(windows))
    assert_array_equal(output.detach().numpy(), reference.max_pool(image_BCHW, windows))
    upstream = np.random.default_rng(4).normal(size=output.shape)
    output.backward(torch.tensor(upstream))
    expected = reference.max_pool_gradient(upstream, image_BCHW, windows)
    assert_allclose(image.grad.numpy(), expected, atol=TOLERANCE, rtol=0)


@settings(deadline=None, max_examples=120)
@given(pool=pools(), count_include_pad=st.booleans())
def test_torchs_average_pooling_and_its_gradient_are_the_references(pool: tuple, count_include_pad: bool):
    image_BCHW, windows = pool
    windows = tuple(Window(w.kernel, w.stride, w.padding, ceil_mode=w.ceil_mode) for w in windows)  # torch: undilated
    assume(all(window.output_size(size) >= 1 for window, size in zip(windows, image_BCHW.shape[2:])))
    image = differentiable(image_BCHW)
    output = F.avg_pool2d(image, count_include_pad=count_include_pad, **pool_arguments(windows))
    expected = reference.average_pool(image_BCHW, windows, count_include_pad)
    assert_allclose(output.detach().numpy(), expected, atol=TOLERANCE, rtol=0)
    upstream = np.random.default_rng(5).normal(size=output.shape)
    output.backward(torch.tensor(upstream))
    by_image = reference.average_pool_gradient(upstream, image_BCHW, windows, count_include_pad)
    assert_allclose(image.grad.numpy(), by_image, atol=TOLERANCE, rtol=0)


class ReferenceConvolution(torch.autograd.Function):
    """The reference as a torch operation, so that gradcheck can hold its gradients against finite differences."""

    @staticmethod
    def forward(context, image, kernel, windows, groups):
        context.save_for_backward(image, kernel)
        context.layer = windows, groups
        return torch.from_numpy(cross_correlate(image.detach().numpy(), kernel.detach().numpy(), windows, groups))

    @staticmethod
    def backward(context, upstream):
        image, kernel = (tensor.detach().numpy() for tensor in context.saved_tensors)
        gradients = reference.cross_correlate_gradients(upstream.numpy(), image, kernel, *context.layer)
        return *(torch.from_numpy(np.ascontiguousarray(gradient)) for gradient in gradients), None, None


@settings(deadline=None, max_examples=15)
@given(layer=layers())
def test_the_references_gradients_pass_gradcheck(layer: tuple):
    image_BCHW, kernel_OIHW, windows, groups = layer
    assume(image_BCHW.size <= 60)
    arguments = (differentiable(image_BCHW), differentiable(kernel_OIHW), windows, groups)
    assert torch.autograd.gradcheck(ReferenceConvolution.apply, arguments)


# Padding styles and bad shapes


@pytest.mark.parametrize(("ours", "theirs"), [("zero", "constant"), ("reflect", "reflect"), ("replicate", "replicate")])
def test_padding_modes_are_torchs(ours: reference.PaddingMode, theirs: str):
    image_BCHW = np.random.default_rng(6).normal(size=(1, 2, 5, 6))
    windows = (Window(4, padding=(1, 2)), Window(7, padding=3))
    expected = F.pad(torch.tensor(image_BCHW), (3, 3, 1, 2), mode=theirs).numpy()
    assert_array_equal(reference.pad(image_BCHW, windows, ours), expected)


def test_reflecting_more_than_the_image_has_is_refused():
    with pytest.raises(ModelError) as error:
        reference.pad(np.zeros((1, 1, 2, 9)), (Window(5, padding=2), Window(5, padding=2)), "reflect")
    assert str(error.value) == (
        "Reflecting needs more rows than padding, got 2 rows and padding 2.\n"
        "Use zero or replicate padding, or a larger image."
    )


CHANNELS = "Filter channels must equal image channels"


@pytest.mark.parametrize(
    ("image_shape", "kernel_shape", "groups", "message"),
    [
        ((1, 3, 5, 5), (1, 1, 3, 3), 1, f"{CHANNELS}: 1 groups of 1 for an image of 3 channels and 1 filters."),
        ((1, 4, 5, 5), (3, 2, 3, 3), 2, f"{CHANNELS}: 2 groups of 2 for an image of 4 channels and 3 filters."),
        ((1, 1, 5, 5), (1, 1, 2, 3), 1, "The kernel must have shape (O, I, 3, 3), got (1, 1, 2, 3)."),
        ((1, 1, 5, 2), (1, 1, 3, 3), 1, "The window does not fit on the width: floor((2 + 0 - 3)/1) + 1 = 0."),
        ((1, 5, 5), (1, 5, 3, 3), 1, "An image must have the four axes BCHW, got shape (1, 5, 5)."),
    ],
)
def test_shapes_that_do_not_agree_are_refused(image_shape: tuple, kernel_shape: tuple, groups: int, message: str):
    with pytest.raises(ModelError) as error:
        cross_correlate(np.zeros(image_shape), np.zeros(kernel_shape), square(Window(3)), groups)
    assert str(error.value) == message
