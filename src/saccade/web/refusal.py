"""Why a request is not answered: a reason, which becomes JSON in one place. It holds no path and no traceback."""

from dataclasses import dataclass, field
from typing import Any

from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from ..core.errors import SaccadeError

PROTOCOL_ROOT = "/v2"  # of the Open Inference Protocol, which has errors of its own


@dataclass(frozen=True)
class Reason:
    """An answer of `status` 400 to 504; `code` is for programs, `text` and `hint` are for people."""

    status: int
    code: str
    text: str
    hint: str = ""
    headers: dict[str, str] = field(default_factory=dict)

    def response(self, path: str) -> JSONResponse:
        """The answer to a request for `path`."""
        return JSONResponse(self._body(path), self.status, self.headers)

    def _body(self, path: str) -> dict[str, Any]:
        """`{"error": {"code", "message", "hint"}}`; in the Open Inference Protocol `{"error": "text"}`."""
        if path == PROTOCOL_ROOT or path.startswith(f"{PROTOCOL_ROOT}/"):
            return {"error": f"{self.text} {self.hint}".strip()}
        return {"error": {"code": self.code, "message": self.text, "hint": self.hint}}


class Refusal(SaccadeError):
    """A request is not answered, for `reason`."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.text)
        self.reason = reason


def busy(why: str) -> Refusal:
    """503 with the time after which to ask again."""
    return Refusal(Reason(503, "busy", f"The server is {why}.", "Ask again after a second.", {"Retry-After": "1"}))


def malformed(what: str, hint: str = "") -> Refusal:
    """400: `what` is wrong with the request, as a sentence."""
    return Refusal(Reason(400, "malformed", what, hint))


def wrong_field(what: str, hint: str = "") -> Refusal:
    """422: `what` is wrong with a value, as a sentence."""
    return Refusal(Reason(422, "wrong_field", what, hint))


CLIENT_GONE = Reason(499, "client_gone", "The client has gone.")  # nobody reads it
FAILED = Reason(500, "failed", "The server failed.", "Its operator finds the reason on its standard error.")
NO_SUCH_ROUTE = Reason(404, "no_such_route", "There is nothing at this address.")


def reason_of(error: Exception) -> Reason:
    """What is answered where a request ends with `error`: our own reason, the router's, or that we failed."""
    if isinstance(error, Refusal):
        return error.reason
    if not isinstance(error, HTTPException):
        return FAILED
    if error.status_code == 404:
        return NO_SUCH_ROUTE
    if error.status_code == 405:
        return Reason(405, "method", "This address does not take this method.", "", dict(error.headers or {}))
    return Reason(error.status_code, "refused", "The request is refused.")
