"""Transfer with everything frozen: features once and a fitted layer, against the backbone run in every epoch.

    python -m benchmarks.transfer_time --images 512 --pairs 5
    python -m benchmarks.transfer_time --full --pairs 5            (all 3,781 images through the network once, timed)
    python -m benchmarks.transfer_time --peer-python PYTHON        (an interpreter with torch and torchvision)

The usual way is what tutorials show: Pillow in DataLoader's workers, the frozen backbone in float32 in every epoch, a
new last layer trained with Adam. Ours is all that a person waits for: the scan, which decodes every image and digests
it, the features, and the fitted layer; with features on disk, the scan, reading and checking them, and the layer. Both
ways pass the same images in turns, `--images` of them; an epoch does the same
work every time, so ten take ten times one, and one of all images as much longer as there are more of them. The accuracy
of ten epochs is measured on the same features, which are the same in every epoch.
"""

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks import common
from benchmarks.transfer_usual import usual_epoch
from saccade.core.allocator import use_large_pages
from saccade.core.runtime import RuntimeConfig, start
from saccade.data.scan import scan_source
from saccade.data.source import DataSource, open_source
from saccade.data.sources.in_memory import FileSource
from saccade.design.table import layer_table
from saccade.models.architecture import ModelSpec
from saccade.models.surgery import transplant
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.features import FeatureWork, collect_features
from saccade.transfer.frozen import Tap
from saccade.transfer.probe import Directions, Problem, fit_probe, stratified_folds
from saccade.weights.public import find_weights, load_backbone

EPOCHS = 10
LAST = Tap(depth="all", pooled=True)
NETWORK = "squeezenet1.1"


def main() -> None:
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--images", type=int, default=512, help="training images that pass in a round (default 512)")
    parser.add_argument("--full", action="store_true", help="also time the features of all images of all splits")
    parser.add_argument("--peer-python", default="", help="an interpreter with torchvision: the usual way with it too")
    arguments = parser.parse_args()
    use_large_pages()  # as the command line does
    header = common.start(arguments)
    work = Work(arguments)
    result: dict[str, Any] = {"header": header, "images": work.num_images, **compare_passes(work, arguments)}
    result |= head_and_accuracy(work, arguments) | cached_epochs(work, header["copy_gb_per_s"])
    flops = 2 * work.multiply_adds * len(work.source)
    result["matmul_bound_s"] = flops / (header["matmul_float32_tflops"] * 1e12)
    if arguments.full:
        result["features_of_all_s"] = work.features_s(np.arange(len(work.source)))
    result |= totals(result, work)
    common.report(arguments, result, table(result))


class Work:
    """The images, the network, and how long features of some of them take."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        photos = common.shared_folder("data/clothing-small")
        self.source: DataSource = open_source(str(photos))
        if arguments.smoke:
            self.source = every_so_many(self.source, photos)
        self.weights = find_weights(str(common.shared_folder("weights/squeezenet1_1")), NETWORK)
        spec = ModelSpec(num_classes=len(self.source.classes), input_CHW=self.weights.preprocessing.input_CHW)
        name, model = transplant(load_backbone(self.weights), NETWORK, spec, "loglinear")
        self.backbone = nn.Sequential(model.stem, model.stages, model.neck)
        self.plan = FeaturePlan(
            model=model,
            network=name,
            source=self.source,
            digest_NB=np.zeros((len(self.source), 16), np.uint8),
            preprocessing=self.weights.preprocessing,
            runtime=start(RuntimeConfig.parse({"num_threads": arguments.threads}, "benchmark")),
            dtype="float32",
        )
        self.kept_s: list[float] = []
        splits = np.array([str(self.source.record(index).split) for index in range(len(self.source))])
        self.train_N, self.test_N = np.flatnonzero(splits == "train"), np.flatnonzero(splits == "test")
        self.num_images = 16 if arguments.smoke else min(arguments.images, len(self.train_N))
        self.some_N = self.train_N[np.linspace(0, len(self.train_N) - 1, self.num_images).astype(int)]
        self.multiply_adds = layer_table(model, spec.input_CHW, name=name).totals.multiply_adds

    def features_s(self, index_N: np.ndarray) -> float:
        """Seconds to compute and keep the features of images in a fresh cache; those to find them go to `kept_s`."""
        with tempfile.TemporaryDirectory() as folder:
            times_s = [time.perf_counter()]
            for _ in range(2):
                self.features(index_N, Path(folder))
                times_s.append(time.perf_counter())
            self.kept_s.append(times_s[2] - times_s[1])
            return times_s[1] - times_s[0]

    def scan_s(self) -> float:
        """Seconds of the scan of all images; their digests go into the plan."""
        started_s = time.perf_counter()
        scan = scan_source(self.source, self.plan.runtime.num_threads)
        seconds = time.perf_counter() - started_s
        self.plan.digest_NB[:] = scan.bytes_digest_N
        return seconds

    def features(self, index_N: np.ndarray, root: Path | None) -> torch.Tensor:
        """feature_ND float32."""
        work = FeatureWork(cache=(root, 10**10) if root else None)
        return collect_features(self.plan, [LAST], index_N, work)[LAST].float()

    def labels(self, index_N: np.ndarray) -> torch.Tensor:
        return torch.tensor([self.source.record(int(index)).label for index in index_N])


def every_so_many(source: DataSource, folder: Path, num_images: int = 40) -> DataSource:
    """Some of the images of a folder, of all its classes and splits."""
    records = [source.record(int(index)) for index in np.linspace(0, len(source) - 1, num_images)]
    return FileSource([(folder / each.key, source.classes[each.label], str(each.split)) for each in records])


def compare_passes(work: Work, arguments: argparse.Namespace) -> dict[str, Any]:
    """One pass of the images through either way, in turns."""
    work.scan_s()  # warms the file cache
    num_pairs = 1 if arguments.smoke else arguments.pairs
    scan_s = [work.scan_s() for _ in range(num_pairs)]
    files = [work.source.read(int(index)) for index in work.some_N]
    encoded = [content for content in files if isinstance(content, bytes)]
    label_N = work.labels(work.some_N)
    contestants: dict[str, Callable[[], float]] = {
        "usual": lambda: usual_epoch(work.backbone, encoded, label_N, arguments.threads),
        "ours": lambda: work.features_s(work.some_N),
    }
    if arguments.peer_python:
        contestants["torchvision"] = lambda: peer_epoch(arguments, work)
    seconds = common.interleave(contestants, num_pairs)
    return {"pass_s": seconds, "scan_s": scan_s, "kept_s": work.kept_s[-num_pairs:]}


def peer_epoch(arguments: argparse.Namespace, work: Work) -> float:
    """Seconds of an epoch with torchvision's network and transforms, in another interpreter, its start not counted."""
    folder = common.shared_folder("data/clothing-small") / "train"
    command = [arguments.peer_python, "-m", "benchmarks.transfer_usual", str(folder), str(work.weights.path)]
    command += [str(work.num_images), str(arguments.threads)]
    done = subprocess.run(command, cwd=common.REPOSITORY, capture_output=True, text=True, check=True)
    return float(json.loads(done.stdout)["seconds"])


def head_and_accuracy(work: Work, arguments: argparse.Namespace) -> dict[str, Any]:
    """Seconds of the fitted layer, and the test accuracy of it and of ten epochs of Adam on the same features."""
    train_N, test_N = (work.some_N, work.some_N) if arguments.smoke else (work.train_N, work.test_N)
    feature_ND, test_ND = work.features(train_N, None), work.features(test_N, None)
    label_N, test_label_N = work.labels(train_N), work.labels(test_N)
    num_classes = len(work.source.classes)
    fold_N = stratified_folds(label_N.numpy(), np.arange(len(train_N)), 3, 0)
    seconds = []
    for _ in range(1 if arguments.smoke else arguments.pairs):
        started_s = time.perf_counter()
        probe = fit_probe(feature_ND, label_N, num_classes, fold_N)
        seconds.append(time.perf_counter() - started_s)
    fitted = float(((test_ND @ probe.weight_KD.T + probe.bias_K).argmax(1) == test_label_N).float().mean())
    layer = adam_epochs(feature_ND, label_N, num_classes)
    with torch.no_grad():
        trained = float((layer(test_ND).argmax(1) == test_label_N).float().mean())
    work.feature_ND, work.label_N = feature_ND, label_N
    return {"head_s": np.asarray(seconds), "accuracy_fitted": fitted, "accuracy_ten_epochs": trained}


def adam_epochs(feature_ND: torch.Tensor, label_N: torch.Tensor, num_classes: int) -> nn.Linear:
    """The usual last layer after ten epochs: Adam, 1e-3, batches of 32."""
    torch.manual_seed(0)
    layer = nn.Linear(feature_ND.shape[1], num_classes)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    for _ in range(EPOCHS):
        for index_B in torch.randperm(len(label_N)).split(32):
            optimizer.zero_grad()
            nn.functional.cross_entropy(layer(feature_ND[index_B]), label_N[index_B]).backward()
            optimizer.step()
    return layer


def cached_epochs(work: Work, copy_gb_per_s: float) -> dict[str, float]:
    """Full passes of loss and gradient over kept features a second, and how many the memory could feed.

    A pass reads every feature twice; a copy reads and writes, and its rate is taken for that of reading."""
    problem = Problem(
        Directions(work.feature_ND), work.label_N, len(work.source.classes), np.full(len(work.label_N), -1)
    )
    stretched_NP = torch.cat([problem.directions.turned_NR, torch.ones(len(work.label_N), 1)], dim=1)
    parameter_FKP, weight_P = torch.zeros(problem.shape, dtype=torch.float64), torch.zeros(problem.shape[2])
    with torch.no_grad():
        seconds = common.best_seconds(lambda: problem.loss_and_gradient(parameter_FKP, stretched_NP, weight_P), 20)
    return {"epochs_per_s": 1 / seconds, "memory_epochs_per_s": copy_gb_per_s * 1e9 / (2 * stretched_NP.nbytes)}


def totals(result: dict[str, Any], work: Work) -> dict[str, Any]:
    """Ten epochs of the usual way over all of ours, on all training images, pair by pair."""
    scale = len(work.train_N) / work.num_images
    rest_s = float(np.median(result["head_s"]))
    rest_s += float(np.median(result["scan_s"])) * len(work.train_N) / len(work.source)
    ours_s = scale * result["pass_s"]["ours"] + rest_s
    kept_s = scale * np.asarray(result["kept_s"]) + rest_s
    found: dict[str, Any] = {}
    for name in [name for name in result["pass_s"] if name != "ours"]:
        usual_s = EPOCHS * scale * result["pass_s"][name]
        found[f"times_{name}_first"] = common.paired_ratio(usual_s, ours_s)
        found[f"times_{name}_kept"] = common.paired_ratio(usual_s, kept_s)
    return found


def table(result: dict[str, Any]) -> str:
    """The figures, line by line."""
    lines = [
        f"{name:<12} {result['images'] / float(np.median(seconds)):>8.1f} images/s through the frozen part"
        for name, seconds in result["pass_s"].items()
    ]
    if "features_of_all_s" in result:
        lines.append(f"features of all images {result['features_of_all_s']:.1f} s")
    lines += [
        f"scan of all images {float(np.median(result['scan_s'])):.1f} s; features of {result['images']} images found "
        f"on disk in {float(np.median(result['kept_s'])):.3f} s",
        f"at the rate of large matrix products the multiply-adds of all images alone take "
        f"{result['matmul_bound_s']:.1f} s",
        f"head {float(np.median(result['head_s'])):.2f} s; test accuracy {100 * result['accuracy_fitted']:.1f} %, "
        f"after ten epochs of the usual way {100 * result['accuracy_ten_epochs']:.1f} %",
        f"passes over kept features {result['epochs_per_s']:.0f}/s; the memory could feed "
        f"{result['memory_epochs_per_s']:.0f}/s",
    ]
    lines += [f"{key.replace('_', ' ')}: {value}" for key, value in result.items() if key.startswith("times_")]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
