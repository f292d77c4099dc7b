"""`saccade evaluate RUN SOURCE`: how good a trained classifier is on images it has not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError
from .output import format_table, print_json, print_result

if TYPE_CHECKING:
    from ..predict.judge import Evaluation


def evaluate(
    arguments: list[str] = typer.Argument(metavar="RUN SOURCE", help="A run directory, then the images to judge on."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Judge RUN on the images of SOURCE that are for judging: the test part where there is one."""
    if len(arguments) < 2:
        raise UsageError("evaluate needs a run and a source: saccade evaluate runs/digits-lenet5-1 digits.")
    from .. import api

    evaluation = api.evaluate([Path(text) for text in arguments[:-1]], arguments[-1])
    if as_json:
        print_json(evaluation_json(evaluation))
    else:
        print_result(evaluation_text(evaluation))


def evaluation_json(evaluation: "Evaluation") -> dict[str, Any]:
    """The object of `evaluate --json`; its keys are a contract."""
    from ..evaluate.words import metrics_json

    return {
        "run": str(evaluation.run),
        "model": evaluation.model,
        "source": evaluation.source,
        **metrics_json(evaluation.metrics),
        "seconds": round(evaluation.seconds, 3),
        "images_per_second": round(evaluation.metrics.num_samples / max(evaluation.seconds, 1e-9), 1),
        "seed": evaluation.seed,
        "judged_on": evaluation.judged_on,
        "notes": list(evaluation.notes),
    }


def evaluation_text(evaluation: "Evaluation") -> str:
    """The verdict, the notes, and the table of classes."""
    from ..core.errors import printable
    from ..evaluate.words import verdict

    metrics = evaluation.metrics
    rows = [
        [printable(name), f"{support:,}", _percent(precision), _percent(recall)]
        for name, support, precision, recall in zip(
            metrics.classes, metrics.support_K, metrics.precision_K, metrics.recall_K, strict=True
        )
    ]
    shown = rows if len(rows) <= 40 else sorted(rows, key=lambda row: row[3])[:40]
    lines = [
        verdict(metrics),
        *(f"note: {note}" for note in evaluation.notes),
        f"Judged on {evaluation.judged_on}.",
        "",
    ]
    lines.append(format_table(["class", "images", "precision", "recall"], shown))
    if len(shown) < len(rows):
        lines.append(f"(the 40 classes of {len(rows)} with the lowest recall; --json has all)")
    return "\n".join(lines)


def _percent(value: float) -> str:
    return "-" if value != value else f"{100 * value:.1f} %"
