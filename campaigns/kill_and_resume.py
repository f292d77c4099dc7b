"""Kill trainings at random moments, resume them, and compare every bit with a training nobody disturbed.

    python -m campaigns.kill_and_resume --trials 1000 --seed 0

A trial trains a small network on the built-in digits under one of the settings of `small_training` and sends itself
SIGKILL at a random place: after a step, or inside a save (in front of any write, sync, rename or removal of it). It is
resumed, sometimes killed again, and must end with the same weights, optimizer state, cursor, kept epoch, metric log and
logits as the undisturbed run of the same settings in the same job. Needs an operating system with fork.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

from saccade import api
from saccade.core import atomic
from saccade.data.source import open_source

from .small_training import MEMORY, SETTINGS, differences, fingerprint, in_child, train

SYSTEM_CALLS = ("sync_file", "sync_folder", "write_bytes", "_remove_folder")
MAX_STEPS, MAX_CALLS = 24, 750  # of an undisturbed run: steps, and calls to the disk in its saves (about)


def main() -> None:
    """Run the trials and print the result as JSON; exit status 1 where any trial differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
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
            in_child(partial(train, name, folder / "reference"))
            references[name] = fingerprint(folder / "reference")
            shutil.rmtree(folder / "reference")
        run = folder / f"trial-{number}"
        for _ in range(draw.choice([1, 1, 1, 2, 3])):
            where, at = draw_kill(draw)
            killed = in_child(partial(train_until, name, run, where, at))
            kills[where if killed else "not reached"] += 1
        if in_child(partial(train, name, run)):
            failures.append(f"trial {number} ({name}): the last resume was killed by nobody we know")
            continue
        failures += [f"trial {number} ({name}): {text}" for text in differences(references[name], fingerprint(run))]
        shutil.rmtree(run)
    return {"trials": num_trials, "settings": len(references), "seed": seed, "kills": kills, "failures": failures}


def draw_kill(draw: random.Random) -> tuple[str, int]:
    """Where a kill strikes and at which occurrence: of those that are reached, at least 40 % inside a save."""
    if draw.random() < 0.55:
        return "inside a save", draw.randint(1, MAX_CALLS)
    return "after a step", draw.randint(1, MAX_STEPS)


def train_until(name: str, run: Path, where: str, at: int) -> None:
    """Begin or resume the run; die at occurrence `at` of `where`."""
    if where == "inside a save":
        die_inside_saves(at)
        train(name, run)
    else:
        train(name, run, Killer(at))


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
        def call(*arguments: Any, **options: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return original(*arguments, **options)

        return call

    for name in SYSTEM_CALLS:
        setattr(atomic, name, dying(getattr(atomic, name)))
    for name in ("rename", "replace", "unlink", "rmdir"):
        setattr(os, name, dying(getattr(os, name)))


if __name__ == "__main__":
    main()
