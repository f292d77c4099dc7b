"""Marks that a person puts on images, kept beside the run; and what leaves as CSV."""

import csv
import io
import threading
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....core.documents import DocumentError, parse_object
from ....core.errors import StorageError, counted, printable
from ....evaluate.mistakes import mistakes_csv, safe_cell
from ....runs.marks_file import MARK_NAMES, Mark, write_marks
from ...body import BodyMemory, media_type, read_body
from ...limits import BodyLimits
from ...refusal import Reason, Refusal, malformed, wrong_field
from ..place import Studio
from .index import Run, RunIndex
from .judged_images import NO_SUCH_IMAGE, marks_of, said_of
from .records import Records

LIMITS = BodyLimits(max_bytes=16 << 10, memory_bytes=4 << 20)
NOT_JSON = Reason(415, "media_type", "A mark is sent as application/json.")


def mark_routes(studio: Studio, index: RunIndex, records: Records) -> list[BaseRoute]:
    """All of them."""
    memory = BodyMemory(LIMITS)
    lock = threading.Lock()

    async def mark(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        if media_type(request.headers) != "application/json":
            raise Refusal(NOT_JSON)
        with memory.holding() as held:
            position, name = _asked(await read_body(request, held, LIMITS))

        def store() -> dict[str, object]:
            record = records.record(run)
            if position >= len(record.keys) or record.task.is_several or record.task.is_number:
                raise Refusal(NO_SUCH_IMAGE)
            key, said = record.keys[position], int(said_of(record)[position])
            with lock:
                marks = marks_of(run)
                marks.pop(key, None)
                if name:
                    label = record.classes[int(record.label_N[position])]
                    marks[key] = Mark(image=key, label=label, said=record.classes[said], mark=name)  # type: ignore[arg-type]
                _write(run, marks)
            return {"mark": name, "words": f"{counted(len(marks), 'mark')} in {printable(run.name)}."}

        return JSONResponse(await studio.read(request, store))

    async def marks_csv(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        marks = await studio.read(request, lambda: marks_of(run))
        rows = [
            [safe_cell(each.image), safe_cell(each.label), safe_cell(each.said), each.mark] for each in marks.values()
        ]
        return _as_file(f"marks-{run.id}.csv", _csv(["image", "label", "said", "mark"], rows))

    async def wrong_csv(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        text = await studio.read(request, lambda: mistakes_csv(records.mistakes(run)))
        return _as_file(f"mistakes-{run.id}.csv", text)

    async def epochs_csv(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        epochs = (await studio.read(request, run.look)).epochs
        names = [name for name in type(epochs[0]).model_fields if name != "is_best"] if epochs else ["epoch"]
        rows = [
            ["" if (value := getattr(event, name)) is None else f"{value:.9g}" for name in names] for event in epochs
        ]
        return _as_file(f"epochs-{run.id}.csv", _csv(names, rows))

    return [
        Route("/api/runs/{run}/marks", mark, methods=["POST"]),
        Route("/runs/{run}/marks.csv", marks_csv, methods=["GET"]),
        Route("/runs/{run}/mistakes.csv", wrong_csv, methods=["GET"]),
        Route("/runs/{run}/epochs.csv", epochs_csv, methods=["GET"]),
    ]


def _asked(content: bytes) -> tuple[int, str]:
    """(position, name of the mark, "" to take it away). Raises Refusal."""
    try:
        values = parse_object(content)
    except DocumentError:
        raise malformed("The body is not a JSON object.") from None
    position, name = values.get("position"), values.get("mark")
    if type(position) is not int or position < 0:
        raise wrong_field("position must be a whole number from 0 on.")
    if not isinstance(name, str) or name not in ("", *MARK_NAMES):
        raise wrong_field(f"mark must be one of: {', '.join(MARK_NAMES)}; or empty, to take it away.")
    return position, name


def _write(run: Run, marks: dict[str, Mark]) -> None:
    try:
        write_marks(run.path, marks)
    except StorageError as error:
        raise Refusal(Reason(507, "not_stored", error.message.splitlines()[0])) from None


def _as_file(name: str, text: str) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return Response(text, headers=headers, media_type="text/csv; charset=utf-8")


def _csv(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows([headings, *rows])
    return text.getvalue()
