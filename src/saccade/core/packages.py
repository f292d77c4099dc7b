"""Which packages are there, and in which version."""

from collections.abc import Iterable
from functools import cache


def first_missing(names: Iterable[str]) -> str | None:
    """The first of these modules that cannot be imported; None where all can, and then they are."""
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
