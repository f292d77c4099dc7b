"""Estimates of time for a person: round figures, and a range where both ends are not one."""

FAR_APART = 5.0  # times the one end, from which on a range is told by the other alone
SHORT_S = 60.0  # what is over before that needs no exact words


def between_words(low_s: float, high_s: float) -> str:
    """`3 to 5 min`, `40 s to 2 min`, `about 3 min` where both ends are one, or `up to 8 min` where they are so far
    apart that the lower one says nothing."""
    low, high = rounded_words(low_s), rounded_words(high_s)
    if low == high:
        return f"about {high}"
    if high_s >= SHORT_S and low_s < high_s / FAR_APART:
        return f"up to {high}"
    (low_value, low_unit), (_, high_unit) = (text.split(" ", 1) for text in (low, high))
    return f"{low_value if low_unit == high_unit else low} to {high}"


def rounded_words(seconds: float) -> str:
    """`7 s`, `40 s`, `90 s`, `7 min`, `2.5 h`, `3 days`: as exact as an estimate is."""
    if seconds < 10:
        return f"{max(1, round(seconds))} s"
    if seconds < 57.5:
        return f"{5 * round(seconds / 5)} s"
    if seconds < 115:  # a minute may be 85 s
        return f"{10 * round(seconds / 10)} s"
    if seconds < 3570:
        return f"{round(seconds / 60)} min"
    hours = seconds / 3600
    if hours < 48:
        return f"{hours:.1f} h" if hours < 9.95 else f"{hours:.0f} h"
    return f"{hours / 24:.0f} days"
