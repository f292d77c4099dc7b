"""One resample for all geometry, held against an independent float64 computation."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from saccade.core.types import Preprocessing
from saccade.data.augment.shared.geometry import (
    Canvas,
    centre_frame,
    largest_stretches,
    resample,
    shrink_factors,
    whole_box,
)
from saccade.data.augmentation import Border
from saccade.data.images.preprocess import prepare_image

PAD = {"reflect": "reflect", "edge": "edge", "mean": "constant", "black": "constant"}
MARGIN = 400


def smooth_image(height: int, width: int, channels: int = 3) -> np.ndarray:
    """Waves with at most 9 levels between neighbouring pixels."""
    y, x = np.mgrid[:height, :width]
    waves = [np.sin(x / 15 + k) + np.cos(y / 17 - k) * np.sin((x + y) / 29) for k in range(channels)]
    return np.rint(127 + 63 * np.stack(waves, axis=-1)).clip(0, 255).astype(np.uint8)


def canvas(height: int, width: int, border: Border = "reflect", channels: int = 3) -> Canvas:
    fill_C = np.array([200, 100, 50], np.uint8)[:channels]
    return Canvas(size_HW=(height, width), interpolation="bilinear", border=border, fill_C=fill_C)


def bilinear(image_HWC: np.ndarray, x: np.ndarray, y: np.ndarray, what: Canvas) -> np.ndarray:
    """The image at centred coordinates, float64; outside it continues by `np.pad`."""
    height, width, channels = image_HWC.shape
    padding = [(MARGIN, MARGIN), (MARGIN, MARGIN)]
    planes = []
    for channel in range(channels):
        constant = {"constant_values": float(what.fill_C[channel])} if PAD[what.border] == "constant" else {}
        planes.append(np.pad(image_HWC[:, :, channel].astype(np.float64), padding, mode=PAD[what.border], **constant))
    padded = np.stack(planes, axis=-1)
    column, row = x + (width - 1) / 2 + MARGIN, y + (height - 1) / 2 + MARGIN
    left, top = np.floor(column).astype(int), np.floor(row).astype(int)
    right_part, bottom_part = (column - left)[..., None], (row - top)[..., None]
    upper = padded[top, left] * (1 - right_part) + padded[top, left + 1] * right_part
    lower = padded[top + 1, left] * (1 - right_part) + padded[top + 1, left + 1] * right_part
    return upper * (1 - bottom_part) + lower * bottom_part


def averaged(image_HWC: np.ndarray, down: int, across: int) -> np.ndarray:
    height, width = image_HWC.shape[0] // down, image_HWC.shape[1] // across
    blocks = image_HWC[: height * down, : width * across].reshape(height, down, width, across, -1)
    return blocks.astype(np.float64).mean(axis=(1, 3))


def triangle_weights(size: int, output: int) -> np.ndarray:
    """Antialiased linear filter, float64 (output, size): a triangle two output (or input) pixels wide."""
    scale = size / output
    centre = (np.arange(output) + 0.5)[:, None] * scale
    weight = (1 - np.abs(np.arange(size) + 0.5 - centre) / max(scale, 1)).clip(0)
    return weight / weight.sum(axis=1, keepdims=True)


def places(what: Canvas) -> tuple[np.ndarray, np.ndarray]:
    height, width = what.size_HW
    y, x = np.mgrid[:height, :width].astype(np.float64)
    return x - (width - 1) / 2, y - (height - 1) / 2


def draw(image_HWC: np.ndarray, matrix: np.ndarray, what: Canvas, displacement: np.ndarray | None = None) -> np.ndarray:
    return resample(image_HWC, matrix, displacement, what)


def turned(degrees: float, scale: float, right: float = 0.0, down: float = 0.0, slant: float = 0.0) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array(
        [
            [scale * np.cos(angle), scale * (np.sin(angle) + slant), right],
            [-scale * np.sin(angle), scale * np.cos(angle), down],
            [0, 0, 1],
        ]
    )


@settings(deadline=None, max_examples=60)
@given(
    st.floats(-180, 180),
    st.floats(0.3, 1.6),
    st.tuples(st.floats(-60, 60), st.floats(-60, 60)),
    st.floats(-0.4, 0.4),
    st.sampled_from(["reflect", "edge", "mean", "black"]),
    st.sampled_from([1, 3]),
)
def test_a_warp_equals_float64_bilinear_interpolation(degrees, scale, move, slant, border, channels):
    image, what = smooth_image(97, 120, channels), canvas(48, 56, border, channels)
    matrix = turned(degrees, scale, *move, slant=slant)
    if max(shrink_factors(matrix, what.size_HW)) >= 1.64:
        return
    x, y = places(what)
    source = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    expected = bilinear(image, source[0].reshape(x.shape), source[1].reshape(x.shape), what)
    difference = np.abs(draw(image, matrix, what) - expected)
    at_a_colour_border = border in ("mean", "black")
    # Half a level of rounding, and up to 1/64 pixel of position; where a colour meets the image that is a step.
    assert np.median(difference) <= 0.5
    assert (difference > 1.3).mean() <= (0.05 if at_a_colour_border else 0)
    assert difference.max() <= 1.3 + (255 / 32 if at_a_colour_border else 0)


@pytest.mark.parametrize("scale", [1.7, 2.0, 2.6, 3.2, 4.9])
@pytest.mark.parametrize("degrees", [0.0, 12.0])
def test_a_strong_reduction_reads_an_averaged_copy(scale: float, degrees: float):
    image, what = smooth_image(303, 401), canvas(40, 48)
    factor = int(scale + 0.35)
    matrix = turned(degrees, scale, right=3.25, down=-7.5)
    x, y = places(what)
    source = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    small = averaged(image, factor, factor)
    # Column 0 of the copy covers columns 0 to factor - 1 of the image: both have the same left and top border.
    column, row = ((source[0] + 401 / 2) / factor, (source[1] + 303 / 2) / factor)
    expected = bilinear(small, column - small.shape[1] / 2, row - small.shape[0] / 2, what).reshape(40, 48, 3)
    assert np.abs(draw(image, matrix, what) - expected).max() <= 2


@settings(deadline=None, max_examples=40)
@given(st.data(), st.sampled_from([1, 3]), st.booleans(), st.booleans())
def test_a_whole_box_is_filtered_as_evaluation_filters(data, channels, mirrored, upside_down):
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    image = rng.integers(0, 256, (61, 83, channels), dtype=np.uint8)  # noise: every weight counts
    top, left = data.draw(st.integers(0, 40)), data.draw(st.integers(0, 60))
    height, width = data.draw(st.integers(1, 61 - top)), data.draw(st.integers(1, 83 - left))
    what = canvas(data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40)), channels=channels)
    matrix = np.diag([width / what.size_HW[1], height / what.size_HW[0], 1.0])
    matrix[:2, 2] = left + width / 2 - 83 / 2, top + height / 2 - 61 / 2
    matrix = matrix @ np.diag([-1.0 if mirrored else 1.0, -1.0 if upside_down else 1.0, 1.0])
    assert whole_box(matrix, image.shape[:2], what) is not None
    box = image[top : top + height, left : left + width].astype(np.float64)
    expected = np.einsum(
        "yh,hwc,xw->yxc", triangle_weights(height, what.size_HW[0]), box, triangle_weights(width, what.size_HW[1])
    )[:: -1 if upside_down else 1, :: -1 if mirrored else 1]
    assert np.abs(draw(image, matrix, what) - expected).max() <= 1.05  # rounded after each of the two directions


@pytest.mark.parametrize("resize_px", [None, 40, 57])
@pytest.mark.parametrize("source_HW", [(61, 83), (90, 64), (40, 40)])
def test_the_frame_of_evaluation_shows_what_evaluation_sees(resize_px: int | None, source_HW: tuple[int, int]):
    preprocessing = Preprocessing(input_height_px=36, input_width_px=40, resize_px=resize_px)
    image, what = smooth_image(*source_HW), canvas(36, 40, "edge")
    matrix = centre_frame(source_HW, preprocessing)
    expected = prepare_image(image, preprocessing).astype(float)
    shown = draw(image, matrix, what)
    assert np.abs(shown - expected)[1:-1, 1:-1].max() <= 6  # another filter where it shrinks, the same place
    moved = matrix.copy()
    moved[:2, 2] += 0.5 * np.diag(matrix)[:2]
    assert np.abs(draw(image, moved, what) - expected).mean() > 2 * np.abs(shown - expected).mean()


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 99), st.floats(-30, 30), st.sampled_from(["reflect", "edge", "black"]))
def test_a_displacement_moves_every_pixel_before_the_matrix(seed, degrees, border):
    image, what = smooth_image(80, 90), canvas(50, 60, border)
    x, y = places(what)
    phase = seed / 7
    displacement = np.stack([3 * np.sin(y / 9 + phase), 2 * np.cos(x / 8 - phase)], axis=-1).astype(np.float32)
    matrix = turned(degrees, 1.2, right=2.0)
    moved = np.stack([(x + displacement[:, :, 0]).ravel(), (y + displacement[:, :, 1]).ravel(), np.ones(x.size)])
    source = matrix @ moved
    expected = bilinear(image, source[0].reshape(x.shape), source[1].reshape(x.shape), what)
    difference = np.abs(draw(image, matrix, what, displacement) - expected)
    assert np.median(difference) <= 0.5
    assert (difference > 1.3).mean() <= (0.05 if border == "black" else 0)


CORNERS = [(-1, -1), (1, -1), (1, 1), (-1, 1)]


def leaning(across: float, down: float, scale: float, right: float = 0.0) -> np.ndarray:
    """A homography that shrinks by `scale` in the middle; `across` and `down` say how fast the depth changes."""
    return turned(5, scale, right) @ np.array([[1, 0.02, 1.5], [-0.03, 1.1, -2.0], [across, down, 1.0]])


def seen(matrix: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    place = matrix @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    return (place[0] / place[2]).reshape(x.shape), (place[1] / place[2]).reshape(x.shape)


@settings(deadline=None, max_examples=40)
@given(
    st.floats(-0.012, 0.012),
    st.floats(-0.012, 0.012),
    st.sampled_from(["reflect", "edge", "black"]),
    st.sampled_from([1, 3]),
    st.booleans(),
)
def test_a_perspective_equals_float64_bilinear_interpolation(across, down, border, channels, has_displacement):
    image, what = smooth_image(97, 120, channels), canvas(48, 56, border, channels)
    matrix = leaning(across, down, 0.9)
    if max(shrink_factors(matrix, what.size_HW)) >= 1.64:
        return
    x, y = places(what)
    displacement = None
    if has_displacement:
        displacement = np.stack([2 * np.sin(y / 9), np.cos(x / 8)], axis=-1).astype(np.float32)
        x, y = x + displacement[:, :, 0], y + displacement[:, :, 1]
    expected = bilinear(image, *seen(matrix, x, y), what)
    difference = np.abs(draw(image, matrix, what, displacement) - expected)
    # Where the picture is shrunk a pixel spans more levels, so the same 1/64 pixel weighs more.
    assert np.median(difference) <= 0.5
    assert (difference > 1.6).mean() <= (0.05 if border == "black" else 0)


def test_a_perspective_is_shrunk_as_its_nearest_corner_and_never_blurred_there():
    size_HW = (48, 56)
    for across, down in ((0.01, 0.0), (-0.006, 0.008)):
        matrix = leaning(across, down, 3.0)
        step, factors = 1e-5, []
        for side_x, side_y in CORNERS:
            x, y = np.array([[side_x * 28.0]]), np.array([[side_y * 24.0]])
            here, right, below = seen(matrix, x, y), seen(matrix, x + step, y), seen(matrix, x, y + step)
            slopes = [[(moved[axis] - here[axis]).item() / step for moved in (right, below)] for axis in range(2)]
            factors.append([np.hypot(*slope) for slope in slopes])
        expected = np.min(factors, axis=0)
        assert shrink_factors(matrix, size_HW) == pytest.approx(expected.tolist(), rel=1e-3)
        both = np.stack([matrix, turned(20, 2.0)])
        assert largest_stretches(both, size_HW) == pytest.approx([np.max(factors), 2.0], rel=1e-3)
        assert whole_box(matrix, (300, 300), canvas(*size_HW)) is None


def test_a_strong_reduction_in_perspective_reads_an_averaged_copy():
    image, what = smooth_image(303, 401), canvas(40, 48)
    matrix = leaning(0.004, -0.003, 3.4)
    across, down = (int(factor + 0.35) for factor in shrink_factors(matrix, what.size_HW))
    assert min(across, down) >= 2
    small = averaged(image, down, across)
    x, y = seen(matrix, *places(what))
    column, row = (x + 401 / 2) / across - small.shape[1] / 2, (y + 303 / 2) / down - small.shape[0] / 2
    assert np.abs(draw(image, matrix, what) - bilinear(small, column, row, what)).max() <= 3


def test_the_identity_is_exact_on_both_ways():
    image = np.random.default_rng(0).integers(0, 256, (31, 44, 3), dtype=np.uint8)
    assert (draw(image, np.eye(3), canvas(31, 44)) == image).all()
    assert (draw(image, np.eye(3), canvas(31, 44), np.zeros((31, 44, 2), np.float32)) == image).all()
    assert (draw(image, np.diag([-1.0, 1.0, 1.0]), canvas(31, 44)) == image[:, ::-1]).all()


def test_a_box_outside_the_image_or_between_pixels_is_warped():
    image = smooth_image(30, 30)
    inside = np.diag([0.5, 0.5, 1.0])
    assert whole_box(inside, image.shape[:2], canvas(20, 20)) is not None
    for change in [(0, 2, 0.25), (0, 2, 11.0), (0, 1, 0.01), (1, 0, -0.01)]:
        matrix = inside.copy()
        matrix[change[0], change[1]] += change[2]
        assert whole_box(matrix, image.shape[:2], canvas(20, 20)) is None


def test_bicubic_and_nearest_preprocessing_keep_their_filter():
    image = smooth_image(60, 60)
    for name, pillow in (("bicubic", Image.Resampling.BICUBIC), ("nearest", Image.Resampling.NEAREST)):
        what = Canvas(size_HW=(36, 36), interpolation=name, border="edge", fill_C=np.zeros(3, np.uint8))
        expected = np.asarray(Image.fromarray(image).resize((36, 36), pillow)).astype(int)
        shown = draw(image, np.diag([60 / 36, 60 / 36, 1.0]), what)
        assert np.abs(shown - expected).max() <= (1 if name == "bicubic" else 9)
