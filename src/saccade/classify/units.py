"""Work on many images in units of 4,096, one Parquet file each, which any number of processes share without a group.

A unit is some consecutive images of a list that every process makes for itself. Its file gets its name when it is
whole, so a unit that is there is done: a stopped job goes on with the others, and where two processes make the same
unit, the later file replaces an equal one. Each file says in its metadata (`saccade`) which network, settings and list
it is of, and what is of others is never mixed in. Who finds all units done writes `_summary.json`.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from .. import __version__
from ..core import atomic
from ..core.errors import DataError, StorageError, UsageError, counted, printable, shell_word
from ..data.sources.in_memory import HeldImage
from ..data.sources.parquet.row_groups import import_pyarrow, open_parquet
from .listing import Listing
from .unit_share import UnitShare

UNIT_IMAGES = 4096  # whole batches of 32: an image is in the same batch whoever makes its unit
ROWS_AT_ONCE = 1024  # of a row group: 8 MB of 2,048 features
FORMAT = 1
METADATA = b"saccade"
SUMMARY = "_summary.json"  # readers of folders of Parquet files leave out what begins with _
ERROR, REASON = "error", "reason"  # columns: why an image cannot be read, and why there is no answer
UNREADABLE = "unreadable"  # the reason of an image that cannot be read

Row = dict[str, Any]
RowsOf = Callable[[Iterator[HeldImage]], Iterator[Row]]


@dataclass(frozen=True, kw_only=True)
class UnitKind:
    """What the units of a folder are: `name` ("answers"), the Arrow `schema` of their rows, and `to_batch`, which makes
    an Arrow record batch of some.

    `model_sha256` names all that decides the values but the `settings`, which are by the name of their option.
    `facts` are for who reads a file.
    """

    name: str
    schema: Any
    to_batch: Callable[[list[Row]], Any]
    model_sha256: str
    settings: Mapping[str, Any]
    facts: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Unit:
    """The images from `start` up to `stop` of the list, and their file."""

    number: int
    start: int
    stop: int
    path: Path


@dataclass(kw_only=True)
class UnitsWritten:
    """What became of a folder of units: `num_there` of `num_units` are there, `num_written` of them by this call.

    `num_answered`, `num_bad` (unreadable) and `withheld` (by reason) count the images of those that this call wrote.
    """

    path: Path
    num_images: int
    num_units: int
    num_there: int = 0
    num_written: int = 0
    num_answered: int = 0
    num_bad: int = 0
    withheld: dict[str, int] = field(default_factory=dict)

    @property
    def is_complete(self) -> bool:
        """Whether every unit is there."""
        return self.num_there == self.num_units

    def _count(self, row: Row) -> None:
        if row.get(ERROR) is not None:
            self.num_bad += 1
            return
        self.num_answered += 1
        if row.get(REASON) is not None:
            self.withheld[row[REASON]] = self.withheld.get(row[REASON], 0) + 1


def require_parquet() -> None:
    """Raise UsageError where pyarrow is not installed."""
    try:
        import_pyarrow()
    except DataError as error:
        raise UsageError(error.message) from None


class UnitFolder:
    """The folder `path` with the units of `listing`. Raises UsageError where it holds those of others."""

    def __init__(self, path: Path, kind: UnitKind, listing: Listing) -> None:
        self._path, self._kind, self._listing = path, kind, listing
        self._num_units = -(-len(listing) // UNIT_IMAGES)
        atomic.make_folder(path)
        self._refuse_others()

    def work(self, share: UnitShare, rows_of: RowsOf, told: Callable[[str], None]) -> UnitsWritten:
        """Make the units of `share` that are not there; `rows_of` gives one row for each image. `told` hears of each,
        where there are several.

        Raises StorageError, and what `rows_of` raises: units that were made before stay.
        """
        written = UnitsWritten(path=self._path, num_images=len(self._listing), num_units=self._num_units)
        for number in share.units(self._num_units):
            unit = self._unit(number)
            if self._is_done(unit):
                continue
            self._make(unit, rows_of, written)
            if self._num_units > 1:  # of a single one the result says as much
                told(f"{unit.path.name}: {counted(unit.stop - unit.start, 'image')}")
        written.num_there = len(self._names())
        if written.is_complete:
            self._finish()
        return written

    def _unit(self, number: int) -> Unit:
        start = number * UNIT_IMAGES
        path = self._path / f"{self._kind.name}-{number:05d}-of-{self._num_units:05d}.parquet"
        return Unit(number=number, start=start, stop=min(start + UNIT_IMAGES, len(self._listing)), path=path)

    def _names(self) -> list[str]:
        """The files of units that are there, in order."""
        with atomic.storage_errors(self._path), os.scandir(self._path) as entries:
            names = (entry.name for entry in entries if entry.name.endswith(".parquet"))
            return sorted(name for name in names if not name.startswith((".", "_")))

    def _refuse_others(self) -> None:
        """Raise UsageError where another job has written here. Of its own units the first is looked at; the others are
        when their turn comes, and all of them at the end."""
        names = self._names()
        if not names:
            return
        own = {self._unit(number).path.name: number for number in range(self._num_units)}
        other = next((name for name in names if name not in own), None)
        if other is not None:
            raise UsageError(
                f"{printable(str(self._path))} holds {printable(other)}, which is not a unit of these images.\n"
                f"It is of another list of images, or of another command. Name another folder with --out."
            )
        self._is_done(self._unit(own[names[0]]))

    def _is_done(self, unit: Unit) -> bool:
        """Whether the file of `unit` is there. Raises UsageError where it is of another job, DataError for a damaged
        one."""
        if not os.path.lexists(unit.path):
            return False
        wanted, found = self._identity(unit), _read_facts(unit.path)
        if all(found.get(name) == value for name, value in wanted.items()):
            return True
        where = printable(str(unit.path))
        if found.get("kind") != self._kind.name or found.get("format") != FORMAT:
            what = f"no {self._kind.name} of this version"
        elif found.get("model_sha256") != self._kind.model_sha256:
            what = f"{self._kind.name} of another run, or of one that was changed"
        elif found.get("settings") != wanted["settings"]:
            what = f"{self._kind.name} of another {_first_difference(found.get('settings'), wanted['settings'])}"
        else:
            what = f"{self._kind.name} of another list of images"
        raise UsageError(f"{where} holds {what}.\nName another folder with --out, or remove this one.")

    def _identity(self, unit: Unit) -> dict[str, Any]:
        """What a file must say to be this unit."""
        return {
            "format": FORMAT,
            "kind": self._kind.name,
            "model_sha256": self._kind.model_sha256,
            "settings": dict(self._kind.settings),
            "listing_sha256": self._listing.digest,
            "num_images": len(self._listing),
            "unit": unit.number,
            "num_units": self._num_units,
            "first_image": unit.start,
            "num_rows": unit.stop - unit.start,
        }

    def _make(self, unit: Unit, rows_of: RowsOf, written: UnitsWritten) -> None:
        pyarrow, parquet = import_pyarrow()
        facts = {**self._identity(unit), "saccade": __version__, **self._kind.facts}
        schema = self._kind.schema.with_metadata({METADATA: json.dumps(facts)})
        counts = UnitsWritten(path=self._path, num_images=0, num_units=0)

        def fill(temporary: Path) -> None:
            rows = rows_of(self._listing.items(unit.start, unit.stop))
            here = pyarrow.fs.LocalFileSystem()
            with parquet.ParquetWriter(str(temporary), schema, filesystem=here) as file:
                while some := list(islice(rows, ROWS_AT_ONCE)):
                    for row in some:
                        counts._count(row)
                    file.write_batch(self._kind.to_batch(some).replace_schema_metadata(schema.metadata))

        try:
            atomic.write_with(unit.path, fill)
        except StorageError:  # another process has made it, and tidied up behind all units
            if not self._is_done(unit):
                raise
        written.num_written += 1
        written.num_answered += counts.num_answered
        written.num_bad += counts.num_bad
        written.withheld = dict(Counter(written.withheld) + Counter(counts.withheld))

    def _finish(self) -> None:
        """Look at every unit once more, write what they are together, and tidy up behind killed processes."""
        totals: Counter[str] = Counter()
        for number in range(self._num_units):
            unit = self._unit(number)
            self._is_done(unit)
            totals.update(_count_reasons(unit.path))
        num_answered = len(self._listing) - totals["bad"]
        counts = {"num_answered": num_answered, **{f"num_{reason}": totals[reason] for reason in sorted(totals)}}
        identity = self._identity(self._unit(0))
        of_all = {name: value for name, value in identity.items() if name not in ("unit", "first_image", "num_rows")}
        summary = {**of_all, "saccade": __version__, **self._kind.facts, **counts}
        atomic.write_text(self._path / SUMMARY, json.dumps(summary, indent=1) + "\n")
        for path in self._path.glob(f"{self._kind.name}-*{atomic.TEMPORARY_SUFFIX}"):
            path.unlink(missing_ok=True)


def _read_facts(path: Path) -> dict[str, Any]:
    """What a Parquet file says under `saccade`; nothing where it does not. Raises DataError for a damaged file."""
    pyarrow, _ = import_pyarrow()
    try:
        if not path.is_file():
            raise OSError("it is not a file")
        with open_parquet(path) as file:
            facts = json.loads((file.schema_arrow.metadata or {}).get(METADATA, b"{}"))
            num_rows = file.metadata.num_rows
    except (OSError, ValueError, pyarrow.ArrowException) as error:
        raise DataError(
            f"{printable(str(path))} cannot be read: {printable(str(error)[:100]).rstrip('.')}.\n"
            f"Remove it, and it is made again: rm {shell_word(path)}"
        ) from None
    return {**facts, "num_rows": num_rows} if isinstance(facts, dict) else {}


def _count_reasons(path: Path) -> Counter[str]:
    """How many images of a unit are `bad`, and how many have no answer, by reason."""
    with open_parquet(path) as file:
        names = [name for name in (ERROR, REASON) if name in file.schema_arrow.names]
        table = file.read(columns=names, use_threads=False)
    found = Counter({"bad": table.num_rows - table[ERROR].null_count})
    if REASON in names:
        found.update(reason for reason in table[REASON].to_pylist() if reason not in (None, UNREADABLE))
    return found


def _first_difference(found: Any, wanted: Mapping[str, Any]) -> str:
    known = found if isinstance(found, dict) else {}
    return next((f"--{name.replace('_', '-')}" for name in wanted if known.get(name) != wanted[name]), "setting")
