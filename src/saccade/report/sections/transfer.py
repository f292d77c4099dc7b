"""What a pretrained network brought: how deep it is frozen, why, and everything that was measured to decide it."""

from typing import Any

from ...evaluate.words import percent
from ..html import Child, Markup, element, section, table
from ..ladder_chart import WORDS
from ..record import RunRecord
from .classes import interval_strip

HEADINGS: list[Child] = [
    "frozen up to",
    "what is trained",
    "images",
    "correct, 0 to 100 %",
    "correct %",
    "95 % interval",
    "p, better",
    "parameters",
]


def transfer_section(record: RunRecord) -> Markup:
    """The sentence that chose the depth, the origin of the weights, and the ladder as a table."""
    values = record.transfer
    origin = record.manifest.provenance.get("transfer")
    origin = origin if isinstance(origin, dict) else {}
    rungs = [rung for rung in values.get("rungs") or [] if isinstance(rung, dict)]
    rungs.sort(key=lambda rung: -rung["num_images"])  # the fits that decided come first
    rows = [_row(rung, rungs[0]["num_images"]) for rung in rungs]
    words = [str(values.get("sentence", "")), _weights(origin), _start(values), _seconds(values)]
    listing = [
        element("h3", {}, "What was measured"),
        element("p", {}, "All of it on training images left out in turn, none on the images this report judges by."),
        table(HEADINGS, rows, "Accuracy on images left out, by how deep is frozen and what is trained", numeric_from=2),
    ]
    return section(
        "transfer",
        "What was transferred",
        *(element("p", {}, text) for text in words if text),
        *(listing if rows else ()),
    )


def _row(rung: dict[str, Any], num_deciding: int) -> list[Child]:
    """Depths are compared with each other by the fits on most images alone."""
    accuracy = rung["num_correct"] / rung["num_judged"]
    trained = str(rung.get("trained"))
    p_value, is_compared = rung.get("p_better", 1.0), trained == "tail" and rung["num_images"] == num_deciding
    return [
        str(rung["depth"]),
        WORDS.get(trained, trained),
        f"{rung['num_images']:,}",
        interval_strip(accuracy, rung["low"], rung["high"]),
        percent(accuracy),
        f"{percent(rung['low'])} to {percent(rung['high'])}",
        ("<0.001" if p_value < 0.001 else f"{p_value:.3f}") if is_compared else "-",
        f"{rung['num_parameters']:,}",
    ]


def _weights(origin: dict[str, Any]) -> str:
    if not origin:
        return ""
    digest = str(origin.get("weights_sha256", ""))[:16]
    licence = f", licence {origin['licence']}" if origin.get("licence") else ""
    return f"Weights: {origin.get('backbone')} from {origin.get('weights')}{licence}, SHA-256 {digest}."


def _start(values: dict[str, Any]) -> str:
    accuracy = values.get("held_out_accuracy")
    if not isinstance(accuracy, float):
        return ""
    validation = values.get("validation_accuracy", -1.0)
    also = f", {percent(validation)} % of the validation images" if validation >= 0 else ""
    return (
        f"The fitted last layer alone is right on {percent(accuracy)} % of the training images, each left out in turn"
        f"{also}."
    )


def _seconds(values: dict[str, Any]) -> str:
    if "features_s" not in values:
        return ""
    return (
        f"Features took {values['features_s']:.1f} s ({values.get('num_computed', 0):,} images computed, "
        f"{values.get('num_found', 0):,} found on disk), fits {values.get('heads_s', 0):.1f} s."
    )
