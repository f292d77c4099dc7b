"""Registries: a name leads to a factory. A new file in a drop-in folder, or an entry point, is all it takes.

Registration is spelled one way: a module ends with `register(Entry(name=..., ...), __name__)`, where `register` is that
of the kind's own base module.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, Protocol, TypeVar

from .errors import UnknownNameError, UsageError, did_you_mean, printable


def spelled(name: str) -> str:
    """What two spellings of a name have in common: `ResNeXt50_32x4d` and `resnext50-32x4d`. Whatever stands between two
    digits counts: 1.6 is not 16."""
    return re.sub(r"[^a-z0-9]", "", re.sub(r"(?<=\d)[._-](?=\d)", "point", name.lower()))


class Named(Protocol):
    """What a registry can hold."""

    @property
    def name(self) -> str:
        """The name it is found by."""


Entry = TypeVar("Entry", bound=Named)


class Registry(Generic[Entry]):
    """Named entries of one kind.

    `package` is the drop-in folder: its modules are imported at the first look-up, in alphabetical order, and
    register themselves. Other distributions register through the entry-point group `saccade.<plural>`: each
    entry point names a module to import.
    """

    def __init__(self, kind: str, plural: str, package: str) -> None:
        self.kind = kind
        self.plural = plural
        self._package = package
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, str] = {}
        self._spellings: dict[str, set[str]] = {}
        self._discovered = False

    def add(self, entry: Entry, origin: str) -> None:
        """Register `entry` under its name; `origin` is the module that does.

        Raises UsageError naming both modules where the name is taken by another one.
        """
        name = entry.name
        if name in self._entries and self._origins[name] != origin:
            raise UsageError(
                f"Two modules register the {self.kind} '{name}': {self._origins[name]} and {origin}.\n"
                f"Rename one of them, or remove the one you do not need."
            )
        self._entries[name] = entry
        self._origins[name] = origin
        for other in (name, *getattr(entry, "also_called", ())):
            self._spellings.setdefault(spelled(other), set()).add(name)

    def names(self) -> list[str]:
        """All names, sorted."""
        self._discover()
        return sorted(self._entries)

    def get(self, name: str) -> Entry:
        """The entry called `name`, in whatever spelling. Raises UnknownNameError with the nearest name and how to list
        them all."""
        self._discover()
        if name in self._entries:
            return self._entries[name]
        meant = self._spellings.get(spelled(name), set())
        if len(meant) != 1:
            raise UnknownNameError(self.unknown(name))
        return self._entries[next(iter(meant))]

    def unknown(self, name: str) -> str:
        """What a person hears of a name that no entry has."""
        return (
            f"Unknown {self.kind} '{printable(name[:80])}'.{did_you_mean(name, self._entries)} "
            f"'saccade {self.plural}' lists all {len(self._entries)}."
        )

    def origin(self, name: str) -> str:
        """The module that registered `name`."""
        self.get(name)
        return self._origins[name]

    def __contains__(self, name: str) -> bool:
        self._discover()
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def _discover(self) -> None:
        if self._discovered:
            return
        package = importlib.import_module(self._package)
        for module in sorted(pkgutil.iter_modules(package.__path__), key=lambda module: module.name):
            importlib.import_module(f"{self._package}.{module.name}")
        for point in sorted(entry_points(group=f"saccade.{self.plural}"), key=lambda point: point.name):
            point.load()
        self._discovered = True  # last: a module that fails to import must fail again, not vanish
