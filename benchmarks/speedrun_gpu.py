"""Time to accuracy on a graphics card: the recipe `speedrun` against the public record's own code, in turns.

    python -m benchmarks.speedrun_gpu --record FOLDER/airbench94_muon.py --data CIFAR-10-FOLDER --pairs 20

FOLDER is a checkout of github.com/KellerJordan/cifar10-airbench, outside this project: its code is run as it is and
not carried here. It needs an NVIDIA card, a CUDA build of torch with the torchvision that belongs to it, and CIFAR-10
as any source of this project; both get the same decoded images. The record's clock is its own: whitening, epochs and
judging with six views, on images that lie on the card, after a run that compiles. Ours runs from a network that is not
there yet, over images that lie on the card, to the same six views. The goal: at most its time for its accuracy.
--set gives values of our recipe other than those it has for processors, such as batch_size=2000 epochs=8, and
runtime.cuda_graphs=true.
"""

import contextlib
import importlib.util
import io
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

from benchmarks import common
from benchmarks.speedrun import InMemory, accuracy, decoded, inputs_of, last, our_loader, ours
from saccade.core.runtime import Runtime, start, wait_for
from saccade.data.loading.loader import Loader
from saccade.data.source import open_source
from saccade.train.config import RunConfig
from saccade.train.recipes import find_recipe


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--record", type=Path, required=True, help="the record's airbench94_muon.py")
    parser.add_argument("--set", action="append", default=[], dest="settings", help="KEY=VALUE of our recipe")
    parser.add_argument("--data", required=True, help="CIFAR-10 as a source, train and test")
    arguments = parser.parse_args()
    if not torch.cuda.is_available():
        sys.exit(
            "This benchmark needs an NVIDIA card and a CUDA build of torch; neither is here.\n"
            "On a processor, compare with the port of the record: python -m benchmarks.speedrun"
        )
    header = common.start(arguments) | {"card": torch.cuda.get_device_name(0)}
    source = open_source(arguments.data)
    train, test = (decoded(source, part, None) for part in ("train", "test"))
    config = find_recipe("speedrun").config("in memory", None).with_overrides(arguments.settings)
    runtime = start(config.runtime.model_copy(update={"device": "cuda", "num_threads": arguments.threads}))
    images_BCHW = inputs_of(test, runtime)
    seconds: dict[str, list[float]] = {"ours": [], "record": []}
    accuracies: dict[str, list[float]] = {"ours": [], "record": []}
    with record_folder(arguments.record, train, test) as record:
        model = record.CifarNet().cuda().to(memory_format=torch.channels_last)
        model.compile(mode="max-autotune")
        print("compiling the record's network takes minutes", file=sys.stderr)
        record_run(record, "warmup", model)
        for seed in range(-1, 1 if arguments.smoke else arguments.pairs):
            seeded = config.model_copy(update={"seed": max(seed, 0)})
            loader = on_the_card(seeded, train, runtime)
            wait_for(runtime.device)
            started = time.perf_counter()
            network = last(ours(seeded, train, runtime, loader))
            right = accuracy(test, runtime, network, images_BCHW)
            own_s = time.perf_counter() - started
            record_s, record_right = record_run(record, seed, model)
            print(f"ours {own_s:.2f} s {right:.4f}, record {record_s:.2f} s {record_right:.4f}", file=sys.stderr)
            if seed >= 0:  # the first round warms up
                seconds["ours"].append(own_s)
                accuracies["ours"].append(right)
                seconds["record"].append(record_s)
                accuracies["record"].append(record_right)
    ratio = common.paired_ratio(seconds["record"], seconds["ours"])
    lines = [
        f"{name}: {np.mean(seconds[name]):.2f} s (n = {len(seconds[name])}), accuracy "
        f"{100 * np.mean(accuracies[name]):.2f} % (sd {100 * np.std(accuracies[name]):.2f})"
        for name in seconds
    ]
    result = {"header": header, "seconds": seconds, "accuracy": accuracies, "record_over_ours": ratio}
    common.report(arguments, result, "\n".join([*lines, f"the record's time over ours: {ratio}"]))


def on_the_card(config: RunConfig, train: InMemory, runtime: Runtime) -> Loader:
    """A loader whose images lie on the card, as the record's do when its clock begins."""
    loader = our_loader(config, train)
    loader.keep_on(runtime.device)
    for _ in loader.epoch(0, shuffle=False):  # every image is prepared
        pass
    next(loader.epoch(0))  # and sent
    return loader


@contextlib.contextmanager
def record_folder(path: Path, train: InMemory, test: InMemory) -> Iterator[ModuleType]:
    """The record's module, while the working folder holds the images in the form that it looks for."""
    home = Path.cwd()
    specification = importlib.util.spec_from_file_location("record", path.resolve())
    if specification is None or specification.loader is None:
        sys.exit(f"{path} is no Python file.")
    record = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(record)
    with tempfile.TemporaryDirectory() as folder:
        os.mkdir(f"{folder}/cifar10")
        for name, part in (("train", train), ("test", test)):
            images, labels = torch.from_numpy(part.image_NHWC), torch.from_numpy(part.label_N)
            tensors = {"images": images, "labels": labels, "classes": list(part.classes)}
            torch.save(tensors, f"{folder}/cifar10/{name}.pt")
        os.chdir(folder)
        try:
            yield record
        finally:
            os.chdir(home)


def record_run(record: ModuleType, run: int | str, model: torch.nn.Module) -> tuple[float, float]:
    """(seconds by the record's clock, accuracy with its six views); the clock stands in its last printed row."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        right = record.main(run, model)
    return last_time(printed.getvalue()), float(right)


def last_time(printed: str) -> float:
    """The last cell of the last row of the record's table, `|  eval  |  ...  |  2.5931  |`."""
    rows = [line for line in printed.splitlines() if line.startswith("|")]
    return float(rows[-1].rstrip("|").split("|")[-1])


if __name__ == "__main__":
    main()
