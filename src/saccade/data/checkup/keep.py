"""What check-ups have measured, kept between runs in the user's cache folder, one file a source."""

import hashlib
import io
import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from ...core import atomic
from ...core.errors import StorageError, printable
from ...core.plain_files import open_plain_file
from .measure import VERSION, Measured, measures


def cache_file(source_name: str) -> Path:
    """Where the measurements of a source lie: `$XDG_CACHE_HOME` (or ~/.cache) `/saccade/checkup/...npz`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    place = hashlib.blake2b(os.fsencode(os.path.abspath(source_name)), digest_size=12).hexdigest()
    return Path(base) / "saccade" / "checkup" / f"v{VERSION}-{place}.npz"


def load_known(path: Path) -> tuple[np.ndarray | None, str]:
    """(rows of `measures` or None, a note or nothing). A damaged file is not used, and the note says so."""
    try:
        with open_plain_file(path) as file:
            content = file.read()
    except (FileNotFoundError, NotADirectoryError):
        return None, ""
    except OSError as error:
        return None, f"The kept measurements {printable(str(path))} cannot be read ({error.strerror}): measuring anew."
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            rows_N = arrays["rows"]
        if rows_N.ndim == 1 and rows_N.dtype == measures(rows_N.dtype["mean"].shape[0]):
            return rows_N, ""
    except (ValueError, KeyError, IndexError, TypeError, OSError, EOFError, BadZipFile):
        pass  # said below
    return None, f"The kept measurements {printable(str(path))} are damaged: measuring anew."


def save_measured(path: Path, measured: Measured) -> str:
    """Keep what could be read, each content once. Returns a note where the disk does not let us."""
    rows_N = measured.rows_N[_has_digest(measured.rows_N)]
    _, first_N = np.unique(rows_N["digest"], return_index=True)
    stream = io.BytesIO()
    np.savez(stream, rows=rows_N[np.sort(first_N)])
    try:
        atomic.make_folder(path.parent)
        atomic.write_bytes(path, stream.getvalue())
    except StorageError as error:
        return f"Nothing is kept for the next time: {error.message.splitlines()[0]}"
    return ""


def _has_digest(rows_N: np.ndarray) -> np.ndarray:
    return rows_N["digest"] != np.zeros((), rows_N.dtype)["digest"]
