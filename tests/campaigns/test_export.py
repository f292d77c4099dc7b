"""The campaign over all networks counts those that answer otherwise."""

import importlib
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def run_campaign(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, list[str]]]:
    """`run_campaign("lenet5", differences=...)`: its status and its lines; without `differences` the measured ones."""
    monkeypatch.syspath_prepend(REPOSITORY)
    export = importlib.import_module("campaigns.export")

    def run(*names: str, differences: Callable[[str], dict[str, float]] = export.differences) -> tuple[int, list[str]]:
        monkeypatch.setattr(export, "differences", differences)
        monkeypatch.setattr(sys, "argv", ["export", *names])
        return export.main(), capsys.readouterr().out.splitlines()

    return run


def test_a_network_that_answers_as_it_should_is_not_counted(run_campaign: Callable):
    pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    status, lines = run_campaign("lenet5-1998")
    assert (status, lines[-1]) == (0, "1 networks, 0 wrong")


def test_a_network_that_answers_otherwise_is_counted_and_named(run_campaign: Callable):
    found = {"lenet5": 1e-6, "resnet18": float("nan")}
    status, lines = run_campaign(*found, differences=lambda name: {"onnxruntime": 0.0, "OpenVINO": found[name]})
    assert status == 1
    assert lines[1] == "resnet18: onnxruntime 0.0e+00, OpenVINO nan   WRONG"
