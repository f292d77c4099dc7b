"""What training sees of pictures of another shape: the same as evaluation, but for what augmentation draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.core.types import Preprocessing
from saccade.data.augment import crop, window
from saccade.data.augment.shared.geometry import canvas_for, centre_frame, resample
from saccade.data.augmentation import Scene
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.augmenter import Augmenter
from saccade.data.images.decode_for_training import as_rgbx
from saccade.data.images.preprocess import place_on_input, prepare_image

SHAPES = [(40, 90), (90, 40), (61, 83), (64, 48), (200, 30)]
FITS = {
    "pad": Preprocessing(fit="pad", input_height_px=48, input_width_px=36, mean=(0.9, 0.1, 0.5)),
    "squash": Preprocessing(fit="squash", input_height_px=48, input_width_px=36),
    "cover": Preprocessing(fit="cover", resize_px=40, input_height_px=48, input_width_px=36),
}


def smooth(height: int, width: int) -> np.ndarray:
    y, x = np.mgrid[:height, :width]
    waves = [128 + 90 * np.sin(x / 9 + c) * np.cos(y / 11 - c) for c in range(3)]
    return np.stack(waves, axis=-1).round().astype(np.uint8)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("source_HW", SHAPES)
def test_without_augmentation_the_frame_shows_what_evaluation_sees(fit: str, source_HW: tuple[int, int]):
    image, preprocessing = smooth(*source_HW), FITS[fit]
    canvas = canvas_for(preprocessing, "reflect")
    shown = resample(image, centre_frame(source_HW, preprocessing), None, canvas).astype(int)
    expected = prepare_image(image, preprocessing).astype(int)
    room = (expected == canvas.fill_C).all(axis=2) if fit == "pad" else np.zeros(expected.shape[:2], bool)
    assert np.array_equal(shown[room], expected[room])
    assert np.abs(shown - expected).max() <= (2 if fit != "cover" else 8)  # a cover is warped, at the same place


@pytest.mark.parametrize("channels", [3, 4])
def test_a_mirrored_picture_is_padded_where_the_mirror_puts_it(channels: int):
    image, preprocessing = smooth(40, 91), FITS["pad"]
    pixels = image if channels == 3 else as_rgbx(image)
    mirrored = centre_frame((40, 91), preprocessing) @ np.diag([-1.0, -1.0, 1.0])
    shown = resample(pixels, mirrored, None, canvas_for(preprocessing, "reflect"))[..., :3].astype(int)
    expected = prepare_image(image, preprocessing)[::-1, ::-1].astype(int)
    assert np.abs(shown - expected).max() <= 2


def drawn(area: float, log_aspect: float, across: float, down: float) -> dict[str, np.ndarray]:
    return {
        "area_fractions": np.full((1, 10), area),
        "log_aspects": np.full((1, 10), log_aspect),
        "log_aspect_limit": np.array([0.3]),
        "across_fraction": np.array([across]),
        "down_fraction": np.array([down]),
    }


@pytest.mark.parametrize("fit", ["pad", "squash"])
@pytest.mark.parametrize("source_HW", SHAPES)
def test_the_largest_random_box_is_what_evaluation_sees(fit: str, source_HW: tuple[int, int]):
    image, preprocessing = smooth(*source_HW), FITS[fit]
    frame = crop.frame(drawn(1.0, 0.0, 0.5, 0.5), 0, source_HW, Scene(preprocessing=preprocessing, epoch=0))
    evaluation = centre_frame(
        source_HW, preprocessing
    )  # which lies at whole pixels of the input, the box of the source
    assert frame == pytest.approx(evaluation, abs=1 + 0.5 * evaluation.max())
    shown = resample(image, frame, None, canvas_for(preprocessing, "reflect")).astype(int)
    assert np.abs(shown - prepare_image(image, preprocessing)).mean() <= 6


@settings(deadline=None, max_examples=150)
@given(
    st.sampled_from(SHAPES),
    st.sampled_from(sorted(FITS)),
    st.floats(0.05, 1),
    st.floats(-0.3, 0.3),
    st.floats(0, 0.9999),
    st.floats(0, 0.9999),
)
def test_a_random_box_has_the_area_and_aspect_that_were_drawn_and_never_shows_room_alone(
    source_HW, fit, area, log_aspect, across, down
):
    preprocessing = FITS[fit]
    scene = Scene(preprocessing=preprocessing, epoch=0)
    frame = crop.frame(drawn(area, log_aspect, across, down), 0, source_HW, scene)
    box_WH = np.diag(frame)[:2] * scene.size_HW[::-1]
    size_WH = np.array(source_HW[::-1])
    start_WH = frame[:2, 2] + (size_WH - box_WH) / 2
    assert start_WH == pytest.approx(np.rint(start_WH))
    assert box_WH == pytest.approx(np.rint(box_WH))
    inside_WH = np.minimum(start_WH + box_WH, size_WH) - np.maximum(start_WH, 0)
    assert inside_WH == pytest.approx(np.minimum(box_WH, size_WH))  # as much of the picture as the box can hold
    if fit != "pad":
        assert (start_WH >= -1e-9).all()
        assert (start_WH + box_WH <= size_WH + 1e-9).all()
    canvas_WH = size_WH.astype(float)
    if fit == "pad":
        shape = scene.size_HW[1] / scene.size_HW[0]
        canvas_WH = np.maximum(size_WH, [size_WH[1] * shape, size_WH[0] / shape])
    fraction_WH = box_WH / canvas_WH
    in_input = fraction_WH * scene.size_HW[::-1] if fit != "cover" else box_WH
    shape = scene.size_HW[1] / scene.size_HW[0]
    if fraction_WH.max() < 0.95 and box_WH.min() >= 12:  # a box that fits, of more than a few pixels
        assert fraction_WH.prod() == pytest.approx(area, rel=0.15)
        assert in_input[0] / in_input[1] == pytest.approx(shape * np.exp(log_aspect), rel=0.15)


def test_a_window_moves_nothing_where_nothing_is_cut_off():
    scene = Scene(preprocessing=FITS["pad"], epoch=0)
    moved = {"across_fraction": np.array([1.0]), "down_fraction": np.array([-1.0])}
    assert np.array_equal(window.frame(moved, 0, (40, 90), scene), centre_frame((40, 90), FITS["pad"]))


@pytest.mark.parametrize("border", ["reflect", "black"])
def test_the_mean_colour_lies_around_a_padded_picture_whatever_the_border(border: str):
    config = AugmentConfig.parse({"border": border, "rotation": {"max_degrees": 20.0}, "shift": {"max_px": 3}})
    augmenter = Augmenter(config, FITS["pad"], seed=0)
    image = np.full((30, 90, 3), 255, np.uint8)
    plan = augmenter.plan(0, np.arange(8))
    out_HWC = np.empty((48, 36, 3), np.uint8)
    for row in range(8):
        augmenter.render(augmenter.read(image, "photo", plan, row), plan, row, out_HWC)
        assert (out_HWC[0] == augmenter.mean_C).all()
        assert (out_HWC[-1] == augmenter.mean_C).all()
        assert (out_HWC == 255).all(axis=2).sum() >= 0.8 * np.prod(place_on_input((30, 90), FITS["pad"])[0])
