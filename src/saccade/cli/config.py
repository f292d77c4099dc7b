"""`saccade config RECIPE`: a file of all settings with what they mean, to edit and to give to `--config`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from .output import print_json, print_result

if TYPE_CHECKING:
    from ..train.config_file import ConfigFile

CONFIG_FILE: Path | None = typer.Option(
    None, "--config", metavar="FILE", help="Settings in a file: see saccade config. --set goes before."
)


def config(
    recipe: str = typer.Argument("default", metavar="RECIPE", help="The recipe to begin with: see recipes."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object."),
) -> None:
    """Print a commented file of all settings of RECIPE: edit it, then train SOURCE --config FILE."""
    from ..train.config_file import template
    from ..train.recipes import find_recipe

    found = find_recipe(recipe)
    if as_json:
        print_json({"recipe": found.name, "text": template(found)})
    else:
        print_result(template(found).rstrip("\n"))


def read_config(path: Path | None) -> "ConfigFile | None":
    """What the file of `--config` says, where it is given."""
    from ..train.config_file import read_config_file

    return None if path is None else read_config_file(path)
