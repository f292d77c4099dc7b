"""What the command line sets in its own process, and what it leaves to its user."""

import os
import subprocess
import sys

import pytest
from tests.processes import PATIENCE_S

SCRIPT = """
import os, sys
from saccade.core.own_process import own_process
own_process()
assert "torch" not in sys.modules
print(os.environ.get("GOMP_SPINCOUNT", "not set"))
"""


@pytest.mark.parametrize(
    ("set_by_user", "found"),
    [({}, "10000"), ({"GOMP_SPINCOUNT": "7"}, "7"), ({"OMP_WAIT_POLICY": "active"}, "not set")],
)
def test_waiting_threads_spin_shortly_unless_the_user_says_otherwise(set_by_user: dict[str, str], found: str):
    own = {name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")}
    environment = {**own, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **set_by_user}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert done.stdout.strip() == found
