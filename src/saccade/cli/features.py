"""`saccade features RUN IMAGES... --out FILE`: what a network sees of images, as a file for other tools."""

from pathlib import Path

import typer

from .argument_order import refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad
from .missing import refuse_missing
from .units import UNIT_OF, is_folder, print_units, refuse_without_folder, told_of


def features(
    run: Path = typer.Argument(
        metavar="RUN-OR-NETWORK", help="Run directory, or a checkpoint folder in it; with --weights a network's name."
    ),
    images: list[str] = typer.Argument(
        metavar="FILE-OR-FOLDER-OR-SOURCE...", help="Images, folders, sources, or - for a list on stdin."
    ),
    out: str = typer.Option(
        ...,
        "--out",
        metavar="FILE",
        help="The file to write: .parquet, .npz or .csv; or a folder, for Parquet files of 4,096 images each.",
    ),
    unit_of: str = UNIT_OF,
    half: bool = typer.Option(False, "--half", help="Of a folder: write float16, half the bytes."),
    weights: str = typer.Option(
        "", "--weights", metavar="FILE", show_default=False, help="Public weights of the network that is named first."
    ),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Write what the head of the network sees of each image: one vector an image, with its label where known.

    A file that cannot be read is named and left out (exit status 1); in a folder it is a row with the reason.
    """
    from ..core.errors import counted, printable, shell_word

    refuse_swapped("features", [str(run)], images, options=f"--out {shell_word(out)}")
    if not weights:  # with weights it is the name of a network
        refuse_missing(run, () if as_json else images)
    from .. import api

    asked = AskedImages(images, quiet, as_json, allow_url, reads_labels=True)
    if is_folder(out):
        _to_folder(run, weights, asked, out, unit_of, half)
        return
    refuse_without_folder("--unit-of", bool(unit_of))
    refuse_without_folder("--half", half)
    written = api.features(run, asked.items, out, bad=print_bad, weights=weights or None, note=asked.add_note)
    images_words = f"{'' if written.num_written == 1 else 'each of '}{counted(written.num_written, 'image')}"
    where = printable(str(Path(out)))
    asked.print_answer(
        run,
        [f"{counted(written.num_features, 'feature')} of {images_words} written to {where}."],
        {
            "out": str(Path(out)),
            "num_written": written.num_written,
            "num_bad": written.num_bad,
            "num_features": written.num_features,
            **{key: written.facts[key] for key in ("network", "weights_sha256", "preprocessing_sha256")},
        },
    )
    refuse_bad(written.num_bad, written.num_written, f"they are not in {where}")


def _to_folder(run: Path, weights: str, asked: AskedImages, out: str, unit_of: str, half: bool) -> None:
    from .. import api

    written = api.features_to_folder(
        run,
        asked.listing(),
        out,
        half,
        unit_of,
        bad=print_bad,
        told=lambda line: told_of(asked, line),
        weights=weights or None,
        note=asked.add_note,
    )
    print_units(str(run), asked, written, [], {})
