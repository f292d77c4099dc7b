"""What must not be imported on the way to the first step: torch's compiler costs one to two and a half seconds."""

import subprocess
import sys
from pathlib import Path

from tests.processes import PATIENCE_S

WATCH = """
import sys
from saccade.cli import console
real = console.RunConsole.step
def step(self, *arguments):
    heavy = [name for name in ("torch._dynamo", "sympy", "sklearn", "scipy", "altair", "pandas") if name in sys.modules]
    assert not heavy, heavy
    return real(self, *arguments)
console.RunConsole.step = step
sys.argv = ["saccade", "train", "digits", "--epochs", "1", "--out", "run", "--quiet"]
from saccade.cli.main import main
main()
assert "torch._dynamo" not in sys.modules
"""


def test_training_starts_without_torchs_compiler_or_scientific_packages(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, "-c", WATCH], cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S
    )
    assert done.returncode == 0, done.stderr
