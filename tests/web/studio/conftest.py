"""A folder of runs in every state, and a real studio of it."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.report.conftest import MadeRun, make_run
from tests.web_pages import started_browser

from saccade import api
from saccade.evaluate.verdict import metrics_json
from saccade.report.record import read_run
from saccade.web.process import RunningServer

EVIL = "<b onmouseover='alert(1)'>&\u202ecat"


@pytest.fixture(scope="session")
def judged(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """A finished run of six classes, one of them with a name that tries to be markup, 20 photos each."""
    made = make_run(tmp_path_factory.mktemp("judged"), [EVIL, *(f"class {k}" for k in range(5))], 20)
    path = made.path / "evaluation.json"
    record = read_run(made.path)
    path.write_text(json.dumps(json.loads(path.read_text()) | metrics_json(record.metrics)))  # as a training has them
    return made


@pytest.fixture(scope="session")
def runs(judged: MadeRun, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Runs that are finished, stopped and damaged, one of them in a folder of its own; and a folder that is none."""
    folder = tmp_path_factory.mktemp("studio") / "runs"
    shutil.copytree(judged.path, folder / "photos" / "first")
    shutil.copytree(judged.path, folder / "second")
    stopped = Path(shutil.copytree(judged.path, folder / "stopped"))
    for name in ("evaluation.json", "evaluation.safetensors", "pictures.safetensors"):
        (stopped / name).unlink()
    damaged = Path(shutil.copytree(judged.path, folder / "damaged <i>"))
    (damaged / "evaluation.json").write_text("{")
    (folder / "notes").mkdir()
    (folder / "notes" / "read.txt").write_text("no run")
    return folder


@pytest.fixture(scope="session")
def studio(runs: Path) -> Iterator[RunningServer]:
    """The real command."""
    for package in ("starlette", "uvicorn", "httptools", "jinja2", "python_multipart"):
        pytest.importorskip(package, reason="the extra 'studio' is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(runs.parent / "cache"))  # where a check-up keeps what it measured
        running = api.studio(runs)
    with running:
        yield running


@pytest.fixture(scope="module")  # an event loop runs in the thread as long as it does
def browser() -> Iterator[Any]:
    with started_browser() as browser:
        yield browser
