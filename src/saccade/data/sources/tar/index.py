"""What lies where in a shard at a distance: by the index kept of it, by the one beside it, or by walking it.

Kept under a key of the address, the size and what the file system knows of the version (an ETag, a checksum, a time); a
shard of which it knows none is walked every time, since a stale index would give wrong images. The index beside a shard
is what `saccade shard` writes; it says the digest of its shard, which is compared when that is fetched.
"""

import hashlib
import json
import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ....core import atomic
from ....core.errors import DataError, StorageError
from ....core.plain_files import open_plain_file
from .remote import RemoteFile, look_up, read_part
from .shards import Member, Shard, is_file_name, walk_shard

FORMAT = 1
INDEX_ENDING = ".index.json"
MAX_INDEX_BYTES = 64 << 20


def list_members(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> tuple[Shard, list[Member]]:
    """(the shard, with its digest where an index said it; what `walk_shard` gives, with the same errors)."""
    place = _place(shard, wanted, max_content_bytes)
    members = None if place is None else _read(place)
    if members is not None:
        return shard, members
    if shard.there is not None and shard.store is not None and not shard.store.has(shard.there):
        beside = _beside(shard.there, wanted, max_content_bytes)
        if beside is not None:
            return replace(shard, there=replace(shard.there, sha256=beside[0])), beside[1]
    members = list(walk_shard(shard, wanted, max_content_bytes))
    if place is not None:
        _write(place, members)
    return shard, members


def _beside(there: RemoteFile, wanted: tuple[str, ...], max_content_bytes: int) -> tuple[str, list[Member]] | None:
    """(digest of the shard, its members) by the index beside it; None where there is none, or none that fits."""
    try:
        file = look_up(there.address + INDEX_ENDING)
        if file.num_bytes > MAX_INDEX_BYTES:
            return None
        return _parsed(json.loads(read_part(file, 0, file.num_bytes)), there, wanted, max_content_bytes)
    except (DataError, ValueError, KeyError, TypeError, RecursionError):
        return None  # the shard itself is walked, and tells what is wrong


def _parsed(index: Any, there: RemoteFile, wanted: tuple[str, ...], max_content_bytes: int) -> tuple[str, list[Member]]:
    """Raises ValueError, KeyError or TypeError for what is no index of that file."""
    digest, end = str(index["sha256"]), 0
    if index["num_bytes"] != there.num_bytes or not re.fullmatch("[0-9a-f]{64}", digest):
        raise ValueError("an index of another file")
    members = []
    for name, offset, num_bytes, text in index["members"]:
        content = text.encode() if isinstance(text, str) else None
        is_wanted = name.lower().endswith(wanted) and num_bytes <= max_content_bytes
        if not is_file_name(name) or type(offset) is not int or type(num_bytes) is not int or num_bytes < 0:
            raise ValueError("no member of a shard")
        if offset < end or offset + num_bytes > there.num_bytes or (content is not None) != is_wanted:
            raise ValueError("a member in the wrong place")
        if content is not None and len(content) != num_bytes:
            raise ValueError("a member of another size")
        members.append(Member(name, offset, num_bytes, content))
        end = offset + num_bytes
    return digest, members


def index_folder() -> Path:
    """Where the indices lie: `$XDG_CACHE_HOME` (or ~/.cache) `/saccade/shards`."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "saccade" / "shards"


def _place(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> Path | None:
    """The index file of this version of a shard; None for one on this machine, or of no known version."""
    there = shard.there
    if there is None or not there.version or not there.num_bytes:
        return None
    key = repr((FORMAT, shard.path, there.num_bytes, list(there.version), wanted, max_content_bytes))
    return index_folder() / f"{hashlib.sha256(key.encode('utf-8', 'surrogateescape')).hexdigest()}.json"


def _read(place: Path) -> list[Member] | None:
    """The members kept at `place`; None where there are none, or the file is damaged."""
    try:
        with open_plain_file(place) as file:
            text = file.read().decode("ascii")
        digest, _, rows = text.partition("\n")
        if digest != hashlib.sha256(rows.encode("ascii")).hexdigest():
            return None
        return [
            Member(name, offset, num_bytes, None if content is None else content.encode("latin-1"))
            for name, offset, num_bytes, content in json.loads(rows)
        ]
    except (OSError, ValueError):
        return None


def _write(place: Path, members: list[Member]) -> None:
    rows = json.dumps(
        [(m.name, m.offset, m.num_bytes, None if m.content is None else m.content.decode("latin-1")) for m in members]
    )
    try:
        atomic.make_folder(place.parent)
        atomic.write_text(place, f"{hashlib.sha256(rows.encode('ascii')).hexdigest()}\n{rows}")
    except StorageError:
        return  # the shard will be walked again next time
