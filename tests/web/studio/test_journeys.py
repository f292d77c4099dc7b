"""What a person does in the studio, in a real browser before the real command, and in how many clicks."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.web_pages import Watched

from saccade import api
from saccade.web.process import RunningServer

# Holds a run as a training does, and adds an epoch for every line that it is sent.
TRAINER = """
import json, sys
from pathlib import Path
from saccade.core.lock import exclusive
run = Path(sys.argv[1])
with exclusive(run):
    print("ready", flush=True)
    for epoch, _ in enumerate(sys.stdin, start=1):
        event = {"event": "epoch", "epoch": epoch, "num_epochs": 10, "train_loss": 2 / epoch, "seconds": 60.0}
        event |= {"train_accuracy": 0.5, "validation_loss": 1 / epoch, "validation_accuracy": 0.6, "is_best": True}
        with open(run / "metrics.jsonl", "a") as file:
            file.write(json.dumps(event) + "\\n")
"""


@contextmanager
def training(run: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process that trains the run `run`, an epoch for every line."""
    process = subprocess.Popen(
        [sys.executable, "-c", TRAINER, str(run)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def send_epoch(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


@pytest.fixture
def folder(runs: Path, tmp_path: Path) -> Path:
    """Runs that a test may change."""
    return Path(shutil.copytree(runs, tmp_path / "runs"))


def test_the_surest_mistake_of_the_worst_pair_is_three_clicks_away_and_marked_by_a_key(
    browser: Any, studio: RunningServer, runs: Path
):
    marks = runs / "second" / "marks.json"
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.click("text=second")
        page.click(".beside > div:not(.matrix) tbody a >> nth=0")
        page.wait_for_selector("#cell .card")
        assert "true=" in page.url
        page.click("#cell a.open >> nth=0")
        page.wait_for_selector("#viewer[open] article")
        sure = [
            float(text.removesuffix(" %"))
            for text in page.locator("#cell .card .bar:first-child .number").all_inner_texts()
        ]
        assert sure == sorted(sure, reverse=True)
        name = page.inner_text("#viewer h2")
        page.keyboard.press("l")
        page.wait_for_selector("#viewer [data-mark='label wrong'][aria-pressed=true]")
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.className") == "open"
        (mark,) = json.loads(marks.read_text())["marks"]
        marks.unlink()
        assert (mark["image"], mark["mark"]) == (name, "label wrong")
        page.go_back()
        page.wait_for_selector("h1")
        assert page.locator("#cell .card").count() == 0
        assert watched.problems(with_axe=False) == []


def test_an_image_shows_where_its_evidence_lies_and_arrows_lead_to_the_next(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.click("text=second")
        page.click("nav.tabs >> text=Mistakes")
        page.click("a.open >> nth=0")
        page.wait_for_selector("#viewer[open] article")
        first = page.inner_text("#viewer h2")
        page.keyboard.press("c")
        watched.wait_until(
            "document.querySelector('#viewer [data-cam-words]').textContent.match(/^Evidence for|^No positive/)"
        )
        page.keyboard.press("ArrowRight")
        watched.wait_until(f"document.querySelector('#viewer h2').textContent !== {json.dumps(first)}")
        page.keyboard.press("ArrowLeft")
        watched.wait_until(f"document.querySelector('#viewer h2').textContent === {json.dumps(first)}")
        assert page.locator("#viewer [data-step='-1']").is_disabled()
        assert watched.problems() == []


def test_a_run_is_watched_as_it_grows_and_is_killed_and_what_the_studio_said_stays_when_it_ends(
    browser: Any, folder: Path
):
    run = folder / "stopped"
    (run / "metrics.jsonl").unlink()
    with api.studio(folder) as studio, training(run) as trainer, Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs?q=stopped")
        page.wait_for_selector(".state.running")
        page.click("th >> text=stopped")
        page.wait_for_selector("#freshness:not([hidden])")
        assert page.inner_text("#freshness").startswith("running, updated ")
        assert "No epoch is done yet." in page.inner_text("#curve-part")
        send_epoch(trainer)
        watched.wait_until("document.getElementById('stage').textContent === 'Epoch 1 of 10 is done.'")
        page.wait_for_selector("#curve-part svg")
        assert page.locator("h2 >> text=Training").count() == 1
        assert page.inner_text("#left").startswith("9 to 10 min left, judging included.")
        send_epoch(trainer)
        watched.wait_until("document.querySelector('#curve-part').textContent.includes('validation 0.500')")
        trainer.send_signal(signal.SIGKILL)
        page.wait_for_selector(".banner.stopped")
        assert f"saccade train --resume --out {run}" in page.inner_text("#again")
        assert "epoch 2 of 10" in page.inner_text(".banner.stopped")
        assert watched.problems(with_axe=False) == []
        page.goto(f"{studio.url}/runs")
        studio.stop()
        page.wait_for_selector("#lost:not([hidden])")
        assert page.inner_text("#lost").startswith("The studio does not answer; this is what it said last. Tried ")
        assert page.locator("#runs tbody tr").count() == 4


def test_two_runs_are_compared_in_three_clicks(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs?sort=run")
        assert page.locator("#compare-button").is_disabled()
        page.check("[aria-label='Compare photos/first']")
        page.check("[aria-label='Compare second']")
        page.click("#compare-button")
        page.wait_for_selector("h1 >> text=2 runs side by side")
        assert "cannot be told apart" in page.inner_text("main")
        assert page.locator(".charts svg").count() == 3


def test_a_filter_holds_as_one_types_and_in_the_address(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.fill("input[name=q]", "fir")
        watched.wait_until("document.querySelectorAll('#runs tbody tr').length === 1")
        page.reload()
        assert page.locator("#runs tbody tr").count() == 1
        assert page.input_value("input[name=q]") == "fir"


def test_curves_are_scaled_smoothed_and_looked_into_and_the_address_holds_how(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.click("text=second")
        page.click("text=Logarithmic")
        page.wait_for_selector("text=Loss (logarithmic)")
        box = page.locator("#curve-part svg").first.bounding_box()
        x, y = box["x"], box["y"] + box["height"] / 2
        page.mouse.move(x + 0.3 * box["width"], y)
        page.mouse.down()
        page.mouse.move(x + 0.55 * box["width"], y)
        page.mouse.up()
        page.wait_for_selector("text=of 6 epochs are in view")
        page.evaluate("document.querySelector('[name=smooth]').value = 60")
        page.dispatch_event("[name=smooth]", "input")
        page.wait_for_selector("text=what went before weighs 0.60")
        page.reload()
        page.wait_for_selector("text=Loss (logarithmic)")
        page.wait_for_selector("text=of 6 epochs are in view")
        page.click("text=Show all")
        watched.wait_until("!document.querySelector('#curve-part').textContent.includes('in view')")
        assert page.url.endswith("?scale=log&smooth=60")
        assert watched.problems(with_axe=False) == []


def test_the_command_that_makes_a_run_again_is_copied(browser: Any, studio: RunningServer):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    page = context.new_page()
    page.goto(f"{studio.url}/runs")
    page.click("text=second")
    page.click("nav.tabs >> text=Data and reproduce")
    page.click("#reproduce button >> text=Copy")
    page.wait_for_selector("#reproduce button >> text=Copied")
    assert page.evaluate("navigator.clipboard.readText()") == "saccade train photos"
    context.close()


def test_arrows_go_from_cell_to_cell_of_the_matrix(browser: Any, studio: RunningServer):
    place = "[document.activeElement.closest('tr').sectionRowIndex, document.activeElement.closest('td').cellIndex]"
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/runs")
        page.click("text=second")
        page.focus(".matrix td.right a >> nth=0")
        assert page.evaluate(place) == [0, 1]
        page.keyboard.press("ArrowDown")
        row, column = page.evaluate(place)
        assert (row > 0, column) == (True, 1)


def test_a_name_that_is_rebound_to_this_machine_gets_nothing(browser: Any, studio: RunningServer):
    port = studio.url.rsplit(":", 1)[1]
    page = browser.new_page()
    answer = page.goto(f"http://evil.test:{port}/runs")
    assert answer.status == 403
    assert "second" not in page.content()
    page.goto(f"{studio.url}/runs")
    refused = page.evaluate(
        """url => fetch(url, {method: "POST", body: "{}"}).then(a => a.status, error => String(error))""",
        f"http://evil.test:{port}/api/runs",
    )
    assert "Failed to fetch" in refused
    page.close()
