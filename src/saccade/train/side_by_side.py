"""Several runs of one command side by side: each is trained in one process by itself, as it would be without others.

So its bits are those of a run of one process with as many threads, whichever process it falls to.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from ..core.agreement import from_first
from ..core.apart import apart
from ..core.errors import Stopped, printable
from ..core.ranks import Ranks, on_its_own
from .config import RunConfig
from .resume_references import resume_command
from .stop import StopSignal, request_stop

TrainOne = Callable[[int, Sequence[int]], str]  # trains a run of those that fall to this process; what it came to


def train_side_by_side(
    ranks: Ranks, numbers: Sequence[int], is_finished: Callable[[int], bool], train_one: TrainOne
) -> dict[int, str]:
    """Train those of the runs `numbers` that are not finished, by the processes there are; what each came to, by its
    number.

    An error or a stop of one ends all, with everything saved. Raises what `train_one` raises, GroupError, Stopped.
    """
    waiting = json.loads(
        from_first(ranks, lambda: json.dumps([number for number in numbers if not is_finished(number)]).encode())
    )
    own = waiting[ranks.rank :: ranks.world_size]

    def work(check: Callable[[], None]) -> dict[int, str]:
        came = {}
        for number in own:
            check()
            with on_its_own():
                came[number] = train_one(number, own)
        return came

    if ranks.is_alone:
        return work(lambda: None)
    with StopSignal() as stop:
        came = apart(ranks, work, stop.check, request_stop)
    found: dict[int, str] = {}
    for content in ranks.gather(json.dumps(came).encode(), patiently=True):
        found |= {int(number): text for number, text in json.loads(content).items()}
    return dict(sorted(found.items()))


def stopped_together(config: RunConfig, path: Path, error: Stopped) -> Stopped:
    """What is said where another process was stopped, and so all runs in `path`."""
    where = printable(str(path))
    told = Stopped(f"Stopped; everything is saved in {where}.\nGo on with: {resume_command(config, path)}")
    told.exit_code, told.is_agreed = error.exit_code, error.is_agreed
    return told
