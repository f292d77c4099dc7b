"""Which runs lie under a folder, each by an id: what a request names is looked up here, and never a path."""

import hashlib
import os
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import brief, storable
from ....runs.standing import Standing, WatchedRun, looks_like_run
from ...refusal import Reason, Refusal

MAX_DEPTH = 4
MAX_FOLDERS = 20_000
LOOK_AGAIN_S = 2.0  # how old the list of folders may be
NOT_PLAIN = re.compile(r"[^a-z0-9]+")
MAX_SLUG = 40


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run under the folder: its id in addresses, its name (the path under the folder), and what watches it."""

    id: str
    name: str
    watched: WatchedRun

    @property
    def path(self) -> Path:
        return self.watched.path

    def look(self) -> Standing:
        """How it stands now."""
        return self.watched.look()


class RunIndex:
    """The runs under `folder`. New ones are found as they come; of a link nothing is looked at."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.is_cut = False  # whether there are more folders than are looked into
        self._runs: dict[str, Run] = {}
        self._looked_s = -LOOK_AGAIN_S
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """All of them, by name."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s >= LOOK_AGAIN_S:
                self._find()
                self._looked_s = now_s
            return list(self._runs.values())

    def run(self, identifier: str) -> Run:
        """The run of that id. Raises Refusal."""
        known = {run.id: run for run in self.runs()}
        if identifier not in known:
            what = f"There is no run '{brief(identifier, 64)}'."
            raise Refusal(
                Reason(404, "no_such_run", what, "It may have been removed or renamed; see the list of runs.")
            )
        return known[identifier]

    def _find(self) -> None:
        found: dict[str, Run] = {}
        self.is_cut = False
        for number, (path, name) in enumerate(_run_folders(self.folder)):
            if number >= MAX_FOLDERS:
                self.is_cut = True
                break
            if path is not None:
                identifier = run_id(name)
                found[identifier] = self._runs.get(identifier) or Run(
                    id=identifier, name=name, watched=WatchedRun(path)
                )
        self._runs = found


def run_id(name: str) -> str:
    """What addresses call the run at `name` under the folder: readable, and never the same for two."""
    return readable_id(name, name, "run")


def readable_id(shown: str, name: str, otherwise: str) -> str:
    """An id of `name` that begins as `shown` does, or with `otherwise` where no letter of it is plain."""
    slug = NOT_PLAIN.sub("-", shown.lower()).strip("-")[:MAX_SLUG].strip("-") or otherwise
    return f"{slug}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"


def _run_folders(root: Path) -> Iterator[tuple[Path | None, str]]:
    """(path, name) of each run; (None, "") for each other folder that was looked into."""
    if looks_like_run(root):
        yield root, storable(root.resolve().name) or "run"
        return
    waiting = [(root, "", 0)]
    while waiting:
        folder, prefix, depth = waiting.pop()
        inside = []
        for entry in _folders_in(folder):
            name = prefix + entry
            if looks_like_run(folder / entry):
                yield folder / entry, name
            elif depth + 1 < MAX_DEPTH:
                yield None, ""
                inside.append((folder / entry, f"{name}/", depth + 1))
        waiting += reversed(inside)


def _folders_in(folder: Path) -> list[str]:
    """The names of the folders in `folder`, in their order, without hidden ones and links; none where it may not be
    read."""
    try:
        with os.scandir(folder) as entries:
            return sorted(e.name for e in entries if e.is_dir(follow_symlinks=False) and not e.name.startswith("."))
    except OSError:
        return []
