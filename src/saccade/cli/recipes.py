"""`saccade recipes`: the named sets of values that training can follow."""

import typer

from .output import print_json, print_result


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
        blocks.append(
            f"{recipe.name}\n  {header.summary}\n  source    {header.source}\n  command   {header.command}\n"
            f"  result    {header.result}; {header.time}; {header.hardware}"
        )
    print_result("\n\n".join(blocks))
