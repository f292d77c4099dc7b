"""Which processes of a run are alive, and how far each has come: told between a thread in each of them.

A process that reads, saves or judges may take long, and one that was halted, or whose network is cut, is silent for
ever. Those that wait cannot tell the two apart by waiting. So each process has a thread that tells all others, a few
times in `scale.timeout_s`, how many of the calls that wait for others it has reached. Where a round of these does not
come to its end within that time, one is silent. Those that wait go from one round straight to the next, so that who
comes last is heard at once.
"""

import threading

import torch
from torch import distributed

from . import torch_private

MOST_WORK_S = 1800.0  # a process that lives and has still not come is taken for one that never will
MOST_PAUSE_S = 1.0
STILL_HERE, LEFT = 0, 1


class SilentError(RuntimeError):
    """Why nobody needs to wait any longer; `Ranks.speaking` says the rest."""


class Pulse:
    """The thread of this process, one of `world_size`; `group` is used by nobody else.

    `timeout_s`: after so many seconds a process that says nothing is given up.
    """

    def __init__(self, group: distributed.ProcessGroup, rank: int, world_size: int, timeout_s: float) -> None:
        self._group, self._rank, self._world_size = group, rank, world_size
        self._timeout_s = timeout_s
        self._used_s = 0.0  # the timeout that the group has now
        self._reached, self._state = 0, STILL_HERE
        self._reached_by_rank = [0] * world_size
        self._left: tuple[int, ...] = ()
        self._failure = ""
        self._change = threading.Condition()
        self._thread = threading.Thread(target=self._beat, name="saccade-pulse", daemon=True)
        self._thread.start()

    def use_timeout(self, timeout_s: float) -> None:
        """Give up a silent process after `timeout_s` seconds from here on."""
        with self._change:
            self._timeout_s = timeout_s
            self._change.notify_all()

    def meet(self) -> None:
        """Return when all processes have called this as often as this one has. Raises SilentError where one is
        silent, has left, or works for longer than `MOST_WORK_S`."""
        with self._change:
            self._reached += 1
            self._change.notify_all()
            self._change.wait_for(lambda: self._has_met() or self._failure or self._left, MOST_WORK_S)
            if self._has_met():
                return
            late = min(range(self._world_size), key=self._reached_by_rank.__getitem__)
            ended = f"process {self._left[0]} has ended" if self._left else ""
            working = f"process {late} has worked for more than {MOST_WORK_S:.0f} s"
            raise SilentError(self._failure or ended or working)

    def leave(self) -> None:
        """Tell the others that this process makes no more calls, and end the thread."""
        with self._change:
            self._state = LEFT
            self._change.notify_all()
        self._thread.join()

    def _has_met(self) -> bool:
        return min(self._reached_by_rank) >= self._reached

    def _is_due(self) -> bool:
        """Whether the next round begins at once: this process waits for another, or leaves."""
        return not self._has_met() or self._state == LEFT

    def _beat(self) -> None:
        """Rounds, until one process leaves, or is silent."""
        try:
            while not self._left:
                with self._change:
                    pause_s = min(MOST_PAUSE_S, self._timeout_s / 10)
                    self._change.wait_for(self._is_due, pause_s)
                    allowed_s = self._timeout_s - min(MOST_PAUSE_S, self._timeout_s / 10)
                    told = torch.tensor([self._reached, self._state])
                heard = self._exchanged(told, allowed_s)
                with self._change:
                    self._reached_by_rank = [reached for reached, _ in heard]
                    self._left = tuple(rank for rank, (_, state) in enumerate(heard) if state == LEFT)
                    self._change.notify_all()
        except RuntimeError as error:  # what torch raises where a process does not answer
            with self._change:
                self._failure = str(error) or "no reason was given"
                self._change.notify_all()

    def _exchanged(self, told_2: torch.Tensor, allowed_s: float) -> list[list[int]]:
        """What each process tells, by rank."""
        if allowed_s != self._used_s:
            torch_private.set_group_timeout(self._group, allowed_s)
            self._used_s = allowed_s
        heard = [torch.empty_like(told_2) for _ in range(self._world_size)]
        distributed.all_gather(heard, told_2, group=self._group)
        return [row_2.tolist() for row_2 in heard]
