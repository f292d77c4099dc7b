"""A setting as a person wrote it, and where: messages about it name that place. It imports nothing heavy."""

from collections.abc import Iterable
from typing import Self

OPTION = "--set"


class PlacedSetting(str):
    """`a.b=value` with the place where a person gave it, as messages call it: an option, or the name of a file."""

    place: str

    def __new__(cls, text: str, place: str) -> Self:
        setting = super().__new__(cls, text)
        setting.place = place
        return setting

    def __getnewargs__(self) -> tuple[str, str]:  # type: ignore[override]  # that of a plain text has the text alone
        """What a copy is made of, through pickle too."""
        return str(self), self.place


def placed(texts: Iterable[str], place: str = OPTION) -> list[PlacedSetting]:
    """Each of `texts`, KEY=VALUE, as given by the option `place`."""
    return [PlacedSetting(text, place) for text in texts]
