"""Kill trainings at random moments, resume them, and compare every bit with a training nobody disturbed.

    python -m campaigns.kill_and_resume --trials 1000 --seed 0

A trial trains LeNet-5 on the built-in digits under one of the settings below and sends itself SIGKILL at a random
place: after a step, or inside a save (any write, sync or rename of it). It is resumed, sometimes killed again, and
must end with the same weights, optimizer state, cursor, kept epoch and metric log as the undisturbed run of the same
settings in the same job. Needs an operating system with fork.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from saccade import api
from saccade.checkpoint import BEST, LAST, newest_checkpoint
from saccade.core import atomic
from saccade.core.log import read_events
from saccade.data.base import open_source
from saccade.train.folder import METRICS_LOG

COMMON = ["runtime.num_threads=1", "loader.threads=1", "stop.save_every_s=0.02", "split.test_fraction=0.7"]
SETTINGS: dict[str, list[str]] = {
    "nesterov, cosine": [],
    "sgd, constant, clipped": ["optimizer.name=sgd", "schedule.name=constant", "optimizer.clip_norm=1"],
    "momentum, step, accumulated": ["optimizer.name=momentum", "schedule.name=step", "accumulate=4"],
    "rmsprop, triangular": ["optimizer.name=rmsprop", "optimizer.learning_rate=0.001", "schedule.name=triangular"],
    "adam, average": ["optimizer.name=adam", "optimizer.learning_rate=0.002", "average.decay=0.9"],
    "adamw, smoothing": ["optimizer.name=adamw", "optimizer.learning_rate=0.002", "loss.label_smoothing=0.1"],
    "muon, lookahead": ["optimizer.name=muon", "average.decay=0.9", "average.lookahead=true"],
    "balanced, early stop": ["loss.class_weights=balanced", "stop.patience_epochs=1"],
    "float32, shifts": ["runtime.precision=float32", "augment.shift.max_px=2"],
}
VOLATILE = {"seconds", "images_per_second"}
SYSTEM_CALLS = ("sync_file", "sync_folder", "write_bytes", "_remove_folder")


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where any trial differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = run_campaign(arguments.trials, arguments.seed, Path(folder))
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(num_trials: int, seed: int, folder: Path) -> dict[str, Any]:
    """`num_trials` trials; returns how many kills struck where, and every difference found."""
    open_source("digits")  # so that every child inherits the imports instead of repeating them
    draw = random.Random(seed)
    references: dict[str, dict[str, Any]] = {}
    failures: list[str] = []
    kills = {"after a step": 0, "inside a save": 0, "not reached": 0}
    for number in range(num_trials):
        name = list(SETTINGS)[number % len(SETTINGS)]
        if name not in references:
            in_child(partial(train, name, folder / "reference", None))
            references[name] = fingerprint(folder / "reference")
            shutil.rmtree(folder / "reference")
        run = folder / f"trial-{number}"
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            where, at = draw_kill(draw)
            killed = in_child(partial(train, name, run, (where, at)))
            kills[where if killed else "not reached"] += 1
        if in_child(partial(train, name, run, None)):
            failures.append(f"trial {number} ({name}): the last resume was killed by nobody we know")
            continue
        failures += [f"trial {number} ({name}): {text}" for text in differences(references[name], fingerprint(run))]
        shutil.rmtree(run)
    return {"trials": num_trials, "seed": seed, "kills": kills, "failures": failures}


def draw_kill(draw: random.Random) -> tuple[str, int]:
    """Where a kill strikes and at which occurrence: 40 % inside a save."""
    return ("inside a save", draw.randint(1, 120)) if draw.random() < 0.4 else ("after a step", draw.randint(1, 24))


def in_child(work: Callable[[], None]) -> bool:
    """Run `work` in a forked process; True where it was killed. Raises RuntimeError where it failed otherwise."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - whatever it is, it must not escape into the parent's code
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"a training ended with status {status} instead of finishing or being killed")
    return False


def train(name: str, run: Path, kill: tuple[str, int] | None) -> None:
    """Begin or resume the run; die at the occurrence that `kill` names."""
    progress = Killer(kill[1]) if kill and kill[0] == "after a step" else api.Silent()
    if kill and kill[0] == "inside a save":
        die_inside_saves(kill[1])
    resume = (run / "config.toml").exists()
    settings = [] if resume else [*COMMON, *SETTINGS[name]]
    request = api.TrainRequest(
        source="" if resume else "digits", epochs=None if resume else 3, out=run, resume=resume, settings=settings
    )
    api.train(request, progress, "campaign")


class Killer(api.Silent):
    """Kills the process after so many steps."""

    def __init__(self, steps_left: int) -> None:
        self.steps_left = steps_left

    def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
        self.steps_left -= 1
        if self.steps_left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def die_inside_saves(calls_left: int) -> None:
    """Patch what saving is made of so that the process dies in front of one of its calls to the disk."""
    left = [calls_left]

    def dying(original: Any) -> Any:
        def call(*arguments: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments)

        return call

    for name in SYSTEM_CALLS:
        setattr(atomic, name, dying(getattr(atomic, name)))
    os.rename, os.replace = dying(os.rename), dying(os.replace)


def fingerprint(run: Path) -> dict[str, Any]:
    """Everything that must be equal between two runs of the same settings."""
    last, _ = newest_checkpoint(run / LAST)
    best, _ = newest_checkpoint(run / BEST)
    assert last is not None
    assert best is not None
    cursor = {key: value for key, value in last.manifest.training.items() if key not in ("training_s", "log_bytes")}
    events = [{k: v for k, v in event.items() if k not in VOLATILE} for event in read_events(run / METRICS_LOG)]
    return {
        "weights": last.manifest.files["weights.safetensors"].sha256,
        "state": last.manifest.files["state.safetensors"].sha256,
        "best weights": best.manifest.files["weights.safetensors"].sha256,
        "best metrics": best.manifest.metrics,
        "cursor": cursor,
        "log": events,
        "logits": hashlib.sha256((run / "evaluation.safetensors").read_bytes()).hexdigest(),
        "leftovers": sorted(path.name for path in run.iterdir() if atomic.TEMPORARY_SUFFIX in path.name),
    }


def differences(expected: dict[str, Any], found: dict[str, Any]) -> list[str]:
    """Which parts of two fingerprints differ."""
    return [f"{key} differs" for key in expected if expected[key] != found[key]]


if __name__ == "__main__":
    main()
