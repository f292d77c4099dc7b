"""A kernel over a photo against SciPy, and the words about flipping and coverage."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy import ndimage, signal

from saccade.conv.filters import parse_kernel
from saccade.core.errors import DataError, ModelError, UsageError
from saccade.filters.photo import FilterOptions, brightness, filter_photo

PHOTO = np.random.default_rng(0).integers(0, 256, (11, 14, 3)).astype(np.uint8)
EMBOSS = np.array([[-2, -1, 0], [-1, 1, 1], [0, 1, 2]])


def response(photo_HWC: np.ndarray, kernel: str, **options) -> np.ndarray:
    return filter_photo(photo_HWC, parse_kernel(kernel), FilterOptions(**options)).response_HWC


def by_channel(operation, photo_HWC: np.ndarray) -> np.ndarray:
    channels = photo_HWC.astype(np.float64).transpose(2, 0, 1)
    return np.stack([operation(channel_HW) for channel_HW in channels], axis=2)


def test_each_colour_channel_is_filtered_by_itself():
    expected = by_channel(lambda channel: signal.correlate2d(channel, EMBOSS, "valid"), PHOTO)
    assert_allclose(response(PHOTO, "emboss"), expected, atol=1e-9)


def test_true_convolution_is_scipys():
    expected = by_channel(lambda channel: signal.convolve2d(channel, EMBOSS, "valid"), PHOTO)
    assert_allclose(response(PHOTO, "emboss", true_convolution=True), expected, atol=1e-9)


@pytest.mark.parametrize(
    ("padding", "mode"), [("same", "constant"), ("zero", "constant"), ("reflect", "mirror"), ("replicate", "nearest")]
)
def test_padding_styles_keep_the_size_and_are_scipys(padding: str, mode: str):
    expected = by_channel(lambda channel: ndimage.correlate(channel, EMBOSS, mode=mode), PHOTO)
    assert_allclose(response(PHOTO, "emboss", padding=padding), expected, atol=1e-9)


def test_a_stride_keeps_every_second_value_and_a_divisor_divides():
    whole = response(PHOTO, "emboss")
    assert_allclose(response(PHOTO, "emboss", stride=2), whole[::2, ::2], atol=1e-9)
    assert_allclose(response(PHOTO, "emboss", divide_by=4), whole / 4, atol=1e-9)


def test_grey_filters_the_brightness():
    expected = response(PHOTO, "sobel-x") @ [0.299, 0.587, 0.114]
    assert_allclose(response(PHOTO, "sobel-x", grey=True)[..., 0], expected, atol=1e-9)
    assert brightness(PHOTO[..., :1]).dtype == np.float64


def test_the_identity_changes_nothing_even_with_an_even_filter_beside_it():
    assert_array_equal(response(PHOTO, "identity", padding="same"), PHOTO)
    assert response(PHOTO, "1,0;0,0", padding="same").shape == PHOTO.shape


@pytest.mark.parametrize(
    ("kernel", "note"),
    [
        (
            "scharr-x",
            "Flipping only changes the sign of this kernel: true convolution gives the exact negative of "
            "cross-correlation, and as absolute values the two look the same.",
        ),
        (
            "gaussian",
            "Flipping leaves this kernel as it is: cross-correlation and true convolution give the same values.",
        ),
        (
            "emboss",
            "Flipping changes this kernel: cross-correlation (what networks compute) and true convolution give "
            "different values.",
        ),
    ],
)
def test_the_teaching_trap_is_said_and_true(kernel: str, note: str):
    result = filter_photo(PHOTO, parse_kernel(kernel), FilterOptions())
    flipped = response(PHOTO, kernel, true_convolution=True)
    assert result.flip_note == note
    assert np.allclose(flipped, result.response_HWC) == (kernel == "gaussian")
    assert np.allclose(np.abs(flipped), np.abs(result.response_HWC)) == (kernel != "emboss")


@pytest.mark.parametrize(
    ("stride", "notes"),
    [
        (1, ()),
        (2, ("No window covers the last column.",)),
        (3, ("No window covers the last 2 rows and the last 2 columns.",)),
        (4, ("No window covers 2 of the 11 rows and 5 of the 14 columns.",)),
    ],
)
def test_what_no_window_covers_is_said(stride: int, notes: tuple[str, ...]):
    assert filter_photo(PHOTO, parse_kernel("box"), FilterOptions(stride=stride)).coverage_notes == notes


def test_an_image_smaller_than_the_kernel_is_refused_with_the_formula():
    with pytest.raises(DataError) as error:
        response(PHOTO[:2], "sobel-x")
    assert str(error.value) == (
        "The image is smaller than the kernel: 2x14 pixels (height x width) for a kernel of 3x3.\n"
        "Output height: floor((2 + 0 - 3)/1) + 1 = 0.\n"
        "Use --padding zero, a smaller kernel or a larger image."
    )
    assert response(PHOTO[:2], "sobel-x", padding="zero").shape == (2, 14, 3)


def test_reflecting_beyond_the_image_is_refused():
    with pytest.raises(ModelError) as error:
        response(PHOTO[:1], "sobel-x", padding="reflect")
    assert str(error.value) == (
        "Reflecting needs more rows than padding, got 1 rows and padding 1.\n"
        "Use zero or replicate padding, or a larger image."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"padding": "relect"},
            "Unknown padding 'relect'. Did you mean 'reflect'? Use one of: valid, same, zero, reflect, replicate.",
        ),
        ({"stride": 0}, "The stride must be at least 1, got 0."),
        ({"divide_by": 0.0}, "The kernel cannot be divided by 0; use a number such as 9."),
        ({"divide_by": float("nan")}, "The kernel cannot be divided by nan; use a number such as 9."),
    ],
)
def test_options_that_cannot_be_are_refused(options: dict, message: str):
    with pytest.raises(UsageError) as error:
        FilterOptions(**options)
    assert str(error.value) == message
