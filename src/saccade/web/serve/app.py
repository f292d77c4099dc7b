"""The application: its routes behind the guard, with every error as JSON and every answer counted."""

import re
from collections.abc import Awaitable, Callable, Sequence
from importlib.resources import files

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ...core.page_policy import digest_source
from ..guard import Guard, Rules
from ..refusal import Refusal, reason_of
from .inference_protocol import protocol_routes
from .metrics import Metrics
from .routes import own_routes
from .service import Service


def build_app(service: Service, rules: Rules, more: Sequence[BaseRoute] = ()) -> ASGIApp:
    """Everything that is served; routes in `more` besides, which need nothing of their own to be protected."""
    routes = [*own_routes(service), *protocol_routes(service), Route("/", _page(), methods=["GET"]), *more]
    app = Starlette(routes=routes, exception_handlers=dict.fromkeys((Refusal, HTTPException, Exception), _refused))
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
        f"default-src 'none'; script-src {script}; style-src {style}; img-src blob: data:; connect-src 'self'; "
        f"frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
    )

    async def page(request: Request) -> Response:
        return Response(text, headers={"Content-Security-Policy": policy}, media_type="text/html")

    return page


def _hash_of(text: str, element: str) -> str:
    """What a policy calls the one inline script or style of a page."""
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", text, re.DOTALL)
    return digest_source(content)


def _route_of(scope: Scope) -> str:
    """The path of the route as it was declared: a few values, whatever is asked for."""
    route = scope.get("route")
    return str(getattr(route, "path", "none"))


async def _refused(request: Request, error: Exception) -> Response:
    return reason_of(error).response(request.scope["path"])
