"""A network that a caller gives beside runs: that of a run which was trained with one from Python."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from torch import nn

from ..core.errors import UsageError, printable
from ..core.in_memory import is_given
from ..models.network_in_memory import known_network
from ..runs.checkpoint import find_checkpoint


@contextmanager
def network_of_runs(given: nn.Module | None, runs: Sequence[Path]) -> Iterator[None]:
    """`given` is known in the enclosed work. Raises UsageError where no run of `runs` was trained with one."""
    if given is not None:
        names = [find_checkpoint(run).manifest.model for run in runs]
        if not any(map(is_given, names)):
            raise UsageError(
                f"{printable(str(runs[0]))} is a run of {printable(names[0])}, which its files say how to build; "
                f"'model' is for a run that was trained with a network from Python.\nLeave 'model' out."
            )
    with known_network(given):
        yield
