"""`--resume --epochs` with more than a run has: the commands that are told work as they are pasted."""

import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from saccade.train.run_directory import RunFolder

FAST = ["--model", "lenet5", "--epochs", "1", "--set", "batch_size=256", "--set", "loss.class_weights={3 = 2.5}"]
MORE = ["--set", "optimizer.name=adam", "--set", "split.test_fraction=0.3", "--seed", "4"]


@pytest.fixture(autouse=True)
def _in_a_folder_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)


def test_the_commands_that_are_told_work(saccade: Callable):
    assert saccade("train", "digits", "--out", "a run", *FAST, *MORE).status == 0
    refused = saccade("train", "--resume", "--out", "a run", "--epochs", "3")
    assert refused.status == 2
    first, anew, onwards = refused.errors.strip().splitlines()
    assert first == (
        "error: A resumed run goes on as it began: epochs was 1, now 3, and its learning rate was planned for 1."
    )
    before = RunFolder(path=Path("a run")).load_config()
    words = shlex.split(anew.removeprefix("Train anew for all 3: "))
    assert words[-2:] == ["--out", "a run-3-epochs"]
    assert saccade(*words[1:], "--quiet").status == 0
    assert RunFolder(path=Path("a run-3-epochs")).load_config() == before.model_copy(update={"epochs": 3})
    words = shlex.split(onwards.partition(": ")[2])
    assert words[:5] == ["saccade", "transfer", "digits", "--weights", "a run"]
    assert saccade(*words[1:], "--cache", "none", "--quiet").status == 0
    more = RunFolder(path=Path("a run-more")).load_config()
    assert (more.epochs, more.seed, more.split, more.transfer.backbone) == (2, 4, before.split, "lenet5")


def test_fewer_epochs_and_networks_without_a_name(saccade: Callable):
    model = "conv 2 f3 | gap | fc 10"
    assert saccade("train", "digits", "--out", "run", "--model", model, "--epochs", "2", "--quiet").status == 0
    fewer = saccade("train", "--resume", "--out", "run", "--epochs", "1")
    assert fewer.errors == (
        "error: A resumed run goes on as it began: epochs was 2, now 1.\n"
        "Leave that option out, or start a new run with another --out.\n"
    )
    more = saccade("train", "--resume", "--out", "run", "--epochs", "3").errors.splitlines()
    assert more[1:] == [
        "Train anew for all 3: saccade train digits --model 'conv 2 f3 | gap | fc 10' --recipe default --seed 0 "
        "--epochs 3 --out run-3-epochs"
    ]
