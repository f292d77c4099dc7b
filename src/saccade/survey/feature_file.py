"""Features of images as one file for other tools: Parquet, NumPy's .npz, or CSV.

    .parquet  columns key, label (text, also of a number; null where unknown) and feature (a list of float32); the facts
              are the value `saccade` of the file's metadata
    .npz      key_N, label_N (text, "" where unknown), feature_ND float32, and `facts`, one text
    .csv      columns key, label, f0, f1, ...; the facts are in FILE.json beside it

The facts are JSON: what computed the features, so that nobody compares those of two networks. Images are written as
they come, so that memory does not grow with them; the file gets its name when it is whole.
"""

import csv
import io
import json
import re
import shutil
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np

from .. import __version__
from ..classify.classifier import Member
from ..classify.features import BadImages, FeatureBatch, num_features
from ..core import atomic
from ..core.errors import DataError, ImageError, UsageError, printable, storable
from ..data.sources.parquet.row_groups import import_pyarrow
from ..evaluate.mistakes import safe_cell
from ..runs.checkpoint import find_checkpoint
from ..runs.names import WEIGHTS
from ..weights.public import BackboneWeights

ENDINGS = (".parquet", ".npz", ".csv")
FORMAT = 1
ROWS_AT_ONCE = 1024  # of a Parquet row group: 8 MB of 2,048 features
CHARACTER_BYTES = 4  # of NumPy's text


@dataclass(kw_only=True)
class FeaturesWritten:
    """What became of a file of features: `num_written` images with `num_features` each; `num_bad` could not be read.

    `facts` are what the file says of itself.
    """

    path: Path
    facts: dict[str, Any]
    num_features: int
    num_written: int = 0
    num_bad: int = 0


class _Writer(Protocol):
    def add(self, keys: list[str], labels: list[str], feature_GD: np.ndarray) -> None: ...
    def finish(self) -> None: ...


def check_out(path: Path) -> None:
    """Raise UsageError where `path` has an ending that is not written, or needs a package that is not there."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"Features are written as .parquet, .npz or .csv; got '{printable(path.name)}'.\n"
            f"Change the ending of --out."
        )
    if path.suffix.lower() == ".parquet":
        try:
            import_pyarrow()
        except DataError:
            raise UsageError(
                "Parquet files need pyarrow, which is not installed.\n"
                "Install it: pip install 'saccade-learn[data]'; or write .npz or .csv, which need nothing more."
            ) from None


@dataclass(frozen=True, kw_only=True)
class Seeing:
    """What computes features: a run, or a network with public weights, whose licence a file of features repeats."""

    member: Member
    weights_sha256: str
    run: str = ""
    weights: str = ""
    licence: str = ""


def seeing_run(run: Path, member: Member) -> Seeing:
    """`member`, opened from `run`."""
    weights = find_checkpoint(run).manifest.files.get(WEIGHTS)
    return Seeing(member=member, weights_sha256=weights.sha256 if weights else "", run=printable(str(run)))


def seeing_backbone(member: Member, found: BackboneWeights) -> Seeing:
    """`member`, a network with the weights `found`."""
    return Seeing(
        member=member, weights_sha256=found.sha256, weights=printable(found.source), licence=printable(found.licence)
    )


def facts_of(seeing: Seeing) -> dict[str, Any]:
    """What a file of features says of what computed them. Raises ModelError for a network without named parts."""
    member = seeing.member
    return {
        "format": FORMAT,
        "saccade": __version__,
        "run": seeing.run,
        "weights": seeing.weights,
        "licence": seeing.licence,
        "network": member.architecture,
        "weights_sha256": seeing.weights_sha256,
        "preprocessing": member.preprocessing.model_dump(mode="json"),
        "preprocessing_sha256": member.preprocessing.digest(),
        "classes": list(member.classes),
        "num_features": num_features(member),
    }


def write_features(
    path: Path, facts: dict[str, Any], batches: Iterable[FeatureBatch], bad: Callable[[ImageError], None]
) -> FeaturesWritten:
    """Write the features of `batches` to `path`. `bad` hears of each image that has none, which is left out.

    Raises DataError where no image could be used: then nothing is written. Raises StorageError.
    """
    written = FeaturesWritten(path=path, facts=facts, num_features=facts["num_features"])
    refused = BadImages(bad)
    atomic.make_folder(path.parent)

    def fill(temporary: Path) -> None:
        with ExitStack() as stack:
            writer = _writer(path, temporary, facts, stack)
            for batch in refused.good_batches(batches):
                keys = [_text(item.key) for item in batch.good]
                writer.add(keys, [_text(item.label) for item in batch.good], batch.feature_GD)
                written.num_written += len(keys)
            written.num_bad = len(refused.errors)
            if not written.num_written:
                raise DataError(f"No image could be used, so {printable(str(path))} is not written.")
            writer.finish()

    atomic.write_with(path, fill)
    if path.suffix.lower() == ".csv":
        beside = facts | {"num_images": written.num_written}
        atomic.write_text(path.with_name(f"{path.name}.json"), json.dumps(beside, indent=1) + "\n")
    return written


def _writer(path: Path, temporary: Path, facts: dict[str, Any], stack: ExitStack) -> _Writer:
    ending = path.suffix.lower()
    if ending == ".parquet":
        return _ParquetWriter(temporary, facts, stack)
    if ending == ".npz":
        return _NumpyWriter(temporary, facts, stack)
    return _CsvWriter(temporary, facts, stack)


def _text(name: str) -> str:
    """`name` as text that every format can hold: NUL, which ends NumPy's, as an escape, too."""
    return storable(name).replace("\0", "\\x00")


def _label_cell(label: str) -> str:
    """`label` as a cell; a number stays one, below zero too."""
    return label if re.fullmatch(r"-?[0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?", label) else safe_cell(label)


class _ParquetWriter:
    def __init__(self, path: Path, facts: dict[str, Any], stack: ExitStack) -> None:
        self._pyarrow, parquet = import_pyarrow()
        pa = self._pyarrow
        fields = [("key", pa.string()), ("label", pa.string()), ("feature", pa.list_(pa.float32()))]
        self._schema = pa.schema(fields, metadata={"saccade": json.dumps(facts)})
        here = pa.fs.LocalFileSystem()
        self._file = stack.enter_context(parquet.ParquetWriter(str(path), self._schema, filesystem=here))
        self._keys: list[str] = []
        self._labels: list[str | None] = []
        self._features: list[np.ndarray] = []

    def add(self, keys: list[str], labels: list[str], feature_GD: np.ndarray) -> None:
        self._keys += keys
        self._labels += [label or None for label in labels]
        self._features.append(feature_GD)
        if len(self._keys) >= ROWS_AT_ONCE:
            self.finish()

    def finish(self) -> None:
        if not self._keys:
            return
        pa, feature_ND = self._pyarrow, np.concatenate(self._features)
        offset_N = np.arange(len(feature_ND) + 1, dtype=np.int32) * feature_ND.shape[1]
        feature = pa.ListArray.from_arrays(pa.array(offset_N), pa.array(feature_ND.reshape(-1)))
        columns = [pa.array(self._keys, pa.string()), pa.array(self._labels, pa.string()), feature]
        self._file.write_table(pa.Table.from_arrays(columns, schema=self._schema))
        self._keys, self._labels, self._features = [], [], []


class _CsvWriter:
    def __init__(self, path: Path, facts: dict[str, Any], stack: ExitStack) -> None:
        file = stack.enter_context(open(path, "w", encoding="utf-8", newline=""))
        self._rows = csv.writer(file, lineterminator="\r\n")
        self._rows.writerow(["key", "label", *(f"f{number}" for number in range(facts["num_features"]))])

    def add(self, keys: list[str], labels: list[str], feature_GD: np.ndarray) -> None:
        for key, label, feature_D in zip(keys, labels, feature_GD, strict=True):
            self._rows.writerow([safe_cell(key), _label_cell(label), *(str(value) for value in feature_D)])

    def finish(self) -> None:
        """Every row is written already."""


class _NumpyWriter:
    """The arrays are kept in files without a name beside the last one, since their sizes stand in front of them."""

    def __init__(self, path: Path, facts: dict[str, Any], stack: ExitStack) -> None:
        self._path, self._facts = path, facts
        self._features = stack.enter_context(tempfile.TemporaryFile(dir=path.parent))
        self._texts = [_Texts(stack.enter_context(tempfile.TemporaryFile(dir=path.parent))) for _ in range(2)]
        self._num = 0

    def add(self, keys: list[str], labels: list[str], feature_GD: np.ndarray) -> None:
        self._features.write(feature_GD.astype("<f4").tobytes())
        for texts, names in zip(self._texts, (keys, labels), strict=True):
            for name in names:
                texts.add(name)
        self._num += len(keys)

    def finish(self) -> None:
        with zipfile.ZipFile(self._path, "w") as archive:
            for name, texts in zip(("key_N", "label_N"), self._texts, strict=True):
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    _header(member, f"<U{texts.longest}", (self._num,))
                    texts.copy_to(member)
            with archive.open("feature_ND.npy", "w", force_zip64=True) as member:
                _header(member, "<f4", (self._num, self._facts["num_features"]))
                self._features.seek(0)
                shutil.copyfileobj(self._features, member)
            text = io.BytesIO()
            np.save(text, np.array(json.dumps(self._facts)), allow_pickle=False)
            archive.writestr("facts.npy", text.getvalue())


class _Texts:
    """Texts of any length, kept in a file until the longest is known."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.longest = 1

    def add(self, name: str) -> None:
        content = name.encode("utf-32-le")
        self._file.write(len(content).to_bytes(4, "little") + content)
        self.longest = max(self.longest, len(name))

    def copy_to(self, member: IO[bytes]) -> None:
        """Each text in NumPy's fixed width."""
        self._file.seek(0)
        while size := self._file.read(4):
            content = self._file.read(int.from_bytes(size, "little"))
            member.write(content.ljust(CHARACTER_BYTES * self.longest, b"\0"))


def _header(member: IO[bytes], dtype: str, shape: tuple[int, ...]) -> None:
    np.lib.format.write_array_header_2_0(member, {"descr": dtype, "fortran_order": False, "shape": shape})
