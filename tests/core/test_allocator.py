"""Large tensors lie in large pages where the system has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from saccade.core.allocator import SWITCH, use_large_pages

STATE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
FAULTS = """
import resource, sys, torch
from saccade.core.allocator import use_large_pages
if sys.argv[1] == "ours":
    use_large_pages()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
torch.empty(2**24).fill_(1)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(
    not STATE.exists() or "[madvise]" not in STATE.read_text(encoding="ascii"),
    reason="needs a system that gives large pages where they are asked for",
)
def test_a_large_tensor_takes_fewer_pages():
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}

    def faults(how: str) -> int:
        command = [sys.executable, "-c", FAULTS, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
        return int(done.stdout)

    assert 2 * faults("ours") < faults("default")


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SWITCH, "0")
    use_large_pages()
    assert os.environ[SWITCH] == "0"
    monkeypatch.delenv(SWITCH)
    use_large_pages()
    assert os.environ[SWITCH] == "1"
