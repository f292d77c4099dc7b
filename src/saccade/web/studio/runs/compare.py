"""Up to six runs beside each other: their verdicts, whether a difference could be luck, curves, settings."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ....classify.compared_runs import Judged, compare_judged, difference_words
from ....classify.run_list import progress_words, unit_of, value_words
from ....core.errors import CheckpointError, ConfigError, printable
from ....core.head_name import head_words
from ....evaluate.rates import percent
from ....report.charts import Axis, Line, figure, line_key, overlay_chart
from ....report.html import Child, Markup
from ....report.sections.curves import extremes
from ....runs.log import EpochEvent
from ....runs.names import CONFIG
from ....runs.settings import read_settings
from ....runs.standing import Standing
from ...refusal import Refusal
from ..place import Studio
from .index import Run, RunIndex
from .records import Records
from .words import network_of, time_words

MAX_RUNS = 6
LETTERS = "ABCDEF"
MAX_VALUE = 120  # characters of a setting
LEFT_OUT = ("source", "format")


def compare_routes(studio: Studio, index: RunIndex, records: Records) -> list[BaseRoute]:
    """The one page."""

    async def compare(request: Request) -> Response:
        asked = list(dict.fromkeys(request.query_params.getlist("run")))
        runs = [index.run(identifier) for identifier in asked[:MAX_RUNS]]
        values = await studio.read(request, lambda: _compared(runs, records))
        left_out = (
            f"Six runs fit; {len(asked) - MAX_RUNS} of {len(asked)} are left out." if len(asked) > MAX_RUNS else ""
        )
        return studio.shell.page("runs/compare.html", "runs", values | {"left_out": left_out})

    return [Route("/runs/compare", compare, methods=["GET"])]


def _compared(runs: Sequence[Run], records: Records) -> dict[str, Any]:
    standings = [run.look() for run in runs]
    rows = [
        {
            "letter": letter,
            "key": line_key(LETTERS.index(letter) + 1),
            "id": run.id,
            "name": printable(run.name),
            "state": standing.state,
            "verdict": value_words(standing.figure),
            "unit": unit_of(standing.figure),
            "network": network_of(standing),
            "head": head_words(standing.model),
            "data": printable(standing.config.source_name)[:80],
            "progress": progress_words(standing),
            "changed": time_words(standing.active_s),
        }
        for letter, run, standing in zip(LETTERS, runs, standings)
    ]
    return {
        "rows": rows,
        "tests": _tests(runs, standings, records),
        "charts": _charts(standings),
        "without_curves": _without_curves(standings),
        "settings": _differing(runs),
    }


def _tests(runs: Sequence[Run], standings: Sequence[Standing], records: Records) -> list[str]:
    """Each run against the first on the images that both were judged on, as sentences."""
    if len(runs) < 2:
        return []
    first, *others = [_judged(run, standing, records) for run, standing in zip(runs, standings, strict=True)]
    return [_test(first, other, letter) for letter, other in zip(LETTERS[1:], others)]


def _test(first: Judged | str, other: Judged | str, letter: str) -> str:
    if isinstance(first, str) or isinstance(other, str):
        return f"{letter} is not compared with A: {first if isinstance(first, str) else other}"
    compared = compare_judged(first, other)
    sentence = difference_words(compared, "A", letter)
    is_fewer = 0 < compared.num_both < max(len(first.keys), len(other.keys))
    return sentence + (f" Only {compared.num_both:,} images were judged in both." if is_fewer else "")


def _judged(run: Run, standing: Standing, records: Records) -> Judged | str:
    """What the run was judged on; or why its answers cannot be compared."""
    try:
        record = records.record(run)
    except Refusal as refusal:
        return refusal.reason.text
    return Judged(
        run=standing,
        task=record.task,
        classes=record.classes,
        keys=record.keys,
        label_N=record.label_N,
        logits_NK=record.logits_NK,
    )


def _charts(standings: Sequence[Standing]) -> list[Markup]:
    """Validation accuracy and the two losses of all runs, where two or more have them."""
    wanted: list[tuple[str, Callable[[EpochEvent], float | None], bool]] = [
        ("Validation accuracy (% correct)", lambda event: event.validation_accuracy, True),
        ("Validation loss", lambda event: event.validation_loss, False),
        ("Training loss", lambda event: event.train_loss, False),
    ]
    charts = []
    for title, value_of, is_rate in wanted:
        lines = []
        for number, standing in enumerate(standings, start=1):
            values = [value_of(event) for event in standing.epochs]
            points = [(float(standing.epochs[place].epoch), values[place]) for place in extremes(values)]
            known = [(epoch, value) for epoch, value in points if value is not None]
            if known:
                lines.append(Line(LETTERS[number - 1], number, [x for x, _ in known], [y for _, y in known]))
        if lines:
            charts.append(_chart(title, lines, is_rate))
    return charts


def _without_curves(standings: Sequence[Standing]) -> str:
    """Which runs have no curve in any chart, and why; "" where all have one."""
    letters = [letter for letter, standing in zip(LETTERS, standings) if not standing.epochs]
    if not letters:
        return ""
    have, they = ("has", "it has") if len(letters) == 1 else ("have", "they have")
    *others, last = letters
    named = f"{', '.join(others)} and {last}" if others else last
    return f"{named} {have} no curve: {they} no finished epoch. Fitting the last layer alone takes none."


def _chart(title: str, lines: list[Line], is_rate: bool) -> Markup:
    def shown(value: float) -> str:
        return f"{percent(value)} %" if is_rate else f"{value:.3f}"

    svg = overlay_chart(lines, (Axis(title="epoch", kind="epochs"), Axis(kind="percent" if is_rate else "linear")))
    best = max if is_rate else min
    summary = "; ".join(f"{line.name}: {shown(best(line.y))} at best, {shown(line.y[-1])} last" for line in lines) + "."
    rows: list[list[Child]] = [
        [line.name, f"{line.x[-1]:,.0f}", shown(best(line.y)), shown(line.y[-1])] for line in lines
    ]
    return figure(title, svg, summary, ["run", "epochs", "best", "last"], rows)


def _differing(runs: Sequence[Run]) -> list[tuple[str, list[str]]]:
    """(key, value of each run) of every setting in which they differ; "default" where a run does not name it."""
    values = [_settings(run) for run in runs]
    keys = sorted({key for found in values for key in found})
    rows = [(key, [found.get(key, "default") for found in values]) for key in keys if key not in LEFT_OUT]
    return [row for row in rows if any(a != b for a, b in pairwise(row[1]))]


def _settings(run: Run) -> dict[str, str]:
    """What was asked for, by dotted key; of a damaged file nothing."""
    try:
        settings = read_settings(run.path / CONFIG)
    except (CheckpointError, ConfigError):
        return {}
    return dict(_flat(settings.values, "")) if settings else {}


def _flat(values: dict[str, Any], prefix: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for key, value in values.items():
        if isinstance(value, dict):
            found += _flat(value, f"{prefix}{key}.")
        else:
            found.append((printable(prefix + key), printable(str(value))[:MAX_VALUE]))
    return found
