"""One of the processes of `test_shared_out.py`: judges some images with the others, and prints what came of it."""

import hashlib
import json
import os
import sys
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from saccade.core.errors import SaccadeError, Stopped
from saccade.core.ranks import is_launched, joined_group
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import AugmentConfig
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import open_source
from saccade.evaluate.forward import Outputs, collect_outputs
from saccade.evaluate.metrics import compute_metrics
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

PREPROCESSING = Preprocessing(
    channels="grey", resize_px=None, input_height_px=16, input_width_px=16, mean=(0.3,), std=(0.3,)
)


def judged(model: torch.nn.Module, number: int, check: Any) -> Outputs:
    source = open_source("digits")
    runtime = start(RuntimeConfig(device="cpu", num_threads=1))
    index_N = np.arange(number) * 3
    config = LoaderConfig(batch_size=8, threads=1)
    with build_loader(source, index_N, PREPROCESSING, AugmentConfig(), config, 5) as loader:
        return collect_outputs(model, loader, PREPROCESSING, runtime, torch.float32, check)


def main() -> None:
    torch.manual_seed(0)
    line = "conv 8 f3 same bn | pool | dropout 0.5 | conv 16 f3 same bn | gap | fc 10"
    model = resolve_model(line, ModelSpec(num_classes=10, input_CHW=(1, 16, 16)))
    passed: list[int] = []
    model.register_forward_hook(lambda module, inputs, output: passed.append(len(inputs[0])))
    found: dict[str, Any] = {}
    for number in (1, 2, 7, 101):
        passed.clear()
        outputs = judged(model, number, lambda: None)
        arrays = (outputs.logits_NK, outputs.label_N, outputs.index_N)
        metrics = compute_metrics(outputs.logits_NK, outputs.label_N, open_source("digits").classes)
        found[str(number)] = {
            "bits": [hashlib.sha256(array.tobytes()).hexdigest() for array in arrays],
            "kinds": [[str(array.dtype), array.shape] for array in arrays],
            "index": outputs.index_N.tolist(),
            "metrics": repr(metrics),
            "own": sum(passed),
        }
    if is_launched():
        found["stopped"] = stopped(model)
    print(json.dumps(found))


def stopped(model: torch.nn.Module) -> list[object]:
    """The last process is stopped in front of its second batch."""
    calls: list[int] = []

    def check() -> None:
        calls.append(1)
        if os.environ["RANK"] == sys.argv[1] and len(calls) > 2:
            error = Stopped("")
            error.exit_code = 143
            raise error

    try:
        judged(model, 101, check)
    except SaccadeError as error:
        return [type(error).__name__, error.exit_code, error.message]
    return []


if __name__ == "__main__":
    with joined_group(60) if is_launched() else nullcontext():
        main()
