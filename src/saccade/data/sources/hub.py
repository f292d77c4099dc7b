"""Image data sets of the Hugging Face hub: their Parquet files, downloaded once, then read like any other.

The revision is part of the source's name and digest, so that a run says exactly what it was trained on. Nothing but
Parquet files and the data card is downloaded; code that a data set may bring is not.
"""

import hashlib
from pathlib import Path

from ...core.addresses import hub_name, is_hub, shown
from ...core.errors import DataError, printable
from ...core.hub_download import HubKind, download
from ..source import SourceFormat, register
from ..source_text import NOTHING_CHOSEN, ChosenColumns
from .parquet.row_groups import import_pyarrow
from .parquet.source import ParquetImages

CONVERTED = "refs/convert/parquet"  # the branch where the hub itself keeps Parquet files of sets in other formats
DATA_SET = HubKind(
    repo_type="dataset",
    noun="data set",
    page="https://huggingface.co/datasets",
    instead="a folder of its Parquet files",
    error=DataError,
)


def open_hub(text: str, chosen: ChosenColumns = NOTHING_CHOSEN) -> ParquetImages:
    """The data set `hub:OWNER/NAME[@REVISION][:FOLDER]`. Raises DataError."""
    import_pyarrow()  # before the download
    asked = hub_name(text)
    if asked is None:
        raise DataError(
            f"'{shown(text)}' is not an address of a data set on the hub.\n"
            f"Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER after it."
        )
    name, revision, folder = asked.name, asked.revision or "main", asked.folder
    snapshot = _download(name, revision, folder)
    if not _has_parquet(snapshot / folder) and not asked.revision:
        snapshot = _download(name, CONVERTED, folder)
    if not _has_parquet(snapshot / folder):
        raise DataError(
            f"{printable(text)} has no Parquet files{' in this folder' if folder else ''}.\n"
            f"See https://huggingface.co/datasets/{name}; download its images, and give the folder."
        )
    if any("partial-" in str(file.relative_to(snapshot)) for file in snapshot.rglob("*.parquet")):
        raise DataError(
            f"Of {printable(text)} the hub keeps only a part as Parquet files.\n"
            f"See https://huggingface.co/datasets/{name}; download its images, and give the folder."
        )
    tail = f":{folder}" if folder else ""
    source = ParquetImages(snapshot / folder, f"hub:{name}@{snapshot.name}{tail}", snapshot / "README.md", chosen)
    source.digest = hashlib.sha256(f"{source.name} {source.digest}".encode()).hexdigest()
    return source


def _download(name: str, revision: str, folder: str) -> Path:
    """The folder of a revision, named by its commit, in Hugging Face's cache. Raises DataError."""
    patterns = [f"{folder}/*.parquet" if folder else "*.parquet", "README.md"]
    no_parquet = (
        f"hub:{name} has no Parquet files.\nSee {DATA_SET.page}/{name}; download its images, and give the folder."
    )
    return download(DATA_SET, name, revision, patterns, no_revision=no_parquet if revision == CONVERTED else "")


def _has_parquet(folder: Path) -> bool:
    return next(folder.rglob("*.parquet"), None) is not None


register(
    SourceFormat(
        name="hub",
        summary="a data set of the Hugging Face hub by its name, with its revision; downloaded once",
        example="hub:uoft-cs/cifar10",
        recognises=is_hub,
        open=open_hub,
        open_columns=open_hub,
        priority=5,
    ),
    __name__,
)
