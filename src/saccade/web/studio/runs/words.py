"""A run in words: how it stands, what is left, when it changed, its verdict."""

import time
from dataclasses import dataclass
from typing import Any

from ....classify.run_list import progress_words, unit_of, value_words, verdict_words
from ....core.durations import between_words
from ....core.errors import counted, printable
from ....core.head_name import head_words
from ....core.plain_numbers import whole_number
from ....evaluate.rates import percent
from ....models.new_head import network_words
from ....report.html import Markup
from ....report.sections.classes import interval_strip
from ....runs.standing import Standing
from .index import Run
from .sparkline import sparkline

MAX_NETWORK = 80  # characters of its name
FIGURES = {"top1": "correct", "map": "mAP", "mae": "mean absolute error"}


@dataclass(frozen=True, kw_only=True)
class PartRow:
    """A member of an ensemble, or a fold; `value` is the figure of its verdict, `standing` the verdict, or how far it
    is."""

    id: str
    name: str
    full_name: str
    state: str
    value: str
    standing: str


@dataclass(frozen=True, kw_only=True)
class Row:
    """A run in the list. `verdict` is (value, interval), as text; `order` what each column sorts by."""

    id: str
    name: str
    state: str
    is_stale: bool
    progress: str
    verdict: tuple[str, str]
    unit: str
    figure: str
    strip: Markup | None
    curve: Markup | None
    network: str
    head: str
    data: str
    num_images: str
    active_s: int
    active: str
    problem: str
    is_ensemble: bool
    parts: tuple[PartRow, ...]
    order: dict[str, Any]


def network_of(standing: Standing) -> str:
    """Its network for a person, as the report and the opening lines call it."""
    return printable(network_words(standing.model))[:MAX_NETWORK]


def row_of(run: Run, standing: Standing, now_s: float) -> Row:
    """What the list shows of a run."""
    found = standing.figure
    rate = found if found and found.name != "mae" else None
    values = [event.validation_accuracy for event in standing.epochs if event.validation_accuracy is not None]
    is_stale = standing.is_stale(now_s)
    return Row(
        id=run.id,
        name=printable(run.name),
        state=standing.state,
        is_stale=is_stale,
        progress=progress_words(standing),
        verdict=value_words(found),
        unit=unit_of(found),
        figure=FIGURES[found.name] if found else "",
        strip=interval_strip(rate.value, rate.low, rate.high)
        if rate and rate.low is not None and rate.high is not None
        else None,
        curve=sparkline(values, f"Validation accuracy from {percent(values[0])} to {percent(values[-1])} %")
        if values
        else None,
        network=network_of(standing),
        head=head_words(standing.model),
        data=printable(standing.config.source_name)[:80],
        num_images="" if standing.num_images is None else f"{standing.num_images:,}",
        active_s=round(standing.active_s),
        active=time_words(standing.active_s),
        problem=printable(standing.problem.splitlines()[0]) if standing.problem else "",
        is_ensemble=standing.is_ensemble,
        parts=parts_of(run),
        order={
            "run": run.name.lower(),
            "state": ("running", "damaged", "stopped", "finished").index(standing.state),
            "verdict": rate.value if rate else -1.0,
            "network": network_of(standing).lower(),
            "images": standing.num_images or 0,
            "changed": standing.active_s,
        },
    )


def parts_of(run: Run) -> tuple[PartRow, ...]:
    """The members of an ensemble, or the folds, as lists name them."""
    found = [(part, part.look()) for part in run.parts]
    return tuple(
        PartRow(
            id=part.id,
            name=printable(part.path.name),
            full_name=printable(part.name),
            state=standing.state,
            value=value_words(standing.figure)[0] + unit_of(standing.figure),
            standing=verdict_words(standing.figure) if standing.figure else progress_words(standing),
        )
        for part, standing in found
    )


def stage_words(standing: Standing) -> str:
    """What a run that goes on is doing, as a sentence."""
    if standing.epochs and standing.num_epochs and standing.epochs[-1].epoch >= standing.num_epochs:
        return "All epochs are done; it is being judged."
    if standing.epochs:
        return f"{progress_words(standing).capitalize()} is done."
    if standing.num_parts:
        return f"{progress_words(standing)}."
    if standing.is_fitted:
        return "The last layer is fitted; it is being judged."
    if standing.num_fits:
        return f"It chooses the depth: {counted(standing.num_fits, 'measurement')} done."
    return "It reads images; the first epoch is not done yet."


def left_words(left_s: tuple[float, float] | None) -> str:
    """`4 to 6 min left, judging included.`; "" where nothing tells."""
    if left_s is None or left_s[1] <= 0:
        return ""
    return f"{between_words(*left_s).capitalize()} left, judging included."


def duration_words(seconds: float) -> str:
    """`40 s`, `12 min`, `3.5 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 6000:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h"


def time_words(seconds: float) -> str:
    """`2026-11-30 07:51`, of this machine; "-" where nothing says it."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(seconds)) if seconds > 0 else "-"


def page_number(text: str) -> int:
    """The page that an address asks for, from 1 on; 1 for what is no number."""
    return max(1, whole_number(text) or 1)
