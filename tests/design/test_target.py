"""What a person may write where a network is expected."""

import pytest

from saccade.core.errors import CheckpointError, ModelError, NotationError, UnknownNameError, UsageError
from saccade.design.target import parse_input, resolve_target

FILE = """
import torch
from torch import nn

def small(num_classes=3):
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LazyLinear(2)) if num_classes == 0 else nn.Sequential(
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, num_classes))

def valued():
    width = int(torch.linspace(4, 8, 2)[1].item())
    return nn.Conv2d(3, width, 3)

def broken():
    raise ValueError("no such width")

def number():
    return 7
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(FILE, encoding="utf-8")
    return path


def test_inputs_are_height_width_channels():
    assert parse_input("28x32x1") == (1, 28, 32)
    assert parse_input("224X224") == parse_input("224") == (3, 224, 224)


@pytest.mark.parametrize("text", ["", "0", "224x", "0x4x3", "4x4x3x2", "axb", "-1x4x3"])
def test_other_inputs_are_refused(text: str):
    with pytest.raises(UsageError) as error:
        parse_input(text)
    assert str(error.value) == (
        f"An input is written HEIGHTxWIDTHxCHANNELS, such as 224x224x3 or 28x28x1, or 224 for 224x224x3, got '{text}'."
    )


def test_names_take_their_own_input_and_classes():
    target = resolve_target("lenet5")
    assert (target.name, target.input_CHW) == ("lenet5", (1, 32, 32))
    assert resolve_target("resnet18", num_classes=7).model.head.out_features == 7


def test_a_function_in_a_file_builds_a_network(file):
    target = resolve_target(f"{file}:small", (3, 8, 8), num_classes=5)
    assert target.model[2].out_features == 5
    assert resolve_target(f"{file}:valued").model.out_channels == 8


def test_mistakes_in_a_file_are_told(file, tmp_path):
    cases = [
        (f"{tmp_path}/none.py:f", f"There is no file '{tmp_path}/none.py'.\nA network in a file is written "
         "module.py:function."),
        (str(file), f"Say which function of {file} builds the network: {file}:function."),
        (f"{file}:smal", f"{file} has no function 'smal'. Did you mean 'small'?"),
        (f"{file}:broken", f"{file}:broken cannot be built: ValueError: no such width."),
        (f"{file}:number", f"{file}:number returned int; a network is a torch.nn.Module."),
    ]  # fmt: skip
    for text, message in cases:
        with pytest.raises((UsageError, ModelError)) as error:
            resolve_target(text)
        assert str(error.value) == message
    with pytest.raises(UsageError) as error:
        resolve_target(f"{file}:valued", num_classes=4)
    assert str(error.value) == f"valued in {file} takes no num_classes, so --classes cannot change it."


def test_a_file_that_cannot_be_run_names_the_line(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("x = 1\nimport nowhere_to_be_found\n", encoding="utf-8")
    with pytest.raises(ModelError) as error:
        resolve_target(f"{path}:f")
    assert str(error.value) == (
        f"{path} cannot be run: ModuleNotFoundError: No module named 'nowhere_to_be_found' (line 2)."
    )
    path.write_text("x = = 1\n", encoding="utf-8")
    with pytest.raises(ModelError) as error:
        resolve_target(f"{path}:f")
    assert str(error.value) == f"{path} cannot be run: SyntaxError: invalid syntax (wrong.py, line 1) (line 1)."


def test_unknown_names_folders_and_lines_say_what_to_do(tmp_path):
    with pytest.raises(UnknownNameError, match=r"^Unknown model 'resnet19'\. Did you mean 'resnet1"):
        resolve_target("resnet19")
    with pytest.raises(CheckpointError) as error:
        resolve_target(str(tmp_path))
    assert str(error.value) == (
        f"The run {tmp_path} holds no checkpoint.\nGive the folder that 'saccade train' printed, such as "
        "runs/digits-lenet5-1."
    )
    with pytest.raises(NotationError, match="floor"):
        resolve_target("conv 8 f5 | pool | pool", (3, 6, 6))
