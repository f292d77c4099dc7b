"""The images a run was made of, found again: those that it held out, by its own record.

A run keeps no images but a few small pictures. What compares other images with them opens the source that the run
names, where that lies on this machine, or the one that a person names now.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.addresses import shown
from ..core.errors import CheckpointError, DataError, UsageError, counted, printable, storable
from ..core.in_memory import is_given
from ..core.task import ONE_LABEL, Task
from ..data.joined import open_joined
from ..data.labels import labels_of
from ..data.scan import channels_of, scan_source
from ..data.source import GIVEN_SOURCES, DataSource, open_source
from ..runs.added_file import read_added
from ..runs.evaluation_files import read_verdict
from ..runs.manifest import Manifest
from ..runs.names import CONFIG, FOLDS
from ..runs.seen import read_seen
from .resume_references import is_followed
from .run_directory import RunFolder


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The images `index_N` of `source` that a run was judged on, with `label_N` in the order of the run's classes.

    `digests` are those of their pixels: an image that has another one was changed."""

    source: DataSource
    index_N: np.ndarray
    label_N: np.ndarray
    digests: frozenset[bytes]


def run_folder(run: Path) -> Path:
    """The run directory that `run`, itself or a checkpoint in it, belongs to. Raises CheckpointError."""
    for folder in (run, run.parent):
        if (folder / CONFIG).is_file():
            return folder
    raise CheckpointError(
        f"{printable(str(run))} is a checkpoint without its run: there is no {CONFIG} that names its images.\n"
        f"Give the folder that 'saccade train' printed."
    )


def places_of(run: Path, given: str) -> tuple[str, ...]:
    """The texts of the sources that the images of the run directory `run` lie in: one, the `given` one where there is
    one, or of a run that `add-class` made the first run's and all that were added."""
    if given:
        return (given,)
    return read_added(run) or (RunFolder(path=run, resume=True).load_config().source,)


def own_source(run: Path, given: str, classes: Sequence[str], task: Task = ONE_LABEL) -> DataSource:
    """The source of the run directory `run` that knows `classes` and asks for what `task` does, or the one that was
    `given` in its place. Raises UsageError, DataError."""
    several = task.kind != ONE_LABEL.kind
    if given:
        source = open_source(given, several=several, target=task.target)
        _refuse_other_task(source, task, run)
        return source
    places = places_of(run, given)
    for place in places:
        _refuse_unfollowed(run, place)
    try:
        source = open_source(places[0], several=several, target=task.target)
        return open_joined(source, places[1:], classes) if places[1:] else source
    except DataError as error:
        raise DataError(
            f"The images of {printable(str(run))} cannot be opened: {error.message.splitlines()[0]}\n"
            f"If they lie elsewhere now, say where: --source SOURCE."
        ) from None


def _refuse_other_task(source: DataSource, task: Task, run: Path) -> None:
    if task == ONE_LABEL:
        source.task.refuse_unknown("--source")
    elif source.task.kind != task.kind:
        raise UsageError(
            f"--source has {_kind_words(source.task)} for an image, and {printable(str(run))} learned "
            f"{_kind_words(task)}.\n"
            f"Give the images that the run learned from, with their labels as they were."
        )


def _kind_words(task: Task) -> str:
    return f"a {task.kind}" if task.target else task.kind


def _refuse_unfollowed(run: Path, place: str) -> None:
    """Raise UsageError where a source that a run names is not opened unasked."""
    if is_given(place) and GIVEN_SOURCES.find(place) is None:
        raise UsageError(
            f"The run {printable(str(run))} was trained on images given from Python: {shown(place)}.\n"
            f"Say where its images lie: --source SOURCE."
        )
    if not is_followed(place):
        raise UsageError(
            f"The run {printable(str(run))} reads its images from '{shown(place)}'.\n"
            f"A run from somebody else may name any place, so only paths on this machine are opened unasked.\n"
            f"If you want that one, name it: --source SOURCE."
        )


def held_out_images(run: Path, manifest: Manifest, given: str, num_threads: int) -> HeldOut:
    """The images that the run directory `run` was judged on and did not learn from. Raises CheckpointError, DataError.

    They are found by place and name; where the listing has changed, by the pixels of all images of the source.
    """
    judged = read_verdict(run, manifest.classes, manifest.task)
    seen = read_seen(run)
    where = printable(str(run))
    if judged is None or seen is None:
        what = "it has not been judged" if judged is None else "nothing says which images it was trained on"
        raise CheckpointError(f"The held-out images of {where} are not known: {what}.\nGive a finished run.")
    verdict, outputs = judged
    if verdict.kind == "training" or verdict.split == "train":
        raise CheckpointError(
            f"{where} held no images out, so nothing says how its network sees images that it did not learn from.\n"
            f"Train with a test part, or hold some out with --set split.test_fraction=0.2."
        )
    if verdict.split == FOLDS:
        raise UsageError(
            f"{where} learned from all its images; its folds judged it, and it held none out.\n"
            f"Ask a run of a fold, which held its images out: {where}/{FOLDS}/fold-1."
        )
    part = 2 if verdict.split == "test" else 1
    digests = frozenset(row.tobytes() for row in seen.pixels_NB[seen.part_N == part])
    source = own_source(run, given, manifest.classes, manifest.task)
    _refuse_unknown_classes(source, manifest, where)
    index_N = outputs.index_N
    is_as_before = index_N.min() >= 0 and index_N.max() < len(source)
    if not is_as_before or any(
        storable(source.record(int(index)).key) != key for index, key in zip(index_N, verdict.keys, strict=True)
    ):
        pixels = manifest.preprocessing
        scan = scan_source(source, num_threads, "skip", white=pixels.white_16_bit, channels=channels_of(pixels))
        index_N = scan.good_N[[scan.pixel_digest_N[index].tobytes() in digests for index in scan.good_N]]
    if not len(index_N):
        raise DataError(
            f"{printable(source.name)} has none of the images that {where} was judged on.\n"
            f"Say where they lie: --source SOURCE."
        )
    label_N = _own_labels(source, index_N, manifest)
    return HeldOut(source=source, index_N=index_N, label_N=label_N, digests=digests)


@dataclass(frozen=True, kw_only=True)
class OwnParts:
    """The images of `source` that a run learned from, `train_N`, and those that chose its epoch and are no copies of
    these, `validation_N`, with `label_N` in the order of the run's classes."""

    source: DataSource
    train_N: np.ndarray
    validation_N: np.ndarray
    label_N: np.ndarray


def own_parts(run: Path, manifest: Manifest, given: str, num_threads: int) -> OwnParts:
    """Both parts of the run directory `run`, found by the pixels of all images of its source, or of the one that was
    `given`. Raises CheckpointError, DataError, UsageError."""
    seen = read_seen(run)
    where = printable(str(run))
    if seen is None:
        raise CheckpointError(
            f"The training images of {where} are not known: it keeps no record of them.\nTrain it again."
        )
    source = own_source(run, given, manifest.classes, manifest.task)
    _refuse_unknown_classes(source, manifest, where)
    pixels = manifest.preprocessing
    scan = scan_source(source, num_threads, "skip", white=pixels.white_16_bit, channels=channels_of(pixels))
    trained = {row.tobytes() for row in seen.pixels_NB[seen.part_N == 0]}
    is_trained_N = np.array([row.tobytes() in trained for row in scan.pixel_digest_N], dtype=bool)
    train_N = scan.good_N[is_trained_N[scan.good_N]]
    if not len(train_N):
        raise DataError(
            f"{printable(source.name)} has none of the images that {where} was trained on.\n"
            f"Say where they lie: --source SOURCE."
        )
    validation_N = scan.good_N[seen.only_chose(scan)[scan.good_N]]
    label_N = _own_labels(source, validation_N, manifest)
    return OwnParts(source=source, train_N=train_N, validation_N=validation_N, label_N=label_N)


def _own_labels(source: DataSource, index_N: np.ndarray, manifest: Manifest) -> np.ndarray:
    """The labels of the images in the order of the run's classes, int64 (N,), of several (N, K) of 0 and 1; numbers as
    they are, float64. Raises DataError where they are of another kind by now."""
    task = manifest.task
    if source.task.kind != task.kind:
        raise DataError(
            f"{printable(source.name)} has {_kind_words(source.task)} for an image now, and the run learned "
            f"{_kind_words(task)}.\nGive the labels as they were: --source SOURCE."
        )
    label_N = labels_of(source, index_N)
    if task.is_number:
        return label_N
    order_S = np.array([manifest.classes.index(name) for name in source.classes], np.int64)
    if task.is_several:
        own_NK = np.zeros((len(label_N), len(manifest.classes)), np.int64)
        own_NK[:, order_S] = label_N
        return own_NK
    own_N: np.ndarray = order_S[label_N]
    return own_N


def refuse_changed(num_changed: int, source: DataSource, run: Path) -> None:
    """Raise DataError where images are not those that the run was judged on any more."""
    if num_changed:
        raise DataError(
            f"{counted(num_changed, 'image')} of {printable(source.name)} {'is' if num_changed == 1 else 'are'} not "
            f"what {printable(str(run))} was judged on: changed since then.\n"
            f"Put them back, or say where they lie: --source SOURCE."
        )


def _refuse_unknown_classes(source: DataSource, manifest: Manifest, where: str) -> None:
    unknown = [name for name in source.classes if name not in manifest.classes and not manifest.task.is_number]
    if unknown:
        raise DataError(
            f"{printable(source.name)} has the class '{printable(unknown[0])}', which {where} does not know: it is not "
            f"the set that the run was judged on.\nSay where that lies: --source SOURCE."
        )
