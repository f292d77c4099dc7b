"""A checkpoint: `weights.safetensors` and `manifest.json`, with `state.safetensors` where training goes on from it,
and `validation.safetensors` and `novelty.safetensors` once it is judged.

The manifest is written last and names every file with its size and SHA-256, so a folder with a manifest that fits its
files is complete, and a folder without one is not a checkpoint. No file in it can run code.
"""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes
from torch import nn

from ..core import atomic
from ..core.documents import DeniedError, DocumentError, read_plain_file
from ..core.errors import CheckpointError, DeniedRun, ModelError, TrainingError, UnknownNameError, printable, shell_word
from ..core.in_memory import is_given
from ..core.plain_files import open_plain_file, refuse_denied_run
from ..core.plug_ins import GONE
from ..core.runtime import DRAWS
from ..core.task import Task
from ..models.architecture import ModelSpec
from ..models.build import resolve_model, without_weights
from .at_path import no_run, refuse_no_run
from .files import FileRecord, damaged, denied, parse_tensor_file, record_of
from .manifest import Manifest, manifest_text, read_manifest
from .names import BEST, CONFIG, FOLDS, FOLDS_PLAN, LAST, LIMIT_BYTES, MANIFEST, NOVELTY, STATE, VALIDATION, WEIGHTS

MEASURED_FILES = (VALIDATION, NOVELTY)  # what is measured with weights that are kept
HEADER_BYTES, HEADER_BYTES_A_TENSOR = 64 << 10, 1 << 10  # most of a weight file beyond its numbers


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    def load_weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, on the CPU, all finite. Raises CheckpointError where the file is not the manifest's."""
        return self._load(WEIGHTS)

    def load_weights_of(self, model: nn.Module) -> dict[str, torch.Tensor]:
        """The weights by name, on the CPU: exactly the tensors of `model`, with its shapes and types, all finite.

        Raises CheckpointError where they are not; a file that is larger than they are is not read.
        """
        expected = model.state_dict()
        most_bytes = HEADER_BYTES + sum(tensor.nbytes + HEADER_BYTES_A_TENSOR for tensor in expected.values())
        record = self.manifest.files.get(WEIGHTS)
        if record and record.num_bytes > most_bytes:
            raise self._not_of(f"the file has {record.num_bytes:,} bytes, and theirs has at most {most_bytes:,}")
        weights = self._load(WEIGHTS)
        wrong = sorted(set(weights) ^ set(expected))
        wrong += [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
        if wrong:
            raise self._not_of(f"{len(wrong)} tensors differ, '{printable(wrong[0][:200])}' first")
        for name, tensor in expected.items():
            if weights[name].dtype != tensor.dtype:
                found, own = (str(dtype).removeprefix("torch.") for dtype in (weights[name].dtype, tensor.dtype))
                raise self._not_of(f"'{printable(name)}' is {found}, and must be {own}")
        return weights

    def load_state(self) -> dict[str, torch.Tensor]:
        """Optimizer and averages by name, on the CPU. Raises CheckpointError where there are none."""
        if STATE not in self.manifest.files:
            raise CheckpointError(f"{printable(str(self.folder))} holds weights only: training cannot go on from it.")
        return self._load(STATE)

    def load_measured(self, name: str) -> dict[str, np.ndarray] | None:
        """The arrays of `name`, one of MEASURED_FILES, all finite; None where the checkpoint has none.

        Raises CheckpointError where the file is not the manifest's.
        """
        record = self.manifest.files.get(name)
        if record is None:
            return None
        path = self.folder / name
        arrays = parse_tensor_file(_read_checked(self.folder, name, record), path)
        for key, array in arrays.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                raise damaged(path, f"'{key[:200]}' holds values that are not finite")
        return arrays

    def load_model(self) -> nn.Module:
        """The network with its weights, in evaluation mode, on the CPU, float32."""
        model = self.build(self.manifest.spec)
        weights = self.load_weights_of(model)
        model.load_state_dict(weights, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):  # constants that are not part of the weights
            with DRAWS:
                model = resolve_model(self.manifest.model, self.manifest.spec)
            model.load_state_dict(weights)
        return model.eval()

    def build(self, spec: ModelSpec) -> nn.Module:
        """The network without its weights, for `spec`. Raises CheckpointError where it is not known or does not fit."""
        try:
            with without_weights():
                return resolve_model(self.manifest.model, spec)
        except (UnknownNameError, ModelError) as error:
            if is_given(self.manifest.model):
                raise  # it has no file, and says how to give it again
            remedy = f"\n{GONE}" if isinstance(error, UnknownNameError) else ""
            raise CheckpointError(f"{printable(str(self.folder / MANIFEST))}, model: {error.message}{remedy}") from None

    def _not_of(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"The weights in {printable(str(self.folder))} are not those of {printable(self.manifest.model[:200])}: "
            f"{reason}.\nThe checkpoint was changed, or written by another version of Saccade."
        )

    def _load(self, name: str) -> dict[str, torch.Tensor]:
        where = printable(str(self.folder / name))
        content = _read_checked(self.folder, name, self.manifest.files.get(name))
        try:
            tensors = parse_tensors(content)
        except (SafetensorError, KeyError, ValueError, TypeError, RuntimeError) as error:
            reason = "it holds a type of numbers that is not known here" if isinstance(error, KeyError) else str(error)
            raise CheckpointError(f"{where} is damaged: {printable(reason)[:300]}.") from None
        for key, tensor in tensors.items():
            if not _is_finite(tensor):
                raise CheckpointError(
                    f"{where}: the tensor '{printable(key[:200])}' holds values that are not finite.\n"
                    f"The file was changed, or its training diverged; take another checkpoint, or train again."
                )
        return tensors


def save_checkpoint(
    folder: Path,
    manifest: Manifest,
    weights: dict[str, torch.Tensor],
    state: dict[str, torch.Tensor] | None = None,
    keep_previous: bool = False,
) -> None:
    """Replace the checkpoint in `folder`, durably. Raises StorageError, or TrainingError for weights or state that are
    not finite; the checkpoint that stood there before is then intact."""
    _refuse_non_finite(weights)
    _refuse_non_finite(state or {})
    contents = {WEIGHTS: tensor_content(weights)}
    if state is not None:
        contents[STATE] = tensor_content(state)
    files = {name: record_of(content) for name, content in contents.items()}
    manifest = manifest.model_copy(update={"files": files})

    def fill(temporary: Path) -> None:
        for name, content in contents.items():
            atomic.write_bytes(temporary / name, content)
        atomic.write_text(temporary / MANIFEST, manifest_text(manifest))

    needed_bytes = sum(len(content) for content in contents.values())
    atomic.replace_folder(folder, fill, MANIFEST, keep_previous, needed_bytes)


def update_manifest(
    checkpoint: Checkpoint,
    metrics: dict[str, Any],
    temperature: float,
    task: Task,
    measured: Mapping[str, bytes] | None = None,
) -> Checkpoint:
    """Store `metrics`, what makes answers of logits, and the files `measured`, content by name, with a checkpoint whose
    weights stay.

    Files that were measured before and are not among them leave. Killed anywhere, the checkpoint is whole.
    """
    folder, contents = checkpoint.folder, measured or {}
    kept = {name: record for name, record in checkpoint.manifest.files.items() if name not in MEASURED_FILES}
    found = {"metrics": metrics, "temperature": temperature, "task": task}
    files = kept | {name: record_of(content) for name, content in contents.items()}
    manifest = checkpoint.manifest.model_copy(update=found | {"files": files})
    if any(files.get(name) != record for name, record in checkpoint.manifest.files.items()):
        without = manifest.model_copy(update={"files": kept})  # first: it must not name what is about to change
        atomic.write_text(folder / MANIFEST, manifest_text(without))
    for name in MEASURED_FILES:
        if name in contents:
            atomic.write_bytes(folder / name, contents[name])
    atomic.write_text(folder / MANIFEST, manifest_text(manifest))
    with atomic.storage_errors(folder):
        for name in MEASURED_FILES:
            if name not in contents:
                (folder / name).unlink(missing_ok=True)
    return Checkpoint(folder=folder, manifest=manifest)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint that was saved as `folder`, and why newer or other versions cannot be used.

    A save that was killed leaves the one before it: at `folder`, beside it, or under the temporary name.
    """
    complete: list[Checkpoint] = []
    problems: list[str] = []
    for place in [folder, atomic.temporary_folder(folder), atomic.previous_folder(folder)]:
        if not os.path.exists(place):
            continue
        try:
            complete.append(open_checkpoint(place, check_content=True))
        except DeniedRun:
            raise  # it may be sound: no other weights are taken for it
        except CheckpointError as error:
            problems.append(error.message)
    return max(complete, key=lambda found: found.manifest.step, default=None), problems


def settle_checkpoint(folder: Path, keep_previous: bool = False) -> tuple[Checkpoint | None, list[str]]:
    """`newest_checkpoint`, with what a killed save left put in order first. Raises StorageError."""
    found, problems = newest_checkpoint(folder)
    atomic.settle_folder(folder, found.folder if found else None, MANIFEST, keep_previous)
    if found and not found.folder.exists():
        found = Checkpoint(folder=folder, manifest=found.manifest)
    return found, problems


def open_checkpoint(folder: Path, check_content: bool = False) -> Checkpoint:
    """The checkpoint in `folder`. Raises CheckpointError where it is missing, incomplete or from a later version."""
    manifest = read_manifest(folder)
    for name, record in manifest.files.items():
        if name not in (WEIGHTS, STATE, *MEASURED_FILES):
            raise CheckpointError(
                f"{printable(str(folder))}/{MANIFEST} names '{printable(name[:200])}', which is not one of its files."
            )
        if check_content:
            _check_content(folder, name, record)
    return Checkpoint(folder=folder, manifest=manifest)


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint a person means by `path`: a run (its best, else its last one) or a checkpoint folder."""
    refuse_denied_run(path)
    if os.path.isfile(path / MANIFEST):
        return open_checkpoint(path)
    problems: list[str] = []
    for name in (BEST, LAST):
        found, why = newest_checkpoint(path / name)
        if found and name == LAST and not problems and found.manifest.training.get("best_epoch"):
            problems.append(f"{printable(str(path / BEST))}, the weights that were kept, is not there.")
        if found and not problems:
            return found
        if found:  # never silently other weights than those that were kept
            whole = printable(str(path / LAST))
            raise CheckpointError(f"{problems[0]}\nThe last checkpoint is whole: give {whole} instead, or train again.")
        problems += why if os.path.exists(path / name) else []  # what was never saved whole is not missed
    if problems:
        raise CheckpointError("\n".join(problems[:2] + ["Train again, or take another run."]))
    if os.path.isfile(path / FOLDS / FOLDS_PLAN):
        where = shell_word(path)
        raise CheckpointError(
            f"The run {printable(str(path))} has no network yet: it is trained once its folds are judged.\n"
            f"Go on with it by --resume: saccade train, or transfer, --resume --out {where}"
        )
    if os.path.isfile(path / CONFIG):
        raise CheckpointError(
            f"The run {printable(str(path))} has begun and saved no network yet.\n"
            f"Wait for its first epoch, or go on with it: saccade train, or transfer, --resume --out {shell_word(path)}"
        )
    refuse_no_run(path)
    raise no_run(path, "holds no checkpoint")


def _read_checked(folder: Path, name: str, record: FileRecord | None) -> bytes:
    """The content of a file, once it is what the manifest says: then it may be a link, as stores of large files make
    them. Raises CheckpointError."""
    path = folder / name
    _check_size(folder, name, record)
    try:
        content = read_plain_file(path, record.num_bytes if record else 0, may_be_link=True)
    except DeniedError:
        raise denied(path) from None
    except (DocumentError, FileNotFoundError) as error:
        raise CheckpointError(f"{printable(str(path))} is damaged: {printable(str(error))}.") from None
    if record is None or hashlib.sha256(content).hexdigest() != record.sha256:
        raise CheckpointError(f"{printable(str(path))} is damaged: its content is not what was saved.")
    return content


def _check_content(folder: Path, name: str, record: FileRecord) -> None:
    """`_read_checked` in a few megabytes of memory. Raises CheckpointError."""
    path = folder / name
    _check_size(folder, name, record)
    try:
        with open_plain_file(path) as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except PermissionError:
        raise denied(path) from None
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))} cannot be read: {error.strerror}.") from None
    if digest != record.sha256:
        raise CheckpointError(f"{printable(str(path))} is damaged: its content is not what was saved.")


def _check_size(folder: Path, name: str, record: FileRecord | None) -> None:
    path = folder / name
    if record is None or not path.is_file():
        raise CheckpointError(f"{printable(str(folder))} is incomplete: {name} is missing.")
    if record.num_bytes > LIMIT_BYTES[name]:
        raise CheckpointError(
            f"{printable(str(folder))}/{MANIFEST} says that {name} has {record.num_bytes:,} bytes; at most "
            f"{LIMIT_BYTES[name]:,} are read."
        )
    num_bytes = path.stat().st_size
    if num_bytes != record.num_bytes:
        raise CheckpointError(
            f"{printable(str(path))} has {num_bytes:,} bytes instead of {record.num_bytes:,}: it is damaged."
        )


def _is_finite(tensor: torch.Tensor) -> bool:
    """Whether every number is; types without arithmetic here, such as float8, are looked at as float32."""
    if not (tensor.is_floating_point() or tensor.is_complex()):
        return True
    wide = tensor if tensor.dtype.itemsize > 1 else tensor.float()
    return bool(torch.isfinite(wide).all())


def _refuse_non_finite(weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if not _is_finite(tensor):
            raise TrainingError(
                f"The tensor '{name}' holds values that are not finite; it is not saved.\n"
                f"The last good checkpoint is intact. Lower the learning rate and start a new run."
            )


def tensor_content(tensors: dict[str, torch.Tensor], metadata: dict[str, str] | None = None) -> bytes:
    """The safetensors file of `tensors`. Weights that two layers share are in it under both names."""
    own: dict[str, torch.Tensor] = {}
    places: set[int] = set()
    for name, tensor in tensors.items():
        tensor = tensor.detach().cpu().contiguous()
        place = tensor.untyped_storage().data_ptr()
        own[name] = tensor.clone() if place in places else tensor  # safetensors refuses two names of one memory
        places.add(place)
    return tensor_bytes(own, metadata)
