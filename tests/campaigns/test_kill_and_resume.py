"""A small run of the kill campaign: every setting, kills after steps and inside saves."""

import json
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parent.parent.parent


def test_killed_trainings_resume_to_the_same_bits():
    command = [sys.executable, "-m", "campaigns.kill_and_resume", "--trials", "18", "--seed", "1"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=500)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["kills"]["after a step"] >= 5
    assert result["kills"]["inside a save"] >= 3
