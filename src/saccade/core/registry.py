"""Registries: a name leads to a factory. A new file in a drop-in folder, or an entry point, is all it takes.

Registration is spelled one way: a module ends with `register(Entry(name=..., ...), __name__)`, where `register` is that
of the kind's own base module.
"""

import importlib
import pkgutil
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Any, Generic, Protocol, TypeVar

from .errors import ContractError, UnknownNameError, UsageError, did_you_mean, printable
from .plug_ins import loading, wrong_field

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


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

    `entry_type` is what an entry has to be, with fields of their types; `what_is_wrong(entry)` says what else makes one
    useless, as "'summary' must be text", and nothing for a sound one.
    """

    def __init__(
        self,
        kind: str,
        plural: str,
        package: str,
        entry_type: type = object,
        what_is_wrong: Callable[[Any], str] = lambda entry: "",
    ) -> None:
        self.kind = kind
        self.plural = plural
        self._package = package
        self._entry_type = entry_type
        self._what_is_wrong = what_is_wrong
        self._new: set[tuple[str, str]] | None = None  # (origin, name) that the module being imported has registered
        self._entries: dict[str, Entry] = {}
        self._origins: dict[str, str] = {}
        self._spellings: dict[str, set[str]] = {}
        self._discovered = False

    def add(self, entry: Entry, origin: str) -> None:
        """Register `entry` under its name; `origin` is the module that does.

        Raises UsageError naming both modules where the name, or another spelling of it, is taken by another one, and
        ContractError for an entry that nothing could use.
        """
        self._refuse_useless(entry, origin)
        name = entry.name
        if name in self._entries and self._origins[name] != origin:
            raise UsageError(
                f"Two modules register the {self.kind} '{name}': {self._origins[name]} and {origin}.\n"
                f"Rename one of them, or remove the one you do not need."
            )
        called = (name, *getattr(entry, "also_called", ()))
        self._refuse_other_spellings(name, called, origin)
        if self._new is not None:
            if (origin, name) in self._new:
                raise UsageError(
                    f"{origin} registers the {self.kind} '{name}' twice.\nGive each of the two a name of its own."
                )
            self._new.add((origin, name))
        self._entries[name] = entry
        self._origins[name] = origin
        for other in called:
            self._spellings.setdefault(spelled(other), set()).add(name)

    def _refuse_useless(self, entry: Entry, origin: str) -> None:
        """Raise ContractError where `entry` is not what its kind has to be."""
        name = getattr(entry, "name", None)
        is_named = isinstance(name, str) and NAME.fullmatch(name) is not None
        called = f"The {self.kind} '{name}'" if is_named else f"The {self.kind}"
        if not isinstance(entry, self._entry_type):
            wrong = f"it must be of the type {self._entry_type.__name__}, and is {_kind_of(entry)}"
        elif not is_named:
            wrong = (
                f"its name must begin with a letter or a digit and go on with up to 63 of those and '.', '_' and '-', "
                f"not {printable(repr(name)[:80])}"
            )
        else:
            wrong = wrong_field(entry, self._entry_type) or self._what_is_wrong(entry)
        if wrong:
            raise ContractError(
                f"{called} that {printable(origin)} registers cannot be used: {wrong}.\n"
                f"Correct it there; saccade.testing checks what else it promises."
            )

    def _refuse_other_spellings(self, name: str, called: tuple[str, ...], origin: str) -> None:
        """Raise UsageError where a person who writes one of `called` could mean an entry of another name."""
        for other in called:
            for taken in sorted(self._spellings.get(spelled(other), set()) - {name}):
                raise UsageError(
                    f"{origin} registers the {self.kind} '{name}', and '{printable(other)}' is another spelling of "
                    f"'{taken}' of {self._origins[taken]}.\nRename one of them, or remove the one you do not need."
                )

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
            with self._each_once():
                importlib.import_module(f"{self._package}.{module.name}")
        for point in sorted(entry_points(group=f"saccade.{self.plural}"), key=lambda point: point.name):
            with self._each_once(), loading(point):
                point.load()
        self._discovered = True  # last: a module that fails to import must fail again, not vanish

    @contextmanager
    def _each_once(self) -> Iterator[None]:
        """A module that is imported in the block registers no name twice; one that is imported again may."""
        self._new = set()
        try:
            yield
        finally:
            self._new = None


def _kind_of(value: object) -> str:
    return f"the class {value.__name__}" if isinstance(value, type) else f"a value of type {type(value).__name__}"
