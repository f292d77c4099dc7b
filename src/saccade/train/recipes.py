"""Recipes: named, sourced sets of values. A person picks a recipe, not hyper-parameters; every value can still be set.

A recipe is one TOML file in `recipe_files/`: a `[recipe]` table that says where it comes from and what to expect,
then the values of a `RunConfig` that differ from the defaults.
"""

import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import Field

from ..core.config import FrozenConfig
from ..core.errors import UnknownNameError, did_you_mean, printable
from .config import RunConfig


class RecipeHeader(FrozenConfig):
    """What a person should know before choosing a recipe."""

    summary: str = Field(description="one sentence")
    source: str = Field(description="paper, section or public code the values come from")
    command: str = Field(description="the command that the result was measured with")
    hardware: str = Field(description="the machine it was measured on")
    time: str = Field(description="how long it took there")
    result: str = Field(description="what came out")
    models: tuple[str, ...] = Field((), description="networks that take this recipe by default")


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A recipe by name: its header and the nested values it sets."""

    name: str
    header: RecipeHeader
    values: dict[str, Any]

    def config(self, source: str, model: str | None, tables: dict[str, dict[str, Any]] | None = None) -> RunConfig:
        """The configuration of a run by this recipe on `source`; `model` replaces the recipe's own network, and
        `tables` add to its tables."""
        values = dict(self.values) | {"source": source, "recipe": self.name}
        for name, table in (tables or {}).items():
            values[name] = values.get(name, {}) | table
        if model:
            values["model"] = model
        return RunConfig.parse(values, f"recipe {self.name}")


@cache
def all_recipes() -> dict[str, Recipe]:
    """Every recipe by name."""
    folder = files("saccade.train").joinpath("recipe_files")
    recipes = {}
    for entry in sorted(folder.iterdir(), key=lambda entry: entry.name):
        if entry.name.endswith(".toml"):
            values = tomllib.loads(entry.read_text(encoding="utf-8"))
            name = entry.name.removesuffix(".toml")
            header = RecipeHeader.parse(values.pop("recipe"), entry.name)
            recipes[name] = Recipe(name=name, header=header, values=values)
    return recipes


def find_recipe(name: str) -> Recipe:
    """The recipe called `name`. Raises UnknownNameError with the nearest one."""
    recipes = all_recipes()
    if name not in recipes:
        raise UnknownNameError(
            f"Unknown recipe '{printable(name)}'.{did_you_mean(name, recipes)} "
            f"'saccade recipes' lists all {len(recipes)}."
        )
    return recipes[name]


def recipe_for(model: str) -> Recipe:
    """The recipe that names `model` as one of its networks, else the default one."""
    recipes = all_recipes()
    return next((recipe for recipe in recipes.values() if model in recipe.header.models), recipes["default"])
