"""Every page of the studio in a real browser: light and dark, wide and narrow. A new page is one entry of PAGES."""

from typing import Any

import pytest
from tests.web_pages import LOOKS, Watched

from saccade.web.process import RunningServer

PAGES = ["/runs", "/no/such/page"]


@pytest.mark.parametrize("path", PAGES)
@pytest.mark.parametrize(("scheme", "width_px"), LOOKS)
def test_a_page_fits_is_read_by_all_and_asks_nobody_else(
    browser: Any, studio: RunningServer, path: str, scheme: str, width_px: int
):
    with Watched(browser, scheme, width_px) as watched:
        watched.page.goto(studio.url + path)
        watched.page.wait_for_load_state("networkidle")
        assert [text for text in watched.problems() if "status of 404" not in text] == []


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
