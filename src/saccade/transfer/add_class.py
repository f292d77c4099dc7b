"""A class is added to a run: its features are kept as they are, and a last layer is fitted to all classes.

Images of the run keep the part they had (train, validation, test), by the run's own record, so that none it learned
from is judged on; those of the new classes are dealt out as ever. Then it is a transfer from the run's weights with
everything frozen, into a new run directory: features that were kept before are found again. How the classes that were
there have changed is told by the same held-out images, before and after.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..classify.classifier import Classifier, Member, join_members, open_member
from ..classify.judge import pass_over
from ..core.display import Displayed
from ..core.errors import CheckpointError, DataError, Stopped, UsageError, counted, printable
from ..core.runtime import RuntimeConfig, start
from ..core.types import SPLITS
from ..data.joined import JoinedSource
from ..data.loading.unchanged import Unchanged
from ..data.scan import ScanReport, channels_of, scan_source
from ..data.source import GIVEN_SOURCES
from ..data.split import deal_out, split_into
from ..evaluate.significance import Comparison, compare_answers, comparison_sentence
from ..models.surgery import ALL
from ..runs.added_file import write_added
from ..runs.checkpoint import find_checkpoint
from ..runs.manifest import Manifest
from ..runs.names import FOLDS
from ..runs.seen import OF_WEIGHTS, Seen, read_seen
from ..train.config import RunConfig
from ..train.own_images import own_source, places_of, run_folder
from ..train.prepare import Images
from ..train.progress import RunProgress
from ..train.run_directory import RunFolder
from .more_classes import open_more
from .request import TransferRequest
from .run import FeatureStore, TransferResult, transfer

BEFORE, AFTER = "the run before", "the new run"
MAX_NAMED = 3


@dataclass(frozen=True, kw_only=True)
class AddClassWork:
    """What is asked: classes from `more` into the run `run`, whose images lie at `source` ("": where they were)."""

    run: Path
    more: str
    source: str
    store: FeatureStore
    settings: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class AddedClasses(Displayed):
    """The transfer that judged all classes, the new ones, and how the old ones changed.

    `comparison` is of the old run and the new one on the held-out images of the old classes, None without any; of each
    old class, `before_K` and `after_K` are how many of its `num_K` held-out images were answered right.
    """

    transfer: TransferResult
    added: tuple[str, ...]
    old: tuple[str, ...]
    comparison: Comparison | None
    num_K: np.ndarray
    before_K: np.ndarray
    after_K: np.ndarray

    def display_lines(self) -> list[str]:
        """The verdict, and what became of the old classes."""
        first, *others = self.transfer.display_lines()
        return [first, self.sentence(), *others]

    def sentence(self) -> str:
        """How the old classes changed, by the same images."""
        names = ", ".join(f"'{printable(name)}'" for name in self.added[:MAX_NAMED])
        more = f" and {len(self.added) - MAX_NAMED} more" if len(self.added) > MAX_NAMED else ""
        added = f"Added: {names}{more}."
        if self.comparison is None:
            return f"{added} No held-out image of the other classes says how they changed."
        told = comparison_sentence(self.comparison, BEFORE, AFTER)
        change_K = self.after_K - self.before_K
        fell = [k for k in np.argsort(change_K, kind="stable").tolist() if change_K[k] < 0][:MAX_NAMED]
        lost = ", ".join(
            f"'{printable(self.old[k])}' {self.before_K[k]} to {self.after_K[k]} of {self.num_K[k]}" for k in fell
        )
        which = "class that was" if len(self.old) == 1 else f"{len(self.old):,} classes that were"
        return f"{added} On the {which} there: {told}" + (f" Fewer right: {lost}." if lost else "")

    def as_json(self) -> dict[str, Any]:
        """What `add-class --json` has besides the keys of `transfer --json`."""
        told = self.comparison
        return {
            "added": list(self.added),
            "old_classes": [
                {"class": name, "num_samples": int(num), "right_before": int(before), "right_after": int(after)}
                for name, num, before, after in zip(self.old, self.num_K, self.before_K, self.after_K, strict=True)
            ],
            "old_classes_change": None
            if told is None
            else {
                "num_samples": told.num_samples,
                "difference": told.difference,
                "low": told.low,
                "high": told.high,
                "p_value": told.p_value,
            },
        }


def add_classes(work: AddClassWork, folder: RunFolder, progress: RunProgress, command: str) -> AddedClasses:
    """Add the classes, into the new run `folder`. Raises SaccadeError; Stopped where nothing of it is kept."""
    is_there = folder.path.is_dir() and any(folder.path.iterdir())
    try:
        return _add(work, folder, progress, command)
    except Stopped as error:  # both sets together are nowhere that a resumed run could open
        if is_there:
            told = f"Stopped; {printable(str(folder.path))} holds a run that is not finished and cannot go on."
            remedy = "Run the command again with another --out"
        else:
            shutil.rmtree(folder.path, ignore_errors=True)
            told, remedy = "Stopped, and nothing of the new run is kept.", "Run the command again"
        found = ": features that were computed are found again." if work.store.folder else "."
        again = Stopped(f"{told}\n{remedy}{found}")
        again.exit_code = error.exit_code
        raise again from None


def _add(work: AddClassWork, folder: RunFolder, progress: RunProgress, command: str) -> AddedClasses:
    if folder.has_run:
        raise CheckpointError(f"{printable(str(folder.path))} already holds a run.\nChoose another place with --out.")
    run = run_folder(work.run)
    manifest = find_checkpoint(work.run).manifest
    begun = RunFolder(path=run, resume=True).load_config()
    if manifest.metrics.get("split") == FOLDS:
        raise UsageError(
            f"{printable(str(run))} learned from all its images; its folds judged it, and it held none out to judge it "
            f"with further classes.\n"
            f"Put all classes into one folder, and train again: saccade transfer FOLDER --folds {begun.split.folds}."
        )
    more = open_more(work.more, manifest.classes, work.run, manifest.task.is_several)
    own = own_source(run, work.source, manifest.classes, manifest.task)
    joined = JoinedSource(own, more, manifest.classes)
    if manifest.task.is_several:
        progress.note(f"images that were there are taken to have none of the new labels: {_names(joined, manifest)}")
    with GIVEN_SOURCES.known(joined.name, joined.digest, joined) as text:
        request = TransferRequest(
            source=text, weights=str(work.run), freeze=ALL, seed=begun.seed, settings=list(work.settings)
        )
        config = _as_begun(request.config(), begun, manifest)
        images = _images(joined, work.run, manifest, begun, config, progress)
        result = transfer(config, folder, work.store, progress, command, images=images)
        write_added(folder.path, (*places_of(run, work.source), work.more))
        added = joined.classes[len(manifest.classes) :]
        return _compared(work.run, result, images, manifest.classes, added, config.runtime)


def _names(joined: JoinedSource, manifest: Manifest) -> str:
    return ", ".join(f"'{printable(name)}'" for name in joined.classes[len(manifest.classes) :][:MAX_NAMED])


def _as_begun(config: RunConfig, begun: RunConfig, manifest: Manifest) -> RunConfig:
    """`config` that reads images as the run does."""
    transfer_ = config.transfer.model_copy(update={"preprocessing": manifest.preprocessing})
    return config.model_copy(update={"transfer": transfer_, "split": begun.split})


def _images(
    joined: JoinedSource,
    run: Path,
    manifest: Manifest,
    begun: RunConfig,
    config: RunConfig,
    progress: RunProgress,
) -> Images:
    """All images, those of the run in the parts that they had."""
    seen = read_seen(run)
    if seen is None:
        raise DataError(
            f"Nothing says which images {printable(str(run))} was trained on, so none could be held out from it.\n"
            f"Train a new run on all classes: saccade transfer SOURCE."
        )
    num_threads = start(config.runtime).num_threads
    pixels = manifest.preprocessing
    scan = scan_source(
        joined, num_threads, config.loader.on_bad_image, progress.scan, pixels.white_16_bit, channels_of(pixels)
    )
    for text in joined.notes:
        progress.note(text)
    parts, num_unknown = _own_parts(joined, scan, seen)
    if not parts[0]:
        raise DataError(
            f"None of the images that {printable(str(run))} was trained on lies in "
            f"{printable(joined.name)}.\nSay where they lie: --source SOURCE."
        )
    num_missing = seen.num_own - len(parts[0]) - len(parts[1])
    if num_missing > 0:
        progress.note(f"{counted(num_missing, 'image')} that the run was trained on, or chose by, can not be found")
    if num_unknown:
        progress.note(f"{counted(num_unknown, 'image')} of the old classes not used: the run has no part for them")
    new_N = scan.good_N[scan.good_N >= joined.num_own]
    fractions = (
        begun.split.test_fraction if parts[2] else 0.0,
        begun.split.validation_fraction if parts[1] else 0.0,
    )
    dealt = deal_out(joined, scan, new_N, config.seed, fractions)
    trained = {row.tobytes() for row in seen.pixels_NB[seen.part_N < SPLITS.index("test")]}
    held_out = [[index for index in part if scan.pixel_digest_N[index].tobytes() not in trained] for part in dealt[1:]]
    if num_known := sum(map(len, dealt[1:])) - sum(map(len, held_out)):
        images = "1 image of the new classes is" if num_known == 1 else f"{num_known:,} images of the new classes are"
        progress.note(f"{images} not used: equal to one that the run has learned from, so not to be held out")
    whole = (parts[0] + dealt[0], parts[1] + held_out[0], parts[2] + held_out[1])
    split = split_into(joined, scan, whole, "as the run had them; new classes dealt out by content")
    for text in split.notes:
        progress.note(text)
    return Images(
        source=Unchanged(joined, scan.bytes_digest_N), scan=scan, split=split, preprocessing=manifest.preprocessing
    )


def _own_parts(
    joined: JoinedSource, scan: ScanReport, seen: Seen
) -> tuple[tuple[list[int], list[int], list[int]], int]:
    """((train, validation, test) of the run's own images, how many others there are). A picture that was in several
    parts is in the first of them."""
    part_of: dict[bytes, int] = {}
    for row, part in zip(seen.pixels_NB, seen.part_N.tolist(), strict=True):
        if part != OF_WEIGHTS:
            part_of[row.tobytes()] = min(part, part_of.get(row.tobytes(), part))
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    num_unknown = 0
    for index in scan.good_N[scan.good_N < joined.num_own].tolist():
        part = part_of.get(scan.pixel_digest_N[index].tobytes())
        if part is None:
            num_unknown += 1
        else:
            parts[part].append(index)
    return parts, num_unknown


def _compared(
    run: Path,
    result: TransferResult,
    images: Images,
    old: tuple[str, ...],
    added: tuple[str, ...],
    runtime: RuntimeConfig,
) -> AddedClasses:
    """`result` with the answers before and after on the held-out images of the old classes."""
    judged_N = images.split.without_copies(images.split.judged_part)
    label_N = images.labels(judged_N).numpy()
    if images.source.task.is_several:
        index_N, rows_NK = judged_N, label_N[:, : len(old)] > 0
    else:
        index_N, label_N = judged_N[label_N < len(old)], label_N[label_N < len(old)]
        rows_NK = np.arange(len(old)) == label_N[:, None]
    num_K = rows_NK.sum(axis=0)
    if images.split.judged_part == "train" or not len(index_N):
        nothing = np.zeros(len(old), np.int64)
        return AddedClasses(
            transfer=result, added=added, old=old, comparison=None, num_K=nothing, before_K=nothing, after_K=nothing
        )
    (right_before, before_NK), (right_after, after_NK) = (
        _right(open_member(path, runtime), images, index_N, rows_NK) for path in (run, result.run.run_dir)
    )
    return AddedClasses(
        transfer=result,
        added=added,
        old=old,
        comparison=compare_answers(right_before, right_after),
        num_K=num_K,
        before_K=(rows_NK & before_NK).sum(axis=0),
        after_K=(rows_NK & after_NK).sum(axis=0),
    )


def _right(member: Member, images: Images, index_N: np.ndarray, rows_NK: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(bool (N,): whether `member` is right, bool (N, K): which of the classes that were there it says); its classes
    begin with those, of which `rows_NK` (bool) are the labels. Of several labels all of them have to be right."""
    classifier: Classifier = join_members([member])
    said_NK = member.task.said(pass_over(classifier, images.source, index_N).probability_NK)[:, : rows_NK.shape[1]]
    right_N: np.ndarray = (said_NK == rows_NK).all(axis=1)
    return right_N, said_NK
