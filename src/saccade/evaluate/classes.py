"""Classes of a run and of a set of images, matched by name. A label's number means nothing outside its own list."""

import difflib
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import DataError, printable

MAX_NAMES = 5


@dataclass(frozen=True, kw_only=True)
class ClassMatch:
    """`label_map_S[label in the source]` is the label in the run, -1 where the run has no such class.

    `missing` are classes of the run without a counterpart in the source, `extra` those of the source that the run does
    not know; `messages` says both in words and is empty where the lists hold the same names.
    """

    label_map_S: np.ndarray
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    messages: tuple[str, ...]


def match_classes(run_classes: Sequence[str], source_classes: Sequence[str]) -> ClassMatch:
    """Match by exact name. Raises DataError where not one class is common to both."""
    position = {name: k for k, name in enumerate(run_classes)}
    label_map_S = np.array([position.get(name, -1) for name in source_classes], dtype=np.int64)
    extra = tuple(name for name in source_classes if name not in position)
    missing = tuple(name for name in run_classes if name not in set(source_classes))
    if len(extra) == len(source_classes):
        raise DataError(
            f"Not one class of the images is known to the run: they have {_names(source_classes)}, "
            f"the run knows {_names(run_classes)}.{_nearest(extra, missing)}\n"
            f"Rename the classes of the images to those of the run, or take another run."
        )
    messages = []
    if missing:
        messages.append(f"No images of {_names(missing)}, which the run knows: nothing is said of {_them(missing)}.")
    if extra:
        messages.append(
            f"The run does not know {_names(extra)}: it cannot be right on images of {_them(extra)}."
            f"{_nearest(extra, missing)}"
        )
    return ClassMatch(label_map_S=label_map_S, missing=missing, extra=extra, messages=tuple(messages))


def refuse_extra_classes(match: ClassMatch) -> None:
    """Raise DataError where the source has a class that the run does not know."""
    if match.extra:
        raise DataError(
            f"{match.messages[-1]}\n"
            f"Rename the folders of the images to the run's class names, or judge on images of its classes only."
        )


def _nearest(extra: Sequence[str], missing: Sequence[str]) -> str:
    """A hint for the first pair of names that differ only by spelling: case, spaces, Unicode form, a typing error."""
    plain = {_plain(name): name for name in missing}
    for cutoff in (1.0, 0.6):
        for name in extra:
            nearest = difflib.get_close_matches(_plain(name), plain, n=1, cutoff=cutoff)
            if nearest:
                return f" Is '{printable(name)}' meant to be '{printable(plain[nearest[0]])}'?"
    return ""


def _plain(name: str) -> str:
    text = unicodedata.normalize("NFKC", name).casefold()
    return "".join(character for character in text if character.isalnum())


def _names(names: Sequence[str]) -> str:
    rest = len(names) - MAX_NAMES
    shown = ", ".join(f"'{printable(name)}'" for name in names[:MAX_NAMES])
    return shown + (f" and {rest:,} more" if rest > 0 else "")


def _them(names: Sequence[str]) -> str:
    return "it" if len(names) == 1 else "them"
