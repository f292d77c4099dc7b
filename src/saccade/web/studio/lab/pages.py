"""The place Lab: one page, whose arithmetic runs in the browser, and the filters that runs have learned."""

import html
import json
import re
from typing import Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....classify.classifier import open_member
from ....core.errors import SaccadeError
from ....core.runtime import RuntimeConfig
from ....explain.weights_view import first_filters
from ....learn.page import page_html
from ....learn.topics import TOPICS, lesson_of
from ...refusal import NO_SUCH_ROUTE, Reason, Refusal
from ..place import Studio
from ..runs.index import Run, RunIndex
from ..runs.records import Latest
from .cards import bench_settings, cards

MAX_SIDE = 7  # of a kernel that fits on the bench
MAX_FILTERS = 64
DECIMALS = 4
MAX_PAGES = 32  # of `saccade learn`, a few hundred kB each
META_POLICY = re.compile(r'http-equiv="Content-Security-Policy" content="([^"]*)"')


def lab_routes(studio: Studio) -> list[BaseRoute]:
    """The page, and the first filters of a run."""
    index = RunIndex(studio.folder)
    pages: Latest[str] = Latest(MAX_PAGES)

    async def page(request: Request) -> Response:
        runs = await studio.read(request, index.runs)
        shown = cards()
        settings = {"bench": bench_settings(), "cards": [card.state for card in shown]}
        data = json.dumps(settings, separators=(",", ":")).replace("<", "\\u003c")
        values = {"cards": shown, "data": data, "runs": [{"id": run.id, "name": run.name} for run in runs]}
        values["topics"] = [(name, topic.summary) for name, topic in TOPICS.items()]
        return studio.shell.page("lab/lab.html", "lab", values)

    async def filters(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        return JSONResponse(await studio.compute(request, lambda: _filters(run)))

    async def learn(request: Request) -> Response:
        """A page of `saccade learn` as it is written to a file, under the policy that it names itself."""
        name = request.path_params["topic"]
        if name not in TOPICS:
            raise Refusal(NO_SUCH_ROUTE)
        text = await studio.compute(request, lambda: pages.get(name, lambda: page_html(lesson_of(name))))
        return HTMLResponse(text, headers={"Content-Security-Policy": _policy_of(text)})

    return [
        Route("/lab", page, methods=["GET"]),
        Route("/lab/learn/{topic}", learn, methods=["GET"]),
        Route("/api/lab/filters/{run}", filters, methods=["GET"]),
    ]


def _policy_of(page: str) -> str:
    """What a closed page says of itself that a browser may load and run, and that nobody may frame it."""
    policy = html.unescape(META_POLICY.findall(page)[0])  # every closed page has one
    return f"{policy}; frame-ancestors 'none'"


def _filters(run: Run) -> dict[str, Any]:
    """The first convolution's filters, [filter][channel][row][column]. Raises Refusal where the bench cannot hold
    them."""
    try:
        weight_FCHW = first_filters(open_member(run.path, RuntimeConfig(device="cpu")).model)
    except SaccadeError as error:
        what, _, next_step = error.message.partition("\n")
        raise Refusal(Reason(422, "no_filters", what, next_step)) from error
    count, channels, height, width = weight_FCHW.shape
    if max(height, width) > MAX_SIDE or channels not in (1, 3):
        what = (
            f"The filters of this run are {height}x{width}x{channels}; the bench holds {MAX_SIDE}x{MAX_SIDE} of one or "
            f"three channels."
        )
        raise Refusal(Reason(422, "filters_too_large", what, "Choose a run with smaller filters."))
    shown = weight_FCHW[:MAX_FILTERS].round(DECIMALS) + 0.0
    return {"filters": shown.tolist(), "num_filters": count, "run": run.name}
