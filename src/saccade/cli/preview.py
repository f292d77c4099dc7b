"""`saccade preview`: what augmentation really does to the images, as a picture."""

from pathlib import Path

import typer

from ..core.errors import counted, printable, shell_word
from ..core.placed_setting import placed
from .columns import FILE_COLUMN, GROUP_COLUMN, LABEL_COLUMN, LABELS, SPLIT_COLUMN, TARGET, chosen_source
from .input_size import FIT, INPUT, input_settings
from .output import print_json, print_notes, print_opening, print_result


def preview(
    source: str = typer.Argument(
        ..., metavar="SOURCE", help="A source as for train, one photo, or a folder of photos without labels."
    ),
    out: Path = typer.Option(..., "--out", metavar="FILE", help="PNG file to write."),
    recipe: str = typer.Option(
        "", "--recipe", metavar="NAME", help="Recipe whose augmentation is shown. [the network's own]"
    ),
    policy: str = typer.Option("", "--policy", metavar="NAME", help="Augmentation policy instead of the recipe's."),
    model: str = typer.Option("", "--model", metavar="NAME", help="Network whose input size is used. [the recipe's]"),
    num_images: int = typer.Option(4, "--images", min=1, max=64, metavar="N", help="Images to show."),
    seed: int = typer.Option(0, "--seed", metavar="N", help="Seed of the run to be previewed."),
    input_size: str = INPUT,
    fit: str = FIT,
    settings: list[str] = typer.Option(
        [], "--set", metavar="KEY=VALUE", help="KEY=VALUE as for train, such as augment.hue.max_degrees=20."
    ),
    file_column: str = FILE_COLUMN,
    label_column: str = LABEL_COLUMN,
    split_column: str = SPLIT_COLUMN,
    group_column: str = GROUP_COLUMN,
    labels: str = LABELS,
    target: str = TARGET,
    as_json: bool = typer.Option(False, "--json", help="Print what was drawn as one JSON object."),
) -> None:
    """Draw some images of SOURCE eight times each, as the first epochs of training would."""
    chosen = chosen_source(source, file_column, label_column, split_column, group_column, labels, target)
    from .. import api

    request = api.PreviewRequest(
        source=chosen,
        recipe=recipe,
        policy=policy,
        model=model,
        num_images=num_images,
        seed=seed,
        settings=[*placed(settings), *input_settings(input_size, fit)],
    )
    values = api.preview(request, out, print_opening)
    if not as_json:
        print_notes(values["notes"])
    if as_json:
        print_json({"out": str(out), **values})
    else:
        print_result(f"{counted(len(values['images']), 'image')}, drawn 8 times each: {printable(str(out))}")
        if policy:
            print_result(f"Train with it: saccade train {shell_word(source)} --policy {shell_word(policy)}")
