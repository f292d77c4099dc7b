"""The processes that compute one run together: which one this is, and how they speak to each other.

torchrun starts them and torch.distributed connects them; `ALONE` is a run of one process, whose calls return at once.
Nothing that is sent is pickled: bytes and tensors are.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import distributed

from . import torch_private
from .errors import GroupError, NoAnswerError, SaccadeError, printable
from .pulse import Pulse

LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE")  # WORLD_SIZE alone: Slurm sets it too
FIRST_TIMEOUT_S = 120.0  # of processes that start, and import what they need
STORE = "SACCADE_STORE"  # of --processes: the file through which they find each other, which has no listener
PIECE_BYTES = 1 << 22  # sent at a time: the longest answer must not look like silence on a slow line


@dataclass(frozen=True, kw_only=True)
class Machines:
    """Several machines with as many processes each, which are neighbours by rank: `within` are those of this machine,
    `between` those that have the same place on each machine."""

    within: distributed.ProcessGroup
    between: distributed.ProcessGroup


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of its run: `rank` 0 to `world_size` - 1, and the same among those of its machine.

    Every call below is made by all of them in the same order. Raises GroupError where one does not answer.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    pulse: Pulse | None = None
    machines: Machines | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether nobody else computes the run."""
        return self.world_size == 1

    @property
    def is_one_machine(self) -> bool:
        """Whether all processes run on this machine."""
        return self.world_size == self.local_world_size

    def describe(self) -> str:
        """`process 2 (host b)`: for a message."""
        return f"process {self.rank} ({printable(socket.gethostname())})"

    def gather(self, content: bytes, patiently: bool = False) -> tuple[bytes, ...]:
        """What every process gave, by rank. `patiently`: behind work of any length, as long as all of them live."""
        if self.is_alone:
            return (content,)
        length = torch.tensor([len(content)], dtype=torch.int64)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        with self.speaking():
            self._wait(patiently)
            distributed.all_gather(lengths, length)
            longest = max(int(length) for length in lengths)
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(content)] = torch.frombuffer(bytearray(content) or bytearray(1), dtype=torch.uint8)[
                : len(content)
            ]
            parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.world_size)]
            for piece in _pieces(longest):
                distributed.all_gather([part[piece] for part in parts], padded[piece])
        return tuple(part[: int(length)].numpy().tobytes() for part, length in zip(parts, lengths, strict=True))

    def tell(self, content: bytes, patiently: bool = False) -> bytes:
        """What the first process gave; what the others give is not looked at."""
        if self.is_alone:
            return content
        length = torch.tensor([len(content)], dtype=torch.int64)
        with self.speaking():
            self._wait(patiently)
            distributed.broadcast(length, 0)
            told = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_first and content:
                told.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            for piece in _pieces(len(told)):
                distributed.broadcast(told[piece], 0)
        return told.numpy().tobytes()

    def agree(self, error: SaccadeError | None, patiently: bool = False) -> None:
        """Raise where any process has an error: its own on the process that has it, GroupError that names the first
        such process and repeats its message on the others."""
        if self.is_alone:
            if error is not None:
                raise error
            return
        text = f"{error.exit_code} {self.describe()}: {error.message}" if error is not None else ""
        texts = self.gather(text.encode(), patiently)
        if error is not None:
            raise error
        for found in texts:
            if found:
                exit_code, message = found.decode().split(" ", 1)
                told = GroupError(message)
                told.exit_code = int(exit_code)
                raise told

    def gather_rows(self, row_N: torch.Tensor) -> torch.Tensor:
        """What every process gave, (W, N) by rank: numbers of one type, as many from each, in the memory of the CPU."""
        if self.is_alone:
            return row_N[None]
        rows = [torch.empty_like(row_N) for _ in range(self.world_size)]
        with self.speaking():
            distributed.all_gather(rows, row_N)
        return torch.stack(rows)

    def begin_exchange(
        self,
        received: torch.Tensor,
        sent: torch.Tensor,
        sizes: Sequence[int],
        lengths: Sequence[int],
        group: distributed.ProcessGroup | None = None,
    ) -> distributed.Work:
        """Of `sent`, `sizes[r]` numbers for each process r, one behind the other, each gets its own; what comes from
        each, `lengths[r]` numbers from process r, is in `received` likewise once what is returned was waited for.

        1-D, of one type everywhere. `group`: one of `machines`, whose processes are counted from 0.
        """
        with self.speaking():
            waiting: distributed.Work = distributed.all_to_all_single(
                received, sent, list(lengths), list(sizes), group, async_op=True
            )
        return waiting

    def hand_out(self, tensor: torch.Tensor, giver: int = 0) -> None:
        """Let `tensor` of process `giver` be in the `tensor` of all: dense, of one type and size everywhere, in the
        memory of the CPU. Patiently, as `gather`."""
        if self.is_alone or not tensor.numel():
            return
        content = tensor.view(-1).view(torch.uint8)
        with self.speaking():
            self._wait(True)
            for piece in _pieces(len(content)):
                distributed.broadcast(content[piece], giver)

    def bring(self, tensor: torch.Tensor, giver: int) -> None:
        """Let `tensor` of process `giver` be in that of the first. Else as `hand_out`."""
        if self.is_alone or not giver or not tensor.numel():
            return
        content = tensor.view(-1).view(torch.uint8)
        with self.speaking():
            self._wait(True)
            for piece in _pieces(len(content)):
                if self.rank == giver:
                    distributed.send(content[piece], 0)
                elif self.is_first:
                    distributed.recv(content[piece], giver)

    def begin_add_up(self, vector_N: torch.Tensor) -> distributed.Work:
        """`vector_N` becomes the sum over the processes of what each gave, in whatever order is fastest."""
        with self.speaking():
            waiting: distributed.Work = distributed.all_reduce(vector_N, async_op=True)
        return waiting

    def use_timeout(self, timeout_s: float) -> None:
        """Wait for a process that does not answer for at most `timeout_s` seconds from here on."""
        groups = [] if self.is_alone else [distributed.group.WORLD]
        groups += [self.machines.within, self.machines.between] if self.machines else []
        for group in groups:
            torch_private.set_group_timeout(group, timeout_s)
        if self.pulse:
            self.pulse.use_timeout(timeout_s)

    def _wait(self, patiently: bool) -> None:
        if patiently and self.pulse:
            self.pulse.meet()

    @contextmanager
    def speaking(self) -> Iterator[None]:
        """What torch says where a process does not answer, as GroupError."""
        try:
            yield
        except RuntimeError as error:
            first_line = printable(str(error).splitlines()[0][:200]) if str(error) else "no reason was given"
            raise NoAnswerError(
                f"{self.describe()}: another process of the run does not answer: {first_line}.\n"
                f"It was killed, ran out of memory, or its machine or the network between them failed.\n"
                f"What was saved is intact; go on with --resume, on any number of processes."
            ) from None


def _pieces(num_bytes: int) -> Iterator[slice]:
    return (slice(start, min(start + PIECE_BYTES, num_bytes)) for start in range(0, num_bytes, PIECE_BYTES))


ALONE = Ranks()
_CURRENT: ContextVar[Ranks] = ContextVar("ranks", default=ALONE)


def current_ranks() -> Ranks:
    """Those of the group this process has joined; `ALONE` where it has joined none."""
    return _CURRENT.get()


@contextmanager
def on_its_own() -> Iterator[None]:
    """What is enclosed is a run of this process alone, whatever group it has joined."""
    token = _CURRENT.set(ALONE)
    try:
        yield
    finally:
        _CURRENT.reset(token)


def is_launched() -> bool:
    """Whether torchrun, or what does as it does, started this process as one of a group."""
    return all(name in os.environ for name in LAUNCHED) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def joined_group(timeout_s: float) -> Iterator[Ranks]:
    """The group that the environment names, for as long as this is entered. Raises GroupError where it does not form.

    A call waits for at most `timeout_s` seconds for the others, or as long as they work where it is patient.
    """
    alone = Ranks(rank=int(os.environ["RANK"]), world_size=int(os.environ["WORLD_SIZE"]))
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    with alone.speaking():
        if place := os.environ.get(STORE, ""):
            store = distributed.FileStore(  # type: ignore[attr-defined]
                f"{place}-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", alone.world_size
            )
            distributed.init_process_group(
                backend,
                timeout=timedelta(seconds=FIRST_TIMEOUT_S),
                store=store,
                rank=alone.rank,
                world_size=alone.world_size,
            )
        else:
            distributed.init_process_group(backend, timeout=timedelta(seconds=FIRST_TIMEOUT_S))
    pulse = None
    try:
        with alone.speaking():
            group = distributed.new_group(backend="gloo", timeout=timedelta(seconds=FIRST_TIMEOUT_S))
            distributed.barrier(group=group)
        pulse = Pulse(group, alone.rank, alone.world_size, timeout_s)
        ranks = Ranks(
            rank=alone.rank,
            world_size=alone.world_size,
            local_rank=int(os.environ["LOCAL_RANK"]),
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            pulse=pulse,
        )
        with alone.speaking():
            ranks = replace(ranks, machines=_machines(ranks))
        ranks.use_timeout(timeout_s)
        token = _CURRENT.set(ranks)
        try:
            yield ranks
        finally:
            _CURRENT.reset(token)
    finally:
        if pulse:
            pulse.leave()
        distributed.destroy_process_group()


def _machines(ranks: Ranks) -> Machines | None:
    """The groups of a run on several machines; None where one has other processes than the next, by number or rank."""
    each, first = ranks.local_world_size, ranks.rank - ranks.local_rank
    shapes = {content.decode() for content in ranks.gather(f"{each} {first % each}".encode(), patiently=True)}
    if each in (1, ranks.world_size) or ranks.world_size % each or shapes != {f"{each} 0"}:
        return None
    ranks_by_machine = [list(range(start, start + each)) for start in range(0, ranks.world_size, each)]
    within, _ = distributed.new_subgroups_by_enumeration(ranks_by_machine)
    between, _ = distributed.new_subgroups_by_enumeration([list(same) for same in zip(*ranks_by_machine, strict=True)])
    return Machines(within=within, between=between)
