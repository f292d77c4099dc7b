"""The card of an export: its code makes the pixels of `predict`, and it promises nothing that `predict` does not do."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.runs.names import UNLIKE_UNKNOWN
from saccade.ship.card import not_measured, pixels_code

SIZES_WH = ((400, 711), (401, 534), (640, 427), (73, 73), (30, 91))  # cuts at half pixels, sides that are no whole ones


@pytest.mark.parametrize(
    "values",
    [
        {"resize_px": 256, "input_height_px": 224, "input_width_px": 224, "interpolation": "bicubic"},
        {"resize_px": 235, "input_height_px": 224, "input_width_px": 160},
        {
            "resize_px": 73,
            "input_height_px": 64,
            "input_width_px": 64,
            "channels": "grey",
            "mean": (0.5,),
            "std": (0.2,),
        },
        {"resize_px": None, "input_height_px": 48, "input_width_px": 32, "interpolation": "nearest"},
        {"resize_px": None, "input_height_px": 48, "input_width_px": 32, "fit": "squash"},
        {"resize_px": 70, "input_height_px": 64, "input_width_px": 96, "fit": "cover"},
    ],
)
@pytest.mark.parametrize("orientation", [1, 6])
def test_the_code_on_the_card_makes_the_pixels_of_predict(
    values: dict[str, object], orientation: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    preprocessing = Preprocessing(**({"mean": (0.5,) * 3, "std": (0.2,) * 3} | values))
    monkeypatch.chdir(tmp_path)
    exif = Image.Exif()
    exif[274] = orientation
    for size_WH in SIZES_WH:
        noise_HWC = np.random.default_rng(7).integers(0, 256, (9, 12, 3), dtype=np.uint8)
        Image.fromarray(noise_HWC).resize(size_WH, Image.Resampling.BICUBIC).save("photo.jpg", exif=exif, quality=90)
        made: dict[str, np.ndarray] = {}
        exec(pixels_code(preprocessing), made)
        expected_HWC = prepare_image(decode_image(Path("photo.jpg").read_bytes(), "photo.jpg").image_HWC, preprocessing)
        np.testing.assert_array_equal(made["pixels"], expected_HWC[None], err_msg=str(size_WH))


def test_the_card_does_not_send_to_predict_where_that_cannot_tell_strange_images_either():
    assert not_measured({})[1].endswith("`saccade predict` tells such images; this file does not.")
    assert not_measured({UNLIKE_UNKNOWN: "Too few."})[1] == (
        "Images that show none of the classes: the graph names one all the same."
    )
