"""`saccade push RUN OWNER/NAME`: a run on the Hugging Face hub, for timm, transformers and Saccade."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .output import print_json, print_notes, print_result

if TYPE_CHECKING:
    from ..ship.push import PushedRun


def push(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    name: str = typer.Argument(metavar="OWNER/NAME", help="Repository on the hub; it is made where it is not there."),
    private: bool = typer.Option(False, "--private", help="Make a new repository private; refuse one that is public."),
    dry_run: bool = typer.Option(
        False, "--dry-run", help="List the files with sizes and digests; send nothing, ask nobody."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Send the folder of 'saccade export --format hub' to the Hugging Face hub, as one commit, and no other file.

    The folder is loaded again and compared with the run first. The token is that of HF_TOKEN, or of 'hf auth login'.
    """
    from .. import api

    pushed = api.push(run, name, private, dry_run)
    print_notes(pushed.notes)
    if as_json:
        print_json(_pushed_json(pushed, run))
        return
    print_result("\n".join(pushed.display_lines()))


def _pushed_json(pushed: "PushedRun", run: Path) -> dict[str, Any]:
    return {
        "run": str(run),
        "name": pushed.name,
        "files": {
            name: {"num_bytes": record.num_bytes, "sha256": record.sha256} for name, record in pushed.files.items()
        },
        "commit": pushed.commit,
        "page": pushed.page,
        "is_new": pushed.is_new,
        "read_by": pushed.exported.bundle.read_by,
        "notes": list(pushed.notes),
    }
