"""The place Data: counts as the run has them, images as the source has them, and nothing that a request may name."""

import asyncio
import base64
import io
import itertools
import json
import re
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

for package in ("starlette", "uvicorn", "httptools", "jinja2"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.report.conftest import MadeRun  # noqa: E402
from tests.ship.asked import HOST, Reply, asked  # noqa: E402
from tests.web_pages import Watched  # noqa: E402

from saccade import api  # noqa: E402
from saccade.core.errors import printable  # noqa: E402
from saccade.core.types import Preprocessing  # noqa: E402
from saccade.data.checkup.findings import KINDS  # noqa: E402
from saccade.data.images.preprocess import prepare_image  # noqa: E402
from saccade.data.random_numbers import uniform  # noqa: E402
from saccade.data.source import open_source  # noqa: E402
from saccade.preview.images import Preview  # noqa: E402
from saccade.runs.summary import DataSummary  # noqa: E402
from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.process import RunningServer  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402
from saccade.web.studio.data import findings  # noqa: E402
from saccade.web.studio.data.counts import bars_of  # noqa: E402
from saccade.web.studio.data.draws import values_words  # noqa: E402
from saccade.web.studio.data.sets import set_id  # noqa: E402

NOT_KNOWN = "The images have changed since."
GONE = "There is no file or folder '/nowhere/photos' (looked in {here}). Give a folder with one sub-folder of images "
GONE += "per class, or a built-in set: digits."
ADDRESS = "This data set is not on this machine as files: it is an address, and the studio asks none. What its runs "
ADDRESS += "say of it is shown all the same."
GIVEN = "This data set is not on this machine as files: it was given from Python. What its runs say of it is shown all "
GIVEN += "the same."


@pytest.fixture(scope="module")
def app(runs: Path):
    return build_app(runs, rules_for("127.0.0.1", 8000, ""))


@pytest.fixture(scope="module")
def photos(judged: MadeRun) -> str:
    """The source of every run."""
    return str(judged.path.parent / "photos")


def pixels_of(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def ask(app, address: str, photos: str = "", method: str = "GET") -> Reply:
    return asyncio.run(asked(app, method, address.replace("{set}", set_id(photos)), [HOST]))


def test_one_entry_stands_for_all_runs_of_a_source(app, photos: str):
    page = ask(app, "/data").content.decode()
    assert page.count('href="/data/photos-') == 1
    assert '<td class="number">120</td><td class="number">6</td><td class="number">4</td>' in page


def test_bars_are_as_long_as_counts_beside_the_largest_class():
    data = DataSummary(classes=("a", "b"), counts={"train": (30, 10), "validation": (10, 0), "test": (0, 5)})
    found = bars_of(data)
    assert found["splits"] == ["train", "validation", "test"]
    assert found["totals"] == ["40", "10", "5"]
    assert found["rows"][0]["bars"] == [("train", 0.0, 75.0), ("validation", 75.0, 25.0), ("test", 100.0, 0.0)]
    assert found["rows"][1]["bars"] == [("train", 0.0, 25.0), ("validation", 25.0, 0.0), ("test", 25.0, 12.5)]


def test_images_are_those_of_the_source_whatever_class_is_chosen(app, photos: str):
    source = open_source(photos)
    listing = ask(app, "/api/data/{set}", photos).json
    assert [each["num"] for each in listing["classes"]] == [20] * 6
    assert (listing["num"], listing["splits"]) == (120, [])
    found = ask(app, "/api/data/{set}/images?class=2", photos).json
    assert [each["position"] for each in found["images"]] == [
        index for index in range(120) if source.record(index).label == 2
    ]
    assert found["images"][0]["name"] == source.record(found["images"][0]["position"]).key
    later = ask(app, "/api/data/{set}/images?start=100", photos).json
    assert [each["position"] for each in later["images"]] == list(range(100, 120))


def test_an_image_is_shown_as_it_is_and_small(app, photos: str):
    source = open_source(photos)
    large = ask(app, "/data/{set}/images/7/picture", photos)
    assert (large.headers["content-type"], large.headers["x-content-type-options"]) == ("image/png", "nosniff")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(large.content))), source[7].image_HWC)
    small = Image.open(io.BytesIO(ask(app, "/data/{set}/images/7/thumbnail", photos).content))
    assert (small.format, small.size) == ("JPEG", (96, 72))
    facts = ask(app, "/api/data/{set}/images/7", photos).json
    assert (facts["name"], facts["lines"]) == (printable(source.record(7).key), ["160 x 120 px, mode RGB"])


@pytest.mark.parametrize(
    ("address", "status", "code"),
    [
        ("/data/..", 404, None),
        ("/data/%2e%2e%2fetc%2fpasswd", 404, None),
        ("/data/{set}?run=../first", 404, None),
        ("/api/data/..%2f..%2fetc", 404, None),
        ("/api/data/photos-00000000", 404, "no_such_set"),
        ("/api/data/photos-00000000/images", 404, "no_such_set"),
        ("/api/data/{set}/images/120", 404, "no_such_image"),
        ("/api/data/{set}/images/-1", 404, "no_such_route"),
        ("/api/data/{set}/images/1e3", 404, "no_such_route"),
        ("/api/data/{set}/images/" + "9" * 400, 404, "no_such_image"),
        ("/data/{set}/images/120/thumbnail", 404, None),
        ("/data/{set}/images/120/picture", 404, None),
        ("/api/data/{set}/images?class=6", 422, "wrong_field"),
        ("/api/data/{set}/images?class=-1", 422, "wrong_field"),
        ("/api/data/{set}/images?class=%D9%A1", 422, "wrong_field"),
        ("/api/data/{set}/images?start=" + "9" * 400, 422, "wrong_field"),
        ("/api/data/{set}/images?start=nan", 422, "wrong_field"),
        ("/api/data/{set}/images?split=train", 422, "wrong_field"),
        ("/api/data/{set}/images?split=../..", 422, "wrong_field"),
        ("/api/data/{set}/images?of=0", 409, "changed"),
    ],
)
def test_what_is_not_there_is_refused(app, photos: str, address: str, status: int, code: str | None):
    reply = ask(app, address, photos)
    assert reply.status == status
    assert code is None or reply.code == code


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("/nowhere/photos", GONE),
        ("https://example.com/photos.tar", ADDRESS),
        ("s3://bucket/photos.tar", ADDRESS),
        ("hub:owner/photos", ADDRESS),
        ("in memory: photos (digest 0123)", GIVEN),
    ],
)
def test_a_source_that_is_not_here_keeps_its_counts(tmp_path: Path, source: str, words: str):
    run = tmp_path / "run"
    run.mkdir()
    (run / "config.toml").write_text(f"source = {json.dumps(source)}\n")
    (run / "data.json").write_text(json.dumps({"num_samples": 9, "classes": ["x"], "counts": {"train": [9]}}))
    app = build_app(tmp_path, rules_for("127.0.0.1", 8000, ""))
    assert ask(app, "/api/data/{set}", source).json == {"problem": words.format(here=Path.cwd())}
    assert "9 images from" in ask(app, "/data/{set}", source).content.decode()
    assert ask(app, "/data/{set}/images/0/thumbnail", source).status == 422


def test_the_list_says_how_many_images_are_used_of_how_many(tmp_path: Path):
    for name, num_samples in (("all", 9), ("some", 12)):
        run = tmp_path / name
        run.mkdir()
        (run / "config.toml").write_text(f'source = "/nowhere/{name}"\n')
        data = {"num_samples": num_samples, "classes": ["x"], "counts": {"train": [6], "test": [3]}}
        (run / "data.json").write_text(json.dumps(data))
    app = build_app(tmp_path, rules_for("127.0.0.1", 8000, ""))
    shown = ask(app, "/data").content.decode()
    assert re.findall(r"/nowhere/(all|some)</small></th><td class=\"number\">([^<]*)<", shown) in (
        [("all", "9"), ("some", "9 of 12")],
        [("some", "9 of 12"), ("all", "9")],
    )


def test_a_file_that_is_no_image_is_named_and_others_are_shown(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        Image.new("RGB", (9, 5), "red").save(tmp_path / "photos" / name / "good.png")
    (tmp_path / "photos" / "a" / "bad.png").write_bytes(b"no image")
    run = tmp_path / "runs" / "one"
    run.mkdir(parents=True)
    source = str(tmp_path / "photos")
    (run / "config.toml").write_text(f"source = {json.dumps(source)}\n")
    (run / "data.json").write_text("{")
    app = build_app(tmp_path / "runs", rules_for("127.0.0.1", 8000, ""))
    assert "data.json" in ask(app, "/data/{set}", source).content.decode()
    facts = ask(app, "/api/data/{set}/images/0", source).json
    assert (facts["name"], facts["lines"]) == ("a/bad.png", [])
    assert facts["problem"].startswith("Not an image that can be read")
    assert ask(app, "/data/{set}/images/0/thumbnail", source).status == 422
    assert ask(app, "/data/{set}/images/1/thumbnail", source).status == 200


PREPROCESSING = Preprocessing(resize_px=36, input_height_px=32, input_width_px=32)
POLICY = "[augment.mirror]\nprobability = 0.5\n"


@pytest.fixture(scope="module")
def augmenting(photos: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one run, which mirrors."""
    folder = tmp_path_factory.mktemp("augmenting")
    run = folder / "run"
    run.mkdir()
    (run / "config.toml").write_text(f"source = {json.dumps(photos)}\nseed = 5\n\n{POLICY}")
    (run / "data.json").write_text(json.dumps({"preprocessing": PREPROCESSING.model_dump(mode="json")}))
    return folder


def test_draws_are_those_of_training_by_their_seed(augmenting: Path, photos: str):
    app = build_app(augmenting, rules_for("127.0.0.1", 8000, ""))
    own = ask(app, "/api/data/{set}/images/7/draws", photos).json
    other = ask(app, "/api/data/{set}/images/7/draws?seed=6", photos).json
    assert (own["seed"], own["own_seed"], other["seed"]) == (5, 5, 6)
    assert own["strengths"] == ["mirror: probability 0.5"]
    prepared_HWC = prepare_image(open_source(photos)[7].image_HWC, PREPROCESSING)
    np.testing.assert_array_equal(pixels_of(own["evaluated"]), prepared_HWC)
    for found, seed in ((own, 5), (other, 6)):
        for epoch, draw in enumerate(found["draws"]):
            is_mirrored = uniform(seed, epoch, "mirror", np.array([7]), 1)[0, 0] < 0.5
            assert draw["lines"] == (["mirror yes"] if is_mirrored else [])
            expected_HWC = prepared_HWC[:, ::-1] if is_mirrored else prepared_HWC
            np.testing.assert_array_equal(pixels_of(draw["picture"]), expected_HWC)


def test_values_are_told_before_and_after_they_are_normalised():
    picture_HWC = np.array([[[0, 51, 255]]], np.uint8)
    preview = Preview(key="a", label="b", original_HWC=picture_HWC, evaluated_HWC=picture_HWC, draws=())
    pixels = Preprocessing(
        resize_px=None, input_height_px=1, input_width_px=1, mean=(0.5, 0.2, 0.5), std=(0.25, 0.5, 0.1)
    )
    assert values_words(preview, pixels) == "values 0.00 to 1.00; normalised -2.00 to 5.00"


@pytest.mark.parametrize(
    ("ending", "status", "code"),
    [
        ("120/draws", 404, "no_such_image"),
        ("7/draws?seed=-1", 422, "wrong_field"),
        ("7/draws?seed=2147483648", 422, "wrong_field"),
        ("7/draws?seed=1e3", 422, "wrong_field"),
        ("7/draws?run=nobody", 404, "no_such_run"),
        ("7/draws", 422, "not_read"),
    ],
)
def test_draws_that_cannot_be_made_are_refused(app, photos: str, ending: str, status: int, code: str):
    reply = ask(app, f"/api/data/{{set}}/images/{ending}", photos)
    assert (reply.status, reply.code) == (status, code)


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A source with a test image that is a training image, too, and a file that is no image; a run names it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    draw = np.random.default_rng(0)
    for split, name in itertools.product(("train", "test"), ("a", "b")):
        folder = tmp_path / "photos" / split / name
        folder.mkdir(parents=True)
        for number in range(3):
            Image.fromarray(draw.integers(0, 256, (20, 30, 3), np.uint8)).save(folder / f"{number}.png")
    shutil.copy(tmp_path / "photos/train/a/1.png", tmp_path / "photos/test/a/2.png")
    (tmp_path / "photos/train/b/bad.png").write_bytes(b"no image")
    (tmp_path / "runs" / "run").mkdir(parents=True)
    source = str(tmp_path / "photos")
    (tmp_path / "runs" / "run" / "config.toml").write_text(f"source = {json.dumps(source)}\n")
    (tmp_path / "runs" / "run" / "environment.json").write_text("{}")
    return source


def ended(app, source: str) -> Reply:
    """The status of a check-up once it is over."""
    for _ in range(1200):
        reply = ask(app, "/api/data/{set}/findings", source)
        if reply.json["state"] != "running":
            return reply
        time.sleep(0.05)
    raise AssertionError("the check-up never ended")


def test_a_check_up_tells_what_inspect_finds_with_what_spoils_a_verdict_on_top(tmp_path: Path, copied: str):
    app = build_app(tmp_path / "runs", rules_for("127.0.0.1", 8000, ""))
    assert ask(app, "/api/data/{set}/findings", copied).json["state"] == "none"
    assert ask(app, "/data/{set}/findings", copied).status == 404
    assert ask(app, "/api/data/{set}/findings", copied, "POST").status == 200
    assert ended(app, copied).json == {"state": "done", "done": 13, "total": 13, "problem": ""}
    page = ask(app, "/data/{set}/findings", copied).content.decode()
    inspection = api.inspect(copied, keep=False)
    told = [KINDS[finding.kind] for finding in inspection.findings]
    assert all(meaning in page for meaning in told)
    assert told[:2] == [KINDS["refused"], KINDS["unreadable"]]
    assert page.index(KINDS["same_image_in_two_splits"]) < page.index(KINDS["unreadable"])
    source = open_source(copied)
    pair = [i for i in range(13) if source.record(i).key in ("train/a/1.png", "test/a/2.png")]
    assert [page.count(f'data-position="{position}"') for position in pair] == [1, 1]
    assert "train/b/bad.png" in page
    assert page in ask(app, "/data/{set}", copied).content.decode()  # still there when the page is loaded again


def test_one_set_is_checked_at_a_time_and_ends_with_the_studio(
    tmp_path: Path, copied: str, monkeypatch: pytest.MonkeyPatch
):
    ending, goes_on = threading.Event(), threading.Event()

    def waiting(source: str, threads: int, progress: Callable[[int, int], None]) -> None:
        assert goes_on.wait(60)
        progress(1, 2)

    monkeypatch.setattr(findings, "inspect_source", waiting)
    other = tmp_path / "runs" / "other"
    other.mkdir()
    (other / "config.toml").write_text('source = "digits"\n')
    (other / "environment.json").write_text("{}")
    app = build_app(tmp_path / "runs", rules_for("127.0.0.1", 8000, ""), ending=ending)
    assert ask(app, "/api/data/{set}/findings", copied, "POST").json["state"] == "running"
    assert ask(app, "/api/data/{set}/findings", copied, "POST").json["state"] == "running"
    reply = ask(app, "/api/data/{set}/findings", "digits", "POST")
    assert (reply.status, reply.json["error"]["message"]) == (503, "The server is checking another data set.")
    ending.set()
    goes_on.set()
    assert ended(app, copied).json["problem"] == "The studio ends."


def test_what_is_elsewhere_is_not_checked(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text('source = "hub:owner/photos"\n')
    (tmp_path / "run" / "environment.json").write_text("{}")
    app = build_app(tmp_path, rules_for("127.0.0.1", 8000, ""))
    reply = ask(app, "/api/data/{set}/findings", "hub:owner/photos", "POST")
    assert (reply.status, reply.code) == (422, "not_here")
    assert ask(app, "/api/data/photos-00000000/findings", "", "POST").status == 404


def test_images_are_narrowed_opened_and_walked_with_keys(browser: Any, studio: RunningServer, photos: str):
    with Watched(browser, width_px=390) as watched:
        page = watched.page
        page.goto(f"{studio.url}/data")
        page.click("a[href^='/data/photos-']")
        watched.wait_until("document.getElementById('images-told').textContent === '120 images.'")
        watched.wait_until("document.querySelectorAll('#tile-list a').length > 8")
        assert page.locator("#tile-list li").count() < 60  # rows in view alone
        page.evaluate("document.getElementById('tiles').scrollTop = 1e6")
        watched.wait_until("document.querySelector('#tile-list li:last-child').ariaPosInSet === '120'")
        page.select_option("#class", "2")
        watched.wait_until("document.getElementById('images-told').textContent === '20 images.'")
        watched.wait_until("document.querySelectorAll('#tile-list a').length > 8")
        page.locator("#tile-list a").first.focus()
        page.keyboard.press("ArrowRight")
        watched.wait_until("document.activeElement.closest('li')?.ariaPosInSet === '2'")
        page.keyboard.press("Enter")
        watched.wait_until("document.getElementById('viewer').open")
        first = page.inner_text("#image-name")
        page.keyboard.press("ArrowRight")
        watched.wait_until(f"document.getElementById('image-name').textContent !== {json.dumps(first)}")
        assert "class=2" in page.url
        page.click("#draws summary")  # a run that says nothing of its input yet
        watched.wait_until("document.getElementById('draws-told').textContent.startsWith('This run does not say yet')")
        page.keyboard.press("Escape")
        watched.wait_until("document.activeElement.closest('li')?.ariaPosInSet === '3'")
        page.click("#check")
        watched.wait_until("document.querySelector('#findings-part table') !== null")
        assert "120 images of 6 classes" in page.inner_text("#findings-part")
        assert [text for text in watched.problems() if "status of 422" not in text] == []
