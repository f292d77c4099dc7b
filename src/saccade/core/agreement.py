"""What the processes of a run agree on: an error or a stop of one is one of all, and the first decides for all.

Every function here is called by all processes of a run in the same order; of a run of one process it costs nothing.
What is done between two calls fails on its own process, and is told at the next one: so no process waits for another
that has given up.
"""

import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from .errors import DataError, GroupError, NoAnswerError, SaccadeError, Stopped, brief, printable
from .ranks import Ranks
from .runtime import is_out_of_memory

STOPS = (130, 143)  # exit codes of what was stopped on purpose


def agree(ranks: Ranks, error: SaccadeError | None, patiently: bool = False) -> None:
    """Raise where any process has an error: its own on the process that has it, on the others GroupError, or Stopped
    where that one was stopped. `patiently`: as in `Ranks.gather`."""
    try:
        ranks.agree(error, patiently)
    except NoAnswerError:
        raise
    except SaccadeError as told:
        told.is_agreed = not ranks.is_alone
        raise as_stop(told) from told.__cause__


def as_stop(error: SaccadeError) -> SaccadeError:
    """`error`, or Stopped where it says that another process was stopped."""
    if not isinstance(error, GroupError) or error.exit_code not in STOPS:
        return error
    stopped = Stopped("")
    stopped.exit_code, stopped.is_agreed = error.exit_code, True
    return stopped


@contextmanager
def agreed(ranks: Ranks) -> Iterator[None]:
    """The enclosed work, in which no process waits for another: where it fails on one of them, it fails on all."""
    if ranks.is_alone:
        yield
        return
    try:
        yield
    except SaccadeError as error:
        if not isinstance(error, NoAnswerError) and not error.is_agreed:
            agree(ranks, error, patiently=True)
        raise
    except Exception as error:
        _tell_unexpected(ranks, error)
        raise
    agree(ranks, None, patiently=True)


def from_first(ranks: Ranks, make: Callable[[], bytes]) -> bytes:
    """What `make` gives on the first process, where alone it is called."""
    if ranks.is_alone:
        return make()
    content = b""
    with agreed(ranks):
        if ranks.is_first:
            content = make()
    return ranks.tell(content, patiently=True)


def refuse_other_images(ranks: Ranks, digest: str, num_images: int) -> None:
    """Raise DataError where another process has found other images, which their `digest` tells."""
    own = f"{digest} {num_images} {socket.gethostname()}".encode()
    first, *others = (content.decode().split(" ", 2) for content in ranks.gather(own, patiently=True))
    for rank, other in enumerate(others, start=1):
        if other[:2] != first[:2]:
            error = DataError(
                f"The processes see other images: process {rank} (host {printable(other[2])}) finds {int(other[1]):,}, "
                f"process 0 (host {printable(first[2])}) {int(first[1]):,}, and they are not the same.\n"
                f"Every machine must have the same images, under the same names. Copy them, or give a folder that all "
                f"share."
            )
            error.is_agreed = True
            raise error


def use_timeout(ranks: Ranks, timeout_s: float) -> None:
    """Wait for another process for at most `timeout_s` seconds from here on."""
    ranks.use_timeout(timeout_s)


def _tell_unexpected(ranks: Ranks, error: Exception) -> None:
    """Let the others end, too, and know why: what is raised here stays what it is."""
    text = "the memory ran out" if is_out_of_memory(error) else f"{type(error).__name__}: {brief(error)}"
    try:
        ranks.agree(SaccadeError(text), patiently=True)
    except SaccadeError:
        return
