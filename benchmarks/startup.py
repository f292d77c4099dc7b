"""Start-up: seconds from the command `saccade train digits` to the end of its first step.

    python -m benchmarks.startup --pairs 10

The goal is less than 3 s. `import torch`, alone in a process, is measured in turns beside it: it is the part that no
program built on torch can avoid.
"""

import subprocess
import sys
import tempfile
import time

import numpy as np

from benchmarks import common

FIRST_STEP = """
import os, sys
from saccade.cli import console
def step(self, *arguments):
    print("first step", flush=True)
    os._exit(0)
console.RunConsole.step = step
sys.argv = ["saccade", "train", "digits", "--out", sys.argv[1]]
from saccade.cli.main import main
main()
"""


def main() -> None:
    """Run the benchmark."""
    arguments = common.argument_parser(__doc__ or "").parse_args()
    header = common.start(arguments)
    contestants = {"first step": lambda: seconds(FIRST_STEP), "import torch": lambda: seconds("import torch")}
    results = common.interleave(contestants, 1 if arguments.smoke else arguments.pairs)
    lines = [
        f"{name}: median {np.median(values):.2f} s (n = {len(values)}, {values.min():.2f} to {values.max():.2f})"
        for name, values in results.items()
    ]
    common.report(arguments, {"header": header, "seconds": results}, "\n".join(lines))


def seconds(program: str) -> float:
    """From starting Python to the end of `program`."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", program, f"{folder}/run"], check=True, capture_output=True)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
