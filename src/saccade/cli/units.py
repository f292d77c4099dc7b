"""A folder of Parquet files that `predict` and `features` share out over processes: its options, and what is told."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError
from .asked import AskedImages
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
    from ..core.errors import counted, printable

    notes = [*asked.notes(), *notes]
    if asked.as_json:
        names = ("num_images", "num_units", "num_there", "num_written", "num_answered", "num_bad")
        values = {name: getattr(written, name) for name in names}
        print_json(
            {"run": run, "out": str(written.path), **values, "is_complete": written.is_complete, **more, "notes": notes}
        )
        return
    num_images = written.num_answered + written.num_bad
    bad = f", {written.num_bad:,} of them unreadable" if written.num_bad else ""
    where = printable(str(written.path))
    lines = [f"{counted(written.num_written, 'file')} of {counted(num_images, 'image')}{bad} written to {where}."]
    if written.is_complete:
        lines.append(f"{where} is complete: {counted(written.num_units, 'file')} of {written.num_images:,} images.")
    else:
        lines.append(
            f"{written.num_there:,} of {counted(written.num_units, 'file')} are there; other processes, or the same "
            f"command again, write the others."
        )
    print_result("\n".join(lines))
    if not asked.quiet:
        print_notes(notes)
