"""Drawings of the studio as files: SVG that stands alone, and PNG of the same."""

from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image
from tests.web.studio.test_pages import address_of
from tests.web_pages import Watched

from saccade.web.process import RunningServer


@pytest.mark.parametrize(
    ("path", "button", "name"),
    [
        ("/runs/{second}", "#curve-part .saves button >> text={kind}", "accuracy-correct"),
        ("/runs/compare?run={second}&run={photos/first}", ".charts .saves button >> text={kind}", "validation-loss"),
        ("/design?network=lenet5", "#save-{kind}", "network"),
    ],
)
def test_a_drawing_is_saved_as_it_looks(
    browser: Any, studio: RunningServer, path: str, button: str, name: str, tmp_path: Path
):
    with Watched(browser, "dark") as watched:
        page = watched.page
        page.goto(address_of(studio, path))
        watched.wait_until("document.querySelector('[data-pending]') === null")
        files = {}
        for kind in ("svg", "png"):
            text = kind.upper() if path.startswith("/runs") else kind
            wanted = page.locator(button.format(kind=text))
            wanted = wanted.nth(1) if path.startswith("/runs") else wanted
            wanted.wait_for()
            with page.expect_download() as download:
                wanted.click()
            assert download.value.suggested_filename == f"{name}.{kind}"
            files[kind] = tmp_path / f"drawing.{kind}"
            download.value.save_as(files[kind])
        drawn = ElementTree.parse(files["svg"]).getroot()
        assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
        text = files["svg"].read_text()
        assert "var(" not in text, "colours of the page would be lost"
        assert "class=" not in text
        width, height = (float(drawn.get(side, "0")) for side in ("width", "height"))
        with Image.open(files["png"]) as picture:
            assert picture.size == (int(2 * width), int(2 * height))
            pixel_HWC = np.asarray(picture.convert("RGB"))
        assert pixel_HWC[0, 0].tolist() == [0x17, 0x1B, 0x21], "the dark surface"
        assert len(np.unique(pixel_HWC.reshape(-1, 3), axis=0)) > 10
        assert watched.problems(with_axe=False) == []
