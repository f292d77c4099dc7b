"""Ctrl-C and SIGTERM: the first asks the loop to save and end, a second Ctrl-C ends at once.

Signals reach Python's main thread alone. A training on another thread is stopped by `request_stop`.
"""

import signal
import threading
from types import FrameType, TracebackType
from typing import ClassVar

from ..core.errors import Stopped


class StopSignal:
    """While entered, `requested` turns true at the first SIGINT or SIGTERM, or by `request_stop`; a second SIGINT
    raises KeyboardInterrupt.

    `exit_code` is then 130 or 143, what a shell reports of a process ended by that signal. The handlers of before are
    put back; one that was set outside Python, which cannot be put back, keeps its signal.
    """

    _entered: ClassVar[list["StopSignal"]] = []
    _lock: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        self.requested = False
        self.exit_code = 130
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        with self._lock:
            self._entered.append(self)
        if threading.current_thread() is not threading.main_thread():
            return self  # signals belong to somebody else
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not None:
                self._previous[number] = signal.signal(number, self._request)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()
        with self._lock:
            self._entered.remove(self)

    def check(self) -> None:
        """Raise Stopped where a signal has come: for work in whose middle there is nothing to save."""
        if self.requested:
            raise self.stopped()

    @property
    def signal(self) -> int:
        """The exit code where a stop was asked for, else 0: what other processes of the run are told."""
        return self.exit_code if self.requested else 0

    def stopped(self) -> Stopped:
        """What is raised, for somebody above to say what was saved."""
        error = Stopped("")
        error.exit_code = self.exit_code
        return error

    def take_up(self, exit_code: int) -> None:
        """Another process of the run was asked to stop, so this one is."""
        self.requested = True
        self.exit_code = exit_code

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.exit_code = 128 + number


def request_stop() -> None:
    """Ask every training of this process to save and end, as the first Ctrl-C does; may be called from any thread."""
    with StopSignal._lock:
        for stop in StopSignal._entered:
            stop.requested = True
