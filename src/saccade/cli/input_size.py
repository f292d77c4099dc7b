"""`--input` and `--fit`: the shape of a network's input, and how pictures of another shape are brought to it."""

import re

import typer

from ..core.errors import UsageError, printable
from ..core.placed_setting import PlacedSetting, placed

INPUT: str = typer.Option(
    "",
    "--input",
    metavar="SIZE",
    show_default=False,
    help="Input in pixels, HEIGHTxWIDTH as 192x256, or one side. [as weights and images suggest]",
)
FIT: str = typer.Option(
    "",
    "--fit",
    metavar="WAY",
    show_default=False,
    help="Pictures of another shape: crop, pad or squash. [as the weights say, else crop]",
)


def input_settings(size: str, fit: str) -> list[PlacedSetting]:
    """What `--input` and `--fit` set. Raises UsageError for a size that is none."""
    settings = placed([f"input.fit={fit}"] if fit else [], "--fit")
    if not size:
        return settings
    match = re.fullmatch(r"0*([1-9]\d{0,4})(?:x0*([1-9]\d{0,4}))?", size.strip().lower())
    if match is None:
        raise UsageError(
            f"--input is HEIGHTxWIDTH in pixels, such as 192x256, or one side of a square; got "
            f"'{printable(size[:80])}'."
        )
    height, width = match.groups()
    return settings + placed([f"input.size_px={int(height)}", f"input.width_px={int(width or 0)}"], "--input")
