"""From what each lane gives to what a step takes: sums along the fixed tree, over any number of processes.

What a lane gives is one vector: its batch statistics, for each parameter whether it has a gradient, and the gradients.
How the vectors of several processes are added up is in `exchange.py`, when in `lane_sums.py`.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from itertools import accumulate
from typing import NoReturn

import torch
from torch import nn

from ..core import torch_private
from ..core.errors import ConfigError, GroupError, SaccadeError, brief, printable
from ..core.ranks import Ranks
from ..core.runtime import Runtime
from .config import RunConfig
from .exchange import Exchange
from .lanes import folded, lanes_of

ROW = 4  # float64 numbers that a lane gives besides its vector: loss sum, images right, images seen, total weight
SIGNALS = 2  # numbers that a process tells the others in every step
STRETCH_BYTES = 1 << 23  # sent at a time


class Verdict(IntEnum):
    """How a process fared with its lanes; of several the largest counts."""

    DONE = 0
    NO_MEMORY = 1
    FAILED = 2


@dataclass(frozen=True, kw_only=True)
class Agreed:
    """What all processes know at the end of a step: sums over all lanes, and the largest of each signal."""

    verdict: Verdict
    signals: tuple[int, ...]
    loss_sum: float
    num_correct: int
    num_seen: int
    total_weight: float


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """A stretch of the vector, `where`, which holds the gradients of the `parameters` at these places."""

    where: slice
    parameters: range


class Reduction:
    """Adds up over the lanes of a batch. `lanes` are those of this process."""

    def __init__(self, ranks: Ranks, num_lanes: int, exact: bool = True) -> None:
        self.ranks = ranks
        self.num_lanes = num_lanes
        self.lanes = lanes_of(ranks.rank, ranks.world_size, num_lanes)
        self._lanes_by_rank = [lanes_of(rank, ranks.world_size, num_lanes) for rank in range(ranks.world_size)]
        self.exchange = None if ranks.is_alone else Exchange(ranks, num_lanes, exact)

    def agree(self, row_L4: torch.Tensor | None, verdict: Verdict, signals: Sequence[int]) -> Agreed:
        """Tell the others how this process fared, and hear how they did. `row_L4` float64 of its lanes, None where it
        has none. Raises GroupError where one does not answer."""
        most = max(len(lanes) for lanes in self._lanes_by_rank)
        told = torch.zeros(1 + SIGNALS + most * ROW, dtype=torch.float64)
        told[0] = int(verdict)
        told[1 : 1 + SIGNALS] = torch.tensor(list(signals), dtype=torch.float64)
        if row_L4 is not None:
            told[1 + SIGNALS :][: row_L4.numel()] = row_L4.flatten()
        heard_WN = self.ranks.gather_rows(told)
        rows = {
            range(lane, lane + 1): heard_WN[rank, 1 + SIGNALS :].view(most, ROW)[place]
            for rank, lanes in enumerate(self._lanes_by_rank)
            for place, lane in enumerate(lanes)
        }
        loss_sum, num_correct, num_seen, total_weight = folded(rows, range(self.num_lanes), torch.add).tolist()
        most_N = heard_WN[:, : 1 + SIGNALS].amax(dim=0).tolist()
        return Agreed(
            verdict=Verdict(int(most_N[0])),
            signals=tuple(int(signal) for signal in most_N[1:]),
            loss_sum=loss_sum,
            num_correct=int(num_correct),
            num_seen=int(num_seen),
            total_weight=total_weight,
        )

    def raise_first(self, error: Exception | None) -> NoReturn:
        """Where the verdict was `FAILED`: raise this process's own `error`, or GroupError with what the first that has
        one says."""
        known = (
            error if isinstance(error, SaccadeError | None) else GroupError(f"{type(error).__name__}: {brief(error)}")
        )
        try:
            self.ranks.agree(known)
        except SaccadeError:
            if error is None:
                raise
        raise error or GroupError("A process has failed, and does not say why.")


class LaneVector:
    """Where each gradient and each batch statistic lies in the vector that a lane gives.

    `norms` are the batch normalisations that learn from what passes through them.
    """

    def __init__(self, parameters: Sequence[nn.Parameter], norms: Sequence[torch_private.BatchNorm]) -> None:
        self.parameters = [parameter for parameter in parameters if parameter.requires_grad]
        self.norms = list(norms)
        running = [(norm.running_mean, norm.running_var) for norm in norms]
        self._statistics = [value for pair in running for value in pair if value is not None]
        flags_start = sum(map(torch.numel, self._statistics))
        self._means = slice(0, flags_start)
        self._flags = slice(flags_start, flags_start + len(self.parameters))
        sizes = [parameter.numel() for parameter in self.parameters]
        self._gradients = slice(self._flags.stop, self._flags.stop + sum(sizes))
        is_double = any(parameter.dtype == torch.float64 for parameter in self.parameters)
        self._dtype = torch.float64 if is_double else torch.float32
        self._free: list[torch.Tensor] = []
        self._last_flags: tuple[tuple[bool, ...], torch.Tensor] | None = None
        self._starts = list(accumulate(sizes, initial=self._gradients.start))
        self.stretches = self._stretches(STRETCH_BYTES // self._dtype.itemsize)
        self._stretch_by_parameter = {
            id(self.parameters[place]): number
            for number, stretch in enumerate(self.stretches)
            for place in stretch.parameters
        }

    def stretch_of(self, parameter: nn.Parameter) -> int:
        """The number of the stretch that has the gradient of `parameter`."""
        return self._stretch_by_parameter[id(parameter)]

    def take(self) -> torch.Tensor:
        """A vector of the gradients and statistics that stand in the network now, which has no gradients then."""
        vector = self.empty()
        for stretch in self.stretches:
            self.fill(vector, stretch)
        self.forget_gradients()
        return vector

    def empty(self) -> torch.Tensor:
        """A vector of any numbers."""
        device = self.parameters[0].device
        return self._free.pop() if self._free else torch.empty(self._gradients.stop, dtype=self._dtype, device=device)

    @torch.no_grad()
    def fill(self, vector: torch.Tensor, stretch: Stretch) -> None:
        """Put what stands in the network now into one stretch of `vector`."""
        parameters = self.parameters[stretch.parameters.start : stretch.parameters.stop]
        views, values = [], []
        for parameter, view in zip(parameters, self._gradient_views(vector, stretch), strict=True):
            if parameter.grad is None:
                view.zero_()
            else:
                views.append(view)
                values.append(parameter.grad)
        if stretch == self.stretches[-1]:
            views += self._statistic_views(vector)
            values += self._statistics
            vector[self._flags] = self._flag_vector(tuple(one.grad is not None for one in self.parameters))
        if views:
            torch_private.foreach_copy_(views, values)

    def forget_gradients(self) -> None:
        """Leave none in the network."""
        for parameter in self.parameters:
            parameter.grad = None

    def add(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """left + right, in the place of `left`; the memory of `right` serves the next lane."""
        left += right
        self._free.append(right)
        return left

    def forget(self, vectors: Iterable[torch.Tensor]) -> None:
        """Nobody reads these any more: their memory serves the next lanes."""
        self._free += vectors

    @torch.no_grad()
    def give(self, vector: torch.Tensor, total_weight: float, num_lanes: int) -> None:
        """Put the sum over all lanes into the network: gradients divided by `total_weight`, and running statistics
        moved once, by their layer's momentum, towards the mean of the lanes'."""
        vector[self._gradients] /= total_weight
        vector[self._means] /= num_lanes
        has_gradient = vector[self._flags].tolist()
        for parameter, view, is_there in zip(self.parameters, self._gradient_views(vector), has_gradient, strict=True):
            parameter.grad = view if is_there else None
        past = [1 - momentum for momentum in self._moments()]
        if not past:
            return
        torch_private.foreach_mul_(self._statistics, past)
        seen = self._statistic_views(vector)
        torch_private.foreach_mul_(seen, [1 - weight for weight in past])
        torch_private.foreach_add_(self._statistics, seen)

    def _flag_vector(self, flags: tuple[bool, ...]) -> torch.Tensor:
        """1 for each parameter that has a gradient, else 0; it changes rarely, and is sent to a device once."""
        if self._last_flags is None or self._last_flags[0] != flags:
            numbers = torch.tensor(flags, dtype=self._dtype, device=self.parameters[0].device)
            self._last_flags = flags, numbers
        return self._last_flags[1]

    def _moments(self) -> list[float]:
        """How far each running statistic moves in the step that is counted here."""
        moments = []
        for norm in self.norms:
            count = norm.num_batches_tracked
            if count is not None:
                count += 1
            momentum = norm.momentum if norm.momentum is not None else 1 / int(count if count is not None else 1)
            moments += [momentum, momentum]
        return moments

    def _stretches(self, most_numbers: int) -> list[Stretch]:
        """From the end of the vector, where the gradients of the last layers lie, to its beginning."""
        found, stop = [], len(self.parameters)
        for start in reversed(range(len(self.parameters))):
            if start == 0 or self._starts[stop] - self._starts[start] >= most_numbers:
                where = slice(self._starts[start] if start else 0, self._starts[stop])
                found.append(Stretch(where=where, parameters=range(start, stop)))
                stop = start
        return found

    def _gradient_views(self, vector: torch.Tensor, stretch: Stretch | None = None) -> list[torch.Tensor]:
        """Each in the memory layout of its parameter, which fused kernels rely on."""
        places = stretch.parameters if stretch else range(len(self.parameters))
        return [
            laid_out_as(self.parameters[place], vector[self._starts[place] : self._starts[place + 1]])
            for place in places
        ]

    def _statistic_views(self, vector: torch.Tensor) -> list[torch.Tensor]:
        return list(vector[self._means].split([value.numel() for value in self._statistics]))


def laid_out_as(parameter: torch.Tensor, vector: torch.Tensor) -> torch.Tensor:
    """The numbers of `vector` in the shape of `parameter`, and in its order in memory where that leaves no gaps."""
    steps = zip(parameter.shape, parameter.stride(), strict=True)
    is_dense = 1 + sum((size - 1) * stride for size, stride in steps) == parameter.numel()
    return vector.as_strided(parameter.shape, parameter.stride()) if is_dense else vector.view(parameter.shape)


@contextmanager
def own_statistics(norms: Sequence[torch_private.BatchNorm]) -> Iterator[Callable[[int], None]]:
    """While entered, running statistics become those of what passes through: call what is given with 1, 2, ... in
    front of each part of a lane, and they are the mean over the parts so far."""
    momenta = [norm.momentum for norm in norms]

    def begin(part: int) -> None:
        for norm in norms:
            norm.momentum = 1 / part

    try:
        yield begin
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def learning_norms(model: nn.Module) -> list[torch_private.BatchNorm]:
    """The batch normalisations of `model` that are in training mode and keep running statistics."""
    norms = [module for module in model.modules() if isinstance(module, torch_private.BatchNorm)]
    return [norm for norm in norms if norm.training and norm.track_running_stats and norm.running_mean is not None]


def refuse_for_lanes(model: nn.Module, config: RunConfig, runtime: Runtime) -> None:
    """Raise ConfigError for what cannot be computed in several lanes."""
    if runtime.cuda_graphs:
        raise ConfigError(
            "runtime.cuda_graphs records whole batches, and with scale.lanes above 1 each is computed in lanes.\n"
            "Leave one of them out."
        )
    for name, module in model.named_modules():
        if isinstance(module, nn.SyncBatchNorm):
            raise ConfigError(
                f"The layer '{printable(name)}' (SyncBatchNorm) waits for every process in the middle of a lane, and "
                f"lanes are computed one after the other.\nTake BatchNorm, which sees a lane at a time."
            )
