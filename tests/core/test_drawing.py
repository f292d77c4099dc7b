"""The drawing engine is not started where it would end the process."""

import resource
import subprocess
import sys

import pytest
from tests.processes import PATIENCE_S

from saccade.core import drawing
from saccade.core.errors import SaccadeError


def test_with_few_addresses_pictures_are_refused_in_words(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8 * 2**30, resource.RLIM_INFINITY))
    with pytest.raises(SaccadeError) as caught:
        drawing.drawing_engine()
    assert caught.value.message == (
        "Pictures cannot be drawn here: this process may use 8 GiB of addresses (ulimit -v), and the drawing engine "
        "reserves 72.\n"
        "Draw where that is not limited; numbers, weights and tables are not concerned."
    )


@pytest.mark.skipif(sys.platform != "linux", reason="limits of addresses are Linux's")
def test_a_run_under_a_limit_of_addresses_ends_with_its_verdict(tmp_path):
    settings = "--set runtime.num_threads=1 --set loader.threads=1 --set batch_size=256"
    command = f"ulimit -v {16 * 2**20}; exec {sys.executable} -m saccade train digits --epochs 1 --out run {settings}"
    ended = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert ended.returncode == 0, ended.stderr
    assert " held-out images correct" in ended.stdout
    assert "note: the report could not be written: Pictures cannot be drawn here: " in ended.stderr
    assert (tmp_path / "run" / "evaluation.json").exists()
