"""Runs with fresh networks, or with public weights, written as a training writes them: enough for an export."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saccade.classify.classifier import open_member
from saccade.core.runtime import RuntimeConfig
from saccade.core.task import ONE_LABEL, Task
from saccade.core.types import Preprocessing
from saccade.evaluate.novelty import measure_novelty
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.models.penultimate import MAX_KEPT, with_features
from saccade.runs.checkpoint import find_checkpoint, save_checkpoint, update_manifest
from saccade.runs.manifest import Manifest
from saccade.runs.names import NOVELTY
from saccade.runs.novelty_file import KnownFeatures, novelty_bytes
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
BANDS_16 = Preprocessing(  # five bands, whose white is that of 12 bits
    channels="bands",
    depth_bits=16,
    white_16_bit=4095,
    input_height_px=16,
    input_width_px=16,
    mean=(0.2, 0.3, 0.4, 0.5, 0.6),
    std=(0.1, 0.2, 0.3, 0.2, 0.1),
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


def with_known_features(run: Path) -> Path:
    """`run`, which now keeps what its head sees of 40 drawn images, as if they had trained it, and of 30 others."""
    checkpoint, member = find_checkpoint(run), open_member(run, RuntimeConfig(device="cpu"))
    draw, pixels = np.random.default_rng(11), member.preprocessing
    coarse = draw.integers(0, 256, (70, 4, 4, pixels.num_channels), dtype=np.uint8)
    image_NHWC = coarse.repeat(pixels.input_height_px // 4, axis=1).repeat(pixels.input_width_px // 4, axis=2)
    looking = replace(member, model=with_features(member.model, MAX_KEPT))
    both_NX = looking.logits(torch.from_numpy(image_NHWC).permute(0, 3, 1, 2)).numpy()
    feature_ND = both_NX[:, len(member.classes) :]
    novelty = measure_novelty(feature_ND[:40], feature_ND[40:])
    kept = novelty_bytes(KnownFeatures(unit_MD=novelty.unit_MD, distance_V=novelty.distance_V))
    manifest = checkpoint.manifest
    update_manifest(checkpoint, manifest.metrics, manifest.temperature, manifest.task, {NOVELTY: kept})
    return run


def public_run(run: Path, weights: Path, model: str) -> Path:
    """The run directory of public weights, with their own classes and preprocessing."""
    found = find_weights(str(weights), model)
    classes = found.classes or tuple(f"class {number}" for number in range(found.num_classes))
    manifest = Manifest(model=model, preprocessing=found.preprocessing, classes=classes)
    run.mkdir(parents=True)
    save_checkpoint(run / "checkpoint-best", manifest, load_backbone(found).state_dict())
    return run
