"""A public `.pth` into safetensors: the pickle is opened in a child process behind walls, its tensors are checked here.

What the walls are is told by the child, which puts up those that the system allows: see convert_child.py.
"""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes
from torch import nn

from ..core import atomic
from ..core.errors import StorageError, UsageError, WeightsError, printable
from ..core.plain_files import open_plain_file
from ..models.architecture import MODELS
from ..runs.checkpoint import save_checkpoint
from ..runs.manifest import Manifest
from . import convert_child
from .card import (
    KEY_ASSUMED,
    KEY_CLASSES,
    KEY_LICENCE,
    KEY_ORIGINAL,
    KEY_PREPROCESSING,
    KEY_SOURCE,
    parse_classes,
    parse_preprocessing,
    public_preprocessing,
    read_json,
)
from .public import BackboneWeights, find_weights, load_backbone
from .tensors import read_file

TIME_LIMIT_S = 120
PROCESSOR_S, PROCESSOR_BYTES_S = 10, 20 << 20  # for the pickle and its tensors; honest files take a tenth of it
FILE_SUFFIX = ".safetensors"
NO_STATE_DICT = 'hasRecord("version")'  # what torch says of a zip archive of somebody else
SPARE_BYTES = 512 << 20  # what torch itself may need beside the tensors
INHERITED = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT")  # what finding torch's libraries may need


@dataclass(frozen=True, kw_only=True)
class ConvertRequest:
    """A pickle `path` of the registered network `model`, and the card to write into `out`: a .safetensors file, or a
    folder that is not there yet, which becomes a checkpoint that answers and is judged like a run.

    `preprocessing` and `classes` are JSON files; `licence` and `source` are words; `time_limit_s` bounds the child.
    """

    path: Path
    model: str
    out: Path
    preprocessing: Path | None = None
    classes: Path | None = None
    licence: str = ""
    source: str = ""
    time_limit_s: int = TIME_LIMIT_S


@dataclass(frozen=True, kw_only=True)
class Converted:
    """The new file and its card, the SHA-256 of the pickle, and the walls its opening stood behind."""

    weights: BackboneWeights
    original_sha256: str
    num_tensors: int
    enforced: tuple[str, ...]

    @property
    def walls(self) -> str:
        """What was enforced and, where the kernel did not allow it, that the network was within reach; for a person."""
        held = ", ".join(self.enforced) or "no limits on this system"
        return (
            held if convert_child.NO_NETWORK in self.enforced else f"{held}; not enforced: {convert_child.NO_NETWORK}"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for programs."""
        weights = self.weights
        return {
            "path": str(weights.path),
            "sha256": weights.sha256,
            "original_sha256": self.original_sha256,
            "model": weights.model,
            "num_tensors": self.num_tensors,
            "num_classes": weights.num_classes,
            "classes": list(weights.classes),
            "preprocessing": weights.preprocessing.model_dump(mode="json"),
            "licence": weights.licence,
            "source": weights.source,
            "notes": list(weights.notes),
            "enforced": list(self.enforced),
        }


def convert(request: ConvertRequest) -> Converted:
    """Write `request.out` from the pickle `request.path`: a file under its public names, or a checkpoint under ours.
    Raises SaccadeError.

    The tensors must be those of the network, and finite; nothing is written otherwise.
    """
    request = replace(request, model=MODELS.get(request.model).name)
    if request.out.suffix not in (FILE_SUFFIX, ""):
        raise UsageError(
            f"--out must end in {FILE_SUFFIX}, or be a new folder without an ending, got {printable(str(request.out))}."
        )
    if not request.out.suffix and request.out.exists():
        raise UsageError(f"--out {printable(str(request.out))} is there already; name a new folder.")
    digest = _digest(request.path)
    with _private_folder() as folder:
        enforced = _open_pickle(request, folder)
        card = _card(request)  # what the file lacks is no question where it holds no tensors
        opened = folder / "tensors.safetensors"
        tensors = parse_tensors(read_file(opened))
        checked = folder / f"{request.out.stem}{FILE_SUFFIX}"
        content = tensor_bytes(tensors, metadata={**card, KEY_ORIGINAL: digest})
        opened.unlink()
        checked.write_bytes(content)
        network, found = _check(request, checked)
    if not request.out.suffix and not found.num_classes:
        raise WeightsError(
            f"{printable(str(request.path))} has no head, so a checkpoint of it would answer nothing.\n"
            f"Write a file, --out {printable(request.out.name)}{FILE_SUFFIX}, and give it to saccade transfer."
        )
    if _digest(request.path) != digest:
        raise WeightsError(
            f"{printable(str(request.path))} has changed while it was converted.\n"
            f"Run the command again when nothing writes to it."
        )
    atomic.make_folder(request.out.parent)
    if request.out.suffix:
        atomic.write_bytes(request.out, content)
    else:
        save_checkpoint(request.out, _manifest(found, digest), network.state_dict())
    weights = find_weights(str(request.out), request.model)
    return Converted(weights=weights, original_sha256=digest, num_tensors=len(tensors), enforced=enforced)


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder that only this user can enter, gone afterwards. Raises StorageError where its disk fails."""
    with atomic.storage_errors(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="saccade-") as text:
        yield Path(text)


def _card(request: ConvertRequest) -> dict[str, str]:
    card = {KEY_LICENCE: request.licence, KEY_SOURCE: request.source or request.path.name}
    if request.preprocessing is not None:
        where = printable(str(request.preprocessing))
        values = parse_preprocessing(read_json(request.preprocessing, "file"), where)
        card[KEY_PREPROCESSING] = values.model_dump_json()
    else:
        values, card[KEY_ASSUMED] = public_preprocessing(request.model, request.source or request.path.name)
        card[KEY_PREPROCESSING] = values.model_dump_json()
    if request.classes is not None:
        names = parse_classes(read_json(request.classes, "file"), printable(str(request.classes)))
        card[KEY_CLASSES] = json.dumps(names)
    return {key: value for key, value in card.items() if value}


def _digest(path: Path) -> str:
    where = printable(str(path))
    if path.exists() and not path.is_file():
        raise WeightsError(f"{where} is not a file.\nGive the .pth file itself.")
    try:
        with open_plain_file(path) as file:
            start = file.read(64)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise WeightsError(f"There is no weight file {where}.\nCheck the path and its spelling.") from None
    except OSError as error:
        raise WeightsError(f"{where} cannot be read: {error.strerror or error}.") from None
    if not start.startswith((b"PK\x03\x04", b"\x80")):
        raise WeightsError(
            f"{where} is not a file that torch.save wrote.\nIf it is safetensors already, use it as it is."
        )
    if start.startswith(b"\x80") and not start.startswith(convert_child.LEGACY_START):
        raise WeightsError(
            f"{where} is a Python pickle, but not one that torch.save wrote; nothing of it was run.\n"
            f"Save the network's state_dict with torch.save, with the defaults for its format."
        )
    return digest


def _open_pickle(request: ConvertRequest, folder: Path) -> tuple[str, ...]:
    """Let the child leave tensors.safetensors in `folder`; the walls it stood behind. Raises WeightsError."""
    where, num_bytes = printable(str(request.path)), request.path.stat().st_size
    order = {
        "path": str(request.path.resolve()),
        "folder": str(folder),
        "import_path": [entry for entry in sys.path if entry and Path(entry).resolve() != Path.cwd()],
        "processor_s": PROCESSOR_S + num_bytes // PROCESSOR_BYTES_S,
        "max_bytes": num_bytes + (1 << 20),
        "max_memory_bytes": 4 * num_bytes + SPARE_BYTES,
    }
    (folder / "request.json").write_text(json.dumps(order), encoding="utf-8")
    _check_room(folder, 2 * num_bytes)
    status = _run_child(request, folder)
    if status == convert_child.NO_ROOM:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if status == -getattr(signal, "SIGXCPU", 0) != 0:
        raise WeightsError(
            f"Opening {where} took more than {order['processor_s']} s of processor time, which no state dict of its "
            f"size needs; the process that tried was stopped.\nThe file is damaged or made to hang; take another one."
        )
    if status != 0 or not (folder / "result.json").is_file():
        raise WeightsError(
            f"Opening {where} ended its process (status {status}); nothing else was touched.\n"
            f"The file is damaged or made to do harm; take another one."
        )
    result = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    if "errno" in result:
        raise OSError(result["errno"], os.strerror(result["errno"]))
    if "refused" in result:
        raise WeightsError(
            f"{where} is not converted: {printable(result['refused'])}.\n"
            f"Save the network's state_dict with torch.save, alone or under the key 'state_dict' or 'model'."
        )
    if "failed" in result:
        raise WeightsError(_failure(where, result["failed"]))
    return tuple(result["enforced"])


def _run_child(request: ConvertRequest, folder: Path) -> int:
    """The status of the child that does what request.json in `folder` says. Raises WeightsError where it hangs."""
    environment = {name: os.environ[name] for name in INHERITED if name in os.environ}
    try:
        return subprocess.run(
            [sys.executable, "-I", "-B", convert_child.__file__, str(folder / "request.json")],
            cwd=folder,
            env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HOME": str(folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=request.time_limit_s,
        ).returncode
    except subprocess.TimeoutExpired:
        raise WeightsError(
            f"{printable(str(request.path))} could not be opened in {request.time_limit_s} s; "
            f"the process that tried was stopped.\n"
            f"The file is damaged or made to hang; take another one."
        ) from None


def _check_room(folder: Path, needed_bytes: int) -> None:
    """Raise StorageError where the tensors would not fit beside the same once more, checked."""
    free = atomic.free_bytes(folder)
    if free < needed_bytes:
        raise StorageError(
            f"The folder for temporary files, {printable(str(folder.parent))}, has {free:,} bytes free; "
            f"converting needs {needed_bytes:,}.\nFree some space, or set TMPDIR to another folder."
        )


def _failure(where: str, failure: str) -> str:
    """What torch said of a pickle, in our words."""
    _, marker, rest = failure.partition("GLOBAL ")
    if marker:
        name = printable(rest.split()[0][:100])
        return (
            f"{where} is not converted: it asks for '{name}', which is code and no tensor; it was not run.\n"
            f"A whole network was saved instead of its state_dict, or the file is made to do harm."
        )
    if NO_STATE_DICT in failure:
        return (
            f"{where} is a zip archive, but not one that torch.save wrote: it holds no weights.\n"
            f"Give the weight file itself; images are read from the folder that they are unpacked to."
        )
    text = failure.partition("WeightsUnpickler error:")[2] or failure
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    sentence = printable((lines or ["no reason is known"])[0].split(". ")[0][:200].rstrip("."))
    return f"{where} cannot be opened: {sentence}.\nIt is truncated, damaged or no state dict; take another one."


def _manifest(found: BackboneWeights, original_sha256: str) -> Manifest:
    """What a checkpoint of public weights says of itself; classes without names are numbers."""
    origin = {"backbone": found.model, "weights": found.source, "weights_sha256": original_sha256}
    return Manifest(
        model=found.model,
        preprocessing=found.preprocessing,
        classes=found.classes or tuple(str(number) for number in range(found.num_classes)),
        provenance={"command": "saccade convert", "transfer": origin | {"licence": found.licence}},
    )


def _check(request: ConvertRequest, path: Path) -> tuple[nn.Module, BackboneWeights]:
    """The network with the tensors, which are its own and finite. Raises WeightsError that names the pickle."""
    try:
        found = find_weights(str(path), request.model, request.preprocessing)
        return load_backbone(found), found
    except WeightsError as error:
        raise WeightsError(error.message.replace(printable(str(path)), printable(str(request.path)))) from None
