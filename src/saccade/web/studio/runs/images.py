"""The images of a run: the grid of mistakes, one image with its answer and its evidence, pictures as files."""

from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ....core.errors import SaccadeError, counted, printable
from ....core.plain_numbers import whole_number
from ....data.images.bands import as_picture
from ....data.images.encode import picture_content
from ....explain.colour import veil
from ....explain.gradcam import EvidenceMap, grad_cams
from ....report.record import RunRecord
from ....runs.evaluation_files import THUMBNAIL_PX
from ....runs.marks_file import MARK_NAMES
from ...refusal import Reason, Refusal
from ..place import Studio
from .frame import frame_of
from .index import Run, RunIndex
from .judged_images import NO_SUCH_IMAGE, cards_of, details_of
from .own_images import OwnImages, are_here
from .records import Latest, Records, no_such_class
from .words import page_number

PER_PAGE = 48
MAX_MAPS = 64
KEPT = {"Cache-Control": "private, max-age=3600"}
NOT_KEPT = (
    "The run keeps this image at 96 pixels at most, and its source is not on this machine: Grad-CAM needs what the "
    "network saw, which is kept of the surest mistakes."
)


def image_routes(studio: Studio, index: RunIndex, records: Records) -> list[BaseRoute]:
    """All of them."""
    maps: Latest[EvidenceMap] = Latest(MAX_MAPS)
    own = OwnImages()

    async def mistakes(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        values = await studio.read(request, lambda: _mistakes(run, records, dict(request.query_params)))
        return studio.shell.page("runs/mistakes.html", "runs", values)

    async def image(request: Request) -> Response:
        return studio.shell.page("runs/image.html", "runs", await _found(request))

    async def image_part(request: Request) -> Response:
        return studio.shell.fragment("runs/image_part.html", await _found(request))

    async def _found(request: Request) -> dict[str, Any]:
        run, position = index.run(request.path_params["run"]), request.path_params["position"]

        def find() -> dict[str, Any]:
            record = _record_of(records, run, position)
            return details_of(run, record, position) | {
                "run": run,
                "name": printable(run.name),
                "mark_names": MARK_NAMES,
                "is_kept": _is_kept(record, position),
                "why_no_map": "" if _is_kept(record, position) or are_here(run) else NOT_KEPT,
            }

        return await studio.read(request, find)

    async def picture(request: Request) -> Response:
        run, position = index.run(request.path_params["run"]), request.path_params["position"]

        def find() -> bytes:
            return picture_content(_shown(_record_of(records, run, position), position))

        def read_again() -> bytes:
            record = _record_of(records, run, position)
            return picture_content(
                as_picture(_prepared(records, own, run, record, position), record.manifest.preprocessing)
            )

        is_again = request.query_params.get("from") == "source"
        content = await (studio.compute(request, read_again) if is_again else studio.read(request, find))
        return Response(content, headers=KEPT, media_type="image/png")

    async def thumbnail(request: Request) -> Response:
        run, position = index.run(request.path_params["run"]), request.path_params["position"]

        def find() -> bytes | None:
            record = _record_of(records, run, position)
            return picture_content(_small(record, position)) if _has_picture(record, position) else None

        def read_again() -> bytes:
            record = _record_of(records, run, position)
            prepared_HWC = _prepared(records, own, run, record, position)
            return picture_content(_smaller(as_picture(prepared_HWC, record.manifest.preprocessing)))

        content = await studio.read(request, find) or await studio.compute(request, read_again)
        return Response(content, headers=KEPT, media_type="image/png")

    async def source(request: Request) -> Response:
        """Whether the source still has an image as it was judged; or why it cannot be shown."""
        run, position = index.run(request.path_params["run"]), request.path_params["position"]

        def find() -> str:
            record = _record_of(records, run, position)
            try:
                _prepared(records, own, run, record, position)
            except Refusal as refusal:
                return refusal.reason.text
            return ""

        return JSONResponse({"message": await studio.compute(request, find)})

    async def doubts(request: Request) -> Response:
        run = index.run(request.path_params["run"])
        found = await studio.compute(request, lambda: records.mistakes(run))
        return JSONResponse({"positions": [mistake.position for mistake in found if mistake.may_be_mislabelled]})

    async def evidence(request: Request) -> Response:
        found = await _evidence(request)
        return JSONResponse({"message": found.message, "layer": found.layer, "class": found.class_name})

    async def evidence_picture(request: Request) -> Response:
        found = await _evidence(request)
        return Response(picture_content(veil(found.map_HW)), headers=KEPT, media_type="image/png")

    async def _evidence(request: Request) -> EvidenceMap:
        run, position = index.run(request.path_params["run"]), request.path_params["position"]
        record = await studio.read(request, lambda: _record_of(records, run, position))
        class_index = _class_index(request, record)
        key = (run.id, run.watched.changes, position, class_index)
        return await studio.compute(
            request, lambda: maps.get(key, lambda: _map(records, own, run, record, position, class_index))
        )

    root = "/runs/{run}/images/{position:int}"
    return [
        Route("/runs/{run}/mistakes", mistakes, methods=["GET"]),
        Route(root, image, methods=["GET"]),
        Route(f"{root}/part", image_part, methods=["GET"]),
        Route(f"{root}/picture", picture, methods=["GET"]),
        Route(f"{root}/thumbnail", thumbnail, methods=["GET"]),
        Route(f"{root}/evidence", evidence_picture, methods=["GET"]),
        Route(f"/api{root}/evidence", evidence, methods=["GET"]),
        Route(f"/api{root}/source", source, methods=["GET"]),
        Route("/api/runs/{run}/doubts", doubts, methods=["GET"]),
    ]


def _mistakes(run: Run, records: Records, given: dict[str, str]) -> dict[str, Any]:
    """The grid: those of a true class, an answer, from a confidence on; a page at a time."""
    record = records.record(run)
    found = records.wrong(run)
    wanted = {name: _class_of(given.get(name, ""), record) for name in ("true", "said")}
    names = {name: "" if number is None else record.classes[number] for name, number in wanted.items()}
    least = _percentage(given.get("least", ""))
    chosen = [
        mistake
        for mistake in found
        if names["true"] in ("", mistake.label)
        and names["said"] in ("", mistake.said)
        and 100 * mistake.said_probability >= least
    ]
    num_pages = max(1, -(-len(chosen) // PER_PAGE))
    number = min(num_pages, page_number(given.get("page", "")))
    shown = chosen[(number - 1) * PER_PAGE : number * PER_PAGE]
    suspected = frozenset(mistake.position for mistake in found if mistake.may_be_mislabelled)
    return frame_of(run, run.look(), records) | {
        "tab": "mistakes",
        "has_doubts": records.has_doubts(run),
        "cards": cards_of(run, record, [mistake.position for mistake in shown], suspected),
        "words": _words(len(found), len(chosen), len(record.label_N)),
        "classes": record.classes,
        "wanted": {**wanted, "least": least},
        "query": "".join(f"&{name}={number}" for name, number in wanted.items() if number is not None)
        + f"&least={least}",
        "is_filtered": len(chosen) < len(found),
        "number": number,
        "num_pages": num_pages,
    }


def _words(num_wrong: int, num_chosen: int, num_images: int) -> str:
    verb = "is" if num_wrong == 1 else "are"
    fitting = f"; {num_chosen:,} fit the filter." if num_chosen < num_wrong else "."
    return f"{counted(num_wrong, 'answer')} of {num_images:,} {verb} wrong{fitting}"


def _record_of(records: Records, run: Run, position: int) -> RunRecord:
    """The run that has a judged image at `position`. Raises Refusal."""
    record = records.record(run)
    if position >= len(record.keys):
        raise Refusal(NO_SUCH_IMAGE)
    return record


def _shown(record: RunRecord, position: int) -> np.ndarray:
    """What a person is shown of an image: at the size that the network sees where that is kept. Raises Refusal."""
    pictures = record.pictures
    if pictures and position in pictures.seen:
        return as_picture(pictures.seen[position], record.manifest.preprocessing)
    if pictures and position in pictures.thumbnails:
        return pictures.thumbnails[position]
    raise Refusal(NO_SUCH_IMAGE)


def _small(record: RunRecord, position: int) -> np.ndarray:
    """The same at no more than 96 pixels. Raises Refusal."""
    pictures = record.pictures
    if pictures and position in pictures.thumbnails:
        return pictures.thumbnails[position]
    return _smaller(_shown(record, position))


def _smaller(image_HWC: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C) at no more than 96 pixels."""
    step = -(-max(image_HWC.shape[:2]) // THUMBNAIL_PX)
    height_px, width_px = (side // step for side in image_HWC.shape[:2])
    cut_HWC = image_HWC[: height_px * step, : width_px * step]  # the mean of squares of `step` pixels
    mean_HWC: np.ndarray = cut_HWC.reshape(height_px, step, width_px, step, -1).mean(axis=(1, 3))
    small_HWC: np.ndarray = np.rint(mean_HWC).astype(np.uint8)
    return small_HWC


def _has_picture(record: RunRecord, position: int) -> bool:
    """Whether the run keeps a picture of an image, at whatever size."""
    return _is_kept(record, position) or (record.pictures is not None and position in record.pictures.thumbnails)


def _is_kept(record: RunRecord, position: int) -> bool:
    """Whether the run keeps what the network saw of an image."""
    return record.pictures is not None and position in record.pictures.seen


def _prepared(records: Records, own: OwnImages, run: Run, record: RunRecord, position: int) -> np.ndarray:
    """What the network sees of an image, as the run keeps it or from its source again. Raises Refusal."""
    if record.pictures and position in record.pictures.seen:
        return record.pictures.seen[position]
    if not are_here(run):
        raise Refusal(Reason(404, "not_kept", NOT_KEPT))
    return own.prepared(run, records, record, position)


def _map(records: Records, own: OwnImages, run: Run, record: RunRecord, position: int, class_index: int) -> EvidenceMap:
    """Grad-CAM of an image for a class. Raises Refusal where the image or the weights are not there."""
    prepared_HWC = _prepared(records, own, run, record, position)
    member = records.network(run)
    try:
        return grad_cams(member.model, member.normalized(prepared_HWC[None]), [class_index], record.classes)[0]
    except SaccadeError as error:  # a network of a person's own that does not name its parts
        raise Refusal(Reason(422, "no_evidence", error.message.splitlines()[0])) from None


def _class_index(request: Request, record: RunRecord) -> int:
    found = _class_of(request.query_params.get("class", ""), record)
    if found is None:
        raise no_such_class()
    return found


def _class_of(text: str, record: RunRecord) -> int | None:
    """The number of a class; None for what is none."""
    found = whole_number(text)
    return found if found is not None and found < len(record.classes) else None


def _percentage(text: str) -> int:
    """0 to 100; 0 for what is none."""
    return min(100, whole_number(text, 3) or 0)
