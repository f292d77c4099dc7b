"""Decode + random resized crop + mirror + colour to 224 px from JPEG photos, against what people use today.

    python -m benchmarks.augment_throughput [--threads 2] [--pairs 7] [--json]

Everybody reads the same files and gives uint8 batches of 64 x 3 x 224 x 224: 8 to 100 % of the area, aspect 3/4 to 4/3,
mirrored half of the time, brightness, contrast and saturation 0.6 to 1.4. Nobody keeps images in memory. Peers get as
many worker processes as Saccade gets threads, and keep them between epochs; the first batch of a new loader is timed
separately. Peers that are not installed are skipped with the reason:

    saccade                 this package's loader, threads
    saccade, trivial-wide   the same with that policy in place of colours; rand-augment and augmix likewise
    torchvision, PIL        torchvision v2 on Pillow images in DataLoader workers
    torchvision, trivial    the same with TrivialAugmentWide in place of colours, against saccade, trivial-wide
    torchvision, tensor     the same on decode_image tensors (needs a torchvision built for the installed torch)
    albumentations          albumentations on OpenCV-decoded images in DataLoader workers
    albumentations, threads the same transforms on simplejpeg-decoded images in threads, by hand
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import simplejpeg
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import get_policy
from saccade.data.loading.loader import LoaderConfig, build_loader
from saccade.data.source import DataSource, open_source

from .common import argument_parser, interleave, paired_ratio, report, shared_folder, start
from .torchvision_stub import import_torchvision

SIZE_PX, BATCH_SIZE, STRENGTH = 224, 64, 0.4
OURS = "saccade"
OUR_POLICIES = ("trivial-wide", "rand-augment", "augmix")
OUR_TRIVIAL = "saccade, trivial-wide"
TRIVIAL = "torchvision, trivial"
Batches = Callable[[], Iterator[torch.Tensor]]


class Files(Dataset):
    """A map-style data set for DataLoader: `load(path)` gives uint8 (3, 224, 224)."""

    def __init__(self, paths: list[str], load: Callable[[str], torch.Tensor]) -> None:
        self.paths, self.load = paths, load

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        return self.load(self.paths[index])


def saccade_batches(source: DataSource, index_N: np.ndarray, threads: int, policy: str) -> Batches:
    """Saccade's loader, one epoch after the other."""
    preprocessing = Preprocessing(input_height_px=SIZE_PX, input_width_px=SIZE_PX, resize_px=256)
    config = LoaderConfig(batch_size=BATCH_SIZE, threads=threads, memory_limit_bytes=0)
    loader = build_loader(source, index_N, preprocessing, get_policy(policy).config, config, seed=0)
    epochs = iter(range(1_000_000))

    def batches() -> Iterator[torch.Tensor]:
        for batch in loader.epoch(next(epochs)):
            yield batch.image_BCHW

    return batches


def worker_batches(paths: list[str], load: Callable[[str], torch.Tensor], threads: int) -> Batches:
    """DataLoader with `threads` worker processes that stay."""
    loader = DataLoader(
        Files(paths, load), BATCH_SIZE, shuffle=True, num_workers=threads, persistent_workers=True, prefetch_factor=4
    )
    return lambda: iter(loader)


def thread_batches(paths: list[str], load: Callable[[str], torch.Tensor], threads: int) -> Batches:
    """A hand-written loop over a thread pool, four batches ahead."""
    pool = ThreadPoolExecutor(threads)

    def make(chosen: np.ndarray) -> torch.Tensor:
        return torch.stack([load(paths[index]) for index in chosen])

    def batches() -> Iterator[torch.Tensor]:
        parts = np.array_split(np.random.permutation(len(paths)), -(-len(paths) // BATCH_SIZE))
        pending = [pool.submit(make, part) for part in parts[:4]]
        for part in [*parts[4:], *[None] * 4]:
            if pending:
                yield pending.pop(0).result()
            if part is not None:
                pending.append(pool.submit(make, part))

    return batches


def torchvision_loads() -> tuple[dict[str, Callable[[str], torch.Tensor]], dict[str, str]]:
    """The two torchvision paths that work here, and why the others do not."""
    try:
        torchvision = import_torchvision()
    except ImportError:
        names = ("torchvision, PIL", "torchvision, tensor", TRIVIAL)
        return {}, {name: "torchvision is not installed" for name in names}
    from torchvision.transforms import v2

    steps = [
        v2.RandomResizedCrop(SIZE_PX, scale=(0.08, 1), ratio=(3 / 4, 4 / 3), antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(STRENGTH, STRENGTH, STRENGTH),
    ]
    trivial = v2.Compose([*steps[:2], v2.TrivialAugmentWide(), v2.PILToTensor()])
    loads = {
        "torchvision, PIL": partial(load_pil, v2.Compose([*steps, v2.PILToTensor()])),
        TRIVIAL: partial(load_pil, trivial),
    }
    skipped = {}
    try:
        from torchvision.io import decode_image

        tiny = simplejpeg.encode_jpeg(np.zeros((8, 8, 3), np.uint8))
        decode_image(torch.from_numpy(np.frombuffer(tiny, np.uint8).copy()))
        loads["torchvision, tensor"] = partial(load_tensor, v2.Compose(steps))
    except (ImportError, RuntimeError, AttributeError) as error:
        skipped["torchvision, tensor"] = f"torchvision {torchvision.__version__} cannot decode: {error}".split("\n")[0]
    return loads, skipped


def load_pil(transform: Callable, path: str) -> torch.Tensor:
    with Image.open(path) as image:
        return transform(image.convert("RGB"))


def load_tensor(transform: Callable, path: str) -> torch.Tensor:
    from torchvision.io import ImageReadMode, decode_image, read_file

    return transform(decode_image(read_file(path), ImageReadMode.RGB))


def albumentations_loads() -> tuple[dict[str, Callable[[str], torch.Tensor]], dict[str, str]]:
    """albumentations with OpenCV's decoder, and with simplejpeg's."""
    try:
        import albumentations
    except ImportError:
        reason = "albumentations is not installed"
        return {}, {"albumentations": reason, "albumentations, threads": reason}
    transform = albumentations.Compose(
        [
            albumentations.RandomResizedCrop((SIZE_PX, SIZE_PX), scale=(0.08, 1), ratio=(3 / 4, 4 / 3)),
            albumentations.HorizontalFlip(),
            albumentations.ColorJitter(
                (1 - STRENGTH, 1 + STRENGTH), (1 - STRENGTH, 1 + STRENGTH), (1 - STRENGTH, 1 + STRENGTH), (0, 0), p=1
            ),
        ]
    )
    return {
        "albumentations": partial(load_opencv, transform),
        "albumentations, threads": partial(load_simplejpeg, transform),
    }, {}


def load_opencv(transform: Callable, path: str) -> torch.Tensor:
    cv2.setNumThreads(0)
    image_HWC = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(np.ascontiguousarray(transform(image=image_HWC)["image"])).permute(2, 0, 1)


def load_simplejpeg(transform: Callable, path: str) -> torch.Tensor:
    image_HWC = simplejpeg.decode_jpeg(Path(path).read_bytes(), "RGB")
    return torch.from_numpy(np.ascontiguousarray(transform(image=image_HWC)["image"])).permute(2, 0, 1)


def rate(batches: Batches, facts: dict[str, Any]) -> float:
    """Images a second over one epoch; what the batches were goes to `facts`."""
    started, num = time.perf_counter(), 0
    mean = 0.0
    for number, image_BCHW in enumerate(batches()):
        num += len(image_BCHW)
        if number == 0:
            mean = float(image_BCHW.float().mean())
        facts.update(shape=list(image_BCHW.shape[1:]), dtype=str(image_BCHW.dtype))
    facts["images"] = num
    facts.setdefault("first_batch_means", []).append(round(mean, 1))
    return num / (time.perf_counter() - started)


def first_batch_s(make: Callable[[], Batches]) -> float:
    """Seconds from nothing to the first batch."""
    started = time.perf_counter()
    next(iter(make()()))
    return time.perf_counter() - started


def main() -> None:
    """Run the benchmark."""
    parser = argument_parser(__doc__.split("\n")[0])
    parser.add_argument("--images", type=int, default=0, help="photos in an epoch; 0: all training photos")
    arguments = parser.parse_args()
    header = start(arguments)
    cv2.setNumThreads(0)
    folder = shared_folder("data/clothing-small")
    source = open_source(str(folder))
    num = 2 * BATCH_SIZE if arguments.smoke else arguments.images or 10**9
    index_N = np.array([i for i in range(len(source)) if source.record(i).split == "train"][:num])
    paths = [str(folder / source.record(int(i)).key) for i in index_N]
    makers: dict[str, Callable[[], Batches]] = {
        f"{OURS}, {policy}" if policy != "photo" else OURS: partial(
            saccade_batches, source, index_N, arguments.threads, policy
        )
        for policy in ("photo", *OUR_POLICIES)
    }
    skipped: dict[str, str] = {}
    for loads, reasons in (torchvision_loads(), albumentations_loads()):
        skipped |= reasons
        for name, load in loads.items():
            kind = thread_batches if name.endswith("threads") else worker_batches
            makers[name] = partial(kind, paths, load, arguments.threads)
    pairs = 1 if arguments.smoke else arguments.pairs
    first = interleave({name: partial(first_batch_s, make) for name, make in makers.items()}, pairs)
    facts: dict[str, dict[str, Any]] = {name: {} for name in makers}
    running = {name: make() for name, make in makers.items()}
    rates = interleave({name: partial(rate, batches, facts[name]) for name, batches in running.items()}, pairs)
    rows = {
        name: {
            "images_per_s": round(float(np.median(rates[name])), 1),
            "first_batch_ms": round(1000 * float(np.median(first[name])), 1),
            "saccade_is_faster": paired_ratio(rates[OUR_TRIVIAL if name == TRIVIAL else OURS], rates[name]),
            "saccade_is_sooner": paired_ratio(first[name], first[OUR_TRIVIAL if name == TRIVIAL else OURS]),
            **facts[name],
        }
        for name in makers
    }
    lines = [f"{'':>24}  {'images/s':>9}  {'first batch':>11}  saccade is so many times faster"]
    for name, row in rows.items():
        lines.append(
            f"{name:>24}  {row['images_per_s']:>9}  {row['first_batch_ms']:>8} ms  {row['saccade_is_faster']}; "
            f"first batch {row['saccade_is_sooner'].median:.1f} times sooner; mean pixel {row['first_batch_means'][-1]}"
        )
    lines += [f"{name:>24}  skipped: {reason}" for name, reason in skipped.items()]
    report(arguments, {"header": header, "rows": rows, "skipped": skipped}, "\n".join(lines))


if __name__ == "__main__":
    main()
