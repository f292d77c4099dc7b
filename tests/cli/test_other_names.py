"""Options under the names of other tools: each is answered by what it is here."""

import re
from collections.abc import Callable

import pytest
import typer

from saccade.cli.main import app
from saccade.cli.other_names import ALIKE, OPTIONS, SETTINGS
from saccade.core.config import field_names
from saccade.train.config import RunConfig


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train photos --lr 0.1", "--lr here. It is --set optimizer.learning_rate=0.1."),
        ("train photos --lr=0.1", "--lr here. It is --set optimizer.learning_rate=0.1."),
        ("train photos --lr", "--lr here. It is --set optimizer.learning_rate=VALUE."),
        ("train photos --device 0", "--device here. It is --set runtime.device=VALUE."),
        ("train photos --val-split 20", "--val-split here. It is --set split.validation_fraction=VALUE."),
        ("train photos --optimizer Adam", "--optimizer here. It is --set optimizer.name=VALUE."),
        ("train photos --device --plain", "--device here. It is --set runtime.device=VALUE."),
        ("transfer photos --Batch_Size 8", "--Batch_Size here. It is --set batch_size=8."),
        ("train photos --arch resnet18", "--arch here. It is --model."),
        ("transfer photos --arch resnet18", "--arch here. It is --backbone."),
        ("predict run photo.jpg --topk 3", "--topk here. It is --top."),
        (
            "train photos --pretrained",
            "--pretrained here. It is another command: 'saccade transfer SOURCE' begins with pretrained weights.",
        ),
    ],
)
def test_an_option_of_another_tool_is_answered_by_what_it_is_here(line: str, told: str, saccade: Callable):
    finished = saccade(*line.split())
    verb = line.partition(" ")[0]
    assert (finished.status, finished.output) == (2, "")
    assert finished.errors == f"error: There is no {told}\nHelp: saccade {verb} --help\n"


def test_a_command_without_the_thing_says_nothing_of_it(saccade: Callable):
    assert saccade("models", "--batch-size", "3").errors.startswith("error: No such option: --batch-size")


def test_every_name_that_is_told_exists():
    commands = typer.main.get_command(app).commands.values()
    known = {name for command in commands for parameter in command.params for name in parameter.opts}
    assert {name for names in OPTIONS.values() for name in names} <= known
    assert set(SETTINGS.values()) <= set(field_names(RunConfig))


TRIED = "0 1 2 16 32 20 512 0.1 .5 0.5 1e-3 1.0 -1 adam Adam sgd muon lion cpu cuda cuda:0 gpu mps auto fp16 bfloat16"


def test_no_value_is_repeated_that_the_setting_refuses():
    assert set(ALIKE) == set(SETTINGS.values())
    for setting, form in ALIKE.items():
        values = [value for value in TRIED.split() if re.fullmatch(form, value)]
        assert values
        for value in values:
            RunConfig().with_overrides([f"{setting}={value}"])
