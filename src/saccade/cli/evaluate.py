"""`saccade evaluate RUN... SOURCE`: how good a classifier, or several together, is on images it has not seen."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import UsageError
from .output import format_table, print_json, print_result

if TYPE_CHECKING:
    from ..predict.evaluation import Evaluation, Together

MAX_ROWS = 40
SURE = 0.9


def evaluate(
    arguments: list[str] = typer.Argument(
        metavar="RUN... SOURCE", help="A run, or several that answer together, then the images to judge on."
    ),
    crops: int = typer.Option(1, "--crops", help="Looks at each image: 1, 5, 10, or a grid such as 9 or 18."),
    scales: str = typer.Option("1", "--scales", help="Enlargements to look at, such as 1,1.15; each with all crops."),
    mistakes: Path | None = typer.Option(None, "--mistakes", help="Write every wrong answer to this CSV file."),
    as_json: bool = typer.Option(False, "--json", help="Print the result as one JSON object."),
) -> None:
    """Judge RUN on the images of SOURCE that are for judging: the test part where there is one."""
    if len(arguments) < 2:
        raise UsageError("evaluate needs a run and a source: saccade evaluate runs/digits-lenet5-1 digits.")
    from .. import api

    evaluation = api.evaluate([Path(text) for text in arguments[:-1]], arguments[-1], crops, _scales(scales))
    if mistakes is not None:
        api.write_mistakes(evaluation, mistakes)
    if as_json:
        print_json(evaluation_json(evaluation))
    else:
        print_result(evaluation_text(evaluation))
        if mistakes is not None:
            from ..core.errors import printable

            print_result(f"\nThe wrong answers, the most confident first, are in {printable(str(mistakes))}.")


def evaluation_json(evaluation: "Evaluation") -> dict[str, Any]:
    """The object of `evaluate --json`; its keys are a contract."""
    from ..evaluate.words import metrics_json

    return {
        "run": ", ".join(str(run) for run in evaluation.runs),
        "model": evaluation.model,
        "source": evaluation.source,
        **metrics_json(evaluation.metrics),
        "ece_calibrated": evaluation.calibrated().ece,
        "temperature": evaluation.temperature,
        "seconds": round(evaluation.seconds, 3),
        "images_per_second": round(evaluation.metrics.num_samples / max(evaluation.seconds, 1e-9), 1),
        "seed": evaluation.seed,
        "judged_on": evaluation.judged_on,
        "notes": list(evaluation.notes),
        "together": _together_json(evaluation.together) if evaluation.together else None,
    }


def evaluation_text(evaluation: "Evaluation") -> str:
    """The verdict, the notes, calibration, what several looks or runs gain and cost, and the table of classes."""
    from ..core.errors import printable
    from ..evaluate.words import class_rows, percent, verdict

    metrics = evaluation.metrics
    calibrated = evaluation.calibrated()
    top5 = f"Top-5 {percent(metrics.top5)} %, " if metrics.top5 is not None else ""
    scaled = f" ({percent(calibrated.ece)} % with temperature {evaluation.temperature:.2f})"
    headings, rows = class_rows(metrics)
    order = sorted(range(len(rows)), key=lambda k: metrics.recall_K[k])[:MAX_ROWS]
    shown = rows if len(rows) <= MAX_ROWS else [rows[k] for k in order]
    lines = [
        verdict(metrics),
        *(f"note: {note}" for note in evaluation.notes),
        f"Judged on {evaluation.judged_on}.",
        f"{top5}macro-F1 {percent(metrics.macro_f1)} %, log loss {metrics.loss:.3f}, calibration error "
        f"{percent(metrics.ece)} %{scaled if evaluation.temperature != 1 else ''}.",
        evaluation.answering_only_at(SURE),
    ]
    if evaluation.together:
        lines += ["", *_together_lines(evaluation.together)]
    lines += ["", format_table(headings, [[printable(cell) for cell in row] for row in shown])]
    if len(shown) < len(rows):
        lines.append(f"(the {MAX_ROWS} classes of {len(rows)} with the lowest recall; --json has all)")
    return "\n".join(lines)


def _together_lines(together: "Together") -> list[str]:
    from ..core.errors import printable
    from ..evaluate.words import percent

    gain, cost = together.sentences()
    if len(together.members) == 1:
        return [gain, cost]
    rows = [
        [
            printable(str(member.run)),
            percent(member.metrics.top1),
            f"{percent(member.metrics.top1_low)} to {percent(member.metrics.top1_high)}",
            f"{member.against_best.p_value:.3f}" if member.against_best else "best",
        ]
        for member in together.members
    ]
    return [format_table(["run alone", "correct %", "95 % interval", "McNemar p"], rows), gain, cost]


def _together_json(together: "Together") -> dict[str, Any]:
    gain = together.gain
    return {
        "crops": together.num_looks,
        "members": [
            {
                "run": str(member.run),
                "top1": member.metrics.top1,
                "top1_low": member.metrics.top1_low,
                "top1_high": member.metrics.top1_high,
                "p_value_against_best": member.against_best.p_value if member.against_best else None,
            }
            for member in together.members
        ],
        "gain": gain.difference,
        "gain_low": gain.low,
        "gain_high": gain.high,
        "p_value": gain.p_value,
        "times_slower": round(together.times_slower, 2),
        "single_ms": round(together.single_ms, 4),
        "together_ms": round(together.together_ms, 4),
        "single_weights_bytes": together.single_bytes,
        "weights_bytes": together.together_bytes,
    }


def _scales(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise UsageError(f"--scales takes numbers such as 1,1.15; got '{text}'.") from None
