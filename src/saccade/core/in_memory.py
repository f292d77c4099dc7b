"""Objects that a caller of the library gave, known by a name for as long as a verb runs.

A run's configuration holds names alone. The name of an object is `in memory: NAME (digest ...)`, so that a run goes on,
and a checkpoint is loaded, only with an equal one.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from types import MappingProxyType
from typing import Generic, TypeVar

Entry = TypeVar("Entry")
PREFIX = "in memory: "
DIGITS = 12  # of the digest, hexadecimal: enough that two objects of one person differ


class GivenObjects(Generic[Entry]):
    """Objects of one kind. Each thread, and each task of asyncio, knows those given to its own verb."""

    def __init__(self, kind: str) -> None:
        self._known: ContextVar[Mapping[str, Entry]] = ContextVar(f"given {kind}", default=MappingProxyType({}))

    @contextmanager
    def known(self, name: str, digest: str, entry: Entry) -> Iterator[str]:
        """The text by which `entry` is known in the enclosed work."""
        text = f"{PREFIX}{name} (digest {digest[:DIGITS]})"
        token = self._known.set({**self._known.get(), text: entry})
        try:
            yield text
        finally:
            self._known.reset(token)

    def find(self, text: str) -> Entry | None:
        """The object known as `text`; None where none is, now."""
        return self._known.get().get(text)

    def names(self) -> list[str]:
        """The texts of all objects that are known now."""
        return list(self._known.get())


def is_given(text: str) -> bool:
    """Whether `text` is the name of an object that was given, now or in an earlier process."""
    return text.startswith(PREFIX)


def short_name(text: str) -> str:
    """`photos` of `in memory: photos (digest ...)`; any other text as it is."""
    return text.removeprefix(PREFIX).rpartition(" (digest ")[0] if is_given(text) else text
