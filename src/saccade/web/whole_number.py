"""Whole numbers in addresses and forms: plain digits, and never so many that reading them takes long."""


def whole_number(text: str, most_digits: int = 6) -> int | None:
    """The number that `text` is; None for what is none, or has more digits."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= most_digits else None
