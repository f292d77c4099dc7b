"""Epochs of small images from memory: gather, mirror and shift whole batches, against DataLoader workers.

    python -m benchmarks.loader_throughput [--threads 1] [--pairs 7] [--json]

60,000 images of 28x28 (grey) and 50,000 of 32x32 (colour), random pixels, batches of 256. Saccade keeps them as uint8
and moves whole batches; the peer is a Dataset of tensors with torchvision v2 RandomCrop(padding=4) and mirror.
"""

import time
from collections.abc import Callable

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from saccade.core.types import Preprocessing, Record
from saccade.data.augmentation_policy import get_policy
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import DataSource

from .common import argument_parser, interleave, paired_ratio, report, start
from .torchvision_stub import import_torchvision

BATCH_SIZE = 256


class RandomPixels(DataSource):
    """`num` images of random pixels."""

    name, classes, digest = "random pixels", tuple("0123456789"), "0" * 64

    def __init__(self, num: int, shape: tuple[int, ...]) -> None:
        self.pixels = np.random.default_rng(0).integers(0, 256, (num, *shape), dtype=np.uint8)

    def __len__(self) -> int:
        return len(self.pixels)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=index % 10)

    def read(self, index: int) -> np.ndarray:
        return self.pixels[index]


class Tensors(Dataset):
    """The same images as (C, H, W) tensors, one at a time."""

    def __init__(self, pixels: np.ndarray, transform: Callable | None) -> None:
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        self.image_NCHW = torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))
        self.transform = transform

    def __len__(self) -> int:
        return len(self.image_NCHW)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image_CHW = self.image_NCHW[index]
        return (self.transform(image_CHW) if self.transform else image_CHW), index % 10


def rate_of_saccade(source: RandomPixels, policy: str, threads: int) -> Callable[[], float]:
    """Images a second of one epoch after the other; the first one fills the memory."""
    shape = source.pixels.shape
    grey = len(shape) == 3
    preprocessing = Preprocessing(
        channels="grey" if grey else "rgb",
        input_height_px=shape[1],
        input_width_px=shape[2],
        mean=(0.5,) * (1 if grey else 3),
        std=(0.25,) * (1 if grey else 3),
    )
    config = LoaderConfig(batch_size=BATCH_SIZE, threads=threads)
    loader = build_loader(source, np.arange(len(source)), preprocessing, get_policy(policy).config, config, seed=0)
    epochs = iter(range(1_000_000))

    def run() -> float:
        started = time.perf_counter()
        num = sum(len(batch.index_B) for batch in loader.epoch(next(epochs)))
        return num / (time.perf_counter() - started)

    return run


def rate_of_dataloader(source: RandomPixels, policy: str, threads: int) -> Callable[[], float]:
    """The same from DataLoader workers that stay."""
    transform = None
    if policy != "none":
        import_torchvision()
        from torchvision.transforms import v2

        transform = v2.Compose([v2.RandomCrop(source.pixels.shape[1], padding=4), v2.RandomHorizontalFlip()])
    loader = DataLoader(
        Tensors(source.pixels, transform), BATCH_SIZE, shuffle=True, num_workers=threads, persistent_workers=True
    )

    def run() -> float:
        started = time.perf_counter()
        num = sum(len(image_BCHW) for image_BCHW, _ in loader)
        return num / (time.perf_counter() - started)

    return run


def main() -> None:
    """Run the benchmark."""
    arguments = argument_parser(__doc__.split("\n")[0]).parse_args()
    header = start(arguments)
    scale = 100 if arguments.smoke else 1
    rows = {}
    lines = [f"{'':>24}  {'saccade':>10}  {'DataLoader':>10}  images/s; saccade is so many times faster"]
    for name, num, shape in (("28x28 grey", 60_000, (28, 28)), ("32x32 colour", 50_000, (32, 32, 3))):
        source = RandomPixels(num // scale, shape)
        for policy in ("none", "shift-flip"):
            contestants = {"saccade": rate_of_saccade(source, policy, arguments.threads)}
            try:
                contestants["DataLoader"] = rate_of_dataloader(source, policy, arguments.threads)
            except (ImportError, RuntimeError) as error:
                lines.append(f"{name} {policy}: peer skipped: {error}".split("\n")[0])
            rates = interleave(contestants, 1 if arguments.smoke else arguments.pairs)
            row = {key: float(np.median(values)) for key, values in rates.items()}
            text = f"{name + ' ' + policy:>24}  {row['saccade']:>10,.0f}"
            if "DataLoader" in rates:
                row["ratio"] = paired_ratio(rates["saccade"], rates["DataLoader"])
                text += f"  {row['DataLoader']:>10,.0f}  {row['ratio']}"
            rows[f"{name} {policy}"] = row
            lines.append(text)
    report(arguments, {"header": header, "rows": rows}, "\n".join(lines))


if __name__ == "__main__":
    main()
