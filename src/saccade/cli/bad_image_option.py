"""`--on-bad-image`: what a file does that cannot be read as an image."""

import typer

from ..core.placed_setting import PlacedSetting, placed

ON_BAD_IMAGE: str = typer.Option(
    "error", "--on-bad-image", metavar="ACTION", help="error, or skip: one, or up to 1 % of the images."
)


def bad_image_settings(on_bad_image: str) -> list[PlacedSetting]:
    """What `--on-bad-image` sets: the option holds before training and during it."""
    return placed([] if on_bad_image == "error" else [f"loader.on_bad_image={on_bad_image}"], "--on-bad-image")
