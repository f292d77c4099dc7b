"""The line `data` with which every command says what it opened: the classes, the first few, and their counts."""

from collections.abc import Callable, Iterable

import numpy as np

from ..core.display import figure
from ..core.errors import counted, printable
from .labels import labels_of
from .source import DataSource

CLASSES_SHOWN = 6
Told = Callable[[str], None]  # hears the line once a source is open


def opening_line(source: DataSource, index_N: np.ndarray | None = None) -> str:
    """`data    photos: 3 classes: dress (53), hat (53), shoes (53)`, of the images `index_N` or of all.

    A person sees what is being learned or judged.
    """
    indices = range(len(source)) if index_N is None else index_N.tolist()
    if source.task.is_number:
        return f"data    {printable(source.name)}: {number_words(source, indices)}"
    labels = [source.record(index).all_labels for index in indices]
    label_M = np.array([label for found in labels for label in found], dtype=np.int64)
    count_K = np.bincount(label_M, minlength=len(source.classes)).tolist()
    shown = [
        f"{printable(name[:40])} ({count:,})"
        for name, count in zip(source.classes[:CLASSES_SHOWN], count_K[:CLASSES_SHOWN], strict=True)
    ]
    rest = len(source.classes) - len(shown)
    more = f" and {rest:,} more" if rest else ""
    classes = "1 class" if len(source.classes) == 1 else f"{len(source.classes)} classes"
    if source.task.is_grade:
        classes = "1 grade" if len(source.classes) == 1 else f"{len(source.classes)} grades"
    if source.task.is_several:
        classes += f", {len(label_M) / max(len(labels), 1):.1f} labels an image"
    return f"data    {printable(source.name)}: {classes}: {', '.join(shown)}{more}"


def number_words(source: DataSource, indices: Iterable[int]) -> str:
    """`1,440 images, 'angle' from 0 to 179, median 88.5`."""
    value_N = labels_of(source, indices)
    name = printable(source.classes[0][:40])
    if not len(value_N):
        return f"no images, '{name}'"
    low, middle, high = (figure(float(value)) for value in (value_N.min(), np.median(value_N), value_N.max()))
    return f"{counted(len(value_N), 'image')}, '{name}' from {low} to {high}, median {middle}"


def untold(line: str) -> None:
    """Nobody asked."""
