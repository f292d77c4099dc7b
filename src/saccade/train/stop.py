"""Ctrl-C and SIGTERM: the first asks the loop to save and end, a second Ctrl-C ends at once."""

import signal
from types import FrameType, TracebackType

from ..core.errors import Stopped


class StopSignal:
    """While entered, `requested` turns true at the first SIGINT or SIGTERM; a second SIGINT raises KeyboardInterrupt.

    `exit_code` is then 130 or 143, what a shell reports of a process ended by that signal.
    """

    def __init__(self) -> None:
        self.requested = False
        self.exit_code = 130
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self._previous[number] = signal.signal(number, self._request)
            except ValueError:
                break  # not the main thread: signals belong to somebody else
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    def check(self) -> None:
        """Raise Stopped where a signal has come: for work in whose middle there is nothing to save."""
        if self.requested:
            raise Stopped("")

    def _request(self, number: int, frame: FrameType | None) -> None:
        if self.requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.requested = True
        self.exit_code = 128 + number
