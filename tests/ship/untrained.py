"""Runs with fresh networks, or with public weights, written as a training writes them: enough for an export."""

from pathlib import Path
from typing import Any

import torch

from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Preprocessing
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.runs.checkpoint import save_checkpoint
from saccade.runs.manifest import Manifest
from saccade.weights.public import find_weights, load_backbone

CLASSES = ("hat", "shoe|boot", "Kleid ü", "t-shirt")
PIXELS = Preprocessing(
    resize_px=73,
    input_height_px=64,
    input_width_px=64,
    interpolation="bicubic",
    mean=(0.48, 0.45, 0.4),
    std=(0.22, 0.23, 0.24),
)
JUDGED = {
    "num_samples": 1234,
    "top1": 0.8951,
    "top1_low": 0.8598,
    "top1_high": 0.9223,
    "kind": "held-out",
    "split": "test",
    "caveats": ["Fewer than 20 held-out images of hat: wide intervals."],
}


def untrained_run(
    run: Path,
    model: str = "mobilenetv3-small",
    preprocessing: Preprocessing = PIXELS,
    temperature: float = 1.25,
    task: Task = ONE_LABEL,
    classes: tuple[str, ...] = CLASSES,
    metrics: dict[str, Any] = JUDGED,
    origin: dict[str, str] | None = None,
    head_scale: float = 1.0,
) -> Path:
    """The run directory. Running means and variances are as if training had moved them; `head_scale` makes the logits
    of deep networks, which are large without training, as small as trained ones."""
    torch.manual_seed(3)
    network = resolve_model(model, ModelSpec(num_classes=len(classes), input_CHW=preprocessing.input_CHW))
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    with torch.no_grad():
        for parameter in network.head.parameters():
            parameter.mul_(head_scale)
    manifest = Manifest(
        model=model,
        preprocessing=preprocessing,
        classes=classes,
        task=task,
        temperature=temperature,
        metrics=metrics,
        provenance={"source": "/home/somebody/secret/photos", "seed": 5, "transfer": origin or {}},
    )
    run.mkdir(parents=True)
    (run / "config.toml").write_text("format = 2\n")
    save_checkpoint(run / "checkpoint-best", manifest, network.state_dict())
    return run


def public_run(run: Path, weights: Path, model: str) -> Path:
    """The run directory of public weights, with their own classes and preprocessing."""
    found = find_weights(str(weights), model)
    classes = found.classes or tuple(f"class {number}" for number in range(found.num_classes))
    manifest = Manifest(model=model, preprocessing=found.preprocessing, classes=classes)
    run.mkdir(parents=True)
    save_checkpoint(run / "checkpoint-best", manifest, load_backbone(found).state_dict())
    return run
