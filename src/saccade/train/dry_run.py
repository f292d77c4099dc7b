"""`--dry-run`: what a run would do, from its images to its settings, without writing anything.

The images are looked at as before a training, the network is built, and a few steps are taken on copies that are thrown
away, to say how long all of it would take here.
"""

import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from torch import nn

from ..core.config import toml_text
from ..core.display import Displayed
from ..core.durations import between_words
from ..core.errors import SaccadeError, printable
from ..core.runtime import Runtime, start, wait_for
from ..data.augmenter import measure_colours
from ..data.loading.loader import build_loader
from ..design.memory import STATE_PER_PARAMETER, StepPlan
from ..design.table import layer_table
from ..design.text import size
from .config import RunConfig
from .extra_loss import FindExtraLoss, no_extra_loss
from .memory_needed import free_on, parts_that_fit
from .prepare import Images, prepare_images
from .progress import RunProgress
from .run import check_growing, model_parameters, num_judged, opening_lines, start_training
from .single_images import without_effect
from .step import TrainingStep
from .time_left import TimeLeft, TrainingTime

MOST_STEPS = 8  # that are measured
MOST_S = 5.0  # that they take together, but for the step in which the last begins


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one image takes through the network, what a step takes in memory, and how long the run would take here;
    None: not known. `download_bytes` are of weights that are not on this machine; 0 where they are, or none are
    needed. `short` says what to do where a step needs more memory than is free."""

    parameters: int
    multiply_adds: int | None
    training_bytes: int | None
    left: TimeLeft | None
    download_bytes: int | None = 0
    short: str = ""

    def words(self) -> list[str]:
        """A line on what it costs, and one on how long it takes."""
        parts = [f"{self.multiply_adds:,} multiply-adds an image" if self.multiply_adds else ""]
        parts += [f"about {size(self.training_bytes)} of memory while training" if self.training_bytes else ""]
        lines = [f"cost    {'; '.join(filter(None, parts))}"] if any(parts) else []
        lines += [f"memory  {self.short}"] if self.short else []
        if self.left is not None and self.left.high_s > 0:
            lines.append(
                f"time    {between_words(self.left.low_s, self.left.high_s)} here, its verdict and report included"
            )
        return lines


@dataclass(frozen=True, kw_only=True, repr=False)
class DryRun(Displayed):
    """What a run would be: `opening` are the lines that it begins with, `run` where it would lie."""

    config: RunConfig
    opening: tuple[str, ...]
    run: Path
    num_images: dict[str, int]
    cost: Cost
    more: tuple[str, ...] = field(default=())

    def display_lines(self) -> list[str]:
        """What would run, on what, at what cost, by which settings."""
        settings = toml_text(settings_of(self.config)).splitlines()
        return [
            *self.opening,
            *self.cost.words(),
            *self.more,
            f"settings of recipe {printable(self.config.recipe)} that are not the defaults:",
            *(f"    {printable(line)}" for line in settings if line),
            "Nothing was written. Leave out --dry-run to run it.",
        ]

    def as_json(self) -> dict[str, Any]:
        """The object of `--dry-run --json`; its keys are a contract."""
        left = self.cost.left
        return {
            "dry_run": True,
            "verb": self.config.verb,
            "run": str(self.run),
            "source": self.config.source,
            "model": self.config.transfer.backbone or self.config.model,
            "images": self.num_images,
            "epochs": self.config.epochs,
            "batch_size": self.config.batch_size,
            "parameters": self.cost.parameters,
            "multiply_adds": self.cost.multiply_adds,
            "training_bytes": self.cost.training_bytes,
            "download_bytes": self.cost.download_bytes,
            "seconds_low": round(left.low_s, 1) if left else None,
            "seconds_high": round(left.high_s, 1) if left else None,
            "settings": settings_of(self.config),
        }


def settings_of(config: RunConfig) -> dict[str, Any]:
    """The values that differ from the defaults, but for what options choose."""
    return {name: value for name, value in config.differences().items() if name not in ("source", "model", "recipe")}


def plan_training(
    config: RunConfig, run: Path, progress: RunProgress, find_extra_loss: FindExtraLoss = no_extra_loss
) -> DryRun:
    """What training as `config` says would be, in `run`. Raises what a training raises before its first step."""
    runtime = start(config.runtime)
    images = prepare_images(config, runtime, progress.note, progress.scan)
    white = images.preprocessing.white_16_bit
    augment = measure_colours(config.augment, images.source, images.split.train_N, config.seed, white)
    asked, config = config, config.model_copy(update={"augment": augment})
    config, extra_loss = find_extra_loss(config, images, runtime)
    training = start_training(config, images, runtime)
    training.extra_loss = extra_loss
    check_growing(training.model, config, images.preprocessing)
    for told in without_effect(config, len(images.split.without_copies("validation")) > 0):
        progress.note(told)
    parameters = model_parameters(training.model)
    cost = cost_of(training.model, config, images, runtime)
    short = memory_words(training.model, config, cost[1], runtime)
    left = None
    if not short:
        progress.working("measuring a few steps")
        left = measure_steps(training, config, images, runtime)
    opening = opening_lines(config, images, runtime.describe(), run, parameters)
    return DryRun(
        config=asked,
        opening=tuple(opening),
        run=run,
        num_images=images_by_part(images),
        cost=Cost(parameters=parameters, multiply_adds=cost[0], training_bytes=cost[1], left=left, short=short),
    )


def images_by_part(images: Images) -> dict[str, int]:
    """How many images train, choose the epoch and judge."""
    split = images.split
    return {
        "train": len(split.train_N),
        "validation": len(split.without_copies("validation")),
        "test": len(split.without_copies("test")),
    }


def cost_of(model: nn.Module, config: RunConfig, images: Images, runtime: Runtime) -> tuple[int | None, int | None]:
    """(multiply-adds of an image, most bytes of a training step); None for what cannot be followed."""
    num_parts = max(1, config.accumulate)
    optimizer = config.optimizer.name if config.optimizer.name in STATE_PER_PARAMETER else "adamw"
    precision = "float32" if "float32" in str(runtime.precision) else "bfloat16"
    step = StepPlan(batch_size=max(1, config.batch_size // num_parts), precision=precision, optimizer=optimizer)
    try:
        table = layer_table(model, images.spec.input_CHW, step=step)
    except SaccadeError:
        return None, None  # a network of one's own that no table can be drawn of trains all the same
    return table.totals.multiply_adds, table.memory.training_peak


def measure_steps(training: TrainingStep, config: RunConfig, images: Images, runtime: Runtime) -> TimeLeft:
    """How long the whole run would take, by a few steps on this machine. The first one, which warms up, is left out."""
    loader = config.loader_of(runtime.ranks)
    split, started_s = images.split, time.monotonic()
    index_N = split.train_N
    with build_loader(images.source, index_N, images.preprocessing, config.augment, loader, config.seed) as batches:
        taken = TrainingTime(
            units_of=lambda epoch: float(batches.num_batches),
            num_batches=batches.num_batches,
            num_images=len(index_N),
            num_validated=len(split.without_copies("validation")),
            num_judged=num_judged(images),
        )
        training.set_epoch(0)
        for number, batch in enumerate(islice(batches.epoch(0), MOST_STEPS)):
            training.run(batch, number, 0.0)
            wait_for(runtime.device)
            if number:
                taken.stepped(0)
            taken.begin()
            if number and time.monotonic() - started_s > MOST_S:
                break
    return taken.left(0, 0, config.epochs)


def memory_words(model: nn.Module, config: RunConfig, step_bytes: int | None, runtime: Runtime) -> str:
    """What to do where a step needs more memory than is free; "" where it fits, or nothing tells."""
    free_bytes = free_on(runtime.device)
    if step_bytes is None or free_bytes is None or step_bytes <= free_bytes:
        return ""
    num_parts = parts_that_fit(model, config, step_bytes, free_bytes)
    remedy = "take smaller images, or a network with smaller maps"
    if num_parts:
        remedy = f"--set accumulate={num_parts} computes each batch in {num_parts} parts, which fit"
    return f"{size(free_bytes)} are free here, less than a step takes, so none was measured; {remedy}"
