"""The data sets of the runs under the folder: one for each source that a configuration names, by an id."""

from dataclasses import dataclass
from pathlib import Path

from ....core.errors import CheckpointError, brief
from ....runs.summary import DataSummary, read_data_summary
from ...refusal import Reason, Refusal
from ..runs.index import Run, RunIndex, readable_id
from ..runs.records import Latest

MAX_SUMMARIES = 512


@dataclass(frozen=True, kw_only=True)
class ImageSet:
    """A source of images as a configuration names it, and the runs that do, those that changed last first."""

    id: str
    source: str
    runs: tuple[Run, ...]

    @property
    def name(self) -> str:
        """The last part of its path."""
        return Path(self.source).name or self.source

    def chosen(self, identifier: str) -> Run:
        """The run of that id; the one that changed last where none is named. Raises Refusal."""
        for run in self.runs:
            if identifier in ("", run.id):
                return run
        what = f"No run '{brief(identifier, 64)}' names this data set."
        raise Refusal(Reason(404, "no_such_run", what, "It may have been removed or renamed."))


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What `data.json` of a run says; `problem` where it cannot be read."""

    data: DataSummary | None
    problem: str = ""


class ImageSets:
    """The sets of the runs of `index`."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        self._summaries: Latest[Summary] = Latest(MAX_SUMMARIES)

    def all(self) -> list[ImageSet]:
        """Every set, those of the runs that changed last first."""
        found: dict[str, list[Run]] = {}
        standing = [(run, run.look()) for run in self._index.runs()]
        for run, now in sorted(standing, key=lambda pair: -pair[1].active_s):
            if now.config.source:
                found.setdefault(now.config.source, []).append(run)
        return [ImageSet(id=set_id(source), source=source, runs=tuple(runs)) for source, runs in found.items()]

    def find(self, identifier: str) -> ImageSet:
        """The set of that id. Raises Refusal."""
        for found in self.all():
            if found.id == identifier:
                return found
        what = f"There is no data set '{brief(identifier, 64)}'."
        raise Refusal(Reason(404, "no_such_set", what, "Its runs may have been removed; see the list of data sets."))

    def summary(self, run: Run) -> Summary:
        """What `run` says of its images."""
        return self._summaries.get((run.id, run.watched.changes), lambda: _read(run))


def set_id(source: str) -> str:
    """What addresses call a source: readable, and never the same for two."""
    return readable_id(Path(source).name, source, "data")


def _read(run: Run) -> Summary:
    try:
        return Summary(data=read_data_summary(run.path))
    except CheckpointError as error:
        return Summary(data=None, problem=error.message.replace("\n", " "))
