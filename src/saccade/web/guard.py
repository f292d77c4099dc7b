"""Who may ask: one wall around the whole application, so that a route need not know of it.

In this order: the Host header is one of ours (a web page whose name was rebound to this machine has another), a browser
asks for a page of ours, never for one of somebody else (Origin, Sec-Fetch-Site), and the token fits where one is
needed. There is no CORS header. Every answer says how a browser has to take it.
"""

import hmac
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qsl

from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .listening import is_loopback
from .refusal import Reason

COOKIE = "saccade_token"
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")
SAFE_METHODS = ("GET", "HEAD")
HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?", re.IGNORECASE)
HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
NO_CONTENT_POLICY = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
EVERY_ANSWER = tuple(
    (name.lower().encode(), value.encode())
    for name, value in {**HEADERS, "Content-Security-Policy": NO_CONTENT_POLICY}.items()
)

WRONG_HOST = Reason(
    403,
    "wrong_host",
    "The Host header names another server.",
    "Ask for the address that the server printed, or start it with --allow-host NAME.",
)
NO_TOKEN = Reason(
    401,
    "token_needed",
    "This server needs its token.",
    "Send 'Authorization: Bearer TOKEN', or open the address with the token that the server printed.",
    {"WWW-Authenticate": "Bearer"},
)
FOREIGN_ORIGIN = Reason(
    403,
    "foreign_origin",
    "A web page of another origin may not ask this server.",
    "Ask from a program, or its own page.",
)


@dataclass(frozen=True, kw_only=True)
class Rules:
    """`hosts` are names that a Host header may have, in lower case; `port` the one it says, where it says one.

    `is_open`: others than this machine can ask, by any port and by an address in numbers, which no name can be rebound
    to. `token` is "" where none is needed.
    """

    hosts: frozenset[str]
    port: int
    is_open: bool = False
    token: str = ""


def rules_for(host: str, port: int, token: str, allowed: Iterable[str] = ()) -> Rules:
    """The rules of a server that listens at `host`, with names in `allowed` besides."""
    named = [host_text(host), *(name.lower() for name in allowed)]
    return Rules(hosts=frozenset({*LOOPBACK_NAMES, *named}), port=port, is_open=not is_loopback(host), token=token)


def host_text(host: str) -> str:
    """A host as it stands in an address: IPv6 in brackets."""
    return f"[{host.lower()}]" if ":" in host else host.lower()


class Guard:
    """The application behind the wall."""

    def __init__(self, app: ASGIApp, rules: Rules) -> None:
        self.app = app
        self.rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] != "http":
            return  # there are no web sockets

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name for name, _ in message["headers"]}
                message["headers"] = [*message["headers"], *(pair for pair in EVERY_ANSWER if pair[0] not in given)]
            await send(message)

        answer = self._refusal(scope) or self.app
        await answer(scope, receive, send_guarded)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = _Headers(scope)
        refusal = self._wrong_host(headers) or self._foreign(headers, scope["method"]) or self._no_token(headers)
        if refusal is NO_TOKEN and scope["method"] in SAFE_METHODS and self._fits(_query_token(scope)):
            return self._with_cookie(scope)
        return refusal.response(scope["path"]) if refusal else None

    def _wrong_host(self, headers: "_Headers") -> Reason | None:
        found = HOST.fullmatch(headers.only("host"))
        if not found:
            return WRONG_HOST
        name, port = found[1].lower(), found[2]
        fits = name in self.rules.hosts or (self.rules.is_open and _is_address(name))
        has_port = self.rules.is_open or int(port or 80) == self.rules.port
        return None if fits and has_port else WRONG_HOST

    def _no_token(self, headers: "_Headers") -> Reason | None:
        if not self.rules.token:
            return None
        scheme, _, given = headers.only("authorization").partition(" ")
        if scheme.lower() == "bearer" and self._fits(given.strip()):
            return None
        return None if self._fits(_cookie_token(headers)) else NO_TOKEN

    def _foreign(self, headers: "_Headers", method: str) -> Reason | None:
        if headers.has("origin"):
            scheme, _, place = headers.only("origin").lower().partition("://")
            is_ours = scheme in ("http", "https") and place == headers.only("host").lower()
            return None if is_ours else FOREIGN_ORIGIN
        came_from = headers.only("sec-fetch-site")
        is_ours = came_from in ("", "same-origin", "none") or method in SAFE_METHODS
        return None if is_ours else FOREIGN_ORIGIN

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode("utf-8", "replace"), self.rules.token.encode())

    def _with_cookie(self, scope: Scope) -> Response:
        """The same address without the token, which a cookie carries from now on."""
        response = RedirectResponse("/" + scope["path"].lstrip("/"), 303)
        response.set_cookie(COOKIE, self.rules.token, httponly=True, samesite="strict", secure=False)
        return response


class _Headers:
    """The headers of a request; one that came twice is as if it were a wrong one."""

    def __init__(self, scope: Scope) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in scope["headers"]:
            self._values.setdefault(name.decode("latin-1").lower(), []).append(value.decode("latin-1"))

    def has(self, name: str) -> bool:
        return name in self._values

    def only(self, name: str) -> str:
        """Its value; "" where there is none, a text that nothing equals where there are several."""
        found = self._values.get(name, [""])
        return found[0] if len(found) == 1 else "\n"


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _query_token(scope: Scope) -> str:
    query = parse_qsl(scope["query_string"].decode("latin-1"))[:8]
    return str(dict(query).get("token", ""))


def _cookie_token(headers: _Headers) -> str:
    try:
        cookie = SimpleCookie(headers.only("cookie")).get(COOKIE)
    except CookieError:
        return ""
    return str(cookie.value) if cookie else ""
