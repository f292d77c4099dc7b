"""What features are computed from (images, frozen network, code), and the name by which they are found again.

Whatever decides a value is part of its name, so that the cache can never change a result (docs/transfer.md).
"""

import hashlib
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.errors import DataError, printable
from ..core.packages import installed_version
from ..core.runtime import Runtime
from ..core.types import Preprocessing
from ..data.augmentation import Mixing
from ..data.augmentation_policy import AugmentConfig
from ..data.source import DataSource
from ..models.surgery import cut, depths
from .cache import FeatureKey
from .frozen import Dtype, Tap, weights_digest
from .ladder_images import multiply_adds_behind

PACKAGE = Path(__file__).parents[1]
# What decides the values of a feature: these files, and all modules that lie directly in these rooms.
CODE_FILES = ("core/runtime.py", "core/torch_private/__init__.py")
CODE_ROOMS = (
    *("data", "data/augment", "data/augment/shared", "data/images", "data/loading"),
    *("kernels", "models", "models/zoo", "transfer"),
)
LIBRARIES = ("torch", "numpy", "pillow", "simplejpeg", "opencv-python-headless")


@dataclass(frozen=True, kw_only=True)
class FeaturePlan:
    """What is computed of which images and with what. `digest_NB` uint8 (N, 16) are of the files of
    `source`, not of their pixels: a photo may be decoded at reduced scale, which its file decides.
    `num_views` above 1 adds fixed views of an image, drawn once by `view_augment` and `seed`."""

    model: nn.Module
    network: str
    source: DataSource
    digest_NB: np.ndarray
    preprocessing: Preprocessing
    runtime: Runtime
    dtype: Dtype
    augment: AugmentConfig = AugmentConfig()
    num_views: int = 1
    seed: int = 0

    @property
    def view_augment(self) -> AugmentConfig:
        """`augment` as a view of one image alone can have it."""
        return without_mixing(self.augment)

    @cached_property
    def multiply_adds_behind(self) -> dict[str, float]:
        """By depth, those of one image through all behind it; counted once, since following a network takes seconds."""
        return multiply_adds_behind(self.model, depths(self.model), self.preprocessing.input_CHW)

    def key(self, tap: Tap, view: int) -> FeatureKey:
        """What the features of `tap` depend on, besides the images."""
        drawn = f"{self.view_augment.digest()} {self.seed}" if view else ""
        return FeatureKey(
            code_sha256=code_digest(PACKAGE),
            network=self.network,
            frozen_sha256=weights_digest(cut(self.model, tap.depth).frozen),
            preprocessing_sha256=self.preprocessing.digest(),
            tap=str(tap),
            dtype=self.dtype,
            arithmetic=str(self.runtime.precision),
            device=self.runtime.device.type,
            processor=_processor(self.runtime.device),
            views_sha256=hashlib.sha256(drawn.encode()).hexdigest() if view else "",
            libraries={name: str(installed_version(name)) for name in LIBRARIES},
        )

    def digests(self, index_N: np.ndarray, view: int) -> np.ndarray:
        """uint8 (N, 16): what the records of these images are found by. Views depend on the place in the source."""
        if not view:
            chosen_NB: np.ndarray = self.digest_NB[index_N]
            return chosen_NB
        rows = [
            hashlib.blake2b(self.digest_NB[index].tobytes() + f"{view} {index}".encode(), digest_size=16).digest()
            for index in index_N.tolist()
        ]
        return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), -1)


def without_mixing(augment: AugmentConfig) -> AugmentConfig:
    """`augment` without what mixes images, so that a view does not depend on its neighbours."""
    mixing = [entry for entry in augment.active() if isinstance(entry, Mixing)]
    off: AugmentConfig = augment.model_copy(update={entry.name: entry.strengths() for entry in mixing})
    return off


@cache
def code_digest(package: Path) -> str:
    """SHA-256 of the source text that turns an image into features: other code never finds the features of this one."""
    digest = hashlib.sha256()
    paths = [package / name for name in CODE_FILES] + [
        path for room in CODE_ROOMS for path in (package / room).rglob("*.py")
    ]
    for path in sorted(paths):
        digest.update(path.relative_to(package).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


def features_changed(key: str) -> DataError:
    """What is raised of a file that was rewritten: its features would be kept under the name of what it was."""
    return DataError(
        f"{printable(key)} was changed after the run looked through the images; none of its features were kept.\n"
        f"Run again; with --resume, once the images are as they were."
    )


def _processor(device: torch.device) -> str:
    """What decides which kernels run, and so the last bits: the GPU's name, or the instructions the CPU's may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return torch.backends.cpu.get_cpu_capability()
