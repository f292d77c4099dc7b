"""The guided cards of the Lab: a state of the bench and one question each."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....conv.filters import parse_kernel
from ....learn.edges import BRIGHT, MORE_PRESETS, PRESETS, bench_state, half, presets, quarters

SIDE = 8


@dataclass(frozen=True, kw_only=True)
class Card:
    """A preset of the bench, what to look at, and the topic of `saccade learn` that says more."""

    title: str
    question: str
    topic: str
    state: dict[str, Any]


def images() -> dict[str, np.ndarray]:
    """The images to begin with, 8x8."""
    cross_HW = np.zeros((SIDE, SIDE))
    cross_HW[3:5], cross_HW[:, 3:5] = BRIGHT, BRIGHT
    point_HW = np.zeros((SIDE, SIDE))
    point_HW[3, 4] = BRIGHT
    return {
        "left half bright": half(SIDE),
        "right half bright": half(SIDE, mirrored=True),
        "four quarters": np.kron(np.eye(2), np.full((4, 4), BRIGHT)),
        "cross": cross_HW,
        "one point": point_HW,
        "slope": np.add.outer(np.arange(float(SIDE)), np.arange(float(SIDE))),
        "empty": np.zeros((SIDE, SIDE)),
    }


def bench_settings() -> dict[str, Any]:
    """The bench with every control."""
    return {
        "state": bench_state(half(SIDE), "vertical") | {"compare": False},
        "images": {name: [image_HW.tolist()] for name, image_HW in images().items()},
        "kernels": presets((*PRESETS, *MORE_PRESETS)),
        "brushes": [0, 5, 10],
        "controls": [
            *("paint", "operation", "padding", "mode", "stride", "dilation", "bias", "relu", "pool", "compare", "edit"),
        ],
    }


def cards() -> list[Card]:
    """Six ideas, each a preset of the bench."""
    shown = images()
    two_HW = np.kron(np.eye(2), np.full((4, 4), BRIGHT))
    return [
        Card(
            title="Edges",
            question="Why are the numbers between the quarters 10 and not 30?",
            topic="edges",
            state=bench_state(quarters(), "horizontal"),
        ),
        Card(
            title="Why padding?",
            question="Step into a corner: how many windows see that pixel with padding 0, and with 1?",
            topic="padding",
            state=bench_state(shown["one point"], "box") | {"padding": 1},
        ),
        Card(
            title="Stride and the floor",
            question="Which row and which column does no window cover?",
            topic="stride",
            state=bench_state(shown["slope"], "box") | {"stride": 2},
        ),
        Card(
            title="Pooling and shifts",
            question="Move the point by one pixel. When does the pooled map notice?",
            topic="pooling",
            state=bench_state(shown["one point"], "identity") | {"pool": "max 2x2"},
        ),
        Card(
            title="Two 3x3, or one 5x5?",
            question="This 5x5 is a 3x3 mean after a 3x3 mean. How many numbers has it, and how many have the two?",
            topic="vgg",
            state=bench_state(two_HW, "box") | {"kernel": [[_twice("box").tolist()]]},
        ),
        Card(
            title="Flip or not?",
            question="Tick 'beside the other operation'. For which kernels is the difference zero?",
            topic="flip",
            state=bench_state(shown["cross"], "emboss") | {"compare": True},
        ),
    ]


def _twice(name: str) -> np.ndarray:
    """The kernel that does what `name` does twice: true convolution of it with itself, all of it."""
    weights_HW = parse_kernel(name).weights_HW
    height, width = weights_HW.shape
    joined_HW = np.zeros((2 * height - 1, 2 * width - 1))
    for row in range(height):
        for column in range(width):
            joined_HW[row : row + height, column : column + width] += weights_HW[row, column] * weights_HW
    return joined_HW
