"""A checkpoint: `weights.safetensors` and `manifest.json`, with `state.safetensors` where training goes on from it.

The manifest is written last and names every file with its size and SHA-256, so a folder with a manifest that fits its
files is complete, and a folder without one is not a checkpoint. No file in it can run code.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from safetensors import SafetensorError
from safetensors.torch import load as parse_tensors
from safetensors.torch import save as tensor_bytes
from torch import nn

from .core import atomic
from .core.config import FrozenConfig
from .core.errors import CheckpointError, ConfigError, TrainingError, printable
from .core.types import Preprocessing
from .models.base import ModelSpec
from .models.build import resolve_model, without_weights

FORMAT_VERSION = 1
WEIGHTS, STATE, MANIFEST = "weights.safetensors", "state.safetensors", "manifest.json"
LAST, BEST = "checkpoint-last", "checkpoint-best"
MAX_MANIFEST_BYTES = 64 << 20  # 100,000 classes of 256 characters fit twice


class FileRecord(FrozenConfig):
    """Size and SHA-256 of one file of the checkpoint."""

    num_bytes: int = Field(ge=0, description="size in bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the content")


class SeenRecord(FrozenConfig):
    """The file of the run that says which images training saw: what its digests are of, how many, size and SHA-256."""

    kind: Literal["pixels"] = Field(description="what an image is known by")
    num_images: int = Field(ge=0, description="images of the run, all parts together")
    num_bytes: int = Field(ge=0, description="size in bytes")
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of the content")


class Manifest(FrozenConfig):
    """Everything a checkpoint says of itself; `manifest.json` is this, and nothing else."""

    format_version: int = Field(FORMAT_VERSION, ge=1, description="version of this file format")
    model: str = Field(max_length=10_000, description="registered name of the network, or its one-line notation")
    preprocessing: Preprocessing = Field(description="how pixels become inputs")
    classes: tuple[Annotated[str, Field(min_length=1, max_length=256)], ...] = Field(
        min_length=1, max_length=100_000, description="class names in the order of the logits"
    )
    step: int = Field(0, ge=0, description="optimizer steps taken")
    epoch: int = Field(0, ge=0, description="epochs finished")
    temperature: float = Field(1.0, gt=0, description="logits are divided by it before the softmax")
    metrics: dict[str, Any] = Field(default_factory=dict, description="figures measured with these weights")
    provenance: dict[str, Any] = Field(default_factory=dict, description="versions, seed, source and command")
    training: dict[str, Any] = Field(default_factory=dict, description="where training goes on; empty when it cannot")
    files: dict[str, FileRecord] = Field(default_factory=dict, description="the other files of the checkpoint")
    seen: SeenRecord | None = Field(None, description="the record of the images that training saw")
    own_sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="SHA-256 of everything else in the manifest")

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(num_classes=len(self.classes), input_CHW=self.preprocessing.input_CHW)


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A complete checkpoint on disk: its folder and what its manifest says."""

    folder: Path
    manifest: Manifest

    def load_weights(self) -> dict[str, torch.Tensor]:
        """The weights by name, on the CPU. Raises CheckpointError where the file does not fit the manifest."""
        return self._load(WEIGHTS)

    def load_state(self) -> dict[str, torch.Tensor]:
        """Optimizer and averages by name, on the CPU. Raises CheckpointError where there are none."""
        if STATE not in self.manifest.files:
            raise CheckpointError(f"{printable(str(self.folder))} holds weights only: training cannot go on from it.")
        return self._load(STATE)

    def load_model(self) -> nn.Module:
        """The network with its weights, in evaluation mode, on the CPU, float32."""
        with without_weights():
            model = resolve_model(self.manifest.model, self.manifest.spec)
        weights = self.load_weights()
        expected = model.state_dict()
        wrong = sorted(set(weights) ^ set(expected))
        wrong += [name for name in expected if name in weights and weights[name].shape != expected[name].shape]
        if wrong:
            raise CheckpointError(
                f"The weights in {printable(str(self.folder))} are not those of {printable(self.manifest.model)}: "
                f"{len(wrong)} tensors differ, '{printable(wrong[0])}' first.\n"
                f"The checkpoint was changed, or written by another version of Saccade."
            )
        model.load_state_dict(weights, assign=True)
        if any(buffer.is_meta for buffer in model.buffers()):  # constants that are not part of the weights
            model = resolve_model(self.manifest.model, self.manifest.spec)
            model.load_state_dict(weights)
        return model.eval()

    def _load(self, name: str) -> dict[str, torch.Tensor]:
        content = _read_checked(self.folder, name, self.manifest.files.get(name))
        try:
            return parse_tensors(content)
        except SafetensorError as error:
            raise CheckpointError(f"{printable(str(self.folder / name))} is damaged: {error}.") from None


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
    contents = {WEIGHTS: tensor_bytes(_contiguous(weights))}
    if state is not None:
        contents[STATE] = tensor_bytes(_contiguous(state))
    files = {
        name: FileRecord(num_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    }
    manifest = manifest.model_copy(update={"files": files})

    def fill(temporary: Path) -> None:
        for name, content in contents.items():
            atomic.write_bytes(temporary / name, content)
        atomic.write_text(temporary / MANIFEST, _manifest_text(manifest))

    needed_bytes = sum(len(content) for content in contents.values())
    atomic.replace_folder(folder, fill, keep_previous, needed_bytes)


def update_manifest(checkpoint: Checkpoint, metrics: dict[str, Any], temperature: float) -> Checkpoint:
    """Store `metrics` and `temperature` with a checkpoint whose weights stay as they are."""
    manifest = checkpoint.manifest.model_copy(update={"metrics": metrics, "temperature": temperature})
    atomic.write_text(checkpoint.folder / MANIFEST, _manifest_text(manifest))
    return Checkpoint(folder=checkpoint.folder, manifest=manifest)


def newest_checkpoint(folder: Path) -> tuple[Checkpoint | None, list[str]]:
    """The newest complete checkpoint that was saved as `folder`, and why newer or other versions cannot be used.

    A save that was killed leaves the one before it: at `folder`, beside it, or under the temporary name.
    """
    complete: list[Checkpoint] = []
    problems: list[str] = []
    for place in [folder, atomic.temporary_folder(folder), atomic.previous_folder(folder)]:
        if not place.exists():
            continue
        try:
            complete.append(open_checkpoint(place, check_content=True))
        except CheckpointError as error:
            problems.append(error.message)
    return max(complete, key=lambda found: found.manifest.step, default=None), problems


def settle_checkpoint(folder: Path, keep_previous: bool = False) -> tuple[Checkpoint | None, list[str]]:
    """`newest_checkpoint`, with what a killed save left put in order first. Raises StorageError."""
    found, problems = newest_checkpoint(folder)
    atomic.settle_folder(folder, found.folder if found else None, keep_previous)
    if found and not found.folder.exists():
        found = Checkpoint(folder=folder, manifest=found.manifest)
    return found, problems


def open_checkpoint(folder: Path, check_content: bool = False) -> Checkpoint:
    """The checkpoint in `folder`. Raises CheckpointError where it is missing, incomplete or from a later version."""
    where = printable(str(folder))
    values = _read_manifest(folder)
    version, digest = values.get("format_version"), values.get("own_sha256")
    if isinstance(version, int) and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{where} has format {version}; this Saccade reads up to format {FORMAT_VERSION}. Update Saccade."
        )
    try:
        manifest = Manifest.parse(values, f"{where}/{MANIFEST}")
    except ConfigError as error:
        raise CheckpointError(error.message) from None
    if digest and digest != _manifest_digest(values):
        raise CheckpointError(f"{where}/{MANIFEST} is damaged: its content is not what was saved.")
    for name, record in manifest.files.items():
        if name not in (WEIGHTS, STATE):
            raise CheckpointError(f"{where}/{MANIFEST} names '{printable(name)}', which is no file of a checkpoint.")
        if check_content:
            _read_checked(folder, name, record)
    return Checkpoint(folder=folder, manifest=manifest)


def holds_checkpoint(path: Path) -> bool:
    """Whether `path` is a checkpoint folder, or a run that has saved one, whole or not."""
    return (path / MANIFEST).is_file() or any((path / name).is_dir() for name in (BEST, LAST))


def find_checkpoint(path: Path) -> Checkpoint:
    """The checkpoint a person means by `path`: a run (its best, else its last one) or a checkpoint folder."""
    if (path / MANIFEST).is_file():
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
        problems += why if (path / name).exists() else []  # what was never saved whole is not missed
    if problems:
        raise CheckpointError("\n".join(problems[:2] + ["Train again, or take another run."]))
    what = "is not there" if not path.exists() else "holds no checkpoint"
    raise CheckpointError(
        f"The run {printable(str(path))} {what}.\n"
        f"Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1."
    )


def _manifest_text(manifest: Manifest) -> str:
    values = manifest.model_dump(mode="json")
    return json.dumps(values | {"own_sha256": _manifest_digest(values)}, indent=1, allow_nan=False) + "\n"


def _manifest_digest(values: dict[str, Any]) -> str:
    others = {key: value for key, value in values.items() if key != "own_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path, where = folder / MANIFEST, printable(str(folder))
    if not path.is_file():
        raise CheckpointError(f"{where} is not a complete checkpoint: it has no {MANIFEST}, which is written last.")
    if path.stat().st_size > MAX_MANIFEST_BYTES:
        raise CheckpointError(f"{where}/{MANIFEST} is larger than {MAX_MANIFEST_BYTES:,} bytes: not ours.")
    try:
        values = json.loads(_read(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{where}/{MANIFEST} is damaged: {error}.") from None
    if not isinstance(values, dict):
        raise CheckpointError(f"{where}/{MANIFEST} is damaged: it holds no object.")
    return values


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f"{printable(str(path))} cannot be read: {error.strerror}.") from None


def _read_checked(folder: Path, name: str, record: FileRecord | None) -> bytes:
    path = folder / name
    if record is None or not path.is_file():
        raise CheckpointError(f"{printable(str(folder))} is incomplete: {name} is missing.")
    content = _read(path) if path.stat().st_size == record.num_bytes else b""
    if len(content) != record.num_bytes:
        raise CheckpointError(
            f"{printable(str(path))} has {path.stat().st_size:,} bytes instead of {record.num_bytes:,}: it is damaged."
        )
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise CheckpointError(f"{printable(str(path))} is damaged: its content is not what was saved.")
    return content


def _refuse_non_finite(weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise TrainingError(
                f"The tensor '{name}' holds values that are not finite; it is not saved.\n"
                f"The last good checkpoint is intact. Lower the learning rate and start a new run."
            )


def _contiguous(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
