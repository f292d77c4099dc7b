"""The pass of images through a frozen network: ours against the best loop by hand and a plain one, in turns.

    python -m benchmarks.frozen_pass                          (under six minutes on two quiet cores)
    python -m benchmarks.frozen_pass --cpu-time --pairs 2     (processor time, where others work on the machine)

Every contestant takes the same resident uint8 images and gives what the last layer would see of them. Ours is what
`saccade transfer` runs: normalisation folded, nonlinearities inside convolutions, small groups of images on one core
each. By hand is channels last and `inference_mode`, in the batch that is best for it, found before the turns, and in
bfloat16 where the processor has units for it. Plain is float32, channels first, `no_grad`, 32 images at a time. Each
turn is a fresh process, the only one there is: a pass to warm up, then the median of three. The difference is the
largest of a feature over the largest feature.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import common
from benchmarks.train_throughput import MEAN, STD, find_precision, ratio_text
from saccade.core import allocator
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.kernels.one_core_each import one_core_each
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.surgery import cut, mean_over_positions
from saccade.transfer.frozen import FrozenPart, Tap

NETWORKS = "mobilenetv3-large,efficientnet-lite0,convnext-atto"
BATCHES = (4, 8, 16, 32)  # that the loop by hand may take
PLAIN_BATCH = 32
NUM_PASSES = 3  # that count, of each turn
Pass = Callable[[], torch.Tensor]


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", default=NETWORKS, help="names, separated by commas")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--images", type=int, default=64, help="images of a pass")
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of the clock's; not quotable")
    parser.set_defaults(pairs=3)
    arguments = parser.parse_args()
    arguments.force = arguments.force or arguments.cpu_time
    header = common.start(arguments)
    header["quotable"] = header["quotable"] and not arguments.cpu_time
    results = {name: measure(name, arguments) for name in arguments.networks.split(",")}
    rows = [table_row(name, result) for name, result in results.items()]
    heading = "network             ours img/s   x plain float32      x best by hand    by hand's batch  difference"
    common.report(arguments, {"header": header, "results": results}, "\n".join([heading, *rows]))


def measure(name: str, arguments: argparse.Namespace) -> dict[str, Any]:
    """Images a second of the contestants in turns, and the paired ratios."""
    size_px, num_images = (64, 8) if arguments.smoke else (arguments.size, arguments.images)
    turn = partial(run_alone, name, size_px, num_images, arguments.threads, arguments.cpu_time)
    batches = (num_images,) if arguments.smoke else BATCHES
    best = min(batches, key=lambda batch: turn("by hand", batch)[1])
    print(f"  {name}: by hand is fastest with {best} images at a time", file=sys.stderr)
    features: dict[str, np.ndarray] = {}

    def alone(kind: str) -> float:
        features[kind], seconds = turn(kind, best if kind == "by hand" else PLAIN_BATCH)
        return seconds

    num_pairs = 1 if arguments.smoke else arguments.pairs
    seconds = common.interleave({kind: partial(alone, kind) for kind in PASSES}, num_pairs, warms_up=False)
    return {
        "images_per_second": {kind: float(num_images / np.median(taken)) for kind, taken in seconds.items()},
        "ours_over_plain": vars(common.paired_ratio(seconds["plain"], seconds["ours"])),
        "ours_over_by_hand": vars(common.paired_ratio(seconds["by hand"], seconds["ours"])),
        "batch_by_hand": best,
        "difference": float(max(np.abs(features["ours"] - other).max() for other in features.values()))
        / float(np.abs(features["plain"]).max()),
    }


def run_alone(
    name: str, size_px: int, num_images: int, threads: int, cpu_time: bool, kind: str, batch: int
) -> tuple[np.ndarray, float]:
    """(feature_ND, median seconds of a pass) of a contestant in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, name, size_px, num_images, threads, cpu_time, kind, batch))
    process.start()
    there.close()
    try:
        result: tuple[np.ndarray, float] = here.recv()
    except EOFError:
        sys.exit(f"'{kind}' with {name} ended without a figure, for the reason above.")
    process.join()
    return result


def serve(
    pipe: Connection, name: str, size_px: int, num_images: int, threads: int, cpu_time: bool, kind: str, batch: int
) -> None:
    """Build a contestant, let the images pass, and send what `run_alone` gives."""
    torch.set_num_threads(threads)
    if kind == "ours":  # before the first tensor, as `saccade transfer` does
        allocator.use_large_pages()
    clock = time.process_time if cpu_time else time.perf_counter
    generator = torch.Generator().manual_seed(0)
    image_NCHW = torch.randint(0, 256, (num_images, 3, size_px, size_px), generator=generator, dtype=torch.uint8)
    torch.manual_seed(0)
    network = build_model(name, ModelSpec(num_classes=10, input_CHW=(3, size_px, size_px))).eval()
    run = PASSES[kind](network, image_NCHW, batch, threads)
    feature_ND, seconds = run().float().numpy(), []
    for _ in range(NUM_PASSES):
        started_s = clock()
        run()
        seconds.append(clock() - started_s)
    pipe.send((feature_ND, float(np.median(seconds))))


def our_pass(network: nn.Module, image_NCHW: torch.Tensor, batch: int, threads: int) -> Pass:
    """The product's frozen part, as `saccade transfer` runs it."""
    size_px = image_NCHW.shape[-1]
    preprocessing = Preprocessing(input_height_px=size_px, input_width_px=size_px, mean=MEAN, std=STD)
    runtime = start(RuntimeConfig(device="cpu", num_threads=threads))
    tap = Tap(depth="all", pooled=True)
    frozen = FrozenPart(network, [tap], preprocessing, runtime, torch.float32)
    images = image_NCHW.contiguous(memory_format=torch.channels_last)

    def run() -> torch.Tensor:
        with one_core_each(runtime) as pool:
            return torch.cat([values[0] for values in pool.map(frozen.outputs, images.split(frozen.group))])

    return run


@torch.inference_mode()
def pass_by_hand(network: nn.Module, image_NCHW: torch.Tensor, batch: int, threads: int) -> Pass:
    """Channels last, one normalisation, all cores in one batch."""
    precision = find_precision(torch.device("cpu"))
    layers = nn.Sequential(*cut(network, "all").frozen).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = image_NCHW.contiguous(memory_format=torch.channels_last)
    scale = (1 / (255 * torch.tensor(STD)))[:, None, None]
    shift = (-torch.tensor(MEAN) / torch.tensor(STD))[:, None, None]

    @torch.inference_mode()
    def run() -> torch.Tensor:
        features = []
        for image_BCHW in images.split(batch):
            input_BCHW = torch.addcmul(shift, image_BCHW.float(), scale).to(precision)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
                features.append(mean_over_positions(layers(input_BCHW)))
        return torch.cat(features)

    return run


def plain_pass(network: nn.Module, image_NCHW: torch.Tensor, batch: int, threads: int) -> Pass:
    """float32, channels first, as in a first tutorial."""
    layers = nn.Sequential(*cut(network, "all").frozen)
    mean, std = (torch.tensor(values)[:, None, None] for values in (MEAN, STD))

    @torch.no_grad()
    def run() -> torch.Tensor:
        passed = [layers((image_BCHW.float() / 255 - mean) / std) for image_BCHW in image_NCHW.split(batch)]
        return torch.cat([mean_over_positions(value) for value in passed])

    return run


PASSES: dict[str, Callable[[nn.Module, torch.Tensor, int, int], Pass]] = {
    "ours": our_pass,
    "plain": plain_pass,
    "by hand": pass_by_hand,
}


def table_row(name: str, result: dict[str, Any]) -> str:
    """One line of the table."""
    return (
        f"{name:<19} {result['images_per_second']['ours']:>10.1f}   {ratio_text(result['ours_over_plain'])}   "
        f"{ratio_text(result['ours_over_by_hand'])}   {result['batch_by_hand']:>14}   {result['difference']:.3g}"
    )


if __name__ == "__main__":
    main()
