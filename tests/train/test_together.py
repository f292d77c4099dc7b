"""Several processes train one run: the first writes, all know what one knows, and the run goes on after any of them."""

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

from saccade.core.lock import exclusive
from saccade.runs.names import LAST, MANIFEST

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

SETTINGS = [
    *("runtime.num_threads=1", "loader.threads=1", "split.test_fraction=0.85", "input.size_px=12", "batch_size=32"),
    *(
        "optimizer.name=adamw",
        "augment.mixup.alpha=0.4",
        "scale.lanes=8",
        "scale.timeout_s=3",
        "stop.save_every_s=1e-9",
    ),
]
TRAIN = ["-m", "saccade", "train"]
SMALL = ["digits", "--model", "conv 4 f3 bn | gap | fc 10", "--epochs", "3"]
STEP_BY_STEP = [*TRAIN, *SMALL, *(word for setting in SETTINGS for word in ("--set", setting)), "--plain"]

TIMES = {"seconds", "images_per_second", "single_ms", "together_ms", "times_slower"}
GO_ON = [*TRAIN, "--resume", "--out", "run"]


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run in one process."""
    folder = tmp_path_factory.mktemp("alone")
    done = run_python([*STEP_BY_STEP, "--out", "run"], folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_a_run_that_lost_processes_is_the_run_of_one(tmp_path: Path, alone: Path):
    """The first process is killed, then the second, then one is halted, then one is asked to stop; three end it."""
    killed = suffers(tmp_path, [*STEP_BY_STEP, "--out", "run"], {0: signal.SIGKILL})
    assert [one.returncode for one in killed] == [-9, 1]
    assert killed[1].stderr.startswith("error: process 1 (")
    assert "does not answer" in killed[1].stderr.split("\n")[0]
    killed = suffers(tmp_path, GO_ON, {1: signal.SIGKILL})
    assert [one.returncode for one in killed] == [1, -9]
    halted = suffers(tmp_path, GO_ON, {1: signal.SIGSTOP})
    assert halted[0].returncode == 1
    stopped = suffers(tmp_path, GO_ON, {1: signal.SIGTERM})
    assert [one.returncode for one in stopped] == [143, 143]
    assert stopped[0].stderr.split("\n")[-3:] == [
        "error: Stopped; everything is saved in run.",
        "Go on with: saccade train --resume --out run",
        "",
    ]
    assert stopped[1].stderr == ""
    ended = [program.communicate() for program in start_group(GO_ON, 3, tmp_path)]
    assert [one.returncode for one in ended] == [0, 0, 0], "\n".join(one.stderr for one in ended)
    assert [one.stdout.count("held-out images correct") for one in ended] == [1, 0, 0]
    assert [one.stderr for one in ended[1:]] == ["", ""]
    assert what_counts(tmp_path / "run") == what_counts(alone)


def suffers(folder: Path, arguments: list[str], signals: dict[int, int]) -> list[Any]:
    """What two processes say, to which `signals` are sent once they have saved a step more."""
    manifest = folder / "run" / LAST / MANIFEST
    before = step_of(manifest)
    programs = start_group(arguments, 2, folder)
    end_s = time.monotonic() + 300
    while step_of(manifest) < before + 2 and time.monotonic() < end_s:
        assert all(Path(f"/proc/{program.pid}").exists() for program in programs), programs[0].communicate().stderr
        time.sleep(0.01)
    for rank, number in signals.items():
        os.kill(programs[rank].pid, number)
    if signal.SIGSTOP in signals.values():
        first = programs[0].communicate()
        os.kill(programs[1].pid, signal.SIGKILL)
        return [first, programs[1].communicate()]
    return [program.communicate() for program in programs]


def step_of(manifest: Path) -> int:
    try:
        return int(json.loads(manifest.read_bytes())["step"])
    except (OSError, ValueError):
        return 0


def what_counts(run: Path) -> dict[str, Any]:
    """What no process, no kill and no stop may change."""
    manifests = {name: json.loads((run / name / MANIFEST).read_bytes()) for name in (LAST, "checkpoint-best")}
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    volatile = {"seconds", "images_per_second"}
    return {
        "files": {name: manifest["files"] for name, manifest in manifests.items()},
        "metrics": manifests["checkpoint-best"]["metrics"],
        "log": [{key: value for key, value in event.items() if key not in volatile} for event in events],
        "logits": (run / "evaluation.safetensors").read_bytes(),
    }


def test_any_number_of_processes_judges_a_run_alike(alone: Path):
    said = []
    for number in (1, 3):
        words = ["-m", "saccade", "evaluate", "run", "digits", "--json", "--crops", "2"]
        done = [program.communicate() for program in start_group(words, number, alone.parent)]
        assert [one.returncode for one in done] == [0] * number, "\n".join(one.stderr for one in done)
        assert [(one.stdout, one.stderr) for one in done[1:]] == [("", "")] * (number - 1)
        said.append(untimed(json.loads(done[0].stdout)))
    assert said[1] == said[0]
    assert said[0]["num_samples"] == 1528


def untimed(value: Any) -> Any:
    """A JSON value without what a clock says."""
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name not in TIMES}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def test_a_run_that_another_job_holds_is_refused_once(alone: Path):
    with exclusive(alone):
        done = [program.communicate() for program in start_group(GO_ON, 2, alone.parent)]
    assert [one.returncode for one in done] == [1, 1]
    assert done[0].stderr.startswith(f"error: The run run is in use by process {os.getpid()} since ")
    assert done[0].stderr.endswith("\nWait until it ends, stop it, or choose another place with --out.\n")
    assert done[1].stderr == ""
