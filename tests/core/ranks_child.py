"""One of the processes of `test_ranks.py`: does what its argument says, and prints what it heard as JSON."""

import json
import os
import signal
import sys
import time

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
    sent = torch.cat([torch.full((lengths[rank][target],), 10.0 * rank + target) for target in range(world_size)])
    came = [lengths[source][rank] for source in range(world_size)]
    received, added = torch.empty(sum(came)), torch.tensor([1.0, float(rank)])
    waiting = [ranks.begin_exchange(received, sent, lengths[rank], came), ranks.begin_add_up(added)]
    for work in waiting:
        work.wait()
    heard |= {"exchanged": received.tolist(), "added": added.tolist()}
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


def refusal(ranks: Ranks, error: SaccadeError | None, patiently: bool = False) -> list[object]:
    try:
        ranks.agree(error, patiently)
    except SaccadeError as told:
        return [type(told).__name__, told.exit_code, told.message]
    return []


def loses_one(ranks: Ranks, number: int, patiently: bool) -> dict[str, object]:
    """The last process sends itself a signal in front of the second call."""
    ranks.gather(b"all there", patiently=True)
    if ranks.rank == ranks.world_size - 1:
        os.kill(os.getpid(), number)
    try:
        if patiently:
            ranks.gather(b"it never comes", patiently=True)
        with ranks.speaking():
            sent = torch.ones(200_000)
            ranks.begin_exchange(torch.empty_like(sent), sent, [100_000] * 2, [100_000] * 2).wait()
    except SaccadeError as error:
        return {"type": type(error).__name__, "message": error.message, "exit code": error.exit_code}
    return {}


def works_long(ranks: Ranks) -> dict[str, object]:
    """The last process works for longer than a silent one would be waited for, and after that it ends early."""
    if ranks.rank == 1:
        time.sleep(1.5 * float(sys.argv[2]))
    heard: dict[str, object] = {"heard": [part.decode() for part in ranks.gather(b"done", patiently=True)]}
    if ranks.rank == 0:
        heard["refusal"] = refusal(ranks, None, patiently=True)
    return heard


def main() -> None:
    what, _, how = sys.argv[1].partition(" ")
    torch.set_num_threads(1)
    with joined_group(timeout_s=float(sys.argv[2])) as ranks:
        if what == "everything":
            heard = everything(ranks)
        elif what == "long":
            heard = works_long(ranks)
        else:
            heard = loses_one(ranks, getattr(signal, what), how == "patiently")
        print(json.dumps(heard), flush=True)


if __name__ == "__main__":
    main()
