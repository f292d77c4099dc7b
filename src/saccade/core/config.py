"""Configuration: frozen, keyword-only, every field described; TOML text, dotted overrides, a stable digest."""

import difflib
import hashlib
import json
import numbers
import os
import re
import reprlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextvars import ContextVar
from datetime import date, time
from functools import cache
from typing import Any, ClassVar, Self, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    ValidationError,
    ValidationInfo,
    ValidatorFunctionWrapHandler,
    field_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError
from pydantic_core.core_schema import with_info_wrap_validator_function

from .errors import ConfigError, brief, printable
from .placed_setting import OPTION, PlacedSetting
from .plain_words import broken_rule, rule_in_words

COMMAND_LINE = "command line"  # the place of values that options gave
IN_CODE = "settings"  # that of values given by a caller of the library
MAX_SHOWN = 200  # characters of a key in a message
MAX_KEYS = 20  # in a message
PARSING = "parsing"  # the context of values that come from a file or from options
ALIKE = 0.7  # of the last parts of two keys, as difflib has it
BARE_POINT = re.compile(r"[+-]?(\.[0-9]+|[0-9]+\.)([eE][+-]?[0-9]+)?")  # a number, but for TOML
MOST_MEANT = 3  # keys that a hint names

Settings = Sequence[str] | Mapping[str, Any]
_is_inside: ContextVar[bool] = ContextVar("inside a configuration that is checked", default=False)


class FrozenConfig(BaseModel):
    """Base of every configuration. Unknown keys are errors; values never change after they are made.

    Made by hand, as in `RuntimeConfig(num_threads=2)`, it raises ConfigError for a value it does not take.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)
    # Dotted keys that a person cannot set as such, each with how it is given instead.
    elsewhere: ClassVar[Mapping[str, str]] = {}
    # What other tools call a setting, by the last part of the key: the key that it has here, or how it is given.
    usual_names: ClassVar[Mapping[str, str]] = {}

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Around every rule, those of several values too: what is made by hand is told of as `parse` tells it."""

        def told_in_words(values: Any, checked: ValidatorFunctionWrapHandler, info: ValidationInfo) -> Any:
            is_inner = _is_inside.get()
            inside = _is_inside.set(True)
            try:
                return checked(values)
            except ValidationError as error:
                if is_inner or info.context == PARSING:  # the outer one says it, or takes another of several kinds
                    raise
                raise ConfigError(_explain(cls, error, cls.__name__)) from None
            finally:
                _is_inside.reset(inside)

        return with_info_wrap_validator_function(told_in_words, handler(source))

    @field_validator("*", mode="before")
    @classmethod
    def _plain_values(cls, value: Any, info: ValidationInfo) -> Any:
        """True is no 1 and "3" no 3, though pydantic takes them for that; whole numbers may stand for others. Numbers
        of NumPy, and paths where a text is meant, are taken as such."""
        value = _as_plain(value)
        wanted = _numbers_of(cls, str(info.field_name))
        if wanted and _has_other(value):
            kind = "integer" if wanted == {int} else "number"
            raise PydanticCustomError("number_type", "Input should be a valid {kind}", {"kind": kind})
        return value

    @classmethod
    def parse(cls, values: dict[str, Any], where: str = "configuration") -> Self:
        """Validate `values`. Raises ConfigError naming `where`, the key, what was received and the remedy."""
        try:
            return cls.model_validate(values, context=PARSING)
        except ValidationError as error:
            raise ConfigError(_explain(cls, error, where)) from None

    def with_overrides(self, settings: Settings) -> Self:
        """A copy with `settings` applied: `a.b=value` texts, or a table such as {"a": {"b": value}}."""
        values = self.model_dump(mode="json")
        for dotted, value in assignments(settings):
            _assign(type(self), values, dotted, value, where_set(settings, dotted))
        try:
            return type(self).model_validate(values, context=PARSING)
        except ValidationError as error:
            key = _dotted(error.errors(include_url=False)[0]["loc"])
            raise ConfigError(_explain(type(self), error, where_set(settings, key))) from None

    def differences(self) -> dict[str, Any]:
        """The values that differ from the defaults, nested; `parse` makes an equal configuration of them."""
        found: dict[str, Any] = {}
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            if not field.is_required() and value == field.get_default(call_default_factory=True):
                continue
            nested = nested_config(field.annotation) is type(value) and isinstance(value, FrozenConfig)
            found[name] = value.differences() if nested else self.model_dump(mode="json", include={name})[name]
        return found

    def digest(self) -> str:
        """64 hexadecimal characters that change when any value changes, and only then."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()


def _dotted(place: Sequence[object]) -> str:
    """The key of a value; pydantic names the functions around it, too."""
    return ".".join(str(part) for part in place if not str(part).startswith("function-"))


@cache
def _numbers_of(config: type[BaseModel], name: str) -> frozenset[type]:
    """Which of int and float a field holds, alone or in a list; none where it may hold texts or truth values too."""
    leaves = list(_leaf_types(config.model_fields[name].annotation))
    is_other = any(leaf in (bool, str) or isinstance(leaf, str) for leaf in leaves)
    return frozenset() if is_other else frozenset(kind for kind in (int, float) if kind in leaves)


def _leaf_types(annotation: Any) -> Iterator[Any]:
    inner = get_args(annotation)
    if not inner:
        yield annotation
    for each in inner:
        yield from _leaf_types(each)


def _as_plain(value: Any) -> Any:
    """A number that is none of Python's as one of them, and a path as its text; all else as it is."""
    if isinstance(value, int | float | str):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


def _has_other(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return any(map(_has_other, value))
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return False  # pydantic says why it is none
    return isinstance(value, bool | str)


def toml_text(values: dict[str, Any]) -> str:
    """TOML text of nested `values`, in their order; None is left out, as TOML has no word for it."""
    lines: list[str] = []
    _write_table(values, "", lines)
    return "\n".join(lines).strip() + "\n"


def field_names(config: type[BaseModel], prefix: str = "") -> list[str]:
    """Every dotted key of `config`, leaves only: `optimizer.name`, `seed`, ..."""
    names: list[str] = []
    for name, field in config.model_fields.items():
        nested = nested_config(field.annotation)
        names += field_names(nested, f"{prefix}{name}.") if nested else [prefix + name]
    return names


def nested_config(annotation: Any) -> type[BaseModel] | None:
    """The configuration class inside an annotation such as `Cutout` or `Cutout | None`, else None."""
    candidates = [annotation, *get_args(annotation)]
    for candidate in candidates:
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None


def is_table(annotation: Any) -> bool:
    """Whether a value may be a table with any keys, as in `Literal["none"] | dict[str, float]`."""
    return any(get_origin(candidate) is dict for candidate in (annotation, *get_args(annotation)))


def unknown_key_message(config: type[BaseModel], dotted: str, elsewhere: Mapping[str, str] | None = None) -> str:
    """`Unknown key 'model.dept'. Did you mean 'model.depth'?`, or the list of keys where none is near.

    A key that is given `elsewhere` is no hint; where it is the nearest, the message says how it is given. A name that
    other tools use is known, and the name of a table gets its keys.
    """
    names, shown, others = field_names(config), dotted[:MAX_SHOWN], elsewhere or {}
    own = [name for name in names if name not in others]
    usual = getattr(config, "usual_names", {}).get(_last(shown).replace("-", "_"), "")
    if " " in usual:
        return f"Unknown key '{printable(shown)}'. {usual[0].upper()}{usual[1:]}."
    table = next((table for table in _tables_of(own) if shown in (table, table.rpartition(".")[2])), "")
    near = [usual] if usual else [] if table else _nearest(shown, {*names, *others})
    near = [name for name in near if name not in others] or near
    if near and near[0] in others:
        how = others[near[0]]
        return f"Unknown key '{printable(shown)}'. {how[0].upper()}{how[1:]}."
    hint = f" Did you mean {' or '.join(repr(name) for name in near)}?" if near else _keys_there(own, shown, table)
    return f"Unknown key '{printable(shown)}'.{hint}"


def _last(dotted: str) -> str:
    return dotted.rpartition(".")[2].lower()


def _tables_of(names: Iterable[str]) -> list[str]:
    """Every table that the dotted `names` lie in, the outer ones first."""
    tables = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return sorted(tables, key=lambda table: (table.count("."), table))


def _nearest(typed: str, names: Iterable[str]) -> list[str]:
    """The keys that `typed` is most probably meant for: by the last part, then by the whole; none where none is near.
    Where a table is named, only its keys are meant."""
    table = typed.rpartition(".")[0]
    inside = [name for name in names if table and name.startswith(f"{table}.")]
    alike = {name: _likeness(typed, name) for name in inside or names}
    best = max(alike.values(), default=(0.0, 0.0))
    if not best[0]:
        return []
    equal = sorted(name for name, likeness in alike.items() if likeness[0] == best[0] == 1.0)
    if len(equal) > MOST_MEANT:
        return []
    return equal if equal and typed.count(".") == 0 else [min(name for name in alike if alike[name] == best)]


def _likeness(typed: str, name: str) -> tuple[float, float]:
    """How alike the last parts are, 0 to 1, where they can be one word, misspelt or cut short, and how alike all is."""
    if typed.startswith(f"{name}."):
        return 1.0, 1.0
    one, other = _last(typed), _last(name)
    alike = difflib.SequenceMatcher(None, one.replace("-", "_"), other).ratio()
    if len(one) >= 4 and (other.startswith(one) or one[:4] == other[:4]):
        alike = max(alike, ALIKE)
    return (alike, difflib.SequenceMatcher(None, typed.lower(), name).ratio()) if alike >= ALIKE else (0.0, 0.0)


def _keys_there(names: list[str], typed: str, table: str = "") -> str:
    """The keys of `table`, of the table that `typed` begins with, or of all tables."""
    table = table or typed.rpartition(".")[0]
    inside = [name for name in names if table and name.startswith(f"{table}.")]
    shown = [name.removeprefix(f"{table}.") for name in inside] or names
    listed = ", ".join(shown if len(shown) <= MAX_KEYS else _tables(shown))
    return f" Keys of {printable(table)}: {listed}." if inside else f" Keys: {listed}."


def _tables(names: list[str]) -> list[str]:
    """Many keys in short: those of one table as `table.*`."""
    return list(dict.fromkeys(f"{name.partition('.')[0]}.*" if "." in name else name for name in names))


def assignments(settings: Settings) -> Iterator[tuple[str, Any]]:
    """(dotted key, value) of every one of `settings`; the values of texts are read as TOML, else as plain text.

    Raises ConfigError for a text without a key or a value.
    """
    if isinstance(settings, Mapping):
        yield from _leaves(settings, "")
        return
    if not isinstance(settings, Iterable) or not all(isinstance(setting, str) for setting in settings):
        raise ConfigError(f"Settings are a table or texts KEY=VALUE; got {brief(repr(settings), 80)}.")
    for setting in [settings] if isinstance(settings, str) else settings:
        dotted, equals, text = setting.partition("=")
        if not equals or not dotted.strip():
            expect = "settings expect" if _place_of(setting) == IN_CODE else f"{_place_of(setting)} expects"
            raise ConfigError(f"{expect} KEY=VALUE, for example optimizer.name=adam; got '{brief(setting)}'.")
        yield dotted.strip(), _parse_value(text.strip())


def assigned_keys(settings: Settings) -> Iterator[str]:
    """Every dotted key that `settings` set, also by a table of several. Raises ConfigError as `assignments`."""
    for key, value in assignments(settings):
        yield key
        if isinstance(value, dict):
            yield from (inner for inner, _ in _leaves(value, f"{key}."))


def where_set(settings: Settings, key: str = "") -> str:
    """How messages call the place that `settings` come from, or the last of them that sets the dotted `key`."""
    if isinstance(settings, Mapping):
        return IN_CODE
    given = [settings] if isinstance(settings, str) else list(settings)
    own = [setting for setting in given if key and _is_of(setting.partition("=")[0].strip(), key)]
    written = [
        setting for setting in given if _place_of(setting) == OPTION
    ]  # most rules of several values are of these
    return _place_of((own or written or given or [""])[-1])


def _place_of(setting: str) -> str:
    return setting.place if isinstance(setting, PlacedSetting) else IN_CODE


def _is_of(typed: str, key: str) -> bool:
    return typed == key or typed.startswith(f"{key}.") or key.startswith(f"{typed}.")


def table_settings(table: Mapping[str, Any], file: str) -> list[PlacedSetting]:
    """The values of a nested table that stands in the printable name `file`."""
    return [PlacedSetting(f"{key}={_toml_value(value)}", file) for key, value in _leaves(table, "")]


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    for key, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", os.fspath(value) if isinstance(value, os.PathLike) else value


def _assign(config: type[FrozenConfig], values: dict[str, Any], dotted: str, value: Any, where: str) -> None:
    node: Any = values
    current: type[BaseModel] | None = config
    elsewhere = config.elsewhere
    parts = dotted.split(".")
    for position, part in enumerate(parts):
        if current is None or part not in current.model_fields:
            is_file = where != IN_CODE and not where.startswith("--")
            # a file may name what options choose: source, model, recipe
            others = {key: how for key, how in elsewhere.items() if not is_file or "." in key}
            raise ConfigError(f"{where}: " * is_file + unknown_key_message(config, dotted, others))
        if position == len(parts) - 1:
            node[part] = value
            return
        annotation = current.model_fields[part].annotation
        if is_table(annotation):  # what follows is one key of it, dots and all
            table = node[part] if isinstance(node.get(part), dict) else {}
            node[part] = table | {".".join(parts[position + 1 :]): value}
            return
        current = nested_config(annotation)
        if node.get(part) is None:
            node[part] = {}
        node = node[part]


def _parse_value(text: str) -> Any:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return float(text) if BARE_POINT.fullmatch(text) else text


def _explain(config: type[BaseModel], error: ValidationError, where: str) -> str:
    first = error.errors(include_url=False)[0]
    dotted = brief(_dotted(first["loc"]))
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown_key_message(config, dotted)}"
    received = printable(reprlib.repr(first["input"])[:MAX_SHOWN])[:80]
    rule = brief(rule_in_words(first["msg"]), 500).rstrip(".")
    if not dotted:  # a rule about several values, which names them itself
        return f"{where}: {rule}."
    if first["type"] == "value_error":
        return f"{where}: '{dotted}': {rule}."
    if where == COMMAND_LINE:
        return broken_rule(f"--{dotted.replace('_', '-')}", rule, received)
    told = broken_rule(f"'{dotted}'", rule, received)
    return f"{where}: {told}"


def _write_table(values: dict[str, Any], prefix: str, lines: list[str]) -> None:
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    for key, value in values.items():
        if key not in tables and value is not None:
            lines.append(f"{_toml_key(key)} = {_toml_value(value)}")
    for key, table in tables.items():
        if not table or any(not isinstance(value, dict) for value in table.values()):  # else its tables imply it
            lines += ["", f"[{prefix}{_toml_key(key)}]"]
        _write_table(table, f"{prefix}{_toml_key(key)}.", lines)


def _toml_key(key: str) -> str:
    return key if re.fullmatch("[A-Za-z0-9_-]+", key) else _toml_value(key)


def _toml_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(_toml_value(item) for item in value) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # TOML escapes DEL, JSON does not
    if isinstance(value, (date, time)):
        return value.isoformat()  # no setting is one, and a message says so
    return json.dumps(value)  # numbers and booleans read the same in TOML; floats are finite by model_config
