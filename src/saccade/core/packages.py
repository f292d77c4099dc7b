"""Which packages of an extra are there."""

from collections.abc import Iterable


def first_missing(names: Iterable[str]) -> str | None:
    """The first of these modules that cannot be imported; None where all can, and then they are."""
    for name in names:
        try:
            __import__(name)
        except ImportError:
            return name
    return None
