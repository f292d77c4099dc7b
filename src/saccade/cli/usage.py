"""What is wrong with the arguments of a command, in our words: typer repeats them as they were typed."""

import re
from typing import Any

import typer

from ..core.errors import brief, printable, shell_word
from .argument_order import meant_command, no_command, too_many
from .other_names import name_here

WRONG_ARGUMENTS: Any = typer.BadParameter.__mro__[2]  # click's base of such errors, which typer does not name
CHECKED = ("Input ", "Unable to parse")  # how typer says that a value breaks a rule
NOT_READABLE = re.compile(r"[Pp]ath '(.+)' is not readable\.$")


def usage_message(error: Any, arguments: list[str], commands: set[str | None]) -> str:
    """What is wrong with `arguments`, and where to read of them, in our words; `commands` are the known ones."""
    from ..core.plain_words import broken_rule, rule_in_words

    text = str(error.format_message())
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "saccade"
    if context is None and arguments[:1] and arguments[0] in commands:
        command += f" {arguments[0]}"
    option = next(iter(getattr(getattr(error, "param", None), "opts", None) or [""]))
    rule = str(getattr(error, "message", ""))
    words = rule_in_words(rule)
    if option.startswith("--") and (rule.startswith(CHECKED) or words.startswith("must ")):
        text = broken_rule(option, words, _given_to(option, arguments))
    given, extra, metavars = _arguments(context, arguments)
    if context is not None and extra and text.startswith("Got unexpected extra argument"):
        text = too_many(context.info_name, [*given, *extra], metavars)
    if text.startswith("No such command "):
        text = no_command(arguments) or text
    unknown = str(getattr(error, "option_name", "")) if context is not None else ""
    if here := _name_here(unknown, context, arguments) if unknown else "":
        text = f"There is no {unknown} here. It is {here}."
    denied = NOT_READABLE.search(text)
    remedy = f"\nIts owner can allow it: chmod -R a+rX {shell_word(denied[1])}" if denied else ""
    for argument in arguments:
        text = text.replace(argument, printable(argument))
    meant = meant_command(context.info_name, [*given, *extra], metavars) if context is not None and metavars else ""
    remedy += f"\nDid you mean: {meant}" if meant else ""
    is_whole = text.endswith((".", "?", ")")) or "\n" in text  # a command at its end has no full stop
    return f"{text if is_whole else f'{text}.'}{remedy}\nHelp: {command} --help"


def _arguments(context: Any, arguments: list[str]) -> tuple[list[str], list[str], list[str]]:
    """(the arguments that a command takes, those beyond, the names of what it takes), none where they are unclear."""
    if context is None or context.parent is None:
        return [], [], []
    known = [parameter for parameter in context.command.params if parameter.param_type_name == "argument"]
    parser = context.command.make_parser(context)
    parser.ignore_unknown_options = True
    try:
        values, extra, _ = parser.parse_args(arguments[arguments.index(context.info_name) + 1 :])
    except (WRONG_ARGUMENTS, ValueError):
        return [], [], []
    words: list[str] = []
    for parameter in known:
        value = values.get(parameter.name)
        words += list(value) if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []
    return words, list(extra), [str(parameter.metavar or "") for parameter in known]


def _name_here(option: str, context: Any, arguments: list[str]) -> str:
    value = _raw_value(option, arguments)
    known = {name for parameter in context.command.params for name in parameter.opts}
    return name_here(option, "" if value.startswith("-") else value, known, context.info_name)


def _raw_value(option: str, arguments: list[str]) -> str:
    """The value after `option` on the command line; "" where there is none."""
    given = ""
    for place, argument in enumerate(arguments):
        if argument == option and place + 1 < len(arguments):
            given = arguments[place + 1]
        if argument.startswith(f"{option}="):
            given = argument.removeprefix(f"{option}=")
    return given


def _given_to(option: str, arguments: list[str]) -> str:
    """The value after `option` on the command line, a text in quotes."""
    given = _raw_value(option, arguments)
    is_number = given.lstrip("+-").replace(".", "", 1).isdecimal()
    return given if is_number and len(given) <= 40 else f"'{brief(given, 80)}'"
