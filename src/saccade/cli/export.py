"""`saccade export RUN --format onnx|openvino|hub|browser|triton`: a run as files that other programs read."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError, printable, shell_word
from .missing import refuse_missing
from .output import print_json, print_notes, print_result

if TYPE_CHECKING:
    from ..ship.export import ExportedRun


def export(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    formats: list[str] = typer.Option(
        [],
        "--format",
        metavar="NAME",
        help="onnx, openvino, hub, browser or triton; may be given several times. [onnx; with --int8 openvino]",
    ),
    half: bool = typer.Option(
        False, "--half", help="Store OpenVINO's weights as float16: half the size, answers a little otherwise."
    ),
    int8: bool = typer.Option(
        False, "--int8", help="Let OpenVINO's file compute in 8 bits, where the validation images show a small loss."
    ),
    max_drop: float | None = typer.Option(
        None,
        "--max-drop",
        metavar="POINTS",
        help="Points of accuracy, or hundredths of a number's standard deviation, that --int8 may lose at 95 %. [0.5]",
    ),
    source: str = typer.Option(
        "", "--source", metavar="SOURCE", help="For --int8: the run's images, if they lie elsewhere now."
    ),
    runtime: Path | None = typer.Option(
        None,
        "--runtime",
        metavar="PATH",
        help="For browser: onnxruntime-web, as a folder or as 'npm pack' writes it; else it is downloaded once.",
    ),
    out: Path | None = typer.Option(None, "--out", metavar="DIR", help="Folder to write; default: RUN/export."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Write the network with its preprocessing and its temperature as files that answer as 'saccade predict' does.

    The graphs of onnx, openvino and triton take uint8 pixels that are resized and cut already (README.md in the folder
    says how), in batches of any size, and give logits, probabilities (or the number that is asked for) and the distance
    from the training images, by which an image is told to be unlike them. hub is a folder that timm and transformers
    load: of networks that timm has, and of a transfer once it has a plain last layer, since timm has none like the one
    that is fitted by default; the refusal prints the command. browser is a page that opens without a network and takes
    photos of any size, and the camera. Each file is run by its own engine and compared with the run before it is kept;
    where it answers otherwise, nothing is written.
    """
    if not int8 and (max_drop is not None or source):
        raise UsageError("--max-drop and --source are for --int8.\nAdd --int8, or leave them out.")
    if int8 and formats and "openvino" not in formats:
        names = " ".join(f"--format {shell_word(name)}" for name in [*formats, "openvino"])
        raise UsageError(
            f"--int8 is for OpenVINO's file, and --format names others.\n"
            f"Write: saccade export {shell_word(run)} {names} --int8"
        )
    formats = formats or (["openvino"] if int8 else ["onnx"])
    from ..ship.needed import refuse_absent

    refuse_absent(formats)  # before torch is imported, which takes seconds
    refuse_missing(run)
    from .. import api

    usual = api.AskedInt8(source=source)
    asked = usual if max_drop is None else replace(usual, max_drop=max_drop)
    exported = api.export(run, out, formats, half, runtime, print_note, asked if int8 else None)
    if as_json:
        print_json(_exported_json(exported, run))
        return
    print_result("\n".join([*exported.display_lines(), *_next_lines(exported)]))


def _next_lines(exported: "ExportedRun") -> list[str]:
    """Where it is said how the files are used; a page is opened, as the lines before say."""
    readme = exported.folder / "README.md"
    if "browser" in exported.differences or not readme.is_file():
        return []
    return [f"How to use it: {printable(str(readme))}"]


def print_note(text: str) -> None:
    """Say on stderr what takes long."""
    print_notes([text])


def _exported_json(exported: "ExportedRun", run: Path) -> dict[str, Any]:
    bundle = exported.bundle
    return {
        "run": str(run),
        "out": str(exported.folder),
        "formats": list(bundle.formats),
        "half": bundle.half,
        "int8": bundle.int8.model_dump(mode="json") if bundle.int8 else None,
        "unlike_training": bundle.unlike_training.model_dump(mode="json") if bundle.unlike_training else None,
        "files": {
            name: {"num_bytes": record.num_bytes, "sha256": record.sha256} for name, record in bundle.files.items()
        },
        "differences": {
            name: {
                "logits": found.logits,
                "probabilities": found.probabilities,
                "numbers": found.numbers,
                "squared_distances": found.squared_distances,
                "num_images": found.num_images,
            }
            for name, found in exported.differences.items()
        },
    }
