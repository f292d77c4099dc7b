"""One of the processes of `test_together.py`: adapts LeNet-5 to `photos` in the run `run`, or goes on there."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from saccade import api
from saccade.core.errors import SaccadeError
from saccade.core.ranks import is_launched, joined_group
from saccade.transfer import evidence, features

evidence.MIN_PASSES, evidence.HEAD_EPOCHS = 120, 3  # fits as short as they can be
features.RECORDS_PER_FILE = 16  # images that pass in a process at a time, and are kept in a file

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=16", "scale.lanes=4", "runtime.precision=float32"]
SETTINGS += ["split.test_fraction=0.2", "scale.timeout_s=10", "stop.save_every_s=1e-9"]


def main(freeze: str) -> None:
    is_begun = Path("run/config.toml").exists()
    asked = api.TransferRequest(
        source="photos",
        backbone="" if is_begun else "lenet5",
        weights="model.safetensors",
        preprocessing=None if is_begun else "pixels.json",
        freeze="" if is_begun else freeze,
        epochs=None if is_begun else 2,
        out="run",
        resume=is_begun,
        cache="cache",
        settings=[] if is_begun else SETTINGS,
    )
    result = api.transfer(asked)
    start = result.start
    told = {"frozen": start.frozen, "why": start.sentence, "metrics": repr(result.run.judgement.metrics)}
    print(json.dumps(told | {"counts": [start.num_computed, start.num_found]}))


if __name__ == "__main__":
    with joined_group(60) if is_launched() else nullcontext():
        try:
            main(sys.argv[1])
        except SaccadeError as error:
            sys.exit(f"{type(error).__name__}: {error.message}")
