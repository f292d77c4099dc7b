"""The examples run as they stand, and print what they promise."""

import re
from pathlib import Path

import pytest
from tests.processes import run_python

EXAMPLES = Path(__file__).parent.parent / "examples"
PROMISED = {
    "alexnet_on_two_processes": r"^process 0: 30,483,112 of 60,965,224 parameters; logits within \de-\d+ of one",
    "first_photos": r"^[\d.]+ % of \d+ held-out images correct\n.*\nnew\.png is a '0' \([\d.]+ %\)\n$",
    "trusting_a_model": r"^judged on the 359 images of digits that training did not see\n(.*\n)*report: report\.html$",
    "design_desk": r"^resnet18: 11,689,512 parameters, 1,814,073,344 multiply-adds\n",  # torchvision counts as many
}


def test_every_example_is_tested_and_listed():
    names = {path.stem for path in EXAMPLES.glob("*.py")}
    assert names == set(PROMISED)
    listed = set(re.findall(r"\]\((\w+)\.py\)", (EXAMPLES / "README.md").read_text(encoding="utf-8")))
    assert listed == names


@pytest.mark.parametrize("name", sorted(PROMISED))
def test_an_example_runs_as_it_stands(name: str, tmp_path: Path):
    done = run_python([EXAMPLES / f"{name}.py"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert re.search(PROMISED[name], done.stdout), done.stdout
    assert not any(tmp_path.iterdir())  # it leaves nothing behind
