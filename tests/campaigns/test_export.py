"""The campaign over all networks counts those that answer otherwise."""

from pathlib import Path

import pytest
from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent
BROKEN = """
import sys
from campaigns import export
found = {"lenet5": 1e-6, "resnet18": float("nan")}
export.differences = lambda name: {"onnxruntime": 0.0, "OpenVINO": found[name]}
sys.argv = ["export", *found]
sys.exit(export.main())
"""


def test_a_network_that_answers_as_it_should_is_not_counted():
    pytest.importorskip("onnx", reason="the extra 'export' is not installed")
    pytest.importorskip("openvino", reason="the extra 'openvino' is not installed")
    done = run_python(["-m", "campaigns.export", "lenet5-1998"], REPOSITORY)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "1 networks, 0 wrong"), done.stderr


def test_a_network_that_answers_otherwise_is_counted_and_named():
    done = run_python(["-c", BROKEN], REPOSITORY)
    assert done.returncode == 1
    assert done.stdout.splitlines()[1] == "resnet18: onnxruntime 0.0e+00, OpenVINO nan   WRONG"
