"""What lanes and several processes cost and bring: images a second of the training step, against one process.

    python -m benchmarks.lanes --pairs 7 [--processes 2]

Contestants, in turns, for each network: one process with all threads and one lane, as `saccade train` has it; one with
eight lanes; as many processes as are asked for, which share the threads out, with a lane each, in the fastest order and
in the one that keeps bits; and these with eight lanes. All take the same images a step, which lie in memory. The first
two steps are not counted.
"""

import argparse
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from benchmarks import common
from saccade.core.ranks import is_launched, joined_group
from saccade.core.runtime import RuntimeConfig
from saccade.core.runtime import start as start_runtime
from saccade.core.types import Batch, Preprocessing
from saccade.data.loading.loader import lane_share
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

MANY_LANES = 8
NUM_CLASSES = 10


@dataclass(frozen=True)
class Setting:
    """A network with the images of a step, and how many steps are measured at a time."""

    network: str
    size_px: int
    batch_size: int
    num_steps: int


SETTINGS = (
    Setting("squeezenet1.1", 224, 32, 8),
    Setting("resnet18", 224, 32, 6),
    Setting("resnet20", 32, 64, 20),
    Setting("lenet5", 32, 64, 100),
)
SMOKE = (Setting("lenet5", 32, 16, 2),)


def main() -> None:
    """Run the benchmark; as `--child`, one process of a contestant."""
    parser = common.argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(json.dumps(measure(*json.loads(arguments.child))), flush=True)
        return
    header = common.start(arguments)
    rows, lines = {}, []
    sent: dict[str, int] = {}
    for setting in SMOKE if arguments.smoke else SETTINGS:
        contestants = contestants_of(setting, arguments.processes, arguments.threads, sent)
        rates = common.interleave(contestants, 1 if arguments.smoke else arguments.pairs)
        usual = next(iter(rates))
        rows[setting.network] = rates
        lines.append(f"{setting.network}, {setting.size_px} px, {setting.batch_size} images a step")
        for name, rate_N in rates.items():
            ratio = common.paired_ratio(rate_N, rates[usual])
            told = f", {sent[name] / 1e6:.1f} MB sent a step by each process" if sent[name] else ""
            lines.append(f"  {name:>44}: {np.median(rate_N):8.1f} images/s, {ratio}{told}")
    common.report(arguments, {"header": header, "rows": rows}, "\n".join(lines))


def contestants_of(setting: Setting, processes: int, threads: int, sent: dict[str, int]) -> dict[str, partial[float]]:
    """By name; each gives images a second, and puts into `sent` how many bytes a process sends for a step."""
    each = max(1, threads // processes)
    shares = {
        "one process, one lane": (1, threads, 1, True),
        f"one process, {MANY_LANES} lanes": (1, threads, MANY_LANES, True),
        f"{processes} processes, fastest order": (processes, each, processes, False),
        f"{processes} processes, a lane each": (processes, each, processes, True),
        f"{processes} processes, {MANY_LANES} lanes": (processes, each, MANY_LANES, True),
    }
    return {name: partial(run_group, setting, *share, name, sent) for name, share in shares.items()}


def run_group(
    setting: Setting, processes: int, threads: int, lanes: int, exact: bool, name: str, sent: dict[str, int]
) -> float:
    """Images a second of a group of so many processes, each on so many threads."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes)}
    shared |= {"LOCAL_WORLD_SIZE": str(processes), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(threads)}
    order = json.dumps([*vars(setting).values(), threads, lanes, exact])
    command = [sys.executable, "-m", "benchmarks.lanes", "--child", order]
    started = [
        subprocess.Popen(
            command, env=os.environ | shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(processes)
    ]
    said = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        sys.exit(f"A process of {setting.network} failed; what it said stands above.")
    found = [json.loads(text) for text in said]
    sent[name] = max(num_bytes for _, num_bytes in found)
    return float(min(rate for rate, _ in found))


def measure(
    network: str, size_px: int, batch_size: int, num_steps: int, threads: int, lanes: int, exact: bool
) -> tuple[float, int]:
    """Images a second, over all processes, of the steps of this one; bytes that it sent for a step, where they are
    counted (in the order that keeps bits)."""
    torch.set_num_threads(threads)
    with joined_group(120.0) if is_launched() else nullcontext():
        training, batch = begin(network, size_px, batch_size, threads, lanes, exact)
        seconds = []
        for step in range(2 + num_steps):
            started_s = time.perf_counter()
            training.run(batch, step, 1.0)
            seconds.append(time.perf_counter() - started_s)
    exchange = training.reduction.exchange if training.reduction else None
    numbers = sum(exchange.sent_numbers) if exchange else 0
    return batch_size / float(np.median(seconds[2:])), 4 * numbers // len(seconds)


def begin(
    network: str, size_px: int, batch_size: int, threads: int, lanes: int, exact: bool
) -> tuple[TrainingStep, Batch]:
    """The step of `saccade train` and this process's part of a batch."""
    runtime = start_runtime(RuntimeConfig.parse({"device": "cpu", "num_threads": threads}))
    scale = [f"scale.lanes={lanes}", f"scale.exact={str(exact).lower()}"]
    config = RunConfig().with_overrides([f"batch_size={batch_size}", "optimizer.learning_rate=0.01", *scale])
    own = config.loader_of(runtime.ranks).own_lanes
    shares = [lane_share(batch_size, lane, lanes) for lane in own]
    places = slice(shares[0][0], shares[-1][1])
    draw = torch.Generator().manual_seed(0)
    image_BCHW = torch.randint(0, 256, (batch_size, 3, size_px, size_px), generator=draw, dtype=torch.uint8)
    target = torch.randint(0, NUM_CLASSES, (batch_size,), generator=draw)
    batch = Batch(
        image_BCHW=image_BCHW.contiguous(memory_format=torch.channels_last)[places],
        target=target[places],
        index_B=np.arange(batch_size)[places],
        lane_sizes=tuple(stop - start for start, stop in shares),
    )
    torch.manual_seed(0)
    model = build_model(network, ModelSpec(num_classes=NUM_CLASSES, input_CHW=(3, size_px, size_px)))
    pixels = Preprocessing(input_height_px=size_px, input_width_px=size_px)
    return TrainingStep(model, config, pixels, runtime), batch


if __name__ == "__main__":
    main()
