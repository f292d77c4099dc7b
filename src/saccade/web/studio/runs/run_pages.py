"""The pages of a run, and the parts of them that scripts ask for. What they show is made by the report."""

import math
from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....classify.chosen_threshold import Answering, promised_precision
from ....classify.classifier import join_members
from ....core.plain_numbers import whole_number
from ....evaluate.ranking import rank
from ....report.html import Markup, join, section
from ....report.page import judged_sections
from ....report.pictures import Pictures
from ....report.record import RunRecord
from ....report.sections.classes import classes_section, confidence_section
from ....report.sections.confusion import matrix_and_pairs
from ....report.sections.curves import CurveView, curves_section
from ....report.sections.data import data_section, reproduce_section
from ....report.sections.folds import folds_section
from ....report.sections.network import network_section
from ....report.sections.ranking import ranking_section
from ....report.sections.suspects import suspects_section
from ....report.sections.transfer import transfer_section
from ....report.sections.verdict import run_warnings, warning_list
from ....runs.standing import Standing
from ...refusal import NO_SUCH_ROUTE, Refusal
from ..place import Studio
from .frame import frame_of, has_cells, status_of
from .index import Run, RunIndex
from .judged_images import cell_of, cells_with_images
from .records import Records

SCALES = ("linear", "log")
MOST_SMOOTHING = 99  # percent


def run_routes(studio: Studio, index: RunIndex, records: Records) -> list[BaseRoute]:
    """Overview, classes, network, data; the part that a live run renews, and what it polls."""

    async def overview(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        values = await studio.read(request, lambda: _overview(run, records, _view(request), _cell(request)))
        return studio.shell.page("runs/run.html", "runs", values)

    def computed(tab: str, make: Callable[[Run, Records], Markup]) -> Callable[[Request], Awaitable[Response]]:
        """A page of parts that the report makes."""

        async def page(request: Request) -> Response:
            run = index.run(request.path_params["run"])

            def values() -> dict[str, Any]:
                records.record(run)  # raises where there is none
                is_made = records.parts.has((run.id, run.watched.changes, tab))
                body = Markup(_kept(records, run, tab, lambda: make(run, records).text)) if is_made else None
                return frame_of(run, run.look(), records) | {"tab": tab, "body": body}

            return studio.shell.page("runs/tab.html", "runs", await studio.read(request, values))

        return page

    async def part(request: Request) -> Response:
        run, name = index.run(request.path_params["run"]), request.path_params["part"]
        if name == "curves":
            view = _view(request)
            body = await studio.read(request, lambda: _curves(run, run.look(), records, view))
        elif name in TABS:
            body = await studio.compute(
                request, lambda: _kept(records, run, name, lambda: TABS[name](run, records).text)
            )
        else:
            raise Refusal(NO_SUCH_ROUTE)
        return studio.shell.fragment("runs/part.html", {"body": Markup(body)})

    async def status(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        return JSONResponse(await studio.read(request, lambda: status_of(run, run.look())))

    pages: dict[str, Callable[[Request], Any]] = {
        "/runs/{run}": overview,
        **{f"/runs/{{run}}/{tab}": computed(tab, make) for tab, make in TABS.items()},
        "/runs/{run}/parts/{part}": part,
        "/api/runs/{run}": status,
    }
    return [Route(path, page, methods=["GET"]) for path, page in pages.items()]


def _overview(run: Run, records: Records, view: CurveView, cell: tuple[int, int] | None) -> dict[str, Any]:
    standing = run.look()
    values = frame_of(run, standing, records)
    record = values["record"]
    told = join([warning_list(run_warnings(record))]) if record else None
    return values | {
        "tab": "overview",
        "warnings": told,
        "before": _before(run, records) if record else None,
        "curves": Markup(_curves(run, standing, records, view)) if _has_curves(run, records, view) else None,
        "has_epochs": bool(standing.epochs),
        "view": view,
        "has_steps": all(event.step is not None for event in standing.epochs),
        "matrix": Markup(_kept(records, run, "matrix", lambda: _matrix(run, record))) if has_cells(record) else None,
        "cell": cell_of(run, record, *cell) if cell and has_cells(record) else None,
    }


def _curves(run: Run, standing: Standing, records: Records, view: CurveView) -> str:
    is_number = any(event.validation_mae is not None for event in standing.epochs)

    def make() -> str:
        return curves_section(standing.epochs, is_number, view).text if standing.epochs else ""

    return _kept(records, run, f"{view}", make)


def _has_curves(run: Run, records: Records, view: CurveView) -> bool:
    """Whether they are drawn already; else the page comes without them, and its script asks."""
    return records.parts.has((run.id, run.watched.changes, f"{view}"))


def _matrix(run: Run, record: RunRecord) -> str:
    address = f"/runs/{run.id}?true={{true}}&said={{said}}#cell"
    parts = matrix_and_pairs(record.metrics, cells_with_images(record), address)
    return section("confusion", "Confusion matrix", *parts).text


def _before(run: Run, records: Records) -> Markup:
    """What a report shows above the curves: the folds and the transfer."""

    def make() -> str:
        record = records.record(run)
        parts = [folds_section(record.folds, record)] if record.folds else []
        return join([*parts, *([transfer_section(record.transfer, record)] if record.transfer else [])]).text

    return Markup(_kept(records, run, "before", make))


def _classes(run: Run, records: Records) -> Markup:
    record = records.record(run)
    suspects = [suspects_section(record, Pictures(record))] if record.task.tells_wrong_labels else []
    return join([classes_section(record), *suspects])


def _calibration(run: Run, records: Records) -> Markup:
    classifier = join_members([records.network(run)])
    return confidence_section(records.record(run), promised_precision(classifier, [run.path], Answering().precision))


def _ranking(run: Run, records: Records) -> Markup:
    record = records.record(run)
    probability_NK = record.probability_NK
    ranking = rank(probability_NK, record.label_N, record.classes, record.metrics.confusion_KK)
    return ranking_section(probability_NK, record.label_N, ranking)


def _answers(run: Run, records: Records) -> Markup:
    record = records.record(run)
    return join(judged_sections(record, records.network(run), Pictures(record)))


def _network(run: Run, records: Records) -> Markup:
    return network_section(records.network(run), Pictures(None))


def _data(run: Run, records: Records) -> Markup:
    record = records.record(run)
    return join([data_section(record), reproduce_section(record)])


TABS: dict[str, Callable[[Run, Records], Markup]] = {
    "classes": _classes,
    "calibration": _calibration,
    "ranking": _ranking,
    "answers": _answers,
    "network": _network,
    "data": _data,
}


def _kept(records: Records, run: Run, name: str, make: Callable[[], str]) -> str:
    """A part of a page, made once as long as the run stays the same."""
    return records.parts.get((run.id, run.watched.changes, name), make)


def _view(request: Request) -> CurveView:
    """How the curves are wanted; what an address says otherwise is let be."""
    given = request.query_params
    scale, by = given.get("scale", ""), given.get("by", "")
    low, high = _place(given.get("from", "")), _place(given.get("to", ""))
    is_window = low is not None and high is not None and low < high
    return CurveView(
        scale=scale if scale in SCALES else "",
        by="step" if by == "step" else "time" if by == "time" else "epoch",
        low=low if is_window else None,
        high=high if is_window else None,
        smoothing=min(MOST_SMOOTHING, whole_number(given.get("smooth", ""), 3) or 0) / 100,
    )


def _place(text: str) -> float | None:
    """A place on the x axis, from 0 on; None for what is none."""
    try:
        value = float(text) if len(text) <= 24 else math.nan
    except ValueError:
        return None
    return value if 0 <= value < 1e15 else None


def _cell(request: Request) -> tuple[int, int] | None:
    """(true, said) of the cell whose images are wanted."""
    true, said = (whole_number(request.query_params.get(name, "")) for name in ("true", "said"))
    return None if true is None or said is None else (true, said)
