"""The runs of a folder and how each stands. The list in the terminal and the pages that show runs find them here."""

import os
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UsageError, printable, shell_word
from ..core.plain_files import is_denied
from .standing import Standing, WatchedRun, looks_like_run

MAX_FOLDERS = 20_000  # that are looked into
MAX_DEPTH = 6  # folders inside folders


@dataclass(frozen=True, kw_only=True)
class FoundRuns:
    """The runs of a folder in the order of names. `is_cut`: there are more than 20,000 folders, which were not all
    looked into. `denied`: folders that this user may not read, so that nobody knows what is in them."""

    paths: tuple[Path, ...]
    is_cut: bool = False
    denied: tuple[Path, ...] = ()


def find_runs(folder: Path) -> FoundRuns:
    """Every run in `folder`, at any depth up to 6; links and hidden folders are not followed. A run's own folds and an
    ensemble's members are theirs."""
    found, denied, waiting, num_seen = [], [], [(folder, 0)], 0
    while waiting and num_seen < MAX_FOLDERS:
        place, depth = waiting.pop()
        num_seen += 1
        if is_denied(place):
            denied.append(place)
        elif looks_like_run(place):
            found.append(place)
        elif depth < MAX_DEPTH:
            waiting += [(place / name, depth + 1) for name in reversed(_folders_in(place))]
    return FoundRuns(paths=tuple(sorted(found)), is_cut=bool(waiting), denied=tuple(sorted(denied)))


def list_runs(folder: Path) -> tuple[tuple[Standing, ...], tuple[Path, ...]]:
    """(how each run in `folder` stands, the one that was begun last first; folders that may not be read). Raises
    UsageError where there is no such folder, where it may not be read, and for more than 20,000 folders in it."""
    if not os.path.isdir(folder):
        raise UsageError(
            f"There is no folder {printable(str(folder))}.\n"
            f"Runs lie in 'runs' beside where they were begun, or where --out said: saccade runs FOLDER"
        )
    found = find_runs(folder)
    if folder in found.denied:
        raise UsageError(
            f"The folder {printable(str(folder))} may not be read by you.\n"
            f"Its owner can allow it: chmod -R a+rX {shell_word(folder)}"
        )
    if found.is_cut:
        raise UsageError(
            f"{printable(str(folder))} has more than {MAX_FOLDERS:,} folders.\nName the folder of the runs alone."
        )
    runs = [WatchedRun(path).look() for path in found.paths]
    return tuple(sorted(runs, key=lambda run: (-(run.begun_s or 0), str(run.path)))), found.denied


def _folders_in(folder: Path) -> list[str]:
    """The names of the folders in `folder`, in their order, without hidden ones and links; none where it may not be
    read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except OSError:
        return []
