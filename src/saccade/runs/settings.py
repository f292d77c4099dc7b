"""What was asked of a run, apart from what was found: a TOML file (`config.toml`, `ensemble.toml` or `folds.toml`), and
`found.json` beside it.

The TOML file holds a format number and the values that differ from the defaults, so a plug-in that was installed and
not used leaves no trace in it. `found.json` holds what the run found when it began. Both are the configuration.

Format 1 had one complete `config.toml`, found values inside, and no number.
"""

import json
import reprlib
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args

from pydantic import ConfigDict, Field

from ..core import atomic
from ..core.config import FrozenConfig, toml_text
from ..core.errors import CheckpointError, ConfigError, printable
from .files import REMEDY, RunFile, damaged, read_json_file, read_toml_file
from .names import ENSEMBLE_PLAN, FOLDS_PLAN, FOUND

FORMAT = 3
WITH_FOUND = 2  # the first format with `found.json`

# Every value that a run may find; all others are as they were asked. The frozen depth has `transfer.json` to itself.
FoundKey = Literal[
    "augment.pca_colour.eigenvalues",
    "augment.pca_colour.eigenvectors",
    "data_digest",  # of an ensemble, or of folds
    "distill.teacher_digest",
    "model",  # of a transfer: the backbone with its new last layer
    "transfer.preprocessing",
    "transfer.weights",  # of the hub: with the commit
    "transfer.weights_sha256",
]

# Format -> {key there: its name in the next format}. An entry is never removed, nor are the runs in tests/runs/formats.
RENAMED: dict[int, dict[str, str]] = {}
# Format -> {key there: (the key that it joins in the next format, its own default there, which says nothing)}.
JOINED: dict[int, dict[str, tuple[str, Any]]] = {
    1: {"loader.rank": ("loader.first_lane", 0), "loader.num_ranks": ("loader.lanes", 1)},
    2: {"split.on_bad_image": ("loader.on_bad_image", "error")},
}
# Format -> {key: its default there}, where the next format has another one.
FORMER_DEFAULTS: dict[int, dict[str, Any]] = {}

Schema = TypeVar("Schema", bound=FrozenConfig)
ABSENT = object()


class Found(RunFile):
    """`found.json`. A key that is not known is refused: without its value the run would be another one."""

    model_config = ConfigDict(extra="forbid")

    format: int = Field(description="format of the file")
    values: dict[FoundKey, Any] = Field(description="value by dotted key of the configuration")


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """A TOML file of a run: its text, its format, and its values under the names they have today."""

    text: str
    format: int
    values: dict[str, Any]

    @property
    def is_complete(self) -> bool:
        """Whether every value stands there, defaults and found ones too."""
        return self.format < WITH_FOUND


def write_settings(path: Path, asked: FrozenConfig, config: FrozenConfig) -> None:
    """Write what was `asked` as `path`, and before it what `config` has beyond that as `found.json`.

    Raises StorageError, and ConfigError where they differ in a value that is not one of those that a run may find.
    """
    before, after = asked.model_dump(mode="json"), config.model_dump(mode="json")
    found = {key: _get(after, key) for key in get_args(FoundKey) if _get(before, key) != _get(after, key)}
    for key, value in found.items():
        _set(before, key, value)
    if before != after:
        raise ConfigError(f"{printable(str(path))}: a value was found that {FOUND} has no place for.")
    text = json.dumps({"format": FORMAT, "values": found}, indent=1, allow_nan=False)
    atomic.write_text(path.with_name(FOUND), text + "\n")
    atomic.write_text(path, toml_text({"format": FORMAT} | asked.differences()))


def read_settings(path: Path, remedy: str = REMEDY) -> RunSettings | None:
    """What was asked, as `path` says; None where there is no such file. Raises CheckpointError."""
    read = read_toml_file(path, remedy)
    if read is None:
        return None
    text, values = read
    number = _checked_format(values.pop("format", 1), path, remedy)
    return RunSettings(text=text, format=number, values=translated(values, number, path.name))


def with_found(config: Schema, settings: RunSettings, path: Path, remedy: str = REMEDY) -> Schema:
    """`config`, which `path` asked for, with what was found. Raises CheckpointError, or ConfigError for a value."""
    beside = path.with_name(FOUND)
    found = read_json_file(Found, beside, remedy)
    if settings.is_complete:
        if found is not None:
            raise damaged(path, f"it has no format, and {FOUND} beside it is of format {found.format}", remedy)
        return config
    if found is None:
        raise CheckpointError(f"{printable(str(beside))} is missing: it holds what the run found.\n{remedy}")
    _checked_format(found.format, beside, remedy)
    names = _names_today(found.format)
    values = config.model_dump(mode="json")
    for key, value in found.values.items():
        _set(values, names.get(key, key), value)
    return type(config).parse(values, printable(str(beside)))


def translated(values: dict[str, Any], number: int, name: str) -> dict[str, Any]:
    """`values` of a file `name` of format `number` as the format of today has them.

    Where a file has the old key and the new one, the old one stays, for the reader to refuse.
    """
    prefix = "run." if name in (ENSEMBLE_PLAN, FOLDS_PLAN) else ""
    values = deepcopy(values)
    for earlier in range(number, FORMAT):
        for old, new in RENAMED.get(earlier, {}).items():
            value = _get(values, prefix + old)
            if value is not ABSENT and _get(values, prefix + new) is ABSENT:
                _remove(values, prefix + old)
                _set(values, prefix + new, value)
        for old, (joined, default) in JOINED.get(earlier, {}).items():
            value = _get(values, prefix + old)
            if value is not ABSENT:
                _remove(values, prefix + old)
                if value != default:
                    _set(values, prefix + joined, value)
        for key, value in FORMER_DEFAULTS.get(earlier, {}).items():
            if _get(values, prefix + key) is ABSENT:
                _set(values, prefix + key, value)
    return values


def _names_today(number: int) -> dict[str, str]:
    names: dict[str, str] = {}
    for earlier in range(number, FORMAT):
        for old, new in RENAMED.get(earlier, {}).items():
            names = {key: new if name == old else name for key, name in names.items()} | {old: new}
    return names


def _checked_format(number: object, path: Path, remedy: str) -> int:
    if type(number) is not int or number < 1:
        raise damaged(path, f"format is a whole number from 1, got {reprlib.repr(number)[:80]}", remedy)
    if number > FORMAT:
        raise CheckpointError(
            f"{printable(str(path))} is of format {number}, and this Saccade reads formats up to {FORMAT}.\n"
            f"A later version wrote it: update Saccade."
        )
    return number


def _get(values: dict[str, Any], dotted: str) -> Any:
    node: Any = values
    for part in dotted.split("."):
        if not isinstance(node, dict) or part not in node:
            return ABSENT
        node = node[part]
    return node


def _set(values: dict[str, Any], dotted: str, value: Any) -> None:
    """Put `value` at its key; where a table is not one, nothing changes, and the reader of the values refuses it."""
    *tables, last = dotted.split(".")
    node: Any = values
    for part in tables:
        node = node.setdefault(part, {})
        if not isinstance(node, dict):
            return
    node[last] = value


def _remove(values: dict[str, Any], dotted: str) -> None:
    """Take a key that is there away, and the tables that are empty without it."""
    head, dot, rest = dotted.partition(".")
    if dot:
        _remove(values[head], rest)
    if not dot or not values[head]:
        del values[head]
