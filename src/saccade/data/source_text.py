"""What a person types as SOURCE, taken apart: the place, and the columns that are chosen of a table there.

`labels.csv?label=breed&group=patient_id` names both, so that one text identifies the data wherever a source is named:
on the command line, in the configuration of a run, in JSON. Names are percent-encoded where they hold & % + or spaces.
"""

import os
from dataclasses import dataclass, fields, replace
from urllib.parse import quote, unquote

from ..core.addresses import is_address, is_hub
from ..core.errors import UsageError, did_you_mean, printable

MARK = "?"
READABLE = "_-.:/()"  # what a column's name may hold as it is


@dataclass(frozen=True, kw_only=True)
class ChosenColumns:
    """Names of columns, "" where the rules of the format choose. `split` may be `fold:3`: that fold is held out.

    `labels` says how labels are read: `one`, `several`, or the sign between several. `target` is `number` or
    `grade` where they are that, "" where they are classes; it is of every source, not of tables alone.
    """

    file: str = ""
    label: str = ""
    split: str = ""
    group: str = ""
    labels: str = ""
    target: str = ""

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) for field in fields(self))

    @property
    def names_columns(self) -> bool:
        """Whether anything is chosen that only a table has."""
        return bool(replace(self, target=""))

    def as_text(self) -> str:
        """`?label=breed&group=patient_id`, in one order; "" where nothing is chosen."""
        pairs = [(field.name, getattr(self, field.name)) for field in fields(self)]
        text = "&".join(f"{key}={quote(name, safe=READABLE)}" for key, name in pairs if name)
        return f"{MARK}{text}" if text else ""


NOTHING_CHOSEN = ChosenColumns()


def chosen_column(purpose: str, name: str) -> ChosenColumns:
    """The choice of one column, whose `purpose` is file, label, split or group."""
    return replace(NOTHING_CHOSEN, **{purpose: name})


KEYS = tuple(field.name for field in fields(ChosenColumns))


def split_source_text(text: str) -> tuple[str, ChosenColumns]:
    """(place, columns) of a SOURCE. Raises UsageError for a key that is none.

    Only a text that is no path itself, whose part before the ? is one or a name on the hub, has columns behind it.
    """
    place, mark, rest = text.partition(MARK)
    if not mark or not place or not (is_hub(place) or (not is_address(place) and _exists(place))) or _exists(text):
        return text, NOTHING_CHOSEN
    return place, parse_chosen(text, place, rest)


def parse_chosen(text: str, place: str, rest: str) -> ChosenColumns:
    """What the part behind the ? of `text` chooses. Raises UsageError for a key that is none."""
    chosen: dict[str, str] = {}
    for pair in rest.split("&"):
        key, equals, name = pair.partition("=")
        if key not in KEYS:
            raise UsageError(
                f"'{printable(text[:200])}' chooses '{printable(key[:40])}' of a table.{did_you_mean(key[:40], KEYS)}\n"
                f"Behind the ? stand names of columns: {', '.join(f'{known}=NAME' for known in KEYS[:-2])}, "
                f"labels=one or several, and target=number or grade, with & between."
            )
        if not equals or not name or key in chosen:
            what = "is chosen twice" if key in chosen else "names no column"
            raise UsageError(
                f"'{printable(text[:200])}': {key} {what}.\nWrite it once, with a name: {printable(place)}?{key}=NAME."
            )
        chosen[key] = unquote(name)
    return ChosenColumns(
        file=chosen.get("file", ""),
        label=chosen.get("label", ""),
        split=chosen.get("split", ""),
        group=chosen.get("group", ""),
        labels=chosen.get("labels", ""),
        target=chosen.get("target", ""),
    )


def target_named(text: str) -> str:
    """The `target` that a SOURCE chooses, number or grade; "" where it chooses none. Raises UsageError as
    `split_source_text`."""
    _, chosen = split_source_text(text)
    place, _, rest = text.partition(MARK)
    if not chosen and rest.startswith("target="):  # of a built-in set
        chosen = parse_chosen(text, place, rest)
    return chosen.target


def with_columns(source: str, columns: ChosenColumns) -> str:
    """`source` with `columns` behind it. Raises UsageError where there is no source, or it names columns already."""
    if not columns:
        return source
    if not source:
        raise UsageError(
            "Columns are chosen of a SOURCE, and none is named.\n"
            "A run that is resumed keeps its own: leave the options out, or name the SOURCE too."
        )
    if split_source_text(source)[1]:
        raise UsageError(
            f"'{printable(source[:200])}' names columns, and so do options.\nUse one of the two: the options, or the ?."
        )
    return f"{source}{columns.as_text()}"


def _exists(text: str) -> bool:
    try:
        return os.path.lexists(text)
    except ValueError:
        return False  # a null character
