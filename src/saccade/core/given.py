"""What a caller of the library gives where one thing or several may stand, or an object of ours: looked at first.

The command line cannot give anything else; Python can, and would go through a text letter by letter.
"""

import numbers
import operator
import os
import reprlib
from collections.abc import Iterable, Sequence
from dataclasses import fields
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args

from .errors import ConfigError, UsageError, brief, printable
from .plain_words import broken_rule
from .types import AnyPath

RULES = {
    int: "must be a whole number",
    float: "must be a number",
    bool: "must be true or false",
    str: "must be text",
    Path: "must be a path",
}


def listed(given: AnyPath | Sequence[AnyPath], what: str = "a path") -> list[AnyPath]:
    """One path or text, or several, as a list. Raises UsageError for what is neither; `what` one of them is."""
    if isinstance(given, str | os.PathLike):
        return [_decoded(given)]
    entries = None if isinstance(given, bytes) or not isinstance(given, Iterable) else list(given)
    for entry in [given] if entries is None else entries:
        if not isinstance(entry, str | os.PathLike):
            raise UsageError(f"Expected {what}, or a list of them; got a value of type {type(entry).__name__}.")
    return [_decoded(entry) for entry in entries or []]


def text_of(given: AnyPath, what: str = "a path") -> str:
    """The text of one path, name or address. Raises UsageError for what is none; `what` it is."""
    if not isinstance(given, str | os.PathLike):
        raise UsageError(f"Expected {what}; got a value of type {type(given).__name__}.")
    return os.fsdecode(given)


def _decoded(given: AnyPath) -> AnyPath:
    """A path whose text is bytes, as that of an entry of `os.scandir(b"photos")`, as text; any other as it is."""
    plain: str | bytes = os.fspath(given)
    return os.fsdecode(plain) if isinstance(plain, bytes) else given


def path_of(given: AnyPath) -> Path:
    """One path. Raises UsageError for what is none, and for a name with a null character, which no file can have."""
    text = text_of(given)
    if "\0" in text:
        raise UsageError(f"The path {brief(text)} holds a null character.\nGive the path of a file or a folder.")
    return Path(text)


def check_kind(given: object, kind: type, example: str) -> None:
    """Raise UsageError where `given` is no `kind`, with an `example` of what to write."""
    if not isinstance(given, kind):
        raise UsageError(
            f"Expected a {kind.__name__}, got a value of type {type(given).__name__}.\nFor example: {example}"
        )


def settle_fields(made: Any) -> None:
    """Look at the numbers, truth values, texts and paths that a person gave a dataclass of ours, from `__post_init__`.

    Numbers of NumPy, and texts that name a path, become what the field says. Raises ConfigError naming the field.
    """
    for name, kind, is_optional in _plain_fields(made.__class__):
        value = getattr(made, name)
        if value is None and is_optional:
            continue
        try:
            object.__setattr__(made, name, _settled(value, kind))
        except TypeError:
            told = broken_rule(f"'{name}'", RULES[kind], printable(reprlib.repr(value)))
            raise ConfigError(f"{type(made).__name__}: {told}") from None


@cache
def _plain_fields(made: type) -> list[tuple[str, type, bool]]:
    """(name, kind, whether None may stand there) of the fields that hold one plain value."""
    found = []
    for each in fields(made):
        kinds = set(get_args(each.type)) if isinstance(each.type, UnionType) else {each.type}
        others = kinds - {NoneType}
        if len(others) == 1 and (kind := others.pop()) in RULES:
            found.append((each.name, kind, NoneType in kinds))
    return found


def _settled(value: Any, kind: type) -> Any:
    """`value` as the `kind`. Raises TypeError where it is not plainly one."""
    if kind is bool:
        if not isinstance(value, bool) and type(value).__name__ != "bool":  # of NumPy, whose name is the same
            raise TypeError
        return bool(value)
    if kind in (str, Path):
        if not isinstance(value, str | os.PathLike):
            raise TypeError
        return kind(os.fsdecode(value))
    if isinstance(value, bool):
        raise TypeError
    if kind is int:
        return operator.index(value)
    if not isinstance(value, numbers.Real):
        raise TypeError
    return float(value)
