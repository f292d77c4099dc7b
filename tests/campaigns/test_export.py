"""The campaign over all networks counts those that answer otherwise."""

import pytest

from campaigns import export


def test_a_network_that_answers_as_it_should_is_not_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    monkeypatch.setattr("sys.argv", ["export", "lenet5-1998"])
    assert export.main() == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 networks, 0 wrong"


def test_a_network_that_answers_otherwise_is_counted_and_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("sys.argv", ["export", "lenet5", "resnet18"])
    found = {"lenet5": 1e-6, "resnet18": float("nan")}
    monkeypatch.setattr(export, "differences", lambda name: {"onnxruntime": 0.0, "OpenVINO": found[name]})
    assert export.main() == 1
    assert capsys.readouterr().out.splitlines()[1] == "resnet18: onnxruntime 0.0e+00, OpenVINO nan   WRONG"
