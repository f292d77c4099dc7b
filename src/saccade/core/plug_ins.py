"""Plug-ins: modules of other distributions that register networks, augmentations and sources.

They are somebody else's code: what goes wrong in it is told with its name and its line, and how to be without it.
"""

import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext, redirect_stdout
from dataclasses import fields, is_dataclass
from importlib.metadata import EntryPoint
from inspect import signature
from types import NoneType, UnionType
from typing import Any, get_args, get_origin

from .errors import ContractError, SaccadeError, counted, printable, shell_word

GONE = "If a plug-in brought it, install that plug-in again."  # of a name in a run that is not registered here
WORDS = {str: "text", int: "a whole number", bool: "true or false"}

_known: dict[str, str] = {}  # the top package of every plug-in, and what a person knows it by


@contextmanager
def loading(point: EntryPoint) -> Iterator[None]:
    """The enclosed work imports the module that `point` names. Raises ContractError for whatever that ends in, but for
    our own errors and Ctrl-C. What the module prints goes to stderr: stdout has results alone, such as a JSON object.
    In another thread than the main one, where no command prints its result, it goes where it goes.
    """
    package = _top_package(point.module)
    if package != _top_package(__name__):
        _known[package] = _name_of(point)
    try:
        # stdout is the whole process's: two threads that change it could not both put it back
        is_alone = threading.current_thread() is threading.main_thread()
        with redirect_stdout(sys.stderr) if is_alone else nullcontext():
            yield
    except SaccadeError:
        raise
    except (Exception, SystemExit) as error:
        places = [place for name, place in _steps(error) if _top_package(name) == package]
        raise ContractError(
            f"{_name_of(point)} cannot be loaded: {_words_of(error)}.\n"
            f"{_where(error, places)}"
            f"Correct or update it, or be without it: pip uninstall {_distribution(point)}"
        ) from error


def is_plug_in(module: str) -> bool:
    """Whether `module` belongs to a plug-in that was loaded."""
    return _top_package(module) in _known


def told_of_plug_in(error: BaseException) -> str | None:
    """What a person hears of an error that was raised in the code of a plug-in, or in what that code called; None of
    every other."""
    found = [(_known[package], place) for name, place in _steps(error) if (package := _top_package(name)) in _known]
    if not found:
        return None
    return (
        f"{found[-1][0]} fails: {_words_of(error)}.\n"
        f"{_where(error, [place for _, place in found])}"
        f"Correct or update it; --debug shows the whole way there."
    )


def wrong_field(entry: Any, kind: type) -> str:
    """What is wrong with the first of the fields that the dataclass `kind` promises and `entry`, one of it, has with
    another type, in words; "" where all are right. What a class made from `kind` adds is its own.
    """
    for each in fields(kind) if is_dataclass(kind) else ():
        value = getattr(entry, each.name)
        kinds = get_args(each.type) if isinstance(each.type, UnionType) else (each.type,)
        if not any(_is_a(value, other) for other in kinds):
            needed = " or ".join(_kind_words(other) for other in kinds if other is not NoneType)
            return f"'{each.name}' must be {needed}, not {printable(repr(value)[:80])}"
    return ""


def _is_a(value: Any, kind: Any) -> bool:
    origin = get_origin(kind) or kind
    if origin is Callable:
        return _takes(value, len(get_args(kind)[0]))
    if origin is type:
        return isinstance(value, type) and issubclass(value, get_args(kind)[0])
    if origin is tuple:
        inner = get_args(kind)[:1]
        return isinstance(value, tuple) and all(_is_a(item, inner[0]) for item in value if inner)
    if not isinstance(origin, type):
        return True  # a word of `typing` that says more than a type
    plain = value.item() if getattr(value, "shape", None) == () else value  # a number of NumPy
    return isinstance(plain, origin) and (origin is bool or not isinstance(plain, bool))


def _kind_words(kind: Any) -> str:
    origin = get_origin(kind) or kind
    if origin is Callable:
        return f"a function of {counted(len(get_args(kind)[0]), 'argument')}"
    if origin is type:
        return f"a class made from {get_args(kind)[0].__name__}"
    if origin is tuple:
        return f"a tuple, of which each is {_kind_words(get_args(kind)[0])}"
    return WORDS.get(origin, f"of the type {getattr(origin, '__name__', origin)}")


def _takes(value: Any, num: int) -> bool:
    """Whether `value` can be called with so many arguments, as far as it says."""
    if not callable(value):
        return False
    try:
        signature(value, follow_wrapped=False).bind(*[None] * num)  # what it wraps may take others
    except TypeError:
        return False
    except ValueError:  # a function of C that does not say
        return True
    return True


def _top_package(module: str) -> str:
    return module.partition(".")[0]


def _name_of(point: EntryPoint) -> str:
    of = f" of {printable(_distribution(point))}" if point.dist is not None else ""
    return f"The plug-in '{printable(point.name[:80])}'{of}"


def _distribution(point: EntryPoint) -> str:
    return shell_word(point.dist.name[:80]) if point.dist is not None else "its distribution"


def _words_of(error: BaseException) -> str:
    words = (str(error).strip().splitlines() or [""])[0][:200].rstrip(".")
    return printable(": ".join(filter(None, (type(error).__name__, words))))


def _steps(error: BaseException) -> list[tuple[str, str]]:
    """The module and the line of every function that the error went through, the one that raised it last."""
    steps, step = [], error.__traceback__
    while step is not None:
        frame = step.tb_frame
        name = str(frame.f_globals.get("__name__", ""))
        steps.append((name, f"{frame.f_code.co_filename}, line {step.tb_lineno}"))
        step = step.tb_next
    return steps


def _where(error: BaseException, places: Sequence[str]) -> str:
    """`Where: FILE, line N.` with the last of `places`, and a line break; nothing where there is none."""
    if isinstance(error, SyntaxError) and error.filename:
        return printable(f"Where: {error.filename}, line {error.lineno}.") + "\n"
    return printable(f"Where: {places[-1]}.") + "\n" if places else ""
