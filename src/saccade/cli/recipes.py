"""`saccade recipes`: the named sets of values that training can follow."""

import typer

from ..core.display import paragraph
from .output import print_json, print_result, result_width

HEADINGS = ("recipe", "what", "source", "command", "result")


def recipes(as_json: bool = typer.Option(False, "--json", help="Print one JSON object.")) -> None:
    """List the recipes: what they do, where they come from, what to expect."""
    from ..train.recipes import all_recipes

    found = all_recipes().values()
    if as_json:
        print_json({"recipes": [{"name": recipe.name, **recipe.header.model_dump(mode="json")} for recipe in found]})
        return
    blocks = []
    for recipe in found:
        header = recipe.header
        result = f"{header.result}; {header.time}; {header.hardware}"
        cells = [recipe.name, header.summary, header.source, header.command, result]
        blocks.append("\n".join(paragraph(HEADINGS, cells, result_width())))
    print_result("\n\n".join(blocks))
