"""The place Predict: photos that a person drops, pastes, chooses or films are answered by runs beside each other."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....classify.run_list import verdict_words
from ....core.errors import printable
from ....core.plain_numbers import plain_float, whole_number
from ....runs.at_path import holds_checkpoint
from ...body import BodyMemory, image_in, read_body, refuse_media_type
from ...limits import BodyLimits
from ...refusal import wrong_field
from ..place import Studio
from ..runs.index import RunIndex
from ..runs.records import no_such_class
from ..runs.words import network_of, time_words
from .classifiers import Classifiers, Sent, answer, evidence

LIMITS = BodyLimits(max_bytes=64 << 20, memory_bytes=512 << 20)
MAX_SHOWN = 500  # runs to choose from, the latest


def predict_routes(studio: Studio) -> list[BaseRoute]:
    """All of them."""
    index, classifiers, memory = RunIndex(studio.folder), Classifiers(), BodyMemory(LIMITS)

    async def page(request: Request) -> Response:
        wanted = set(request.query_params.getlist("run"))
        runs = await studio.read(request, lambda: _to_choose_from(index, wanted))
        return studio.shell.page("predict/predict.html", "predict", {"runs": runs})

    async def said(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        least = _confidence(request.query_params.get("least", "0"))
        return await _answered(request, lambda sent: answer(classifiers.of(run), sent, least))

    async def shown(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        class_index = _class_index(request.query_params.get("class", ""))
        return await _answered(request, lambda sent: evidence(classifiers.of(run), sent, class_index))

    async def _answered(request: Request, work: Callable[[Sent], dict[str, Any]]) -> Response:
        """What `work` makes of the image in a request, whose bytes count as held until it is done."""
        studio.answering.refuse_when_busy()
        refuse_media_type(request.headers)
        with memory.holding() as held:
            sent = Sent(content=image_in(await read_body(request, held, LIMITS), request.headers)[0])
            return JSONResponse(await studio.answer(request, lambda: work(sent)))

    return [
        Route("/predict", page, methods=["GET"]),
        Route("/api/predict/{run}", said, methods=["POST"]),
        Route("/api/predict/{run}/evidence", shown, methods=["POST"]),
    ]


def _to_choose_from(index: RunIndex, wanted: set[str]) -> list[dict[str, Any]]:
    """The runs that hold weights, those that changed last first; `wanted` ones are chosen, else the first."""
    standing = [(run, run.look()) for run in index.runs() if holds_checkpoint(run.path)]
    standing.sort(key=lambda found: -found[1].active_s)
    known = {run.id for run, _ in standing}
    chosen = (wanted & known) or {run.id for run, _ in standing[:1]}
    return [
        {
            "id": run.id,
            "name": printable(run.name),
            "verdict": verdict_words(found.figure) if found.figure else "",
            "network": network_of(found),
            "changed": time_words(found.active_s),
            "is_chosen": run.id in chosen,
        }
        for run, found in standing[:MAX_SHOWN]
    ]


def _confidence(text: str) -> float:
    """0 to 1. Raises Refusal."""
    try:
        value = plain_float(text) if len(text) <= 16 else -1.0
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise wrong_field("least must be a number from 0 to 1.", "0 answers every image.")
    return value


def _class_index(text: str) -> int:
    """Raises Refusal."""
    found = whole_number(text)
    if found is None:
        raise no_such_class()
    return found
