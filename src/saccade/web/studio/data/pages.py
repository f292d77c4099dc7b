"""The place Data: the images that runs were made from, counted, looked through, and as augmentation changes them."""

from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....core.errors import printable
from ....core.plain_numbers import whole_number
from ....core.types import MAX_16_BIT
from ...refusal import Reason, Refusal, wrong_field
from ...workers import Result, Workers
from ..place import Studio
from ..runs.index import RunIndex
from .counts import list_values, set_values
from .draws import MAX_SEED, drawn
from .findings import Checkups, findings_values, positions_of, status_of
from .opened import CHANGED, Opened, Sources, image_facts, item_of, large_picture
from .sets import ImageSet, ImageSets

LOOKERS, MOST_LOOKING, LOOKING_S = 2, 1024, 60.0  # images at a time, requests inside, how long one may wait
WINDOW = 240  # images of an answer
NOT_CHECKED = Reason(404, "not_checked", "This data set was not checked yet.", "Begin on its page.")
KEPT = {"Cache-Control": "private, max-age=3600"}


def data_routes(studio: Studio) -> list[BaseRoute]:
    """All of them."""
    sets, sources = ImageSets(RunIndex(studio.folder)), Sources()
    checkups = Checkups(studio.ending)
    looking = Workers(LOOKERS, MOST_LOOKING, LOOKING_S)

    async def look(request: Request, work: Callable[[ImageSet, Opened], Result], is_renewed: bool = False) -> Result:
        """What `work` gives of the opened set that the address names, on a thread. Raises Refusal."""

        def all_of_it() -> Result:
            found = sets.find(request.path_params["set"])
            opened = sources.opened(found, _white_of(found, sets), is_renewed)
            if request.query_params.get("of", opened.version) != opened.version:
                raise Refusal(CHANGED)
            return work(found, opened)

        return (await looking.run(all_of_it, request.receive))[0]

    async def page(request: Request) -> Response:
        return studio.shell.page("data/list.html", "data", await studio.read(request, lambda: list_values(sets)))

    async def one(request: Request) -> Response:
        def values() -> dict[str, Any]:
            found = sets.find(request.path_params["set"])
            shown = set_values(found, found.chosen(request.query_params.get("run", "")), sets)
            return shown | {"checkup": status_of(checkups.of(found))} | _findings(found)

        return studio.shell.page("data/set.html", "data", await studio.read(request, values))

    def _findings(found: ImageSet) -> dict[str, Any]:
        """What was found, once a check-up is done; else nothing."""
        checkup = checkups.of(found)
        if checkup is None or checkup.found is None:
            return {}
        try:
            positions = positions_of(sources.opened(found, _white_of(found, sets)))
        except Refusal:  # a set that training refuses has findings, and no images that can be addressed
            positions = {}
        return findings_values(found, checkup.found, positions)

    async def findings(request: Request) -> Response:
        values = await studio.read(request, lambda: _findings(sets.find(request.path_params["set"])))
        if not values:
            raise Refusal(NOT_CHECKED)
        return studio.shell.fragment("data/findings.html", values)

    async def checkup(request: Request) -> Response:
        found = await studio.read(request, lambda: sets.find(request.path_params["set"]))
        if request.method == "POST":
            checkups.start(found)
        return JSONResponse(status_of(checkups.of(found)))

    async def listing(request: Request) -> Response:
        try:
            return JSONResponse(await look(request, lambda _, opened: _listing(opened), is_renewed=True))
        except Refusal as refusal:
            if refusal.reason.status != 422:
                raise
            return JSONResponse({"problem": f"{refusal.reason.text} {refusal.reason.hint}".strip()})  # nothing unusual

    async def window(request: Request) -> Response:
        return JSONResponse(await look(request, lambda _, opened: _window(opened, request.query_params)))

    async def facts(request: Request) -> Response:
        position = request.path_params["position"]
        return JSONResponse(await look(request, lambda _, opened: image_facts(opened, position)))

    async def thumbnail(request: Request) -> Response:
        position = request.path_params["position"]
        return _picture(await look(request, lambda found, opened: sources.thumbnail(found, opened, position)))

    async def picture(request: Request) -> Response:
        position = request.path_params["position"]
        return _picture(await look(request, lambda _, opened: large_picture(opened, position)))

    async def draws(request: Request) -> Response:
        position, given = request.path_params["position"], request.query_params
        seed = _number(given.get("seed", ""), "seed", MAX_SEED)

        def work(found: ImageSet, opened: Opened) -> dict[str, Any]:
            run = found.chosen(given.get("run", ""))
            return drawn(opened, position, run, sets.summary(run).data, seed)

        return JSONResponse(await look(request, work))

    image = "/data/{set}/images/{position:int}"
    pages: dict[str, Callable[[Request], Any]] = {
        "/data": page,
        "/data/{set}": one,
        f"{image}/thumbnail": thumbnail,
        f"{image}/picture": picture,
        "/data/{set}/findings": findings,
        "/api/data/{set}": listing,
        "/api/data/{set}/images": window,
        f"/api{image}": facts,
        f"/api{image}/draws": draws,
    }
    checked = Route("/api/data/{set}/findings", checkup, methods=["GET", "POST"])
    return [checked, *(Route(path, answer, methods=["GET"]) for path, answer in pages.items())]


def _picture(found: tuple[bytes, str]) -> Response:
    content, kind = found
    return Response(content, headers=KEPT, media_type=kind)


def _white_of(found: ImageSet, sets: ImageSets) -> int:
    """What the latest run that read the set takes for white in files of 16 bits a channel."""
    for run in found.runs:
        data = sets.summary(run).data
        if data and data.preprocessing:
            return data.preprocessing.white_16_bit
    return MAX_16_BIT


def _listing(opened: Opened) -> dict[str, Any]:
    """What may be chosen from; its keys are read by `static/data/data.js`."""
    source = opened.source
    return {
        "version": opened.version,
        "num": len(source),
        "classes": [
            {"name": printable(name), "num": len(opened.chosen(label, ""))}
            for label, name in enumerate(source.classes if not source.task.is_number else ())
        ],
        "splits": [{"name": name, "num": len(opened.chosen(None, name))} for name in opened.splits()],
    }


def _window(opened: Opened, given: Any) -> dict[str, Any]:
    """The images `start` to `start` + 240 of those that were chosen. Raises Refusal."""
    label = _number(given.get("class", ""), "class", len(opened.source.classes) - 1)
    split = given.get("split", "")
    if split and split not in opened.splits():
        raise wrong_field("split must be one that the data set has.", "Leave it out for all.")
    start = _number(given.get("start", "") or "0", "start", len(opened.source)) or 0
    index_M = opened.chosen(label, split)
    shown = index_M[start : start + WINDOW].tolist()
    return {"num": len(index_M), "start": start, "images": [item_of(opened, position) for position in shown]}


def _number(text: str, name: str, most: int) -> int | None:
    """A whole number from 0 to `most`; None for an empty text. Raises Refusal."""
    if not text:
        return None
    found = whole_number(text, 9)
    if found is None or found > most:
        raise wrong_field(f"{name} must be a whole number from 0 to {most:,}.")
    return found
