"""From what a listing says of its images to classes: one label an image, or lists of several.

A label is a text, or a tuple of class names where the listing itself has lists (Parquet, columns of 0 and 1). A text is
a list where its parts are labels of other images (`x;y` beside `x`; of `x,y` all its parts, since a comma often is in a
name), where most labels are made of parts that are shared (`a|b`, `b|c`), or in brackets as JSON and Python write it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....core.documents import DocumentError, parse_json
from ....core.errors import DataError, printable
from ....core.task import ONE_LABEL, SEVERAL_LABELS, Task
from ...records import one_label_each
from .listing import LIST_SIGNS, SEPARATORS, class_order, is_list_of_known, list_sign

LabelValue = str | tuple[str, ...]
ONE, SEVERAL = "one", "several"
MAX_SIGN_CHARACTERS = 4
_QUOTED = re.compile(r"""\s*(?:'([^']*)'|"([^"]*)"|([^,'"\[\]]+))\s*(?:,|$)""")


@dataclass(frozen=True, kw_only=True)
class SettledLabels:
    """`classes` in label order, and for each of the label values that were given the numbers of its classes; of one
    label, there is one in each."""

    task: Task
    classes: tuple[str, ...]
    numbers: tuple[tuple[int, ...], ...]
    notes: tuple[str, ...] = ()

    def of_rows(self, value_N: np.ndarray) -> "RowLabels":
        """The labels of N images, each given by the place of its label value."""
        return RowLabels(self, np.asarray(value_N, np.int32))


class RowLabels:
    """The labels of N images: `label` of one, `labels` of several."""

    def __init__(self, settled: SettledLabels, value_N: np.ndarray) -> None:
        self.task = settled.task
        self._numbers = settled.numbers
        self._value_N = value_N
        single_V = np.array([row[0] if row else -1 for row in settled.numbers], np.int32)
        self._label_N = np.full(len(value_N), -1, np.int32) if self.task.is_several else single_V[value_N]

    def label(self, index: int) -> int:
        """The class of an image; -1 where it may have several."""
        return int(self._label_N[index])

    def labels(self, index: int) -> tuple[int, ...] | None:
        """All classes of an image that may have several, else None."""
        return self._numbers[self._value_N[index]] if self.task.is_several else None

    def codes(self) -> tuple[np.ndarray, tuple[tuple[int, ...], ...]]:
        """(code_N, labels): the place of each image's labels in `labels`."""
        if self.task.is_several:
            return self._value_N, self._numbers
        return self._label_N, one_label_each(int(self._label_N.max(initial=-1)) + 1)

    def content(self) -> np.ndarray:
        """What a digest of the listing is made of."""
        if not self.task.is_several:
            return self._label_N
        rows = [self._numbers[value] for value in self._value_N]
        return np.concatenate([np.array([len(row), *row], np.int32) for row in rows])

    def told(self) -> list[str]:
        """How many images have no label at all, which may be a slip."""
        empty_V = np.array([not row for row in self._numbers], bool)
        num = int(empty_V[self._value_N].sum())
        if not num:
            return []
        return ["1 image has no label" if num == 1 else f"{num:,} images have no label"]


def settle_labels(where: str, values: Sequence[LabelValue], wanted: str, classes: Sequence[str] = ()) -> SettledLabels:
    """The classes of distinct label `values`. `wanted` is what a person chose: `one`, `several`, the sign between
    several, or "" for what the labels say. `classes` are those that are known, in their order, or ()."""
    texts = [value for value in values if isinstance(value, str)]
    if wanted == ONE:
        _refuse_lists(where, values)
        return _one_label(texts, classes)
    sign = wanted if wanted not in ("", SEVERAL) else _sign_of(texts)
    has_lists = any(not isinstance(value, str) or read_list(value) is not None for value in values)
    if not (sign or has_lists or wanted == SEVERAL):
        return _one_label(texts, classes, () if classes else _signs_in_names(texts))
    rows = [_parts(value, sign) for value in values]
    known = set(classes) | {name for row in rows for name in row}
    other = next((name for name in sorted(known) if is_list_of_known(name, known)), None)
    if other is not None:
        raise DataError(
            f"{where} has lists of labels with two signs between them, as in '{printable(other[:80])}'.\n"
            f"Write all of them with one sign, such as ;."
        )
    order = tuple(classes) or class_order(known)
    number_of = {name: number for number, name in enumerate(order)}
    said = f"labels are lists, told apart by '{printable(sign)}'" if sign else "labels are lists"
    note = f"{said}: an image may have several labels"
    return SettledLabels(
        task=SEVERAL_LABELS,
        classes=order,
        numbers=tuple(tuple(sorted({number_of[name] for name in row})) for row in rows),
        notes=(note,) if wanted == "" else (),
    )


def check_wanted(wanted: str) -> None:
    """Raise DataError for what is neither `one`, `several`, nor a sign."""
    is_sign = 0 < len(wanted) <= MAX_SIGN_CHARACTERS and not any(letter.isalnum() for letter in wanted)
    if wanted not in ("", ONE, SEVERAL) and not is_sign:
        raise DataError(
            f"'{printable(wanted[:40])}' does not say what the labels are.\n"
            f"Say one, several, or the sign between several: --labels one, --labels several, --labels ';'."
        )


def refuse_label_lists(where: str, names: Sequence[str], what: str) -> None:
    """Raise DataError where texts are lists of classes, for `what`, a kind of source that does not read them."""
    known = set(names)
    sign = _sign_of(names)
    for name in sorted(known):
        if name and (read_list(name) is not None or (sign and sign in name)):
            raise DataError(
                f"{where} has the label '{printable(name[:80])}', which is a list of classes; several labels an image "
                f"are not read from {what}.\nList the images in a CSV or Parquet file."
            )


def read_list(text: str) -> tuple[str, ...] | None:
    """The names in a list as JSON or Python writes it, `["a", "b"]`, `['a', 'b']` or `[a, b]`; None for other texts."""
    if len(text) < 2 or (text[0], text[-1]) != ("[", "]"):
        return None
    try:
        found = parse_json(text.encode("utf-8", "replace"))
        if isinstance(found, list) and all(type(name) in (str, int) for name in found):
            return tuple(str(name).strip() for name in found if str(name).strip())
    except DocumentError:
        pass  # written by hand, or by Python
    inside, names, place = text[1:-1], [], 0
    while place < len(inside):
        part = _QUOTED.match(inside, place)
        if part is None:
            return None
        names.append((part[1] or part[2] or part[3] or "").strip())
        place = part.end()
    return tuple(name for name in names if name)


def _one_label(texts: Sequence[str], classes: Sequence[str], notes: tuple[str, ...] = ()) -> SettledLabels:
    order = tuple(classes) or class_order(texts)
    number_of = {name: number for number, name in enumerate(order)}
    numbers = tuple((number_of[text],) for text in texts)
    return SettledLabels(task=ONE_LABEL, classes=order, numbers=numbers, notes=notes)


def _signs_in_names(texts: Sequence[str]) -> tuple[str, ...]:
    """The note that labels may be lists: most hold a sign that elsewhere stands between several, or `x,y` beside `x`;
    () where nothing says so."""
    for sign in SEPARATORS:
        held = [text for text in texts if sign in text]
        if 2 * len(held) > len(texts):
            return (
                f"most labels hold '{sign}', such as '{printable(min(held)[:80])}', and each is read as one class; "
                f"if several labels are meant: --labels '{sign}', if not: --labels one",
            )
    known = set(texts)
    for text in sorted(known):
        beside = next((part.strip() for part in text.split(",") if part.strip() in known), "") if "," in text else ""
        if beside:
            return (
                f"'{printable(text[:80])}' stands beside '{printable(beside[:80])}', and each is read as one class; "
                f"if several labels are meant: --labels ',', if not: --labels one",
            )
    return ()


def _refuse_lists(where: str, values: Sequence[LabelValue]) -> None:
    for value in values:
        if not isinstance(value, str):
            named = ", ".join(printable(name[:40]) for name in value[:4])
            what = f"has an image of {len(value)} classes ({named})" if value else "has an image of no class"
            raise DataError(f"{where} {what}, and was read as one label an image.\nLeave out --labels one.")


def _sign_of(texts: Sequence[str]) -> str:
    """The sign between the classes of lists; "" where no label is one."""
    known = {text for text in texts if text}
    shared = list_sign(known)
    if shared:
        return shared
    for name in sorted(known):
        for sign in LIST_SIGNS:
            is_begun = sign in SEPARATORS and sign in name and any(part.strip() in known for part in name.split(sign))
            if is_begun or is_list_of_known(name, known, (sign,)):
                return sign
    return ""


def _parts(value: LabelValue, sign: str) -> tuple[str, ...]:
    if not isinstance(value, str):
        return value
    listed = read_list(value)
    if listed is not None:
        return listed
    parts = value.split(sign) if sign else [value]
    return tuple(part.strip() for part in parts if part.strip())
