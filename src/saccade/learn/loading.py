"""Loading beside training, measured on this machine when the lesson is made."""

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core.errors import counted
from ..core.processors import available_cpus
from ..core.types import Preprocessing
from ..data.augmentation_policy import AugmentConfig
from ..data.loading.loader import Loader, LoaderConfig, build_loader
from ..data.sources.in_memory import ArraySource
from ..models.architecture import ModelSpec
from ..models.build import resolve_model
from ..transfer.probe import one_thread
from .lesson import Command, Lesson, Section, Table, Toy, Words

NETWORK, CLASSES, INPUT_PX = "conv 8 f3 same | pool | conv 16 f3 same | pool | gap | softmax", 2, 96
PHOTO_PX, NUM_PHOTOS, BATCH = 384, 64, 8
SEED, RATE = 0, 0.01
NUM_EPOCHS = 5
AUGMENT = {"crop": {"min_area": 0.3}, "rotation": {"max_degrees": 20}, "elastic": {"max_px": 8}}


@dataclass(frozen=True, kw_only=True)
class Turn:
    """One batch, in seconds since the start: when it was asked for, when it came, when its step was done."""

    asked_s: float
    came_s: float
    done_s: float


def loading() -> Lesson:
    """Loading alone, training alone, and both."""
    source = _photos()
    pixels = Preprocessing(resize_px=INPUT_PX, input_height_px=INPUT_PX, input_width_px=INPUT_PX)
    settings = LoaderConfig(batch_size=BATCH, threads=1, memory_limit_bytes=0)
    step = _training_step()
    augment = AugmentConfig.parse(AUGMENT, "here")
    with one_thread(), build_loader(source, np.arange(NUM_PHOTOS), pixels, augment, settings, SEED) as loader:
        _turns(loader, 0, step)  # what comes first is slower, whatever it is
        image_BCHW = next(iter(loader.epoch(1))).image_BCHW
        alone = _quickest(loader, lambda image_BCHW: None)
        training_s = _seconds(lambda: step(image_BCHW)) * len(alone)
        both = _quickest(loader, step)
    loading_s, both_s = alone[-1].done_s, both[-1].done_s
    return Lesson(
        name="loading",
        title="Loading beside training: two works at once",
        lead=(
            "Reading, decoding and distorting images takes time, and so does a step of training. Threads load "
            "the next batches "
            "while the step runs, so the slower of the two decides, not their sum."
        ),
        sections=(
            Section("Measured now, on this machine", _measured(both, loading_s, training_s, both_s)),
            Section(
                "On your own photos",
                (
                    Words(
                        "A run adds up how long its steps waited for images; more threads help while there are "
                        "processors."
                    ),
                    Command(line="saccade train photos/ --set loader.threads=4", what="More threads that load"),
                ),
            ),
        ),
    )


def _measured(both: list[Turn], loading_s: float, training_s: float, both_s: float) -> tuple[Words | Toy | Table, ...]:
    turns = [[turn.asked_s, turn.came_s, turn.done_s] for turn in both]
    waited_s = sum(turn.came_s - turn.asked_s for turn in both)
    gain = (
        ()
        if both_s < loading_s + training_s
        else (Words("Here the two gained nothing from each other: the processors were busy with other work."),)
    )
    return (
        Words(
            f"{NUM_PHOTOS} images of {PHOTO_PX}x{PHOTO_PX} pixels, cropped, turned and warped to "
            f"{INPUT_PX}x{INPUT_PX} by one thread; a small "
            f"network trains by another on batches of {BATCH}. The quickest of {NUM_EPOCHS} rounds. "
            f"{platform.machine()}, "
            f"{counted(available_cpus(), 'processor')}, torch "
            f"{torch.__version__.partition('+')[0]}."
        ),
        Toy(
            kind="timeline",
            title="Batch after batch",
            hint=(
                "Above, one after the other: pale loads, blue trains. Below, together: grey waits for images, "
                "blue trains while "
                "the thread loads what comes next."
            ),
            settings={"turns": turns, "loading": loading_s, "training": training_s},
        ),
        Table(
            caption="Seconds",
            headings=("what", "seconds"),
            rows=[
                ["loading alone", f"{loading_s:.2f}"],
                ["training alone", f"{training_s:.2f}"],
                ["one after the other", f"{loading_s + training_s:.2f}"],
                ["at the same time", f"{both_s:.2f}"],
                ["of which the steps waited", f"{waited_s:.2f}"],
            ],
        ),
        *gain,
    )


def _photos() -> ArraySource:
    """Coarse random colours, smooth: something to resample."""
    draw = np.random.Generator(np.random.PCG64(SEED))
    coarse_NHWC = draw.integers(0, 256, (NUM_PHOTOS, 12, 12, 3), dtype=np.uint8)
    side = PHOTO_PX // 12
    image_NHWC = coarse_NHWC.repeat(side, axis=1).repeat(side, axis=2)
    return ArraySource(image_NHWC, [str(number % CLASSES) for number in range(NUM_PHOTOS)], name="coarse colours")


def _training_step() -> Callable[[torch.Tensor], None]:
    """Forward, backward and an update."""
    network: nn.Module = resolve_model(NETWORK, ModelSpec(num_classes=CLASSES, input_CHW=(3, INPUT_PX, INPUT_PX)))
    label_B = torch.arange(BATCH) % CLASSES

    def step(image_BCHW: torch.Tensor) -> None:
        loss = functional.cross_entropy(network(image_BCHW.float() / 255), label_B[: len(image_BCHW)])
        loss.backward()
        with torch.no_grad():
            for parameter in network.parameters():
                if parameter.grad is not None:
                    parameter.sub_(parameter.grad, alpha=RATE)
                    parameter.grad = None

    return step


def _quickest(loader: Loader, step: Callable[[torch.Tensor], None]) -> list[Turn]:
    """The epoch that other work on the machine disturbed least, of a few."""
    return min((_turns(loader, epoch, step) for epoch in range(2, 2 + NUM_EPOCHS)), key=lambda turns: turns[-1].done_s)


def _turns(loader: Loader, epoch: int, step: Callable[[torch.Tensor], None]) -> list[Turn]:
    """One epoch, each batch with its times."""
    start_s = asked_s = time.perf_counter()
    turns = []
    for batch in loader.epoch(epoch):
        came_s = time.perf_counter()
        step(batch.image_BCHW)
        done_s = time.perf_counter()
        turns.append(Turn(asked_s=asked_s - start_s, came_s=came_s - start_s, done_s=done_s - start_s))
        asked_s = done_s
    return turns


def _seconds(work: Callable[[], None]) -> float:
    """The median of five."""
    taken = []
    for _ in range(5):
        start_s = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start_s)
    return min(taken)


LESSONS: dict[str, Callable[[], Lesson]] = {"loading": loading}
