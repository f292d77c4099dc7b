"""Work that each process of a run does by itself, however long it takes: a fit, a file of features, a whole training.

The pulse says who lives and how far each has come (`pulse.py`), but not what has failed; and a call that waits ends
after half an hour. So while any process works, a thread of each tells the others what has failed and who was asked to
stop.
"""

import threading
from collections.abc import Callable
from typing import TypeVar

from .agreement import as_stop
from .errors import GroupError, SaccadeError, brief
from .ranks import Ranks
from .runtime import is_out_of_memory

BEAT_S = 0.5  # between two signs of life of a process that works
LOOK_S = 0.05  # between two looks of one that waits, at what its user wants
WORKS, ENDED, FAILED = b"w", b"e", b"f"  # what a process tells of itself; the last with an exit code and a message

Result = TypeVar("Result")
Check = Callable[[], None]


def nothing() -> None:
    """Nothing stands in the way."""


def apart(ranks: Ranks, work: Callable[[Check], Result], check: Check = nothing, end_work: Check = nothing) -> Result:
    """What `work` gives here, once the work of every process has ended. What ends it in one ends it in all: its own
    error is raised where it has one, GroupError with the first cause, or Stopped, elsewhere.

    `work` is handed a check to call now and then: it raises what `check` raises, and GroupError or Stopped once another
    process has failed. `check` is called while others are waited for, too. `end_work` is called again and again, from
    another thread, once another process has failed, for work that calls no check. Raises NoAnswerError where one does
    not answer.
    """
    if ranks.is_alone:
        return work(check)
    beats = _Beats(ranks, end_work)
    thread = threading.Thread(target=beats.run, name="signs of life", daemon=True)
    thread.start()
    results: list[Result] = []
    error: Exception | None = None
    try:
        results.append(work(lambda: beats.check(check)))
    except Exception as found:  # noqa: BLE001  it is raised below, once the others know
        error = found
        beats.fail(found)
    beats.ended.set()
    beats.wait(check)
    thread.join()
    beats.raise_first(error)
    return results[0]


def first_apart(
    ranks: Ranks, make: Callable[[Check], bytes], check: Check = nothing, end_work: Check = nothing
) -> bytes:
    """What `make` gives in the first process, where alone it is called, for as long as it takes."""
    content = apart(ranks, lambda own: make(own) if ranks.is_first else b"", check, end_work)
    return ranks.tell(content, patiently=True)


def one_of_each_machine(ranks: Ranks, make: Callable[[], Result], check: Check = nothing) -> Result:
    """What `make` gives, called by the first process of each machine, then by the others: what one downloads, the
    others find."""
    if ranks.is_alone:
        return make()
    first = apart(ranks, lambda own: [make()] if ranks.local_rank == 0 else [], check)
    rest = apart(ranks, lambda own: first or [make()], check)
    return rest[0]


class _Beats:
    """What the processes tell each other while they work. `ended` is set when the work of this one has ended."""

    def __init__(self, ranks: Ranks, end_work: Check) -> None:
        self._ranks, self._end_work = ranks, end_work
        self.ended = threading.Event()
        self._is_over = threading.Event()  # all have ended, or one does not answer
        self._failure = b""  # of this process, where it is no answer to that of another
        self._told: tuple[bytes, ...] = ()
        self._lost: GroupError | None = None

    def run(self) -> None:
        """Tell and hear, until no process works any more."""
        try:
            while not self._is_over.is_set():
                has_ended = self.ended.is_set()
                own = (self._failure or ENDED) if has_ended else WORKS
                self._told = self._ranks.gather(own, patiently=True)
                if WORKS not in self._told:
                    self._is_over.set()
                elif not has_ended:
                    if self._failures():
                        self._end_work()
                    self.ended.wait(BEAT_S)
        except Exception as error:  # noqa: BLE001  the work must hear of it, whatever it is
            lost = GroupError(f"{self._ranks.describe()}: {type(error).__name__}: {brief(error)}")
            self._lost = error if isinstance(error, GroupError) else lost
            self._is_over.set()
            while not self.ended.wait(BEAT_S):
                self._end_work()

    def check(self, check: Check) -> None:
        """Raise what `check` raises, or what ends the work of all."""
        check()
        if self._lost is not None:
            raise self._lost
        if failures := self._failures():
            raise _raised(failures[0])

    def fail(self, error: Exception) -> None:
        """The work of this process has ended with `error`."""
        is_answer = self._lost is not None or bool(self._failures())  # to what ended that of another
        if not self._failure and not is_answer:
            self._failure = FAILED + _in_words(self._ranks, error).encode()

    def wait(self, check: Check) -> None:
        """Until the others have ended, too; what `check` raises then ends theirs."""
        while not self._is_over.is_set():
            try:
                self._is_over.wait(LOOK_S)
                check()
            except SaccadeError as error:
                self.fail(error)

    def raise_first(self, error: Exception | None) -> None:
        """Raise what ended the work, if anything did: the `error` of this process where it is its own."""
        failures = self._failures()
        if error is not None and (self._failure or not (failures or self._lost)):
            if isinstance(error, SaccadeError):
                error.is_agreed = self._lost is None
            raise error
        if failures:
            raise _raised(failures[0]) from None
        if self._lost is not None:
            raise self._lost from None
        if error is not None:
            raise error

    def _failures(self) -> list[bytes]:
        """By rank, what was told last."""
        return [told for told in self._told if told.startswith(FAILED)]


def _in_words(ranks: Ranks, error: Exception) -> str:
    """Exit code and message, for the other processes."""
    if isinstance(error, SaccadeError):
        return f"{error.exit_code} {ranks.describe()}: {error.message}"
    text = "the memory ran out" if is_out_of_memory(error) else f"{type(error).__name__}: {brief(error)}"
    return f"1 {ranks.describe()}: {text}"


def _raised(failure: bytes) -> SaccadeError:
    exit_code, message = failure[len(FAILED) :].decode().split(" ", 1)
    error = GroupError(message)
    error.exit_code, error.is_agreed = int(exit_code), True
    return as_stop(error)
