"""`saccade convert`: a public `.pth` into a safetensors file with a card."""

from pathlib import Path

import typer

from ..core.errors import printable
from .output import print_json, print_result


def convert(
    path: Path = typer.Argument(metavar="FILE", help="A state dict written by torch.save: .pth, .pt, .th, .bin."),
    model: str = typer.Option(
        ..., "--model", metavar="NAME", help="The network it belongs to; 'saccade models' lists them."
    ),
    out: Path = typer.Option(
        ...,
        "--out",
        metavar="PATH",
        help="The .safetensors file to write, or a new folder: evaluate and predict take it as a run.",
    ),
    preprocessing: Path | None = typer.Option(
        None, "--preprocessing", metavar="FILE", help="JSON of how pixels become inputs."
    ),
    classes: Path | None = typer.Option(None, "--classes", metavar="FILE", help="JSON list of class names."),
    licence: str = typer.Option("", "--licence", metavar="TEXT", help="Under which licence the weights may be used."),
    source: str = typer.Option(
        "", "--source", metavar="SOURCE", help="Where they come from; default: the file's name."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Turn the pickle FILE into safetensors, with a card that says what it is.

    A pickle can ask for any code. FILE is opened in a child process by torch.load(weights_only=True), which refuses
    code. On Linux the child has no network and can gain no privileges, where the kernel allows it; memory, processor
    time, file sizes, open files and (except for root) new processes are limited, and 120 s are its end. What was
    enforced is printed.
    The child can read what you can read: for a file you distrust, use a machine of its own.
    """
    from ..weights.convert import ConvertRequest
    from ..weights.convert import convert as convert_pickle

    request = ConvertRequest(
        path=path, model=model, out=out, preprocessing=preprocessing, classes=classes, licence=licence, source=source
    )
    converted = convert_pickle(request)
    if as_json:
        print_json(converted.as_json())
        return
    weights = converted.weights
    where = printable(str(weights.path))
    head = f"{weights.num_classes} classes" if weights.num_classes else "without a head"
    print_result(f"{where}: {converted.num_tensors} tensors of {weights.model}, {head}")
    print_result(f"SHA-256 {weights.sha256}\nmade of {converted.original_sha256}")
    print_result(f"opened in a child process with: {converted.walls}")
    for note in weights.notes:
        print_result(f"note: {note}")
