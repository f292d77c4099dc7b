"""The application: its routes behind the guard, with every error as JSON and every answer counted."""

import base64
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .guard import Guard, Rules
from .inference_protocol import protocol_routes
from .metrics import Metrics
from .refusal import Reason, Refusal
from .routes import own_routes
from .service import Service

FAILED = Reason(500, "failed", "The server failed.", "Its operator finds the reason on its standard error.")


def build_app(service: Service, rules: Rules, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Everything that is served; routes in `more` besides, which need nothing of their own to be protected."""
    routes = [*own_routes(service), *protocol_routes(service), Route("/", _page(), methods=["GET"]), *more]
    app = Starlette(
        routes=routes, exception_handlers={Refusal: _refused, HTTPException: _not_routed, Exception: _failed}
    )
    app.router.redirect_slashes = False
    return Counted(Guard(app, rules), service.metrics)


class Counted:
    """Counts every answer by its route, also those of the guard."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self.metrics.requests[(_route_of(scope), message["status"])] += 1
            await send(message)

        await self.app(scope, receive, counted if scope["type"] == "http" else send)


def _page() -> Callable[[Request], Awaitable[Response]]:
    """The page to try it by: one file, and a policy that lets its own script and style run and nothing else."""
    text = files(__package__).joinpath("page.html").read_text(encoding="utf-8")
    script, style = (_hash_of(text, name) for name in ("script", "style"))
    policy = (
        f"default-src 'none'; script-src '{script}'; style-src '{style}'; img-src blob: data:; connect-src 'self'; "
        f"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )

    async def page(request: Request) -> Response:
        return Response(text, headers={"Content-Security-Policy": policy}, media_type="text/html")

    return page


def _hash_of(text: str, element: str) -> str:
    """What a policy calls the one inline script or style of a page."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return f"sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}"


def _route_of(scope: Scope) -> str:
    """The path of the route as it was declared: a few values, whatever is asked for."""
    route = scope.get("route")
    return str(getattr(route, "path", "none"))


async def _refused(request: Request, error: Exception) -> Response:
    reason = error.reason if isinstance(error, Refusal) else FAILED
    return reason.response(request.scope["path"])


async def _not_routed(request: Request, error: Exception) -> Response:
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == 405:
        return Reason(405, "method", "This address does not take this method.", "", headers).response(
            request.scope["path"]
        )
    if status == 404:
        return Reason(404, "no_such_route", "There is nothing at this address.").response(request.scope["path"])
    return Reason(status, "refused", "The request is refused.").response(request.scope["path"])


async def _failed(request: Request, error: Exception) -> Response:
    return FAILED.response(request.scope["path"])
