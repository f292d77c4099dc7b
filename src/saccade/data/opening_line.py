"""The line `data` with which every command says what it opened: the classes, the first few, and their counts."""

from collections.abc import Callable

import numpy as np

from ..core.errors import printable
from .source import DataSource

CLASSES_SHOWN = 6
Told = Callable[[str], None]  # hears the line once a source is open


def opening_line(source: DataSource, index_N: np.ndarray | None = None) -> str:
    """`data    photos: 3 classes: dress (53), hat (53), shoes (53)`, of the images `index_N` or of all.

    A person sees what is being learned or judged.
    """
    indices = range(len(source)) if index_N is None else index_N.tolist()
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
    if source.task.is_several:
        classes += f", {len(label_M) / max(len(labels), 1):.1f} labels an image"
    return f"data    {printable(source.name)}: {classes}: {', '.join(shown)}{more}"


def untold(line: str) -> None:
    """Nobody asked."""
