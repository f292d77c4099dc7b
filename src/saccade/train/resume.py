"""Going on with a run: what was saved last is put back, and nothing that was kept is lost."""

from pathlib import Path

from ..core.agreement import from_first
from ..core.errors import CheckpointError, ConfigError, counted, printable
from ..runs.checkpoint import Checkpoint, settle_checkpoint
from ..runs.manifest import Manifest
from ..runs.names import BEST, CONFIG, LAST, MANIFEST, STATE
from .config import RunConfig
from .prepare import Images
from .progress import RunProgress
from .resume_images import other_images
from .run_directory import RunFolder
from .state import Cursor, restore_training, take_training, training_bytes
from .step import TrainingStep


def resume(training: TrainingStep, folder: RunFolder, images: Images, progress: RunProgress) -> Cursor | None:
    """Where the run in `folder` was saved last, with `training` put back there; None, which is said, if nowhere.

    The first process of a run reads, and tells the others: what they see of a shared folder may be older.
    Raises CheckpointError where the images have changed.
    """
    found: list[Cursor | None] = []

    def read() -> bytes:
        found.append(_resume_here(training, folder, images, progress))
        return b"" if training.runtime.ranks.is_alone else training_bytes(training, found[0])

    content = from_first(training.runtime.ranks, read)
    return found[0] if found else take_training(training, content)


def _resume_here(training: TrainingStep, folder: RunFolder, images: Images, progress: RunProgress) -> Cursor | None:
    """`resume` in the process that reads."""
    checkpoint, problems = settle_checkpoint(folder.path / LAST, keep_previous=True)
    best, best_problems = settle_checkpoint(folder.path / BEST)
    for problem in problems:
        progress.note(problem)
    if checkpoint is None:
        _refuse_lost_state(folder.path, best, progress)
        return None
    try:
        cursor = Cursor.parse(checkpoint.manifest.training, f"{printable(str(checkpoint.folder / MANIFEST))}, training")
    except ConfigError as error:
        raise CheckpointError(error.message) from None
    if cursor.best_epoch and best is None:
        raise CheckpointError(
            f"{best_problems[0] if best_problems else printable(str(folder.path / BEST)) + ' is not there.'}\n"
            f"It kept epoch {cursor.best_epoch}, the best so far. Put the folder back from a copy, or start a new run "
            f"with another --out; {printable(str(checkpoint.folder))} is whole and can be used as it is."
        )
    if cursor.data_digest != images.digest() and not images.begun:
        raise other_images(training.config, folder.path)
    weights, state = checkpoint.load_weights_of(training.judged_model), checkpoint.load_state()
    try:
        restore_training(training, cursor, weights, state)
    except CheckpointError as error:
        raise CheckpointError(f"{printable(str(checkpoint.folder / STATE))}: {error.message}") from None
    _tell_changes(training, folder, checkpoint.manifest, progress)
    if cursor.finished or cursor.epoch >= training.config.epochs:
        progress.note(finished_words(training.config, cursor.epoch))
        return cursor
    progress.note(f"going on after step {cursor.step} (epoch {cursor.epoch + 1}, batch {cursor.batch})")
    return cursor


def finished_words(config: RunConfig, num_epochs: int) -> str:
    """Message shown when a finished run is resumed."""
    return (
        f"this run is finished ({counted(num_epochs, 'epoch')}) and is judged again; "
        f"for more epochs, begin a new one: --epochs {2 * config.epochs} and another --out"
    )


def _refuse_lost_state(run_dir: Path, best: Checkpoint | None, progress: RunProgress) -> None:
    """Without a saved state the run begins again, which is said, unless it would lose the weights that were kept."""
    if best is not None and best.manifest.epoch > 1:  # the first epoch's are saved before any state is
        raise CheckpointError(
            f"No saved state of {printable(str(run_dir))} can be read, so it cannot be gone on with.\n"
            f"The weights of epoch {best.manifest.epoch}, its best, are whole: use them as they are, or start a new "
            f"run with another --out."
        )
    progress.note("no saved state of the run can be read; it begins again from its first step")


def _tell_changes(training: TrainingStep, folder: RunFolder, manifest: Manifest, progress: RunProgress) -> None:
    """A run's bits depend on device, precision and number of threads, and on a file that a person can edit."""
    before, now = manifest.origin.device, training.runtime.describe()
    if before and before != now:
        progress.note(
            f"the run was saved on: {printable(str(before))}; it goes on on: {now}. "
            f"What follows may differ in the last digits from a run that was never stopped"
        )
    digest = manifest.origin.config_digest
    if training.config.verb == "train" and digest and folder.load_config().digest() != digest:
        progress.note(
            f"{CONFIG} is not what the run was saved with: it was edited, or Saccade or a plug-in of it changed. "
            f"The run goes on with what the file says now"
        )
