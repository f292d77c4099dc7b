"""Every page of the studio in a real browser: light and dark, wide and narrow. A new page is one entry of PAGES."""

import json
import re
from typing import Any
from urllib.request import urlopen

import pytest
from tests.web_pages import LOOKS, Watched

from saccade.web.process import RunningServer

PAGES = [
    "/runs",
    "/runs/{second}?true=0&said=0",
    "/runs/{second}/mistakes",
    "/runs/{second}/calibration",
    "/runs/{second}/network",
    "/runs/{second}/data",
    "/runs/{second}/images/0",
    "/runs/{stopped}",
    "/runs/{damaged <i>}",
    "/runs/compare?run={second}&run={stopped}",
    "/design?network=lenet5",
    "/data",
    "/data/{photos}",
    "/data/{photos}?image=3",
    "/predict",
    "/lab",
    "/no/such/page",
]
NEEDED_KB = 150  # of a page without its images


def address_of(studio: RunningServer, path: str) -> str:
    """The address of a page; `{name}` stands for the id of a run, `{photos}` for that of its data set."""
    with urlopen(f"{studio.url}/api/runs", timeout=60) as answer:
        for row in json.load(answer)["runs"]:
            path = path.replace("{" + row["name"] + "}", row["id"])
    if "{photos}" in path:
        with urlopen(f"{studio.url}/data", timeout=60) as answer:
            (found,) = re.findall(r'href="/data/(photos-[0-9a-f]{8})"', answer.read().decode())
        path = path.replace("{photos}", found)
    return studio.url + path


@pytest.mark.parametrize("path", PAGES)
def test_a_page_fits_is_read_by_all_and_asks_nobody_else(browser: Any, studio: RunningServer, path: str):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(address_of(studio, path))
        watched.wait_until("document.querySelector('[data-pending]') === null")
        page.wait_for_load_state("networkidle")
        for scheme, width_px in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width_px, "height": 900})
            found = watched.problems(with_axe=(scheme, width_px) in [("light", 1280), ("dark", 390)])
            assert [text for text in found if "status of 404" not in text] == [], (scheme, width_px)
        own = page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
        others = page.evaluate(
            "performance.getEntriesByType('resource').filter((entry) => !/picture|thumbnail/.test(entry.name))"
            ".map((entry) => entry.encodedBodySize)"
        )
        assert own + sum(others) < NEEDED_KB * 1000


def test_keys_lead_to_places_and_tell_themselves_and_can_be_turned_off(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/no/such/page")
        page.keyboard.press("g")
        page.keyboard.press("r")
        page.wait_for_url("**/runs")
        page.keyboard.press("?")
        assert page.locator("#help").is_visible()
        page.uncheck("#single-keys")
        page.keyboard.press("Escape")
        assert not page.locator("#help").is_visible()
        page.keyboard.press("?")
        assert not page.locator("#help").is_visible()
        page.evaluate("localStorage.clear()")


def test_a_theme_is_chosen_against_the_system_and_remembered(browser: Any, studio: RunningServer):
    ground = "getComputedStyle(document.body).backgroundColor"
    light, dark = "rgb(247, 248, 250)", "rgb(15, 18, 22)"
    with Watched(browser, "light") as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        assert page.evaluate(ground) == light
        page.select_option("#theme", "dark")
        assert page.evaluate(ground) == dark
        page.reload()
        assert page.evaluate(ground) == dark
        page.select_option("#theme", "")
        page.emulate_media(color_scheme="dark")
        assert page.evaluate(ground) == dark
        page.select_option("#theme", "light")
        assert page.evaluate(ground) == light
        page.evaluate("localStorage.clear()")
