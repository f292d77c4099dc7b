"""Training beside another busy process: what the waiting threads of OpenMP cost, and what another spin would give back.

    python -m benchmarks.busy_machine --pairs 5

Between two parallel regions OpenMP's threads spin, 300,000 rounds in libgomp, so that the next region starts at once.
On a machine that others use too, the spinning thread holds the processor that the working one waits for. Each setting
trains LeNet-5 on the digits by `saccade train`, in turns, once on the quiet machine and once beside one process that
computes without pause; the rate is that of the steps alone. Saccade sets none of them (docs/decisions.md says why).
"""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from benchmarks import common

SPIN_SETTING = "GOMP_SPINCOUNT"
USUAL_ROUNDS = "300000"  # libgomp's own where there are no more threads than processors
SETTINGS: dict[str, dict[str, str]] = {
    "libgomp's own spin": {SPIN_SETTING: USUAL_ROUNDS},
    "no spin": {SPIN_SETTING: "0"},
    "1,000 rounds": {SPIN_SETTING: "1000"},
    "10,000 rounds": {SPIN_SETTING: "10000"},
    "30,000 rounds": {SPIN_SETTING: "30000"},
    "passive": {"OMP_WAIT_POLICY": "passive"},
}


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--epochs", type=int, default=12)
    arguments = parser.parse_args()
    header = common.start(arguments)
    pairs, epochs = (1, 1) if arguments.smoke else (arguments.pairs, arguments.epochs)
    quiet = common.interleave({name: lambda s=s: rate(s, epochs) for name, s in SETTINGS.items()}, pairs)
    with busy_process():
        busy = common.interleave({name: lambda s=s: rate(s, epochs) for name, s in SETTINGS.items()}, pairs)
    usual = next(iter(SETTINGS))
    lines = []
    for name in SETTINGS:
        beside = [common.paired_ratio(rates[name], rates[usual]) for rates in (quiet, busy)]
        lines.append(
            f"{name:>26}: quiet {np.median(quiet[name]):6,.0f} images/s ({beside[0]}), "
            f"busy {np.median(busy[name]):6,.0f} images/s ({beside[1]})"
        )
    common.report(arguments, {"header": header, "quiet": quiet, "busy": busy}, "\n".join(lines))


def rate(setting: dict[str, str], epochs: int) -> float:
    """Images a second of the training steps of `saccade train digits`."""
    own = {name: value for name, value in os.environ.items() if name not in (SPIN_SETTING, "OMP_WAIT_POLICY")}
    with tempfile.TemporaryDirectory() as folder:
        words = ["train", "digits", "--epochs", str(epochs), "--json", "--quiet", "--out", f"{folder}/run"]
        done = subprocess.run(
            [sys.executable, "-m", "saccade", *words], env=own | setting, capture_output=True, check=True, text=True
        )
    found: float = json.loads(done.stdout)["images_per_second"]
    return found


@contextmanager
def busy_process() -> Iterator[None]:
    """One other process that computes without pause."""
    process = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield
    finally:
        process.kill()
        process.wait()


if __name__ == "__main__":
    main()
