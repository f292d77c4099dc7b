"""Which lanes a run has, settled when it begins, and whether so many processes can share them."""

from ..core.errors import UsageError, counted
from ..core.ranks import Ranks
from ..core.runtime import Runtime
from .config import RunConfig
from .lanes import usual_lanes


def settle_lanes(config: RunConfig, runtime: Runtime) -> RunConfig:
    """`config` of a run that begins now, as it is stored: the number of its lanes where none was asked for, and, since
    the bits of several depend on it, the threads of a process. Raises ConfigError and UsageError."""
    ranks = runtime.ranks
    lanes = config.scale.lanes or (usual_lanes(ranks.world_size, config.batch_size) if config.scale.exact else 0)
    lanes = lanes or ranks.world_size
    if lanes == 1:
        return config
    settings = [f"scale.lanes={lanes}", f"runtime.num_threads={runtime.num_threads}"]
    return config.with_overrides(settings)


def refuse_more_processes(config: RunConfig, ranks: Ranks) -> None:
    """Raise UsageError where more processes were started than the run has lanes."""
    if ranks.world_size <= config.num_lanes:
        return
    raise UsageError(
        f"The run computes every batch in {counted(config.num_lanes, 'lane')}, and {ranks.world_size} processes cannot "
        f"share that: each needs a lane.\n"
        f"Start {config.num_lanes} at most, or begin a new run with another --out."
    )
