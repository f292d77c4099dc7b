"""The scripts and the one stylesheet of the studio, read once; their address changes with their content."""

import hashlib
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from ...report import palette
from ...report.signed_steps import steps_stylesheet
from ..refusal import NO_SUCH_ROUTE, Refusal

STYLE, BENCH_STYLE = "studio.css", "lab/bench.css"
OF_REPORTS = ("tables.js", "matrix.js")
MEDIA_TYPES = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml", "png": "image/png"}
KEPT = {"Cache-Control": "private, max-age=31536000, immutable"}  # another content has another address


class StaticFiles:
    """All files under `static/`, by name, the report's style before the studio's own, and the scripts of its tables;
    those of the Lab lie with the arithmetic that they are held to, and are pages' of `saccade learn` too."""

    def __init__(self) -> None:
        self._contents = dict(_all_under(files(__package__).joinpath("static"), ""))
        self._contents |= dict(_all_under(files("saccade.filters").joinpath("page_files"), "lab/"))
        self._contents[BENCH_STYLE] = steps_stylesheet(has_switch=True).encode() + self._contents[BENCH_STYLE]
        report_style = files("saccade.report").joinpath("page.css").read_bytes()
        self._contents |= {name: files("saccade.report").joinpath(name).read_bytes() for name in OF_REPORTS}
        own = self._contents[STYLE]
        self._contents[STYLE] = palette.stylesheet(has_switch=True).encode() + report_style + own
        digest = hashlib.sha256(b"\0".join(name.encode() + b"\0" + self._contents[name] for name in self.names()))
        self.root = f"/static/{digest.hexdigest()[:16]}"

    def names(self) -> list[str]:
        """Every file there is."""
        return sorted(self._contents)

    def address(self, name: str) -> str:
        """Where the page finds the file `name`; KeyError for one that is not there."""
        if name not in self._contents:
            raise KeyError(name)
        return f"{self.root}/{name}"

    def routes(self) -> list[BaseRoute]:
        """One route; a name is looked up, and never a path."""

        async def static(request: Request) -> Response:
            name = request.path_params["name"]
            content = self._contents.get(name)
            if content is None:
                raise Refusal(NO_SUCH_ROUTE)
            return Response(content, headers=KEPT, media_type=MEDIA_TYPES[name.rpartition(".")[2]])

        return [Route(f"{self.root}/{{name:path}}", static, methods=["GET"])]


def _all_under(folder: Traversable, prefix: str) -> Iterator[tuple[str, bytes]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            yield from _all_under(entry, f"{prefix}{entry.name}/")
        elif entry.name.rpartition(".")[2] in MEDIA_TYPES:
            yield prefix + entry.name, entry.read_bytes()
