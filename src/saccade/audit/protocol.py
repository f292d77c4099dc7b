"""The Open Inference Protocol (version 2 of KServe's, as Triton, OpenVINO Model Server and `saccade serve` speak it).

Over HTTP: the metadata of a model, and inference with tensors in binary where the server says that it knows them, else
as JSON. What a server sends is a stranger's: it is read up to a limit and checked.
https://github.com/kserve/open-inference-protocol, `inference_rest.md` and `extension_binary_data.md`.
"""

import json
import struct
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, TypeVar
from urllib.parse import quote, urlsplit

import numpy as np
from pydantic import BaseModel, Field, ValidationError

from ..core.errors import EndpointError, UsageError, printable
from ..data.sources.shared.listing import is_text

if TYPE_CHECKING:
    import urllib3

BINARY, CONFIGURATION = "binary_tensor_data", "model_configuration"  # extensions of a server
HEADER_LENGTH = "Inference-Header-Content-Length"
DTYPES = {
    "BOOL": "?",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
MAX_ANSWER_BYTES = 64 * 2**20
RETRY_S, LONGEST_PAUSE_S = 60.0, 5.0
BUSY = (429, 503)


class _Read(BaseModel):
    """JSON of a server: keys that are not known are passed over, as the protocol wants."""


ReadT = TypeVar("ReadT", bound=_Read)


class TensorInfo(_Read):
    """What a model says of an input or an output; -1 in `shape` is any size."""

    name: str = Field(max_length=1000)
    datatype: str = Field(max_length=20)
    shape: tuple[int, ...] = Field(max_length=20)

    def words(self) -> str:
        """Name, kind and shape, for messages."""
        return f"{printable(self.name[:80])} {printable(self.datatype)} [{', '.join(map(str, self.shape))}]"


class ModelInfo(_Read):
    """The metadata of a model."""

    name: str = Field(max_length=1000)
    inputs: tuple[TensorInfo, ...] = Field((), max_length=1000)
    outputs: tuple[TensorInfo, ...] = Field((), max_length=1000)


class _ServerInfo(_Read):
    extensions: tuple[str, ...] = ()


class _Config(_Read):
    parameters: dict[str, Any] = {}


class _AnsweredTensor(_Read):
    name: str
    datatype: str
    shape: tuple[Annotated[int, Field(ge=0)], ...] = Field(max_length=20)
    parameters: dict[str, Any] = {}
    data: list[Any] | None = None  # BYTES: texts


class _Answer(_Read):
    outputs: tuple[_AnsweredTensor, ...] = Field(max_length=1000)


@dataclass(frozen=True, kw_only=True)
class WantedOutput:
    """An output asked for; `top` asks for that many classes as "value:index:label" in place of the values."""

    name: str
    top: int | None = None

    def as_json(self, binary: bool) -> dict[str, Any]:
        parameters: dict[str, Any] = {"binary_data": binary}
        return {
            "name": self.name,
            "parameters": parameters | ({} if self.top is None else {"classification": self.top}),
        }


@dataclass(kw_only=True)
class ProtocolClient:
    """A model of a server. Threads may ask together. `num_busy` counts the requests that a busy server (429, 503) got
    again; it is asked for up to a minute."""

    url: str
    model: str
    timeout_s: float
    token: str
    pool: "urllib3.PoolManager"
    binary: bool = True
    has_config: bool = False
    num_busy: int = field(default=0)

    @property
    def address(self) -> str:
        """Where the model is."""
        return f"{self.url}/v2/models/{quote(self.model, safe='')}"

    def info(self) -> ModelInfo:
        """The metadata of the model; learns whether the server takes tensors in binary. Raises EndpointError."""
        server = self._read(_ServerInfo, self._ask("GET", f"{self.url}/v2"), f"{self.url}/v2")
        self.binary, self.has_config = BINARY in server.extensions, CONFIGURATION in server.extensions
        return self._read(ModelInfo, self._ask("GET", self.address), self.address)

    def parameters(self) -> dict[str, str]:
        """The texts that the model's configuration has as parameters, where the server tells configurations. `info` is
        asked first. Raises EndpointError."""
        if not self.has_config:
            return {}
        where = f"{self.address}/config"
        told = self._read(_Config, self._ask("GET", where), where).parameters
        found = {name: value.get("string_value") for name, value in told.items() if isinstance(value, dict)}
        return {name: text for name, text in found.items() if isinstance(text, str)}

    def infer(
        self, name: str, datatype: str, image: np.ndarray | bytes, outputs: Sequence[WantedOutput]
    ) -> dict[str, np.ndarray]:
        """The outputs for one input: an array that has its batch dimension, or the bytes of a file. Texts are arrays of
        objects (str). Raises EndpointError, with the server's own words where it refuses."""
        shape = [1] if isinstance(image, bytes) else list(image.shape)
        tensor: dict[str, Any] = {"name": name, "datatype": datatype, "shape": shape}
        body = b""
        if isinstance(image, bytes):
            body = struct.pack("<I", len(image)) + image
        elif self.binary:
            body = np.ascontiguousarray(image, DTYPES[datatype]).tobytes()
        else:
            tensor["data"] = image.ravel().tolist()
        if body:
            tensor["parameters"] = {"binary_data_size": len(body)}
        asked = {"inputs": [tensor], "outputs": [output.as_json(self.binary) for output in outputs]}
        head = json.dumps(asked).encode()
        headers = {"Content-Type": "application/octet-stream" if body else "application/json"}
        headers |= {HEADER_LENGTH: str(len(head))} if body else {}
        where = f"{self.address}/infer"
        content, length = self._ask_with_length("POST", where, head + body, headers)
        return self._tensors(content, length, where)

    def _ask(self, method: str, where: str) -> bytes:
        return self._ask_with_length(method, where, b"", {})[0]

    def _ask_with_length(
        self, method: str, where: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[bytes, int | None]:
        """(body of the answer, length of its JSON part where it says one). A busy server is asked again."""
        give_up = time.monotonic() + RETRY_S
        while True:
            status, content, answered = self._once(method, where, body, headers)
            if status not in BUSY or time.monotonic() > give_up:
                break
            self.num_busy += 1
            time.sleep(_pause_s(answered.get("retry-after", "")))
        if status != 200:
            raise EndpointError(
                f"{printable(where[:300])} answers with status {status}: {_said(content)}.\n{_remedy(status)}"
            )
        length = answered.get(HEADER_LENGTH.lower())
        return content, int(length) if length is not None and length.isdecimal() and len(length) < 12 else None

    def _once(
        self, method: str, where: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, bytes, Mapping[str, str]]:
        import urllib3

        give_up = time.monotonic() + self.timeout_s
        sent = {
            **headers,
            "Accept-Encoding": "identity",
        }  # what comes packed anyway stays so: bytes are counted as sent
        sent |= {"Authorization": f"Bearer {self.token}"} if self.token else {}
        try:
            answer = self.pool.request(
                method, where, body=body or None, headers=sent, preload_content=False, redirect=False
            )
            content = _content(answer, give_up)
        except urllib3.exceptions.HTTPError as error:
            is_new = isinstance(error, urllib3.exceptions.NewConnectionError)  # refused: one of its time-outs, too
            if isinstance(error, urllib3.exceptions.TimeoutError) and not is_new:
                raise EndpointError(
                    f"{printable(where[:300])} did not answer within {self.timeout_s:g} s.\n"
                    "The server may be loading the model, or hang: try again, or look at its log."
                ) from None
            raise EndpointError(
                f"{printable(where[:300])} cannot be asked: {printable(_cause(error)[:200])}.\n"
                "Check that the server runs, and its host and port."
            ) from None
        if len(content) > MAX_ANSWER_BYTES:
            raise EndpointError(
                f"{printable(where[:300])} answers with more than {MAX_ANSWER_BYTES >> 20} MiB.\n"
                "That is not an answer of a classifier: check the address and the name of the model."
            )
        if answer.headers.get("Content-Encoding", "identity").strip().lower() != "identity":
            raise _malformed(where, "the body is packed, and nobody asked for that")
        return answer.status, content, {name.lower(): value for name, value in answer.headers.items()}

    def _tensors(self, content: bytes, length: int | None, where: str) -> dict[str, np.ndarray]:
        head = content if length is None else content[:length]
        answer, rest = self._read(_Answer, head, where), content[len(head) :]
        found = {}
        for tensor in answer.outputs:
            num_bytes = tensor.parameters.get("binary_data_size")
            if tensor.name in found:
                raise _malformed(where, f"output '{tensor.name[:80]}' is there twice")
            if isinstance(num_bytes, int) and 0 <= num_bytes <= len(rest):
                found[tensor.name] = _decoded(tensor, rest[:num_bytes], where)
                rest = rest[num_bytes:]
            elif num_bytes is None and tensor.data is not None:
                found[tensor.name] = _listed(tensor, where)
            else:
                raise _malformed(where, f"output '{tensor.name[:80]}' has no data, or less than it says")
        return found

    @staticmethod
    def _read(kind: type[ReadT], content: bytes, where: str) -> ReadT:
        try:
            return kind.model_validate_json(content)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"]))
            raise _malformed(where, f"{place}: {first['msg']}" if place else first["msg"]) from None


@contextmanager
def open_client(url: str, model: str, token: str = "", timeout_s: float = 60.0) -> Iterator[ProtocolClient]:
    """While it is open, a client for `model` at `url`; the certificates of https are checked, and `token` is sent as a
    bearer token. Raises UsageError for what is no address."""
    import urllib3

    _refuse_address(url)
    if not is_text(model):
        raise UsageError(f"--model is not valid text: '{printable(model[:80])}'.")
    if not (token.isascii() and token.isprintable()):
        raise UsageError(
            "SACCADE_ENDPOINT_TOKEN has characters that no header can hold.\nIt is one line of plain text."
        )
    base = url.rstrip("/").removesuffix("/v2")
    pool = urllib3.PoolManager(maxsize=8, timeout=timeout_s, retries=False)
    try:
        yield ProtocolClient(url=base, model=model, timeout_s=timeout_s, token=token, pool=pool)
    finally:
        pool.clear()


def _refuse_address(url: str) -> None:
    try:
        parts = urlsplit(url)
    except ValueError:  # half of an IPv6 address
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not parts.netloc or parts.query or parts.fragment:
        raise UsageError(
            f"--endpoint takes the address of a server such as http://localhost:8000, got '{printable(url[:200])}'."
        )
    if parts.username is not None:
        raise UsageError(
            "--endpoint takes an address without a name and a password: they would stand in reports, and are not "
            "sent.\nGive a token as SACCADE_ENDPOINT_TOKEN."
        )


def _content(answer: "urllib3.BaseHTTPResponse", give_up: float) -> bytes:
    """The body as it was sent, MAX_ANSWER_BYTES + 1 of it at most. Raises urllib3's TimeoutError where it is not all
    there at `give_up`, however steadily it drips."""
    import urllib3

    parts, num_bytes = [], 0
    while num_bytes <= MAX_ANSWER_BYTES:
        part = answer.read1(MAX_ANSWER_BYTES + 1 - num_bytes, decode_content=False)
        if not part:
            answer.release_conn()
            break
        parts.append(part)
        num_bytes += len(part)
        if time.monotonic() > give_up:
            answer.close()
            raise urllib3.exceptions.TimeoutError
    else:
        answer.close()  # what is still on its way belongs to nothing
    return b"".join(parts)


def _decoded(tensor: _AnsweredTensor, content: bytes, where: str) -> np.ndarray:
    if tensor.datatype == "BYTES":
        return _shaped(np.array(_texts(content, where), object), tensor, where)
    if tensor.datatype not in DTYPES:
        raise _malformed(where, f"output '{tensor.name[:80]}' is of the unknown kind '{tensor.datatype[:20]}'")
    dtype = np.dtype(DTYPES[tensor.datatype])
    if len(content) % dtype.itemsize:
        raise _malformed(where, f"output '{tensor.name[:80]}' ends within a value")
    return _shaped(np.frombuffer(content, dtype), tensor, where)


def _texts(content: bytes, where: str) -> list[str]:
    """The texts of a BYTES tensor: each has its length in front, 4 bytes, little-endian."""
    found, start = [], 0
    while start < len(content):
        if start + 4 > len(content):
            raise _malformed(where, "a text ends within its length")
        (length,) = struct.unpack_from("<I", content, start)
        start += 4 + length
        if start > len(content):
            raise _malformed(where, "a text is shorter than it says")
        found.append(content[start - length : start].decode("utf-8", "replace"))
    return found


def _listed(tensor: _AnsweredTensor, where: str) -> np.ndarray:
    holds_texts = tensor.datatype == "BYTES"
    try:
        values = np.array(tensor.data, object if holds_texts else None).ravel()
        if not holds_texts and values.size and values.dtype.kind not in "iufb":
            raise TypeError  # texts, null, or whole numbers beyond 64 bits
        values = values if holds_texts else values.astype(np.float64)
    except (TypeError, ValueError):
        raise _malformed(where, f"output '{tensor.name[:80]}' holds other things than numbers") from None
    return _shaped(values, tensor, where)


def _shaped(values: np.ndarray, tensor: _AnsweredTensor, where: str) -> np.ndarray:
    try:
        return values.reshape(tensor.shape)
    except ValueError:
        raise _malformed(
            where, f"output '{tensor.name[:80]}' has {values.size:,} values and shape {list(tensor.shape)}"
        ) from None


def _pause_s(retry_after: str) -> float:
    wanted = float(retry_after) if retry_after.isdecimal() and len(retry_after) < 6 else 0.5
    return min(max(wanted, 0.1), LONGEST_PAUSE_S)


def _cause(error: BaseException) -> str:
    """What the system said, without the objects that urllib3 names first."""
    inner = error.__cause__ or error.__context__ or error
    return str(inner) or type(inner).__name__


def _said(content: bytes) -> str:
    """The server's own words: the protocol's {"error": text}, else the beginning of what it sent."""
    text = content[:2000].decode("utf-8", "replace")
    try:
        values = json.loads(text)
    except (ValueError, RecursionError):
        values = None
    said = values.get("error") if isinstance(values, dict) else None
    return " ".join(printable((said if isinstance(said, str) else text)[:300]).split()).rstrip(".") or "nothing"


def _remedy(status: int) -> str:
    if status in (401, 403):
        return "It wants a token: set SACCADE_ENDPOINT_TOKEN."
    if status == 404:
        return "Check the address, and the name of the model: --model NAME."
    if status in BUSY:
        return f"It has been busy for {RETRY_S:.0f} s: try again later."
    return "The log of the server says more."


def _malformed(where: str, why: str) -> EndpointError:
    return EndpointError(
        f"What {printable(where[:300])} answers is not of the Open Inference Protocol: {printable(why[:200])}.\n"
        "Check the address: it is that of a server with the routes /v2."
    )
