"""Options that take a number take plain ones: what Python alone reads as a number, such as 1_0, is refused.

Whatever typer makes numbers with calls Python's own `int` and `float`; so the texts are looked at before it does.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any, get_args, get_type_hints

from ..core.errors import UsageError, brief

RULES = {int: "must be a whole number", float: "must be a number"}


def refuse_odd_numbers(verb: str, command: Callable[..., Any], arguments: Sequence[str]) -> None:
    """Raise UsageError for an argument of `command`, which `verb` runs, that Python alone reads as a number."""
    from ..core.plain_numbers import is_plain
    from ..core.plain_words import broken_rule

    rules = _rules(command)
    for place, argument in enumerate(arguments):
        if argument == "--":
            return
        option, has_value, value = argument.partition("=")
        if option not in rules:
            continue
        if not has_value:
            value = arguments[place + 1] if place + 1 < len(arguments) else ""
        if not is_plain(value):
            raise UsageError(f"{broken_rule(option, rules[option], _shown(value))}\nHelp: saccade {verb} --help")


def _rules(command: Callable[..., Any]) -> dict[str, str]:
    """What the options of `command` must be that take a number, by their names."""
    hints = get_type_hints(command)
    found: dict[str, str] = {}
    for name, parameter in inspect.signature(command).parameters.items():
        kinds = {hints[name], *get_args(hints[name])} & set(RULES)
        declared = getattr(parameter.default, "param_decls", None) or (f"--{name.replace('_', '-')}",)
        found |= {option: RULES[kind] for kind in kinds for option in declared}
    return found


def _shown(value: str) -> str:
    return f"'{brief(value, 80)}'"
