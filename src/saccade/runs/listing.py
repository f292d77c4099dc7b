"""The runs of a folder and how each stands. The list in the terminal and the pages that show runs find them here."""

import os
from pathlib import Path

from ..core.errors import UsageError, printable
from .standing import Standing, WatchedRun, looks_like_run

MAX_FOLDERS = 20_000  # that are looked into
MAX_DEPTH = 6  # folders inside folders


def find_runs(folder: Path) -> tuple[list[Path], bool]:
    """(every run in `folder`, whether there are more than 20,000 folders, which are not all looked into), at any depth
    up to 6 and in the order of names; links and hidden folders are not followed. A run's own folds and an ensemble's
    members are theirs."""
    found, waiting, num_seen = [], [(folder, 0)], 0
    while waiting and num_seen < MAX_FOLDERS:
        place, depth = waiting.pop()
        num_seen += 1
        if looks_like_run(place):
            found.append(place)
        elif depth < MAX_DEPTH:
            waiting += [(place / name, depth + 1) for name in reversed(_folders_in(place))]
    return sorted(found), bool(waiting)


def list_runs(folder: Path) -> tuple[Standing, ...]:
    """How each run in `folder` stands, the one that was begun last first. Raises UsageError where there is no such
    folder, or more than 20,000 folders in it."""
    if not os.path.isdir(folder):
        raise UsageError(
            f"There is no folder {printable(str(folder))}.\n"
            f"Runs lie in 'runs' beside where they were begun, or where --out said: saccade runs FOLDER"
        )
    paths, is_cut = find_runs(folder)
    if is_cut:
        raise UsageError(
            f"{printable(str(folder))} has more than {MAX_FOLDERS:,} folders.\nName the folder of the runs alone."
        )
    runs = [WatchedRun(path).look() for path in paths]
    return tuple(sorted(runs, key=lambda run: (-(run.begun_s or 0), str(run.path))))


def _folders_in(folder: Path) -> list[str]:
    """The names of the folders in `folder`, in their order, without hidden ones and links; none where it may not be
    read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except OSError:
        return []
