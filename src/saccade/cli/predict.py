"""`saccade predict RUN... FILE...`: what a trained classifier, or several together, say of images."""

import sys
from pathlib import Path
from typing import Any

import typer

from ..core.errors import SaccadeError, UsageError
from .output import format_table, print_json, print_notes, print_result


def predict(
    arguments: list[Path] = typer.Argument(
        metavar="RUN... FILE-OR-FOLDER...", help="A run, or several that answer together, then images or folders."
    ),
    top: int = typer.Option(3, "--top", min=1, help="How many classes to show for each image."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Classify image files. A file that cannot be read is named; the others are still answered (exit status 1)."""
    from .. import api
    from ..core.errors import ImageError, printable
    from ..core.types import Prediction

    num_runs = 1  # the first is meant as a run even where none stands there
    while num_runs < len(arguments) and api.is_run(arguments[num_runs]):
        num_runs += 1
    runs, paths = arguments[:num_runs], arguments[num_runs:]
    if not paths:
        raise UsageError("predict needs a run and images: saccade predict runs/digits-lenet5-1 photo.jpg.")
    answers = list(api.predict(runs, paths))
    good = [answer for answer in answers if isinstance(answer, Prediction)]
    bad = [answer for answer in answers if isinstance(answer, ImageError)]
    notes = dict.fromkeys(f"{printable(answer.key)}: {' '.join(answer.notes)}" for answer in good if answer.notes)
    if as_json:
        print_json(
            {
                "run": ", ".join(str(run) for run in runs),
                "predictions": [_answer_json(answer, top) for answer in good],
                "errors": [{"file": error.key, "reason": error.reason} for error in bad],
                "notes": list(notes),
            }
        )
    else:
        rows = [_answer_row(answer, top) for answer in good]
        if rows:
            headings = ["image", "class", "probability", *(f for _ in range(len(rows[0]) // 2 - 1) for f in ("or", ""))]
            print_result(format_table(headings[: len(rows[0])], rows, left=2))
        print_notes(notes)
        for error in bad:
            print(f"error: {error.message}", file=sys.stderr)
    if bad:
        raise SaccadeError(f"{len(bad)} of {len(answers)} files could not be read: {printable(bad[0].key)} first.")


def _answer_json(answer: Any, top: int) -> dict[str, Any]:
    return {
        "file": answer.key,
        "class": answer.top(1)[0][0],
        "probability": answer.top(1)[0][1],
        "top": [{"class": name, "probability": probability} for name, probability in answer.top(top)],
        "latency_ms": round(answer.latency_ms, 3),
    }


def _answer_row(answer: Any, top: int) -> list[str]:
    from ..core.errors import printable

    cells = [printable(answer.key)]
    for name, probability in answer.top(top):
        cells += [printable(name), f"{100 * probability:.1f} %"]
    return cells
