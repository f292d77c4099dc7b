"""The report in a real browser: light and dark, wide and narrow. Skipped, with the reason, where there is none."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.web_pages import CHROMIUM, LOOKS, SVG_CONTRAST

from saccade.report.page import write_report


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api", reason="pip install playwright axe-playwright-python")
    pytest.importorskip("axe_playwright_python", reason="pip install axe-playwright-python")
    if not CHROMIUM:
        pytest.skip("no Chromium here (Debian: apt-get install chromium)")
    with playwright.sync_playwright() as running:
        started = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


@pytest.fixture(scope="module")
def written(made_run: Any) -> Path:
    """The report, written once."""
    return write_report(made_run.path)


def test_the_page_is_accessible_fits_and_asks_for_nothing(browser: Any, written: Path):
    from axe_playwright_python.sync_playwright import Axe

    messages: list[str] = []
    requests: list[str] = []
    page = browser.new_page()
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(written.as_uri())
    for scheme, width_px in LOOKS:
        page.emulate_media(color_scheme=scheme)
        page.set_viewport_size({"width": width_px, "height": 900})
        assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0, (scheme, width_px)
        violations = Axe().run(page).response["violations"]
        assert [(v["id"], v["nodes"][0]["html"][:200]) for v in violations] == [], (scheme, width_px)
        contrasts = page.evaluate(SVG_CONTRAST)
        assert len(contrasts) > 30
        assert [entry for entry in contrasts if entry[1] < 4.5] == [], (scheme, width_px)
    assert messages == []
    assert [url for url in requests if not url.startswith("data:")] == [written.as_uri()]
    page.close()


def test_a_cell_leads_to_its_images_and_the_page_works_without_scripts(browser: Any, written: Path):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    hidden = page.locator(".gallery.later").first
    assert not hidden.is_visible()
    later = f"#{hidden.get_attribute('id')}"
    for target in (page.locator(".matrix td:not(.right) a").first.get_attribute("href"), later):
        page.locator(f".matrix a[href='{target}']").click()
        assert page.url.endswith(target)
        assert page.locator(target).is_visible()
        assert page.locator(f"{target} img").first.is_visible()
    context.close()


def test_ten_classes_stand_beside_each_other_without_scrolling(browser: Any, written: Path):
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(written.as_uri())
    assert page.evaluate("(e => e.scrollWidth - e.clientWidth)(document.querySelector('.matrix'))") == 0
    page.close()


def test_a_print_is_dark_on_white_whatever_the_theme_of_the_screen(browser: Any, written: Path):
    page = browser.new_page(color_scheme="dark")
    page.goto(written.as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    colours = "(s => [s.color, s.backgroundColor])(getComputedStyle(document.body))"
    assert page.evaluate(colours) == ["rgb(27, 31, 36)", "rgb(255, 255, 255)"]
    assert page.pdf()[:5] == b"%PDF-"
    page.close()


def test_tables_sort_pictures_enlarge_and_wide_tables_say_so(browser: Any, written: Path):
    page = browser.new_page(viewport={"width": 390, "height": 900})
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(message.text))
    page.goto(written.as_uri())
    button = page.locator("#classes thead .sort").nth(1)
    button.click()
    counts = [int(row.split("\t")[1].replace(",", "")) for row in page.locator("#classes tbody tr").all_inner_texts()]
    assert counts == sorted(counts)
    assert page.locator("#classes th[aria-sort=ascending]").count() == 1
    button.click()
    again = [int(row.split("\t")[1].replace(",", "")) for row in page.locator("#classes tbody tr").all_inner_texts()]
    assert again == sorted(counts, reverse=True)
    assert page.locator("#classes .sideways, #classes + .sideways").first.is_visible()
    page.locator(".card .enlarge").first.click()
    shown = page.locator("dialog img").bounding_box()
    assert shown is not None
    assert shown["width"] >= page.locator(".card .enlarge img").first.bounding_box()["width"]
    page.keyboard.press("Escape")
    assert not page.locator("dialog").is_visible()
    assert errors == []
    page.close()
