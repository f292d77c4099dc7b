"""One of the processes of `test_machines.py`: adds up what lanes give, and says how much of it went where."""

import json
from dataclasses import replace

import torch

from saccade.core.ranks import Ranks, joined_group
from saccade.train.exchange import Exchange
from saccade.train.lanes import TreeSum, folded, lanes_of

LENGTH = 1201


def lane_vector(lane: int) -> torch.Tensor:
    return torch.randn(LENGTH, generator=torch.Generator().manual_seed(lane)) * 10.0**lane


def sums(ranks: Ranks, num_lanes: int) -> dict[str, object]:
    """Whether the sums over so many lanes are those of one process, and the numbers sent at each level."""
    exchange = Exchange(ranks, num_lanes, exact=True)
    tree = TreeSum[torch.Tensor](num_lanes, torch.add)
    for lane in lanes_of(ranks.rank, ranks.world_size, num_lanes):
        tree.take(lane, lane_vector(lane))
    found = torch.empty(LENGTH)
    for where in (slice(0, LENGTH // 3), slice(LENGTH // 3, LENGTH)):
        exchange.begin({node: part[where] for node, part in tree.parts.items()}, found[where])
    exchange.finish()
    parts = {range(lane, lane + 1): lane_vector(lane) for lane in range(num_lanes)}
    expected = folded(parts, range(num_lanes), torch.add)
    return {"equal": torch.equal(found, expected), "sent": exchange.sent_numbers}


def main() -> None:
    torch.set_num_threads(1)
    with joined_group(60.0) as ranks:
        levels = {num_lanes: sums(ranks, num_lanes) for num_lanes in (4, 5, 8, 13)}
        flat = {num_lanes: sums(replace(ranks, machines=None), num_lanes) for num_lanes in (4, 5, 8, 13)}
        print(json.dumps({"machines": ranks.machines is not None, "levels": levels, "flat": flat}), flush=True)


if __name__ == "__main__":
    main()
