"""`saccade explain RUN IMAGE --out FILE`: why a classifier says what it says of an image."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from .argument_order import refuse_swapped
from .output import print_json, print_opening, print_result
from .outputs import Output, check_outputs

SIDES = ("top", "left", "bottom", "right")

if TYPE_CHECKING:
    from ..explain.explanation import Explanation


def explain(
    run: Path = typer.Argument(metavar="RUN", help="Run directory, or a checkpoint folder in it."),
    image: Path = typer.Argument(metavar="IMAGE", help="Image file."),
    out: Path = typer.Option(..., "--out", metavar="FILE", help="The sheet to write: .svg or .png."),
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
    from .. import api
    from ..core.errors import printable, shell_word
    from ..evaluate.words import percent

    refuse_swapped("explain", [str(run)], [str(image)], options=f"--out {shell_word(out)}")
    check_outputs([Output(option="--out", path=out, endings=())], [image])
    explanation = api.explain(run, image, out, class_name, layer, source, opened=print_opening)
    if as_json:
        print_json(_explanation_json(explanation, run, out))
        return
    said = explanation.answer_words()
    if explanation.top(1) and explanation.labels is None:
        name, probability = explanation.top(1)[0]
        said = f"'{printable(name)}', {percent(probability)} %"
    lines = [f"{printable(str(image))}: {said}."]
    lines += explanation.answering_words()
    place = explanation.evidence
    lines.append(place.message or f"Evidence for '{printable(place.class_name)}' was found in layer '{place.layer}'.")
    lines += [explanation.occlusion.message] if explanation.occlusion.message else []
    lines += [explanation.features.words(), f"Sheet: {printable(str(out))}"]
    print_result("\n".join(lines))


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
