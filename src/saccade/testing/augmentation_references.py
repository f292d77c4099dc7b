"""What each augmentation does, written a second time: in float64, from the parameters that were drawn, one image at a
time, by NumPy, SciPy or Pillow, without a line of the augmentation itself.

A reference is `reference(image_HWC, drawn, scene)`: the image before, uint8, and the parameters of this one image by
name. It gives the expected image, float64, or a Spread where pixels are random. References of augmentations that mix
images get whole batches: `reference(image_BHWC, drawn, partner_B, target_BK)` gives images and targets.
"""

import io
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image, ImageOps
from scipy import interpolate, ndimage

from ..data.augmentation import Scene

Reference = Callable[..., Any]
Values = Mapping[str, Any]
LUMA_3 = (0.299, 0.587, 0.114)


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Random pixels: their mean and their standard deviation, float64 (H, W, C); 0 where nothing is random.

    `width` is how many deviations a pixel may lie off: 5 for normal numbers, 1.74 for uniform ones.
    """

    mean_HWC: np.ndarray
    deviation_HWC: np.ndarray
    width: float = 5.0


# Geometry: where a centred output place (x, y) looks; x to the right, y down.


def _mirror(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return (-x, y) if drawn["mirrored"] else (x, y)


def _vertical_mirror(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return (x, -y) if drawn["mirrored"] else (x, y)


def _rotation(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    place = (x + 1j * y) * np.exp(-1j * np.pi * drawn["angle_degrees"] / 180)  # y is down: + is clockwise as seen
    return place.real, place.imag


def _shear(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    across, down = (math.tan(math.radians(drawn[key])) for key in ("horizontal_degrees", "vertical_degrees"))
    return x + across * y, y + down * x


def _shift(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    return x - drawn["right_px"], y - drawn["down_px"]


def _translation(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    height, width = scene.size_HW
    return x - width * drawn["right_fraction"], y - height * drawn["down_fraction"]


def _perspective(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """The homography through four pairs of points, by its eight linear equations."""
    height, width = scene.size_HW
    corners = [(-width / 2, -height / 2), (width / 2, -height / 2), (width / 2, height / 2), (-width / 2, height / 2)]
    rows: list[list[float]] = []
    values: list[float] = []
    for (left, top), (right_fraction, down_fraction) in zip(corners, drawn["corner_fractions"]):
        seen = (left + right_fraction * width, top + down_fraction * height)
        rows.append([left, top, 1, 0, 0, 0, -left * seen[0], -top * seen[0]])
        rows.append([0, 0, 0, left, top, 1, -left * seen[1], -top * seen[1]])
        values += seen
    a, b, c, d, e, f, g, h = np.linalg.solve(rows, values)
    depth = g * x + h * y + 1
    return (a * x + b * y + c) / depth, (d * x + e * y + f) / depth


def _elastic(x: np.ndarray, y: np.ndarray, drawn: Values, scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """SciPy's cubic B-spline through the moves of the control points."""
    spacing_px, places = drawn["spacing_px"], []
    for axis_HW, move_PP in zip((x, y), drawn["move_px"]):
        knots = [np.arange(-3, size + 1) * spacing_px for size in move_PP.shape]
        down_HP = interpolate.BSpline(knots[0], move_PP, 3)(np.arange(axis_HW.shape[0]))
        places.append(axis_HW + interpolate.BSpline(knots[1], down_HP.T, 3)(np.arange(axis_HW.shape[1])).T)
    return places[0], places[1]


LOOKS_AT = {
    "alternating_mirror": _mirror,
    "elastic": _elastic,
    "mirror": _mirror,
    "perspective": _perspective,
    "rotation": _rotation,
    "shear": _shear,
    "shift": _shift,
    "translation": _translation,
    "vertical_mirror": _vertical_mirror,
}


def seen_through(image_HWC: np.ndarray, steps: list[tuple[str, Values]], scene: Scene) -> np.ndarray:
    """Bilinear interpolation where the last step looks through all before it; borders mirrored (SciPy)."""
    height, width = image_HWC.shape[:2]
    y, x = np.mgrid[:height, :width].astype(np.float64)
    x, y = x - (width - 1) / 2, y - (height - 1) / 2
    for name, drawn in reversed(steps):
        x, y = LOOKS_AT[name](x, y, drawn, scene)
    place = [y + (height - 1) / 2, x + (width - 1) / 2]
    planes = np.moveaxis(image_HWC.astype(np.float64), -1, 0)
    return np.stack([ndimage.map_coordinates(plane, place, order=1, mode="mirror") for plane in planes], axis=-1)


# Colours: levels of 0 to 255, not clipped.


def _luma(image_HWC: np.ndarray) -> np.ndarray:
    red, green, blue = (image_HWC[:, :, channel].astype(np.float64) for channel in range(3))
    return (LUMA_3[0] * red + LUMA_3[1] * green + LUMA_3[2] * blue)[:, :, None]


def _brightness(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    return image_HWC * drawn["factor"]


def _contrast(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """A blend with the mean grey of the training set."""
    red, green, blue = scene.preprocessing.mean
    grey = 255 * (LUMA_3[0] * red + LUMA_3[1] * green + LUMA_3[2] * blue)
    return grey + drawn["factor"] * (image_HWC - grey)


def _saturation(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """A blend with the image's own luma."""
    return drawn["factor"] * image_HWC + (1 - drawn["factor"]) * _luma(image_HWC)


def _greyscale(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    return np.repeat(_luma(image_HWC), 3, axis=2) if drawn["applied"] else image_HWC


def _hue(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """A turn of the complex number I + iQ of NTSC's YIQ; back by solving for RGB."""
    luma = _luma(image_HWC)[:, :, 0]
    phase_weights = [0.5959 + 0.2115j, -0.2746 - 0.5227j, -0.3213 + 0.3112j]
    plane = sum(weight * image_HWC[:, :, channel] for channel, weight in enumerate(phase_weights))
    plane = plane * np.exp(1j * np.pi * drawn["turn_degrees"] / 180)
    weights = np.array([LUMA_3, np.real(phase_weights), np.imag(phase_weights)])
    yiq_3N = np.stack([luma.ravel(), plane.real.ravel(), plane.imag.ravel()])
    return np.linalg.solve(weights, yiq_3N).T.reshape(image_HWC.shape)


def _add_levels(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    return image_HWC + np.array([drawn["red_levels"], drawn["green_levels"], drawn["blue_levels"]])


def _invert(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    return 255.0 - image_HWC if drawn["applied"] else image_HWC


RECOLOURED = {
    "brightness": _brightness,
    "colour_shift": _add_levels,
    "contrast": _contrast,
    "greyscale": _greyscale,
    "hue": _hue,
    "invert": _invert,
    "pca_colour": _add_levels,
    "saturation": _saturation,
}


# Pixels.


def _autocontrast(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    if not drawn["applied"]:
        return image_HWC
    lowest, highest = image_HWC.min(axis=(0, 1)).astype(float), image_HWC.max(axis=(0, 1)).astype(float)
    return (image_HWC - lowest) / np.maximum(highest - lowest, 1) * 255


def _equalize(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """Pillow's is the definition."""
    return np.asarray(ImageOps.equalize(Image.fromarray(image_HWC))) if drawn["applied"] else image_HWC


def _posterize(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    step = 2.0 ** (8 - int(drawn["bits"]))
    return np.floor(image_HWC / step) * step


def _solarize(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    return np.where(image_HWC >= drawn["threshold_levels"], 255.0 - image_HWC, image_HWC)


def _sharpness(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """A blend with the mean of nine pixels, the own one five times, where there are nine."""
    wide_HWC = image_HWC.astype(np.float64)
    smooth_HWC = wide_HWC.copy()
    sums = ndimage.uniform_filter(wide_HWC, size=(3, 3, 1), mode="nearest") * 9 + 4 * wide_HWC
    smooth_HWC[1:-1, 1:-1] = sums[1:-1, 1:-1] / 13
    return smooth_HWC + drawn["factor"] * (wide_HWC - smooth_HWC)


def _gaussian_blur(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    deviation_px = float(drawn["deviation_px"])
    if deviation_px == 0:
        return image_HWC
    radius = max(1, math.ceil(3 * deviation_px))
    wide_HWC = image_HWC.astype(np.float64)
    return ndimage.gaussian_filter(wide_HWC, (deviation_px, deviation_px, 0), mode="mirror", radius=(radius, radius, 0))


def _gaussian_noise(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> Spread:
    wide_HWC = image_HWC.astype(np.float64)
    return Spread(mean_HWC=wide_HWC, deviation_HWC=np.full_like(wide_HWC, drawn["deviation_levels"]))


def _jpeg(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """Through a file that Pillow writes and reads; 100 leaves the image as it is."""
    if drawn["quality"] == 100:
        return image_HWC
    file = io.BytesIO()
    Image.fromarray(image_HWC).save(file, "JPEG", quality=int(drawn["quality"]), subsampling="4:2:0")
    return np.asarray(Image.open(file))


CHANGED = {
    "autocontrast": _autocontrast,
    "equalize": _equalize,
    "gaussian_blur": _gaussian_blur,
    "gaussian_noise": _gaussian_noise,
    "jpeg": _jpeg,
    "posterize": _posterize,
    "sharpness": _sharpness,
    "solarize": _solarize,
}


# Boxes that are seen, and boxes that are covered.


def _crop(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """The first of ten boxes that fits, cut out and resized by Pillow."""
    height, width = image_HWC.shape[:2]
    for area, log_aspect in zip(drawn["area_fractions"], drawn["log_aspects"]):
        ratio = math.exp(log_aspect)
        box_width = int(np.rint(math.sqrt(area * height * width * ratio)))
        box_height = int(np.rint(math.sqrt(area * height * width / ratio)))
        if 1 <= box_width <= width and 1 <= box_height <= height:
            break
    else:
        raise NotImplementedError("none of ten boxes fits; contracts are tried on images where one does")
    left = int(drawn["across_fraction"] * (width - box_width + 1))
    top = int(drawn["down_fraction"] * (height - box_height + 1))
    return _resized(image_HWC, (left, top, left + box_width, top + box_height), scene)


def _window(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    """The input's size of the resized image, between its centre and its borders; to whole source pixels."""
    height, width = image_HWC.shape[:2]
    short_px = scene.preprocessing.resize_px or 0
    short = min(height, width)
    edges = []
    for size, output, fraction in (
        (width, scene.size_HW[1], drawn["across_fraction"]),
        (height, scene.size_HW[0], drawn["down_fraction"]),
    ):
        resized = int(short_px * size / short)
        first = (resized - output) / 2 * (1 + fraction)
        length = min(max(1, round(output * size / resized)), size)
        start = min(max(round(first * size / resized), 0), size - length)
        edges.append((start, start + length))
    (left, right), (top, bottom) = edges
    return _resized(image_HWC, (left, top, right, bottom), scene)


def _resized(image_HWC: np.ndarray, box: tuple[int, int, int, int], scene: Scene) -> np.ndarray:
    """Pillow's antialiased filter on floating-point planes, which it does not round between its two directions."""
    size = (scene.size_HW[1], scene.size_HW[0])
    planes = [Image.fromarray(plane_HW) for plane_HW in np.moveaxis(image_HWC.astype(np.float32), -1, 0)]
    resized = [np.asarray(plane.crop(box).resize(size, Image.Resampling.BILINEAR)) for plane in planes]
    return np.stack(resized, axis=-1)


def _cutout(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    y, x = np.mgrid[: image_HWC.shape[0], : image_HWC.shape[1]]
    start_x, start_y = (drawn[key] - drawn["side_px"] // 2 for key in ("centre_column", "centre_row"))
    inside = (x >= start_x) & (x < start_x + drawn["side_px"]) & (y >= start_y) & (y < start_y + drawn["side_px"])
    return np.where(inside[:, :, None], 255 * np.array(scene.preprocessing.mean), image_HWC)


def _random_erasing(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray | Spread:
    """Levels of 0 to 255, each equally likely, have the mean 127.5 and the variance (256**2 - 1) / 12."""
    y, x = np.mgrid[: image_HWC.shape[0], : image_HWC.shape[1]]
    inside = (x >= drawn["left"]) & (x < drawn["right"]) & (y >= drawn["top"]) & (y < drawn["bottom"])
    if drawn["is_noise"]:
        mean_HWC = np.where(inside[:, :, None], 127.5, image_HWC)
        deviation_HWC = np.where(inside[:, :, None], math.sqrt((256**2 - 1) / 12), np.zeros(image_HWC.shape))
        return Spread(mean_HWC=mean_HWC, deviation_HWC=deviation_HWC, width=1.74)
    colour = [drawn["red_levels"], drawn["green_levels"], drawn["blue_levels"]]
    return np.where(inside[:, :, None], colour, image_HWC)


# Two images become one.


def _mixup(
    image_BHWC: np.ndarray, drawn: Values, partner_B: np.ndarray, target_BK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    images, targets = [], []
    for own, partner, weight in zip(range(len(partner_B)), partner_B, drawn["own_weight"]):
        images.append(weight * image_BHWC[own].astype(float) + (1 - weight) * image_BHWC[partner].astype(float))
        targets.append(weight * target_BK[own] + (1 - weight) * target_BK[partner])
    return np.stack(images), np.stack(targets)


def _cutmix(
    image_BHWC: np.ndarray, drawn: Values, partner_B: np.ndarray, target_BK: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    images, targets = [], []
    y, x = np.mgrid[: image_BHWC.shape[1], : image_BHWC.shape[2]]
    for own, partner in enumerate(partner_B):
        left, right, top, bottom = (drawn[key][own] for key in ("left", "right", "top", "bottom"))
        inside = (x >= left) & (x < right) & (y >= top) & (y < bottom)
        images.append(np.where(inside[:, :, None], image_BHWC[partner], image_BHWC[own]).astype(float))
        targets.append((1 - inside.mean()) * target_BK[own] + inside.mean() * target_BK[partner])
    return np.stack(images), np.stack(targets)


# Policies: the tables of the papers in the order of ours, and what a value means.

TRIVIAL_14 = (
    "identity autocontrast equalize rotate solarize colour posterize contrast brightness sharpness "
    "shear-x shear-y translate-x-px translate-y-px"
).split()
RAND_14 = (
    "identity autocontrast equalize rotate solarize colour posterize contrast brightness sharpness "
    "shear-x shear-y translate-x translate-y"
).split()
AUGMIX_9 = "autocontrast equalize posterize rotate solarize shear-x shear-y translate-x translate-y".split()


def _named(operation: str, value: float, scene: Scene) -> tuple[str, Values] | None:
    """The augmentation and the parameters that an operation of a paper stands for."""
    height, width = scene.size_HW
    return {
        "identity": None,
        "autocontrast": ("autocontrast", {"applied": True}),
        "equalize": ("equalize", {"applied": True}),
        "rotate": ("rotation", {"angle_degrees": value}),
        "solarize": ("solarize", {"threshold_levels": value}),
        "colour": ("saturation", {"factor": value}),
        "posterize": ("posterize", {"bits": min(8, max(1, math.ceil(value - 1e-9)))}),
        "contrast": ("contrast", {"factor": value}),
        "brightness": ("brightness", {"factor": value}),
        "sharpness": ("sharpness", {"factor": value}),
        "shear-x": ("shear", {"horizontal_degrees": math.degrees(math.atan(value)), "vertical_degrees": 0}),
        "shear-y": ("shear", {"horizontal_degrees": 0, "vertical_degrees": math.degrees(math.atan(value))}),
        "translate-x": ("translation", {"right_fraction": value, "down_fraction": 0}),
        "translate-y": ("translation", {"right_fraction": 0, "down_fraction": value}),
        "translate-x-px": ("translation", {"right_fraction": value / width, "down_fraction": 0}),
        "translate-y-px": ("translation", {"right_fraction": 0, "down_fraction": value / height}),
    }[operation]


def _levels(image_HWC: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(image_HWC, 0, 255)).astype(np.uint8)


def _chain(image_HWC: np.ndarray, names: list[str], values: list[float], scene: Scene) -> np.ndarray:
    """All geometry in one resample, then colours and pixels in their order; rounded where pixels are needed."""
    steps = [step for step in (_named(name, value, scene) for name, value in zip(names, values)) if step]
    moves = [step for step in steps if step[0] in LOOKS_AT]
    changed = _levels(seen_through(image_HWC, moves, scene)) if moves else image_HWC
    for name, drawn in steps:
        if name in RECOLOURED:
            changed = RECOLOURED[name](changed.astype(np.float64), drawn, scene)
        if name in CHANGED:
            changed = np.asarray(CHANGED[name](_levels(changed), drawn, scene))
    return np.clip(changed.astype(np.float64), 0, 255)


def _chosen_from(table: list[str]) -> Reference:
    def reference(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
        return _chain(image_HWC, [table[place] for place in drawn["operation"]], list(drawn["value"]), scene)

    return reference


def _augmix(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray:
    mixed_HWC = drawn["own_weight"] * image_HWC.astype(float)
    for weight, places, values in zip(drawn["chain_weight"], drawn["operation"], drawn["value"]):
        names = [AUGMIX_9[place] for place in places if place >= 0]
        chain_HWC = np.rint(_chain(image_HWC, names, list(values[: len(names)]), scene))
        mixed_HWC = mixed_HWC + (1 - drawn["own_weight"]) * weight * chain_HWC
    return mixed_HWC


def _geometric(name: str) -> Reference:
    return lambda image_HWC, drawn, scene: seen_through(image_HWC, [(name, drawn)], scene)


def _recoloured(name: str) -> Reference:
    return lambda image_HWC, drawn, scene: np.clip(RECOLOURED[name](image_HWC, drawn, scene), 0, 255)


def _changed(name: str) -> Reference:
    def reference(image_HWC: np.ndarray, drawn: Values, scene: Scene) -> np.ndarray | Spread:
        expected = CHANGED[name](image_HWC, drawn, scene)
        return expected if isinstance(expected, Spread) else np.clip(np.asarray(expected), 0, 255)

    return reference


REFERENCES: dict[str, Reference] = {
    **{name: _geometric(name) for name in LOOKS_AT},
    **{name: _recoloured(name) for name in RECOLOURED},
    **{name: _changed(name) for name in CHANGED},
    "augmix": _augmix,
    "crop": _crop,
    "cutmix": _cutmix,
    "cutout": _cutout,
    "mixup": _mixup,
    "rand_augment": _chosen_from(RAND_14),
    "random_erasing": _random_erasing,
    "trivial_augment": _chosen_from(TRIVIAL_14),
    "window": _window,
}
# Where a chain's steps (posterize, solarize, equalize) follow a resample, half a level before one is many after it; two
# builds of libjpeg round a coefficient in the middle between two steps up or down.
SHARE_OUTSIDE = {"augmix": 0.05, "jpeg": 0.05, "rand_augment": 0.05}
