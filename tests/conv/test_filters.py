"""Named kernels against OpenCV and scikit-image, their rotation, and what a person may mistype."""

import math

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from skimage import filters as skimage_filters

from saccade.conv.filters import KERNELS, flip_effect, nearest_kernel, parse_kernel, rotate, steer
from saccade.conv.geometry import Window
from saccade.conv.reference import cross_correlate
from saccade.core.errors import UnknownNameError, UsageError


def weights(text: str) -> np.ndarray:
    return parse_kernel(text).weights_HW


def respond(image_HW: np.ndarray, kernel_HW: np.ndarray) -> np.ndarray:
    windows = tuple(Window(size) for size in kernel_HW.shape)
    return cross_correlate(image_HW[None, None], kernel_HW[None, None], windows)[0, 0]


NOISE = np.random.default_rng(0).integers(0, 256, (12, 9)).astype(np.float64)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("sobel-x", cv2.Sobel(NOISE, cv2.CV_64F, 1, 0)),
        ("sobel-y", cv2.Sobel(NOISE, cv2.CV_64F, 0, 1)),
        ("scharr-x", cv2.Scharr(NOISE, cv2.CV_64F, 1, 0)),
        ("scharr-y", cv2.Scharr(NOISE, cv2.CV_64F, 0, 1)),
        ("laplacian", cv2.Laplacian(NOISE, cv2.CV_64F)),
        ("box", cv2.blur(NOISE, (3, 3))),
        ("gaussian", cv2.GaussianBlur(NOISE, (3, 3), sigmaX=0)),
        ("prewitt-x", skimage_filters.prewitt_v(NOISE) * 3),
        ("prewitt-y", skimage_filters.prewitt_h(NOISE) * 3),
        ("vertical", skimage_filters.prewitt_v(NOISE) * -3),
        ("horizontal", skimage_filters.prewitt_h(NOISE) * -3),
        ("identity", NOISE),
        ("sharpen", NOISE - cv2.Laplacian(NOISE, cv2.CV_64F)),
    ],
)
def test_named_kernels_compute_what_opencv_and_scikit_image_compute(name: str, expected: np.ndarray):
    assert_allclose(respond(NOISE, weights(name)), expected[1:-1, 1:-1], atol=1e-9)


def test_emboss_is_the_asymmetric_preset():
    assert_array_equal(weights("emboss"), [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


@pytest.mark.parametrize("name", sorted(KERNELS))
def test_every_kernel_has_a_source_and_edges_answer_nothing_to_a_flat_image(name: str):
    assert len(KERNELS[name].source) > 10
    total = weights(name).sum()
    assert total == (0 if KERNELS[name].steerable or name == "laplacian" else 1)


# Rotation


@settings(deadline=None)
@given(name=st.sampled_from([name for name in KERNELS if KERNELS[name].steerable]), degrees=st.floats(-720, 720))
def test_a_turned_derivative_answers_the_slope_of_a_ramp_in_its_direction(name: str, degrees: float):
    row, column = np.mgrid[0:3, 0:3]
    upright = np.array([respond(ramp * 1.0, weights(name))[0, 0] for ramp in (column, -row)])  # to the right, upward
    turned = weights(f"{name}@{degrees!r}")
    angle = math.radians(degrees)
    direction = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) @ upright
    answer = [respond(ramp * 1.0, turned)[0, 0] for ramp in (column, -row)]
    assert_allclose(answer, direction, atol=1e-9)


@pytest.mark.parametrize("name", sorted(KERNELS))
@pytest.mark.parametrize("quarters", [-1, 0, 1, 2, 3, 4])
def test_quarter_turns_are_exact_and_counterclockwise(name: str, quarters: int):
    assert_array_equal(weights(f"{name}@{90 * quarters}"), np.rot90(weights(name), quarters))


def test_45_degrees_by_hand():
    diagonal = np.array([[0, 1, 1], [-1, 0, 1], [-1, -1, 0]]) * math.sqrt(2)
    assert_allclose(weights("45deg"), diagonal, atol=1e-12)
    assert_array_equal(weights("45deg"), weights("sobel-x@45"))
    assert_array_equal(weights("emboss@45"), [[-1, 0, 1], [-2, 1, 2], [-1, 0, 1]])  # the compass step
    assert_array_equal(weights("laplacian@45"), [[1, 0, 1], [0, -4, 0], [1, 0, 1]])


def test_sobel_turned_by_a_quarter_looks_up():
    assert_array_equal(weights("sobel-x@90"), -weights("sobel-y"))


@settings(deadline=None)
@given(size=st.integers(1, 6), degrees=st.floats(-720, 720), seed=st.integers(0, 1000))
def test_rotation_keeps_the_sum_and_turns_back(size: int, degrees: float, seed: int):
    kernel_HW = np.random.default_rng(seed).integers(-9, 10, (size, size)).astype(np.float64)
    assert_allclose(rotate(kernel_HW, degrees).sum(), kernel_HW.sum(), atol=1e-9)
    assert_allclose(rotate(rotate(kernel_HW, 90), -90), kernel_HW)
    assert_array_equal(rotate(kernel_HW, 180), kernel_HW[::-1, ::-1])
    assert_allclose(steer(steer(kernel_HW, 180), 180), kernel_HW)


@pytest.mark.parametrize(
    ("text", "effect"),
    [
        ("sobel-x", "negative"),
        ("scharr-y", "negative"),
        ("45deg", "negative"),
        ("gaussian", "equal"),
        ("laplacian", "equal"),
        ("emboss", "different"),
        ("0,0;0,0", "equal"),
        ("1,2", "different"),
    ],
)
def test_what_flipping_does_is_said(text: str, effect: str):
    assert flip_effect(weights(text)) == effect


@pytest.mark.parametrize("text", [*KERNELS, "sobel-x@45", "scharr-x@70", "prewitt-x@-20"])
def test_the_nearest_named_kernel_of_nearly_its_numbers_is_itself(text: str):
    noise_HW = np.random.default_rng(0).normal(size=(3, 3))
    near_HW = weights(text) + 0.01 * np.linalg.norm(weights(text)) * noise_HW / np.linalg.norm(noise_HW)
    found = nearest_kernel(near_HW)
    assert found is not None
    assert np.linalg.norm(found.weights_HW - weights(text)) <= 0.02 * np.linalg.norm(weights(text))


def test_numbers_far_from_every_named_kernel_have_no_nearest():
    assert nearest_kernel(np.arange(9.0).reshape(3, 3)) is None
    assert nearest_kernel(np.zeros((3, 3))) is None
    assert nearest_kernel(np.ones((5, 5))) is None
    exact = nearest_kernel(weights("sobel-x"))
    assert exact is not None
    assert exact.name == "sobel-x"


# What a person types


@pytest.mark.parametrize(
    "text", ["1,0,-1;2,0,-2;1,0,-1", " 1 0 -1 ; 2 0 -2 ; 1 0 -1 ;", "1, 0, -1; 2 ,0, -2;1.0,0e0,-1", "Sobel-X@180"]
)
def test_numbers_may_be_written_in_several_ways(text: str):
    assert_array_equal(weights(text), [[1, 0, -1], [2, 0, -2], [1, 0, -1]])


def test_a_single_number_a_row_and_turned_numbers_are_kernels():
    assert_array_equal(weights("-2.5"), [[-2.5]])
    assert_array_equal(weights("1,0,-1"), [[1, 0, -1]])
    assert_array_equal(weights("1,2;3,4@90"), [[2, 4], [1, 3]])


KNOWN = (
    "Known: vertical, horizontal, prewitt-x, prewitt-y, sobel-x, sobel-y, scharr-x, scharr-y, laplacian, emboss, "
    "sharpen, box, gaussian, identity;\n"
    "any of them turned, such as 'sobel-x@30'; an edge at any angle, such as '45deg'; or numbers.\n"
)
WRITE = "Write rows between semicolons and numbers between commas, such as '1,0,-1;1,0,-1;1,0,-1'."


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("sobelx", "Unknown kernel 'sobelx'. Did you mean 'sobel-x'?"),
        ("sobel", "Unknown kernel 'sobel'. Did you mean 'sobel-x' or 'sobel-y'?"),
        ("qqqq", "Unknown kernel 'qqqq'."),
        ("gausian@20", "Unknown kernel 'gausian'. Did you mean 'gaussian'?"),
        ("", "Unknown kernel ''."),
        ("\x1b[31m", "Unknown kernel '\\x1b[31m'."),
    ],
)
def test_an_unknown_name_gets_the_nearest_one_and_all_that_exist(text: str, start: str):
    with pytest.raises(UnknownNameError) as error:
        parse_kernel(text)
    assert str(error.value) == f"{start}\n{KNOWN}{WRITE}"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,0;1", f"The rows of the kernel '1,0;1' have different lengths: 2, 1.\n{WRITE}"),
        ("1,a,2", f"Cannot read the kernel '1,a,2': 'a' is not a number.\n{WRITE}"),
        ("1,,2", f"Cannot read the kernel '1,,2': a number is missing.\n{WRITE}"),
        ("1,2;;3,4", f"Cannot read the kernel '1,2;;3,4': a number is missing.\n{WRITE}"),
        ("1,nan", "Cannot read the kernel '1,nan': its numbers must lie between -1e9 and 1e9, got nan."),
        ("1,1e400", "Cannot read the kernel '1,1e400': its numbers must lie between -1e9 and 1e9, got 1e400."),
        ("1," * 31 + "1", "A kernel has at most 31 rows and columns, got 1 rows of 32."),
        (
            "sobel-x@up",
            "Cannot read the kernel 'sobel-x@up': 'up' is not an angle in degrees.\n"
            "Write it as in 'sobel-x@30' or '45deg'.",
        ),
        (
            "infdeg",
            "Cannot read the kernel 'infdeg': 'inf' is not an angle in degrees.\n"
            "Write it as in 'sobel-x@30' or '45deg'.",
        ),
        (
            "1,2@30",
            "Only a square kernel can be turned, got 1x2.\nLeave out the '@' and its angle, or make it square.",
        ),
    ],
)
def test_malformed_kernels_are_refused_with_the_reason(text: str, message: str):
    with pytest.raises(UsageError) as error:
        parse_kernel(text)
    assert str(error.value) == message


@settings(deadline=None, max_examples=200)
@given(text=st.text(alphabet="0123456789.,;-+e@ degsobl-x\x00\u202e", max_size=30))
def test_whatever_is_typed_gives_a_finite_kernel_or_a_usage_error(text: str):
    try:
        kernel = parse_kernel(text)
    except UsageError:
        return
    assert np.isfinite(kernel.weights_HW).all()
    assert kernel.weights_HW.ndim == 2
