"""Which lanes a run has, settled when it begins, and whether so many processes can share them."""

from ..core.errors import ConfigError, UsageError, counted
from ..core.ranks import Ranks
from ..core.runtime import Runtime
from .config import RunConfig
from .lanes import usual_lanes
from .run_directory import RunFolder


def settle_lanes(config: RunConfig, runtime: Runtime) -> RunConfig:
    """`config` of a run that begins now, as it is stored: the number of its lanes where none was asked for, and, since
    the bits of several depend on it, the threads of a process. Raises ConfigError."""
    world_size = runtime.ranks.world_size
    usual = usual_lanes(world_size, config.batch_size) if config.scale.exact else world_size
    usual = 1 if config.split.folds else usual  # a run for use is computed as its folds were, in one process each
    lanes = config.scale.lanes or usual
    if lanes == 1:
        return config
    if config.batch_size < 2 * lanes:
        raise ConfigError(
            f"{world_size} processes share every batch in {lanes} lanes of two images or more, and batch_size is "
            f"{config.batch_size}.\nTake --set batch_size={2 * lanes}, or fewer processes."
        )
    found = {
        "scale": config.scale.model_copy(update={"lanes": lanes}),
        "runtime": config.runtime.model_copy(update={"num_threads": runtime.num_threads}),
    }
    return config.model_copy(update=found)


def keep_lanes(config: RunConfig, folder: RunFolder) -> RunConfig:
    """`config` of a run that goes on in `folder`, with the lanes and threads that were settled when it began there: the
    plan of an ensemble, which its members go on by, does not know them."""
    begun = folder.load_config()
    threads = begun.runtime.num_threads if begun.num_lanes > 1 else config.runtime.num_threads
    found = {
        "scale": config.scale.model_copy(update={"lanes": begun.scale.lanes}),
        "runtime": config.runtime.model_copy(update={"num_threads": threads}),
    }
    return config.model_copy(update=found)


def keep_threads(config: RunConfig, runtime: Runtime) -> RunConfig:
    """`config` of several runs that several processes train side by side, as it is stored: the bits of each depend on
    the threads of its process."""
    ranks = runtime.ranks
    if ranks.is_alone:
        return config
    threads = int(ranks.tell(str(runtime.num_threads).encode(), patiently=True))
    return config.model_copy(update={"runtime": config.runtime.model_copy(update={"num_threads": threads})})


def is_for_the_first(config: RunConfig, ranks: Ranks) -> bool:
    """Whether the first of several processes trains alone, and the others help to judge: so it is where a run with
    folds, which were trained in one process each, has one lane."""
    return config.split.folds > 0 and config.num_lanes == 1 and not ranks.is_alone


def refuse_more_processes(config: RunConfig, ranks: Ranks) -> None:
    """Raise UsageError where more processes were started than the run has lanes."""
    if ranks.world_size <= config.num_lanes or is_for_the_first(config, ranks):
        return
    raise UsageError(
        f"The run computes every batch in {counted(config.num_lanes, 'lane')}, and {ranks.world_size} processes cannot "
        f"share that: each needs a lane.\n"
        f"Start {config.num_lanes} at most, or begin a new run with another --out."
    )
