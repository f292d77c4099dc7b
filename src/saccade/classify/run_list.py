"""The list of runs for a person and for a program: how each stands, and its verdict with the interval."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.display import Displayed, figure
from ..core.errors import counted, printable
from ..evaluate.rates import number, percent
from ..runs.listing import Figure, ListedRun, list_runs

HEADINGS = ("run", "state", "verdict (95 % interval)", "network", "images", "begun")
MAX_TOLD = 5  # runs of which a line says what is wrong, or how to go on


@dataclass(frozen=True, kw_only=True, repr=False)
class RunList(Displayed):
    """The runs in `folder`, the one that was begun last first."""

    folder: Path
    runs: tuple[ListedRun, ...]

    def display_lines(self) -> list[str]:
        """How many there are, what is damaged, and how stopped ones go on."""
        where = printable(str(self.folder))
        if not self.runs:
            return [f"No runs in {where} yet. Start one: saccade train digits"]
        stopped = [run for run in self.runs if run.state == "stopped"]
        damaged = [run for run in self.runs if run.problem]
        lines = [_counts(self.runs, where)]
        lines += [f"Damaged: {run.problem}" for run in damaged[:MAX_TOLD]]
        lines += [f"Go on: {run.go_on}" for run in stopped[:MAX_TOLD]]
        left_out = len(stopped[MAX_TOLD:]) + len(damaged[MAX_TOLD:])
        return lines + ([f"{left_out} more are stopped or damaged; --json says it of each."] if left_out else [])

    def display_rows(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """One row a run."""
        return HEADINGS, [_row(run) for run in self.runs]

    def as_json(self) -> dict[str, Any]:
        """The object of `saccade runs --json`; its keys are a contract."""
        return {"folder": str(self.folder), "runs": [run_json(run) for run in self.runs]}


def read_run_list(folder: Path) -> RunList:
    """How the runs in `folder` stand. Raises UsageError where there is no such folder, or too many folders in it."""
    return RunList(folder=folder, runs=list_runs(folder))


def verdict_words(found: Figure) -> str:
    """`99.2 % (97.6 to 99.7) of 359`; of several labels with `mAP` in front, of numbers the mean absolute error."""
    if found.name == "mae":
        value, ends = (
            f"off by {figure(found.value)}",
            [figure(end) for end in (found.low, found.high) if end is not None],
        )
    else:
        value = f"{'mAP ' if found.name == 'map' else ''}{percent(found.value)} %"
        ends = [percent(end) for end in (found.low, found.high) if end is not None]
    interval = f" ({ends[0]} to {ends[1]})" if len(ends) == 2 else ""
    return f"{value}{interval} of {found.num_judged:,}"


def standing(run: ListedRun) -> str:
    """How far a run is that has no verdict: `epoch 3 of 12`, `choosing the depth`, `member 2 of 5`."""
    if run.num_parts:
        finished = sum(part.state == "finished" for part in run.parts)
        return f"{finished} of {run.num_parts} {'members' if run.is_ensemble else 'folds'} finished"
    if run.is_choosing:
        return "before its first epoch"
    if not run.epochs:
        return "-"
    return f"{run.num_epochs} of {counted(run.epochs, 'epoch')}"


def run_json(run: ListedRun) -> dict[str, Any]:
    """One entry of `runs` in `saccade runs --json`; its keys are a contract. Times are seconds since 1970."""
    found = run.figure
    return {
        "run": str(run.path),
        "state": run.state,
        "problem": run.problem or None,
        "verb": run.config.verb,
        "model": run.config.model,
        "source": run.config.source,
        "recipe": run.config.recipe,
        "seed": run.config.seed,
        "figure": found.name if found else None,
        "value": number(found.value) if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "num_samples": found.num_judged if found else None,
        "split": run.split or None,
        "kind": run.kind or None,
        "caveats": list(run.caveats),
        "epoch": run.num_epochs,
        "epochs": run.epochs,
        "begun": round(run.begun_s, 3),
        "updated": round(run.updated_s, 3),
        "members": run.num_parts if run.is_ensemble else None,
        "folds": run.num_parts if run.num_parts and not run.is_ensemble else None,
        "go_on": run.go_on if run.state == "stopped" else None,
    }


def _row(run: ListedRun) -> list[str]:
    config = run.config
    network = config.transfer.backbone or config.model
    named = f"{network}, {run.num_parts} {'members' if run.is_ensemble else 'folds'}" if run.num_parts else network
    return [
        printable(str(run.path)),
        run.state,
        verdict_words(run.figure) if run.figure and run.state != "live" else standing(run),
        printable(named or "-"),
        printable(config.source_name or "-"),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.begun_s)) if run.begun_s else "-",
    ]


def _counts(runs: tuple[ListedRun, ...], where: str) -> str:
    """`7 runs in runs: 1 live, 5 finished, 1 stopped.`"""
    states = ("live", "finished", "stopped", "damaged")
    counts = [(state, sum(run.state == state for run in runs)) for state in states]
    told = ", ".join(f"{count} {state}" for state, count in counts if count)
    return f"{counted(len(runs), 'run')} in {where}: {told}."
