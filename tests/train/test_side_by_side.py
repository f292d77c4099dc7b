"""Members and folds are trained side by side, each in one process: the bits are those of one after the other."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.group import start_group
from tests.processes import run_python

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

KILLED = Path(__file__).parent.parent / "killed.py"
SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "input.size_px=12", "batch_size=32", "stop.save_every_s=1e-9"]
SMALL = ["train", "digits", "--model", "conv 4 f3 bn | gap | fc 10", "--epochs", "2", "--out", "run"]
SMALL += [word for setting in SETTINGS for word in ("--set", setting)]
ENSEMBLE = [*SMALL, "--ensemble", "3", "--set", "split.test_fraction=0.8"]
FOLDS = [*SMALL, "--folds", "3", "--set", "loader.on_bad_image=error"]
GO_ON = ["train", "--resume", "--out", "run"]
RUNS = {
    "ensemble": ["member-1", "member-2", "member-3"],
    "folds": ["folds/fold-1", "folds/fold-2", "folds/fold-3", "."],
}
TIMES = {"seconds", "images_per_second", "together_ms", "single_ms", "times_slower", "training_seconds"}


def untimed(value: Any) -> Any:
    """A JSON value without what a clock says."""
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name not in TIMES}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def what_counts(folder: Path, kind: str) -> dict[str, Any]:
    """What may not depend on how many processes there were, nor on which of them died."""
    found: dict[str, Any] = {"verdict": untimed(json.loads((folder / "run" / "evaluation.json").read_text()))}
    for name in RUNS[kind]:
        run = folder / "run" / name
        events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
        manifests = [
            json.loads((run / f"checkpoint-{which}" / "manifest.json").read_bytes()) for which in ("last", "best")
        ]
        found[name] = {
            "files": [manifest["files"] for manifest in manifests],
            "metrics": manifests[1]["metrics"],
            "log": untimed(events),
            "logits": (run / "evaluation.safetensors").read_bytes(),
            "config": (run / "config.toml").read_text(),
        }
    return found


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """What each comes to in one process."""
    found = {}
    for kind, words in (("ensemble", ENSEMBLE), ("folds", FOLDS)):
        folder = tmp_path_factory.mktemp(kind)
        done = run_python(["-m", "saccade", *words], folder)
        assert done.returncode == 0, done.stderr
        found[kind] = what_counts(folder, kind)
    return found


@pytest.mark.parametrize("kind", ["ensemble", "folds"])
def test_runs_side_by_side_that_lost_processes_are_those_of_one_process(
    kind: str, alone: dict[str, dict[str, Any]], tmp_path: Path
):
    """The first of two is killed, then the second; then one of three is asked to stop, and two end it."""
    words = ENSEMBLE if kind == "ensemble" else FOLDS
    for rank, arguments, number in ((0, words, 2), (1, GO_ON, 2)):
        place = ["saccade.train.loop:save_checkpoint", rank, 12]
        programs = start_group([KILLED, *place, *arguments], number, tmp_path)
        done = [program.communicate() for program in programs]
        statuses = [one.returncode for one in done]
        assert statuses.pop(rank) == -signal.SIGKILL, done
        assert statuses == [1], done
        assert "another process of the run does not answer" in done[1 - rank].stderr
    programs = start_group(["-m", "saccade", *GO_ON], 3, tmp_path)
    wait_for_a_step(tmp_path / "run", programs)
    os.kill(programs[2].pid, signal.SIGTERM)
    done = [program.communicate() for program in programs]
    assert [one.returncode for one in done] == [143] * 3, done
    assert done[0].stderr.endswith(
        "error: Stopped; everything is saved in run.\nGo on with: saccade train --resume --out run\n"
    )
    assert [one.stderr for one in done[1:]] == ["", ""]
    done = [program.communicate() for program in start_group(["-m", "saccade", *GO_ON], 2, tmp_path)]
    assert [one.returncode for one in done] == [0, 0], done
    assert (done[1].stdout, done[1].stderr) == ("", "")
    found = what_counts(tmp_path, kind)
    for name, expected in alone[kind].items():
        assert found[name] == expected, name


def wait_for_a_step(run: Path, programs: list[Any]) -> None:
    """Until one of the runs in `run` saves once more."""
    end_s, before = time.monotonic() + 300, saved(run)
    while saved(run) == before and time.monotonic() < end_s:
        assert all(Path(f"/proc/{program.pid}").exists() for program in programs), programs[0].communicate().stderr
        time.sleep(0.01)


def saved(run: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in run.rglob("checkpoint-last/manifest.json"))
