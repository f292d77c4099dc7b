"""What lies where in a tar file, header by header: read here, since Python's tarfile believes whatever a header says.

Formats: IEEE 1003.1 (ustar, pax) and GNU tar (long names, sizes in base 256), https://www.gnu.org/software/tar/manual
("Basic Tar Format"). Sizes are checked before anything of that size is read; headers in front of a member are counted.
"""

import gzip
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

from ...limits import MAX_TAR_HEADERS_IN_A_ROW, MAX_TAR_TEXT_BYTES

BLOCK = 512
MAX_OFFSET = 1 << 62
REGULAR = (b"0", b"\0", b"7")
FOLDER = b"5"
LONG_NAME, LONG_LINK, PAX, PAX_FOR_ALL = b"L", b"K", b"x", b"g"
POSIX_MAGIC = b"ustar\0"
OCTAL = re.compile(rb"[\0 ]*([0-7]{0,21})[\0 ]*")
PAX_LENGTH = re.compile(rb"([0-9]{1,9}) ")


class DamagedTar(Exception):
    """The file is no tar file, or ends or lies somewhere; the text says where."""


@dataclass(frozen=True)
class TarMember:
    """`kind` is "file", "folder" or "other" (links, devices, sparse files); `num_bytes` are at `offset`."""

    name: str
    kind: str
    offset: int
    num_bytes: int


@dataclass
class _Ahead:
    """What the headers in front of a member say of it."""

    name: bytes | None = None
    num_bytes: int | None = None
    is_sparse: bool = False
    num_headers: int = 0


def tar_members(stream: IO[bytes] | gzip.GzipFile) -> Iterator[TarMember]:
    """The members in order, up to the first block of zeros. Raises DamagedTar, and OSError as `stream` does.

    `stream` is only read forward, so that a compressed one will do; what lies between headers is sought over.
    """
    place, ahead = 0, _Ahead()
    while True:
        stream.seek(place)
        header = stream.read(BLOCK)
        if header == bytes(BLOCK) and not ahead.num_headers:
            return
        if len(header) < BLOCK:
            raise DamagedTar(f"no end after {place:,} bytes")
        num_bytes, kind = _check_header(header, place), header[156:157]
        place += BLOCK
        if kind in (LONG_NAME, LONG_LINK, PAX, PAX_FOR_ALL):
            _look_ahead(stream, kind, num_bytes, place, ahead)
            place += _padded(num_bytes)
            continue
        member = _member(header, num_bytes, place, ahead)
        yield member
        place += _padded(member.num_bytes)
        if place > MAX_OFFSET:
            raise DamagedTar(f"a member that ends at byte {place:,}")
        if ahead.num_headers:
            ahead = _Ahead()


def _check_header(header: bytes, place: int) -> int:
    """The size that a header declares, once its checksum fits."""
    checksum = OCTAL.fullmatch(header[148:156])
    total = 256 + sum(header[:148]) + sum(header[156:])
    if checksum is None or int(checksum[1] or b"0", 8) != total:
        raise DamagedTar(f"no header at byte {place:,}")
    field = header[124:136]
    if field[0] & 0x80:
        number = int.from_bytes(field[1:], "big")
        if field[0] != 0x80 or number > MAX_OFFSET:
            raise DamagedTar(f"an impossible size at byte {place:,}")
        return number
    digits = OCTAL.fullmatch(field)
    if digits is None:
        raise DamagedTar(f"an impossible size at byte {place:,}")
    return int(digits[1] or b"0", 8)


def _look_ahead(stream: IO[bytes] | gzip.GzipFile, kind: bytes, num_bytes: int, place: int, ahead: _Ahead) -> None:
    ahead.num_headers += 1
    if ahead.num_headers > MAX_TAR_HEADERS_IN_A_ROW:
        raise DamagedTar(f"more than {MAX_TAR_HEADERS_IN_A_ROW} headers for one member, at byte {place:,}")
    if num_bytes > MAX_TAR_TEXT_BYTES:
        raise DamagedTar(f"a name or record of {num_bytes:,} bytes at byte {place:,}")
    content = stream.read(num_bytes)
    if len(content) != num_bytes:
        raise DamagedTar(f"no end after {place + len(content):,} bytes")
    if kind == LONG_NAME:
        ahead.name = content.partition(b"\0")[0]
    elif kind == PAX:
        for key, value in _pax_records(content, place):
            _take_record(key, value, place, ahead)
    elif kind == PAX_FOR_ALL:
        if any(key in (b"path", b"size") for key, _ in _pax_records(content, place)):
            raise DamagedTar(f"one name or size for all members, at byte {place:,}")


def _pax_records(content: bytes, place: int) -> Iterator[tuple[bytes, bytes]]:
    """(key, value) of each record `LENGTH KEY=VALUE\\n`."""
    start = 0
    while start < len(content) and content[start]:
        length = PAX_LENGTH.match(content, start)
        end = start + int(length[1]) if length else start
        if length is None or not length.end() < end <= len(content) or content[end - 1 : end] != b"\n":
            raise DamagedTar(f"a damaged pax record at byte {place + start:,}")
        key, sign, value = content[length.end() : end - 1].partition(b"=")
        if not sign:
            raise DamagedTar(f"a damaged pax record at byte {place + start:,}")
        yield key, value
        start = end


def _take_record(key: bytes, value: bytes, place: int, ahead: _Ahead) -> None:
    if key == b"path":
        ahead.name = value
    elif key == b"size":
        if not value.isdigit() or len(value) > 18:
            raise DamagedTar(f"an impossible size at byte {place:,}")
        ahead.num_bytes = int(value)
    elif key.startswith(b"GNU.sparse."):
        ahead.is_sparse = True


def _member(header: bytes, num_bytes: int, offset: int, ahead: _Ahead) -> TarMember:
    name, kind = header[:100].partition(b"\0")[0], header[156:157]
    if header[257:263] == POSIX_MAGIC and header[345]:
        name = header[345:500].partition(b"\0")[0] + b"/" + name
    if ahead.name is not None:
        name = ahead.name
    text = name.decode("utf-8", "surrogateescape")
    if kind == FOLDER or (kind == b"\0" and name.endswith(b"/")):
        return TarMember(text, "folder", offset, 0)
    if kind not in REGULAR or ahead.is_sparse:
        return TarMember(text, "other", offset, 0)
    return TarMember(text, "file", offset, num_bytes if ahead.num_bytes is None else ahead.num_bytes)


def _padded(num_bytes: int) -> int:
    return -(-num_bytes // BLOCK) * BLOCK
