"""Which packages are there, and in which version."""

import sys
from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec


def first_absent(names: Iterable[str]) -> str | None:
    """The first of these modules that is not there, without importing any; None where all are."""
    for name in names:
        if sys.modules.get(name) is None and not _is_found(name):
            return name
    return None


def _is_found(name: str) -> bool:
    try:
        return find_spec(name) is not None
    except ImportError:  # a finder of somebody else may say it so
        return False


def first_missing(names: Iterable[str]) -> str | None:
    """The first of these modules that cannot be imported; None where all can, and then they are. What is not there at
    all is told before any other is imported, which takes seconds."""
    names = tuple(names)
    if absent := first_absent(names):
        return absent
    for name in names:
        try:
            __import__(name)
        except ImportError:
            return name
    return None


@cache
def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, None without it. Each look would parse the whole of its metadata."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version(distribution)
    except PackageNotFoundError:
        return None
