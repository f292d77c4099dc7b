"""`--processes N`, and the processes of torchrun: who starts whom, and who says what went wrong.

`saccade train SOURCE --processes 2` starts `saccade train SOURCE` twice, as torchrun does, by torch's own agent
(`agent.py`). Each of these processes joins the group and runs the verb. An error is told once: by the agent, which
reads it in the file that it gave each process; under torchrun by the first process of each machine.

Nothing here imports torch where a command runs alone.
"""

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType

import typer

from ..core.errors import NoAnswerError, SaccadeError, Stopped, UsageError, brief
from .output import print_error

LAUNCHER = "SACCADE_LAUNCHER"  # process id of the command that has --processes
ERROR_FILE = "TORCHELASTIC_ERROR_FILE"
TOGETHER = ("train", "transfer", "evaluate")  # verbs that several processes run together
APART = ("predict", "features")  # those of which each process does a part of its own, with --unit-of
MOST_PROCESSES = 1024
TIMEOUT_S = 15.0  # until the run's own is known
PR_SET_PDEATHSIG = 1
STOPPED_EARLY = "Stopped."

OWN, NO_ANSWER, STOPPED = "own", "no answer", "stopped"  # kinds of errors in the agent's files

PROCESSES: str = typer.Option(
    "", "--processes", show_default=False, metavar="N", help="Compute on N processes of this machine; auto: one a GPU."
)


def is_member() -> bool:
    """Whether torchrun, or `--processes`, started this process as one of several."""
    if "LOCAL_RANK" not in os.environ:
        return False
    from ..core.ranks import is_launched

    return is_launched()


@contextmanager
def member(arguments: Sequence[str]) -> Iterator[None]:
    """In the enclosed work a process that was started as one of several is in their group. Raises UsageError where the
    verb knows one process only."""
    verb = next((argument for argument in arguments if not argument.startswith("-")), "")
    is_asking = not verb or any(argument in ("-h", "--help") for argument in arguments)
    is_apart = verb in APART and any(argument.partition("=")[0] == "--unit-of" for argument in arguments)
    if not is_member() or is_asking or is_apart:
        yield
        return
    if verb in APART:
        raise UsageError(
            f"Each of the {os.environ['WORLD_SIZE']} processes that were started (torchrun) would do all of "
            f"'saccade {verb}'.\n"
            f"Let each do its part: --out FOLDER --unit-of env"
        )
    if verb not in TOGETHER:
        raise UsageError(
            f"'saccade {brief(verb, 40)}' runs in one process, and {os.environ['WORLD_SIZE']} were started "
            f"(torchrun).\n"
            f"Start it without torchrun. Together run: {', '.join(f'saccade {name}' for name in TOGETHER)}."
        )
    _refuse_shared_store()
    _end_with_agent()
    from ..core.ranks import joined_group

    with _stopped_by_signals(), joined_group(TIMEOUT_S):
        yield


def _refuse_shared_store() -> None:
    """Raise UsageError where torchrun restarts processes, and those would find the addresses of the dead ones."""
    restarts = os.environ.get("TORCHELASTIC_MAX_RESTARTS", "0")
    if os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True" and restarts != "0":
        raise UsageError(
            f"torchrun --max-restarts {brief(restarts, 20)} needs a variable: without it, processes that are started "
            f"again wait for the dead ones.\n"
            f"Set it on every machine, then run again: export TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        )


def _end_with_agent() -> None:
    """Let this process be stopped, as by SIGTERM, when the agent that started it dies: nobody would watch it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or sys.platform != "linux":
        return
    agent = os.getppid()
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if agent == 1 or os.getppid() != agent or (LAUNCHER in os.environ and os.environ[LAUNCHER] != str(agent)):
        raise _stop(signal.SIGTERM)


@contextmanager
def _stopped_by_signals() -> Iterator[None]:
    """Let Ctrl-C and SIGTERM raise Stopped wherever a training does not take them itself: the others hear of it."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _stop(number)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(number: int) -> Stopped:
    error = Stopped(STOPPED_EARLY)
    error.exit_code = 128 + number
    return error


def tell_failure(message: str, status: int, error: BaseException | None = None) -> None:
    """Say why a command ends with `status`; of several processes one says it."""
    if not is_member():
        print_error(message)
        return
    kind = NO_ANSWER if isinstance(error, NoAnswerError) else STOPPED if isinstance(error, Stopped) else OWN
    is_heard = _write_error_file(message, status, kind) and os.environ.get(LAUNCHER) == str(os.getppid())
    is_told_by_another = isinstance(error, UsageError) or (isinstance(error, SaccadeError) and error.is_agreed)
    if not is_heard and (os.environ["LOCAL_RANK"] == "0" or not is_told_by_another):
        print_error(message)


def _write_error_file(message: str, status: int, kind: str) -> bool:
    """Leave `message` where the agent looks for it, in the form of torch's own errors."""
    path = os.environ.get(ERROR_FILE)
    if not path:
        return False
    facts = {"py_callstack": message, "timestamp": str(int(time.time()))}
    facts |= {"kind": kind, "status": str(status), "seconds": repr(time.time())}
    try:
        with open(path, "w", encoding="utf-8") as file:
            json.dump({"message": {"message": message, "extraInfo": facts}}, file)
    except OSError:
        return False
    return True


def number_of_processes(asked: str, verb: str) -> int:
    """What `--processes` asks for, 1 where it is not given. Raises UsageError."""
    if not asked:
        return 1
    if is_member():
        raise UsageError("--processes starts processes, and torchrun has done so already.\nLeave one of them out.")
    if asked == "auto":
        import torch

        return max(1, torch.cuda.device_count())
    from ..core.plain_numbers import whole_number

    number = whole_number(asked)
    if number is None or not 1 <= number <= MOST_PROCESSES:
        raise UsageError(
            f"--processes must be auto or a number from 1 to {MOST_PROCESSES:,}; not '{brief(asked, 80)}'.\n"
            f"Help: saccade {verb} --help"
        )
    return number


def is_first_process() -> bool:
    """Whether this process is the one that writes and prints."""
    if not is_member():
        return True
    from ..core.ranks import current_ranks

    return current_ranks().is_first


def refuse_together(options: Mapping[str, object]) -> None:
    """Raise UsageError for an option that was given, by its name, and is for one process."""
    for name in (name for name, given in options.items() if given):
        raise UsageError(
            f"{name} runs in one process.\nLeave it out, or start the command without --processes and torchrun."
        )


def without_processes(arguments: Sequence[str]) -> list[str]:
    """`arguments` without `--processes N`: what each of the processes is started with."""
    kept: list[str] = []
    waiting = list(arguments)
    while waiting:
        argument = waiting.pop(0)
        if argument == "--":
            return [*kept, argument, *waiting]
        if argument == "--processes":
            del waiting[:1]
        elif not argument.startswith("--processes="):
            kept.append(argument)
    return kept
