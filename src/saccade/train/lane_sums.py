"""What the lanes of a process give is added up as they are computed, and goes out while its last one still is.

A hook on each parameter tells when the backward pass of that lane is through with it. The vector is cut into stretches
from its end, where the last layers lie, whose gradients come first. A stretch that is complete is added to those of the
lanes before, and sent. All processes begin the same stretches in the same order, also one that has failed on the way:
it sends whatever lies there, and nobody takes the step.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from .exchange import Exchange
from .lanes import TreeSum, subtrees
from .reduce import LaneVector


class LaneSums:
    """Of one step. `exchange` is None where one process computes all lanes."""

    def __init__(self, vector: LaneVector, lanes: range, num_lanes: int, exchange: Exchange | None) -> None:
        self._vector, self._lanes, self._num_lanes, self._exchange = vector, lanes, num_lanes, exchange
        self._tree = TreeSum[torch.Tensor](num_lanes, vector.add)
        self._last: torch.Tensor | None = None
        self._total: torch.Tensor | None = None
        self._num_begun = 0
        self._num_waiting = [len(stretch.parameters) for stretch in vector.stretches]

    @contextmanager
    def watched(self, lane: int, is_last_part: bool) -> Iterator[None]:
        """In the enclosed backward pass of `lane`, or of a part of it, what is complete goes out."""
        if self._exchange is None or lane != self._lanes[-1] or not is_last_part:
            yield
            return
        self._last = self._vector.empty()
        handles = [parameter.register_post_accumulate_grad_hook(self._arrived) for parameter in self._vector.parameters]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def take(self, lane: int) -> None:
        """Add what `lane`, the next one, has left in the network, which has no gradients then."""
        if self._exchange is None or lane != self._lanes[-1]:
            self._tree.take(lane, self._vector.take())
            return
        self._begin(len(self._vector.stretches))
        self._vector.forget_gradients()

    def finish(self) -> None:
        """Wait until all processes have sent theirs."""
        if self._exchange is not None:
            self._begin(len(self._vector.stretches))
            self._exchange.finish()

    @property
    def total(self) -> torch.Tensor:
        """The sum over all lanes, behind `finish`; of a step in which any process has failed it means nothing."""
        return self._tree.parts[range(self._num_lanes)] if self._total is None else self._total

    def forget(self) -> None:
        """Nobody reads the sums any more: their memory serves the next step."""
        vectors = [*self._tree.parts.values(), self._last, self._total]
        self._vector.forget([vector for vector in vectors if vector is not None])

    def _arrived(self, parameter: nn.Parameter) -> None:
        self._num_waiting[self._vector.stretch_of(parameter)] -= 1
        last = len(self._num_waiting) - 1  # it says which parameters have a gradient, and waits for all
        self._begin(next((number for number in range(last) if self._num_waiting[number]), last))

    @torch.no_grad()
    def _begin(self, end: int) -> None:
        """Send the stretches in front of number `end`, those that were not sent."""
        if self._exchange is None:
            return
        self._last = self._vector.empty() if self._last is None else self._last
        self._total = self._vector.empty() if self._total is None else self._total
        while self._num_begun < end:
            stretch = self._vector.stretches[self._num_begun]
            self._vector.fill(self._last, stretch)
            tree = TreeSum[torch.Tensor](self._num_lanes, torch.Tensor.add_)
            tree.parts = {node: part[stretch.where] for node, part in self._tree.parts.items()}
            tree.take(self._lanes[-1], self._last[stretch.where])
            nodes = subtrees(self._lanes, self._num_lanes)
            has_failed = tuple(tree.parts) != nodes
            parts = {node: self._last[stretch.where] for node in nodes} if has_failed else tree.parts
            self._exchange.begin(parts, self._total[stretch.where])
            self._num_begun += 1
