"""A small run of the campaign that damages every file of a run."""

import json
from pathlib import Path

from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent
RUNS = {"train", "transfer", "choosing", "ensemble"}
EACH = 2  # of each of about 50 files: 100 in all


def test_damaged_runs_give_a_sane_result_or_one_error_that_names_the_file():
    done = run_python(["-m", "campaigns.mutate_runs", "--mutations", EACH, "--seed", "1"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert {kind.split(" ")[0] for kind in result["outcomes"]} == RUNS
    assert len(result["outcomes"]) >= 45
    assert sum(counts.get("error", 0) for counts in result["outcomes"].values()) >= 25  # damage reaches the readers
    assert sum(counts.get("result", 0) for counts in result["outcomes"].values()) >= 10
