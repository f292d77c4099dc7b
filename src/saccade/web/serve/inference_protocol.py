"""The Open Inference Protocol (KServe's and Triton's version 2) with the extensions for binary tensors, classification
and statistics.

The input `image` is BYTES of shape (N): encoded image files, prepared as the run has it; or UINT8 of shape
(N, H, W, C), of bands of 16 bits UINT16: prepared pixels. The outputs `probabilities` and `logits` are FP32 (N, K);
where a number is asked for, `number`, FP64 (N, 1), stands in the place of probabilities. Models of grades have `grade`,
INT64 (N), its place among the classes, and models that tell images unlike anything seen in training `unlike_training`,
BOOL (N): these are given where they are asked for.
"""

import json
import math
import struct
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from ... import __version__
from ...core.errors import brief
from ...data.sources.shared.listing import is_text
from ...ship.bundle import IMAGE, LOGITS, NUMBER, PROBABILITIES
from ...ship.engine import Said, ServedModel
from ..refusal import PROTOCOL_ROOT, Reason, Refusal, malformed
from .service import Answered, Service, answer_encoded

EXTENSIONS = ["binary_tensor_data", "classification", "statistics", "model_configuration"]
HEAD_LENGTH = "inference-header-content-length"  # bytes of JSON in front of the binary data
MAX_IMAGES = 64  # of one request
MAX_HEAD_BYTES = 1 << 20  # of JSON in front of binary data
GRADE, UNLIKE = "grade", "unlike_training"
VERSION = "1"
NUMBERS = ("", "one", "two", "three", "four")


def protocol_routes(service: Service) -> list[BaseRoute]:
    """All of them."""

    def model_of(request: Request) -> ServedModel:
        version = request.path_params.get("version", VERSION)
        model = service.model(request.path_params["name"])
        if version != VERSION:
            raise Refusal(Reason(404, "no_such_version", f"{model.name} has version {VERSION} alone."))
        return model

    async def server(request: Request) -> Response:
        return JSONResponse({"name": "saccade", "version": __version__, "extensions": EXTENSIONS})

    async def live(request: Request) -> Response:
        return JSONResponse({"live": True})

    async def ready(request: Request) -> Response:
        is_ready = not service.workers.is_draining
        return JSONResponse({"ready": is_ready}, 200 if is_ready else 503)

    async def model_ready(request: Request) -> Response:
        name, is_ready = model_of(request).name, not service.workers.is_draining
        return JSONResponse({"name": name, "ready": is_ready}, 200 if is_ready else 503)

    async def metadata(request: Request) -> Response:
        return JSONResponse(_metadata(model_of(request)))

    async def config(request: Request) -> Response:
        return JSONResponse(_config(model_of(request)))

    async def statistics(request: Request) -> Response:
        model = model_of(request)
        return JSONResponse({"model_stats": [_statistics(service, model)]})

    async def infer(request: Request) -> Response:
        model, head_length = model_of(request), request.headers.get(HEAD_LENGTH)
        asked: list[_Asked] = []

        def find(content: bytes) -> tuple[ServedModel, Callable[[], Answered]]:
            asked.append(_Asked.parse(content, head_length, model))
            work = _work(model, asked[0])
            return model, work

        try:
            _, answered, _ = await service.answer(request, find)
        except Refusal:
            service.metrics.failed[model.name] += 1
            raise
        return _response(model, asked[0], answered)

    routes: list[BaseRoute] = [
        Route(PROTOCOL_ROOT, server, methods=["GET"]),
        Route(f"{PROTOCOL_ROOT}/health/live", live, methods=["GET"]),
        Route(f"{PROTOCOL_ROOT}/health/ready", ready, methods=["GET"]),
    ]
    for root in (f"{PROTOCOL_ROOT}/models/{{name}}", f"{PROTOCOL_ROOT}/models/{{name}}/versions/{{version}}"):
        routes += [
            Route(root, metadata, methods=["GET"]),
            Route(f"{root}/ready", model_ready, methods=["GET"]),
            Route(f"{root}/config", config, methods=["GET"]),
            Route(f"{root}/stats", statistics, methods=["GET"]),
            Route(f"{root}/infer", infer, methods=["POST"]),
        ]
    return routes


@dataclass(frozen=True, kw_only=True)
class _Kind:
    """An output of a model: its type, as the protocol and as NumPy calls it; `num_columns` 0: one value an image, with
    no axis of its own. `is_usual`: given where no outputs are asked for."""

    datatype: str
    dtype: str
    num_columns: int = 0
    is_usual: bool = False
    has_classes: bool = False

    @property
    def shape(self) -> list[int]:
        """Of any number of images."""
        return [-1, self.num_columns] if self.num_columns else [-1]


def _kinds(model: ServedModel) -> dict[str, _Kind]:
    """The outputs of a model by name."""
    num, task = len(model.classes), model.task
    has_classes = not task.is_number
    values = _Kind(datatype="FP32", dtype="<f4", num_columns=num, is_usual=True, has_classes=has_classes)
    number = _Kind(datatype="FP64", dtype="<f8", num_columns=num, is_usual=True)
    found = {NUMBER: number} if task.is_number else {PROBABILITIES: values}
    found[LOGITS] = values
    if task.is_grade:
        found[GRADE] = _Kind(datatype="INT64", dtype="<i8")
    if model.tells_unlike:
        found[UNLIKE] = _Kind(datatype="BOOL", dtype="|b1")
    return found


@dataclass(frozen=True, kw_only=True)
class _Output:
    name: str
    is_binary: bool
    num_classes: int  # of the classification extension; 0: the tensor itself


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A request for inference: encoded images, or prepared pixels (N, H, W, C), and which outputs are wanted how."""

    identifier: str | None
    contents: tuple[bytes, ...] = ()
    image_NHWC: np.ndarray | None = None
    outputs: tuple[_Output, ...] = field(default=())

    @classmethod
    def parse(cls, content: bytes, head_length: str | None, model: ServedModel) -> "_Asked":
        """The request to a model. Raises Refusal, which says what is wrong."""
        head, binary = _split(content, head_length)
        inputs = head.get("inputs")
        if not isinstance(inputs, list) or len(inputs) != 1 or not isinstance(inputs[0], dict):
            raise malformed(f"inputs has to be a list of one tensor, '{IMAGE}'.")
        tensor = inputs[0]
        if tensor.get("name") != IMAGE:
            raise malformed(f"There is no input '{brief(tensor.get('name'), 64)}'; the input is '{IMAGE}'.")
        shape = _shape(tensor.get("shape"))
        raw = _raw(tensor, binary)
        identifier = head.get("id")
        if identifier is not None and not (
            isinstance(identifier, str) and len(identifier) <= 256 and is_text(identifier)
        ):
            raise malformed("id has to be a text of up to 256 characters.")
        outputs, depth_bits = _outputs(head, _kinds(model)), model.preprocessings[0].depth_bits
        if tensor.get("datatype") == "BYTES":
            return cls(identifier=identifier, contents=_encoded(shape, raw), outputs=outputs)
        if tensor.get("datatype") == f"UINT{depth_bits}":
            image_NHWC = _pixels(shape, raw, tensor, np.dtype(f"<u{depth_bits // 8}"))
            return cls(identifier=identifier, image_NHWC=image_NHWC, outputs=outputs)
        kinds = f"BYTES (encoded files) or UINT{depth_bits} (prepared pixels)"
        raise malformed(f"'{IMAGE}' is {kinds}, not another datatype.")


def _split(content: bytes, head_length: str | None) -> tuple[dict[str, Any], bytes]:
    """(the JSON of a request, the binary data behind it)."""
    length = len(content)
    if head_length is not None:
        if not (head_length.isascii() and head_length.isdecimal() and len(head_length) < 12):
            raise malformed("Inference-Header-Content-Length is not a number.")
        length = int(head_length)
        if length > min(len(content), MAX_HEAD_BYTES):
            raise malformed("Inference-Header-Content-Length is more than there is.")
    try:
        head = json.loads(content[:length])
    except (ValueError, RecursionError):
        raise malformed("The request is not JSON.", "Binary data need Inference-Header-Content-Length.") from None
    if not isinstance(head, dict):
        raise malformed("The request is not a JSON object.")
    return head, content[length:]


def _shape(value: Any) -> tuple[int, ...]:
    if not isinstance(value, list) or not 1 <= len(value) <= 4 or not all(type(side) is int for side in value):
        raise malformed("shape has to be a list of 1 to 4 whole numbers.")
    if not all(1 <= side <= 1 << 31 for side in value):
        raise malformed("shape has to be of numbers from 1 on.")
    if value[0] > MAX_IMAGES:
        raise malformed(f"A request holds up to {MAX_IMAGES} images.", "Send several.")
    return tuple(value)


def _raw(tensor: dict[str, Any], binary: bytes) -> bytes | None:
    """The binary data of a tensor; None where its data stand in the JSON."""
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        if binary:
            raise malformed("There are binary data that belong to no tensor.")
        return None
    if type(size) is not int or size != len(binary):
        raise malformed(f"binary_data_size is not the {len(binary):,} bytes that there are.")
    return binary


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    found = value.get("parameters", {})
    if not isinstance(found, dict):
        raise malformed("parameters has to be an object.")
    return found


def _encoded(shape: tuple[int, ...], raw: bytes | None) -> tuple[bytes, ...]:
    """Encoded files: each a length of four bytes, little-endian, and so many bytes."""
    if raw is None:
        raise malformed("Encoded images come as binary data.", "With tritonclient: set_data_from_numpy(..., True).")
    number = math.prod(shape)
    if len(shape) > 2 or (len(shape) == 2 and shape[1] != 1):
        raise malformed("Encoded images have the shape [N] or [N, 1].")
    contents, place = [], 0
    for _ in range(number):
        if place + 4 > len(raw):
            raise malformed("The binary data end early.")
        (length,) = struct.unpack_from("<I", raw, place)
        content = raw[place + 4 : place + 4 + length]
        if len(content) < length:
            raise malformed("The binary data end early.")
        contents.append(content)
        place += 4 + length
    if place != len(raw):
        raise malformed("There are more binary data than the shape says.")
    return tuple(contents)


def _pixels(shape: tuple[int, ...], raw: bytes | None, tensor: dict[str, Any], dtype: np.dtype[Any]) -> np.ndarray:
    if raw is not None:
        if len(raw) % dtype.itemsize:
            raise malformed("The binary data end in the middle of a value.")
        value_N = np.frombuffer(raw, dtype)
    else:
        most = np.iinfo(dtype).max
        try:
            value_N = np.array(tensor.get("data"))
        except ValueError:
            raise malformed("data has lists of different lengths.") from None
        if value_N.dtype.kind not in "iu" or value_N.size == 0 or value_N.min() < 0 or value_N.max() > most:
            raise malformed(f"data has to be whole numbers from 0 to {most}.")
        value_N = value_N.astype(dtype).reshape(-1)
    if value_N.size != math.prod(shape):
        raise malformed(f"There are {value_N.size:,} values; the shape says {math.prod(shape):,}.")
    return value_N.reshape(shape)


def _outputs(head: dict[str, Any], kinds: Mapping[str, _Kind]) -> tuple[_Output, ...]:
    is_binary = _parameters(head).get("binary_data_output", False) is True
    wanted = head.get("outputs")
    if wanted is None:
        usual = [name for name, kind in kinds.items() if kind.is_usual]
        return tuple(_Output(name=name, is_binary=is_binary, num_classes=0) for name in usual)
    if not isinstance(wanted, list) or not wanted or len(wanted) > len(kinds):
        most = f"one {'or' if len(kinds) == 2 else 'to'} {NUMBERS[len(kinds)]}"
        raise malformed(f"outputs has to be a list of {most} of: {', '.join(kinds)}.")
    return tuple(_output(value, is_binary, kinds) for value in wanted)


def _output(value: Any, is_binary: bool, kinds: Mapping[str, _Kind]) -> _Output:
    if not isinstance(value, dict) or value.get("name") not in list(kinds):
        raise malformed(f"An output has the name {' or '.join(kinds)}.")
    parameters = _parameters(value)
    num_classes = parameters.get("classification", 0)
    if type(num_classes) is not int or not 0 <= num_classes <= 1 << 31:
        raise malformed("classification has to be a whole number from 0 on.")
    if num_classes and not kinds[value["name"]].has_classes:
        raise malformed(f"{value['name']} has no classes.")
    return _Output(
        name=value["name"], is_binary=parameters.get("binary_data", is_binary) is True, num_classes=num_classes
    )


def _work(model: ServedModel, asked: _Asked) -> Callable[[], Answered]:
    if asked.image_NHWC is None:
        return lambda: answer_encoded(model, asked.contents, time.perf_counter)
    image_NHWC = asked.image_NHWC
    if len(model.preprocessings) > 1:
        raise malformed(f"The networks of {model.name} prepare images differently.", "Send encoded files, as BYTES.")
    preprocessing = model.preprocessings[0]
    channels, height_px, width_px = preprocessing.input_CHW
    if image_NHWC.ndim != 4 or image_NHWC.shape[1:] != (height_px, width_px, channels):
        raise malformed(f"Prepared pixels have the shape [N, {height_px}, {width_px}, {channels}].")

    def work() -> Answered:
        start = time.perf_counter()
        said = model.answer({preprocessing: image_NHWC})
        return Answered(said=said, seconds={"infer": time.perf_counter() - start})

    return work


def _response(model: ServedModel, asked: _Asked, answered: Answered) -> Response:
    head: dict[str, Any] = {"model_name": model.name, "model_version": VERSION}
    if asked.identifier is not None:
        head["id"] = asked.identifier
    tensors, parts, kinds = [], [], _kinds(model)
    for output in asked.outputs:
        tensor, part = _tensor(model, output, kinds[output.name], _values(model, output.name, answered.said))
        tensors.append(tensor)
        parts.append(part)
    head["outputs"] = tensors
    if not any(parts):
        return JSONResponse(head)
    text = json.dumps(head).encode()
    headers = {"Inference-Header-Content-Length": str(len(text))}
    return Response(text + b"".join(parts), headers=headers, media_type="application/octet-stream")


def _values(model: ServedModel, name: str, said: Said) -> np.ndarray:
    """What an output holds, a row or a value an image."""
    if name == UNLIKE:
        return np.zeros(0, bool) if said.unlike_N is None else said.unlike_N
    if name == GRADE:
        return model.task.answer_of(said.probability_NK)
    return said.logits_NK if name == LOGITS else said.probability_NK


def _tensor(model: ServedModel, output: _Output, kind: _Kind, values: np.ndarray) -> tuple[dict[str, Any], bytes]:
    """(an output in the JSON of the answer, its binary data, none where they stand in the JSON)."""
    if output.num_classes:
        text_NT = [_classification(model, value_K, output.num_classes) for value_K in values]
        tensor = {"name": output.name, "datatype": "BYTES", "shape": [len(text_NT), len(text_NT[0])]}
        data: list[Any] = [text for text_T in text_NT for text in text_T]
        encoded = [text.encode() for text in data]
        binary = b"".join(struct.pack("<I", len(text)) + text for text in encoded)
    else:
        tensor = {"name": output.name, "datatype": kind.datatype, "shape": list(values.shape)}
        data = [] if output.is_binary else values.astype(kind.dtype).ravel().tolist()
        binary = values.astype(kind.dtype).tobytes()
    if output.is_binary:
        return tensor | {"parameters": {"binary_data_size": len(binary)}}, binary
    return tensor | {"data": data}, b""


def _classification(model: ServedModel, value_K: np.ndarray, number: int) -> list[str]:
    """`value:index:class` of the `number` largest values, as Triton writes them."""
    order = np.argsort(-value_K, kind="stable")[:number].tolist()
    return [f"{value_K[k]:f}:{k}:{model.classes[k]}" for k in order]


def _metadata(model: ServedModel) -> dict[str, Any]:
    outputs = [{"name": name, "datatype": kind.datatype, "shape": kind.shape} for name, kind in _kinds(model).items()]
    return {
        "name": model.name,
        "versions": [VERSION],
        "platform": "openvino",
        "inputs": [{"name": IMAGE, "datatype": "BYTES", "shape": [-1]}],
        "outputs": outputs,
    }


def _config(model: ServedModel) -> dict[str, Any]:
    outputs = [
        {"name": name, "data_type": f"TYPE_{kind.datatype}", "dims": kind.shape} for name, kind in _kinds(model).items()
    ]
    parameters = {"classes": json.dumps(list(model.classes)), "task": model.task.kind}
    if model.task.is_number:  # who judges the answers needs the scale by which an answer is near
        parameters |= {"mean": repr(model.task.mean), "deviation": repr(model.task.deviation)}
    if model.task.half_width:
        parameters["half_width"] = repr(model.task.half_width)
    return {
        "name": model.name,
        "platform": "openvino",
        "max_batch_size": 0,
        "input": [{"name": IMAGE, "data_type": "TYPE_STRING", "dims": [-1]}],
        "output": outputs,
        "parameters": {name: {"string_value": text} for name, text in parameters.items()},
    }


def _statistics(service: Service, model: ServedModel) -> dict[str, Any]:
    counts = service.metrics
    stages: Mapping[str, float] = counts.seconds.get(model.name, {})
    number = counts.answers[model.name]

    def spent(count: int, *names: str) -> dict[str, int]:
        return {"count": count, "ns": round(1e9 * sum(stages.get(name, 0.0) for name in names))}

    return {
        "name": model.name,
        "version": VERSION,
        "inference_count": counts.images[model.name],
        "execution_count": number,
        "inference_stats": {
            "success": spent(number, "wait", "decode", "prepare", "infer"),
            "fail": {"count": counts.failed[model.name], "ns": 0},
            "queue": spent(number, "wait"),
            "compute_input": spent(number, "decode", "prepare"),
            "compute_infer": spent(number, "infer"),
            "compute_output": {"count": number, "ns": 0},
        },
    }
