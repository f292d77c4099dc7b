"""Large tensors lie in large pages where the system has them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

from saccade.core.allocator import SWITCH, use_large_pages

STATE = Path("/sys/kernel/mm/transparent_hugepage/enabled")
ASKED_FOR = """
import re, sys, torch
from saccade.core.allocator import use_large_pages
if sys.argv[1] == "ours":
    use_large_pages()
tensor = torch.empty(2**24)  # 64 MiB
middle = tensor.data_ptr() + 2**25
for line in open("/proc/self/smaps"):
    if bounds := re.match("([0-9a-f]+)-([0-9a-f]+) ", line):
        is_ours = int(bounds[1], 16) <= middle < int(bounds[2], 16)
    elif line.startswith("VmFlags:") and is_ours:
        print("hg" in line.split())
"""


@pytest.mark.skipif(
    not STATE.exists() or "[madvise]" not in STATE.read_text(encoding="ascii"),
    reason="needs a system that gives large pages where they are asked for",
)
def test_large_pages_are_asked_for_a_large_tensor():
    """Whether the system has any left, which is another matter on a busy machine, it says by the flag of the region."""
    environment = {name: value for name, value in os.environ.items() if name != SWITCH}

    def answer(how: str) -> str:
        command = [sys.executable, "-c", ASKED_FOR, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE_S, env=environment)
        return done.stdout

    assert (answer("ours"), answer("default")) == ("True\n", "False\n")


def test_what_a_person_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(SWITCH, "0")
    use_large_pages()
    assert os.environ[SWITCH] == "0"
    monkeypatch.delenv(SWITCH)
    use_large_pages()
    assert os.environ[SWITCH] == "1"
