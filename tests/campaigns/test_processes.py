"""A small run of the campaign of processes: both are killed and one is halted, and the command starts them again."""

import json
import sys
from pathlib import Path

import pytest
from tests.processes import run_python

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.mark.skipif(sys.platform != "linux", reason="it finds processes and their connections in /proc")
def test_processes_that_are_killed_and_halted_give_the_run_of_one():
    script = (
        "import json, tempfile\n"
        "from pathlib import Path\n"
        "from campaigns.processes import run_campaign\n"
        "with tempfile.TemporaryDirectory() as folder:\n"
        "    print(json.dumps(run_campaign([['kill 0', 'kill 1', 'halt 1']], 3, Path(folder))))\n"
    )
    done = run_python(["-c", script], REPOSITORY)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert set(result["seconds until it went on"]) == {"kill 0", "kill 1", "halt 1"}
