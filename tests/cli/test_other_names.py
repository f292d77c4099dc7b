"""Options under the names of other tools: each is answered by what it is here."""

from collections.abc import Callable

import pytest
import typer

from saccade.cli.main import app
from saccade.cli.other_names import OPTIONS, SETTINGS
from saccade.core.config import field_names
from saccade.train.config import RunConfig


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("train photos --lr 0.1", "--lr here. It is --set optimizer.learning_rate=0.1."),
        ("train photos --lr=0.1", "--lr here. It is --set optimizer.learning_rate=0.1."),
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
