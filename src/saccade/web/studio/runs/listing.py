"""The list of runs: sorted and filtered as its address says, so that it can be sent and reloaded."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..place import Studio
from .index import RunIndex
from .words import Row, page_number, row_of

COLUMNS = ("run", "state", "verdict", "network", "images", "changed")
DESCENDING = ("verdict", "images", "changed")  # what a first click sorts by
STATES = ("running", "stopped", "damaged", "finished")
MAX_QUERY = 200
PER_PAGE = 100
FRESH_S = 0.8  # how old the list may be that all who ask get


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of the list is wanted; what an address says otherwise is let be."""

    sort: str
    is_reversed: bool
    query: str
    state: str
    page: int

    @classmethod
    def of(cls, given: Mapping[str, str]) -> "Wanted":
        """As an address says it."""
        sort = given.get("sort", "")
        sort = sort if sort in COLUMNS else "changed"
        order = given.get("order", "")
        return cls(
            sort=sort,
            is_reversed=order == "down" if order in ("up", "down") else sort in DESCENDING,
            query=given.get("q", "")[:MAX_QUERY],
            state=given.get("state", "") if given.get("state", "") in STATES else "",
            page=page_number(given.get("page", "")),
        )

    def of_rows(self, rows: list[Row]) -> list[Row]:
        """The rows that are wanted, in their order."""
        words = self.query.lower().split()
        found = [
            row
            for row in rows
            if (not self.state or row.state == self.state)
            and all(word in f"{row.name} {row.network} {row.data}".lower() for word in words)
        ]
        found.sort(key=lambda row: row.order["run"])
        found.sort(key=lambda row: row.order[self.sort], reverse=self.is_reversed)
        return found


class Listed:
    """The rows of all runs, members and folds within them, looked at once for all who ask within a moment."""

    def __init__(self, index: RunIndex) -> None:
        self._index = index
        self._lock = threading.Lock()
        self._rows: list[Row] = []
        self._looked_s = -FRESH_S

    def rows(self) -> list[Row]:
        """All of them."""
        with self._lock:
            if time.monotonic() - self._looked_s >= FRESH_S:
                now_s = time.time()
                self._rows = [row_of(run, run.look(), now_s) for run in self._index.whole()]
                self._looked_s = time.monotonic()
            return list(self._rows)


def listing_routes(studio: Studio, index: RunIndex) -> list[BaseRoute]:
    """The page, and what it polls."""

    listed = Listed(index)

    async def list_page(request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        found = await studio.read(request, listed.rows)
        chosen = wanted.of_rows(found)
        num_pages = max(1, -(-len(chosen) // PER_PAGE))
        page = min(wanted.page, num_pages)
        values: dict[str, Any] = {
            "rows": chosen[(page - 1) * PER_PAGE : page * PER_PAGE],
            "num_chosen": len(chosen),
            "page": page,
            "num_pages": num_pages,
            "num_runs": len(found),
            "wanted": wanted,
            "columns": COLUMNS,
            "has_curves": any(row.curve is not None for row in found),
            "states": STATES,
            "version": _version(found),
            "is_cut": index.is_cut,
            "num_denied": index.num_denied,
        }
        return studio.shell.page("runs/list.html", "runs", values)

    async def list_json(request: Request) -> Response:
        found = await studio.read(request, listed.rows)
        version = _version(found)
        if request.query_params.get("since") == version:
            return JSONResponse({"version": version})
        runs = [
            {
                "id": row.id,
                "name": row.name,
                "state": row.state,
                "progress": row.progress,
                "verdict": row.verdict[0],
                "interval": row.verdict[1],
                "changed_s": row.active_s,
            }
            for row in found
        ]
        return JSONResponse({"version": version, "runs": runs})

    return [Route("/runs", list_page, methods=["GET"]), Route("/api/runs", list_json, methods=["GET"])]


def _version(rows: list[Row]) -> str:
    """The same as long as the list shows the same."""
    return f"{abs(hash(tuple((row.id, row.state, row.is_stale, row.active_s) for row in rows))):x}"
