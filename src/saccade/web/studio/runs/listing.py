"""The list of runs: sorted and filtered as its address says, so that it can be sent and reloaded."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ..place import Studio
from .index import RunIndex
from .words import Row, row_of

COLUMNS = ("run", "state", "verdict", "network", "images", "changed")
DESCENDING = ("verdict", "images", "changed")  # what a first click sorts by
STATES = ("running", "stopped", "damaged", "finished")
MAX_QUERY = 200


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What of the list is wanted; what an address says otherwise is let be."""

    sort: str
    is_reversed: bool
    query: str
    state: str

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


def listing_routes(studio: Studio, index: RunIndex) -> list[BaseRoute]:
    """The page, and what it polls."""

    def rows() -> list[Row]:
        now_s = time.time()
        return [row_of(run, run.look(), now_s) for run in index.runs()]

    async def list_page(request: Request) -> Response:
        wanted = Wanted.of(request.query_params)
        found = await studio.read(request, rows)
        values: dict[str, Any] = {
            "rows": wanted.of_rows(found),
            "num_runs": len(found),
            "wanted": wanted,
            "columns": COLUMNS,
            "states": STATES,
            "version": _version(found),
            "is_cut": index.is_cut,
        }
        return studio.shell.page("runs/list.html", "runs", values)

    async def list_json(request: Request) -> Response:
        found = await studio.read(request, rows)
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
        return JSONResponse({"version": _version(found), "runs": runs})

    return [Route("/runs", list_page, methods=["GET"]), Route("/api/runs", list_json, methods=["GET"])]


def _version(rows: list[Row]) -> str:
    """The same as long as the list shows the same."""
    return f"{abs(hash(tuple((row.id, row.state, row.is_stale, row.active_s) for row in rows))):x}"
