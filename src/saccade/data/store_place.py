"""Where shards from a distance are kept on this machine, and how many. Who opens a source says it; the source asks."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

DEFAULT_LIMIT_BYTES = 100_000_000_000


@dataclass(frozen=True)
class StorePlace:
    """A folder ("": in the user's cache), and how many bytes it may hold; nothing is kept at a limit of 0."""

    folder: str = ""
    limit_bytes: int = DEFAULT_LIMIT_BYTES


_place = StorePlace()


@contextmanager
def store_at(folder: str, limit_bytes: int) -> Iterator[None]:
    """Sources that are opened in the enclosed code keep their shards there (`loader.store`)."""
    global _place
    before, _place = _place, StorePlace(folder, limit_bytes)
    try:
        yield
    finally:
        _place = before


def store_place() -> StorePlace:
    """What holds for a source that is opened now."""
    return _place
