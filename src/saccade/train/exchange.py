"""Sums along the fixed tree over the processes of a run, of one stretch of their vectors after the other.

Each process is sent a part of a stretch, of every largest subtree of the others, adds it up in the order of the tree,
and sends the sum to all. Where several processes share a machine, they do so among themselves first, and what each has
added up goes to those that have the same part on the other machines. No library's own reduction is used, whose order
follows from the number of processes, the length, the network and the version.

Everything is begun in one order by all processes, and nothing is waited for before `finish`.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import distributed

from ..core.ranks import Ranks
from .lanes import chunks, folded, lanes_of, subtrees

Parts = dict[range, torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Level:
    """An exchange among some processes, `place` the own one among them: each brings the sums of `nodes_by_place`, of a
    part of the vector or all of it, and goes on with those of `nodes`, of a smaller part."""

    place: int
    nodes_by_place: tuple[tuple[range, ...], ...]
    nodes: tuple[range, ...]
    group: distributed.ProcessGroup | None = None


class Exchange:
    """Adds up over `num_lanes` lanes; `exact`: in the order of the tree, else in the fastest."""

    def __init__(self, ranks: Ranks, num_lanes: int, exact: bool) -> None:
        self._ranks, self._exact = ranks, exact
        self._levels = levels_of(ranks, num_lanes)
        self._flights: list[Iterator[None]] = []
        self.sent_numbers = [0] * len(self._levels)  # to other processes, at each level, since the beginning

    def begin(self, parts: Parts, total: torch.Tensor) -> None:
        """Send the others their shares of `parts`, the sums of this process's largest subtrees. `total`, as long as
        each of them, holds the sum over all lanes when `finish` returns."""
        flight = self._summed(parts, total) if self._exact else self._fastest(parts, total)
        next(flight)
        self._flights.append(flight)

    def finish(self) -> None:
        """Wait until everything that was begun is there. Raises NoAnswerError where a process does not answer."""
        flights, self._flights = self._flights, []
        while flights:
            flights = [flight for flight in flights if next(flight, flight) is None]

    def _summed(self, parts: Parts, total: torch.Tensor) -> Iterator[None]:
        """Begins one transfer after the other, and yields behind each."""
        lengths = [len(total)]
        for number, level in enumerate(self._levels):
            own = [parts[node] for node in level.nodes_by_place[level.place]]
            spans = chunks(lengths[-1], len(level.nodes_by_place))
            mine = len(spans[level.place])
            sent = torch.cat([part[span.start : span.stop] for span in spans for part in own])
            brought = [node for nodes in level.nodes_by_place for node in nodes]
            received = sent.new_empty(len(brought) * mine)
            sizes = [len(own) * len(span) for span in spans]
            yield from self._sent(number, received, sent, sizes, [len(nodes) * mine for nodes in level.nodes_by_place])
            pieces = dict(zip(brought, received.split([mine] * len(brought)), strict=True))
            parts = {node: folded(pieces, node, torch.Tensor.add_) for node in level.nodes}
            lengths.append(mine)
        (found,) = parts.values()
        for number in reversed(range(len(self._levels))):
            spans = chunks(lengths[number], len(self._levels[number].nodes_by_place))
            received = total if number == 0 else total.new_empty(lengths[number])
            yield from self._sent(
                number, received, found.repeat(len(spans)), [len(found)] * len(spans), list(map(len, spans))
            )
            found = received

    def _sent(
        self, number: int, received: torch.Tensor, sent: torch.Tensor, sizes: list[int], lengths: list[int]
    ) -> Iterator[None]:
        level = self._levels[number]
        self.sent_numbers[number] += len(sent) - sizes[level.place]
        waiting = self._ranks.begin_exchange(received, sent, sizes, lengths, level.group)
        yield
        with self._ranks.speaking():
            waiting.wait()

    def _fastest(self, parts: Parts, total: torch.Tensor) -> Iterator[None]:
        first, *others = parts.values()
        total.copy_(first)
        for other in others:
            total += other
        waiting = self._ranks.begin_add_up(total)
        yield
        with self._ranks.speaking():
            waiting.wait()


def levels_of(ranks: Ranks, num_lanes: int) -> list[Level]:
    """Among all processes at once; of several machines, within each one first, then between them."""
    world_size = ranks.world_size
    lanes_by_rank = [lanes_of(rank, world_size, num_lanes) for rank in range(world_size)]
    nodes_by_rank = tuple(subtrees(lanes, num_lanes) for lanes in lanes_by_rank)
    root = (range(num_lanes),)
    if not ranks.machines:
        return [Level(place=ranks.rank, nodes_by_place=nodes_by_rank, nodes=root)]
    each = ranks.local_world_size
    lanes_by_machine = [
        range(lanes_by_rank[start].start, lanes_by_rank[start + each - 1].stop) for start in range(0, world_size, each)
    ]
    nodes_by_machine = tuple(subtrees(lanes, num_lanes) for lanes in lanes_by_machine)
    machine = ranks.rank // each
    within = Level(
        place=ranks.local_rank,
        nodes_by_place=nodes_by_rank[machine * each : (machine + 1) * each],
        nodes=nodes_by_machine[machine],
        group=ranks.machines.within,
    )
    between = Level(place=machine, nodes_by_place=nodes_by_machine, nodes=root, group=ranks.machines.between)
    return [within, between]
