"""Training throughput: our step against the plain float32 loop and against the best loop we can write by hand.

    python -m benchmarks.train_throughput --networks resnet18,resnet50 --batch 32

Every contestant trains the same network on the same resident uint8 batch: normalise, forward, loss, backward,
update with Nesterov momentum and weight decay. P1 is what people write first: float32, channels first, a plain
loop. P2 is the best by hand: channels last, one normalisation, fused SGD, and bfloat16 autocast where the product takes
it too, which is where the processor has units for it. Both normalise local responses by torch's own layer.

With --compiled the loop by hand comes a second time with its network through torch.compile, which needs a C++ compiler
and minutes of each turn; they do not count.

Each turn of a contestant is a fresh process, the only one there is, so that what one asks of its memory allocator
neither serves nor hinders the others: two steps to warm up, then the median of three. With THP_MEM_ALLOC_ENABLE=1 in
the environment all of them get the large pages that the product asks for.
"""

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import numpy as np
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import common
from saccade.core import allocator
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Batch, Preprocessing
from saccade.kernels.response_norm import LocalResponseNorm
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 1000
NUM_STEPS = 3  # that count, of each turn
Step = Callable[[], torch.Tensor]


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", default="resnet18,resnet50", help="names, separated by commas")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images in pixels")
    parser.add_argument("--batch", type=int, default=32, help="images a step")
    parser.add_argument("--compiled", action="store_true", help="the loop by hand with torch.compile, too")
    arguments = parser.parse_args()
    header = common.start(arguments)
    runtime = start(RuntimeConfig(device="cpu", num_threads=arguments.threads))
    header["precision"] = str(runtime.precision).removeprefix("torch.")
    rows, results = [], {}
    for name in arguments.networks.split(","):
        results[name] = measure(name, arguments, header)
        rows.append(table_row(name, results[name]))
    table = "\n".join(
        [
            "network      ours img/s   x plain float32      x best by hand    of matmul peak  max |loss difference|",
            *rows,
        ]
    )
    common.report(arguments, {"header": header, "batch": arguments.batch, "results": results}, table)


def measure(name: str, arguments: argparse.Namespace, header: dict) -> dict:
    """Images per second of the three contestants in turns, and the paired ratios."""
    size_px, batch_size = (64, 4) if arguments.smoke else (arguments.size, arguments.batch)
    first_losses: dict[str, float] = {}

    def alone(kind: str) -> float:
        first_losses[kind], seconds = run_alone(kind, name, size_px, batch_size, arguments.threads)
        return seconds

    kinds = [kind for kind in CONTESTANTS if kind != "compiled" or arguments.compiled]
    seconds = common.interleave(
        {kind: partial(alone, kind) for kind in kinds}, 1 if arguments.smoke else arguments.pairs
    )
    rate = float(batch_size / np.median(seconds["ours"]))
    tflops = 3 * forward_flops(name, size_px) * rate / 1e12  # outputs, input gradients, weight gradients
    return {
        "images_per_second": {key: float(batch_size / np.median(values)) for key, values in seconds.items()},
        "ours_over_plain": vars(common.paired_ratio(1 / seconds["ours"], 1 / seconds["plain"])),
        "ours_over_by_hand": vars(common.paired_ratio(1 / seconds["ours"], 1 / seconds["by hand"])),
        "by_hand_over_compiled": vars(common.paired_ratio(1 / seconds["by hand"], 1 / seconds["compiled"]))
        if arguments.compiled
        else None,
        "tflops": tflops,
        "of_matmul_peak": tflops / header[f"matmul_{header['precision']}_tflops"],
        "first_loss": first_losses,
    }


def run_alone(kind: str, name: str, size_px: int, batch_size: int, threads: int) -> tuple[float, float]:
    """(loss of the first step, median seconds of those behind it that count) of a contestant in a fresh process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(there, kind, name, size_px, batch_size, threads))
    process.start()
    there.close()
    try:
        result: tuple[float, float] = here.recv()
    except EOFError:
        sys.exit(f"'{kind}' with {name} ended without a figure, for the reason above.")
    process.join()
    return result


def serve(pipe: Connection, kind: str, name: str, size_px: int, batch_size: int, threads: int) -> None:
    """Build a contestant, take its steps, and send what `run_alone` gives."""
    torch.set_num_threads(threads)
    if kind == "ours":  # before the first tensor, as `saccade train` does: torch looks at its allocator's switch once
        allocator.use_large_pages()
    step = build(CONTESTANTS[kind], name, size_px, batch_size, RuntimeConfig(device="cpu", num_threads=threads))
    first_loss, seconds = float(step()), []
    for number in range(1 + NUM_STEPS):
        started_s = time.perf_counter()
        step()
        if number:  # one more to warm up
            seconds.append(time.perf_counter() - started_s)
    pipe.send((first_loss, float(np.median(seconds))))


def build(contestant: Callable[..., Step], name: str, size_px: int, batch_size: int, machine: RuntimeConfig) -> Step:
    """A contestant on its machine, from the same weights and with the same batch as the others."""
    generator = torch.Generator().manual_seed(0)
    image_BCHW = torch.randint(0, 256, (batch_size, 3, size_px, size_px), generator=generator, dtype=torch.uint8)
    label_B = torch.randint(0, NUM_CLASSES, (batch_size,), generator=generator)
    torch.manual_seed(0)
    network = build_model(name, ModelSpec(num_classes=NUM_CLASSES, input_CHW=(3, size_px, size_px)))
    if contestant is not OurStep:
        use_torchs_response_norm(network)
    return contestant(network, image_BCHW.to(machine.device), label_B.to(machine.device), machine)


def use_torchs_response_norm(network: nn.Module) -> None:
    """Put torch's own layer, which others use, in the place of the product's."""
    for parent in list(network.modules()):
        for name, layer in list(parent.named_children()):
            if isinstance(layer, LocalResponseNorm):
                own = nn.LocalResponseNorm(layer.size, layer.alpha * layer.size, layer.beta, layer.k)
                setattr(parent, name, own)


def forward_flops(name: str, size_px: int) -> int:
    """Floating-point operations of one image forward: twice its multiply-adds."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter:
        network = build_model(name, ModelSpec(num_classes=NUM_CLASSES, input_CHW=(3, size_px, size_px)))
        network(torch.empty(1, 3, size_px, size_px))
    return counter.get_total_flops()


class OurStep:
    """The product's training step, as `saccade train` runs it. All contestants train where the images lie."""

    def __init__(
        self, network: nn.Module, image_BCHW: torch.Tensor, label_B: torch.Tensor, machine: RuntimeConfig
    ) -> None:
        config = RunConfig.parse({"source": "benchmark", "optimizer": {"learning_rate": 0.01}})
        size_px = image_BCHW.shape[-1]
        preprocessing = Preprocessing(input_height_px=size_px, input_width_px=size_px, mean=MEAN, std=STD)
        self.training = TrainingStep(network, config, preprocessing, start(machine))
        images = image_BCHW.contiguous(memory_format=torch.channels_last)
        self.batch = Batch(image_BCHW=images, target=label_B, index_B=np.arange(len(label_B)))

    def __call__(self) -> torch.Tensor:
        before = self.training.totals.loss_sum.clone()
        self.training.run(self.batch, 0, 1.0)
        return (self.training.totals.loss_sum - before) / len(self.batch.target)


def loss_of(network: nn.Module, input_BCHW: torch.Tensor, label_B: torch.Tensor) -> torch.Tensor:
    """What the product minimises: with the side branches of a network that has some."""
    forward_train = getattr(network, "forward_train", None)
    logits_BK, branches = forward_train(input_BCHW) if forward_train else (network(input_BCHW), [])
    loss = nn.functional.cross_entropy(logits_BK, label_B)
    for weight, branch_BK in branches:
        loss = loss + weight * nn.functional.cross_entropy(branch_BK, label_B)
    return loss


def plain_step(network: nn.Module, image_BCHW: torch.Tensor, label_B: torch.Tensor, machine: RuntimeConfig) -> Step:
    """float32, channels first, as in a first tutorial."""
    network = network.to(image_BCHW.device)
    mean, std = (torch.tensor(values, device=image_BCHW.device)[:, None, None] for values in (MEAN, STD))
    optimizer = torch.optim.SGD(network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True)

    def step() -> torch.Tensor:
        network.train()
        optimizer.zero_grad()
        loss = loss_of(network, (image_BCHW.float() / 255 - mean) / std, label_B)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def best_step(network: nn.Module, image_BCHW: torch.Tensor, label_B: torch.Tensor, machine: RuntimeConfig) -> Step:
    """Channels last, one fused normalisation, fused SGD; bfloat16 autocast where the machine has units for it."""
    device = image_BCHW.device
    precision = find_precision(device)
    network = network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    images = image_BCHW.contiguous(memory_format=torch.channels_last)
    scale, shift = (
        (1 / (255 * torch.tensor(STD)))[:, None, None].to(device),
        (-torch.tensor(MEAN) / torch.tensor(STD))[:, None, None].to(device),
    )
    optimizer = torch.optim.SGD(
        network.parameters(), lr=0.01, momentum=0.9, weight_decay=5e-4, nesterov=True, fused=True
    )

    def step() -> torch.Tensor:
        network.train()
        optimizer.zero_grad(set_to_none=True)
        input_BCHW = torch.addcmul(shift, images.float(), scale).to(precision)
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == torch.bfloat16):
            loss = loss_of(network, input_BCHW, label_B)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def compiled_step(
    network: nn.Module, image_BCHW: torch.Tensor, label_B: torch.Tensor, machine: RuntimeConfig, mode: str = "default"
) -> Step:
    """The loop by hand with its network compiled; its first step compiles."""
    if hasattr(network, "forward_train"):
        sys.exit("A network with side branches trains without what compiling it compiles: leave out --compiled.")
    network.compile(mode=mode)
    return best_step(network, image_BCHW, label_B, machine)


def find_precision(device: torch.device) -> torch.dtype:
    """bfloat16 where the machine has units for it. Not asked of the product, which would set up its allocator too."""
    if device.type == "cuda":
        return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float32
    has_units = torch.cpu._is_amx_tile_supported() or torch.cpu._is_avx512_bf16_supported()
    return torch.bfloat16 if has_units else torch.float32


CONTESTANTS: dict[str, Callable[..., Step]] = {
    "ours": OurStep,
    "plain": plain_step,
    "by hand": best_step,
    "compiled": compiled_step,
}


def table_row(name: str, result: dict) -> str:
    """One line of the table, and one more where there was a compiled contestant."""
    losses = result["first_loss"]
    difference = max(abs(losses["ours"] - loss) for loss in losses.values())
    row = (
        f"{name:<12} {result['images_per_second']['ours']:>10.1f}   {ratio_text(result['ours_over_plain'])}   "
        f"{ratio_text(result['ours_over_by_hand'])}   {100 * result['of_matmul_peak']:>10.0f} %   {difference:.3g}"
    )
    compiled = result["by_hand_over_compiled"]
    return f"{row}\n  by hand over the same compiled: {ratio_text(compiled)}" if compiled else row


def ratio_text(ratio: dict) -> str:
    """`1.21 (1.17 to 1.23)`."""
    return f"{ratio['median']:.2f} ({ratio['low']:.2f} to {ratio['high']:.2f})"


if __name__ == "__main__":
    main()
