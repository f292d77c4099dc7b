"""Rates in words and in JSON: what is undefined is `-` or null, and nothing is rounded to a hundred or to nothing."""

import numpy as np

FEW_IMAGES = 30


def percent(rate: float) -> str:
    """`98.6`, `-` for NaN, with a second digit where the first would say 100.0 or 0.0 of something that is not."""
    if np.isnan(rate):
        return "-"
    text = f"{100 * rate:.1f}"
    if text in ("100.0", "0.0") and rate not in (0.0, 1.0):
        return f"{min(max(100 * rate, 0.01), 99.99):.2f}"
    return text


def number(value: float) -> float | None:
    """The value for JSON, null where it is NaN."""
    return None if np.isnan(value) else float(value)


def rate(value: float, low: float, high: float) -> list[str]:
    """A rate and its interval as two cells of a table."""
    return ["-", "-"] if np.isnan(value) else [percent(value), f"{percent(low)} to {percent(high)}"]
