"""A finished run made by hand: real photo files, an untrained network, and outputs with known mistakes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.core.task import ONE_LABEL
from saccade.core.types import Preprocessing
from saccade.data.source import open_source
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import save_checkpoint
from saccade.runs.evaluation_files import JudgedOutputs, write_verdict
from saccade.runs.manifest import Manifest
from saccade.train.answers import Answers
from saccade.train.final_evaluation import keep_pictures


@dataclass(frozen=True)
class MadeRun:
    """The run directory, and what its outputs were made from."""

    path: Path
    classes: tuple[str, ...]
    label_N: np.ndarray
    said_N: np.ndarray


def make_run(folder: Path, names: list[str], num_each: int, wrong_share: float = 0.2, epochs: int = 6) -> MadeRun:
    """A run on `num_each` noisy photos of each class; about `wrong_share` of the answers are wrong."""
    draw = np.random.default_rng(4)
    for name in names:
        (folder / "photos" / name).mkdir(parents=True)
        for number in range(num_each):
            coarse = draw.integers(0, 256, (6, 8, 3), dtype=np.uint8)
            photo = Image.fromarray(coarse).resize((160, 120), Image.Resampling.BICUBIC)
            photo.save(folder / "photos" / name / f"{number:03}.jpg", quality=85)
    source = open_source(str(folder / "photos"))
    classes, num = source.classes, len(source)
    label_N = np.array([source.record(i).label for i in range(num)])
    said_N = np.where(draw.random(num) < wrong_share, draw.integers(0, len(classes), num), label_N)
    logits_NK = draw.normal(0, 1, (num, len(classes))).astype(np.float32)
    logits_NK[np.arange(num), said_N] = logits_NK.max(axis=1) + draw.uniform(0.2, 5, num)
    run = folder / "run"
    run.mkdir()
    (run / "config.toml").write_text(f"source = {json.dumps(str(folder / 'photos'))}\nseed = 0\nepochs = {epochs}\n")
    (run / "environment.json").write_text(json.dumps({"device": "CPU", "packages": {"torch": "2.13.0"}}))
    counts = np.bincount(label_N, minlength=len(classes)).tolist()
    data = {"source": "photos", "num_samples": num, "classes": list(classes), "counts": {"test": counts}}
    (run / "data.json").write_text(json.dumps(data))
    with open(run / "metrics.jsonl", "w", encoding="utf-8") as file:
        for epoch in range(1, epochs + 1):
            event = {
                "event": "epoch",
                "epoch": epoch,
                "train_loss": 2 / epoch,
                "train_accuracy": 1 - 0.5 / epoch,
                "validation_loss": 2 / epoch + 0.1,
                "validation_accuracy": 0.9 - 0.5 / epoch,
                "learning_rate": 0.1 / epoch,
                "seconds": 1.5,
                "images_per_second": 1000.0,
                "is_best": epoch <= 4,
            }
            file.write(json.dumps(event) + "\n")
    torch.manual_seed(0)
    model = build_model("lenet5", ModelSpec(num_classes=len(classes), input_CHW=(3, 64, 80)))
    preprocessing = Preprocessing(resize_px=84, input_height_px=64, input_width_px=80)
    manifest = Manifest(
        model="lenet5",
        preprocessing=preprocessing,
        classes=classes,
        temperature=1.4,
        provenance={"command": "saccade train photos", "seed": 0},
    )
    keys = [source.record(i).key for i in range(num)]
    outputs = JudgedOutputs(logits_NK=logits_NK, label_N=label_N.astype(np.int64), index_N=np.arange(num))
    pictures = keep_pictures(outputs, source, preprocessing, Answers(task=ONE_LABEL, temperature=1.4))
    write_verdict(run, {"split": "test", "classes": list(classes)}, keys, outputs, pictures)
    save_checkpoint(run / "checkpoint-best", manifest, model.state_dict())
    return MadeRun(path=run, classes=classes, label_N=label_N, said_N=said_N)


EVIL = "<b onmouseover='alert(1)'>&\u202ecat"


@pytest.fixture(scope="session")
def made_run(tmp_path_factory: pytest.TempPathFactory) -> MadeRun:
    """Ten classes, one of them with a name that tries to be markup, 20 photos each."""
    names = [EVIL, *(f"class number {k}" for k in range(9))]
    return make_run(tmp_path_factory.mktemp("made"), names, 20)


@pytest.fixture(scope="session", name="make_run")
def make_run_fixture() -> Callable[..., MadeRun]:
    """`make_run(folder, names, num_each, wrong_share=0.2, epochs=6)`."""
    return make_run
