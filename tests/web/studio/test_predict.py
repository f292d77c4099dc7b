"""The place Predict answers as `saccade predict` does, and what is no image gets a sentence."""

import asyncio
import base64
import io
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

for package in ("starlette", "uvicorn", "httptools", "jinja2", "python_multipart"):
    pytest.importorskip(package, reason="the extra 'studio' is not installed")

from tests.processes import PATIENCE_S  # noqa: E402
from tests.report.conftest import MadeRun  # noqa: E402
from tests.ship.asked import HOST, Reply, asked  # noqa: E402
from tests.web_pages import Watched  # noqa: E402

from saccade import api  # noqa: E402
from saccade.core.errors import UsageError  # noqa: E402
from saccade.core.types import Prediction  # noqa: E402
from saccade.web.body import BodyMemory  # noqa: E402
from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.process import RunningServer  # noqa: E402
from saccade.web.studio.app import build_app  # noqa: E402
from saccade.web.studio.design.wanted import Wanted  # noqa: E402
from saccade.web.studio.predict import pages  # noqa: E402
from saccade.web.studio.predict.classifiers import answer_json  # noqa: E402
from saccade.web.studio.runs.index import RunIndex, run_id  # noqa: E402

JPEG = ("content-type", "image/jpeg")
NO_IMAGE = "Not an image that can be read (see 'saccade sources'): it begins with 'no image'."


@pytest.fixture(scope="module")
def app(runs: Path):
    return build_app(runs, rules_for("127.0.0.1", 8000, ""))


@pytest.fixture(scope="module")
def photos(judged: MadeRun) -> list[Path]:
    return sorted((judged.path.parent / "photos").glob("*/*.jpg"))[::25][:3]


def ask(app, address: str, body: bytes, kind: tuple[str, str] = JPEG, run: str = "second") -> Reply:
    return asyncio.run(asked(app, "POST", address.format(run=run_id(run)), [HOST, kind], body))


def pixels_of(address: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(address.removeprefix("data:image/png;base64,")))))


def test_a_network_that_is_drawn_slowly_holds_up_no_answer(app, photos: list[Path], monkeypatch: pytest.MonkeyPatch):
    begun, answered = threading.Event(), threading.Event()

    def drawn_slowly(wanted: Wanted, index: RunIndex) -> None:
        begun.set()
        assert answered.wait(PATIENCE_S)
        raise UsageError("It took too long.")

    async def both() -> tuple[Reply, Reply]:
        design = asyncio.create_task(asked(app, "GET", "/design/part?network=lenet5&batch=3", [HOST]))
        assert await asyncio.to_thread(begun.wait, PATIENCE_S)
        address = f"/api/predict/{run_id('second')}"
        said = await asked(app, "POST", address, [HOST, JPEG], photos[0].read_bytes())
        answered.set()
        return said, await design

    monkeypatch.setattr("saccade.web.studio.design.pages.draw", drawn_slowly)
    said, design = asyncio.run(both())
    assert (said.status, len(said.json["top"])) == (200, 5)
    assert "It took too long." in design.content.decode()


def test_a_photo_is_answered_as_predict_answers_it(app, runs: Path, photos: list[Path]):
    for photo in photos:
        said = next(iter(api.predict(runs / "second", [photo])))
        assert isinstance(said, Prediction)
        found = ask(app, "/api/predict/{run}", photo.read_bytes()).json
        assert [each["probability"] for each in found["top"]] == [probability for _, probability in said.top(5)]
        assert [said.classes[each["index"]] for each in found["top"]] == [name for name, _ in said.top(5)]
        assert pixels_of(found["seen"]).shape == (64, 80, 3)


def test_the_bytes_of_a_photo_count_as_held_until_it_is_answered(
    runs: Path, photos: list[Path], monkeypatch: pytest.MonkeyPatch
):
    memories: list[BodyMemory] = []
    monkeypatch.setattr(pages, "BodyMemory", lambda limits: memories.append(BodyMemory(limits)) or memories[0])
    monkeypatch.setattr(pages, "answer", lambda *_: {"held": memories[0].held_bytes})
    content = photos[0].read_bytes()
    app = build_app(runs, rules_for("127.0.0.1", 8000, ""))
    assert ask(app, "/api/predict/{run}", content).json == {"held": len(content)}
    assert memories[0].held_bytes == 0


def test_below_the_confidence_asked_for_there_is_no_answer(app, photos: list[Path]):
    found = ask(app, "/api/predict/{run}?least=1", photos[0].read_bytes()).json
    assert found["why_none"] == "Not sure: no answer at this confidence."


def test_evidence_lies_over_what_the_network_sees(app, photos: list[Path]):
    found = ask(app, "/api/predict/{run}/evidence?class=2", photos[0].read_bytes()).json
    assert pixels_of(found["veil"]).shape == (64, 80, 4)
    assert found["layer"]


@pytest.mark.parametrize(
    ("address", "body", "kind", "status", "message"),
    [
        ("/api/predict/{run}", b"no image", JPEG, 422, NO_IMAGE),
        ("/api/predict/{run}", b"", JPEG, 400, "The request holds no image."),
        ("/api/predict/{run}", b"<svg/>", ("content-type", "image/svg+xml"), 415, "This Content-Type is not taken."),
        ("/api/predict/{run}?least=2", b"", JPEG, 422, "least must be a number from 0 to 1."),
        ("/api/predict/{run}?least=nan", b"", JPEG, 422, "least must be a number from 0 to 1."),
        ("/api/predict/{run}/evidence?class=-1", b"", JPEG, 422, "class must be the number of a class of the run."),
        ("/api/predict/{run}/evidence?class=6", b"", JPEG, 400, "The request holds no image."),
    ],
)
def test_what_cannot_be_answered_gets_a_sentence(
    app, address: str, body: bytes, kind: tuple[str, str], status: int, message: str
):
    reply = ask(app, address, body, kind)
    assert (reply.status, reply.json["error"]["message"]) == (status, message)


def test_a_class_beyond_the_last_is_refused(app, photos: list[Path]):
    reply = ask(app, "/api/predict/{run}/evidence?class=6", photos[0].read_bytes())
    assert (reply.status, reply.code) == (422, "wrong_field")


def test_a_number_and_several_labels_have_answers_of_their_own():
    number = Prediction(key="a", classes=("weight",), probabilities=(), latency_ms=1.0, value=4.25, interval=(4.0, 5.0))
    assert answer_json(number) | {"ms": 0} == {
        "kind": "number",
        "answer": "4.25 (4 to 5)",
        "why_none": "",
        "top": [],
        "measured": "weight",
        "notes": [],
        "ms": 0,
    }
    both = Prediction(key="a", classes=("x", "y"), probabilities=(0.9, 0.8), latency_ms=1.0, labels=("x", "y"))
    assert answer_json(both)["answer"] == "x, y"
    none = Prediction(key="a", classes=("x", "y"), probabilities=(0.1, 0.2), latency_ms=1.0, labels=())
    assert answer_json(none)["answer"] == "none of the labels"


def test_photos_are_brought_answered_looked_into_and_saved(browser: Any, studio: RunningServer, photos: list[Path]):
    with Watched(browser) as watched:
        page = watched.page
        page.goto(f"{studio.url}/predict?run={run_id('second')}&run={run_id('photos/first')}")
        assert page.locator("input[name=run]:checked").count() == 2
        page.set_input_files("#files", [*map(str, photos), str(Path(__file__))])
        watched.wait_until("document.getElementById('told').textContent === '4 answered.'")
        assert page.locator("#answers .classes").count() == 6  # three photos by two runs
        assert "Not an image that can be read" in page.locator("#answers").inner_text()
        page.keyboard.press("e")
        lines = "[...document.querySelectorAll('.answer-of p.muted')]"
        watched.wait_until(f"{lines}.filter((line) => /vidence/.test(line.textContent)).length >= 6")
        assert [
            text for text in watched.problems() if "status of 422" not in text
        ] == []  # Chromium tells every refusal
        with page.expect_download() as saved:
            page.click("#save")
        lines = Path(saved.value.path()).read_text(encoding="utf-8").splitlines()
        assert len(lines) == 5
        assert lines[0].startswith("image,class (")
        page.click("#clear")
        assert page.locator("#answers li").count() == 0
