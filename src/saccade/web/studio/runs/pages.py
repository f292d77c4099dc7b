"""The place Runs: the list, the pages of a run, the comparison, the marks."""

from starlette.routing import BaseRoute

from ..place import Studio
from .compare import compare_routes
from .images import image_routes
from .index import RunIndex
from .listing import listing_routes
from .marks import mark_routes
from .records import Records
from .run_pages import run_routes


def runs_routes(studio: Studio) -> list[BaseRoute]:
    """All of them."""
    index, records = RunIndex(studio.folder), Records()
    return [
        *listing_routes(studio, index),
        *compare_routes(studio, index, records),  # before a run could be called so
        *image_routes(studio, index, records),
        *mark_routes(studio, index, records),
        *run_routes(studio, index, records),
    ]
