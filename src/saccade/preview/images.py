"""What augmentation really does to a few images, with what was drawn in words: the pipeline of training itself."""

from dataclasses import dataclass

import numpy as np

from ..core.display import figure
from ..core.errors import ImageError
from ..core.types import Preprocessing, Sample
from ..data.augmentation import AUGMENTATIONS, Framing
from ..data.augmenter import Augmenter, Plan
from ..data.images.bands import as_picture, network_pixels
from ..data.images.decode import decode_image
from ..data.images.preprocess import prepare_image, refuse_large_resize
from ..data.labels import labels_of
from ..data.random_numbers import permutation
from ..data.source import DataSource

UNITS = {"degrees": "°", "px": " px", "levels": "", "fraction": " %"}


@dataclass(frozen=True, kw_only=True)
class Draw:
    """One augmented image as it is shown, uint8 grey or RGB at the input size, and what was drawn for it, in lines."""

    image_HWC: np.ndarray
    lines: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Preview:
    """One image of the source: as it is, as evaluation sees it, and as the first epochs of training see it."""

    key: str
    label: str
    original_HWC: np.ndarray
    evaluated_HWC: np.ndarray
    draws: tuple[Draw, ...]


def choose_images(source: DataSource, num: int, seed: int) -> tuple[list[int], list[ImageError]]:
    """`num` training images that can be read, of as many classes as there are, in an order that `seed` decides; and
    why those cannot that were tried and passed over."""
    order = [int(i) for i in permutation(seed, 0, len(source)) if source.record(int(i)).split in (None, "train")]
    turns: dict[tuple[int, ...], int] = {}
    ranked = []
    for place, index in enumerate(order):
        labels = source.record(index).all_labels
        turns[labels] = turns.get(labels, 0) + 1
        ranked.append((turns[labels], place, index))
    chosen: list[int] = []
    bad: list[ImageError] = []
    for _, _, index in sorted(ranked):
        if len(chosen) == num:
            break
        try:
            source[index]
        except ImageError as error:
            bad.append(error)
        else:
            chosen.append(index)
    return chosen, bad


def preview_images(source: DataSource, indices: list[int], augmenter: Augmenter, num_draws: int) -> list[Preview]:
    """`num_draws` epochs of the samples `indices`, which stand for one batch where images are mixed.

    Raises ImageError for one that resizing would make larger than any that is read.
    """
    samples = [source[index] for index in indices]
    for sample in samples:
        height_px, width_px = sample.image_HWC.shape[:2]
        refuse_large_resize(sample.key, (height_px, width_px), augmenter.preprocessing)
    pixels = augmenter.preprocessing
    prepared = [_prepared(source, index, sample, pixels) for index, sample in zip(indices, samples, strict=True)]
    draws: list[list[Draw]] = [[] for _ in samples]
    for epoch in range(num_draws):
        plan = augmenter.plan(epoch, np.asarray(indices, dtype=np.int64))
        channels, height, width = augmenter.preprocessing.input_CHW
        image_BHWC = np.empty((len(samples), height, width, channels), pixels.pixel_type)
        for row, (index, sample) in enumerate(zip(indices, samples, strict=True)):
            if augmenter.sees_source:
                content = source.read(index) if pixels.has_bands else sample.image_HWC
                augmenter.render(augmenter.read(content, sample.key, plan, row), plan, row, image_BHWC[row])
            else:
                image_BHWC[row] = prepared[row]
        label_B = labels_of(source, indices)
        image_BHWC, _ = augmenter.finish(plan, image_BHWC, label_B, len(source.classes))
        for row, sample in enumerate(samples):
            lines = describe(augmenter, plan, row, sample.image_HWC.shape[:2])
            draws[row].append(Draw(image_HWC=as_picture(image_BHWC[row], pixels), lines=tuple(lines)))
    return [
        Preview(
            key=sample.key,
            label=_label_text(source, index),
            original_HWC=sample.image_HWC,
            evaluated_HWC=as_picture(prepared_HWC, pixels),
            draws=tuple(drawn),
        )
        for index, sample, prepared_HWC, drawn in zip(indices, samples, prepared, draws, strict=True)
    ]


def _prepared(source: DataSource, index: int, sample: Sample, pixels: Preprocessing) -> np.ndarray:
    """The image as evaluation sees it."""
    if not pixels.has_bands:
        return prepare_image(sample.image_HWC, pixels)
    decoded = decode_image(source.read(index), sample.key, None, pixels.white_16_bit)
    return prepare_image(network_pixels(decoded, sample.key, pixels), pixels)


def describe(augmenter: Augmenter, plan: Plan, row: int, source_HW: tuple[int, ...]) -> list[str]:
    """What was drawn for one sample: a line for each augmentation that did something."""
    lines = []
    for name, drawn in plan.drawn.items():
        entry = AUGMENTATIONS.get(name)
        if isinstance(entry, Framing):
            matrix_33 = entry.frame(drawn, row, (source_HW[0], source_HW[1]), plan.scene)
            text = _box(matrix_33, source_HW, plan.scene.size_HW)
        elif entry.words:
            text = entry.words(drawn, row)
        else:
            text = ", ".join(_parameter(key, value[row]) for key, value in drawn.items() if value[row])
        if text:
            lines.append(f"{name} {text}")
    return lines


def _box(matrix_33: np.ndarray, source_HW: tuple[int, ...], size_HW: tuple[int, int]) -> str:
    width, height = matrix_33[0, 0] * size_HW[1], matrix_33[1, 1] * size_HW[0]
    left, top = matrix_33[0, 2] + (source_HW[1] - width) / 2, matrix_33[1, 2] + (source_HW[0] - height) / 2
    return f"{width:.0f}x{height:.0f} px at {left:.0f},{top:.0f}"


def _parameter(key: str, value: np.ndarray) -> str:
    """`right_px`, 2.0 -> `right 2 px`; a switch that is on has no number."""
    if value.dtype == bool:
        return "yes"
    if key == "factor":
        return f"x {value:.2f}"
    name, _, unit = key.rpartition("_")
    number = float(value) * (100 if unit == "fraction" else 1)
    digits = 0 if number == int(number) else 1
    return f"{name.replace('_', ' ')} {number:.{digits}f}{UNITS.get(unit, ' ' + unit)}".strip()


def _label_text(source: DataSource, index: int) -> str:
    record = source.record(index)
    if record.value is not None:
        return f"{source.classes[0]} {figure(record.value)}"
    return ", ".join(source.classes[label] for label in record.all_labels) or "no label"
