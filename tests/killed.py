"""`python killed.py MODULE:FUNCTION RANK NUMBER ARGUMENTS`: `saccade ARGUMENTS`, whose process RANK kills itself at the
NUMBER-th call of the function: at a place of the work, not at a time."""

import importlib
import os
import signal
import sys
from operator import attrgetter
from typing import Any


def kill_at(place: str, number: int) -> None:
    """Let the process end by SIGKILL at that call of `module:function` or `module:Class.method`."""
    module_name, _, path = place.partition(":")
    owner_path, _, name = path.rpartition(".")
    module = importlib.import_module(module_name)
    owner = attrgetter(owner_path)(module) if owner_path else module
    before, calls = getattr(owner, name), []

    def call(*arguments: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return before(*arguments, **named)

    setattr(owner, name, call)


if __name__ == "__main__":
    where, rank, count = sys.argv[1:4]
    if os.environ.get("RANK", "0") == rank:
        kill_at(where, int(count))
    sys.argv = ["saccade", *sys.argv[4:]]
    from saccade.cli.main import main

    main()
