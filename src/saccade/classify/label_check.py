"""Which labels of a set may be wrong, training images included: confident learning on cross-validated probabilities.

A network's own answers say little of the images it was trained on: it may know a wrong label by heart. So only what its
head sees of an image is taken, and a logistic regression that was fitted to the other images answers for each fifth
of them. Features that were never trained on these labels, those of a pretrained network, are the best ones.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from ..core.display import Displayed
from ..core.errors import DataError, ModelError, printable
from ..core.runtime import RuntimeConfig, start
from ..data.augment.policy import AugmentConfig
from ..data.loader import LoaderConfig, build_loader
from ..data.scan import scan_source
from ..data.source import open_source
from ..evaluate.forward import collect_outputs
from ..evaluate.mistakes import Suspect, cross_validated_probabilities, find_suspects
from ..models.architecture import ImageClassifier
from ..runs.checkpoint import find_checkpoint
from ..runs.seen import read_seen
from ..runs.start_point import read_start

MIN_IMAGES = 20


@dataclass(frozen=True, kw_only=True, repr=False)
class LabelCheck(Displayed):
    """Suspected labels of a source, the least believed first, among `num_images`; `note` says what to know of them."""

    source: str
    num_images: int
    suspects: tuple[Suspect, ...]
    note: str

    def display_lines(self) -> list[str]:
        """How many labels are suspected."""
        return [self.sentence()]

    def sentence(self) -> str:
        """How many labels are suspected, and what to know of it."""
        num = len(self.suspects)
        found = f"{num:,} of {self.num_images:,} labels may be wrong" if num else "No label is suspected"
        method = "confident learning on cross-validated probabilities"
        return f"{found} ({method}): a hint where to look, not a verdict.{f' {self.note}' if self.note else ''}"


class PooledFeatures(nn.Module):
    """What the head of a classifier sees: feature_BD, averaged over positions where it is a map."""

    def __init__(self, model: ImageClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """feature_BD of normalised images."""
        feature = self.model.forward_features(image_BCHW)
        return feature.mean(dim=(2, 3)) if feature.ndim == 4 else feature


def check_labels(run: Path, source_text: str, runtime_config: RuntimeConfig) -> LabelCheck:
    """Suspect labels among all images of a source, by the features of `run`; the classes need not be those of the run.

    Raises CheckpointError, DataError, ImageError, and ModelError for a network that does not name its parts.
    """
    manifest = find_checkpoint(run).manifest
    model = find_checkpoint(run).load_model()
    if not isinstance(model, ImageClassifier):
        raise ModelError(
            f"{type(model).__name__} does not name its parts, so what its head sees cannot be read.\n"
            f"Make it an ImageClassifier with stem, stages, neck and head (docs/explaining.md)."
        )
    runtime = start(runtime_config)
    source = open_source(source_text)
    scan = scan_source(source, runtime.num_threads, "error")
    if len(scan.good_N) < MIN_IMAGES:
        raise DataError(
            f"Labels are checked against each other, which takes at least {MIN_IMAGES} images; "
            f"{printable(source.name)} has {len(scan.good_N)}."
        )
    features = PooledFeatures(model).to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
    with build_loader(source, scan.good_N, manifest.preprocessing, AugmentConfig(), LoaderConfig(), 0) as loader:
        outputs = collect_outputs(features, loader, manifest.preprocessing, runtime, torch.float32)
    probability_NK = cross_validated_probabilities(outputs.logits_NK, outputs.label_N, len(source.classes))
    keys = [source.record(int(index)).key for index in outputs.index_N]
    seen = read_seen(run)
    num_seen = int((seen.equal(scan) | seen.near(scan))[scan.good_N].sum()) if seen else 0
    return LabelCheck(
        source=printable(source.name),
        num_images=len(keys),
        suspects=tuple(find_suspects(probability_NK, outputs.label_N, keys, source.classes)),
        note="" if _is_frozen(run) else _learned_note(num_seen, len(keys)),
    )


def _is_frozen(run: Path) -> bool:
    """Whether the run kept all features of its pretrained network, so that no label went into them."""
    start = read_start(run)
    return start is not None and start.frozen == "all"


def _learned_note(num_seen: int, num_images: int) -> str:
    if not num_seen:
        return ""
    return (
        f"The network has learned from {num_seen:,} of these {num_images:,} labels and may know wrong ones by heart: "
        f"a run of 'saccade transfer --freeze all' finds more."
    )
