"""The memory that `saccade table` foretells against the peak that a real training step reaches.

    python -m benchmarks.memory_estimate

Each network trains in a process of its own on the CPU: `--steps` of the engine's steps on one batch. Measured is the
most resident memory during the steps above that of the same process after its imports and one step of a tiny network
(Linux counts it; `/proc/self/clear_refs` sets the mark back). It is measured twice: with freed memory given back at
once (MALLOC_MMAP_THRESHOLD_=65536), which is what the step needs, and with glibc as it is, which keeps freed blocks for
later. Memory is not timed, so the machine need not be quiet.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import torch

from benchmarks import common
from saccade.core.allocator import use_large_pages
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Batch, Preprocessing
from saccade.design.desk import TableRequest, draw_table
from saccade.design.memory import StepPlan
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

NETWORKS = "resnet18,resnet50,vgg16,googlenet,squeezenet1.1,mobilenetv2"
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", default=NETWORKS, help="names, separated by commas")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--precision", default="float32,bfloat16", help="of training, separated by commas")
    parser.add_argument("--steps", type=int, default=3, help="training steps")
    parser.add_argument("--measure", metavar="NAME:PRECISION", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        print(json.dumps(measure(arguments)))
        return
    rows, results = [], {}
    for name in arguments.networks.split(","):
        for precision in arguments.precision.split(","):
            results[f"{name} {precision}"] = row = compare(name, precision, arguments)
            rows.append(
                f"{name:14} {precision:9} {row['estimate_bytes'] / 1e6:9,.0f} {row['measured_bytes'] / 1e6:9,.0f} "
                f"{100 * (row['estimate_bytes'] / row['measured_bytes'] - 1):+8.1f} % {row['glibc_bytes'] / 1e6:13,.0f}"
            )
            print(rows[-1], file=sys.stderr, flush=True)
    table = "\n".join(["network        precision  estimate  measured      error  glibc as it is  (MB)", *rows])
    common.report(arguments, {"machine": common.machine(), "batch": arguments.batch, "results": results}, table)


def compare(name: str, precision: str, arguments: argparse.Namespace) -> dict[str, float]:
    """The estimate and the measured peak of one network, in bytes above the bare process."""
    size_px, batch_size = (64, 4) if arguments.smoke else (arguments.size, arguments.batch)
    step = StepPlan(batch_size=batch_size, precision=precision, optimizer="nesterov")
    request = TableRequest(input_CHW=(3, size_px, size_px), num_classes=1000, step=step)
    estimate = draw_table(name, request).memory.training_peak
    command = [sys.executable, "-m", "benchmarks.memory_estimate", "--measure", f"{name}:{precision}"]
    command += ["--size", str(size_px), "--batch", str(batch_size), "--steps", str(arguments.steps)]
    measured = {}
    for key, settings in (("measured_bytes", {"MALLOC_MMAP_THRESHOLD_": "65536"}), ("glibc_bytes", {})):
        done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | settings)
        measured[key] = json.loads(done.stdout)["measured_bytes"]
    return {"estimate_bytes": estimate, **measured}


def measure(arguments: argparse.Namespace) -> dict[str, int]:
    """Train in this process and read how far its resident memory rose."""
    name, precision = arguments.measure.rsplit(":", 1)
    train("resnet20", 32, 4, precision, 1)
    before = resident_bytes("VmRSS")
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    train(name, arguments.size, arguments.batch, precision, arguments.steps)
    return {"measured_bytes": resident_bytes("VmHWM") - before, "process_bytes": before}


def train(name: str, size_px: int, batch_size: int, precision: str, steps: int) -> None:
    """Steps of the engine on one batch of random images."""
    preprocessing = Preprocessing(input_height_px=size_px, input_width_px=size_px, mean=MEAN, std=STD)
    use_large_pages()  # as the command line does
    runtime = start(RuntimeConfig.parse({"device": "cpu", "precision": precision}))
    config = RunConfig.parse({"source": "random", "model": name, "optimizer": {"name": "nesterov"}})
    network = build_model(name, ModelSpec(num_classes=1000, input_CHW=(3, size_px, size_px)))
    engine = TrainingStep(network, config, preprocessing, runtime)
    image_BCHW = torch.randint(0, 256, (batch_size, 3, size_px, size_px), dtype=torch.uint8)
    target = torch.randint(0, 1000, (batch_size,))
    for step in range(steps):
        engine.run(Batch(image_BCHW=image_BCHW, target=target, index_B=target.numpy()), step, 1.0)


def resident_bytes(key: str) -> int:
    """VmRSS (now) or VmHWM (the most since the mark was set) of this process."""
    lines = Path(f"/proc/{os.getpid()}/status").read_text(encoding="ascii").splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(key))


if __name__ == "__main__":
    main()
