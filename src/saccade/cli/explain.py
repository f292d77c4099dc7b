"""`saccade explain RUN IMAGE --out FILE`: why a classifier says what it says of an image."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError, printable
from .argument_order import refuse_swapped
from .asked import refuse_bad
from .live_line import show
from .missing import refuse_missing
from .output import print_error, print_json, print_opening, print_result
from .outputs import Output, check_outputs

SIDES = ("top", "left", "bottom", "right")
SHEETS = (".svg", ".png")
EXPLAINED = "-explained.svg"  # how the name of a sheet ends that nobody named

if TYPE_CHECKING:
    from ..explain.explanation import Explanation


def explain(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    images: list[Path] = typer.Argument(metavar="IMAGE...", help="Image files, or folders of them."),
    out: Path | None = typer.Option(
        None,
        "--out",
        metavar="PATH",
        help="The sheet, .svg or .png; of several images a folder for them. [IMAGE-explained.svg; explained/]",
    ),
    class_name: str = typer.Option(
        "", "--class", metavar="NAME", help="The class to look for evidence of; default: the answer."
    ),
    layer: str = typer.Option(
        "", "--layer", metavar="NAME", help="The layer to look into: stem, stage1, ...; default: chosen for you."
    ),
    source: str = typer.Option(
        "", "--source", metavar="SOURCE", help="Show which images of this set excite the channels most."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Show on one sheet what the network sees, where its evidence lies, its filters and its strongest maps."""
    from ..core.errors import ImageError, shell_word

    options = f"--out {shell_word(out)}" if out is not None else ""
    refuse_swapped("explain", [str(run)], [str(image) for image in images], options=options)
    refuse_missing(run, images)
    if len(images) == 1 and not images[0].is_dir():
        sheet = out if out is not None else Path(f"{images[0].stem}{EXPLAINED}")
        check_outputs([Output(option="--out", path=sheet, endings=())], images)
        explanation = _explained(run, images[0], sheet, class_name, layer, source)
        if as_json:
            print_json(_explanation_json(explanation, run, sheet))
        else:
            print_result("\n".join(_lines(explanation, images[0], sheet)))
        return
    found = _image_files(images)
    folder = _folder_for_sheets(out, images)
    told, num_bad = [], 0
    for number, image in enumerate(found, start=1):
        show(f"explaining image {number:,} of {len(found):,}")
        sheet = folder / _sheet_name(image, found)
        try:
            explanation = _explained(run, image, sheet, class_name, layer, source)
        except ImageError as error:
            num_bad += 1
            print_error(error.message)
            continue
        told.append(_explanation_json(explanation, run, sheet))
        if not as_json:
            print_result(_short_line(explanation, image))
    if as_json:
        print_json({"run": str(run), "out": str(folder), "images": told})
    elif told:
        print_result(f"Sheets: {printable(str(folder))} ({len(told):,})")
    refuse_bad(num_bad, len(told), "the others have a sheet")


def _explained(run: Path, image: Path, sheet: Path, class_name: str, layer: str, source: str) -> "Explanation":
    from .. import api

    return api.explain(run, image, sheet, class_name, layer, source, opened=print_opening)


def _image_files(images: list[Path]) -> list[Path]:
    """The image files that are named, those of folders in their order. Raises DataError for a folder without any."""
    from ..core.errors import DataError
    from ..data.sources.shared.image_files import walk_images

    found: list[Path] = []
    for image in images:
        if not image.is_dir():
            found.append(image)
            continue
        inside = sorted(Path(os.fsdecode(path)) for path in walk_images(image))
        if not inside:
            raise DataError(
                f"The folder {printable(str(image))} holds no images.\nName image files, or a folder of them."
            )
        found += inside
    return found


def _folder_for_sheets(out: Path | None, images: list[Path]) -> Path:
    """The folder that gets a sheet for each image, made where it is not there. Raises UsageError for a file."""
    from ..core import atomic
    from ..core.errors import shell_word

    folder = out if out is not None else Path("explained")
    if folder.suffix.lower() in SHEETS or folder.is_file():
        raise UsageError(
            f"Several images get a sheet each, and --out {printable(str(folder))} is a file.\n"
            f"Name a folder for them: --out {shell_word(folder.with_suffix(''))}"
        )
    inside = [image for image in images if image.is_dir() and image.resolve() in (folder / "x").resolve().parents]
    if inside:
        raise UsageError(
            f"The sheets would lie among the images in {printable(str(inside[0]))}, and be taken for some of them.\n"
            f"Choose a folder elsewhere with --out."
        )
    atomic.make_folder(folder)
    return folder


def _sheet_name(image: Path, all_images: list[Path]) -> str:
    """The stem of the file; with its folder in front where others have that stem, too."""
    is_alone = sum(other.stem == image.stem for other in all_images) == 1
    return f"{image.stem if is_alone else '-'.join((*image.parts[-2:-1], image.name.replace('.', '-')))}{EXPLAINED}"


def _short_line(explanation: "Explanation", image: Path) -> str:
    """What is said of one of several; that it is unlike training, too, where `saccade predict` gives no answer."""
    from ..explain.explanation import UNLIKE_TRAINING

    unlike = f" {UNLIKE_TRAINING}" if explanation.subject.unlike_training else ""
    return f"{_answer_line(explanation, image)}{unlike}"


def _answer_line(explanation: "Explanation", image: Path) -> str:
    from ..evaluate.verdict import percent

    said = explanation.answer_words()
    if explanation.top(1) and explanation.labels is None:
        name, probability = explanation.top(1)[0]
        said = f"'{printable(name)}', {percent(probability)} %"
    return f"{printable(str(image))}: {said}."


def _lines(explanation: "Explanation", image: Path, out: Path) -> list[str]:
    """What a person reads of it."""
    lines = [_answer_line(explanation, image), *explanation.answering_words()]
    place = explanation.evidence
    lines.append(place.message or f"Evidence for '{printable(place.class_name)}' was found in layer '{place.layer}'.")
    lines += [explanation.occlusion.message] if explanation.occlusion.message else []
    lines += [text for text in [explanation.outside_words()] if text]
    return [*lines, explanation.features.words(), f"Sheet: {printable(str(out))}"]


def _explanation_json(explanation: "Explanation", run: Path, out: Path) -> dict[str, Any]:
    features, on_photo = explanation.features, explanation.field_on_photo
    value, interval = explanation.number
    return {
        "run": str(run),
        "file": explanation.subject.key,
        "out": str(out),
        **({} if explanation.labels is None else {"labels": [name for name, _ in explanation.labels]}),
        **({} if value is None else {"number": value, "interval": list(interval) if interval else None}),
        "top": [{"class": name, "probability": probability} for name, probability in explanation.top(5)],
        "unlike_training": explanation.subject.unlike_training,
        "answering": _answering_json(explanation),
        "class": explanation.class_name,
        "layer": explanation.evidence.layer,
        "evidence": explanation.evidence.evidence_hw.tolist(),
        "message": explanation.evidence.message,
        "field": {
            "position": list(explanation.field.position),
            **{name: getattr(explanation.field, name) for name in SIDES},
        },
        "field_on_photo": {name: getattr(on_photo, name) for name in SIDES} if on_photo else None,
        "num_maps": len(features.order_C),
        "num_dead_maps": features.num_dead,
        "exciting": _exciting_json(explanation),
        "strongest_maps": features.order_C[:10].tolist(),
    }


def _answering_json(explanation: "Explanation") -> dict[str, Any] | None:
    promised = explanation.promised
    if promised is None or promised.min_confidence is None:
        return None
    return {
        "min_confidence": promised.min_confidence,
        "promised_precision": promised.precision,
        "is_reached": explanation.is_sure,
    }


def _exciting_json(explanation: "Explanation") -> list[dict[str, Any]]:
    return [
        {
            "channel": channel.channel,
            "images": [
                {"key": key, "activation": found.activation, "position": list(found.position)}
                for key, found in zip(channel.keys, channel.found)
            ],
        }
        for channel in (explanation.examples.channels if explanation.examples else ())
    ]
