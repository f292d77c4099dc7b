"""Starts the processes of `--processes N` and watches them: torch's elastic agent, with the settings that make it safe.

It restarts them where one was killed or does not answer, never where one says what is wrong: that would be wrong
again. On one machine nobody listens outside of it: the processes find each other through a file and talk over
loopback.
"""

import logging
import os
import signal
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.distributed.elastic.agent.server.api import RunResult, WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent
from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
from torch.distributed.elastic.rendezvous import RendezvousParameters
from torch.distributed.elastic.rendezvous.registry import get_rendezvous_handler

from ..core.documents import DocumentError, parse_object, read_plain_file
from ..core.errors import counted
from ..core.process_facts import is_halted
from ..core.processors import available_cpus
from ..core.ranks import STORE
from .launch import LAUNCHER, NO_ANSWER, OWN, STOPPED, STOPPED_EARLY, without_processes
from .output import print_error, print_notes

LOOPBACK = "127.0.0.1"
INTERFACE = "lo0" if sys.platform == "darwin" else "lo"
CHECK_S = 0.1  # between looks at the processes
MOST_BYTES = 1 << 20  # of what a process says of its end
SAVING_S = 600  # most that processes get to save and end when somebody stops them
RENDEZVOUS = {"store_type": "file", "last_call_timeout": 3, "keep_alive_interval": 1, "keep_alive_max_attempt": 4}


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a process ended: its `status`, minus the number of the signal that ended it, and what it said."""

    rank: int
    status: int
    kind: str = ""
    message: str = ""
    seconds: float = 0.0

    @property
    def was_killed(self) -> bool:
        """Whether a signal ended it that nobody sends to stop it."""
        return self.status < 0 and -self.status not in (signal.SIGINT, signal.SIGTERM)

    def in_words(self) -> str:
        """`process 1 was ended by SIGKILL`."""
        if self.status < 0:
            return f"process {self.rank} was ended by {signal.Signals(-self.status).name}"
        return f"process {self.rank} ended with status {self.status}"


def may_start_again(ended: Sequence[Ended]) -> bool:
    """Whether processes that ended so can be started again: one was killed, or the first to end had no answer."""
    if any(one.was_killed for one in ended):
        return True
    if any(one.status > 0 and not one.kind for one in ended):  # an error that nobody foresaw
        return False
    told = [one for one in ended if one.kind]
    return bool(told) and min(told, key=lambda one: one.seconds).kind == NO_ANSWER


def failure_of(ended: Sequence[Ended], num_restarts: int) -> tuple[str, int]:
    """(message, exit status) of processes that ended so, after so many restarts."""
    told = sorted((one for one in ended if one.kind), key=lambda one: one.seconds)
    broken = [one for one in ended if one.was_killed] or [one for one in ended if not one.kind and one.status > 0]
    own = [one for one in told if one.kind == OWN]
    if own and not broken:
        first = min(own, key=lambda one: one.rank)
        return first.message, first.status
    if told and told[0].kind == STOPPED and not broken:
        stopped = [one for one in told if one.kind == STOPPED]
        first = min(stopped, key=lambda one: (one.message == STOPPED_EARLY, one.rank))
        return first.message, first.status
    if not told and not broken:  # stopped before they could say so
        return STOPPED_EARLY, 128 - min(one.status for one in ended)
    cause = broken[0] if broken else told[0]
    what = f"{cause.in_words()}." if broken else cause.message.split("\n")[0]
    again = f" The processes were started again {counted(num_restarts, 'time')}." if num_restarts else ""
    hint = "SIGKILL is what the system sends when memory runs out.\n" if cause.status == -signal.SIGKILL else ""
    return (
        f"{what[:1].upper()}{what[1:]}{again}\n{hint}"
        f"What was saved is intact; go on with --resume, on any number of processes."
    ), 1


class _Agent(LocalElasticAgent):  # type: ignore[misc]
    """torch's agent, which ends a group at once where its processes say why they failed."""

    ended: tuple[Ended, ...] = ()
    halted: tuple[int, ...] = ()  # ranks of processes that were halted (SIGSTOP) when others failed

    def _monitor_workers(self, worker_group: WorkerGroup) -> RunResult:
        if any(process.poll() not in (None, 0) for process in self.processes().values()):
            self.halted = tuple(rank for rank, process in self.processes().items() if is_halted(process.pid))
            self.send(signal.SIGCONT)  # a halted process does not end by SIGTERM
        result: RunResult = super()._monitor_workers(worker_group)
        if result.state in (WorkerState.FAILED, WorkerState.UNHEALTHY):
            self.ended = tuple(
                _ended(rank, failure.exitcode, failure.error_file_data) for rank, failure in result.failures.items()
            )
            if not may_start_again(self.ended):
                self._remaining_restarts = 0
            elif self._remaining_restarts:
                self._tell_restart()
        return result

    def _shutdown(self, death_sig: signal.Signals = signal.SIGTERM, timeout: int = SAVING_S) -> None:
        super()._shutdown(death_sig, SAVING_S)

    @property
    def num_restarts(self) -> int:
        return int(self._worker_group.spec.max_restarts - self._remaining_restarts)

    def processes(self) -> dict[int, Any]:
        """Those that were started last, by rank, whether they run or not."""
        handlers = getattr(self._pcontext, "subprocess_handlers", {})
        return {rank: handler.proc for rank, handler in handlers.items()}

    def send(self, number: signal.Signals) -> None:
        """Send a signal to every process that runs, and to what it has started."""
        for process in self.processes().values():
            if process.poll() is None:
                os.killpg(process.pid, number)

    def look_back(self) -> tuple[Ended, ...]:
        """How the processes have ended that were started last."""
        found = []
        for rank, process in self.processes().items():
            path = Path(self._pcontext.error_files[rank]) if self._pcontext else Path()
            try:
                data = parse_object(read_plain_file(path, MOST_BYTES))
            except (OSError, DocumentError):  # it said nothing
                data = {}
            found.append(_ended(rank, process.wait(), data))
        return tuple(found)

    def _tell_restart(self) -> None:
        killed = [one.in_words() for one in self.ended if one.was_killed]
        halted = [f"process {rank} was halted (SIGSTOP)" for rank in self.halted]
        what = (killed or halted or ["a process does not answer"])[0]
        number, most = self.num_restarts + 1, self._worker_group.spec.max_restarts
        print_notes([f"{what}; starting again from what was saved last ({number} of {most} times)"])


def _ended(rank: int, status: int, data: Any) -> Ended:
    """How process `rank` ended, by its status and the content of its error file, which may be empty or another's."""
    message = data.get("message") if isinstance(data, dict) else None
    facts = message.get("extraInfo") if isinstance(message, dict) else None
    if not isinstance(message, dict) or not isinstance(facts, dict) or "kind" not in facts:
        return Ended(rank=rank, status=status)
    return Ended(
        rank=rank,
        status=int(facts["status"]),
        kind=str(facts["kind"]),
        message=str(message["message"]),
        seconds=float(facts["seconds"]),
    )


def launch(arguments: Sequence[str], num_processes: int, max_restarts: int) -> int:
    """Run `saccade ARGUMENTS` on so many processes, and say what they come to; returns the exit status."""
    logging.disable(logging.CRITICAL)  # the agent's own words: what matters of them is said here
    with tempfile.TemporaryDirectory(prefix="saccade-") as folder:
        _set_environment(num_processes, Path(folder))
        agent = _agent(without_processes(arguments), num_processes, max_restarts, Path(folder))
        handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            result = agent.run()
        except SignalException:
            return _after_signal(agent)
        except KeyboardInterrupt:  # before the agent takes signals
            agent.send(signal.SIGKILL)
            raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        if not result.is_failed():
            return 0
        message, status = failure_of(agent.ended, agent.num_restarts)
    print_error(message)
    return status


def _after_signal(agent: _Agent) -> int:
    """What came of processes that were stopped through their agent. Those that still run, as it was told to stop twice,
    are killed."""
    agent.send(signal.SIGKILL)
    ended = agent.look_back()
    if all(one.status == 0 for one in ended):
        return 0
    message, status = failure_of(ended, 0)
    print_error("Stopped." if any(one.was_killed for one in ended) else message)
    return 130 if any(one.was_killed for one in ended) else status


def _set_environment(num_processes: int, folder: Path) -> None:
    """What the processes inherit."""
    threads = max(1, available_cpus() // num_processes)
    os.environ |= {
        LAUNCHER: str(os.getpid()),
        STORE: str(folder / "store"),
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # else a group that is started again finds the dead one's addresses
        "GLOO_SOCKET_IFNAME": INTERFACE,
        "NCCL_SOCKET_IFNAME": INTERFACE,
        "OMP_NUM_THREADS": str(threads),
    }


def _agent(arguments: Sequence[str], num_processes: int, max_restarts: int, folder: Path) -> _Agent:
    run_id = uuid.uuid4().hex
    meeting = RendezvousParameters(
        backend="c10d",
        endpoint=str(folder / "meeting"),
        run_id=run_id,
        min_nodes=1,
        max_nodes=1,
        local_addr=LOOPBACK,
        **RENDEZVOUS,
    )
    command = ("-P", "-m", "saccade", *arguments)  # -P: what lies in the current folder is not imported
    spec = WorkerSpec(
        role="saccade",
        local_world_size=num_processes,
        entrypoint=sys.executable,
        args=tuple(word.replace("$", "$$") for word in command),  # the agent fills in ${local_rank}
        rdzv_handler=get_rendezvous_handler(meeting),
        max_restarts=max_restarts,
        monitor_interval=CHECK_S,
        local_addr=LOOPBACK,
    )
    logs = folder / "logs"
    logs.mkdir()
    return _Agent(spec, DefaultLogsSpecs(log_dir=str(logs)))
