"""Rebuild every state that a power loss in the middle of a save can leave, and load the newest checkpoint from each.

    python -m campaigns.crash_states --saves 6

Records the writes, syncs, renames and removals of a series of saves (the last checkpoint with its predecessor kept, the
best one without), and for every prefix of them rebuilds the disk with what was not synced present, absent, cut, or
zeroed. From each state the newest committed checkpoint, or the one being saved, must load to the bits that were saved;
a save afterwards must work.
"""

import argparse
import hashlib
import json
import os
import random
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from saccade.core import atomic
from saccade.core.types import Preprocessing
from saccade.runs.checkpoint import newest_checkpoint, save_checkpoint
from saccade.runs.manifest import Manifest
from saccade.runs.names import BEST, LAST

from .recorded_disk import Effect, Recording, Tree, crash_states, write_tree

PIXELS = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.5,), std=(0.5,))
MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # what is rebuilt need not reach a disk
Committed = dict[str, int]  # name of the checkpoint -> newest step whose save had returned


def main() -> None:
    """Run the campaign and print the result as JSON; exit status 1 where any state loads anything else."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--saves", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    result = run_campaign(arguments.saves, arguments.seed)
    print(json.dumps(result))
    sys.exit(1 if result["failures"] else 0)


def run_campaign(num_saves: int, seed: int) -> dict[str, Any]:
    """Record `num_saves` saves and check every state; returns how many there were and which failed."""
    with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
        effects, commits = record(num_saves, Path(folder) / "run")
    draw = random.Random(seed)
    failures: list[str] = []
    seen: set[str] = set()
    for length in range(1, len(effects) + 1):
        committed = commits_before(commits, length)
        for tree in crash_states(effects[:length], draw):
            key = digest(tree, committed)
            if key in seen:
                continue
            seen.add(key)
            with tempfile.TemporaryDirectory(dir=MEMORY) as folder:
                write_tree(tree, Path(folder))
                failures += [f"after {length} calls: {text}" for text in check(Path(folder), committed)]
    return {"saves": num_saves, "calls": len(effects), "states": len(seen), "seed": seed, "failures": failures}


def record(num_saves: int, run: Path) -> tuple[list[Effect], list[tuple[int, Committed]]]:
    """The effects of the saves, and what was committed at how many of them. The run's own folder is part of it."""
    run.parent.mkdir(exist_ok=True)
    recording = Recording(run.parent)
    committed: Committed = {}
    commits: list[tuple[int, Committed]] = []
    with recording.recorded():
        atomic.make_folder(run)
        for step in range(1, num_saves + 1):
            for name in [LAST, BEST] if step % 2 else [LAST]:
                save(run / name, step)
                committed = committed | {name: step}
                commits.append((len(recording.effects), committed))
    shutil.rmtree(run)
    return recording.effects, commits


def commits_before(commits: list[tuple[int, Committed]], length: int) -> Committed:
    """What had been committed after `length` calls."""
    return next((committed for at, committed in reversed(commits) if at <= length), {})


def save(folder: Path, step: int) -> None:
    """Save the checkpoint of `step`, whose tensors follow from the step."""
    manifest = Manifest(model="lenet5", preprocessing=PIXELS, classes=("a", "b"), step=step)
    with_state = folder.name == LAST
    state = tensors(step, "state") if with_state else None
    save_checkpoint(folder, manifest, tensors(step, "weights"), state, keep_previous=with_state)


def tensors(step: int, name: str) -> dict[str, torch.Tensor]:
    """What `step` saved under `name`."""
    generator = torch.Generator().manual_seed(1000 * step + len(name))
    return {f"{name}.a": torch.randn(8, 4, generator=generator), f"{name}.b": torch.randn(3, generator=generator)}


def check(folder: Path, committed: Committed) -> Iterator[str]:
    """Everything that is wrong with the state in `folder`: what loads, what is in it, and whether a save works."""
    run = folder / "run"
    for name, step in committed.items():
        found, problems = newest_checkpoint(run / name)
        if found is None or found.manifest.step < step:
            what = "nothing" if found is None else f"step {found.manifest.step}"
            yield f"{name} gives {what} where step {step} was committed ({'; '.join(problems)})"
            continue
        expected = tensors(found.manifest.step, "weights")
        loaded = found.load_weights()
        if name == LAST:
            expected |= tensors(found.manifest.step, "state")
            loaded |= found.load_state()
        if loaded.keys() != expected.keys() or not all(torch.equal(loaded[key], expected[key]) for key in expected):
            yield f"{name} gives other tensors than step {found.manifest.step} saved"
        save(run / name, step + 5)
        again, _ = newest_checkpoint(run / name)
        if again is None or again.manifest.step != step + 5:
            yield f"{name}: a save afterwards is not found"


def digest(tree: Tree, committed: Committed) -> str:
    """A name for a state and what is expected of it."""
    parts = [f"{name} {hashlib.sha256(content or b'').hexdigest()} {content is None}" for name, content in tree.items()]
    return "\n".join([*parts, json.dumps(committed)])


if __name__ == "__main__":
    main()
