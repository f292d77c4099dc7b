"""What qualifies the figure of a run: how its images were divided, which could not be used, which were few."""

from pathlib import Path

from ..core.errors import CheckpointError, printable
from ..core.task import images_a_class
from ..data.left_out import left_out_caveats
from ..runs.log import read_events
from ..runs.names import METRICS_LOG
from .prepare import Images

JUDGED_ON_SEEN = {
    "test": (),
    "validation": ("These images also chose the epoch kept: the figure flatters a little.",),
    "folds": (),
    "train": ("No image could be held out: this is the accuracy on the training images themselves.",),
}
FEW_TO_TRAIN = 10


def data_caveats(images: Images, split: str, chose_epoch: bool = True) -> tuple[str, ...]:
    """What qualifies every figure of the images of `split`, one of SPLITS or "folds"; `chose_epoch`: validation did."""
    seen = () if split == "validation" and not chose_epoch else JUDGED_ON_SEEN[split]
    found = [*seen, *images.caveats, *left_out_caveats(images.scan.bad)]
    is_told = images.task.is_one and not images.task.is_number  # the figures say which classes they know nothing of
    found += [note for note in images.split.notes if not (is_told and note.startswith(f"no {split} image of:"))]
    if images.task.is_number:
        num = len(images.split.train_N)
        return (*found, f"There are fewer than {FEW_TO_TRAIN} training images.") if num < FEW_TO_TRAIN else tuple(found)
    count_K = images_a_class(images.labels(images.split.train_N).numpy(), len(images.classes))
    few = [printable(name) for name, count in zip(images.classes, count_K, strict=True) if count < FEW_TO_TRAIN]
    if few:
        more = f" and {len(few) - 5} more" if len(few) > 5 else ""
        found.append(f"Fewer than {FEW_TO_TRAIN} training images of {', '.join(repr(name) for name in few[:5])}{more}.")
    return tuple(found)


def loss_caveats(run_dir: Path, num_lost: int) -> tuple[str, ...]:
    """What became unreadable, or was changed, while the run went on, and was left out: `num_lost` to be judged on."""
    found: list[str] = []
    try:
        events = list(read_events(run_dir / METRICS_LOG))
    except CheckpointError:  # told by the report; the weights are not concerned
        events, found = [], [f"Whether files were left out during training is unknown: {METRICS_LOG} is damaged."]
    keys = {str(event.get("key")) for event in events if event.get("event") == "dropped"}
    if keys:
        files = "1 file" if len(keys) == 1 else f"{len(keys):,} files"
        verb = "was" if len(keys) == 1 else "were"
        found.append(f"{files} could not be read any more, or had changed, and {verb} left out during training.")
    if num_lost:
        images = "1 image" if num_lost == 1 else f"{num_lost:,} images"
        found.append(f"{images} to be judged on could not be read any more, or had changed.")
    return tuple(found)
