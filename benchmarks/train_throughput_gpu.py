"""Training throughput on an NVIDIA GPU: our step, recorded and not, against the loops of `train_throughput`.

    python -m benchmarks.train_throughput_gpu --networks resnet18,mobilenetv2,speedrun@32x512 --pairs 7

Every contestant trains the same network on the same uint8 batch on the card. *Recorded* is ours with
runtime.cuda_graphs=true, *launched* ours without. *Plain* is float32, channels first, with torch's defaults; *by hand*
is bfloat16 autocast, channels last, fused SGD and cuDNN's choice of the fastest kernels. NAME@SIDExBATCH sets another
size.

--compiled compares *launched* and *by hand* with the latter under torch.compile's "reduce-overhead", and no recording:
its CUDA graphs and ours would take memory from each other. It compiles for minutes, and not networks with side
branches.

Contestants stay alive side by side and take their turns of --steps steps; the card is waited for in front of and behind
each turn only. The first losses must agree, and a recording that is refused is reported.
"""

import argparse
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial

import numpy as np
import torch

from benchmarks import common
from benchmarks.train_throughput import OurStep, Step, best_step, build, compiled_step, forward_flops, plain_step
from saccade.core.runtime import RuntimeConfig, wait_for


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", default="resnet18,resnet50", help="names, or NAME@SIDExBATCH, between commas")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--steps", type=int, default=50, help="steps of a turn")
    parser.add_argument(
        "--compiled", action="store_true", help="with the loop by hand under torch.compile, without a recording"
    )
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "This benchmark needs an NVIDIA card and a CUDA build of torch; neither is here.\n"
            "On a processor: python -m benchmarks.train_throughput"
        )
    device = torch.device("cuda")
    header = common.start(arguments) | {"card": torch.cuda.get_device_name(device), "peak_tflops": peak_tflops(device)}
    results, rows = {}, []
    for text in arguments.networks.split(","):
        name, size_px, batch_size = parse_network(text, arguments.size, arguments.batch)
        if arguments.smoke:
            size_px, batch_size = min(size_px, 64), 8
        tflops = 3 * forward_flops(name, size_px) / 1e12  # an image: outputs, input gradients, weight gradients
        results[text] = measure(name, size_px, batch_size, device, arguments)
        best = results[text]["images_per_second"][contestants(arguments)[0]]
        results[text]["of_matmul_peak"] = tflops * best / header["peak_tflops"]
        rows.append(table_row(text, results[text]))
        print(rows[-1], file=sys.stderr)  # at once: a card may be lent for less than all networks take
    common.report(arguments, {"header": header, "results": results}, "\n".join(rows))


def parse_network(text: str, size_px: int, batch_size: int) -> tuple[str, int, int]:
    """(name, side in pixels, images a step) of NAME or NAME@SIDExBATCH."""
    name, _, sizes = text.partition("@")
    if sizes:
        size_px, batch_size = (int(number) for number in sizes.split("x"))
    return name, size_px, batch_size


def measure(
    name: str, size_px: int, batch_size: int, device: torch.device, arguments: argparse.Namespace
) -> dict[str, object]:
    """Images per second of all contestants in turns, the paired ratios, and the losses of their first steps."""
    kinds = contestants(arguments)
    steps = {}
    for kind in kinds:
        machine = RuntimeConfig(device=str(device), cuda_graphs=kind == "recorded")
        steps[kind] = build(CONTESTANTS[kind], name, size_px, batch_size, machine)
    first_losses = {}
    for kind, step in steps.items():
        with cudnn_of(kind):
            first_losses[kind] = float(step())
    num_steps = 3 if arguments.smoke else arguments.steps
    rates = common.interleave(
        {kind: partial(rate, kind, step, num_steps, batch_size, device) for kind, step in steps.items()},
        1 if arguments.smoke else arguments.pairs,
    )
    recorded = steps[kinds[0]]
    graphs = recorded.training.graphs if isinstance(recorded, OurStep) else None
    return {
        "recordings": graphs.num_recordings if graphs else 0,
        "refusal": graphs.refusal if graphs else "",
        "images_per_second": {kind: float(np.median(values)) for kind, values in rates.items()},
        "ours_over": {kind: common.paired_ratio(rates[kinds[0]], rates[kind]) for kind in kinds[1:]},
        "first_loss": first_losses,
    }


def contestants(arguments: argparse.Namespace) -> tuple[str, ...]:
    """Who takes part, ours first."""
    return WITH_COMPILED if arguments.compiled else WITH_RECORDED


def cudnn_of(kind: str) -> AbstractContextManager[None]:
    """cuDNN as each contestant has it: the plain loop by torch's defaults, the others by trial of kernels."""
    is_plain = kind == "plain"
    settings: AbstractContextManager[None] = torch.backends.cudnn.flags(
        enabled=True, benchmark=not is_plain, deterministic=False, allow_tf32=is_plain
    )
    return settings


def rate(kind: str, step: Step, num_steps: int, batch_size: int, device: torch.device) -> float:
    """Images a second of so many steps, the card waited for at both ends."""
    wait_for(device)
    with cudnn_of(kind):
        started_s = time.perf_counter()
        for _ in range(num_steps):
            step()
        wait_for(device)
    return num_steps * batch_size / (time.perf_counter() - started_s)


def peak_tflops(device: torch.device, side: int = 8192) -> float:
    """What products of large bfloat16 matrices reach."""
    left, right = (torch.randn(side, side, device=device).bfloat16() for _ in range(2))

    def product() -> None:
        left @ right
        wait_for(device)

    return 2 * side**3 / common.best_seconds(product, 10) / 1e12


def table_row(text: str, result: dict) -> str:
    """What one network gave, two lines."""
    rates = ", ".join(f"{kind} {value:.0f}" for kind, value in result["images_per_second"].items())
    ratios = "; ".join(f"over {kind} {ratio}" for kind, ratio in result["ours_over"].items())
    losses = result["first_loss"]
    difference = max(losses.values()) - min(losses.values())
    refused = f"; not recorded: {result['refusal']}" if result["refusal"] else ""
    return (
        f"{text}: images/s {rates}\n  ours {ratios}; {100 * result['of_matmul_peak']:.0f} % of the peak; "
        f"first losses differ by {difference:.2g}{refused}"
    )


CONTESTANTS: dict[str, Callable[..., Step]] = {
    "recorded": OurStep,
    "launched": OurStep,
    "plain": plain_step,
    "by hand": best_step,
    "compiled": partial(compiled_step, mode="reduce-overhead"),
}
WITH_RECORDED = ("recorded", "launched", "plain", "by hand")
WITH_COMPILED = ("launched", "by hand", "compiled")


if __name__ == "__main__":
    main()
