"""A place of the studio: one of the entries of its header, with its pages. `places.py` lists them."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.routing import BaseRoute

from ..workers import Result, Workers
from .shell import Entry, Shell


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What every page has: the folder that it looks into, the shell, and the threads that do its work.

    `reading` is for what takes milliseconds. Networks have a thread for each kind of waiting, so that none holds up
    another: `answering` for photos that a person brings, `designing` for networks that are drawn up as one types,
    `computing` for the rest. `ending` is set where the studio ends: what goes on in the background looks at it.
    """

    folder: Path
    shell: Shell
    reading: Workers
    computing: Workers
    answering: Workers
    designing: Workers
    ending: threading.Event

    async def read(self, request: Request, work: Callable[[], Result]) -> Result:
        """What `work` gives on a thread for short work. Raises Refusal where too many wait."""
        return (await self.reading.run(work, request.receive))[0]

    async def compute(self, request: Request, work: Callable[[], Result]) -> Result:
        """What `work` gives on the thread for long work. Raises Refusal where too many wait."""
        return (await self.computing.run(work, request.receive))[0]

    async def answer(self, request: Request, work: Callable[[], Result]) -> Result:
        """What `work` gives on the thread for answers. Raises Refusal where too many wait."""
        return (await self.answering.run(work, request.receive))[0]

    async def design(self, request: Request, work: Callable[[], Result]) -> Result:
        """What `work` gives on the thread for designs. Raises Refusal where too many wait."""
        return (await self.designing.run(work, request.receive))[0]


@dataclass(frozen=True, kw_only=True)
class Place(Entry):
    """An entry of the header with its pages, all of which lie under `/name` and `/api/name`."""

    routes: Callable[[Studio], list[BaseRoute]]
