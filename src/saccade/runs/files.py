"""How a file of a run is read, whoever reads it: a plain file within its limit, a document within its depth, a schema.

A run may come from a stranger. What does not fit is one CheckpointError that names the file, the place and the rule.
"""

import hashlib
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from annotated_types import Len
from pydantic import ConfigDict, FailFast, Field
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors

from ..core.config import FrozenConfig
from ..core.documents import DeniedError, DocumentError, parse_object, parse_toml, read_plain_file
from ..core.errors import CheckpointError, ConfigError, DeniedRun, printable, shell_word
from ..data.source import MAX_CLASS_CHARACTERS, MAX_CLASSES
from .names import LIMIT_BYTES

REMEDY = "Put the file back from a copy, or train again."
MAX_TEXT = 10_000  # characters of one text of a run
_WITH_ARTICLE = {"run": "a run", "ensemble": "an ensemble"}
MAX_COUNT = 2**53  # what a float64, and so every reader of JSON, counts exactly

Text = Annotated[str, Field(max_length=MAX_TEXT)]
Count = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Rate = Annotated[float, Field(ge=0, le=1)]
Finite = Annotated[float, Field(ge=-1e30, le=1e30)]  # sums and squares of it are finite, too
Seconds = Annotated[float, Field(ge=0, le=1e12)]
ClassName = Annotated[str, Field(min_length=1, max_length=MAX_CLASS_CHARACTERS)]
ClassNames = Annotated[tuple[ClassName, ...], Field(strict=False), FailFast(), Len(0, MAX_CLASSES)]
Counts = Annotated[tuple[Count, ...], Field(strict=False), FailFast(), Len(0, MAX_CLASSES)]
Texts = Annotated[tuple[Text, ...], Field(strict=False), FailFast()]


class FileRecord(FrozenConfig):
    """Size and SHA-256 of one file."""

    num_bytes: int = Field(ge=0, le=MAX_COUNT, strict=True, description="size in bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the content")


def record_of(content: bytes) -> FileRecord:
    """What a manifest says of a file of this content."""
    return FileRecord(num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())


class RunFile(FrozenConfig):
    """Base of what a file of a run holds. Types are strict; keys of later versions are let be."""

    model_config = ConfigDict(frozen=True, extra="ignore", strict=True, allow_inf_nan=False, validate_default=True)


Schema = TypeVar("Schema", bound=FrozenConfig)


def read_json_file(schema: type[Schema], path: Path, remedy: str = REMEDY) -> Schema | None:
    """What the file holds; None where there is none. Raises CheckpointError."""
    content = read_run_file(path, remedy)
    if content is None:
        return None
    try:
        return schema.parse(parse_object(content), printable(str(path)))
    except DocumentError as error:
        raise damaged(path, str(error), remedy) from None
    except ConfigError as error:
        raise CheckpointError(f"{error.message}\n{remedy}") from None


def read_toml_file(path: Path, remedy: str = REMEDY) -> tuple[str, dict[str, Any]] | None:
    """(text, values) of the file; None where there is none. Raises CheckpointError."""
    content = read_run_file(path, remedy)
    if content is None:
        return None
    try:
        return content.decode("utf-8"), parse_toml(content)
    except UnicodeDecodeError as error:
        raise damaged(path, f"byte {error.start + 1:,} is not UTF-8 text", remedy) from None
    except DocumentError as error:
        raise damaged(path, str(error), remedy) from None


def read_tensor_file(path: Path, remedy: str = REMEDY) -> dict[str, np.ndarray] | None:
    """The arrays of a safetensors file by name; None where there is none. Raises CheckpointError."""
    content = read_run_file(path, remedy)
    return None if content is None else parse_tensor_file(content, path, remedy)


def parse_tensor_file(content: bytes, path: Path, remedy: str = REMEDY) -> dict[str, np.ndarray]:
    """The arrays in the content of a safetensors file. Raises CheckpointError."""
    try:
        return parse_tensors(content)
    except (SafetensorError, KeyError, ValueError, TypeError, OverflowError) as error:
        what = f"it holds a type of numbers that is not known here ({error})" if isinstance(error, KeyError) else error
        raise damaged(path, str(what)[:300], remedy) from None


def take_array(
    arrays: dict[str, np.ndarray],
    name: str,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
    where: tuple[Path, str],
) -> np.ndarray:
    """`arrays[name]`, of exactly that type and shape (None: any size). Raises CheckpointError; `where` is (file,
    remedy)."""
    path, remedy = where
    found = arrays.get(name)
    if found is None:
        raise damaged(path, f"it has no '{name}'", remedy)
    fits = found.ndim == len(shape) and all(size in (None, own) for size, own in zip(shape, found.shape, strict=True))
    if found.dtype != np.dtype(dtype) or not fits:
        wanted = "x".join("any" if size is None else str(size) for size in shape)
        own = "x".join(str(size) for size in found.shape) or "one number"
        raise damaged(
            path, f"'{name}' is {found.dtype} of {own}, and must be {np.dtype(dtype).name} of {wanted}", remedy
        )
    return found


def check_record(content: bytes, record: FileRecord | None, path: Path, remedy: str = REMEDY) -> None:
    """Raise CheckpointError where `content` is not what was recorded of the file."""
    if record is not None and (len(content), hashlib.sha256(content).hexdigest()) != (record.num_bytes, record.sha256):
        raise damaged(path, "its content is not what was saved", remedy)


def read_run_file(path: Path, remedy: str = REMEDY, may_be_link: bool = False) -> bytes | None:
    """The bytes of a file of a run, within the limit of its name; None where there is none. Raises CheckpointError."""
    try:
        return read_plain_file(path, LIMIT_BYTES[path.name], may_be_link)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except DeniedError:
        raise denied(path) from None
    except DocumentError as error:
        raise damaged(path, str(error), remedy) from None


def refuse_link(path: Path, whose: str) -> None:
    """Raise CheckpointError where `path` is a link: of `whose` ("run", "ensemble") folder somebody else made, it may
    lead to what is not ours to write."""
    if path.is_symlink():
        raise CheckpointError(
            f"{printable(str(path))} is a link, and {_WITH_ARTICLE[whose]} writes nothing through one.\n"
            f"Put the folder itself there, or start a new {whose} with another --out."
        )


def denied(path: Path) -> DeniedRun:
    """What to raise for a file of a run that this user may not read."""
    return DeniedRun(
        f"{printable(str(path))} may not be read: Permission denied.\n"
        f"Its owner can allow it: chmod a+r {shell_word(path)}"
    )


def damaged(path: Path, reason: str, remedy: str = REMEDY) -> CheckpointError:
    """What to raise for a file of a run that cannot be used."""
    return CheckpointError(f"{printable(str(path))} is damaged: {printable(reason)}.\n{remedy}")
