"""One of the processes of `test_apart.py`: works by itself while the others do, and prints what came of it."""

import json
import os
import signal
import sys
import threading
import time

from saccade.core import apart
from saccade.core.errors import DataError, SaccadeError, Stopped
from saccade.core.ranks import Ranks, joined_group

apart.BEAT_S = 0.05
CALL_S, LONGER_S = 3.0, 4.0  # how long a call of the group may take, and work that takes longer


def main(own: Ranks, scene: str) -> object:
    if scene in ("long", "halted"):
        own.use_timeout(CALL_S)
    if scene == "long":
        return apart.apart(own, lambda check: time.sleep(LONGER_S if own.is_first else 0) or own.rank)
    if scene == "first alone":
        return apart.first_apart(own, lambda check: f"made by {own.rank}".encode()).decode()
    if scene == "machine":
        made: list[int] = []
        apart.one_of_each_machine(own, lambda: made.append(time.monotonic_ns()))
        return made[0]
    if scene == "error":
        return apart.apart(own, lambda check: fail_in(own, 1, check))
    if scene == "no check":
        given_up = threading.Event()
        return apart.apart(own, lambda check: fail_in(own, 1, given_up.wait), end_work=given_up.set)
    if scene == "bug":
        return apart.apart(own, lambda check: 1 / (0 if own.rank == 1 else 1))
    if scene == "stopped":  # who waits is asked to stop
        return apart.apart(own, lambda check: fail_in(own, -1, check) if own.is_first else 0, lambda: stop_in(own))
    if own.rank == 1:
        os.kill(os.getpid(), signal.SIGKILL if scene == "killed" else signal.SIGSTOP)
    return apart.apart(own, lambda check: fail_in(own, -1, check))


def fail_in(own: Ranks, rank: int, check: object) -> int:
    """An error in that process; the others go on until they hear of it."""
    if own.rank == rank:
        raise DataError("a.png: cut off")
    while True:
        time.sleep(0.01)
        if check():  # type: ignore[operator]
            return own.rank


def stop_in(own: Ranks) -> None:
    if own.rank == 1:
        error = Stopped("")
        error.exit_code = 143
        raise error


if __name__ == "__main__":
    with joined_group(60) as group:
        try:
            print(json.dumps(main(group, sys.argv[1])))
        except SaccadeError as error:
            told = error.message.replace(group.describe().partition("(")[2], "HOST)")
            print(json.dumps([type(error).__name__, error.exit_code, error.is_agreed, told]))
        except ZeroDivisionError:
            print(json.dumps("a bug of its own"))
