"""Labels that are numbers: what a text says, and what is refused."""

import math
import re

from ....core.errors import DataError, UsageError, printable
from ....core.task import MAX_NUMBER

NUMBER = "number"
TARGETS = (NUMBER,)
_PLAIN = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
MAX_CHARACTERS = 64


def check_target(target: str) -> None:
    """Raise UsageError for what is none of TARGETS."""
    if target and target not in TARGETS:
        raise UsageError(
            f"'{printable(target[:40])}' is not what can be asked of an image besides its class.\n"
            f"Say number (--target number), or leave --target out for classes."
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
