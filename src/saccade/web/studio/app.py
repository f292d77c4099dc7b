"""The application: the places behind the guard. Errors are pages for people and JSON under `/api/`."""

import threading
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from ..guard import Guard, Rules
from ..refusal import Refusal, reason_of
from ..workers import Workers
from .place import Place, Studio
from .places import PLACES
from .shell import Shell
from .static_files import StaticFiles

READERS, MOST_READING, READING_S = 4, 2048, 30.0  # threads, requests inside, how long one may wait
MOST_COMPUTING, COMPUTING_S = 64, 120.0
PACKED_BYTES, PACKED_LEVEL = 2048, 4  # a table of 200 classes goes out in a sixth of its bytes


def build_app(
    folder: Path, rules: Rules, places: tuple[Place, ...] = PLACES, ending: threading.Event | None = None
) -> ASGIApp:
    """Everything that the studio of `folder` answers; `ending` is to be set where it ends."""
    statics = StaticFiles()
    shell = Shell(folder, places, statics)
    studio = Studio(
        folder=folder,
        shell=shell,
        reading=Workers(READERS, MOST_READING, READING_S),
        computing=Workers(1, MOST_COMPUTING, COMPUTING_S),
        answering=Workers(1, MOST_COMPUTING, COMPUTING_S),
        designing=Workers(1, MOST_COMPUTING, COMPUTING_S),
        ending=ending or threading.Event(),
    )

    async def home(request: Request) -> Response:
        return RedirectResponse(places[0].address, 303)

    async def refused(request: Request, error: Exception) -> Response:
        return shell.refusal(request, reason_of(error))

    routes: list[BaseRoute] = [Route("/", home, methods=["GET"]), *statics.routes()]
    for place in places:
        routes += place.routes(studio)
    packed = Middleware(GZipMiddleware, minimum_size=PACKED_BYTES, compresslevel=PACKED_LEVEL)  # texts, not pictures
    handlers = dict.fromkeys((Refusal, HTTPException, Exception), refused)
    app = Starlette(routes=routes, exception_handlers=handlers, middleware=[packed])
    app.router.redirect_slashes = False
    return Guard(app, rules)
