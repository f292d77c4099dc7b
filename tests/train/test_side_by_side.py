"""Members and folds are trained side by side, each in one process: the bits are those of one after the other."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.group import start_group
from tests.processes import run_python

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

CHILD = Path(__file__).with_name("side_by_side_child.py")
KILLED = Path(__file__).parent.parent / "killed.py"
RUNS = {
    "ensemble": ["member-1", "member-2", "member-3"],
    "folds": ["folds/fold-1", "folds/fold-2", "folds/fold-3", "."],
}
SEVERAL = {"ensemble": "ensemble.toml", "folds": "folds/folds.toml"}
VOLATILE = {"seconds", "images_per_second", "together_ms", "single_ms", "times_slower"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, draw = tmp_path_factory.mktemp("given") / "photos", np.random.default_rng(0)
    for number in range(90):
        place = folder / f"class-{number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 200, (12, 12), dtype=np.uint8) + np.uint8(20 * (number % 3))
        Image.fromarray(pixels).save(place / f"{number}.png")
    return folder


@pytest.fixture(scope="module", params=["ensemble", "folds"])
def alone(
    request: pytest.FixtureRequest, photos: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, str]:
    """(what is trained, where one process did it, what that says)."""
    folder = tmp_path_factory.mktemp("alone")
    (folder / "photos").symlink_to(photos)
    done = run_python([CHILD, request.param], folder)
    assert done.returncode == 0, done.stderr
    return request.param, folder, done.stdout


def untimed(value: Any) -> Any:
    """A JSON value without what a clock says."""
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name not in VOLATILE}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def what_counts(folder: Path, kind: str) -> dict[str, Any]:
    """What may not depend on how many processes there were, nor on which of them died."""
    whole = folder / "run"
    found: dict[str, Any] = {"verdict": untimed(json.loads((whole / "evaluation.json").read_bytes()))}
    found["plan"] = (whole / SEVERAL[kind]).read_text(encoding="utf-8")
    for name in RUNS[kind]:
        run = whole / name
        lines = (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
        saved = [json.loads((run / f"checkpoint-{which}/manifest.json").read_bytes()) for which in ("last", "best")]
        found[name] = {
            "files": [manifest["files"] for manifest in saved],
            "metrics": saved[1]["metrics"],
            "log": untimed([json.loads(line) for line in lines]),
            "logits": (run / "evaluation.safetensors").read_bytes(),
            "config": (run / "config.toml").read_text(encoding="utf-8"),
        }
    return found


def test_runs_side_by_side_that_lost_processes_are_those_of_one_process(
    alone: tuple[str, Path, str], photos: Path, tmp_path: Path
):
    """The second of two is killed, then the first; then one of three is asked to stop, and two end it."""
    kind, expected, said = alone
    (tmp_path / "photos").symlink_to(photos)
    for rank, save in ((1, 4), (0, 1)):  # as far as the other one comes until it hears, the first has a save to make
        done = signalled(signal.SIGKILL, rank, save, 2, kind, tmp_path)
        assert done.pop(rank).returncode == -signal.SIGKILL
        assert done[0].returncode == 1
        assert done[0].stderr.startswith(f"NoAnswerError: process {1 - rank} ("), done[0].stderr
    done = signalled(signal.SIGTERM, 0, 1, 3, kind, tmp_path)
    assert [one.returncode for one in done] == [143] * 3, done
    assert all(one.stderr.startswith("Stopped: Stopped") for one in done), done
    assert all("Go on with: saccade train" in one.stderr for one in done), done
    done = [program.communicate() for program in start_group([CHILD, kind], 2, tmp_path)]
    assert [one.returncode for one in done] == [0, 0], done
    assert [one.stdout for one in done] == [said, said]
    found = what_counts(tmp_path, kind)
    for name, value in what_counts(expected, kind).items():
        assert found[name] == value, name


def signalled(number: signal.Signals, rank: int, save: int, world_size: int, kind: str, folder: Path) -> list[Any]:
    """What so many processes say, one of which sends itself a signal at one of its saves."""
    place = [number.value, "saccade.train.loop:save_checkpoint", rank, save]
    programs = start_group([KILLED, *place, CHILD, kind], world_size, folder)
    return [program.communicate() for program in programs]
