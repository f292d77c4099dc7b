"""The topics of `saccade learn`, in the order in which one learns them. A topic is built when it is asked for."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

from ..core.errors import UnknownNameError, UsageError, did_you_mean, printable
from .lesson import Lesson


@dataclass(frozen=True)
class Topic:
    """An entry: its file in this room, and what it shows in a line."""

    module: str
    summary: str


TOPICS: dict[str, Topic] = {
    "edges": Topic("edges", "nine numbers that find edges: 0 30 30 0, the mirrored image, four quarters"),
    "flip": Topic("operations", "cross-correlation and true convolution, and when they differ"),
    "learned-edges": Topic("operations", "the nine numbers as parameters, found by gradient descent"),
    "padding": Topic("sizes", "why images shrink, and how often each pixel is used"),
    "stride": Topic("sizes", "larger steps, the floor, and what is never covered"),
    "volumes": Topic("volumes", "filters on three channels; two filters at once"),
    "layer": Topic("volumes", "filters, bias and ReLU: 280 parameters, whatever the image size"),
    "pooling": Topic("volumes", "the largest number or the mean of a window, without parameters"),
    "sharing": Topic("volumes", "14,450,688 weights against 456"),
    "network-a": Topic("networks", "three convolutions and a softmax, layer by layer"),
    "network-b": Topic("networks", "convolution, pooling, dense: the table of a network like LeNet-5"),
    "lenet": Topic("networks", "LeNet-5 as published and as read today"),
    "alexnet": Topic("networks", "AlexNet: groups for two devices, response normalisation"),
    "vgg": Topic("networks", "VGG-16: nothing but 3x3 convolutions and 2x2 pooling"),
    "residual": Topic("residual", "a shortcut round two layers; a block of zeros is the identity"),
    "plain-or-residual": Topic("residual", "training error by depth, with shortcuts and without, measured"),
    "one-by-one": Topic("inception", "1x1 convolution as a dense layer at each place"),
    "inception": Topic("inception", "120,422,400 multiplications against 12,443,648"),
    "googlenet": Topic("inception", "nine blocks, and side branches that only training uses"),
    "transfer": Topic("practice", "how much of a trained network to freeze, measured"),
    "augmentation": Topic("practice", "what training sees of a photograph, one change at a time"),
    "loading": Topic("loading", "threads that load while a step trains: a timeline of this machine"),
    "ensembles": Topic("practice", "the mean of several answers, and why not of the weights"),
    "ten-crops": Topic("practice", "centre, corners and mirrors: ten answers for one image"),
}


def lesson_of(name: str) -> Lesson:
    """The lesson of that topic, its numbers computed now. Raises UnknownNameError."""
    if name not in TOPICS:
        raise UnknownNameError(f"Unknown topic '{printable(name)}'.{_meant(name)}\n'saccade learn' lists the topics.")
    module = import_module(f".{TOPICS[name].module}", __package__)
    build: Callable[[], Lesson] = module.LESSONS[name]
    return build()


def _meant(name: str) -> str:
    """The topics whose line has the word, or the one that is spelled nearly so."""
    word = name.strip().lower()
    about = [topic for topic, entry in TOPICS.items() if word in entry.summary.lower()]
    return f" Topics on it: {', '.join(about)}." if len(word) > 2 and about else did_you_mean(name, TOPICS)


def check_page(out: Path) -> None:
    """Raise UsageError where `out` cannot become a page."""
    if out.suffix.lower() not in (".html", ".htm"):
        raise UsageError(f"learn writes .html files; got '{printable(out.name)}'.\nChange the ending of --out.")
    if os.path.isdir(out):
        raise UsageError(f"Cannot write '{printable(str(out))}': it is a folder.\nAdd a file name to --out.")
