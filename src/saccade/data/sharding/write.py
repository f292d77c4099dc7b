"""Any source as tar shards: the images of each split in a fixed random order, `00000012.jpg` with `00000012.cls`.

WebDataset: A. Aizman, G. Maltby and T. Breuel, 2019, arXiv:2001.01858. `.cls` is the number of the class, whose name is
that line of `classnames.txt`; `.json` has the key that the image had. The order is random, but always the same, since a
reader of shards mixes a few of them at a time, and images of one class often lie together in a source.

Bytes follow from source and settings alone. Every image is decoded before the first shard is written: what cannot be
is named, and never lies in a set that others train on. A shard is written, read back, compared image by image, and
then its index is written: a shard with an index is finished, and one that is begun again goes on behind it. `plan.json`
is written first, so that nobody goes on with other settings; `shards.json` last: with it the set is whole.
"""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ...core.display import Displayed
from ...core.errors import DataError, StorageError, UsageError, counted, printable
from ...core.given import settle_fields
from ...core.plain_numbers import check_count
from ...core.types import MAX_16_BIT, SPLITS
from ..images.digests import content_digest
from ..left_out import BadImage, OnBadImage
from ..random_numbers import permutation
from ..scan import scan_source
from ..source import DataSource
from ..sources.shared.tar_members import tar_members
from ..sources.tar.index import INDEX_ENDING
from .image_file import image_file
from .place import Place, open_place, shown_place

FORMAT = 1
PLAN, WHOLE = "plan.json", "shards.json"
UNSPLIT = "images"
BLOCK = 512
DEFAULT_SHARD_BYTES = 128 << 20
MAX_NAMED = 5  # of the images that are left out

Progress = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class ShardSettings:
    """A shard is full by its images (`images_per_shard`; 0: any number), else by its bytes. `short_side_px` as in
    `image_file`. Raises UsageError for numbers that there cannot be."""

    images_per_shard: int = 0
    shard_bytes: int = DEFAULT_SHARD_BYTES
    short_side_px: int = 0

    def __post_init__(self) -> None:
        settle_fields(self)
        for name, least in (("images_per_shard", 0), ("shard_bytes", 1), ("short_side_px", 0)):
            check_count(getattr(self, name), f"ShardSettings: '{name}'", least)


@dataclass(frozen=True, kw_only=True, repr=False)
class ShardsWritten(Displayed):
    """What was written to `out`; `num_found` of the `shards` were there already. `splits`: images of each. `left_out`
    could not be decoded."""

    out: str
    shards: tuple[dict[str, Any], ...]
    splits: dict[str, int]
    num_found: int
    left_out: tuple[BadImage, ...] = ()

    @property
    def num_images(self) -> int:
        """Images in all shards."""
        return sum(self.splits.values())

    @property
    def num_bytes(self) -> int:
        """Bytes of all shards."""
        return sum(int(shard["num_bytes"]) for shard in self.shards)

    def display_lines(self) -> list[str]:
        there = f", of which {self.num_found:,} were there" if self.num_found else ""
        parts = ", ".join(f"{name} {num:,}" for name, num in self.splits.items())
        parts = f"Of them {parts}. " if len(self.splits) > 1 else ""
        return [
            f"{counted(self.num_images, 'image')} in {counted(len(self.shards), 'shard')}{there}: "
            f"{self.num_bytes / 1e6:,.1f} MB in {shown_place(self.out)}.",
            f"{parts}Every shard was read back and compared.",
            *self._left_out_lines(),
        ]

    def _left_out_lines(self) -> list[str]:
        if not self.left_out:
            return []
        num = len(self.left_out)
        shown = "; ".join(f"{printable(bad.key)}: {bad.reason.rstrip('.')}" for bad in self.left_out[:MAX_NAMED])
        more = f"; and {num - MAX_NAMED:,} more" if num > MAX_NAMED else ""
        verb = "was" if num == 1 else "were"
        return [f"{counted(num, 'image')} could not be decoded and {verb} left out: {shown}{more}."]


def write_shards(
    source: DataSource,
    out: str,
    settings: ShardSettings,
    progress: Progress | None = None,
    on_bad_image: OnBadImage = "error",
    decoding: Progress | None = None,
    num_threads: int = 1,
) -> ShardsWritten:
    """Write the images of `source` as shards to `out`, or go on where that was stopped.

    Every image is decoded first, on `num_threads`, of which `decoding(done, total)` hears; with `on_bad_image` "skip"
    one that cannot be, or up to 1 % of them, is left out. Raises SaccadeError.
    """
    parts = _parts(source)
    scan = scan_source(source, num_threads, on_bad_image, decoding, MAX_16_BIT, "colour")
    parts = {split: index_N[np.isin(index_N, scan.good_N)] for split, index_N in parts.items()}
    place = open_place(out)
    plan = {"format": FORMAT, "source": source.digest, "classes": list(source.classes), **asdict(settings)}
    if scan.bad:
        plan["left_out"] = [bad.key for bad in scan.bad]
    counts = {split: len(index_N) for split, index_N in parts.items()}
    work = _Work(source, place, settings, progress, len(scan.good_N))
    with place.held():
        _agree(place, out, plan)
        place.write("classnames.txt", "".join(f"{name}\n" for name in source.classes).encode())
        for split, index_N in parts.items():
            work.write_part(split, index_N)
        place.write(WHOLE, _json({"plan": plan, "splits": counts, "shards": work.shards}))
    return ShardsWritten(out=out, shards=tuple(work.shards), splits=counts, num_found=work.num_found, left_out=scan.bad)


def _parts(source: DataSource) -> dict[str, np.ndarray]:
    """The images of each split, in the order in which they are written. Raises DataError."""
    where = printable(source.name[:200])
    split_N: list[str] = []
    for index in range(len(source)):
        record = source.record(index)
        if record.group is not None:
            raise DataError(
                f"{where} has groups, which shards cannot hold: images of one group would come on both sides of a "
                f"split.\nLeave its column of groups out, if no group matters; else train from it as it is."
            )
        split_N.append(record.split or UNSPLIT)
    for name in source.classes:
        if name != name.strip() or len(name.splitlines()) != 1:
            raise DataError(
                f"{where}: the class '{printable(name[:80])}' is not one line of text.\nGive it another name."
            )
    found = [name for name in (*SPLITS, UNSPLIT) if name in set(split_N)]
    parts = {name: np.flatnonzero(np.array(split_N) == name) for name in found}
    return {name: index_N[permutation(0, 0, len(index_N))] for name, index_N in parts.items()}


def _agree(place: Place, out: str, plan: dict[str, Any]) -> None:
    """Begin, or go on with what was begun in the same way. Raises UsageError."""
    content = _json(plan)
    if place.size(PLAN) is None:
        if place.size(WHOLE) is not None or place.size("classnames.txt") is not None:
            raise UsageError(f"{shown_place(out)} holds another set.\nChoose another --out.")
        place.write(PLAN, content)
    elif place.read(PLAN) != content:
        raise UsageError(
            f"{shown_place(out)} holds shards of another source, or with other settings.\nChoose another --out."
        )


class _Work:
    def __init__(
        self, source: DataSource, place: Place, settings: ShardSettings, progress: Progress | None, num_images: int
    ) -> None:
        self._source, self._place, self._settings = source, place, settings
        self._progress, self._num_images = progress, num_images
        self._num_done = 0
        self.shards: list[dict[str, Any]] = []
        self.num_found = 0

    def write_part(self, split: str, index_N: np.ndarray) -> None:
        """The shards of one split."""
        first, number = 0, 0
        while first < len(index_N):
            name = f"{split}-{number:06}.tar"
            found = self._finished(name, first)
            if found is None:
                self._source.expect(index_N[first:])
                found = self._write(name, first, index_N)
            else:
                self.num_found += 1
                self._tell(int(found["num_images"]))
            self.shards.append({key: found[key] for key in ("name", "num_bytes", "num_images", "sha256")})
            first, number = first + int(found["num_images"]), number + 1

    def _finished(self, name: str, first: int) -> dict[str, Any] | None:
        """The index of a shard that is there and whole."""
        if self._place.size(f"{name}{INDEX_ENDING}") is None:
            return None
        try:
            index = json.loads(self._place.read(f"{name}{INDEX_ENDING}"))
            is_whole = index["first"] == first and self._place.size(name) == index["num_bytes"]
            return dict(index) if is_whole and int(index["num_images"]) > 0 else None
        except (ValueError, KeyError, TypeError):
            return None  # it is written again

    def _write(self, name: str, first: int, index_N: np.ndarray) -> dict[str, Any]:
        digests: list[bytes] = []
        with self._place.working_file(name) as path:
            with open(path, "wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as archive:
                while first + len(digests) < len(index_N) and not self._is_full(archive.offset, len(digests)):
                    place = first + len(digests)
                    digests.append(self._add(archive, place, int(index_N[place])))
                    self._tell(1)
        index = {"format": FORMAT, "name": name, "first": first, "num_images": len(digests)}
        index |= self._read_back(name, digests)
        self._place.write(f"{name}{INDEX_ENDING}", _json(index))
        return index

    def _is_full(self, num_bytes: int, num_images: int) -> bool:
        if self._settings.images_per_shard:
            return num_images >= self._settings.images_per_shard
        return num_images > 0 and num_bytes >= self._settings.shard_bytes

    def _add(self, archive: tarfile.TarFile, place: int, index: int) -> bytes:
        """Add one image; returns the digest of its file."""
        record = self._source.record(index)
        ending, content = image_file(self._source.read(index), record.key, self._settings.short_side_px)
        about = json.dumps({"key": record.key}, ensure_ascii=True).encode()
        for end, part in ((ending, content), ("cls", b"%d" % record.label), ("json", about)):
            member = tarfile.TarInfo(f"{place:08}.{end}")
            member.size = len(part)
            archive.addfile(member, io.BytesIO(part))
        return content_digest(content)

    def _read_back(self, name: str, digests: list[bytes]) -> dict[str, Any]:
        """Size, digest and members of a shard as it lies there. Raises StorageError where an image is another."""
        members: list[list[Any]] = []
        found: list[bytes] = []
        with self._place.opened(name) as stream:
            for member in tar_members(stream):
                stream.seek(member.offset)
                content = stream.read(member.num_bytes)
                is_label = member.name.endswith((".cls", ".json"))
                members.append(
                    [member.name, member.offset, member.num_bytes, content.decode("ascii") if is_label else None]
                )
                if not is_label:
                    found.append(content_digest(content))
            if found != digests:
                raise StorageError(
                    f"{printable(name)} was written, but other bytes are read from it.\n"
                    f"The disk or the connection may be failing: check it, then give the same command again."
                )
            stream.seek(0)
            digest = hashlib.sha256()
            num_bytes = 0
            while part := stream.read(1 << 20):
                digest.update(part)
                num_bytes += len(part)
        return {"num_bytes": num_bytes, "sha256": digest.hexdigest(), "members": members}

    def _tell(self, num: int) -> None:
        self._num_done += num
        if self._progress is not None:
            self._progress(self._num_done, self._num_images)


def _json(value: dict[str, Any]) -> bytes:
    return f"{json.dumps(value, sort_keys=True)}\n".encode()
