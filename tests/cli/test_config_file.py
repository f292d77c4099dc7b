"""`saccade config` and `--config`: a template is its recipe, a run's own file is that run, and slips name the file."""

import json
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.core.config import field_names
from saccade.runs.settings import write_settings
from saccade.train.config import RunConfig
from saccade.train.config_file import read_config_file, template
from saccade.train.recipes import all_recipes, find_recipe
from saccade.train.request import TrainRequest

RECIPES = sorted(all_recipes())


def uncommented(text: str) -> str:
    """The template with every setting that is a comment taken in."""
    lines = [line.removeprefix("# ") if " = " in line.split("  ")[0] else line for line in text.splitlines()]
    settings = [line for line in lines if not line.startswith("#")]
    return "\n".join(line for line in settings if not line or line[0] == "[" or line.split(" = ")[0].isidentifier())


@pytest.mark.parametrize("name", RECIPES)
def test_a_template_that_nobody_edited_is_its_recipe(tmp_path: Path, name: str):
    recipe = find_recipe(name)
    path = tmp_path / "own.toml"
    path.write_text(template(recipe))
    file = read_config_file(path)
    assert (file.source, file.recipe) == ("", name)
    taught = {"distill": {"teachers": ["RUN"]}} if name == "distill" else {}
    whole = recipe.config("digits", None, taught)
    assert recipe.config("digits", file.model or None, taught).with_overrides(file.settings) == whole


@pytest.mark.parametrize("name", ["lenet5", "transfer"])
def test_all_that_is_a_comment_is_the_default_and_every_setting_is_there(tmp_path: Path, name: str):
    recipe = find_recipe(name)
    path = tmp_path / "own.toml"
    path.write_text(uncommented(template(recipe)))
    file = read_config_file(path)
    assert recipe.config("digits", None).with_overrides(file.settings) == recipe.config("digits", None)
    said = {setting.partition("=")[0] for setting in file.settings}
    other = "distill." if name == "transfer" else "transfer."
    missing = {key for key in set(field_names(RunConfig)) - said if not key.startswith(other)}
    assert missing == {
        "source", "model", "recipe", "split.folds", "split.fold",
        "loader.batch_size", "loader.lanes", "loader.first_lane", "loader.last_lane",
        "augment.pca_colour.eigenvalues", "augment.pca_colour.eigenvectors",
        *(("distill.teachers", "distill.teacher_digest") if name != "transfer" else ()),
        *(f"transfer.{key}" for key in ("backbone", "weights", "weights_sha256", "frozen") if name == "transfer"),
        *(key for key in field_names(RunConfig) if key.startswith("transfer.preprocessing") and name == "transfer"),
    }  # fmt: skip


def test_the_command_prints_the_template(saccade: Callable):
    done = saccade("config", "lenet5")
    assert done.status == 0
    assert done.output == template(find_recipe("lenet5"))
    assert tomllib.loads(done.output)["recipe"] == "lenet5"
    assert json.loads(saccade("config", "lenet5", "--json").output) == {"recipe": "lenet5", "text": done.output}
    assert saccade("config", "lenet").errors.startswith("error: Unknown recipe 'lenet'. Did you mean 'lenet5'?")


def test_the_file_of_a_run_gives_the_same_run(tmp_path: Path):
    """Its recipe decays weights; the run does not, which is the default, and so is not in its file."""
    asked = TrainRequest(
        source="digits", recipe="lenet5", seed=3, settings=["optimizer.weight_decay=0", "loss.class_weights={a = 5}"]
    ).config()
    write_settings(tmp_path / "config.toml", asked, asked)
    file = read_config_file(tmp_path / "config.toml")
    again = TrainRequest(source=file.source, model=file.model, recipe=file.recipe, settings=file.settings).config()
    assert again == asked


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epochs = 'many'\n", "own.toml: 'epochs' must be a whole number, not 'many'."),
        (
            "epochs = 2026-01-02\n",
            "own.toml: 'epochs' must be a whole number, not datetime.date(2026, 1, 2).",
        ),
        (
            "epochs = [12:30:00]\n",
            "own.toml: 'epochs' must be a whole number, not [datetime.time(12, 30)].",
        ),
        ("[optimizer]\nlearning_rat = 1\n", "own.toml: Unknown key 'optimizer.learning_rat'. Did you mean "
         "'optimizer.learning_rate'?"),
        ("recipe = 3\n", "own.toml: 'recipe' must be text, not 3."),
        ("epochs = \n", "own.toml cannot be used: it is not TOML (Invalid value (at line 1, column 10))."),
        ("[split]\nfolds = 5\n", "'split.folds' cannot be given by own.toml: folds are asked for with --folds."),
        (
            "source = 'hub:somebody/photos'\n",
            "The configuration file names the images 'hub:somebody/photos', which are not on this machine.\n"
            "A file from somebody else may name any place. If you want that one, type it: SOURCE",
        ),
        ("transfer = 3\n", "own.toml: 'transfer' must be a table, not 3."),
        (
            "[transfer]\nbackbone = 'resnet18'\n",
            "own.toml names a backbone or its weights, and 'saccade train' begins without.\nGive it to saccade "
            "transfer.",
        ),
    ],
)  # fmt: skip
def test_a_slip_in_the_file_is_told_with_its_name(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
):
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text(text)
    source = [] if "source" in text else ["digits"]
    done = saccade("train", *source, "--config", "own.toml", "--quiet")
    assert (done.status, done.errors) == (2, f"error: {message}\n")


def test_what_is_set_beside_the_file_goes_before_it(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("own.toml").write_text("recipe = 'lenet5'\nepochs = 7\nseed = 5\n[optimizer]\nname = 'adam'\n")
    done = saccade("train", "digits", "--config", "own.toml", "--set", "epochs=x", "--quiet")
    assert done.errors == "error: --set: 'epochs' must be a whole number, not 'x'.\n"
    done = saccade("train", "digits", "--config", "gone.toml", "--quiet")
    assert (done.status, done.errors) == (
        2,
        "error: There is no configuration file gone.toml.\nBegin one: saccade config default > gone.toml\n",
    )
    Path("own.toml").write_text("[transfer]\nbackbone = 'resnet18'\nweights = 'hub:somebody/weights'\n")
    done = saccade("transfer", "digits", "--config", "own.toml", "--quiet")
    assert done.errors.startswith("error: The configuration file names the weights 'hub:somebody/weights', which are")
    Path("own.toml").write_text("model = 'lenet5'\n")
    done = saccade("transfer", "digits", "--config", "own.toml", "--quiet")
    assert (done.status, done.errors) == (
        2,
        "error: own.toml names the model 'lenet5', and a transfer takes the network of its weights.\n"
        "Take that line out, or give the file to saccade train.\n",
    )
