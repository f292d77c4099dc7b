"""Train the same few steps on 1, 2, 3, ... processes, and compare every bit of what comes of it.

    python -m campaigns.lanes --processes 1 2 3 4 8 --threads 1 2

Every case of `CASES` is a way to train that a recipe or a person can ask for, on a tiny set with a tiny network.
For each number of processes a group is started on loopback; each process computes its lanes of every batch, and prints
one digest for each case: of the weights, the batch statistics, the state of the optimizer, the running average and the
sums of the epoch. All must be equal. Other threads may give other bits, the same for any number of processes.
"""

import argparse
import hashlib
import json
import os
import socket
import subprocess
import sys
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from saccade.core.errors import ImageError
from saccade.core.ranks import current_ranks, is_launched, joined_group
from saccade.core.runtime import RuntimeConfig, seed_everything, start
from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Preprocessing, Record
from saccade.data.augmentation_policy import get_policy
from saccade.data.labels import labels_of
from saccade.data.loading.loader import Loader, build_loader
from saccade.data.source import DataSource
from saccade.ensemble.distillation import soft_loss
from saccade.models.architecture import ImageClassifier, ModelSpec, build_model
from saccade.models.layers import StochasticDepth
from saccade.train import reduce
from saccade.train.config import RunConfig
from saccade.train.loss import class_weights
from saccade.train.run import leave_out_branches
from saccade.train.schedule import learning_rate_factor
from saccade.train.state import Cursor, restore_training, state_tensors
from saccade.train.step import TrainingStep

SIDE_PX = 16
CLASSES = ("left", "middle", "right")
PIXELS = Preprocessing(input_height_px=SIDE_PX, input_width_px=SIDE_PX, mean=(0.5,) * 3, std=(0.25,) * 3)
COMMON = [
    "batch_size=24",
    "epochs=1",
    "scale.lanes=8",
    "optimizer.learning_rate=0.01",
    "optimizer.other_learning_rate=0.01",
    "loader.threads=1",
    "schedule.warmup_fraction=0",
]


@dataclass(frozen=True)
class Case:
    """A way to train: settings, the network, the images, and what happens on the way."""

    settings: str = ""
    model: str = "small"
    task: Task = ONE_LABEL
    num_images: int = 51
    precision: str = "float32"
    policy: str = ""
    happens: str = ""
    is_enlarged: bool = False

    def config(self) -> RunConfig:
        """What a run of it would be asked."""
        config = RunConfig().with_overrides([*COMMON, *self.settings.split()])
        return config.model_copy(update={"augment": get_policy(self.policy).config}) if self.policy else config


SEVERAL = Task(kind="several labels")
CASES: dict[str, Case] = {
    "sgd": Case("optimizer.name=sgd"),
    "momentum, step schedule": Case("optimizer.name=momentum schedule.name=step"),
    "nesterov, accumulated": Case("optimizer.name=nesterov batch_size=64 accumulate=32", num_images=131),
    "rmsprop, constant": Case("optimizer.name=rmsprop schedule.name=constant"),
    "rmsprop without momentum": Case("optimizer.name=rmsprop optimizer.momentum=0"),
    "adam, triangular": Case("optimizer.name=adam schedule.name=triangular"),
    "adamw, mixup": Case("optimizer.name=adamw augment.mixup.alpha=0.4"),
    "muon, average, clipped, smoothed": Case(
        "optimizer.name=muon average.decay=0.9 average.every_steps=1 optimizer.clip_norm=0.5 loss.label_smoothing=0.1"
    ),
    "muon, unit filters, stem held": Case(
        "optimizer.name=muon optimizer.unit_filters=true optimizer.stem_fraction=0.5 epochs=2"
    ),
    "lookahead": Case("average.decay=0.5 average.every_steps=1 average.lookahead=true"),
    "balanced weights, cutmix": Case("loss.class_weights=balanced augment.cutmix.alpha=1"),
    "weights by name": Case("loss.class_weights={left=5}"),
    "focal": Case("loss.focal_gamma=2 optimizer.weight_decay=0.1"),
    "balanced sampling, focal, weights": Case(
        "loader.sampling=balanced loss.focal_gamma=1 loss.class_weights={right=0.3}"
    ),
    "several labels": Case("loss.label_smoothing=0.1 loss.class_weights=balanced", task=SEVERAL),
    "several labels, asymmetric, mixup": Case(
        "loss.focal_gamma=1 loss.negative_gamma=4 loss.negative_margin=0.05 augment.mixup.alpha=0.4", task=SEVERAL
    ),
    "a number": Case(task=Task(kind="number", mean=0.7, deviation=2.5)),
    "grades": Case(task=Task(kind="grade")),
    "rates by layer": Case("optimizer.layer_rate_factor=0.5 optimizer.name=adamw"),
    "growing images": Case("input.start_fraction=0.5 epochs=2"),
    "frozen": Case("transfer.frozen=stage1"),
    "frozen, thawing": Case("transfer.frozen=stem transfer.thaw_fraction=1 epochs=3"),
    "auxiliary head": Case(model="branched"),
    "a layer that lanes do not reach": Case(model="partial", settings="optimizer.name=adamw"),
    "cumulative statistics": Case(model="cumulative"),
    "no batch statistics": Case(model="plain"),
    "teacher": Case(happens="teacher"),
    "photographs, all augmentations": Case(policy="photo-mixed"),
    "bfloat16": Case(precision="bfloat16"),
    "images lost on the way, mixup": Case(
        "loader.on_bad_image=skip augment.mixup.alpha=0.4", num_images=151, happens="lost"
    ),
    "memory runs out": Case("batch_size=64", num_images=131, happens="memory"),
    "a step that is not finite": Case(happens="overflow"),
    "five lanes": Case("scale.lanes=5"),
    "lenet5, adamw, mixup": Case("optimizer.name=adamw augment.mixup.alpha=0.4", model="lenet5"),
    "resnet20, nesterov": Case("optimizer.name=nesterov", model="resnet20"),
}
ELASTIC = {  # gone on with by fewer processes, in mid-epoch
    "elastic, growing images": Case(
        "input.start_fraction=0.5 epochs=2 batch_size=16 optimizer.name=muon average.decay=0.9 average.every_steps=2 "
        "augment.mixup.alpha=0.4",
        num_images=99,
    ),
    "elastic, memory runs out": Case("batch_size=64 epochs=4 optimizer.name=adamw", num_images=200, happens="memory"),
}
WHOLE = {  # too long for each change, and run here
    "resnet20, muon, average, clipped": Case(
        "optimizer.name=muon average.decay=0.9 average.every_steps=1 optimizer.clip_norm=0.5", model="resnet20"
    ),
    "mobilenetv3-small, stochastic depth": Case("stochastic_depth=0.3", model="mobilenetv3-small"),
    "efficientnet-lite0": Case("optimizer.name=rmsprop", model="efficientnet-lite0"),
    "convnext": Case("optimizer.name=adamw", model="convnext-tiny", is_enlarged=True),
    "resnet20, bfloat16": Case(model="resnet20", precision="bfloat16"),
}


class Squares(DataSource):
    """Random pixels with random labels of any kind; some images turn bad where `lost`."""

    name = "squares"
    digest = "0" * 64

    def __init__(self, num: int, task: Task, lost: bool) -> None:
        draw = np.random.default_rng(num)
        self.classes = ("size",) if task.is_number else CLASSES
        self.task = task
        self._pixel_NHWC = draw.integers(0, 256, (num, SIDE_PX, SIDE_PX, 3), dtype=np.uint8)
        self._pixel_NHWC[:, 0, 0, 0] = self._pixel_NHWC[:, 0, 0, 0] % 255
        self._pixel_NHWC[5, 0, 0, 0] = 255  # the one that overflows
        self._label_N = draw.choice(len(CLASSES), num, p=(0.2, 0.3, 0.5))
        self._has_NK = draw.random((num, len(CLASSES))) < 0.4
        self._value_N = draw.normal(0.7, 2.5, num)
        self._lost = {17} if lost else set()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        if self.task.is_number:
            return Record(key=str(index), label=0, value=float(self._value_N[index]))
        if self.task.is_several:
            return Record(key=str(index), label=-1, labels=tuple(np.flatnonzero(self._has_NK[index]).tolist()))
        return Record(key=str(index), label=int(self._label_N[index]))

    def read(self, index: int) -> np.ndarray:
        if index in self._lost:
            raise ImageError(str(index), "is cut off")
        return self._pixel_NHWC[index]


class Small(ImageClassifier):
    """Convolutions, batch normalisation, dropout and stochastic depth, in the field's named parts."""

    def __init__(self, num_outputs: int, kind: str) -> None:
        super().__init__()
        self._kind = kind
        self.stem = self._layer(3, 4)
        stage1, stage2 = self._layer(4, 8), self._layer(8, 8)
        self.stages = nn.Sequential(OrderedDict(stage1=stage1, stage2=stage2))
        self.neck = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.head = nn.Sequential(OrderedDict(dropout=nn.Dropout(0.3), fc=nn.Linear(8, num_outputs)))
        if kind == "branched":
            self.side = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, num_outputs))
        if kind == "partial":
            self.rare = nn.Linear(8, num_outputs)

    def _layer(self, channels_in: int, channels_out: int) -> nn.Sequential:
        layers: OrderedDict[str, nn.Module] = OrderedDict(
            conv=nn.Conv2d(channels_in, channels_out, 3, stride=2, padding=1, bias=self._kind == "plain")
        )
        if self._kind != "plain":
            momentum = None if self._kind == "cumulative" else 0.1
            layers["norm"] = nn.BatchNorm2d(channels_out, momentum=momentum)
        layers["relu"] = nn.ReLU()
        layers["depth"] = StochasticDepth(0.1)
        return nn.Sequential(layers)

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        feature_BD = self.forward_features(image_BCHW)
        logits_BK: torch.Tensor = self.head(feature_BD)
        if self._kind == "partial" and float(feature_BD.detach().sum()) > self._threshold:
            logits_BK = logits_BK + self.rare(feature_BD)
        return logits_BK

    _threshold = 8.0  # about half of the lanes are above it

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        if self._kind != "branched":
            return self(image_BCHW), []
        map_BCHW = self.stem(image_BCHW)
        side_BK = self.side(map_BCHW)
        return self.head(self.neck(self.stages(map_BCHW))), [(0.3, side_BK)]


class Teacher:
    """A fixed network that is asked about the images of each step."""

    weight = 0.4
    seen = ()

    def __init__(self) -> None:
        self._network = nn.Sequential(nn.Flatten(), nn.Linear(3 * SIDE_PX * SIDE_PX, len(CLASSES))).eval()

    @torch.no_grad()
    def _said(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        probability_BK: torch.Tensor = self._network(image_BCHW.float() / 255).softmax(dim=1)
        return probability_BK

    def of_step(self, image_BCHW: torch.Tensor, logits_BK: torch.Tensor) -> torch.Tensor:
        return soft_loss(logits_BK, self._said(image_BCHW), 2.0)


def begin(case: Case, num_threads: int) -> tuple[TrainingStep, Loader]:
    """The training of a case, and what gives this process its lanes."""
    runtime = start(RuntimeConfig.parse({"device": "cpu", "precision": case.precision, "num_threads": num_threads}))
    config = case.config()
    source = Squares(case.num_images, case.task, case.happens == "lost")
    index_N = np.arange(len(source))
    loader = build_loader(source, index_N, PIXELS, config.augment, config.loader_of(runtime.ranks), config.seed)
    training = TrainingStep(_network(case, config), config, PIXELS, runtime, case.task)
    weight_K = class_weights(config.loss, torch.from_numpy(labels_of(source, index_N)), source.classes)
    training.class_weight_K = weight_K
    if case.happens == "teacher":
        seed_everything(7)
        training.extra_loss = Teacher()
    if case.happens in ("memory", "overflow"):
        _disturb(training, case.happens)
    return training, loader


def _network(case: Case, config: RunConfig) -> nn.Module:
    seed_everything(config.seed)
    num_outputs = 1 if case.task.is_number else len(CLASSES)
    if case.model in ("small", "branched", "partial", "cumulative", "plain"):
        return Small(num_outputs, case.model)
    side_px = 2 * SIDE_PX if case.is_enlarged else SIDE_PX
    network = build_model(case.model, ModelSpec(num_classes=num_outputs, input_CHW=(3, side_px, side_px)))
    leave_out_branches(network, config)
    return nn.Sequential(nn.Upsample(scale_factor=2), network) if case.is_enlarged else network


def _disturb(training: TrainingStep, happens: str) -> None:
    """Lanes of more than four images, or that hold a bright one, do not go as they should."""
    real = training._loss

    def loss(image_BCHW: torch.Tensor, *others: Any) -> Any:
        if happens == "memory" and len(image_BCHW) > 4 and int(image_BCHW[0, 0, 0, 0]) % 2:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        found, num_correct = real(image_BCHW, *others)
        is_odd = happens == "overflow" and int(image_BCHW[:, 0, 0, 0].max()) == 255
        return found * (float("inf") if is_odd else 1.0), num_correct

    training._loss = loss  # type: ignore[method-assign]


def take_steps(training: TrainingStep, loader: Loader, first: int = 0, last: int | None = None) -> int:
    """Take steps `first` to `last` of the run (not included; None: to its end); how many were bad."""
    config, num_bad = training.config, 0
    num_steps = config.epochs * loader.num_batches
    for epoch in range(config.epochs):
        begin_step = epoch * loader.num_batches
        if begin_step + loader.num_batches <= first or (last is not None and begin_step >= last):
            continue
        training.set_epoch(epoch)
        first_batch = max(0, first - begin_step)
        for step, batch in enumerate(loader.epoch(epoch, first_batch), start=begin_step + first_batch):
            if last is not None and step >= last:
                break
            factor = learning_rate_factor(config.schedule, step, num_steps)
            num_bad += not training.run(batch, step, factor)
    return num_bad


def digest_of(training: TrainingStep) -> str:
    """SHA-256 of everything that a training is: weights, statistics, state of the optimizer, average, sums."""
    digest = hashlib.sha256(str(training.num_micro_batches).encode())
    tensors = {f"model.{name}": value for name, value in training.model.state_dict().items()}
    tensors |= {f"judged.{name}": value for name, value in training.judged_model.state_dict().items()}
    for name, value in sorted((tensors | state_tensors(training)).items()):
        digest.update(f"{name} {tuple(value.shape)} {value.dtype}".encode())
        digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def digests(names: Sequence[str], num_threads: int) -> dict[str, str]:
    """The digest of each case that has a lane for every process of this group, computed by them."""
    found = {}
    for name in names:
        if (CASES | WHOLE)[name].config().num_lanes < current_ranks().world_size:
            continue
        training, loader = begin((CASES | WHOLE)[name], num_threads)
        with loader:
            take_steps(training, loader)
        found[name] = digest_of(training)
    return found


def part_digests(first: int, last: int, folder: Path) -> dict[str, str]:
    """The digests of the elastic cases after steps `first` to `last`, which begin and end with a save in `folder`."""
    found = {}
    for number, (name, case) in enumerate(ELASTIC.items()):
        training, loader = begin(case, 1)
        if first:
            weights, state = (load_file(folder / f"{number}-{first}-{what}") for what in ("weights", "state"))
            cursor = Cursor(num_micro_batches=int(state.pop("parts")))
            restore_training(training, cursor, weights, state)
        with loader:
            take_steps(training, loader, first, last)
        found[name] = digest_of(training)
        if training.runtime.ranks.is_first:
            state = state_tensors(training) | {"parts": torch.tensor(training.num_micro_batches)}
            for what, tensors in (("weights", training.judged_model.state_dict()), ("state", state)):
                packed = {key: value.clone(memory_format=torch.contiguous_format) for key, value in tensors.items()}
                save_file(packed, folder / f"{number}-{last}-{what}")
    return found


def child(arguments: argparse.Namespace) -> None:
    """One process of a group, or one alone: print its digests."""
    torch.set_num_threads(arguments.threads[0])
    reduce.STRETCH_BYTES = 256  # so that even these small networks send several
    with joined_group(60.0) if is_launched() else nullcontext():
        if arguments.steps:
            found = part_digests(*arguments.steps, arguments.folder)
        else:
            found = digests(arguments.cases, arguments.threads[0])
        print(json.dumps(found), flush=True)


def run_group(world_size: int, num_threads: int, names: Sequence[str]) -> list[dict[str, str]]:
    """What each process of a group of so many says."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world_size)}
    shared |= {"GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": str(num_threads), "LOCAL_WORLD_SIZE": str(world_size)}
    command = [sys.executable, "-m", "campaigns.lanes", "--child", "--threads", str(num_threads), "--cases", *names]
    processes = [
        subprocess.Popen(
            command, env={**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}, stdout=subprocess.PIPE
        )
        for rank in range(world_size)
    ]
    said = [process.communicate()[0] for process in processes]
    if any(process.returncode for process in processes):
        sys.exit(f"A process of a group of {world_size} failed; what it said stands above.")
    return [json.loads(text) for text in said]


def differences(said: dict[int, list[dict[str, str]]]) -> list[str]:
    """Which cases differ on which numbers of processes, or between the processes of one group."""
    expected = said[min(said)][0]
    return [
        f"{name}: process {rank} of {world_size}"
        for world_size, group in said.items()
        for rank, found in enumerate(group)
        for name in expected
        if found.get(name, expected[name]) != expected[name]
    ]


def main() -> None:
    """Run the cases on all numbers of processes and print the result as JSON; exit status 1 where any differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 3, 4, 8])
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--cases", nargs="+", default=[*CASES, *WHOLE], help="default: all of them")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--steps", type=int, nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    failures = []
    for num_threads in arguments.threads:
        said = {number: run_group(number, num_threads, arguments.cases) for number in arguments.processes}
        failures += [f"{text}, {num_threads} threads" for text in differences(said)]
    print(json.dumps({"cases": len(arguments.cases), "processes": arguments.processes, "failures": failures}))
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
