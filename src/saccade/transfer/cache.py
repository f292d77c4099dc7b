"""Features on disk: what the frozen part of a network gives for an image, computed once.

A folder for everything that decides the values (`FeatureKey`), in it files of up to 256 records, each written under a
temporary name, synced and renamed: a kill loses the file under way. A record is found by the digest of its image and
carries a checksum over that digest and its values; what does not fit is computed again. Files are memory-mapped.
"""

import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as tensor_bytes

from ..core import atomic, lock
from ..core.config import FrozenConfig
from ..core.errors import RunInUseError, StorageError, printable
from ..core.plain_files import open_plain_file

RECORDS_PER_FILE = 256
CHECKSUM_BYTES, DIGEST_BYTES = 8, 16
DESCRIPTION, ENDING, PREFIX = "features.json", ".safetensors", "records-"
FOLDER_NAME = re.compile("[0-9a-f]{32}")


class FeatureKey(FrozenConfig):
    """All that decides the values besides the pixels of the image; any change is another folder."""

    code_sha256: str
    network: str
    frozen_sha256: str
    preprocessing_sha256: str
    tap: str
    dtype: str
    arithmetic: str
    device: str
    processor: str
    views_sha256: str
    libraries: dict[str, str]

    def folder(self, root: Path) -> Path:
        """Where these features lie under the cache folder `root`."""
        return root / "features" / self.digest()[:32]  # see FOLDER_NAME


@dataclass(kw_only=True)
class _File:
    """One file of records, mapped into memory."""

    path: Path
    digest_NB: np.ndarray
    values: torch.Tensor
    is_good_N: np.ndarray


@dataclass(kw_only=True)
class FeatureCache:
    """The records of one key. `notes` says what was found damaged; `limit_bytes` bounds the whole cache folder."""

    root: Path
    key: FeatureKey
    limit_bytes: int
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder = self.key.folder(self.root)
        self._files: dict[str, _File] = {}
        self._places: dict[bytes, tuple[str, int]] = {}

    @contextmanager
    def building(self, note: Callable[[str], None], check: Callable[[], None]) -> Iterator[None]:
        """Be the only process that computes these features; others wait and then find them. `note` hears of a wait as
        it begins, `check` is called again and again during it and may raise. Raises StorageError."""
        told = False
        while True:
            atomic.make_folder(self.folder)  # it may have left to make room for others while we waited
            with suppress(RunInUseError), lock.exclusive(self.folder):
                with atomic.storage_errors(self.folder):
                    atomic.remove_temporaries(self.folder)
                    self.refresh()
                    self._mark_used()
                yield
                return
            if not told:
                note("another process is computing the same features; waiting for it")
                told = True
            check()
            time.sleep(0.1)

    def _mark_used(self) -> None:
        """The time of the description is when the features were last used, which `make_room` goes by."""
        with suppress(FileNotFoundError):
            os.utime(self.folder / DESCRIPTION)

    def refresh(self) -> None:
        """Map the files that are there now. Damaged files and records are noted and count as absent."""
        for path in sorted(self.folder.glob(f"{PREFIX}*{ENDING}")):
            if path.name not in self._files:
                self._open(path)

    def has(self, digest_NB: np.ndarray) -> np.ndarray:
        """Which of the images with these digests, uint8 (N, 16), have their features here; bool (N,)."""
        return np.fromiter((row.tobytes() in self._places for row in digest_NB), bool, len(digest_NB))

    def take(self, digest_NB: np.ndarray) -> torch.Tensor:
        """The features of these images, (N, ...) in the stored dtype. Raises KeyError where one is absent."""
        places = [self._places[row.tobytes()] for row in digest_NB]
        first = self._files[places[0][0]].values
        taken = torch.empty((len(places), *first.shape[1:]), dtype=first.dtype)
        rows_of: dict[str, list[tuple[int, int]]] = {}
        for to, (name, row) in enumerate(places):
            rows_of.setdefault(name, []).append((to, row))
        for name in sorted(rows_of):
            to_M, row_M = (torch.tensor(column) for column in zip(*rows_of[name], strict=True))
            taken[to_M] = self._files[name].values[row_M]
        return taken

    def add(self, digest_NB: np.ndarray, values: torch.Tensor) -> None:
        """Keep the features `values` (N, ...) of these images. Raises StorageError; what was kept before is intact."""
        values = values.contiguous()
        tensors = {
            "digest_NB": torch.from_numpy(np.ascontiguousarray(digest_NB)),
            "checksum_NB": torch.from_numpy(np.stack([checksum(d, v) for d, v in zip(digest_NB, values, strict=True)])),
            "values": values,
        }
        name = hashlib.blake2b(digest_NB.tobytes(), digest_size=12).hexdigest()
        path = self.folder / f"{PREFIX}{name}{ENDING}"
        atomic.write_bytes(path, tensor_bytes(tensors))  # save_file would hide from us that the disk is full
        self._open(path, is_ours=True)

    def make_room(self, needed_bytes: int) -> bool:
        """Whether `needed_bytes` more fit, once the features that were not used for longest have left. Raises
        StorageError. The first call writes down what these features are."""
        text = json.dumps(self.key.model_dump(mode="json"), indent=1) + "\n"
        atomic.write_text(self.folder / DESCRIPTION, text)
        with atomic.storage_errors(self.folder.parent):
            return self._make_room(needed_bytes)

    def _make_room(self, needed_bytes: int) -> bool:
        found = [path for path in self.folder.parent.iterdir() if path != self.folder and _holds_features(path)]
        others = sorted(found, key=_last_use)
        sizes = {path: folder_bytes(path) for path in others}
        room = self.limit_bytes - folder_bytes(self.folder) - sum(sizes.values())
        for path in others:
            if room >= needed_bytes or room + sum(sizes.values()) < needed_bytes:
                break
            if _remove_unused(path):
                room += sizes.pop(path)
        return room >= needed_bytes

    def drop_damaged(self) -> int:
        """Rewrite the files with damaged records without them; how many records are lost. Raises StorageError."""
        num_lost = 0
        for name, file in list(self._files.items()):
            if file.is_good_N.all():
                continue
            good_N = np.flatnonzero(file.is_good_N)
            if len(good_N):
                self.add(file.digest_NB[good_N], file.values[torch.from_numpy(good_N)])
            with atomic.storage_errors(file.path):
                file.path.unlink(missing_ok=True)
            del self._files[name]
            num_lost += len(file.is_good_N) - len(good_N)
        return num_lost

    def _open(self, path: Path, is_ours: bool = False) -> None:
        """Map a file and look through its records; one that is `is_ours` was written just now."""
        try:
            open_plain_file(path).close()  # what maps it would wait at a pipe
            with safe_open(path, framework="pt") as opened:
                digest_NB, checksum_NB = (opened.get_tensor(name).numpy() for name in ("digest_NB", "checksum_NB"))
                values = opened.get_tensor("values")
            self._check_arrays(digest_NB, checksum_NB, values)
        except (SafetensorError, OSError, ValueError, TypeError) as error:
            self.notes.append(f"the feature file {printable(str(path))} is damaged ({printable(str(error))[:80]})")
            path.unlink(missing_ok=True)
            return
        is_good_N = np.fromiter(
            (
                is_ours or bool((checksum(digest, value) == kept).all())
                for digest, value, kept in zip(digest_NB, values, checksum_NB, strict=True)
            ),
            bool,
            len(digest_NB),
        )
        self._files[path.name] = _File(path=path, digest_NB=digest_NB, values=values, is_good_N=is_good_N)
        for row in np.flatnonzero(is_good_N).tolist():
            self._places[digest_NB[row].tobytes()] = (path.name, row)

    def _check_arrays(self, digest_NB: np.ndarray, checksum_NB: np.ndarray, values: torch.Tensor) -> None:
        """Raise ValueError where the arrays of a file are not records of this key, all of one shape."""
        num, kept = len(values) if values.ndim else 0, next(iter(self._files.values()), None)
        if digest_NB.dtype != np.uint8 or digest_NB.shape != (num, DIGEST_BYTES):
            raise ValueError("its digests are not of 16 bytes")
        if checksum_NB.dtype != np.uint8 or checksum_NB.shape != (num, CHECKSUM_BYTES):
            raise ValueError("its checksums are not of 8 bytes")
        if values.dtype != getattr(torch, self.key.dtype) or (kept and kept.values.shape[1:] != values.shape[1:]):
            raise ValueError("its values are of another type or shape than the others")


def checksum(digest_B: np.ndarray, value: torch.Tensor) -> np.ndarray:
    """uint8 (8,): BLAKE2b of a record's values, keyed with the digest of its image, so that neither fits another."""
    content = value.contiguous().reshape(-1).view(torch.uint8).numpy()
    digest = hashlib.blake2b(content.data, digest_size=CHECKSUM_BYTES, key=digest_B.tobytes())
    return np.frombuffer(digest.digest(), np.uint8)


def folder_bytes(folder: Path) -> int:
    """What the files directly in `folder` take."""
    total = 0
    with suppress(FileNotFoundError):  # another process may just have removed the folder
        for path in folder.iterdir():
            with suppress(FileNotFoundError):  # or the file
                total += path.stat().st_size
    return total


def _holds_features(folder: Path) -> bool:
    """Whether `folder` is one of ours; whatever else lies there belongs to somebody who misses it."""
    return bool(FOLDER_NAME.fullmatch(folder.name)) and (folder / DESCRIPTION).is_file()


def _last_use(folder: Path) -> float:
    try:
        return (folder / DESCRIPTION).stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _remove_unused(folder: Path) -> bool:
    """Delete the features in `folder` unless a process is computing them."""
    try:
        with lock.exclusive(folder), atomic.storage_errors(folder):
            shutil.rmtree(folder)
    except (RunInUseError, StorageError):
        return False
    return True
