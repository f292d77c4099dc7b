"""Verdicts of several runs side by side: each against the first, on the images that both were judged on.

Nothing is computed but from the answers that the runs keep, and no image is opened. Images are the same where the runs
name one source, one name and one label.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.display import Displayed, figure
from ..core.errors import CheckpointError, printable
from ..core.task import Task
from ..evaluate.significance import Comparison, compare_answers, comparison_sentence, p_words, paired_bootstrap
from ..runs.checkpoint import find_checkpoint
from ..runs.evaluation_files import read_verdict
from ..runs.names import EVALUATION
from ..runs.standing import Standing, WatchedRun
from .run_list import verdict_words

HEADINGS = ("run", "verdict (95 % interval)", "images of both", "points to the first", "95 % interval", "McNemar p")


@dataclass(frozen=True, kw_only=True)
class Change:
    """A mean absolute error minus that of the first run, within `low` to `high` (95 %, paired bootstrap)."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True)
class ComparedRun:
    """A run beside the first of the comparison: `num_both` images were judged by both; None: nothing to compare, as
    `why_not` says. Of numbers the `change` of the error is told, of all others the comparison of right answers."""

    run: Standing
    num_both: int = 0
    against_first: Comparison | None = None
    change: Change | None = None
    why_not: str = ""

    def as_json(self) -> dict[str, Any]:
        """One entry of `verdicts` in `saccade compare --json`; its keys are a contract."""
        found, against, change = self.run.figure, self.against_first, self.change
        return {
            "run": str(self.run.path),
            "figure": found.name if found else None,
            "value": found.value if found else None,
            "low": found.low if found else None,
            "high": found.high if found else None,
            "num_samples": found.num_judged if found else None,
            "images_of_both": self.num_both,
            "difference": against.difference if against else change.difference if change else None,
            "difference_low": against.low if against else change.low if change else None,
            "difference_high": against.high if against else change.high if change else None,
            "p_value": against.p_value if against else None,
            "why_not": self.why_not or None,
        }


@dataclass(frozen=True, kw_only=True, repr=False)
class ComparedRuns(Displayed):
    """Several runs, each against the first."""

    runs: tuple[ComparedRun, ...]

    def display_rows(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """One row a run."""
        return HEADINGS, [_row(compared, number == 0) for number, compared in enumerate(self.runs)]

    def display_lines(self) -> list[str]:
        """Which is better, and whether that could be luck."""
        first = printable(str(self.runs[0].run.path))
        return [difference_words(compared, first, printable(str(compared.run.path))) for compared in self.runs[1:]]

    def as_json(self) -> list[dict[str, Any]]:
        """The value of `verdicts` in `saccade compare --json`."""
        return [compared.as_json() for compared in self.runs]


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a run was judged on and said: images by their names `keys`, labels and logits as `evaluation.safetensors`
    has them."""

    run: Standing
    task: Task
    classes: tuple[str, ...]
    keys: tuple[str, ...]
    label_N: np.ndarray
    logits_NK: np.ndarray


def compare_runs(paths: Sequence[Path]) -> ComparedRuns:
    """The verdicts of the runs `paths`, two or more, each against the first. Raises CheckpointError where one was not
    judged, or is damaged."""
    first, *others = [_read(path) for path in paths]
    return ComparedRuns(runs=(ComparedRun(run=first.run), *(compare_judged(first, other) for other in others)))


def _read(path: Path) -> Judged:
    manifest = find_checkpoint(path).manifest
    found, run = read_verdict(path, manifest.classes, manifest.task), WatchedRun(path).look()
    if found is None:
        raise CheckpointError(
            f"The run {printable(str(path))} has not been judged yet: it has no {EVALUATION}.\n"
            f"Finish it with: {run.resume_command}"
        )
    verdict, outputs = found
    return Judged(
        run=run,
        task=manifest.task,
        classes=manifest.classes,
        keys=verdict.keys,
        label_N=outputs.label_N,
        logits_NK=outputs.logits_NK,
    )


def compare_judged(first: Judged, other: Judged) -> ComparedRun:
    """`other` against `first`, on the images that both were judged on."""
    why_not = _why_not(first, other)
    place_of = {key: place for place, key in enumerate(first.keys)}
    pairs = [(place_of[key], place) for place, key in enumerate(other.keys) if key in place_of]
    if not why_not and not pairs:
        why_not = "no image was judged by both"
    if why_not:
        return ComparedRun(run=other.run, why_not=why_not)
    first_M, other_M = (np.array(places) for places in zip(*pairs, strict=True))
    label_M = first.label_N[first_M]
    if not np.array_equal(label_M, other.label_N[other_M]):
        return ComparedRun(run=other.run, why_not="images of one name have other labels, so they are other images")
    sides = ((first, first_M), (other, other_M))
    if first.task.is_number:
        errors = [
            np.abs(judged.task.probabilities_of(judged.logits_NK[place_M])[:, 0] - label_M) for judged, place_M in sides
        ]
        low, high = paired_bootstrap(*errors)
        change = Change(difference=float((errors[1] - errors[0]).mean()), low=low, high=high)
        return ComparedRun(run=other.run, num_both=len(pairs), change=change)
    right_M, other_right_M = [
        judged.task.right(label_M, judged.task.scores_of(judged.logits_NK[place_M])) for judged, place_M in sides
    ]
    return ComparedRun(run=other.run, num_both=len(pairs), against_first=compare_answers(right_M, other_right_M))


def _why_not(first: Judged, other: Judged) -> str:
    if first.run.config.source_name != other.run.config.source_name:
        return f"it was judged on '{printable(other.run.config.source_name)}', not on the images of the first"
    if first.task.kind != other.task.kind:
        return "the two answer other questions"
    if first.classes != other.classes:
        return "the two know other classes"
    return ""


def difference_words(compared: ComparedRun, first: str, name: str) -> str:
    """Which of two runs, called `first` and `name`, is better, and whether that could be luck; or why nothing tells."""
    if compared.against_first is not None:
        return comparison_sentence(compared.against_first, first, name)
    if compared.change is not None:
        return _change_sentence(compared.change, first, name, compared.num_both)
    return f"{name} is not compared with {first}: {compared.why_not}."


def _row(compared: ComparedRun, is_first: bool) -> list[str]:
    found, against, change = compared.run.figure, compared.against_first, compared.change
    cells = [printable(str(compared.run.path)), verdict_words(found) if found else "-"]
    if is_first:
        return [*cells, "", "", "", ""]
    if change is not None:
        ends = f"{change.low:+.3g} to {change.high:+.3g}"
        return [*cells, f"{compared.num_both:,}", f"{change.difference:+.3g}", ends, "-"]
    if against is None:
        return [*cells, "0", "-", "-", "-"]
    interval = f"{100 * against.low:+.1f} to {100 * against.high:+.1f}"
    p_value = p_words(against.p_value).removeprefix("p ").removeprefix("= ")
    return [*cells, f"{compared.num_both:,}", f"{100 * against.difference:+.1f}", interval, p_value]


def _change_sentence(change: Change, first: str, name: str, num_both: int) -> str:
    ends = f"95 % interval {change.low:+.3g} to {change.high:+.3g}, {num_both:,} images of both"
    if change.low <= 0 <= change.high:
        return f"{first} and {name} cannot be told apart: their errors differ by {change.difference:+.3g} ({ends})."
    better, worse = (name, first) if change.difference < 0 else (first, name)
    return f"{better} is nearer than {worse} by {figure(abs(change.difference))} on average ({ends})."
