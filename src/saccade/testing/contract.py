"""How a broken promise is told: what is wrong, what to write, and where."""

import inspect
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from ..core.errors import ContractError, SaccadeError, printable


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


def require_subject(given: object, kind: type, check: str, example: str) -> None:
    """Raise ContractError with an `example` of what to write, unless `given` is a registered name or a `kind`."""
    if not isinstance(given, str | kind) or not given:
        got = "nothing" if given is None or given == "" else f"a value of type {type(given).__name__}"
        raise ContractError(
            f"{check}: it takes a name that is registered, or its {kind.__name__}; got {got}.\n{example}."
        )


@contextmanager
def errors_told(subject: str, function: Callable[..., Any]) -> Iterator[None]:
    """What the enclosed work of a plug-in raises, other than our own errors, is a promise broken in `function`."""
    try:
        yield
    except SaccadeError:
        raise
    except Exception as error:
        words = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
        told = printable(": ".join(filter(None, (type(error).__name__, words))))
        raise ContractError(
            f"{subject}: it ends in {told}.\n"
            f"Correct what raises it, or raise an error of saccade.core.errors that says what to do.\n"
            f"Where: {_raised_in(error, function)}."
        ) from error


def _raised_in(error: Exception, function: Callable[..., Any]) -> str:
    """The last line of the file of `function` that `error` went through; the function where it is of no such file."""
    try:
        file = inspect.getsourcefile(function)
    except TypeError:
        file = None
    lines = [frame for frame in traceback.extract_tb(error.__traceback__) if file and frame.filename == file]
    return printable(f"{lines[-1].name} in {file}, line {lines[-1].lineno}") if lines else place_of(function)
