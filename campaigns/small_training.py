"""The smallest training that uses every part of the engine, and what must be equal between two of them."""

import hashlib
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from saccade import api
from saccade.core import atomic
from saccade.runs.checkpoint import newest_checkpoint
from saccade.runs.log import read_events
from saccade.runs.names import BEST, LAST, METRICS_LOG

MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None  # folders of campaigns that need no real disk
MODEL = "conv 4 f3 bn | dropout 0.2 | gap | fc 10"
COMMON = [
    "runtime.num_threads=1",
    "loader.threads=1",
    "stop.save_every_s=1e-9",  # after every step, however fast the machine is
    "split.test_fraction=0.85",
    "input.size_px=12",
    "batch_size=32",
]
ADAM = ["optimizer.learning_rate=0.002"]
SETTINGS: dict[str, list[str]] = {
    "nesterov, cosine": ["optimizer.name=nesterov", "schedule.name=cosine"],
    "sgd, constant, clipped": ["optimizer.name=sgd", "schedule.name=constant", "optimizer.clip_norm=1"],
    "momentum, step, accumulated": ["optimizer.name=momentum", "schedule.name=step", "accumulate=4"],
    "rmsprop, triangular": ["optimizer.name=rmsprop", "schedule.name=triangular", "optimizer.learning_rate=0.001"],
    "adam, average": ["optimizer.name=adam", *ADAM, "average.decay=0.9", "average.every_steps=3"],
    "adamw, smoothing": ["optimizer.name=adamw", *ADAM, "loss.label_smoothing=0.1"],
    "muon, lookahead": ["optimizer.name=muon", "average.decay=0.9", "average.lookahead=true"],
    "balanced, early stop": ["loss.class_weights=balanced", "stop.patience_epochs=1"],
    "float32, shifts": ["runtime.precision=float32", "augment.shift.max_px=2"],
    "mixup, average": ["augment.mixup.alpha=0.4", "average.decay=0.9"],
    "cutmix, balanced, accumulated": ["augment.cutmix.alpha=1", "loss.class_weights=balanced", "accumulate=2"],
    "growing images, mirrored in turn": ["input.start_fraction=0.5", "augment.alternating_mirror.enabled=true"],
    "muon, unit filters, stem held": [
        "optimizer.name=muon",
        "optimizer.unit_filters=true",
        "optimizer.stem_fraction=0.5",
    ],
}
VOLATILE = {"seconds", "images_per_second"}


def train(name: str, run: Path, progress: api.RunProgress | None = None) -> None:
    """Begin the run `SETTINGS[name]` in `run`, or go on with it where it was begun."""
    resume = (run / "config.toml").exists()
    request = api.TrainRequest(
        source="" if resume else "digits",
        model="" if resume else MODEL,
        epochs=None if resume else 3,
        out=run,
        resume=resume,
        settings=[] if resume else [*COMMON, *SETTINGS[name]],
    )
    api.train(request, progress, "campaign")


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
