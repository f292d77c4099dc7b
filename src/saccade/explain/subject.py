"""The image that is explained: what was given, what the network sees of it, what it says."""

from dataclasses import dataclass

import numpy as np
import torch

from ..classify.classifier import Member
from ..core.types import Preprocessing
from ..data.images.bands import as_picture, bands_words, network_pixels
from ..data.images.decode import decode_image
from ..data.images.preprocess import fit_words, prepare_image, refuse_large_resize


@dataclass(frozen=True, kw_only=True)
class Subject:
    """One image: `original_HWC` uint8 RGB upright, `prepared_HWC` uint8 as it is shown at the network's input size,
    grey or RGB, `input_1CHW` its normalised tensor, and the answer as logits_K and probability_K (float64, calibrated).
    `unlike_training` says that it is unlike anything seen in training; None where the run keeps nothing to tell it
    by."""

    key: str
    original_HWC: np.ndarray
    prepared_HWC: np.ndarray
    input_1CHW: torch.Tensor
    logits_K: np.ndarray
    probability_K: np.ndarray
    unlike_training: bool | None = None


def look_at(member: Member, content: bytes | np.ndarray, key: str) -> Subject:
    """Decode, prepare and classify one image. Raises ImageError naming `key`."""
    decoded = decode_image(content, key, None, member.preprocessing.white_16_bit)
    original_HWC = decoded.image_HWC
    refuse_large_resize(key, original_HWC.shape[:2], member.preprocessing)
    prepared_HWC = prepare_image(network_pixels(decoded, key, member.preprocessing), member.preprocessing)
    input_1CHW = member.normalized(np.stack([prepared_HWC]))  # a copy: Pillow may give pixels that are read-only
    prepared_1CHW = torch.from_numpy(np.array(prepared_HWC)).permute(2, 0, 1)[None]
    logits_1K, unlike_1 = member.logits_and_unlike(prepared_1CHW)
    logits_K = logits_1K[0]
    return Subject(
        key=key,
        original_HWC=original_HWC,
        prepared_HWC=as_picture(prepared_HWC, member.preprocessing),
        input_1CHW=input_1CHW,
        logits_K=logits_K.numpy(),
        probability_K=member.task.probabilities(logits_K[None], member.temperature)[0],
        unlike_training=None if unlike_1 is None else bool(unlike_1[0]),
    )


def what_it_sees(subject: Subject, preprocessing: Preprocessing) -> str:
    """In words, what became of the pixels before the network saw them."""
    height_px, width_px = subject.original_HWC.shape[:2]
    is_whole_size = (height_px, width_px) == (preprocessing.input_height_px, preprocessing.input_width_px)
    if preprocessing.is_whole:
        change = "used as it is" if is_whole_size else f"{width_px}x{height_px} {fit_words(preprocessing)}"
    else:
        change = f"{width_px}x{height_px}, {fit_words(preprocessing)}"
    kinds = {"grey": "grey", "rgb": "colour"}
    return f"{change}; {kinds.get(preprocessing.channels) or bands_words(preprocessing)}"
