"""Time to accuracy on small images: the recipe `speedrun` against a port of the public airbench94 recipe, in turns.

    python -m benchmarks.speedrun --pairs 3
    python -m benchmarks.speedrun --steps 1 --pairs 5

Both get the same decoded images of cifar10-jpeg in memory and begin their clock there; whitening, normalising,
augmenting and all epochs count, decoding and judging do not. Both are judged on the 10,000 test images with the same
six views (the image, two shifts by a pixel, and their mirrors). The goal: at least the peer's accuracy in at most two
thirds of its time.

With --steps both take so many steps in turns, `pairs` times, after one to warm up, and only their rates are compared:
every step does the same work, so it tells the ratio of the times an epoch takes without an hour of the machine. Nothing
about accuracy follows from it.
"""

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from benchmarks import common, speedrun_peer
from saccade.core.allocator import use_large_pages
from saccade.core.runtime import Runtime, RuntimeConfig, start
from saccade.core.types import Preprocessing, Record, Split
from saccade.data.loading.loader import Loader, build_loader
from saccade.data.scan import scan_source
from saccade.data.source import DataSource, open_source
from saccade.train.config import RunConfig
from saccade.train.prepare import Images
from saccade.train.recipes import find_recipe
from saccade.train.run import start_training
from saccade.train.schedule import learning_rate_factor

PIXELS = Preprocessing(
    input_height_px=32, input_width_px=32, mean=speedrun_peer.MEAN, std=speedrun_peer.STD, channels="rgb"
)


class InMemory(DataSource):
    """Decoded images as a source."""

    def __init__(self, image_NHWC: np.ndarray, label_N: np.ndarray, classes: tuple[str, ...]) -> None:
        self.name, self.classes, self.digest = "in memory", classes, "benchmark"
        self.image_NHWC, self.label_N = image_NHWC, label_N
        self.scan = scan_source(self, 1)

    def __len__(self) -> int:
        return len(self.label_N)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=int(self.label_N[index]), split="train")

    def read(self, index: int) -> np.ndarray:
        return self.image_NHWC[index]


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.set_defaults(pairs=3)
    parser.add_argument("--data", default="", help="a source of 32x32 colour images with a test part")
    parser.add_argument("--steps", type=int, default=0, help="compare the time of so many steps instead of whole runs")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="KEY=VALUE of our recipe")
    arguments = parser.parse_args()
    use_large_pages()  # as the command line does
    header = common.start(arguments)
    limit = 600 if arguments.smoke else None
    data = open_source(arguments.data or str(common.shared_folder("data/cifar10-jpeg")))
    train, test = (decoded(data, part, limit) for part in ("train", "test"))
    runtime = start(RuntimeConfig(device="cpu", num_threads=arguments.threads))
    config = find_recipe("speedrun").config("in memory", None).with_overrides(arguments.settings)
    changes = {"epochs": 1, "batch_size": 200} if arguments.smoke else {}
    config = config.model_copy(update=changes)
    epochs = 1 if arguments.smoke and not arguments.steps else speedrun_peer.EPOCHS
    runs = {
        "ours": lambda seed: ours(config.model_copy(update={"seed": seed}), train, runtime),
        "peer": lambda seed: peer(train, seed, epochs, runtime.precision),
    }
    if arguments.steps:
        sizes = {"ours": config.batch_size, "peer": min(speedrun_peer.BATCH_SIZE, len(train))}
        report_steps(arguments, header, runs, sizes)
        return
    accuracies: dict[str, list[float]] = {name: [] for name in runs}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for seed in range(1 if arguments.smoke else arguments.pairs):  # minutes each: no round to warm up
        for name, run in runs.items():
            seconds[name].append(timed(partial(last, run(seed)), partial(accuracy, test, runtime), accuracies[name]))
    ratio = common.paired_ratio(seconds["peer"], seconds["ours"])
    result = {"header": header, "seconds": seconds, "accuracy": accuracies, "peer_over_ours": ratio}
    lines = [
        f"{name}: {np.mean(seconds[name]):.1f} s (n = {len(seconds[name])}, {min(seconds[name]):.1f} to "
        f"{max(seconds[name]):.1f}), accuracy {100 * np.mean(accuracies[name]):.2f} % "
        f"(sd {100 * np.std(accuracies[name], ddof=min(1, len(accuracies[name]) - 1)):.2f})"
        for name in runs
    ]
    common.report(arguments, result, "\n".join([*lines, f"peer's time over ours: {ratio}"]))


def decoded(source: DataSource, part: str, limit: int | None) -> InMemory:
    """The images of one part, uint8, in memory."""
    indices = [index for index in range(len(source)) if source.record(index).split == part][:limit]
    samples = [source[index] for index in indices]
    images = np.stack([sample.image_HWC for sample in samples])
    return InMemory(images, np.array([sample.label for sample in samples]), source.classes)


def timed(train: Callable[[], nn.Module], judge: Callable[[nn.Module], float], accuracies: list[float]) -> float:
    """Seconds of the training; its accuracy goes to `accuracies`."""
    started = time.perf_counter()
    network = train()
    seconds = time.perf_counter() - started
    accuracies.append(judge(network))
    return seconds


def last(networks: Iterator[nn.Module]) -> nn.Module:
    """The network after the last step."""
    *_, network = networks
    return network


def report_steps(
    arguments: argparse.Namespace, header: dict, runs: dict[str, Callable[[int], Iterator[nn.Module]]], sizes: dict
) -> None:
    """Images per second of both in turns, and the paired ratio."""
    networks = {name: run(0) for name, run in runs.items()}

    def rate(name: str) -> float:
        started = time.perf_counter()
        for _ in range(arguments.steps):
            next(networks[name])
        return arguments.steps * sizes[name] / (time.perf_counter() - started)

    pairs = 1 if arguments.smoke else arguments.pairs
    rates = common.interleave({name: partial(rate, name) for name in runs}, pairs)
    ratio = common.paired_ratio(rates["ours"], rates["peer"])
    lines = [f"{name}: median {np.median(values):.0f} images/s (n = {pairs})" for name, values in rates.items()]
    result = {"header": header, "images_per_second": rates, "ours_over_peer": ratio}
    common.report(arguments, result, "\n".join([*lines, f"our rate over the peer's: {ratio}"]))


def our_loader(config: RunConfig, source: InMemory) -> Loader:
    """The loader that `saccade train` would make of the images."""
    loader_config = config.loader.model_copy(update={"batch_size": config.batch_size})
    everything = np.arange(len(source), dtype=np.int64)
    return build_loader(source, everything, PIXELS, config.augment, loader_config, config.seed)


def ours(config: RunConfig, source: InMemory, runtime: Runtime, loader: Loader | None = None) -> Iterator[nn.Module]:
    """The network after every step of the product's training: loader, schedule and step as `saccade train` has them.

    A `loader` that is given may have its images where it wants them already; else one is made here."""
    nothing = np.zeros(0, np.int64)
    everything = np.arange(len(source), dtype=np.int64)
    split = Split(train_N=everything, validation_N=nothing, test_N=nothing, origin="benchmark")
    images = Images(source=source, scan=source.scan, split=split, preprocessing=PIXELS)
    training = start_training(config, images, runtime)
    step = 0
    with loader or our_loader(config, source) as loader:
        for epoch in range(config.epochs):
            training.set_epoch(epoch)
            for batch in loader.epoch(epoch):
                factor = learning_rate_factor(config.schedule, step, config.epochs * loader.num_batches)
                training.run(batch, step, factor)
                step += 1
                yield training.judged_model


def peer(source: InMemory, seed: int, epochs: int, precision: torch.dtype) -> Iterator[nn.Module]:
    """The network after every step of the port of the public recipe."""
    return speedrun_peer.train(source.image_NHWC, source.label_N, seed, epochs, precision)


def inputs_of(test: InMemory, runtime: Runtime) -> torch.Tensor:
    """image_BCHW of the test images, normalised, where training runs."""
    return speedrun_peer.normalised(test.image_NHWC, runtime.precision).to(runtime.device)


@torch.no_grad()
def accuracy(test: InMemory, runtime: Runtime, network: nn.Module, images: torch.Tensor | None = None) -> float:
    """Fraction right of six views: image and mirror count half, two shifts by a pixel and their mirrors the rest.

    `images` are the `inputs_of`, where they are there already."""
    network = network.eval()
    images = inputs_of(test, runtime) if images is None else images
    right = 0
    for start_index in range(0, len(images), 500):
        image_BCHW = images[start_index : start_index + 500]
        padded = functional.pad(image_BCHW.float(), (1, 1, 1, 1), "reflect").to(runtime.precision)
        side = image_BCHW.shape[-1]
        shifted = [padded[:, :, :side, :side], padded[:, :, 2 : side + 2, 2 : side + 2]]
        views = [(image_BCHW, 0.25), (image_BCHW.flip(-1), 0.25)]
        views += [(view, 0.125) for one in shifted for view in (one, one.flip(-1))]
        logits = torch.zeros(len(image_BCHW), len(test.classes), device=runtime.device)
        with runtime.arithmetic():
            for view, weight in views:
                logits += weight * network(view.contiguous(memory_format=torch.channels_last)).float()
        label_B = torch.from_numpy(test.label_N[start_index : start_index + 500]).to(runtime.device)
        right += int((logits.argmax(1) == label_B).sum())
    return right / len(images)


if __name__ == "__main__":
    main()
