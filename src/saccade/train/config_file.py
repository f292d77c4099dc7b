"""A file of settings: the template of a recipe that a person edits, and how it is read again (`--config FILE`).

What a recipe sets stands in the template as it is; everything else is a comment with its default. So a template that
nobody has edited is the recipe. A run's `config.toml` is such a file.
"""

import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from ..core.addresses import shown
from ..core.config import FrozenConfig, is_table, nested_config, table_settings, toml_text
from ..core.documents import DocumentError, parse_toml, read_plain_file
from ..core.errors import ConfigError, UsageError, printable
from ..core.placed_setting import PlacedSetting
from ..runs.names import CONFIG
from ..runs.settings import FoundKey, read_settings
from .config import RunConfig
from .recipes import Recipe
from .resume_references import is_followed

MAX_BYTES = 256 << 10
COMMENT_WIDTH = 100  # characters
NAMES = ("source", "model", "recipe")  # what options choose, which a file may name, too
NAMES_OF_TRANSFER = ("backbone", "weights")
FOUND = {*get_args(FoundKey), "transfer.frozen"}
OF_OPTIONS = {*NAMES, "transfer.backbone", "distill.teachers"}
_UNFOLLOWED = (
    "The configuration file names {what} '{name}', which are not on this machine.\n"
    "A file from somebody else may name any place. If you want that one, type it: {typed}"
)


@dataclass(frozen=True, kw_only=True)
class ConfigFile:
    """What a file says: the names it chooses ("": none), and its values as settings."""

    source: str
    model: str
    recipe: str
    backbone: str
    weights: str
    settings: list[PlacedSetting]

    def source_beside(self, typed: str) -> str:
        """The source that was `typed`, else the file's. Raises UsageError for one that is not on this machine: the
        file may be somebody else's."""
        if typed or not self.source or is_followed(self.source):
            return typed or self.source
        raise UsageError(_UNFOLLOWED.format(what="the images", name=shown(self.source), typed="SOURCE"))

    def weights_beside(self, typed: list[str]) -> list[str]:
        """The weights that were `typed`, else the file's. Raises UsageError as `source_beside`."""
        if typed or not self.weights or Path(self.weights).exists():
            return typed or [self.weights] * bool(self.weights)
        raise UsageError(_UNFOLLOWED.format(what="the weights", name=shown(self.weights), typed="--weights WEIGHTS"))

    def refuse_transfer(self, where: str) -> None:
        """Raise UsageError where a file for `transfer` is given to `train`."""
        if self.backbone or self.weights:
            raise UsageError(
                f"{where} names a backbone or its weights, and 'saccade train' begins without.\n"
                f"Give it to saccade transfer."
            )

    def refuse_another_model(self, where: str) -> None:
        """Raise UsageError where a file for `train` is given to `transfer`, whose network is that of the weights."""
        if self.model not in ("", self.backbone):
            raise UsageError(
                f"{where} names the model '{printable(self.model[:80])}', and a transfer takes the network of its "
                f"weights.\nTake that line out, or give the file to saccade train."
            )


def read_config_file(path: Path) -> ConfigFile:
    """Read `path`. Raises UsageError where it is not there, ConfigError where it is not such a file."""
    where = printable(str(path))
    try:
        values = parse_toml(read_plain_file(path, MAX_BYTES, may_be_link=True))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"There is no configuration file {where}.\nBegin one: saccade config default > {where}"
        ) from None
    except DocumentError as error:
        raise ConfigError(f"{where} cannot be used: {printable(str(error))}.") from None
    if path.name == CONFIG and "format" in values:
        values = _of_run(path)
    names = {name: _name(values, name, where) for name in NAMES}
    transfer = values.get("transfer")
    if isinstance(transfer, dict):
        names |= {name: _name(transfer, name, where) for name in NAMES_OF_TRANSFER}
    return ConfigFile(
        source=names["source"],
        model=names["model"],
        recipe=names["recipe"],
        backbone=names.get("backbone", ""),
        weights=names.get("weights", ""),
        settings=table_settings(values, where),
    )


def _of_run(path: Path) -> dict[str, Any]:
    """Every value that was asked of a run: its file leaves out defaults, which are not those of its recipe."""
    settings = read_settings(path)
    values = {} if settings is None else RunConfig.parse(settings.values, printable(str(path))).model_dump(mode="json")
    usual = dict(_leaves(RunConfig().model_dump(mode="json")))
    unset = {
        key for key, value in _leaves(values) if value is None or (key in RunConfig.elsewhere and value == usual[key])
    }
    unset -= set(NAMES)
    return _without(values, FOUND | unset)


def _leaves(table: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _without(table: dict[str, Any], keys: set[str], prefix: str = "") -> dict[str, Any]:
    """A nested table without the values, or tables, at these dotted keys."""
    return {
        name: _without(value, keys, f"{prefix}{name}.") if isinstance(value, dict) else value
        for name, value in table.items()
        if f"{prefix}{name}" not in keys
    }


def _name(values: dict[str, Any], name: str, where: str) -> str:
    """Take the text `name` out of `values`; "" where there is none."""
    value = values.pop(name, "")
    if not isinstance(value, str):
        raise ConfigError(f"{where}: '{name}' must be text, not {printable(repr(value)[:80])}.")
    return value


def template(recipe: Recipe) -> str:
    """The TOML text of every value that a person can set beside the options, each with what it means."""
    verb = "transfer" if recipe.header.command.startswith("saccade transfer") else "train"
    others = "distill" if verb == "transfer" else "transfer"
    taught = {"distill": {"teachers": ["RUN"]}} if "distill" in recipe.values else {}
    config = recipe.config("", None, taught)
    lines = [
        *_comment(f"Recipe {recipe.name}: {recipe.header.summary}"),
        "#",
        *_comment(f"Edit it, then: saccade {verb} SOURCE --config FILE"),
        *_comment("What the recipe sets stands as it is; the rest is a comment with its default: take the # away."),
        "",
        f'recipe = "{recipe.name}"',
        *([f"model = {_toml(config.model)}"] if verb == "train" else []),
    ]
    lines += _table(config, "", {others})
    return "\n".join(lines) + "\n"


def _table(config: FrozenConfig, prefix: str, without: set[str]) -> Iterator[str]:
    """The lines of a table: its values, then the tables in it."""
    tables = []
    for name, field in type(config).model_fields.items():
        key, value = f"{prefix}{name}", getattr(config, name)
        if name in without or key in OF_OPTIONS or key in FOUND or key in RunConfig.elsewhere:
            continue
        if isinstance(value, FrozenConfig):
            tables.append((key, str(field.description or type(value).__doc__ or ""), value))
            continue
        if value is None and nested_config(field.annotation) is not None:
            continue
        yield ""
        yield from _comment(str(field.description))
        sign = "# " if value == field.get_default(call_default_factory=True) else ""
        shown = config.model_dump(mode="json", include={name})[name]
        if isinstance(shown, dict) and is_table(field.annotation):
            yield f"{sign}{name} = {{{', '.join(f'{_toml(key)} = {_toml(one)}' for key, one in shown.items())}}}"
        else:
            yield f"{sign}{name} = {_toml(shown)}"
    for key, description, value in tables:
        yield from ["", *_comment(description.splitlines()[0] if description else key), f"[{key}]"]
        yield from _table(value, f"{key}.", set())


def _comment(text: str) -> list[str]:
    return [f"# {line}" for line in textwrap.wrap(text, COMMENT_WIDTH, break_long_words=False, break_on_hyphens=False)]


def _toml(value: Any) -> str:
    """One value as TOML has it."""
    return toml_text({"value": value}).removeprefix("value = ").rstrip("\n")
