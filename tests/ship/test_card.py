"""The card of an export: its code makes the pixels of `predict`, it promises nothing that `predict` does not do, and
what a stranger called a class is shown letter by letter, and is no mark of Markdown or HTML."""

import html
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.runs.names import UNLIKE_UNKNOWN
from saccade.ship.card import as_markdown, not_measured, pixels_code

SIZES_WH = ((400, 711), (401, 534), (640, 427), (73, 73), (30, 91))  # cuts at half pixels, sides that are no whole ones
NAMES = [
    "<unknown>",
    "<script>alert(1)</script>",
    "[x](javascript:alert(1))",
    "*new*",
    "__init__",
    "`code`",
    "~~old~~",
    "a&lt;b",
    r"a\*b",
    "![](http://tracker/pixel.png)",
]


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


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_shown_letter_by_letter(name: str):
    shown = as_markdown(name)
    assert html.unescape(shown) == name
    assert not re.search(r"[<>*\[\]`~]|\b__|__\b|\\[^\w\s]", shown)


def test_a_rendered_name_is_its_text():
    markdown_it = pytest.importorskip("markdown_it", reason="markdown-it-py is not installed")
    page = markdown_it.MarkdownIt("commonmark").enable(["table", "strikethrough"])
    for name in NAMES:
        assert page.render(f"1. {as_markdown(name)}").split("<li>")[1].split("</li>")[0] == html.escape(name), name


@pytest.mark.parametrize("name", ["t_shirt", "n02123045 tabby, tabby cat", "Kleid ü", r"a\nb", "50 %", "é_è"])
def test_an_ordinary_name_stays_as_it_is(name: str):
    assert as_markdown(name) == name
