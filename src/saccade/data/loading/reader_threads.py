"""Threads that read and decode: bounded by their caller, never orphaned, and each one can say what it is reading."""

import queue
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager

Job = Callable[[], None]


class Readers:
    """`num_threads` daemon threads that run jobs in the order they were given.

    Daemons, because a read that hangs in the operating system can be neither stopped nor waited for: it must not
    keep the process alive. A job catches its own errors.
    """

    def __init__(self, num_threads: int) -> None:
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._reading: dict[int, tuple[str, float]] = {}
        self._threads = [
            threading.Thread(target=_work, args=(self._jobs,), name=f"saccade-reader-{number}", daemon=True)
            for number in range(num_threads)
        ]
        for thread in self._threads:
            thread.start()
        self._stop = weakref.finalize(self, _stop, self._jobs, self._threads)

    @property
    def num_threads(self) -> int:
        return len(self._threads)

    def submit(self, job: Job) -> None:
        """Run `job` on the next free thread."""
        self._jobs.put(job)

    @contextmanager
    def reading(self, key: str) -> Iterator[None]:
        """Say, from inside a job, that `key` is being read; `oldest` reports it until the block ends."""
        thread = threading.get_ident()
        self._reading[thread] = (key, time.monotonic())
        try:
            yield
        finally:
            del self._reading[thread]

    def oldest(self) -> tuple[str, float] | None:
        """What has been read for the longest time, and for how many seconds; None when nothing is being read."""
        entries = list(self._reading.values())
        if not entries:
            return None
        key, started = min(entries, key=lambda entry: entry[1])
        return key, time.monotonic() - started

    def close(self) -> None:
        """End the threads; one that hangs in a read is left behind as a daemon. Closing twice does nothing."""
        self._stop()


def _work(jobs: "queue.SimpleQueue[Job | None]") -> None:
    while (job := jobs.get()) is not None:
        job()
        del job  # or the last batch would live until the next job


def _stop(jobs: "queue.SimpleQueue[Job | None]", threads: list[threading.Thread], patience_s: float = 2.0) -> None:
    for _ in threads:
        jobs.put(None)
    deadline = time.monotonic() + patience_s
    for thread in threads:
        if thread is not threading.current_thread():
            thread.join(max(0.0, deadline - time.monotonic()))
