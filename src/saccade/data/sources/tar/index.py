"""What lies where in a shard, kept for shards at a distance: walking one means many small reads over the network.

Kept under a key of the address, the size and what the file system knows of the version (an ETag, a checksum, a time); a
shard of which it knows none is walked every time, since a stale index would give wrong images.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path

from ....core import atomic
from ....core.errors import StorageError
from ....core.plain_files import open_plain_file
from .shards import Member, Shard, walk_shard

FORMAT = 1


def list_members(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> Iterator[Member]:
    """As `walk_shard`, with the same errors; from the index kept of it where there is a valid one."""
    place = _place(shard, wanted, max_content_bytes)
    if place is None:
        yield from walk_shard(shard, wanted, max_content_bytes)
        return
    members = _read(place)
    if members is None:
        members = list(walk_shard(shard, wanted, max_content_bytes))
        _write(place, members)
    yield from members


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
