"""Where a place of the network's input lies on the photo: marks that are painted on photos and found again."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.core.types import Preprocessing
from saccade.data.images.preprocess import place_on_input, prepare_image
from saccade.explain.field import SeenField
from saccade.explain.on_photo import field_on_photo, map_on_photo

FITS = {
    "crop": Preprocessing(resize_px=72, input_height_px=64, input_width_px=64),
    "cover": Preprocessing(fit="cover", resize_px=54, input_height_px=48, input_width_px=64),
    "pad": Preprocessing(fit="pad", input_height_px=48, input_width_px=64, mean=(0.0, 0.0, 0.0)),
    "squash": Preprocessing(fit="squash", input_height_px=48, input_width_px=64),
}


def marked(photo_HW: tuple[int, int], top: int, left: int, side: int) -> np.ndarray:
    photo = np.zeros((*photo_HW, 3), np.uint8)
    photo[top : top + side, left : left + side] = 255
    return photo


@settings(deadline=None, max_examples=120)
@given(st.sampled_from(sorted(FITS)), st.sampled_from([(150, 300), (300, 150), (200, 200), (60, 90)]), st.data())
def test_a_mark_on_the_photo_is_found_where_it_was_painted(fit, photo_HW, data):
    preprocessing, side = FITS[fit], max(photo_HW) // 8
    top, left = (data.draw(st.integers(0, length - side)) for length in photo_HW)
    bright_HW = prepare_image(marked(photo_HW, top, left, side), preprocessing)[:, :, 0] > 127
    rows, columns = np.flatnonzero(bright_HW.any(axis=1)), np.flatnonzero(bright_HW.any(axis=0))
    if not len(rows):
        return  # cut off
    found = field_on_photo(
        SeenField(
            layer="stage1",
            position=(0, 0),
            top=int(rows[0]),
            bottom=int(rows[-1]) + 1,
            left=int(columns[0]),
            right=int(columns[-1]) + 1,
            size_px=preprocessing.input_CHW[1:],
        ),
        photo_HW,
        preprocessing,
    )
    assert found is not None
    assert found.size_px == photo_HW
    resized_HW, _ = place_on_input(photo_HW, preprocessing)
    pixel_h, pixel_w = (length / resized for length, resized in zip(photo_HW, resized_HW))
    cut_HW = _cut(photo_HW, preprocessing)
    for ends, begin, pixel, (low, high) in (
        ((found.top, found.bottom), top, pixel_h, cut_HW[0]),
        ((found.left, found.right), left, pixel_w, cut_HW[1]),
    ):
        assert ends[0] == pytest.approx(max(begin, low), abs=pixel + 1)
        assert ends[1] == pytest.approx(min(begin + side, high), abs=pixel + 1)
    evidence = map_on_photo(bright_HW.astype(np.float64), photo_HW, preprocessing)
    painted = marked(photo_HW, top, left, side)[:, :, 0] > 0
    seen = ~np.isnan(evidence)
    both = np.logical_and(evidence > 0.5, painted & seen).sum()
    assert both / np.logical_or(evidence > 0.5, painted & seen).sum() >= 0.4
    assert (
        evidence[int(np.clip(top + side // 2, *_inner(seen, 1))), int(np.clip(left + side // 2, *_inner(seen, 0)))] == 1
    )


def _cut(photo_HW: tuple[int, int], preprocessing: Preprocessing) -> list[tuple[float, float]]:
    """What of each side is seen, in photo pixels."""
    resized_HW, start_HW = place_on_input(photo_HW, preprocessing)
    return [
        (max(0.0, start * length / resized), min(float(length), (start + side) * length / resized))
        for length, resized, start, side in zip(photo_HW, resized_HW, start_HW, preprocessing.input_CHW[1:])
    ]


def _inner(seen_HW: np.ndarray, axis: int) -> tuple[int, int]:
    places = np.flatnonzero(seen_HW.any(axis=axis))
    return int(places[0]), int(places[-1])


def test_the_room_around_a_padded_photo_has_no_place_on_it():
    bars = SeenField(
        layer="stem", position=(0, 0), top=0, bottom=5, left=0, right=64, size_px=(48, 64)
    )  # the photo lies in rows 8 to 40
    assert field_on_photo(bars, (150, 300), FITS["pad"]) is None
    evidence = map_on_photo(np.ones((48, 64)), (150, 300), FITS["pad"])
    assert not np.isnan(evidence).any()  # all of the photo is seen


def test_what_a_crop_cuts_off_is_no_number():
    evidence = map_on_photo(np.ones((64, 64)), (100, 200), FITS["crop"])
    assert np.isnan(evidence[:, :50]).all()
    assert np.isnan(evidence[:, 150:]).all()
    assert np.nanmin(evidence[10:90, 60:140]) == 1
