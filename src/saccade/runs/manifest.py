"""`manifest.json`: everything a checkpoint says of itself, written last, naming its files with their digests."""

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from annotated_types import Len
from pydantic import (
    ConfigDict,
    FailFast,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from ..core.config import FrozenConfig
from ..core.documents import DeniedError, DocumentError, parse_object, read_plain_file
from ..core.errors import CheckpointError, ConfigError, printable
from ..core.task import ONE_LABEL, Task
from ..core.types import Preprocessing
from ..data.source import MAX_CLASSES
from ..models.architecture import ModelSpec
from .files import MAX_COUNT, ClassName, Count, FileRecord, RunFile, Text, denied
from .names import LIMIT_BYTES, MANIFEST

FORMAT_VERSION = 1
MIN_TEMPERATURE, MAX_TEMPERATURE = 1e-3, 1e3  # a fit gives 0.05 to 20


class Origin(RunFile):
    """`provenance.transfer`: where the weights came from that a network began with."""

    backbone: Text = ""
    weights: Text = ""
    weights_sha256: Text = ""
    licence: Text = ""


class Provenance(RunFile):
    """What is read again of `provenance`; the rest is for people."""

    command: Text = ""
    seed: int = Field(0, ge=0, lt=2**31)
    config_digest: Text = ""
    device: Text = ""
    source: Text = ""
    transfer: Origin = Origin()


class SeenRecord(FileRecord):
    """The file of the run that says which images training saw: what its digests are of, how many, size and SHA-256."""

    kind: Literal["pixels"] = Field(description="what an image is known by")
    num_images: Count = Field(description="images of the run, all parts together")
    is_complete: bool = Field(True, description="false: it began with weights of which nothing says what they saw")


class Manifest(FrozenConfig):
    """Everything a checkpoint says of itself; `manifest.json` is this, and nothing else."""

    model_config = ConfigDict(strict=True)

    format_version: int = Field(FORMAT_VERSION, ge=1, le=MAX_COUNT, description="version of this file format")
    model: str = Field(max_length=10_000, description="registered name of the network, or its one-line notation")
    preprocessing: Preprocessing = Field(description="how pixels become inputs")
    classes: Annotated[tuple[ClassName, ...], Field(strict=False), FailFast(), Len(1, MAX_CLASSES)] = Field(
        description="class names in the order of the logits, none twice"
    )
    task: Task = Field(ONE_LABEL, description="one label an image or several, and what makes answers of logits")
    step: Count = Field(0, description="optimizer steps taken")
    epoch: Count = Field(0, description="epochs finished")
    temperature: float = Field(
        1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE, description="logits are divided by it before the softmax"
    )
    metrics: dict[str, Any] = Field(default_factory=dict, description="figures measured with these weights")
    provenance: dict[str, Any] = Field(default_factory=dict, description="versions, seed, source and command")
    training: dict[str, Any] = Field(default_factory=dict, description="where training goes on; empty when it cannot")
    files: dict[str, FileRecord] = Field(default_factory=dict, description="the other files of the checkpoint")
    seen: SeenRecord | None = Field(None, description="the record of the images that training saw")
    own_sha256: str = Field("", pattern="^([0-9a-f]{64})?$", description="SHA-256 of everything else in the manifest")

    @property
    def spec(self) -> ModelSpec:
        return ModelSpec(num_classes=len(self.classes), input_CHW=self.preprocessing.input_CHW)

    @property
    def origin(self) -> Provenance:
        """What `provenance` says, by its schema."""
        return Provenance.model_validate(self.provenance)

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `task` where images have one label: files stay what they were before there were several."""
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if name != "task" or self.task != ONE_LABEL}

    @model_validator(mode="after")
    def _task_is_of_the_classes(self) -> "Manifest":
        self.task.refuse_other_classes(len(self.classes))
        return self

    @field_validator("classes", mode="after")
    @classmethod
    def _no_class_stands_twice(cls, classes: tuple[str, ...]) -> tuple[str, ...]:
        seen: set[str] = set()
        for name in classes:
            if name in seen:
                raise ValueError(f"the class '{printable(name)}' stands there twice")
            seen.add(name)
        return classes

    @field_validator("provenance", mode="after")
    @classmethod
    def _provenance_has_its_types(cls, provenance: dict[str, Any]) -> dict[str, Any]:
        try:
            Provenance.parse(provenance, "provenance")
        except ConfigError as error:
            raise ValueError(error.message.removeprefix("provenance: ").removesuffix(".")) from None
        return provenance


def manifest_text(manifest: Manifest) -> str:
    """The content of `manifest.json`, with its own digest."""
    values = manifest.model_dump(mode="json")
    return json.dumps(values | {"own_sha256": _manifest_digest(values)}, indent=1, allow_nan=False) + "\n"


def _manifest_digest(values: dict[str, Any]) -> str:
    others = {key: value for key, value in values.items() if key != "own_sha256"}
    return hashlib.sha256(json.dumps(others, sort_keys=True).encode()).hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of the checkpoint in `folder`. Raises CheckpointError where it is missing, damaged or later."""
    where = printable(str(folder))
    values = _read_values(folder)
    version, digest = values.get("format_version"), values.get("own_sha256")
    if type(version) is int and version > FORMAT_VERSION:
        raise CheckpointError(
            f"{where} has format {version}; this Saccade reads up to format {FORMAT_VERSION}. Update Saccade."
        )
    try:
        manifest = Manifest.parse(values, f"{where}/{MANIFEST}")
    except ConfigError as error:
        raise CheckpointError(error.message) from None
    if digest and digest != _manifest_digest(values):
        raise CheckpointError(f"{where}/{MANIFEST} is damaged: its content is not what was saved.")
    return manifest


def _read_values(folder: Path) -> dict[str, Any]:
    path, where = folder / MANIFEST, printable(str(folder))
    try:
        return parse_object(read_plain_file(path, LIMIT_BYTES[MANIFEST]))
    except (FileNotFoundError, NotADirectoryError):
        raise CheckpointError(
            f"{where} is not a complete checkpoint: it has no {MANIFEST}, which is written last."
        ) from None
    except DeniedError:
        raise denied(path) from None
    except DocumentError as error:
        raise CheckpointError(f"{where}/{MANIFEST} is damaged: {printable(str(error))}.") from None
