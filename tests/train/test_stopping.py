"""Ctrl-C and SIGTERM: saved and gone, nothing left running, and the run goes on."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.processes import PATIENCE_S, child

from saccade import api
from saccade.core.errors import Stopped
from saccade.evaluate import forward
from saccade.runs.checkpoint import open_checkpoint
from saccade.runs.log import read_events

SMALL = ["--model", "conv 4 f3 bn | gap | fc 10", "--set", "input.size_px=12", "--set", "batch_size=32"]


@contextmanager
def training(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A training that would go on for very long, in its own session, in the middle of its epochs."""
    command = [
        sys.executable,
        "-m",
        "saccade",
        "train",
        "digits",
        "--out",
        "run",
        "--plain",
        "--epochs",
        "100000",
        *SMALL,
    ]
    with child(command, folder) as process:
        assert process.stderr is not None
        while "epoch 2/" not in (line := process.stderr.readline()):
            assert line, "the training ended before its second epoch"
        yield process


def leftovers(session: int) -> bool:
    """Whether any process of the session is still there."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_and_ends_the_run(tmp_path: Path, number: signal.Signals, status: int):
    with training(tmp_path) as process:
        process.send_signal(number)
        output, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == status
    assert output == ""
    assert errors.endswith(
        "error: Stopped; everything is saved in run.\nGo on with: saccade train --resume --out run\n"
    )
    assert not leftovers(process.pid)
    assert open_checkpoint(tmp_path / "run" / "checkpoint-last", check_content=True).manifest.training["step"] > 40


def test_a_second_interrupt_ends_at_once(tmp_path: Path):
    with training(tmp_path) as process:
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert not leftovers(process.pid)


@pytest.mark.parametrize("place", ["validation", "verdict"])
def test_a_signal_in_the_middle_of_validation_or_verdict_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    """The run that was stopped there and resumed has the log and the weights of one that was not."""
    settings = ["input.size_px=12", "batch_size=32", "runtime.num_threads=1"]
    request = api.TrainRequest(source="digits", model=SMALL[1], epochs=3, out=tmp_path / "whole", settings=settings)
    api.train(request)
    real, calls = forward.forward, []

    def stopping(*arguments: Any) -> Any:
        calls.append(1)
        if len(calls) == (2 if place == "validation" else 3 * 5 + 2):
            os.kill(os.getpid(), signal.SIGTERM)
        return real(*arguments)

    monkeypatch.setattr(forward, "forward", stopping)
    run = tmp_path / "stopped"
    with pytest.raises(Stopped):
        api.train(replace(request, out=run))
    monkeypatch.setattr(forward, "forward", real)
    api.train(api.TrainRequest(out=run, resume=True))
    whole, resumed = (open_checkpoint(path / "checkpoint-last").manifest for path in (tmp_path / "whole", run))
    assert whole.files == resumed.files
    losses = [
        [event["validation_loss"] for event in read_events(path / "metrics.jsonl")] for path in (request.out, run)
    ]
    assert losses[0] == losses[1]
    assert (run / "evaluation.safetensors").read_bytes() == (request.out / "evaluation.safetensors").read_bytes()
