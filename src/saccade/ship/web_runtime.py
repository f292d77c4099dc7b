"""onnxruntime-web, by which a browser runs an export: two files, known by their digests, never part of this package.

They come from a place that is named, from the user's cache, or once from the registry of npm.
"""

import hashlib
import io
import os
import tarfile
import urllib.request
from collections.abc import Callable
from pathlib import Path

from ..core import atomic
from ..core.errors import ExportError, printable
from ..core.plain_files import open_plain_file
from ..runs.files import FileRecord, record_of

VERSION = "1.30.0"
ADDRESS = f"https://registry.npmjs.org/onnxruntime-web/-/onnxruntime-web-{VERSION}.tgz"
ARCHIVE = FileRecord(num_bytes=33_106_585, sha256="d2228df7e4616bc3348bf504ee888f3bec43789a273f0a63f3e68d203ce3bf71")
SCRIPT, WASM = "ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm"
RECORDS = {
    SCRIPT: FileRecord(num_bytes=73_054, sha256="11e64bd8ffe11bd1a2a2f0d6275fdfbbba7262f0b76b99b53d228a8a22ef3d90"),
    WASM: FileRecord(num_bytes=14_239_897, sha256="3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2"),
}
PLACES = (".", "dist", "package/dist", "node_modules/onnxruntime-web/dist")  # of a folder that is given
TIMEOUT_S = 30.0
GET_IT = f"npm pack onnxruntime-web@{VERSION}"


def web_runtime(given: Path | None, note: Callable[[str], None]) -> dict[str, bytes]:
    """The content of SCRIPT and WASM, from `given` (the archive of `npm pack`, or a folder), the cache or the registry.

    Raises ExportError where they are not there, or are not those of this version.
    """
    if given is not None:
        return _from_file(given) if given.is_file() else _from_folder(given)
    cache = cache_folder()
    kept = {name: _content(cache / name) for name in RECORDS}
    whole = {name: content for name, content in kept.items() if content is not None and _fits(name, content)}
    if len(whole) == len(RECORDS):
        return whole
    note(f"downloading onnxruntime-web {VERSION} ({ARCHIVE.num_bytes / 1e6:.0f} MB) from registry.npmjs.org, once.")
    files = _unpacked(_downloaded())
    atomic.make_folder(cache)
    for name, content in files.items():
        atomic.write_bytes(cache / name, content)
    return files


def cache_folder() -> Path:
    """Where it is kept: `$XDG_CACHE_HOME` (or ~/.cache) `/saccade/onnxruntime-web-VERSION`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "saccade" / f"onnxruntime-web-{VERSION}"


def _from_file(path: Path) -> dict[str, bytes]:
    content = _content(path, ARCHIVE.num_bytes + 1)
    if content is None or record_of(content) != ARCHIVE:
        raise _other(path)
    return _unpacked(content)


def _from_folder(folder: Path) -> dict[str, bytes]:
    for place in PLACES:
        found = {name: _content(folder / place / name) for name in RECORDS}
        files = {name: content for name, content in found.items() if content is not None}
        if len(files) == len(RECORDS):
            wrong = [name for name, content in files.items() if not _fits(name, content)]
            if wrong:
                raise _other(folder / place / wrong[0])
            return files
    raise ExportError(
        f"{printable(str(folder))} does not hold {SCRIPT} and {WASM}.\n"
        f"Give the folder 'dist' of onnxruntime-web {VERSION}, or the file that this writes: {GET_IT}"
    )


def _other(path: Path) -> ExportError:
    return ExportError(
        f"{printable(str(path))} is not what onnxruntime-web {VERSION} has there: its SHA-256 is another.\n"
        f"An export holds that version alone, with which it was tried. Get it: {GET_IT}"
    )


def _fits(name: str, content: bytes) -> bool:
    return record_of(content) == RECORDS[name]


def _content(path: Path, limit_bytes: int = 64 << 20) -> bytes | None:
    """The content of a plain file, as far as `limit_bytes`; None where there is none that can be read."""
    try:
        with open_plain_file(path) as file:
            return file.read(limit_bytes)
    except OSError:
        return None


def _downloaded() -> bytes:
    """The archive from the registry. Raises ExportError."""
    try:
        with urllib.request.urlopen(ADDRESS, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read(ARCHIVE.num_bytes + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise ExportError(
            f"The page needs onnxruntime-web {VERSION}, and registry.npmjs.org does not give it "
            f"({printable(str(reason)[:100].rstrip('.'))}).\n"
            f"Where there is a network, run: {GET_IT}\n"
            f"Then give the file: --runtime onnxruntime-web-{VERSION}.tgz"
        ) from None
    if record_of(content) != ARCHIVE:
        raise ExportError(
            f"What registry.npmjs.org sent is not onnxruntime-web {VERSION}: its SHA-256 is "
            f"{hashlib.sha256(content).hexdigest()[:12]}..., expected {ARCHIVE.sha256[:12]}....\n"
            f"Something on the way answers in its place; try another network, or give the files with --runtime."
        )
    return content


def _unpacked(archive: bytes) -> dict[str, bytes]:
    """The two files of the archive, whose digest is known to be right."""
    files = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as members:
        for name in RECORDS:
            if file := members.extractfile(f"package/dist/{name}"):
                files[name] = file.read()
    return files
