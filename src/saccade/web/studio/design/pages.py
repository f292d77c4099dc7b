"""The place Design: any network as a table, a drawing and its memory, renewed as one types."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....core.errors import SaccadeError, printable
from ....design.layers import Layer
from ....design.memory import PRECISIONS, STATE_PER_PARAMETER
from ....design.text import DesignTable, pair, shape, size, table_csv, table_markdown, window_words
from ....learn.topics import TOPICS
from ....models.architecture import MODELS
from ....runs.at_path import holds_checkpoint
from ...body import BodyMemory, image_in, read_body, refuse_media_type
from ...limits import BodyLimits
from ...refusal import Reason, Refusal
from ..place import Studio
from ..runs.index import RunIndex
from ..runs.records import Latest
from .diagram import KINDS, OTHER, arcs_words, diagram
from .walks import Walk, Walks, built_in_photo, maps_picture, strip_picture
from .wanted import Wanted, draw, read_wanted

MAX_TABLES = 32
LIMITS = BodyLimits(max_bytes=64 << 20, memory_bytes=256 << 20)
BUILT_IN = "built-in"
KEPT = {"Cache-Control": "private, max-age=3600"}  # another walk has another address
EXAMPLES = (
    ("LeNet-5", "lenet5", ""),
    ("ResNet-18", "resnet18", ""),
    ("a line of notation", "conv 32 f3 same | pool | conv 64 f3 same | pool | fc 128 | fc 10", "32"),
    ("two 3x3 against one 5x5", "conv 16 f3 | conv 16 f3 | fc 10", "28x28x1"),
)

EXPLAINED = ("layer", "sharing", "padding", "pooling", "lenet", "vgg", "residual", "one-by-one", "inception")


def design_routes(studio: Studio) -> list[BaseRoute]:
    """All of them."""
    index = RunIndex(studio.folder)
    tables: Latest[DesignTable] = Latest(MAX_TABLES)
    walks, memory = Walks(), BodyMemory(LIMITS)

    async def _table(request: Request) -> DesignTable:
        wanted = read_wanted(request.query_params)
        version = index.run(wanted.run).watched.changes if wanted.run else 0
        return await studio.design(request, lambda: tables.get((wanted, version), lambda: draw(wanted, index)))

    async def page(request: Request) -> Response:
        try:
            wanted = read_wanted(request.query_params)
        except SaccadeError:
            wanted = Wanted()  # the part, which is asked for next, says what is wrong
        runs = await studio.read(request, lambda: _runs(index))
        values = {
            "wanted": wanted,
            "runs": runs,
            "names": list(MODELS),
            "optimizers": list(STATE_PER_PARAMETER),
            "precisions": list(PRECISIONS),
            "examples": EXAMPLES,
            "topics": [(name, TOPICS[name].summary) for name in EXPLAINED],
        }
        return studio.shell.page("design/design.html", "design", values)

    async def part(request: Request) -> Response:
        try:
            found = await _table(request)
        except Refusal:
            raise
        except SaccadeError as error:
            lines = [printable(line) for line in error.message.splitlines()]
            return studio.shell.fragment("design/refused.html", {"lines": lines})
        return studio.shell.fragment("design/part.html", values_of(found))

    async def as_csv(request: Request) -> Response:
        return _file("network.csv", "text/csv", table_csv(await _known(request)))

    async def as_markdown(request: Request) -> Response:
        return _file("network.md", "text/markdown", table_markdown(await _known(request)))

    async def as_json(request: Request) -> Response:
        return JSONResponse((await _known(request)).as_json())

    async def _known(request: Request) -> DesignTable:
        with _told("no_network"):
            return await _table(request)

    async def walked(request: Request) -> Response:
        """An image, that of the body or the photo that comes along, through every layer."""
        studio.designing.refuse_when_busy()
        with memory.holding() as held:
            if request.query_params.get("photo") == BUILT_IN:
                content = built_in_photo()
            else:
                refuse_media_type(request.headers)
                content = image_in(await read_body(request, held, LIMITS), request.headers)[0]
            return JSONResponse(await studio.design(request, lambda: _walk(request, content).as_json()))

    def _walk(request: Request, content: bytes) -> Walk:
        with _told("no_walk"):
            wanted = read_wanted(request.query_params)
            run = index.run(wanted.run) if wanted.run else None
            version = run.watched.changes if run else 0
            table = tables.get((wanted, version), lambda: draw(wanted, index))
            return walks.walk(wanted, table, run, content)

    async def maps(request: Request) -> Response:
        found, place = walks.find(request.path_params["walk"]), request.path_params["position"]
        content = await studio.read(request, lambda: maps_picture(found, place))
        return Response(content, headers=KEPT, media_type="image/png")

    async def strip(request: Request) -> Response:
        found = walks.find(request.path_params["walk"])
        return Response(await studio.read(request, lambda: strip_picture(found)), headers=KEPT, media_type="image/png")

    return [
        Route("/design", page, methods=["GET"]),
        Route("/design/part", part, methods=["GET"]),
        Route("/design/network.csv", as_csv, methods=["GET"]),
        Route("/design/network.md", as_markdown, methods=["GET"]),
        Route("/api/design", as_json, methods=["GET"]),
        Route("/api/design/walk", walked, methods=["POST"]),
        Route("/design/walks/{walk}/picture", strip, methods=["GET"]),
        Route("/design/walks/{walk}/{position:int}/picture", maps, methods=["GET"]),
    ]


@contextmanager
def _told(code: str) -> Iterator[None]:
    """Refuse with what an error inside says; its further lines stay lines, since carets point into the one above."""
    try:
        yield
    except Refusal:
        raise
    except SaccadeError as error:
        first, *rest = error.message.splitlines()
        raise Refusal(Reason(422, code, first, "\n".join(rest))) from None


def _file(name: str, kind: str, text: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, headers=headers, media_type=f"{kind}; charset=utf-8")


def _runs(index: RunIndex) -> list[tuple[str, str]]:
    """(id, name) of the runs that hold a network."""
    return [(run.id, printable(run.name)) for run in index.runs() if holds_checkpoint(run.path)]


def values_of(table: DesignTable) -> dict[str, Any]:
    """What the template of the part shows."""
    totals, memory = table.totals, table.memory
    channels, height, width = table.input_CHW
    held = memory.weights + memory.gradients + memory.optimizer_state + memory.saved_activations
    terms = [
        ("weights", memory.weights),
        ("gradients", memory.gradients),
        (f"{memory.optimizer}'s state", memory.optimizer_state),
        (f"activations kept for {memory.batch_size:,} images", memory.saved_activations),
        ("passing", max(0, memory.training_peak - held)),
    ]
    return {
        "name": printable(table.model),
        "input": f"{height}x{width}x{channels}",
        "input_HW": (height, width),
        "figures": [
            ("parameters", f"{totals.parameters:,}", _frozen_words(table)),
            ("multiply-adds an image", f"{totals.multiply_adds:,}", ""),
            ("weights", size(memory.weights), memory.precision if memory.precision != "float32" else ""),
            ("memory to train", size(memory.training_peak), f"batches of {memory.batch_size:,}, {memory.precision}"),
            ("memory to answer", size(memory.inference_peak), f"batches of {memory.batch_size:,}"),
            *_field_figure(table),
        ],
        "not_counted": printable(", ".join(table.not_counted)),
        "terms": [(words, size(value), _share(value, memory.training_peak)) for words, value in terms],
        "rows": [_row(layer, table) for layer in table.layers],
        "diagram": diagram(table),
        "arcs": arcs_words(table),
        "kinds": [*dict.fromkeys(kind for _, kind in KINDS), OTHER],
        "chosen": _last_map(table),
    }


def _last_map(table: DesignTable) -> int:
    """The place of the layer that gives the last map, whose field the totals tell; of the last one where none does."""
    maps = [place for place, layer in enumerate(table.layers) if layer.jump and len(layer.output) == 3]
    return maps[-1] if maps else len(table.layers) - 1


def _frozen_words(table: DesignTable) -> str:
    totals = table.totals
    return f"{totals.not_run:,} of them only in training" if totals.not_run else ""


def _field_figure(table: DesignTable) -> list[tuple[str, str, str]]:
    field = table.totals.receptive_field
    if field is None:
        return []
    _, height, width = table.input_CHW
    beyond = "the whole image and beyond" if field[0] >= height and field[1] >= width else "of the last map"
    return [("receptive field", f"{pair(field)} px", beyond)]


def _row(layer: Layer, table: DesignTable) -> dict[str, Any]:
    return {
        "name": printable(layer.name),
        "kind": printable(" + ".join([layer.kind, *layer.folded])),
        "window": window_words(layer),
        "output": shape(layer),
        "activations": layer.activations,
        "parameters": layer.parameters,
        "multiply_adds": layer.multiply_adds,
        "share": _share(layer.multiply_adds, table.totals.multiply_adds),
        "field": pair(layer.receptive_field) if layer.receptive_field else "",
        "field_HW": layer.receptive_field or (0, 0),
        "jump": pair(layer.jump) if layer.jump else "",
    }


def _share(value: int, whole: int) -> float:
    """Percent."""
    return round(100 * value / whole, 2) if whole else 0.0
