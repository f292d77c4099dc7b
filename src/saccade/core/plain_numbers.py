"""Numbers that a person gives: digits as they are written everywhere, and seeds within their range. Python's own
readings of texts also take 1_0, which they read as 10, and digits of other scripts."""

import numbers
import operator
from typing import Any

from .errors import UsageError, brief

SEED_END = 2**31  # every seed is below: what torch, NumPy and JSON all hold


def is_plain(text: str) -> bool:
    """Whether `text` has none of the signs that Python alone reads as part of a number."""
    return text.isascii() and "_" not in text


def plain_float(text: str) -> float:
    """The number that `text` is; also nan and inf, which the caller judges. Raises ValueError for what is none."""
    if not is_plain(text):
        raise ValueError("no plain number")
    return float(text)


def whole_number(text: str, most_digits: int = 6) -> int | None:
    """The number that `text` is: digits alone. None for what is none, or has more digits than reading should take."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= most_digits else None


def check_whole(value: Any, name: str) -> int:
    """`value`, of the option or argument `name`. Raises UsageError where it is no whole number."""
    try:
        return operator.index(value)
    except TypeError:
        raise UsageError(f"{name} is a whole number, got {brief(repr(value), 40)}.") from None


def check_count(value: Any, name: str, least: int = 1) -> int:
    """`value`, of the option or argument `name`. Raises UsageError where it is no whole number from `least` on."""
    number = check_whole(value, name)
    if number < least:
        raise UsageError(f"{name} is {least} or more, got {number}.")
    return number


def check_number(value: Any, name: str) -> float:
    """`value`, of the option or argument `name`. Raises UsageError where it is no number."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise UsageError(f"{name} is a number, got {brief(repr(value), 40)}.")
    return float(value)


def check_seed(seed: int) -> int:
    """`seed`, of `--seed`. Raises UsageError where it is not 0 to 2**31 - 1."""
    seed = check_whole(seed, "--seed")
    if seed < 0:
        raise UsageError(f"--seed must not be negative, got {brief(str(seed), 40)}.")
    if seed >= SEED_END:
        raise UsageError(f"--seed must be below {SEED_END:,}, got {brief(str(seed), 40)}.")
    return seed
