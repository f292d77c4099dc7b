"""Do deeper plain networks train worse, and do shortcuts cure it? (He et al. 2015, arXiv:1512.03385, section 4.2)

    python -m experiments.plain_vs_residual            about 5 minutes on 2 cores (n = 3 seeds)

Trains plain-20, ResNet-20, plain-56 and ResNet-56 by one recipe (`default`) on the embedded handwritten digits at
16x16 pixels, for each seed, and reports the training error in the last epoch. Before training it measures the
gradient: its norm at the first convolution over its norm at the last one (`gradient_by_depth` has those between).
"""

import argparse
import json
import tempfile
from datetime import date
from pathlib import Path

import numpy as np
import torch
from benchmarks.common import machine

from experiments.gradient_by_depth import NETWORKS, SIZE_PX, gradient_norms
from saccade import api


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3, help="runs of each network")
    parser.add_argument("--epochs", type=int, default=10, help="epochs a run")
    parser.add_argument("--networks", default=",".join(NETWORKS), help="names, separated by commas")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = {}
    for name in arguments.networks.split(","):
        curves, held_out, ratios = [], [], []
        for seed in range(arguments.seeds):
            curve, correct = train(name, arguments.epochs, seed)
            curves.append(curve)
            held_out.append(correct)
            ratios.append(gradient_ratio(name, seed))
        results[name] = {
            "training_error": [curve[-1] for curve in curves],
            "held_out_accuracy": held_out,
            "gradient_first_over_last": ratios,
            "training_error_by_epoch": curves,
        }
    if arguments.json:
        print(json.dumps({"epochs": arguments.epochs, "size_px": SIZE_PX} | where() | {"results": results}))
    else:
        print(table(results))


def train(name: str, epochs: int, seed: int) -> tuple[list[float], float]:
    """(error on the training images in each epoch, accuracy on the held-out images), all 0 to 1."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [f"input.size_px={SIZE_PX}", "split.seed=0"]
        request = api.TrainRequest(
            source="digits",
            model=name,
            recipe="default",  # the same for all; ResNets have a recipe of their own
            epochs=epochs,
            seed=seed,
            out=Path(folder) / "run",
            settings=settings,
        )
        result = api.train(request)
        lines = (result.run_dir / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    epoch_lines = [json.loads(line) for line in lines if "train_accuracy" in line]
    return [1 - line["train_accuracy"] for line in epoch_lines], result.judgement.metrics.top1


def where() -> dict[str, str]:
    """On what and when it was measured."""
    return {"device": machine()["processor"], "torch": torch.__version__.partition("+")[0], "date": str(date.today())}


def gradient_ratio(name: str, seed: int) -> float:
    """Norm of the loss's gradient at the first convolution over that at the last one, of a fresh network."""
    norms = gradient_norms(name, seed)
    return norms[0] / norms[-1]


def table(results: dict[str, dict[str, list[float]]]) -> str:
    """Mean and range over the seeds."""
    lines = [f"{'network':10} {'training error':>24} {'held-out accuracy':>24} {'gradient first/last':>24}"]
    for name, values in results.items():
        cells = [
            _spread(100 * np.array(values["training_error"]), " %"),
            _spread(100 * np.array(values["held_out_accuracy"]), " %"),
            _spread(np.array(values["gradient_first_over_last"]), ""),
        ]
        lines.append(f"{name:10} " + " ".join(f"{cell:>24}" for cell in cells))
    return "\n".join(lines)


def _spread(value_N: np.ndarray, unit: str) -> str:
    return f"{value_N.mean():.3g}{unit} ({value_N.min():.3g} to {value_N.max():.3g})"


if __name__ == "__main__":
    main()
