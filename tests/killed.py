"""`python killed.py SIGNAL PLACE RANK CALL ARGUMENTS`: a program whose process RANK sends itself the signal at that
call of PLACE, which is `module:function` or `module:Class.method`: at a place of its work, not at a time.

ARGUMENTS are a Python file and its own, or those of `saccade`."""

import importlib
import os
import runpy
import sys
from operator import attrgetter
from typing import Any


def kill_at(place: str, number: int, signal: int) -> None:
    """Let this process get the signal there."""
    module_name, _, path = place.partition(":")
    owner_path, _, name = path.rpartition(".")
    module = importlib.import_module(module_name)
    owner = attrgetter(owner_path)(module) if owner_path else module
    before, calls = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal)
        return before(*arguments, **named)

    setattr(owner, name, call)


if __name__ == "__main__":
    number, where, rank, count, *arguments = sys.argv[1:]
    if os.environ["RANK"] == rank:
        kill_at(where, int(count), int(number))
    if arguments[0].endswith(".py"):
        sys.argv = arguments
        runpy.run_path(arguments[0], run_name="__main__")
    else:
        sys.argv = ["saccade", *arguments]
        from saccade.cli.main import main

        main()
