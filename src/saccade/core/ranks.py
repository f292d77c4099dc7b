"""The processes that compute one run together: which one this is, and how they speak to each other.

torchrun starts them and torch.distributed connects them; `ALONE` is a run of one process, whose calls return at once.
Nothing that is sent is pickled: bytes and tensors are.
"""

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta

import torch
from torch import distributed

from .errors import GroupError, NoAnswerError, SaccadeError, printable

LAUNCHED = ("MASTER_ADDR", "MASTER_PORT", "RANK", "LOCAL_RANK", "WORLD_SIZE")  # WORLD_SIZE alone: Slurm sets it too
FIRST_TIMEOUT_S = 120.0  # of what waits for a process that imports, scans, saves or judges
STORE = "SACCADE_STORE"  # of --processes: the file through which they find each other, which has no listener


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among those of its run: `rank` 0 to `world_size` - 1, and the same among those of its machine.

    Every call below is made by all of them in the same order. Raises GroupError where one does not answer.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0
    local_world_size: int = 1
    patient: distributed.ProcessGroup | None = None

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes."""
        return self.rank == 0

    @property
    def is_alone(self) -> bool:
        """Whether nobody else computes the run."""
        return self.world_size == 1

    def describe(self) -> str:
        """`process 2 (host b)`: for a message."""
        return f"process {self.rank} ({printable(socket.gethostname())})"

    def gather(self, content: bytes, patiently: bool = False) -> tuple[bytes, ...]:
        """What every process gave, by rank. `patiently`: of work of any length, within `FIRST_TIMEOUT_S`."""
        if self.is_alone:
            return (content,)
        group = self.patient if patiently else None
        length = torch.tensor([len(content)], dtype=torch.int64)
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.world_size)]
        with self.speaking():
            distributed.all_gather(lengths, length, group=group)
            longest = max(int(length) for length in lengths)
            padded = torch.zeros(longest, dtype=torch.uint8)
            padded[: len(content)] = torch.frombuffer(bytearray(content) or bytearray(1), dtype=torch.uint8)[
                : len(content)
            ]
            parts = [torch.empty(longest, dtype=torch.uint8) for _ in range(self.world_size)]
            if longest:
                distributed.all_gather(parts, padded, group=group)
        return tuple(part[: int(length)].numpy().tobytes() for part, length in zip(parts, lengths, strict=True))

    def tell(self, content: bytes, patiently: bool = False) -> bytes:
        """What the first process gave; what the others give is not looked at."""
        if self.is_alone:
            return content
        group = self.patient if patiently else None
        length = torch.tensor([len(content)], dtype=torch.int64)
        with self.speaking():
            distributed.broadcast(length, 0, group=group)
            told = torch.zeros(int(length), dtype=torch.uint8)
            if self.is_first and content:
                told.copy_(torch.frombuffer(bytearray(content), dtype=torch.uint8))
            if len(told):
                distributed.broadcast(told, 0, group=group)
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

    def exchange(self, parts: Sequence[torch.Tensor], lengths: Sequence[int]) -> torch.Tensor:
        """`parts[r]` goes to process r; what came from each, `lengths[r]` numbers from process r, one behind the other.

        1-D, of one type everywhere.
        """
        if self.is_alone:
            return parts[0]
        received = parts[0].new_empty(sum(lengths))
        with self.speaking():
            distributed.all_to_all_single(received, torch.cat(list(parts)), list(lengths), [len(p) for p in parts])
        return received

    def hand_out(self, tensor: torch.Tensor, giver: int = 0) -> None:
        """Let `tensor` of process `giver` be in the `tensor` of all: dense, of one type and size everywhere, in the
        memory of the CPU. Patiently, as `gather`."""
        if not self.is_alone and tensor.numel():
            with self.speaking():
                distributed.broadcast(tensor.view(-1).view(torch.uint8), giver, group=self.patient)

    def bring(self, tensor: torch.Tensor, giver: int) -> None:
        """Let `tensor` of process `giver` be in that of the first; the others do nothing. Else as `hand_out`."""
        if not giver or not tensor.numel():
            return
        with self.speaking():
            if self.rank == giver:
                distributed.send(tensor.view(-1).view(torch.uint8), 0, group=self.patient)
            elif self.is_first:
                distributed.recv(tensor.view(-1).view(torch.uint8), giver, group=self.patient)

    def add_up(self, vector_N: torch.Tensor) -> torch.Tensor:
        """The sum over the processes of what each gave, in whatever order is fastest; `vector_N` holds it then."""
        if not self.is_alone:
            with self.speaking():
                distributed.all_reduce(vector_N)
        return vector_N

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

    A call takes at most `timeout_s` seconds, `FIRST_TIMEOUT_S` where it is patient.
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
    try:
        with alone.speaking():
            patient = distributed.new_group(backend="gloo", timeout=timedelta(seconds=FIRST_TIMEOUT_S))
            distributed.barrier(group=patient)
            distributed.distributed_c10d._set_pg_timeout(timedelta(seconds=timeout_s), distributed.group.WORLD)
        ranks = Ranks(
            rank=alone.rank,
            world_size=alone.world_size,
            local_rank=int(os.environ["LOCAL_RANK"]),
            local_world_size=int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
            patient=patient,
        )
        token = _CURRENT.set(ranks)
        try:
            yield ranks
        finally:
            _CURRENT.reset(token)
    finally:
        distributed.destroy_process_group()
