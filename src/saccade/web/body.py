"""The body of a request: read within its limits of size, time and memory, and the image in it."""

import asyncio
import zlib
from collections.abc import Iterator
from contextlib import contextmanager

from starlette.datastructures import Headers
from starlette.requests import Request

from .limits import BodyLimits
from .refusal import CLIENT_GONE, Reason, Refusal, busy, malformed

IMAGE_TYPES = frozenset(
    {
        "application/octet-stream",
        "application/dicom",
        *(
            f"image/{name}"
            for name in "jpeg jpg png webp gif bmp x-ms-bmp tiff avif jp2 jpx j2k heic heif".split()  # as RFC 9239 has
        ),
    }
)
MULTIPART = "multipart/form-data"
MAX_FIELDS = 8  # of a multipart body, beside its file
MAX_FIELD_BYTES = 4096
WRONG_TYPE = Reason(
    415,
    "media_type",
    "This Content-Type is not taken.",
    "Send the bytes of an image file as image/jpeg, image/png, ... or application/octet-stream, or one file as "
    "multipart/form-data (curl -F image=@photo.jpg; not --data-binary alone, which says that it is a form).",
)
EMPTY = Reason(400, "no_image", "The request holds no image.", "Send the bytes of an image file as the body.")
BODY_TIMEOUT = Reason(408, "timeout", "The body did not come in time.", "Send it at once.")
NO_LENGTH = Reason(411, "length_needed", "The request has no length.", "Send Content-Length.")


def too_large(limits: BodyLimits) -> Refusal:
    """413."""
    if limits.max_bytes < 1 << 20:  # no image comes there
        return Refusal(Reason(413, "too_large", f"The body has more than {limits.max_bytes >> 10} KB.", "Send less."))
    text = f"The body has more than {limits.max_bytes >> 20} MB."
    return Refusal(Reason(413, "too_large", text, "Send a smaller image, such as a JPEG."))


class BodyMemory:
    """How many bytes of bodies are inside."""

    def __init__(self, limits: BodyLimits) -> None:
        self.limits = limits
        self.held_bytes = 0

    @contextmanager
    def holding(self) -> Iterator["_Held"]:
        """What the body of one request takes, until it is answered."""
        held = _Held(self)
        try:
            yield held
        finally:
            self.held_bytes -= held.num_bytes


class _Held:
    def __init__(self, memory: BodyMemory) -> None:
        self._memory = memory
        self.num_bytes = 0

    def add(self, num_bytes: int) -> None:
        if self._memory.held_bytes + num_bytes > self._memory.limits.memory_bytes:
            raise busy("full")
        self._memory.held_bytes += num_bytes
        self.num_bytes += num_bytes


async def read_body(request: Request, held: _Held, limits: BodyLimits) -> bytes:
    """All of the body, unpacked where it came packed. Raises Refusal."""
    _refuse_length(request.headers, limits)
    unpack = _unpacker(request.headers.get("content-encoding", "identity"), limits)
    parts: list[bytes] = []
    num_bytes = 0
    try:
        async with asyncio.timeout(limits.whole_s):
            while True:
                async with asyncio.timeout(limits.silent_s):
                    message = await request.receive()
                if message["type"] == "http.disconnect":
                    raise Refusal(CLIENT_GONE)
                part = message.get("body", b"")
                num_bytes += len(part)
                if num_bytes > limits.max_bytes:
                    raise too_large(limits)
                held.add(len(part))
                parts.append(part)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise Refusal(BODY_TIMEOUT) from None
    return unpack(b"".join(parts), held)


def media_type(headers: Headers) -> str:
    """The media type without its parameters; bytes of no type where the header is not there."""
    return str(headers.get("content-type", "application/octet-stream")).partition(";")[0].strip().lower()


def image_in(content: bytes, headers: Headers) -> tuple[bytes, dict[str, str]]:
    """(the encoded image, the fields beside it) of a body. Raises Refusal."""
    kind = media_type(headers)
    if kind in IMAGE_TYPES:
        if not content:
            raise Refusal(EMPTY)
        return content, {}
    if kind == MULTIPART:
        return _Multipart(content, headers["content-type"]).image()
    raise Refusal(WRONG_TYPE)


def refuse_media_type(headers: Headers) -> None:
    """Raise Refusal, before the body is read, where no image comes as such."""
    if media_type(headers) not in {*IMAGE_TYPES, MULTIPART}:
        raise Refusal(WRONG_TYPE)


class _Multipart:
    """One file and a few short fields of a multipart body; what goes beyond is refused where it is met."""

    def __init__(self, content: bytes, content_type: str) -> None:
        from python_multipart.exceptions import FormParserError
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._header_name, self._header_value = b"", b""
        self._name, self._is_file = "", False
        self._fields: dict[str, bytearray] = {}
        self._file: bytearray | None = None
        self._num_parts, self._is_whole = 0, False
        self._parse_options = parse_options_header
        boundary = parse_options_header(content_type)[1].get(b"boundary", b"")
        if not boundary:
            raise malformed("The Content-Type names no boundary.")
        callbacks = {
            "on_part_begin": self._begin,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._begin_data,
            "on_part_data": self._add_data,
            "on_end": self._end,
        }
        try:
            parser = MultipartParser(boundary, callbacks)
            for start in range(0, len(content), 1 << 16):  # so that a refusal comes before all of it is parsed
                parser.write(content[start : start + (1 << 16)])
        except FormParserError:
            raise malformed("The multipart body is malformed.") from None

    def image(self) -> tuple[bytes, dict[str, str]]:
        """(the file, the fields). Raises Refusal where there is no file, or the body ends early."""
        if not self._is_whole:
            raise malformed("The multipart body ends early.")
        if not self._file:
            raise Refusal(EMPTY)
        return bytes(self._file), {name: value.decode("utf-8", "replace") for name, value in self._fields.items()}

    def _begin(self) -> None:
        self._num_parts += 1
        self._name, self._is_file = "", False
        if self._num_parts > MAX_FIELDS + 1:
            raise malformed(f"The body has more than {MAX_FIELDS + 1} parts.", "Send one file.")

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._header_name += data[start:end]

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._header_value += data[start:end]

    def _end_header(self) -> None:
        if self._header_name.lower() == b"content-disposition":
            options = self._parse_options(self._header_value)[1]
            self._name = options.get(b"name", b"").decode("utf-8", "replace")
            self._is_file = b"filename" in options
        self._header_name, self._header_value = b"", b""

    def _begin_data(self) -> None:
        if self._is_file:
            if self._file is not None:
                raise malformed("The body has more than one file.", "Send one image a request.")
            self._file = bytearray()
        else:
            self._fields[self._name] = bytearray()

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file and self._file is not None:
            self._file += data[start:end]
            return
        field = self._fields[self._name]
        field += data[start:end]
        if len(field) > MAX_FIELD_BYTES:
            raise malformed(f"A field has more than {MAX_FIELD_BYTES:,} bytes.", "Send the image as a file.")

    def _end(self) -> None:
        self._is_whole = True


def _refuse_length(headers: Headers, limits: BodyLimits) -> None:
    length = headers.get("content-length")
    if length is None:
        if "transfer-encoding" not in headers:
            raise Refusal(NO_LENGTH)
        return
    if not length.isascii() or not length.isdecimal():
        raise malformed("Content-Length is not a number.")
    if len(length) > 15 or int(length) > limits.max_bytes:
        raise too_large(limits)


class _Unpacker:
    def __init__(self, window_bits: int, limits: BodyLimits) -> None:
        self._window_bits, self._limits = window_bits, limits

    def __call__(self, content: bytes, held: _Held) -> bytes:
        if not self._window_bits:
            return content
        unpacker = zlib.decompressobj(self._window_bits)
        try:
            unpacked = unpacker.decompress(content, self._limits.max_bytes + 1)
        except zlib.error:
            raise malformed("The body is not packed as Content-Encoding says.") from None
        if len(unpacked) > self._limits.max_bytes:
            raise too_large(self._limits)
        if not unpacker.eof:
            raise malformed("The packed body ends early.")
        held.add(len(unpacked))
        return unpacked


def _unpacker(encoding: str, limits: BodyLimits) -> _Unpacker:
    window_bits = {"identity": 0, "gzip": 31, "deflate": 15}.get(encoding.strip().lower())
    if window_bits is None:
        raise Refusal(
            Reason(415, "content_encoding", "This Content-Encoding is not taken.", "Send it plain, or as gzip.")
        )
    return _Unpacker(window_bits, limits)
