"""A signal is heard after networks of OpenVINO have come and gone in any order, as in a notebook that exports and
trains."""

from pathlib import Path

import pytest
from tests.processes import run_python

for package in ("onnx", "onnxscript", "onnxruntime", "openvino"):
    pytest.importorskip(package, reason="the extra 'export' is not installed")

SIGNALLED = """
import gc, os, signal, sys
from pathlib import Path
from saccade.ship.engine import open_network

heard = []
signal.signal(signal.SIGTERM, lambda number, frame: heard.append(number))
first = open_network(Path(sys.argv[1]), 1)
second = open_network(Path(sys.argv[1]), 1)
del first
gc.collect()
del second
gc.collect()
os.kill(os.getpid(), signal.SIGTERM)
print(*heard)
"""


def test_a_signal_is_heard_after_two_networks_were_let_go_the_older_one_first(exported: Path, tmp_path: Path):
    done = run_python(["-c", SIGNALLED, exported], tmp_path)
    assert (done.returncode, done.stdout) == (0, "15\n"), done.stderr
