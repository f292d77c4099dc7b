"""How a broken promise is told: what is wrong, what to write, and where."""

import inspect
from collections.abc import Callable
from typing import Any, NoReturn

from ..core.errors import ContractError, printable


def broken(subject: str, what: str, remedy: str, function: Callable[..., Any] | None = None) -> NoReturn:
    """Raise ContractError in two or three lines; `function` is the one to change."""
    place = f"\nWhere: {place_of(function)}." if function is not None else ""
    raise ContractError(f"{subject}: {what}.\n{remedy}.{place}")


def place_of(function: Callable[..., Any]) -> str:
    """`draw in .../quarter_turn.py, line 12`, or the function's name where its source is not at hand."""
    name = getattr(function, "__qualname__", repr(function))
    try:
        file, line = inspect.getsourcefile(function), inspect.getsourcelines(function)[1]
    except (OSError, TypeError):
        return printable(name)
    return printable(f"{name} in {file}, line {line}")
