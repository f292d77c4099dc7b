"""Whether what somebody else's source, of a plug-in or a caller, says of itself and its images can be true."""

from typing import Any

import numpy as np

from ..core.errors import printable
from ..core.types import SPLITS, Record


def what_is_wrong(source: Any) -> str:
    """What is wrong with a DataSource, by what it says of itself and by the record of every image; "" for nothing.

    Nothing is read. What its code raises passes.
    """
    for name, kind, words in (("name", str, "text"), ("digest", str, "text"), ("classes", tuple, "a tuple of texts")):
        value = getattr(source, name, None)
        if not isinstance(value, kind) or not all(isinstance(part, str) for part in value):
            return f"its '{name}' must be {words}, not {printable(repr(value)[:80])}"
    try:
        num_images = len(source)
    except (TypeError, ValueError) as error:
        return f"its length is no number of images ({printable(str(error))[:80]})"
    for index in range(num_images):
        if wrong := _wrong_record(source.record(index), len(source.classes)):
            return f"its record({index}) {wrong}"
    return ""


def _wrong_record(record: Any, num_classes: int) -> str:
    if not isinstance(record, Record):
        return f"is a value of type {type(record).__name__}, not a Record"
    for name in ("key", "group"):
        value = getattr(record, name)
        if not isinstance(value, str) and not (name == "group" and value is None):
            return f"has a {name} that is no text: {printable(repr(value)[:80])}"
    if record.split is not None and record.split not in SPLITS:
        return f"has the split {printable(repr(record.split)[:80])}, which is none of {', '.join(SPLITS)}, or None"
    for label in () if record.value is not None else record.all_labels:
        if not isinstance(label, int | np.integer) or not 0 <= label < num_classes:
            return f"has the label {printable(repr(label)[:80])}, which is no number of its {num_classes} classes"
    return ""
