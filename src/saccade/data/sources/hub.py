"""Image data sets of the Hugging Face hub: their Parquet files, downloaded once, then read like any other.

The revision is part of the source's name and digest, so that a run says exactly what it was trained on. Nothing but
Parquet files and the data card is downloaded; code that a data set may bring is not.
"""

import hashlib
import re
from pathlib import Path

from ...core.errors import DataError, printable
from ..base import SOURCES, SourceFormat
from ..row_groups import import_pyarrow
from .parquet import ParquetImages

PREFIXES = ("hub:", "hf://datasets/", "hf://")
ADDRESS = re.compile(
    r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*?))?(:(?P<folder>[\w./-]+))?", re.ASCII
)
CONVERTED = "refs/convert/parquet"  # the branch where the hub itself keeps Parquet files of sets in other formats


def open_hub(text: str) -> ParquetImages:
    """The data set `hub:OWNER/NAME[@REVISION][:FOLDER]`. Raises DataError."""
    import_pyarrow()  # before the download
    rest = next(text.removeprefix(prefix) for prefix in PREFIXES if text.startswith(prefix))
    match = ADDRESS.fullmatch(rest)
    if match is None:
        raise DataError(
            f"'{printable(text)}' is no address of a data set on the hub.\n"
            f"Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER behind it."
        )
    name, revision, folder = match["name"], match["revision"] or "main", (match["folder"] or "").strip("/")
    snapshot = _download(name, revision, folder)
    if not _has_parquet(snapshot / folder) and match["revision"] is None:
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
    source = ParquetImages(snapshot / folder, f"hub:{name}@{snapshot.name}{tail}", snapshot / "README.md")
    source.digest = hashlib.sha256(f"{source.name} {source.digest}".encode()).hexdigest()
    return source


def _download(name: str, revision: str, folder: str) -> Path:
    """The folder of a revision, named by its commit, in Hugging Face's cache. Raises DataError."""
    import huggingface_hub  # half a second, which no other source shall cost
    from huggingface_hub import errors

    patterns = [f"{folder}/*.parquet" if folder else "*.parquet", "README.md"]
    where, page = f"hub:{name}", f"https://huggingface.co/datasets/{name}"
    try:
        folder = huggingface_hub.snapshot_download(
            name, repo_type="dataset", revision=revision, allow_patterns=patterns
        )
        return Path(folder)
    except errors.GatedRepoError:
        raise DataError(
            f"{where} is only for people who accepted its terms.\nAccept them at {page}, then log in: hf auth login."
        ) from None
    except errors.RepositoryNotFoundError:
        raise DataError(
            f"The hub has no data set {where}, or keeps it private.\n"
            f"Check the name at {page}, or log in: hf auth login."
        ) from None
    except errors.RevisionNotFoundError:
        if revision == CONVERTED:
            raise DataError(
                f"{where} has no Parquet files.\nSee {page}; download its images, and give the folder."
            ) from None
        raise DataError(f"{where} has no revision '{printable(revision)}'.\nSee {page}/commits/main.") from None
    except errors.HFValidationError as error:
        raise DataError(
            f"{where} is no name on the hub: {printable(str(error)[:100])}.\nWrite hub:OWNER/NAME."
        ) from None
    except errors.LocalEntryNotFoundError as error:
        raise DataError(_unreachable(where, revision, error.__cause__ or error)) from None
    except (errors.HTTPError, OSError) as error:
        raise DataError(_unreachable(where, revision, error)) from None


def _unreachable(where: str, revision: str, error: BaseException) -> str:
    if type(error).__name__ in ("OfflineModeIsEnabled", "LocalEntryNotFoundError", "IncompleteSnapshotError"):
        what = "HF_HUB_OFFLINE is set"
    else:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        what = f"the hub does not answer ({printable(lines[0][:100].rstrip('.'))})"
    return (
        f"{where} ({printable(revision)}) is not complete on this machine, and {what}.\n"
        f"Go online once, or give a folder of its Parquet files."
    )


def _has_parquet(folder: Path) -> bool:
    return next(folder.rglob("*.parquet"), None) is not None


SOURCES.add(
    "hub",
    SourceFormat(
        name="hub",
        summary="a data set of the Hugging Face hub by its name, with its revision; downloaded once",
        example="hub:uoft-cs/cifar10",
        recognises=lambda text: text.startswith(PREFIXES),
        open=open_hub,
        priority=5,
    ),
    __name__,
)
