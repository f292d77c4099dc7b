"""The place Design: what `saccade table` says, renewed as one types; never a path, and an error in sentences."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.ship.asked import HOST, Reply, asked  # noqa: E402
from tests.web_pages import Watched  # noqa: E402

from saccade import api  # noqa: E402
from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.process import RunningServer  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402
from saccade.web.studio.design.diagram import MAX_SIDE, boxes  # noqa: E402
from saccade.web.studio.runs.index import run_id  # noqa: E402


@pytest.fixture(scope="module")
def app(runs: Path):
    return build_app(runs, rules_for("127.0.0.1", 8000, ""))


def ask(app, address: str) -> Reply:
    return asyncio.run(asked(app, "GET", address, [HOST]))


def test_the_numbers_are_those_of_the_table(app):
    assert ask(app, "/api/design?network=lenet5").json == api.table("lenet5").as_json()
    part = ask(app, "/design/part?network=lenet5").content.decode()
    for number in ("61,706", "416,520", "247 kB"):  # LeNet-5 of today, as docs/networks.md has it
        assert f">{number}<" in part
    assert ask(app, "/design/network.csv?network=lenet5").content.decode().startswith("layer,kind,kernel,")
    assert ask(app, "/design/network.md?network=lenet5").content.startswith(b"| layer |")


def test_the_network_of_a_run_is_found_by_its_id(app):
    found = ask(app, f"/api/design?run={run_id('second')}").json
    assert (found["input"], found["model"]) == ([3, 64, 80], "lenet5 (second)")


@pytest.mark.parametrize(
    ("query", "lines"),
    [
        ("network=resnet5o", ["Did you mean &#39;resnet50&#39;?"]),
        ("network=lenet5&input=2", ["lenet5 cannot take an input of 2x2x3", "Use images of at least 12x12 pixels"]),
        ("network=conv%2032%20f3%20|%20fc%2010&input=axb", ["An input is written HEIGHTxWIDTHxCHANNELS"]),
        ("network=lenet5&classes=0", ["Classes is a whole number from 1 to 1,000,000."]),
        ("network=lenet5&batch=-1", ["Batch is a whole number from 1 to 1,000,000."]),
        ("network=lenet5&optimizer=sgdd", ["Unknown optimizer &#39;sgdd&#39;."]),
        (f"network={'a' * 4001}", ["A network has at most 4,000 characters here, got 4,001."]),
        ("network=/etc/passwd", ["Unknown"]),
        ("network=../second", ["Unknown"]),
        ("network=evil.py:make", ["Unknown"]),
        ("network=%3Cscript%3E", ["&lt;script&gt;"]),
    ],
)
def test_what_is_no_network_gets_sentences_and_no_file_is_looked_at(app, query: str, lines: list[str]):
    reply = ask(app, f"/design/part?{query}")
    text = reply.content.decode()
    assert (reply.status, "data-refused" in text) == (200, True)
    for line in lines:
        assert line in text
    assert ask(app, f"/api/design?{query}").status == 422


def test_a_box_is_as_wide_as_its_channels_and_as_high_as_its_map():
    table = api.table("lenet5")
    found = boxes(table)
    assert len(found) == len(table.layers) + 1
    assert found[0].height == MAX_SIDE
    maps = [layer for layer in table.layers if len(layer.output) == 3]
    drawn = found[1 : 1 + len(maps)]
    assert [box.height for box in drawn] == sorted((box.height for box in drawn), reverse=True)
    assert all(one.x + one.width < other.x for one, other in zip(found, found[1:], strict=False))


def test_a_network_is_built_whose_field_covers_the_image(browser: Any, studio: RunningServer):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/design?network=conv%2016%20f3%20|%20fc%2010&input=9")
        words = "document.getElementById('field-words')"
        watched.wait_until(f"{words}?.textContent.includes('3x3 of 9x9 pixels, 11 % of it')")
        page.fill("input[name=network]", "conv 16 f3 | conv 16 f3 | conv 16 f3 | conv 16 f2 | fc 10")
        watched.wait_until(f"{words}?.textContent.includes('8x8 of 9x9 pixels, 79 % of it')")
        page.fill("input[name=network]", "conv 16 f3 | conv 16 f3 | conv 16 f3 | conv 16 f3 | fc 10")
        watched.wait_until(f"{words}?.textContent.includes('the whole image and beyond')")
        page.fill("input[name=network]", "conv 16 f33 | fc 10")
        watched.wait_until("document.querySelector('[data-refused]') !== null")
        assert watched.problems() == []
