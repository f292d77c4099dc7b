"""The place Design: what `saccade table` says, renewed as one types; never a path, and an error in sentences."""

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.ship.asked import HOST, Reply, asked  # noqa: E402
from tests.web_pages import Watched  # noqa: E402

from saccade import api  # noqa: E402
from saccade.core.errors import SaccadeError  # noqa: E402
from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.process import RunningServer  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402
from saccade.web.studio.design.diagram import MAX_SIDE, arcs_words, boxes, diagram, skips  # noqa: E402
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


def test_the_lines_of_a_message_stay_lines_so_that_carets_point_at_what_is_meant(app):
    error = ask(app, "/api/design?network=conv%2032%20f3%20|%20pol").json["error"]
    with pytest.raises(SaccadeError) as refused:
        api.table("conv 32 f3 | pol")
    assert [error["message"], *error["hint"].split("\n")] == refused.value.message.splitlines()
    assert "\n" in error["hint"]


def test_a_drawing_has_an_arc_for_every_shortcut_and_none_for_a_chain():
    assert skips(api.table("lenet5")) == []
    table = api.table("resnet18")
    names = [layer.name for layer in table.layers]
    adds = [row for row, layer in enumerate(table.layers) if layer.kind == "add"]
    assert len(adds) == 8
    for row in adds:  # the sum of the second convolution of a block and of what came in, or its projection
        one, other = table.flows[row].sources
        assert other == row - 1 or names[other].endswith("conv2") or "shortcut" in names[other]
        assert one < other
    found = skips(table)
    assert len(found) == 8 + 3, "and three projections read what the block reads"
    assert diagram(table).text.count('class="arc"') == len(found)
    assert "the 11 places where a layer reads another box" in arcs_words(table)


def walk(app, query: str, photo: bytes = b"") -> Reply:
    return asyncio.run(asked(app, "POST", f"/api/design/walk?{query}", [HOST, ("content-type", "image/png")], photo))


def test_a_photo_walks_through_a_network_and_its_maps_are_pictures(app):
    image_HWC = np.random.default_rng(2).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    stream = io.BytesIO()
    Image.fromarray(image_HWC).save(stream, "PNG")
    query = "network=conv%204%20f3%20|%20pool%20|%20fc%203&input=16x24x3"
    said = walk(app, query, stream.getvalue()).json
    assert [layer["size"] for layer in said["layers"]] == [[14, 22], [7, 11], [2, 2], [3, 4]]
    assert said["weights"].startswith("Freshly drawn weights (seed 0)")
    assert said["layers"][0]["strengths"] == sorted(said["layers"][0]["strengths"], reverse=True)
    picture = ask(app, f"/design/walks/{said['id']}/0/picture")
    assert Image.open(io.BytesIO(picture.content)).size == (22, 4 * 14)
    strip = ask(app, f"/design/walks/{said['id']}/picture")
    assert Image.open(io.BytesIO(strip.content)).size == (said["tiles_a_row"] * said["tile_px"], said["tile_px"])
    assert walk(app, f"{query}&batch=7", stream.getvalue()).json["id"] == said["id"]
    assert walk(app, f"{query}&classes=5", stream.getvalue()).json["id"] != said["id"]
    assert ask(app, f"/design/walks/{said['id']}/4/picture").status == 404
    assert ask(app, "/design/walks/0123456789abcdef/picture").status == 404


def test_a_run_walks_with_its_own_weights_and_names_its_classes(app):
    said = walk(app, f"run={run_id('second')}&photo=built-in").json
    assert said["weights"] == "The weights of the run."
    assert len(said["layers"][-1]["largest"]) == 5
    assert all(each["name"].startswith(("class ", "<b ")) for each in said["layers"][-1]["largest"])
    assert walk(app, f"run={run_id('second')}&photo=built-in&classes=9").json["error"]["code"] == "not_its_own"


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("network=lenet5&input=32x32x5", "no_picture"),
        ("network=conv%201%20f3%20|%20gap%20|%20fc%202&input=2000", "too_large_to_walk"),
        ("network=conv%204096%20f7%20|%20conv%204096%20f7%20|%20gap%20|%20fc%202&input=64", "too_large_to_walk"),
        ("network=nothing", "no_walk"),
    ],
)
def test_what_cannot_be_walked_through_gets_a_sentence(app, query: str, code: str):
    assert walk(app, f"{query}&photo=built-in").json["error"]["code"] == code


def test_what_is_no_photo_is_told(app):
    assert walk(app, "network=lenet5", b"no image").json["error"]["code"] == "bad_image"
    assert walk(app, "network=lenet5").status == 400


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
        page.click("#walk-built-in")
        watched.wait_until("document.querySelectorAll('#maps canvas').length === 16")
        page.focus("#strip")
        page.keyboard.press("End")
        watched.wait_until("document.querySelectorAll('#maps canvas').length === 1")  # the values of the last layer
        page.keyboard.press("Home")
        watched.wait_until("document.querySelectorAll('#maps canvas').length === 16")
        assert page.inner_text("#walk-words").startswith("16 maps of 7x7")
        assert "layer=0&walk=1" in page.url
        assert watched.problems() == []
        page.fill("input[name=network]", "conv 16 f33 | fc 10")
        watched.wait_until("document.querySelector('[data-refused]') !== null")
        assert watched.problems(with_axe=False) == []
