"""The campaign of the server, with small numbers, and what it has to see."""

import importlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

for package in ("onnx", "openvino", "starlette", "uvicorn", "httptools", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def serve() -> Iterator[ModuleType]:
    """The campaign, which is no part of the package."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(REPOSITORY)
        yield importlib.import_module("campaigns.serve")


@pytest.fixture(scope="module")
def photos(serve: ModuleType, run: Path, exported: Path) -> list[Any]:
    return serve.photos_of(run, sorted((exported / "check").glob("*.png")))


def test_clients_one_tenth_hostile_get_right_answers(serve: ModuleType, exported: Path, photos: list[Any]):
    found = serve.steady(exported, photos, num_clients=4, seconds=3, seed=1, max_growth=2.0)
    assert found["failures"] == []
    assert found["statuses"]["200"] > 0


def test_fuzzed_requests_never_make_the_server_fail(serve: ModuleType, exported: Path, photos: list[Any]):
    found = serve.fuzzed(exported, photos, 150, seed=2)
    assert found["failures"] == []
    assert {"400", "422"} <= set(found["statuses"])


def test_overload_is_answered_by_answers_and_503_alone(serve: ModuleType, exported: Path, photos: list[Any]):
    found = serve.overload(exported, photos, num_clients=16, seconds=2)
    assert found["failures"] == []
    assert found["statuses"]["503"] > 0


def test_a_kill_loses_at_most_the_requests_inside(serve: ModuleType, exported: Path, photos: list[Any]):
    assert serve.kills(exported, photos, 1)["failures"] == []


def test_the_campaign_sees_a_wrong_answer(serve: ModuleType, exported: Path, photos: list[Any]):
    wrong = [replace(photo, expected=dict.fromkeys(photo.expected, 0.1)) for photo in photos]
    found = serve.slow_senders(exported, wrong, 5)
    assert len(found["failures"]) == 9
    assert "away from that of predict" in found["failures"][0]
