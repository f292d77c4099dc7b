"""More epochs than a run began with: what is possible instead, as commands that a person can paste.

The learning rate of a run is planned for its epochs and has come to its end with them, so a run that goes on for longer
is none that could be begun: it is another run, from the beginning or from the weights of this one.
"""

import json
from pathlib import Path
from typing import Any, get_args

from ..core.errors import ConfigError, UnknownNameError, shell_word
from ..core.in_memory import is_given
from ..models.architecture import MODELS
from ..runs.at_path import holds_checkpoint
from ..runs.settings import FoundKey
from .config import RunConfig
from .recipes import find_recipe
from .run_directory import flat_differences

OPTIONS = {"model": "--model", "recipe": "--recipe", "seed": "--seed"}
OF_TRANSFER = {"backbone": "--backbone", "weights": "--weights", "freeze": "--freeze", "views": "--views"}


def refuse_more_epochs(begun: RunConfig, wanted: RunConfig, run: Path) -> None:
    """Raise ConfigError with the commands that come nearest, where `wanted` has more epochs than what was `begun`."""
    if wanted.epochs <= begun.epochs or is_given(begun.source) or is_given(begun.model):
        return
    lines = [
        f"A resumed run goes on as it began: epochs was {begun.epochs}, now {wanted.epochs}, and its learning rate was "
        f"planned for {begun.epochs}."
    ]
    anew = _anew(begun, wanted.epochs, _beside(run, f"{wanted.epochs}-epochs"))
    if anew:
        lines.append(f"Train anew for all {wanted.epochs}: {anew}")
    if begun.model.partition("+")[0] in MODELS and holds_checkpoint(run) and not begun.split.folds:
        more = _onwards(begun, run, wanted.epochs - begun.epochs)
        lines.append(f"Or begin a new run with the weights of this one, the rate rising again: {more}")
    raise ConfigError("\n".join(lines))


def _anew(begun: RunConfig, epochs: int, out: str) -> str:
    """The command of the same run with other epochs; "" where its recipe is not known any more."""
    try:
        recipe = find_recipe(begun.recipe)
    except UnknownNameError:
        return ""
    words = ["saccade", begun.verb, shell_word(begun.source)]
    base = recipe.config(begun.source, begun.model)
    asked = {key: option for key, option in OPTIONS.items() if key != "model" or begun.verb == "train"}
    for key, option in asked.items():
        words += [option, shell_word(getattr(begun, key))]
    if begun.verb == "transfer":
        for key, option in OF_TRANSFER.items():
            words += [option, shell_word(getattr(begun.transfer, key))]
    if begun.split.folds:
        words += ["--folds", str(begun.split.folds)]
    for teacher in begun.distill.teachers:
        words += ["--teacher", shell_word(teacher)]
    taken = {
        *OPTIONS,
        "split.folds",
        "split.fold",
        "source",
        "epochs",
        "distill.teachers",
        *(f"transfer.{key}" for key in OF_TRANSFER),
    }
    found = {*get_args(FoundKey), "transfer.frozen"} - {"transfer.preprocessing"}  # a file may have said that one
    words += _settings(base, begun, taken | found)
    return " ".join([*words, "--epochs", str(epochs), "--out", out])


def _onwards(begun: RunConfig, run: Path, epochs: int) -> str:
    """The command of a fine-tuning from the run's weights, on the same images in the same parts."""
    words = ["saccade", "transfer", shell_word(begun.source), "--weights", shell_word(run), "--freeze", "none"]
    words += ["--epochs", str(epochs), "--seed", str(begun.seed), "--out", _beside(run, "more")]
    return " ".join(
        [*words, *_settings(RunConfig(), RunConfig(split=begun.split), set())]
    )  # else it saw what judges it


def _settings(base: RunConfig, begun: RunConfig, taken: set[str]) -> list[str]:
    """`--set KEY=VALUE` for what differs from `base`, but for the keys that are `taken`."""
    words = []
    differences = flat_differences(base.model_dump(mode="json"), begun.model_dump(mode="json"))
    for key, (_, value) in differences.items():
        if key not in taken and not key.startswith(tuple(f"{name}." for name in taken)) and value is not None:
            words += ["--set", shell_word(f"{key}={_toml(value)}")]
    return words


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        given = {key: item for key, item in value.items() if item is not None}  # what TOML has no word for
        return "{" + ", ".join(f"{json.dumps(key)} = {_toml(item)}" for key, item in given.items()) + "}"
    return json.dumps(value)


def _beside(run: Path, word: str) -> str:
    place = run if run.name else run.resolve()
    return shell_word(f"{place}-{word}")
