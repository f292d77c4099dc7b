"""A small run of the campaign that kills the building of a feature cache."""

import json
from pathlib import Path

from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent


def test_killed_builds_leave_only_features_that_are_right():
    done = run_python(["-m", "campaigns.kill_feature_cache", "--trials", "8", "--seed", "1"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["kills"] >= 6
    assert result["images kept"] > 0
