"""One of the processes of `test_ranks.py`: does what its argument says, and prints what it heard as JSON."""

import json
import os
import signal
import sys

import torch

from saccade.core.errors import DataError, SaccadeError, Stopped
from saccade.core.ranks import Ranks, current_ranks, is_launched, joined_group


def everything(ranks: Ranks) -> dict[str, object]:
    rank, world_size = ranks.rank, ranks.world_size
    heard: dict[str, object] = {
        "who": [rank, world_size, ranks.local_rank, ranks.local_world_size, ranks.is_first, ranks.is_alone],
        "current": current_ranks() is ranks,
        "launched": is_launched(),
        "gathered": [part.decode() for part in ranks.gather(b"x" * rank)],
        "patiently": [part.decode() for part in ranks.gather(f"{rank}".encode(), patiently=True)],
        "nothing": [part.decode() for part in ranks.gather(b"")],
        "told": [ranks.tell(f"by {rank}".encode() * 1000).decode()[:4], ranks.tell(b"", patiently=True).decode()],
        "rows": ranks.gather_rows(torch.tensor([rank + 0.5, -rank], dtype=torch.float64)).tolist(),
    }
    # Process r sends s + 1 numbers to process s, none to itself where it is the last, and nothing comes short.
    lengths = [
        [0 if source == target == world_size - 1 else target + 1 for target in range(world_size)]
        for source in range(world_size)
    ]
    parts = [torch.full((lengths[rank][target],), 10.0 * rank + target) for target in range(world_size)]
    heard["exchanged"] = ranks.exchange(parts, [lengths[source][rank] for source in range(world_size)]).tolist()
    heard["added"] = ranks.add_up(torch.tensor([1.0, float(rank)])).tolist()
    ranks.agree(None)
    heard["one failed"] = refusal(ranks, DataError("the disk is gone\nlook at it") if rank == 1 else None)
    heard["two failed"] = refusal(ranks, DataError(f"{rank}") if rank else None)
    heard["one stopped"] = refusal(ranks, stopped() if rank == 2 else None)
    ranks.agree(None, patiently=True)
    return heard


def stopped() -> Stopped:
    error = Stopped("")
    error.exit_code = 143
    return error


def refusal(ranks: Ranks, error: SaccadeError | None) -> list[object]:
    try:
        ranks.agree(error)
    except SaccadeError as told:
        return [type(told).__name__, told.exit_code, told.message]
    return []


def loses_one(ranks: Ranks, number: int) -> dict[str, object]:
    """The last process sends itself a signal in front of the second call."""
    ranks.gather(b"all there")
    if ranks.rank == ranks.world_size - 1:
        os.kill(os.getpid(), number)
    try:
        ranks.exchange([torch.ones(100_000)] * ranks.world_size, [100_000] * ranks.world_size)
    except SaccadeError as error:
        return {"type": type(error).__name__, "message": error.message, "exit code": error.exit_code}
    return {}


def main() -> None:
    what = sys.argv[1]
    torch.set_num_threads(1)
    with joined_group(timeout_s=float(sys.argv[2])) as ranks:
        heard = everything(ranks) if what == "everything" else loses_one(ranks, getattr(signal, what))
        print(json.dumps(heard), flush=True)
        if what != "everything":
            os._exit(0)  # what is left of the group cannot be taken down together


if __name__ == "__main__":
    main()
