"""What a caller of the library gives where one thing or several may stand, or an object of ours: looked at first.

The command line cannot give anything else; Python can, and would go through a text letter by letter.
"""

import operator
import os
from collections.abc import Iterable, Sequence
from typing import Any

from .errors import UsageError, brief
from .types import AnyPath


def listed(given: AnyPath | Sequence[AnyPath], what: str = "a path") -> list[AnyPath]:
    """One path or text, or several, as a list. Raises UsageError for what is neither; `what` one of them is."""
    if isinstance(given, str | os.PathLike):
        return [given]
    entries = None if isinstance(given, bytes) or not isinstance(given, Iterable) else list(given)
    for entry in [given] if entries is None else entries:
        if not isinstance(entry, str | os.PathLike):
            raise UsageError(f"Expected {what}, or a list of them; got a value of type {type(entry).__name__}.")
    return entries or []


def check_kind(given: object, kind: type, example: str) -> None:
    """Raise UsageError where `given` is no `kind`, with an `example` of what to write."""
    if not isinstance(given, kind):
        raise UsageError(
            f"Expected a {kind.__name__}, got a value of type {type(given).__name__}.\nFor example: {example}"
        )


def check_count(count: Any) -> int:
    """`count`, of `--count`. Raises UsageError where it is not a whole number above 0."""
    try:
        number = operator.index(count)
    except TypeError:
        raise UsageError(f"--count is a whole number, got {brief(repr(count), 40)}.") from None
    if number < 1:
        raise UsageError(f"--count is 1 or more, got {number}.")
    return number
