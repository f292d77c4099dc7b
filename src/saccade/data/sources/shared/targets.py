"""Labels that are numbers or ordered grades: what a text says, and what is refused."""

import math
import re
from collections.abc import Sequence

from ....core.errors import DataError, UsageError, printable
from ....core.task import MAX_NUMBER

NUMBER, GRADE = "number", "grade"
TARGETS = (NUMBER, GRADE)
MAX_GRADES = 50
_PLACE = re.compile(r"[^0-9]*?(-?[0-9]{1,15}(?:\.[0-9]{1,15})?)")
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
_WRITTEN = re.compile(r"-?(0|[1-9][0-9]{0,15})([.,][0-9]{1,15})?")
MAX_CHARACTERS = 64
NO_LABEL = {  # what programs and people write where there is none
    *("nan", "null", "none", "nil", "n/a", "na", "#n/a", "<na>", "#value!"),
    *("-", "--", "---", "?", "??", ".", "unlabelled", "unlabeled"),
}
MIN_MEASURED = 3  # values that are not whole
MANY_WHOLE, FEW_EACH = 20, 5  # whole numbers that are probably measured: so many, with fewer images each


def check_target(target: str) -> None:
    """Raise UsageError for what is none of TARGETS."""
    if target and target not in TARGETS:
        raise UsageError(
            f"'{printable(target[:40])}' is not what can be asked of an image besides its class.\n"
            f"Say number or grade, as in --target number, or leave --target out for classes."
        )


def parse_number(where: str, text: str) -> float:
    """The number that a label says. Raises DataError, naming `where` it stands, for anything else."""
    shown = printable(text[:40])
    if not text:
        raise DataError(f"{where} has no number.\nFill it in, or remove the image from the list.")
    if len(text) > MAX_CHARACTERS or not _PLAIN.fullmatch(text):
        if text.lower().lstrip("+-") in ("nan", "inf", "infinity", "na", "null", "none"):
            raise DataError(f"{where}: '{shown}' is not a finite number.\nFill it in, or remove the image.")
        comma = " with a point, not a comma" if _PLAIN.fullmatch(text.replace(",", ".", 1)) else ""
        raise DataError(
            f"{where}: '{shown}' is not a number.\nWrite numbers{comma}, such as 12.5; for classes, leave --target out."
        )
    value = float(text)
    if not math.isfinite(value) or abs(value) > MAX_NUMBER:
        raise DataError(
            f"{where}: '{shown}' is beyond {MAX_NUMBER:.0e}, the largest number that is learned.\n"
            f"Check it, or write the numbers in a larger unit."
        )
    return value


def no_label_hints(classes: Sequence[str]) -> list[str]:
    """A sentence for each class of a table that is called like a missing label."""
    return [
        f"the class '{printable(word)}' is learned as any other: where it means no label, remove its rows"
        for word in classes
        if word.lower() in NO_LABEL
    ]


def number_hint(classes: Sequence[str], num_images: int) -> str:
    """A sentence where classes are probably measured numbers, such as ages; "" where they are names, digits among them.

    Probable are values that are not whole, and many whole ones with few images each; 01 is a name.
    """
    if len(classes) < MIN_MEASURED or not all(map(_WRITTEN.fullmatch, classes)):
        return ""
    if any("," in name for name in classes):
        return (
            "labels are numbers with a comma, each a class: to learn them as numbers, write them with a point, "
            "then --target number"
        )
    if sum(not float(name).is_integer() for name in classes) >= MIN_MEASURED:
        return "labels are numbers with decimals, each a class: to learn them as numbers, --target number"
    if len(classes) < MANY_WHOLE or num_images >= FEW_EACH * len(classes):
        return ""
    each = num_images / len(classes)
    return (
        f"labels are {len(classes):,} whole numbers, each a class of {each:.1f} images: to learn them as numbers, "
        f"--target number"
    )


def order_of_grades(where: str, names: Sequence[str], fewest: int = 2) -> list[int]:
    """The place among the grades of each name, by the first number in it. Raises DataError where one has none, two have
    the same, or there are fewer than `fewest` or too many to be grades."""
    if not fewest <= len(names) <= MAX_GRADES:
        what = "one grade only" if len(names) == 1 else f"{len(names):,} different grades"
        remedy = "List images of another grade." if len(names) < 2 else "Learn them as numbers: --target number."
        raise DataError(f"{where} has {what}; 2 to {MAX_GRADES} are told apart.\n{remedy}")
    place_of: dict[float, str] = {}
    numbers = []
    for name in names:
        found = _PLACE.match(name)
        if found is None:
            raise DataError(
                f"{where} has the grade '{printable(name[:40])}', in which no number says its place among the others.\n"
                f"Number the grades, such as 0, 1, 2 or 0_none, 1_mild, 2_severe."
            )
        number = float(found[1])
        other = place_of.setdefault(number, name)
        if other != name:
            raise DataError(
                f"{where} has two grades at one place, '{printable(other[:40])}' and '{printable(name[:40])}'.\n"
                f"Write a grade the same way for every image, and give each a number of its own."
            )
        numbers.append(number)
    order = sorted(numbers)
    return [order.index(number) for number in numbers]
