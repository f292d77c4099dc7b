"""What a run says of itself in text: its configuration, its machine and its images."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ..core.errors import CheckpointError, ConfigError, printable
from ..core.types import Preprocessing
from .files import REMEDY, ClassNames, Count, Counts, RunFile, Text, Texts, read_json_file
from .names import CONFIG, DATA, ENVIRONMENT
from .settings import read_settings

DEFAULTS = {
    "seed": 0,
    "epochs": 10,
    "model": "lenet5",
    "recipe": "default",
}  # left out of `config.toml`; tests hold them


class Environment(RunFile):
    """`environment.json`: versions and machine, for people."""

    saccade: Text = "unknown"
    python: Text = "unknown"
    platform: Text = "unknown"
    device: Text = "unknown"
    cpu_capability: Text = "unknown"
    packages: Annotated[dict[Text, Text], Field(max_length=1000)] = Field(default_factory=dict)


class BadImage(RunFile):
    """A file that was left out, and why."""

    key: Text
    reason: Text


class DataSummary(RunFile):
    """`data.json`: the images by class and split, what was left out, how pixels become inputs."""

    source: Text = ""
    num_samples: Count = 0
    classes: ClassNames = ()
    counts: dict[Literal["train", "validation", "test"], Counts] = Field(default_factory=dict)
    num_images: dict[Literal["train", "validation", "test"], Count] = Field(default_factory=dict)  # several labels
    split: Text = ""
    notes: Texts = ()
    bad_images: Annotated[tuple[BadImage, ...], Field(strict=False)] = ()
    image_notes: Texts = ()
    modes: Annotated[dict[Text, Count], Field(max_length=1000)] = Field(default_factory=dict)
    num_rotated: Count = 0
    preprocessing: Preprocessing | None = None

    @model_validator(mode="after")
    def _counts_are_of_the_classes(self) -> "DataSummary":
        for name, numbers in self.counts.items():
            if len(numbers) != len(self.classes):
                raise ValueError(f"counts of {name} has {len(numbers)} numbers for {len(self.classes)} classes")
        return self


class TransferFacts(RunFile):
    """The table `transfer` of a configuration, as far as a report needs it."""

    backbone: Text = ""


class ConfigFacts(RunFile):
    """What a report says of a configuration. `source` is told, and never opened."""

    source: Text = ""
    model: Text = ""
    recipe: Text = ""
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = None
    transfer: TransferFacts = TransferFacts()

    @property
    def verb(self) -> str:
        """The command that the run was begun with."""
        return "transfer" if self.transfer.backbone else "train"

    @property
    def source_name(self) -> str:
        """The source as a heading says it: the last part of its path."""
        return Path(self.source).name or self.source


def read_environment(run: Path) -> Environment | None:
    """What `environment.json` holds; None where it is not there. Raises CheckpointError."""
    return read_json_file(Environment, run / ENVIRONMENT)


def read_data_summary(run: Path) -> DataSummary | None:
    """What `data.json` holds; None where it is not there. Raises CheckpointError."""
    return read_json_file(DataSummary, run / DATA)


def read_config_facts(run: Path) -> tuple[str, ConfigFacts]:
    """(text, facts) of `config.toml`; an empty text where it is not there. Raises CheckpointError."""
    path = run / CONFIG
    settings = read_settings(path)
    if settings is None:
        return "", ConfigFacts()
    defaults = {} if settings.is_complete else DEFAULTS
    try:
        return settings.text, ConfigFacts.parse(defaults | settings.values, printable(str(path)))
    except ConfigError as error:
        raise CheckpointError(f"{error.message}\n{REMEDY}") from None
