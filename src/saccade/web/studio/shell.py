"""What is around every page: the template with its header, the places, the policy that a browser holds pages to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from ...core.errors import printable
from ..refusal import Reason
from .static_files import StaticFiles

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "media-src blob:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """An entry of the header: `title` leads to `/name`; `g`, then `key`, goes there."""

    name: str
    title: str
    key: str

    @property
    def address(self) -> str:
        """Its first page."""
        return f"/{self.name}"


class Shell:
    """Makes pages and fragments of templates. Texts are escaped; `Markup` of the report stays markup."""

    def __init__(self, folder: Path, places: Sequence[Entry], statics: StaticFiles) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.PackageLoader("saccade.web.studio"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.filters["plain"] = printable
        self._environment.globals |= {
            "places": places,
            "static": statics.address,
            "folder": printable(str(folder)),
        }

    def page(self, template: str, place: str, values: Mapping[str, Any], status: int = 200) -> Response:
        """A whole page; `place` is the name of the place it belongs to, "" where it is of none."""
        return self._answer(template, {**values, "place": place}, status)

    def fragment(self, template: str, values: Mapping[str, Any]) -> Response:
        """A part of a page, which a script puts in its place."""
        return self._answer(template, values, 200)

    def refusal(self, request: Request, reason: Reason) -> Response:
        """What is said where nothing can be shown: JSON to programs, a page to people."""
        if request.scope["path"].startswith("/api/"):
            return reason.response(request.scope["path"])
        response = self.page("refusal.html", "", {"reason": reason}, reason.status)
        response.headers.update(reason.headers)
        return response

    def _answer(self, template: str, values: Mapping[str, Any], status: int) -> Response:
        text = self._environment.get_template(template).render(values)
        return HTMLResponse(text, status, headers={"Content-Security-Policy": POLICY})
