"""The benchmark of transfer runs, and its contestants pass the same images."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent


def test_a_tiny_run_gives_every_figure(shared: Callable[[str], Path]):
    shared("data/clothing-small")
    shared("weights/squeezenet1_1")
    done = run_python(["-m", "benchmarks.transfer_time", "--smoke", "--json"], REPOSITORY)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert set(result["pass_s"]) == {"usual", "ours"}
    assert result["images"] == 16
    assert result["accuracy_fitted"] > 0.9  # of the very images it was fitted to
    assert min(result["times_usual_kept"]["median"], result["times_usual_first"]["median"]) > 0
    assert result["epochs_per_s"] > 0
    assert not result["header"]["quotable"]
