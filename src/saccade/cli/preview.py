"""`saccade preview`: what augmentation really does to the images, as a picture."""

from pathlib import Path

import typer

from ..core.errors import printable
from .output import print_json, print_result


def preview(
    source: str = typer.Argument(..., help="A folder, CSV, Parquet or tar file, hub:NAME, digits: see sources."),
    out: Path = typer.Option(..., "--out", help="PNG file to write."),
    recipe: str = typer.Option("", "--recipe", help="Recipe whose augmentation is shown. [the network's own]"),
    policy: str = typer.Option("", "--policy", help="Augmentation policy instead of the recipe's."),
    model: str = typer.Option("", "--model", help="Network whose input size is used. [the recipe's]"),
    num_images: int = typer.Option(4, "--images", min=1, max=64, help="Images to show."),
    seed: int = typer.Option(0, "--seed", help="Seed of the run to be previewed."),
    settings: list[str] = typer.Option([], "--set", help="KEY=VALUE as for train, such as augment.hue.max_degrees=20."),
    as_json: bool = typer.Option(False, "--json", help="Print what was drawn as one JSON object."),
) -> None:
    """Draw some images of SOURCE eight times each, as the first epochs of training would."""
    from .. import api

    request = api.PreviewRequest(
        source=source, recipe=recipe, policy=policy, model=model, num_images=num_images, seed=seed, settings=settings
    )
    values = api.preview(request, out)
    if as_json:
        print_json({"out": str(out), **values})
    else:
        print_result(f"{len(values['images'])} images, drawn 8 times each: {printable(str(out))}")
