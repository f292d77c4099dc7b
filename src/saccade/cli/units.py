"""A folder of Parquet files that `predict` and `features` share out over processes: its options, and what is told."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError
from .asked import AskedImages, refuse_nothing
from .output import print_json, print_notes, print_opening, print_result

if TYPE_CHECKING:
    from ..classify.units import UnitsWritten

UNIT_OF = typer.Option(
    "",
    "--unit-of",
    metavar="K/N",
    help="Of a folder: write every N-th file, from K (0 to N - 1) on; env: as torchrun's or Slurm's variables say.",
)


def is_folder(out: str) -> bool:
    """Whether `--out` names a folder: one that is there, a name that ends with /, or one without an ending."""
    return out.endswith("/") or os.path.isdir(out) or not Path(out).suffix


def refuse_without_folder(option: str, is_given: bool) -> None:
    """Raise UsageError where `option`, which is for a folder, is given without one."""
    if is_given:
        raise UsageError(
            f"{option} is for a folder of Parquet files: give --out a folder's name, such as --out parts/."
        )


def told_of(asked: AskedImages, line: str) -> None:
    """Say on stderr that a file is written, unless the command is to be quiet."""
    if not asked.quiet:
        print_opening(line)


def print_units(run: str, asked: AskedImages, written: "UnitsWritten", notes: list[str], more: dict[str, Any]) -> None:
    """Print what was written into a folder of units; `more` stands behind it in the JSON object."""
    notes = [*asked.notes(), *notes]
    if asked.as_json:
        names = ("num_images", "num_units", "num_there", "num_written", "num_answered", "num_bad")
        values = {name: getattr(written, name) for name in names}
        print_json(
            {"run": run, "out": str(written.path), **values, "is_complete": written.is_complete, **more, "notes": notes}
        )
        return
    print_result("\n".join(_written_lines(written)))
    if not asked.quiet:
        print_notes(notes)
    if written.num_written:
        refuse_nothing(written.num_bad, written.num_answered)


def _written_lines(written: "UnitsWritten") -> list[str]:
    """What this call wrote, and what is there: once where that is the same."""
    from ..core.errors import counted, printable

    where = printable(str(written.path))
    num_images = written.num_answered + written.num_bad
    bad = f" ({written.num_bad:,} unreadable)" if written.num_bad else ""
    wrote = f"{counted(written.num_written, 'file')} of {counted(num_images, 'image')}{bad} written to {where}"
    if written.is_complete and written.num_written == written.num_units:
        return [f"{wrote}, which is complete."]
    lines = [f"{wrote}."] if written.num_written else []
    if written.is_complete:
        all_images = f"{counted(written.num_units, 'file')} of {counted(written.num_images, 'image')}"
        there = "is complete" if lines else "was complete already"
        return [*lines, f"{where} {there}: {all_images}."]
    return [
        *lines,
        f"{written.num_there:,} of {counted(written.num_units, 'file')} are there; other processes, or the same "
        f"command again, write the others.",
    ]
