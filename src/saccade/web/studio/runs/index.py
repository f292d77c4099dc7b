"""Which runs lie under a folder, each by an id: what a request names is looked up here, and never a path."""

import hashlib
import re
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ....core.errors import brief, storable
from ....runs.listing import find_runs
from ....runs.standing import Standing, WatchedRun, part_paths
from ...refusal import Reason, Refusal

LOOK_AGAIN_S = 2.0  # how old the list of folders may be
NOT_PLAIN = re.compile(r"[^a-z0-9]+")
MAX_SLUG = 40


@dataclass(frozen=True, kw_only=True)
class Run:
    """A run under the folder: its id in addresses, its name (the path under the folder), and what watches it. `parts`
    are the members of an ensemble, or the folds."""

    id: str
    name: str
    watched: WatchedRun
    parts: tuple["Run", ...] = ()

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
        self.num_denied = 0  # folders that the studio may not read
        self._runs: list[Run] = []
        self._watched: dict[str, WatchedRun] = {}
        self._looked_s = -LOOK_AGAIN_S
        self._lock = threading.Lock()

    def runs(self) -> list[Run]:
        """All of them, by name; behind an ensemble its members, behind a run its folds."""
        return [each for run in self.whole() for each in (run, *run.parts)]

    def whole(self) -> list[Run]:
        """The same without members and folds, which are in `parts`."""
        with self._lock:
            now_s = time.monotonic()
            if now_s - self._looked_s >= LOOK_AGAIN_S:
                self._find()
                self._looked_s = now_s
            return list(self._runs)

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
        found = find_runs(self.folder)
        self.is_cut, self.num_denied = found.is_cut, len(found.denied)
        before, self._watched = self._watched, {}
        self._runs = [
            self._run(path, before, tuple(self._run(part, before, is_part=True) for part in part_paths(path)))
            for path in found.paths
        ]

    def _run(
        self, path: Path, before: dict[str, WatchedRun], parts: tuple[Run, ...] = (), is_part: bool = False
    ) -> Run:
        inside = path.relative_to(self.folder).as_posix()
        name = inside if inside != "." else storable(path.resolve().name) or "run"
        identifier = run_id(name)
        self._watched[identifier] = before.get(identifier) or WatchedRun(path, is_part)
        return Run(id=identifier, name=name, watched=self._watched[identifier], parts=parts)


def run_id(name: str) -> str:
    """What addresses call the run at `name` under the folder: readable, and never the same for two."""
    return readable_id(name, name, "run")


def readable_id(shown: str, name: str, otherwise: str) -> str:
    """An id of `name` that begins as `shown` does, or with `otherwise` where no letter of it is plain."""
    slug = NOT_PLAIN.sub("-", shown.lower()).strip("-")[:MAX_SLUG].strip("-") or otherwise
    return f"{slug}-{hashlib.sha256(name.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
