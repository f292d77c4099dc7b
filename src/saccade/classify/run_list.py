"""The list of runs for a person and for a program: how each stands, and its verdict with the interval."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.display import Displayed, figure
from ..core.errors import counted, printable, shell_word
from ..core.head_name import head_words
from ..evaluate.rates import number, percent
from ..runs.listing import list_runs
from ..runs.standing import Figure, Standing

HEADINGS = ("run", "state", "verdict (95 % interval)", "network", "images", "begun")
MAX_TOLD = 5  # runs of which a line says what is wrong, or how to go on


@dataclass(frozen=True, kw_only=True, repr=False)
class RunList(Displayed):
    """The runs in `folder`, the one that was begun last first. `denied`: folders in it that this user may not read."""

    folder: Path
    runs: tuple[Standing, ...]
    denied: tuple[Path, ...] = ()

    def display_lines(self) -> list[str]:
        """How many there are, what is damaged, and how stopped ones go on."""
        where = printable(str(self.folder))
        if not self.runs:
            return self._denied_lines() or [f"No runs in {where} yet. Start one: saccade train digits"]
        stopped = [run for run in self.runs if run.state == "stopped"]
        damaged = [run for run in self.runs if run.problem]
        lines = [_counts(self.runs, where)]
        lines += [_first_line(run.problem) for run in damaged[:MAX_TOLD]]
        lines += self._denied_lines()
        lines += [f"Go on: {run.resume_command}" for run in stopped[:MAX_TOLD]]
        left_out = len(stopped[MAX_TOLD:]) + len(damaged[MAX_TOLD:])
        return lines + ([f"{left_out} more are stopped or damaged; --json says it of each."] if left_out else [])

    def _denied_lines(self) -> list[str]:
        if not self.denied:
            return []
        shown = ", ".join(printable(str(path)) for path in self.denied[:MAX_TOLD])
        more = f" and {len(self.denied) - MAX_TOLD:,} more" if len(self.denied) > MAX_TOLD else ""
        first = shell_word(self.denied[0])
        return [
            f"{counted(len(self.denied), 'folder')} may not be read by you: {shown}{more}.",
            f"The owner can allow it: chmod -R a+rX {first}",
        ]

    def display_rows(self) -> tuple[tuple[str, ...], list[list[str]]]:
        """One row a run."""
        return HEADINGS, [_row(run) for run in self.runs]

    def as_json(self) -> dict[str, Any]:
        """The object of `saccade runs --json`; its keys are a contract."""
        return {
            "folder": str(self.folder),
            "runs": [run_json(run) for run in self.runs],
            "denied": [str(path) for path in self.denied],
        }


def read_run_list(folder: Path) -> RunList:
    """How the runs in `folder` stand. Raises UsageError where there is no such folder, where it may not be read, and
    where it holds too many folders."""
    runs, denied = list_runs(folder)
    return RunList(folder=folder, runs=runs, denied=denied)


def value_words(found: Figure | None) -> tuple[str, str]:
    """(`99.2`, `97.6 to 99.7`), of rates in percent; empty texts for what is not known."""
    if found is None:
        return "", ""
    words = figure if found.name == "mae" else percent
    if found.low is None or found.high is None:
        return words(found.value), ""
    return words(found.value), f"{words(found.low)} to {words(found.high)}"


def unit_of(found: Figure | None) -> str:
    """What stands behind the value: ` %`, or nothing behind a number."""
    return "" if found is None or found.name == "mae" else " %"


def verdict_words(found: Figure) -> str:
    """`99.2 % (97.6 to 99.7) of 359`; of several labels with `mAP` in front, of numbers the mean absolute error."""
    value, interval = value_words(found)
    before = {"top1": "", "map": "mAP ", "mae": "off by "}[found.name]
    return f"{before}{value}{unit_of(found)}{f' ({interval})' if interval else ''} of {found.num_judged:,}"


def progress_words(run: Standing) -> str:
    """How far a run is or came: `epoch 3 of 10`, which is done; `2 of 5 members finished`."""
    if run.epochs:
        return f"epoch {run.num_done:,} of {run.num_epochs:,}" if run.num_epochs else f"epoch {run.num_done:,}"
    if run.num_parts:
        finished = sum(part.state == "finished" for part in run.parts)
        return f"{finished} of {run.num_parts} {'members' if run.is_ensemble else 'folds'} finished"
    if run.is_fitted:
        return "" if run.state == "finished" else "the last layer is fitted"
    if run.num_fits:
        return f"{counted(run.num_fits, 'depth')} measured"
    return "" if run.state == "finished" else "before the first epoch"


def run_json(run: Standing) -> dict[str, Any]:
    """One entry of `runs` in `saccade runs --json`; its keys are a contract. Times are seconds since 1970."""
    found, judged = run.figure, run.figures
    return {
        "run": str(run.path),
        "state": run.state,
        "problem": _first_line(run.problem) or None,
        "verb": run.config.verb,
        "model": run.config.model,
        "head": head_words(run.model) or None,
        "source": run.config.source,
        "recipe": run.config.recipe,
        "seed": run.config.seed,
        "figure": found.name if found else None,
        "value": number(found.value) if found else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "num_samples": found.num_judged if found else None,
        "split": (judged.split or None) if judged else None,
        "kind": (judged.kind or None) if judged else None,
        "caveats": list(judged.caveats or ()) if judged else [],
        "epoch": run.num_done,
        "epochs": run.num_epochs or 0,
        "begun": round(run.begun_s or 0, 3),
        "updated": round(run.active_s, 3),
        "members": run.num_parts if run.is_ensemble else None,
        "folds": run.num_parts if run.num_parts and not run.is_ensemble else None,
        "go_on": run.resume_command if run.state == "stopped" else None,
    }


def _row(run: Standing) -> list[str]:
    config = run.config
    network = config.transfer.backbone or config.model
    head, parts = head_words(run.model), "members" if run.is_ensemble else "folds"
    named = network + (f", {head}" if head else "") + (f", {run.num_parts} {parts}" if run.num_parts else "")
    return [
        printable(str(run.path)),
        run.state,
        verdict_words(run.figure) if run.figure and run.state != "running" else progress_words(run) or "-",
        printable(named or "-"),
        printable(config.source_name or "-"),
        time.strftime("%Y-%m-%d %H:%M", time.localtime(run.begun_s)) if run.begun_s else "-",
    ]


def _counts(runs: tuple[Standing, ...], where: str) -> str:
    """`7 runs in runs: 1 running, 5 finished, 1 stopped.`"""
    states = ("running", "finished", "stopped", "damaged")
    counts = [(state, sum(run.state == state for run in runs)) for state in states]
    told = ", ".join(f"{count} {state}" for state, count in counts if count)
    return f"{counted(len(runs), 'run')} in {where}: {told}."


def _first_line(text: str) -> str:
    return text.partition("\n")[0]
