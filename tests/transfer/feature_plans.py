"""Features of a few small images by LeNet-5 with random weights: what tests of the cache compute and count."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.models.architecture import ModelSpec, build_model
from saccade.transfer.feature_plan import FeaturePlan
from saccade.transfer.features import FeatureReport, FeatureWork, collect_features
from saccade.transfer.frozen import Tap

PIXELS = Preprocessing(channels="grey", input_height_px=32, input_width_px=32, mean=(0.5,), std=(0.25,))
LAST = Tap(depth="all", pooled=True)
GIGABYTE = 10**9


def write_images(folder: Path, num_images: int = 6) -> None:
    """Grey noise of 40x36 in two classes, `a` and `b` in turn, as PNG files."""
    generator = np.random.default_rng(0)
    for number in range(num_images):
        path = folder / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (40, 36), dtype=np.uint8)).save(path)


def make_plan(source: str, precision: str = "float32") -> FeaturePlan:
    """The plan of all images of `source` with nothing out of the ordinary."""
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=2, input_CHW=(1, 32, 32)))
    images = open_source(source)
    return FeaturePlan(
        model=model,
        network="lenet5",
        source=images,
        digest_NB=scan_source(images, 1).bytes_digest_N,
        preprocessing=PIXELS,
        runtime=start(RuntimeConfig.parse({"num_threads": 1, "precision": precision}, "test")),
        dtype="float32",
    )


@dataclass(frozen=True, kw_only=True)
class Collected:
    """What came out, and how."""

    value_N: torch.Tensor
    report: FeatureReport

    @property
    def counts(self) -> tuple[int, int]:
        """(images computed, images found)."""
        return self.report.num_computed, self.report.num_found


def collect(
    plan: FeaturePlan, root: Path | None, tap: Tap = LAST, view: int = 0, limit_bytes: int = GIGABYTE
) -> Collected:
    """The features of all images of `plan`, with the cache in `root`, None for none."""
    work = FeatureWork(cache=(root, limit_bytes) if root else None)
    everyone_N = np.arange(len(plan.source))
    found = collect_features(replace(plan, num_views=max(plan.num_views, view + 1)), [tap], everyone_N, work, view)
    return Collected(value_N=found[tap], report=work.report)
