"""`saccade features RUN IMAGES... --out FILE`: what a network sees of images, as a file for other tools."""

from pathlib import Path

import typer

from .argument_order import refuse_swapped
from .asked import ALLOW_URL, AskedImages, print_bad, refuse_bad


def features(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    images: list[str] = typer.Argument(
        metavar="FILE-OR-FOLDER-OR-SOURCE...", help="Images, folders, sources, or - for a list on stdin."
    ),
    out: Path = typer.Option(..., "--out", metavar="FILE", help="The file to write: .parquet, .npz or .csv."),
    allow_url: bool = ALLOW_URL,
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
    quiet: bool = typer.Option(False, "--quiet", help="Print the result and errors only."),
) -> None:
    """Write what the head of the network sees of each image: one vector an image, with its label where known.

    A file that cannot be read is named and left out (exit status 1).
    """
    from .. import api
    from ..core.errors import counted, printable, shell_word

    refuse_swapped("features", [str(run)], images, options=f"--out {shell_word(out)}")
    asked = AskedImages(images, quiet, as_json, allow_url, reads_labels=True)
    written = api.features(run, asked.items, out, bad=print_bad)
    where = printable(str(out))
    asked.print_answer(
        run,
        [f"{counted(written.num_features, 'feature')} of {counted(written.num_written, 'image')} written to {where}."],
        {
            "out": str(out),
            "num_written": written.num_written,
            "num_bad": written.num_bad,
            "num_features": written.num_features,
            **{key: written.facts[key] for key in ("network", "weights_sha256", "preprocessing_sha256")},
        },
    )
    refuse_bad(written.num_bad, written.num_written, f"they are not in {where}")
