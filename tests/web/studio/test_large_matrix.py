"""A matrix of many classes: all of its cells are there, few of them in the page, and keys go from one to the next."""

import html
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import pytest
from tests.report.conftest import MadeRun, make_run
from tests.web_pages import LOOKS, Watched

from saccade import api
from saccade.classify.classifier import Member, open_member
from saccade.core.runtime import RuntimeConfig
from saccade.report.page import report_html, write_report
from saccade.report.palette import heat_step
from saccade.report.record import read_run
from saccade.web.process import RunningServer

NUM_CLASSES = 90
NEEDED_KB = 150  # of a page without its images
SENT_BYTES = """['navigation', 'resource'].flatMap((kind) => performance.getEntriesByType(kind))
  .filter((entry) => !/picture|thumbnail/.test(entry.name)).map((entry) => entry.encodedBodySize)"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A run of 90 classes, the names of some of them long; every second answer is wrong."""
    names = [f"{k:02} {'a bird with a long name ' * (k % 5 == 0)}".strip() for k in range(NUM_CLASSES)]
    return make_run(tmp_path_factory.mktemp("many"), names, 2, wrong_share=0.5, epochs=2)


@pytest.fixture(scope="module")
def studio(made: MadeRun, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    for package in ("starlette", "uvicorn", "httptools", "jinja2", "python_multipart"):
        pytest.importorskip(package, reason="the extra 'studio' is not installed")
    folder = tmp_path_factory.mktemp("studio")
    shutil.copytree(made.path, folder / "many")
    with api.studio(folder) as running:
        yield running


def drawn_from(page: str) -> dict[str, Any]:
    """What the script of a page draws the matrix from."""
    (cells,) = re.findall(r' data-cells="([^"]*)"', page)
    found: dict[str, Any] = json.loads(html.unescape(cells))
    return found


def made_member(made: MadeRun) -> Member:
    return open_member(made.path, RuntimeConfig(device="cpu"))


def address(studio: RunningServer) -> str:
    with urlopen(f"{studio.url}/api/runs", timeout=60) as answer:
        (row,) = json.load(answer)["runs"]
    return f"/runs/{row['id']}"


def test_the_cells_are_those_of_the_matrix(studio: RunningServer, made: MadeRun):
    metrics = read_run(made.path).metrics
    with urlopen(studio.url + address(studio), timeout=60) as answer:
        found = drawn_from(answer.read().decode())
    assert found["classes"] == list(made.classes)
    assert found["support"] == [2] * NUM_CLASSES
    given_KK = np.zeros((NUM_CLASSES, NUM_CLASSES), int)
    for true, row in enumerate(found["rows"]):
        for said, count, step in np.reshape(row, (-1, 3)).tolist():
            given_KK[true, said] = count
            assert step == heat_step(count / 2)
    assert drawn_from(report_html(read_run(made.path), made_member(made))) == found, "the report draws the same"
    expected_KK = np.zeros_like(given_KK)
    np.add.at(expected_KK, (made.label_N, made.said_N), 1)
    assert np.array_equal(given_KK, expected_KK)
    assert np.array_equal(given_KK, metrics.confusion_KK)


def test_many_classes_scroll_with_few_rows_in_the_page_and_keys_go_from_cell_to_cell(
    browser: Any, studio: RunningServer, made: MadeRun
):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(studio.url + address(studio))
        watched.wait_until("document.querySelector('[data-pending]') === null")
        page.wait_for_load_state("networkidle")
        assert sum(page.evaluate(SENT_BYTES)) < NEEDED_KB * 1000
        shown = "[...document.querySelectorAll('.matrix.large tbody th')].map((head) => head.textContent)"
        first = page.evaluate(shown)
        assert first == list(made.classes[: len(first)])
        assert len(first) < 50
        page.evaluate("document.querySelector('.matrix.large').scrollTo(0, 99999)")
        watched.wait_until(
            "document.querySelector('.matrix.large tbody tr:nth-last-child(2) th')?.textContent === '89'"
        )
        last = page.evaluate(shown)
        assert last == list(made.classes[-len(last) :])
        assert page.evaluate("document.querySelectorAll('.matrix.large thead th').length") == NUM_CLASSES + 1
        for scheme, width_px in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width_px, "height": 900})
            assert watched.problems(with_axe=(scheme, width_px) == ("dark", 390)) == [], (scheme, width_px)

        page.evaluate("document.querySelector('.matrix.large').scrollTo(0, 0)")
        watched.wait_until(
            "document.querySelector('.matrix.large tbody tr:nth-child(2) th')?.textContent.startsWith('00')"
        )
        page.locator(".matrix.large tbody td a").first.focus()
        told = "document.activeElement.getAttribute('aria-label')"
        filled = {(int(true), int(said)) for true, said in zip(made.label_N, made.said_N, strict=True)}
        row, column = min(filled)
        for _ in range(6):  # down the column until its end, which no row in view has
            page.keyboard.press("ArrowDown")
            below = [true for true, said in filled if said == column and true > row]
            row = min(below, default=row)
            true, said = (re.escape(made.classes[k]) for k in (row, column))
            pattern = rf"\d images? of '{true}' \(.+ %\) predicted as '{said}': show"
            assert re.fullmatch(pattern, page.evaluate(told)), (row, column)
        page.keyboard.press("Enter")
        page.wait_for_selector("#cell .card")
        assert f"'{made.classes[row]}'" in page.inner_text("#cell-title")
        assert watched.problems(with_axe=False) == []


def test_a_report_of_many_classes_has_its_matrix_and_cells_lead_to_the_images_that_are_kept(
    browser: Any, made: MadeRun, tmp_path: Path
):
    written = write_report(made.path, tmp_path / "report.html")
    with Watched(browser) as watched:
        page = watched.page
        page.goto(written.as_uri())
        assert 10 < page.locator(".matrix.large tbody th").count() < 50
        assert page.locator(".matrix.large thead th").count() == NUM_CLASSES + 1
        for scheme, width_px in LOOKS:
            page.emulate_media(color_scheme=scheme)
            page.set_viewport_size({"width": width_px, "height": 900})
            with_axe = (scheme, width_px) == ("dark", 390)
            own = [each for each in watched.problems(with_axe) if not each.startswith("asks file:")]
            assert own == [], (scheme, width_px)
        cell = page.locator(".matrix.large td:not(.right) a").first
        told = cell.get_attribute("title")
        target = cell.get_attribute("href")
        assert not page.locator(target).is_visible() or "later" not in page.locator(target).get_attribute("class")
        cell.click()
        assert page.locator(f"{target} img").first.is_visible()
        true, said = (int(part) for part in target.removeprefix("#pair-").split("-"))
        count = int(((made.label_N == true) & (made.said_N == said)).sum())
        share = f"{100 * count / 2:.1f}"
        images = f"{count} image{'s' if count > 1 else ''}"
        assert told == f"{images} of '{made.classes[true]}' ({share} %) predicted as '{made.classes[said]}'"
        assert watched.told == []


@pytest.mark.parametrize("tab", ["/mistakes", "/classes", "/ranking", "/data"])
def test_tables_of_many_classes_sort_say_that_they_are_wide_and_are_few_bytes(
    browser: Any, studio: RunningServer, tab: str
):
    with Watched(browser, "light", 390) as watched:
        page = watched.page
        page.goto(studio.url + address(studio) + tab)
        watched.wait_until("document.querySelector('[data-pending]') === null")
        page.wait_for_load_state("networkidle")
        assert sum(page.evaluate(SENT_BYTES)) < NEEDED_KB * 1000
        assert watched.problems(with_axe=False) == []
        if tab == "/classes":
            assert page.locator(".sideways").first.is_visible()
            page.click("#classes th .sort >> nth=0")  # by name, upwards
            page.click("#classes th .sort >> nth=0")
            assert page.locator("#classes tbody th").first.inner_text().startswith("89")
