"""The image and the classifier that are explained: what was given, what the network sees of it, what it says."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.errors import ImageError, UnknownNameError, did_you_mean, printable
from ..core.types import Preprocessing
from ..data.decode import decode_image
from ..data.preprocess import normalize, prepare_image
from ..evaluate.forward import require_finite
from ..runs.checkpoint import find_checkpoint


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """A trained network with what belongs to it, on the CPU in float32."""

    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    architecture: str

    def normalized(self, prepared_BHWC: np.ndarray) -> torch.Tensor:
        """input_BCHW float32 of prepared uint8 images."""
        image_BCHW = torch.from_numpy(prepared_BHWC).permute(0, 3, 1, 2)
        return normalize(image_BCHW, self.preprocessing, torch.float32)

    def class_index(self, name: str) -> int:
        """Where the class `name` stands. Raises UnknownNameError with the nearest one."""
        if name not in self.classes:
            raise UnknownNameError(
                f"The run does not know a class '{printable(name)}'.{did_you_mean(name, self.classes)} "
                f"It knows {len(self.classes)}: {printable(', '.join(self.classes[:8]))}"
                f"{', ...' if len(self.classes) > 8 else '.'}"
            )
        return self.classes.index(name)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One image: `original_HWC` uint8 RGB upright, `prepared_HWC` uint8 at the network's input size, `input_1CHW` its
    normalised tensor, and the answer as logits_K and probability_K (float64, temperature applied)."""

    key: str
    original_HWC: np.ndarray
    prepared_HWC: np.ndarray
    input_1CHW: torch.Tensor
    logits_K: np.ndarray
    probability_K: np.ndarray


def load_classifier(run: Path) -> Classifier:
    """The classifier of a run or checkpoint folder. Raises CheckpointError."""
    checkpoint = find_checkpoint(run)
    manifest = checkpoint.manifest
    return Classifier(
        model=checkpoint.load_model().to(memory_format=torch.channels_last),  # type: ignore[call-overload]
        classes=manifest.classes,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        architecture=manifest.model,
    )


def read_image_file(path: Path) -> bytes:
    """The content of an image file. Raises ImageError where it is not there or cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        reason = "is a folder; give one image file" if path.is_dir() else f"cannot be read: {error.strerror or error}"
        raise ImageError(str(path), f"{reason}.") from None


def look_at(classifier: Classifier, content: bytes | np.ndarray, key: str) -> Subject:
    """Decode, prepare and classify one image. Raises ImageError naming `key`."""
    original_HWC = decode_image(content, key).image_HWC
    prepared_HWC = prepare_image(original_HWC, classifier.preprocessing)
    input_1CHW = classifier.normalized(np.stack([prepared_HWC]))  # a copy: Pillow may give pixels that are read-only
    with torch.no_grad():
        logits_K = require_finite(classifier.model(input_1CHW), f"The network {printable(classifier.architecture)}")[0]
    return Subject(
        key=key,
        original_HWC=original_HWC,
        prepared_HWC=prepared_HWC,
        input_1CHW=input_1CHW,
        logits_K=logits_K.numpy(),
        probability_K=torch.softmax(logits_K.double() / classifier.temperature, dim=0).numpy(),
    )


def what_it_sees(subject: Subject, preprocessing: Preprocessing) -> str:
    """In words, what became of the pixels before the network saw them."""
    height_px, width_px = subject.original_HWC.shape[:2]
    goal = f"{preprocessing.input_width_px}x{preprocessing.input_height_px}"
    if preprocessing.resize_px is None:
        change = "used as it is" if f"{width_px}x{height_px}" == goal else f"{width_px}x{height_px} resized to {goal}"
    else:
        change = f"{width_px}x{height_px}, short side to {preprocessing.resize_px} px, centre {goal} cut out"
    return f"{change}; {'grey' if preprocessing.channels == 'grey' else 'colour'}"
