"""One of the processes of `test_side_by_side.py`: trains an ensemble, or folds, of `photos`, or goes on there."""

import json
import sys
from contextlib import nullcontext
from pathlib import Path

from saccade import api
from saccade.cli.launch import _stopped_by_signals
from saccade.core.errors import SaccadeError
from saccade.core.ranks import is_launched, joined_group

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=16", "input.size_px=12", "stop.save_every_s=1e-9"]
SMALL = "conv 4 f3 bn | dropout 0.2 | gap | fc 3"


def main(kind: str) -> None:
    is_begun = any(Path("run").glob("**/*.toml"))
    asked = api.TrainRequest(
        source="photos",
        model="" if is_begun else SMALL,
        epochs=None if is_begun else 2,
        ensemble=3 if kind == "ensemble" and not is_begun else 0,
        folds=3 if kind == "folds" and not is_begun else 0,
        out="run",
        resume=is_begun,
        settings=[] if is_begun else SETTINGS,
    )
    if kind == "ensemble":
        print(json.dumps({"metrics": repr(api.train_ensemble(asked).evaluation.metrics)}))
    else:
        print(json.dumps({"metrics": repr(api.train(asked).judgement.metrics)}))


if __name__ == "__main__":
    with joined_group(60) if is_launched() else nullcontext(), _stopped_by_signals():
        try:
            main(sys.argv[1])
        except SaccadeError as error:
            print(f"{type(error).__name__}: {error.message}", file=sys.stderr)
            sys.exit(error.exit_code)
