"""What do 1x1 bottlenecks save in measured time? (Szegedy et al. 2014, arXiv:1409.4842, Figure 2 a against b)

    python -m experiments.inception_time               under a minute on 2 cores

Times forward and backward on the same 28x28x192 maps, in turns: the whole naive Inception block against row 3a with
bottlenecks, and its 5x5 branch alone without and with one. The ratio of the times stands beside that of the
multiply-adds.
"""

import argparse
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from saccade.design.desk import TableRequest, draw_comparison
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model

BATCH_SIZE = 16
REQUEST = TableRequest(input_CHW=(192, 28, 28), num_classes=10)
CASES = (
    ("whole block", "inception-naive", "inception-block"),
    ("5x5 branch", "conv 32 f5 same | gap | softmax", "conv 16 f1 | conv 32 f5 same | gap | softmax"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=15, help="runs of each block, in turns")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    results = [measure(what, naive, block, arguments.pairs) for what, naive, block in CASES]
    if arguments.json:
        print(json.dumps({"results": results}))
        return
    print(
        f"{'':14} {'multiply-adds':>28} {'ratio':>6}   time ratio (5th to 95th percentile of {arguments.pairs} pairs)"
    )
    for row in results:
        costs = f"{row['naive_multiply_adds']:,} : {row['bottleneck_multiply_adds']:,}"
        print(
            f"{row['what']:14} {costs:>28} {row['multiply_adds_ratio']:6.2f}   {row['time_ratio_median']:.2f} "
            f"({row['time_ratio_low']:.2f} to {row['time_ratio_high']:.2f})"
        )


def measure(what: str, naive_name: str, block_name: str, pairs: int) -> dict[str, Any]:
    """Time without bottleneck over time with it, and the same of the multiply-adds."""
    naive, block = step(naive_name), step(block_name)
    naive(), block()  # the first run sets up memory and kernels
    ratio_N = np.array([naive() / block() for _ in range(pairs)])
    costs = [table.totals.multiply_adds for table in draw_comparison([naive_name, block_name], REQUEST).tables]
    return {
        "what": what,
        "naive_multiply_adds": costs[0],
        "bottleneck_multiply_adds": costs[1],
        "multiply_adds_ratio": costs[0] / costs[1],
        "time_ratio_median": float(np.median(ratio_N)),
        "time_ratio_low": float(np.percentile(ratio_N, 5)),
        "time_ratio_high": float(np.percentile(ratio_N, 95)),
        "pairs": pairs,
        "batch_size": BATCH_SIZE,
    }


def step(name: str) -> Callable[[], float]:
    """A function that runs forward and backward once and returns the seconds."""
    torch.manual_seed(0)
    network = resolve_model(name, ModelSpec(num_classes=10, input_CHW=(192, 28, 28)))
    network = network.to(memory_format=torch.channels_last)
    image_BCHW = torch.rand(BATCH_SIZE, 192, 28, 28).to(memory_format=torch.channels_last)

    def run() -> float:
        started_s = time.perf_counter()
        network(image_BCHW).square().sum().backward()
        return time.perf_counter() - started_s

    return run


if __name__ == "__main__":
    main()
