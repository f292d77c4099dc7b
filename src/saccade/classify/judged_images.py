"""Which images of a source a run is judged on: never silently those that it has learned from."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..core.errors import NothingUnseen, counted, printable
from ..data.left_out import left_out_caveats, left_out_notes
from ..data.scan import MAX_COMPARED, ScanReport
from ..data.source import DataSource
from ..evaluate.caveats import sentences
from ..evaluate.copies import WithoutCopies
from ..evaluate.verdict import AnyMetrics, warnings
from ..models.surgery import ALL
from ..runs.checkpoint import find_checkpoint
from ..runs.folds_folder import read_folds
from ..runs.manifest import Manifest
from ..runs.names import MANIFEST, VALIDATION
from ..runs.seen import Seen, look_up_seen, unknown_note
from ..runs.start_point import read_start


@dataclass(frozen=True, kw_only=True)
class ValidationUse:
    """What runs did with images of their validation part: in the words after "the run was trained on them, or", and
    what qualifies a figure of these images, "" where nothing does. `flatters`: the figure may be better for it."""

    words: str
    caveat: str
    flatters: bool = True


CHOSE_THE_EPOCH = ValidationUse(
    words="chose its epoch by them", caveat="These images also chose the epoch kept: the figure flatters a little."
)
FITTED = {  # on validation images where no epoch is chosen, by what the manifest calls their number
    "temperature_images": ("its temperature", "temperature was"),
    "calibration_images": ("its thresholds", "thresholds were"),
    "half_width_images": ("the width of its intervals", "width of the intervals was"),
}


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """The images `index_N` of `source` that are answered, and what they are in words. `kind`: as in `Evaluation`.

    Those of `copied_N`, which training saw, or nearly so, are left out of every figure, unless there are no others.
    `caveats` qualify every figure, `notes` do not.
    """

    source: DataSource
    source_text: str
    index_N: np.ndarray
    judged_on: str
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    copied_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kind: str = "held-out"

    def all_caveats(self, metrics: AnyMetrics, copies: WithoutCopies) -> tuple[str, ...]:
        """What qualifies the figures `metrics` of the images without `copies`."""
        return tuple(sentences([*self.caveats, *copies.caveats(), *warnings(metrics, copies.kind(self.kind))]))


def test_part(source: DataSource, good_N: np.ndarray) -> np.ndarray:
    """Those of the images `good_N` that the source says are to judge by."""
    return np.array([i for i in good_N if source.record(int(i)).split == "test"], dtype=np.int64)


def choose_images(runs: Sequence[Path], source_text: str, source: DataSource, scan: ScanReport) -> JudgedImages:
    """The images to judge `runs` on: never silently those they were trained on.

    Those of its test part, where it has one, that training did not see, nor nearly; else of all its images. Copies in a
    test part are answered, too, for who compares with published figures. Where training saw all, those that only chose
    the epoch, or fitted something, or nothing. The kind is `held-out`, of those that did something `validation`, or
    empty where nothing says what a run has seen. Raises NothingUnseen where all were trained on.
    """
    seen = {run: look_up_seen(run) for run in runs}
    known = [found for found in seen.values() if isinstance(found, Seen)]
    unknown = [note for run in runs if (note := unknown_note(f"{printable(str(run))} was", seen[run]))]
    equal_N, near_N = (
        np.logical_or.reduce([np.zeros(len(source), bool), *found])
        for found in ([record.equal(scan) for record in known], [record.near(scan) for record in known])
    )
    near_N &= ~equal_N
    where, use = printable(source.name), _use_of_validation(runs)
    notes = left_out_notes(scan.bad)
    caveats = [*unknown[:1], *left_out_caveats(scan.bad)]
    if known and scan.likeness is None:
        caveats.append(f"near duplicates are not looked for among more than {MAX_COMPARED:,} images, only equal ones")
    test_N = test_part(source, scan.good_N)
    if len(test_N):
        index_N, judged_on = test_N, f"the test part of {where}"
        num_equal, num_near = int(equal_N[test_N].sum()), int(near_N[test_N].sum())
        if 0 < num_equal + num_near < len(test_N):
            num = len(test_N) - num_equal - num_near
            judged_on = f"the {counted(num, 'image')} of {judged_on} that training did not see"
            caveats += _left_out(num_equal, num_near, use)
    else:
        index_N = scan.good_N[~(equal_N | near_N)[scan.good_N]]
        judged_on = f"all images of {where}"
        if len(index_N) < len(scan.good_N):
            judged_on = f"the {counted(len(index_N), 'image')} of {where} that training did not see"
            notes += _left_out(int(equal_N[scan.good_N].sum()), int(near_N[scan.good_N].sum()), use)
    kind, copied_N = "held-out", np.flatnonzero(equal_N | near_N)
    if not len(index_N) and known:
        unseen = [~(record.equal(scan) | record.near(scan)) | record.only_chose(scan) for record in known]
        index_N = scan.good_N[np.logical_and.reduce(unseen)[scan.good_N]]
        kind = "validation" if use.flatters else "held-out"
        copied_N = np.setdiff1d(copied_N, index_N)
        were = "was" if len(index_N) == 1 else "were"
        judged_on = f"the {counted(len(index_N), 'image')} of {where} that {were} not trained on"
        caveats += [*([use.caveat] if use.caveat else []), *_folds_words(runs)]
        notes += _trained_on(len(scan.good_N) - len(index_N))
    if not len(index_N):
        further = "".join(f"{text}\n" for text in _folds_words(runs))
        raise NothingUnseen(
            f"All {len(scan.good_N):,} images of {where} were used to train this run, or are nearly the same as some "
            f"that were.\n{further}Judge it on images it has not seen."
        )
    if scan.likeness is not None:
        caveats += [text for record in known for text in record.exact_only(scan.size_N2[index_N])]
    return JudgedImages(
        source=source,
        source_text=source_text,
        index_N=index_N,
        judged_on=judged_on,
        notes=tuple(notes),
        caveats=tuple(caveats),
        copied_N=copied_N,
        kind="" if unknown else kind,
    )


def _use_of_validation(runs: Sequence[Path]) -> ValidationUse:
    """What the runs did with their validation part. Where only a last layer is fitted, no epoch is chosen."""
    starts = [read_start(run.parent if (run / MANIFEST).is_file() else run) for run in runs]
    if not all(start is not None and start.frozen == ALL for start in starts):
        return CHOSE_THE_EPOCH
    checkpoints = [find_checkpoint(run) for run in runs]
    for name, (words, caveat) in FITTED.items():
        if any(_was_fitted(checkpoint.manifest, name) for checkpoint in checkpoints):
            told = f"These images were not trained on, but the {caveat} fitted on them."
            return ValidationUse(words=f"fitted {words} on them", caveat=told)
    keeps = any((checkpoint.folder / VALIDATION).is_file() for checkpoint in checkpoints)
    told = "These images were not trained on, but 'predict --precision' chooses its threshold by them."
    return ValidationUse(words="held them back", caveat=told if keeps else "", flatters=False)


def _was_fitted(manifest: Manifest, name: str) -> bool:
    """Whether validation images fitted what `name` counts them for; early runs did not count them."""
    unknown = int(name == "temperature_images" and manifest.temperature != 1)
    number = manifest.metrics.get(name, unknown)
    return isinstance(number, int) and number > 0


def _folds_words(runs: Sequence[Path]) -> list[str]:
    """What the folds of a run gave when it was trained: that is its figure on images that it has learned from."""
    if len(runs) > 1:
        return []
    folds = read_folds(runs[0].parent if (runs[0] / MANIFEST).is_file() else runs[0])
    return [f"Its folds gave, when it was trained: {folds.verdict}"] if folds else []


def _trained_on(num: int) -> list[str]:
    if not num:
        return []
    return [f"{num:,} images are left out: the run was trained on them, or on nearly the same ones."]


def _left_out(num_equal: int, num_near: int, use: ValidationUse) -> list[str]:
    told = [
        f"{num_equal:,} images are left out: the run was trained on them, or {use.words}." if num_equal else "",
        f"{num_near:,} images are left out: training saw nearly the same ones." if num_near else "",
    ]
    return [text for text in told if text]
