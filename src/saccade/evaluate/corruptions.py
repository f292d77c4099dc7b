"""Twelve corruptions of images in five strengths, by the definitions of ImageNet-C.

Hendrycks and Dietterich 2019, arXiv:1903.12261, and the constants of the code they published. They are made for inputs
of 224 pixels; for others, lengths in pixels are scaled by the shorter side. Deviations: motion blur is computed here,
by ImageMagick's documented kernel, where they call that program; its direction, as everything random, is drawn from a
generator that the caller gives. An image is uint8 or uint16 (H, W, C). More channels than colours get the same
definitions: one cloud lies over all of them, the brightness of a pixel is its largest channel, and boxes are averaged
in floating point. JPEG knows grey and colours of eight bits only, and is left out for others.
"""

import io
from collections.abc import Callable

import numpy as np
from PIL import Image

Corruption = Callable[[np.ndarray, int, np.random.Generator], np.ndarray]  # float HWC in 0 to 1, strength, generator
STRENGTHS = (1, 2, 3, 4, 5)
MADE_FOR_PX = 224
OF_COLOURS = frozenset({"jpeg"})


def corrupt(
    image_HWC: np.ndarray, name: str, strength: int, generator: np.random.Generator, full_scale: int = 255
) -> np.ndarray:
    """The corrupted image, of the same type and shape; `full_scale` is the value that counts as 1."""
    is_picture = image_HWC.dtype == np.uint8 and image_HWC.shape[2] in (1, 3)
    change = CORRUPTIONS[name] if is_picture or name != "pixelate" else pixelate_bands
    value_HWC = change(image_HWC.astype(np.float64) / full_scale, strength - 1, generator)
    pixels_HWC: np.ndarray = np.rint(np.clip(value_HWC, 0, 1) * full_scale).astype(image_HWC.dtype)
    return pixels_HWC


def kinds_of(has_bands: bool) -> tuple[str, ...]:
    """The corruptions that images have: all of them, or with bands those that are not of colours alone."""
    return tuple(name for name in CORRUPTIONS if not (has_bands and name in OF_COLOURS))


def generator_of(seed: int, index: int, name: str, strength: int) -> np.random.Generator:
    """What draws for one image, by its index in the source: it depends on no order."""
    return np.random.default_rng([seed, index, list(CORRUPTIONS).index(name), strength])


def gaussian_noise(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Normal noise of a fixed deviation."""
    return image_HWC + generator.normal(0, (0.08, 0.12, 0.18, 0.26, 0.38)[level], image_HWC.shape)


def shot_noise(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Light counted in few photons."""
    photons = (60, 25, 12, 5, 3)[level]
    return generator.poisson(image_HWC * photons) / photons


def impulse_noise(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """A share of all values is black or white."""
    share = (0.03, 0.06, 0.09, 0.17, 0.27)[level]
    is_hit, is_white = generator.random(image_HWC.shape) < share, generator.random(image_HWC.shape) < 0.5
    return np.where(is_hit, is_white.astype(np.float64), image_HWC)


def defocus_blur(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """A disk, its edge softened."""
    del generator
    radius, softening = ((3, 0.1), (4, 0.5), (6, 0.5), (8, 0.5), (10, 0.5))[level]
    return _filtered(image_HWC, disk(radius * _scale(image_HWC), softening))


def disk(radius_px: float, softening_px: float) -> np.ndarray:
    """A disk of weights that sum to 1, softened by a normal kernel of 3x3, or 5x5 above a radius of 8."""
    reach = max(8, int(np.ceil(radius_px)))
    down, right = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disk_HW = (down**2 + right**2 <= radius_px**2).astype(np.float64)
    half = 1 if radius_px <= 8 else 2
    tap_T = np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * softening_px**2))
    softened_HW = _filtered(disk_HW[..., None] / disk_HW.sum(), np.outer(tap_T, tap_T) / tap_T.sum() ** 2)[..., 0]
    weight_HW: np.ndarray = softened_HW / softened_HW.sum()
    return weight_HW


def gaussian_blur(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """A normal kernel."""
    from scipy.ndimage import gaussian_filter

    del generator
    deviation_px = (1, 2, 3, 4, 6)[level] * _scale(image_HWC)
    blurred_HWC: np.ndarray = gaussian_filter(image_HWC, (deviation_px, deviation_px, 0), mode="nearest")
    return blurred_HWC


def motion_blur(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Half a normal kernel along a direction of -45 to 45 degrees from the horizontal."""
    radius, deviation = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))[level]
    scale = _scale(image_HWC)
    width_px, angle = 2 * max(1, round(radius * scale)) + 1, np.radians(generator.uniform(-45, 45))
    weight_T = np.exp(-(np.arange(width_px) ** 2) / (2 * (deviation * scale) ** 2))
    blurred_HWC = np.zeros_like(image_HWC)
    for step, weight in enumerate(weight_T / weight_T.sum()):
        blurred_HWC += weight * _shifted(image_HWC, round(step * np.sin(angle)), round(step * np.cos(angle)))
    return blurred_HWC


def zoom_blur(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """The mean of the image and enlargements of its centre."""
    from scipy.ndimage import affine_transform

    del generator
    end, step = ((1.11, 0.01), (1.16, 0.01), (1.21, 0.02), (1.26, 0.02), (1.31, 0.03))[level]
    factors = np.arange(1, end, step)
    centre = (np.array(image_HWC.shape[:2]) - 1) / 2
    total_HWC = image_HWC.copy()
    for factor in factors:
        for channel in range(image_HWC.shape[2]):
            offset = centre - centre / factor
            total_HWC[..., channel] += affine_transform(
                image_HWC[..., channel], np.full(2, 1 / factor), offset, order=1, mode="nearest"
            )
    mean_HWC: np.ndarray = total_HWC / (len(factors) + 1)
    return mean_HWC


def fog(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Clouds of all sizes laid over the image."""
    amount, decay = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))[level]
    height, width = image_HWC.shape[:2]
    brightest = float(image_HWC.max())
    cloud_HW = plasma(max(height, width), decay, generator)[:height, :width]
    return (image_HWC + amount * cloud_HW[..., None]) * brightest / (brightest + amount)


def plasma(side: int, decay: float, generator: np.random.Generator) -> np.ndarray:
    """Plasma clouds in 0 to 1 by the diamond-square rule on a torus, at least `side` square (Fournier et al. 1982)."""
    size = 1 << max(1, int(np.ceil(np.log2(max(side, 2)))))
    map_SS = np.zeros((size, size))
    step, roughness = size, 100.0
    while step >= 2:
        half = step // 2

        def wobbled(mean: np.ndarray, roughness: float = roughness) -> np.ndarray:
            value: np.ndarray = mean / 4 + roughness * generator.uniform(-roughness, roughness, mean.shape)
            return value

        corner = map_SS[::step, ::step]
        pair = corner + np.roll(corner, -1, axis=0)
        map_SS[half::step, half::step] = wobbled(pair + np.roll(pair, -1, axis=1))
        middle = map_SS[half::step, half::step]
        above = middle + np.roll(middle, 1, axis=0)
        map_SS[::step, half::step] = wobbled(above + corner + np.roll(corner, -1, axis=1))
        beside = middle + np.roll(middle, 1, axis=1)
        map_SS[half::step, ::step] = wobbled(beside + corner + np.roll(corner, -1, axis=0))
        step, roughness = half, roughness / decay
    map_SS -= map_SS.min()
    cloud_SS: np.ndarray = map_SS / max(float(map_SS.max()), 1e-12)
    return cloud_SS


def brightness(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """A number is added to the value of hue, saturation and value, which stays within 1."""
    del generator
    value_HW1 = image_HWC.max(axis=2, keepdims=True)
    raised_HW1 = np.minimum(value_HW1 + (0.1, 0.2, 0.3, 0.4, 0.5)[level], 1)
    factor_HW1 = np.divide(raised_HW1, value_HW1, out=np.zeros_like(value_HW1), where=value_HW1 > 0)
    raised_HWC: np.ndarray = np.where(value_HW1 > 0, image_HWC * factor_HW1, raised_HW1)
    return raised_HWC


def contrast(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Everything moves towards the mean of its channel."""
    del generator
    mean_11C = image_HWC.mean(axis=(0, 1), keepdims=True)
    faded_HWC: np.ndarray = (image_HWC - mean_11C) * (0.4, 0.3, 0.2, 0.1, 0.05)[level] + mean_11C
    return faded_HWC


def jpeg(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Saved as JPEG of low quality."""
    del generator
    file = io.BytesIO()
    _picture(image_HWC).save(file, "JPEG", quality=(25, 18, 15, 10, 7)[level])
    return _values(Image.open(file), image_HWC.shape)


def pixelate(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """Shrunk and enlarged again, by the means and copies of boxes."""
    del generator
    small = _picture(image_HWC).resize(_small_size(image_HWC, level), Image.Resampling.BOX)
    return _values(small.resize(image_HWC.shape[1::-1], Image.Resampling.BOX), image_HWC.shape)


def pixelate_bands(image_HWC: np.ndarray, level: int, generator: np.random.Generator) -> np.ndarray:
    """The same of more channels or bits than pictures have: each channel by itself, in float32."""
    del generator
    small = _small_size(image_HWC, level)
    return np.stack([_boxes(image_HWC[..., number], small) for number in range(image_HWC.shape[2])], axis=2)


def _small_size(image_HWC: np.ndarray, level: int) -> tuple[int, int]:
    """(width, height)."""
    height, width = image_HWC.shape[:2]
    share = (0.6, 0.5, 0.4, 0.3, 0.25)[level]
    return max(1, int(width * share)), max(1, int(height * share))


CORRUPTIONS: dict[str, Corruption] = {
    "gaussian-noise": gaussian_noise,
    "shot-noise": shot_noise,
    "impulse-noise": impulse_noise,
    "defocus-blur": defocus_blur,
    "gaussian-blur": gaussian_blur,
    "motion-blur": motion_blur,
    "zoom-blur": zoom_blur,
    "fog": fog,
    "brightness": brightness,
    "contrast": contrast,
    "jpeg": jpeg,
    "pixelate": pixelate,
}


def _scale(image_HWC: np.ndarray) -> float:
    return float(min(image_HWC.shape[:2])) / MADE_FOR_PX


def _filtered(image_HWC: np.ndarray, kernel_HW: np.ndarray) -> np.ndarray:
    """Each channel under a kernel of odd sides; beyond the edge the image is mirrored without its last pixel."""
    import cv2

    filtered_HWC: np.ndarray = cv2.filter2D(image_HWC, -1, kernel_HW, borderType=cv2.BORDER_REFLECT_101)
    return filtered_HWC.reshape(image_HWC.shape)


def _shifted(image_HWC: np.ndarray, down: int, right: int) -> np.ndarray:
    """What lies `down` and `right` of each pixel; beyond the edge its last pixel."""
    height, width = image_HWC.shape[:2]
    row_H, column_W = np.clip(np.arange(height) + down, 0, height - 1), np.clip(np.arange(width) + right, 0, width - 1)
    return image_HWC[row_H[:, None], column_W[None, :]]


def _boxes(value_HW: np.ndarray, small: tuple[int, int]) -> np.ndarray:
    """One channel shrunk to `small` (width, height) and enlarged again, in float32."""
    picture = Image.fromarray(value_HW.astype(np.float32)).resize(small, Image.Resampling.BOX)
    return np.asarray(picture.resize(value_HW.shape[::-1], Image.Resampling.BOX), np.float64)


def _picture(image_HWC: np.ndarray) -> Image.Image:
    pixels_HWC = np.rint(image_HWC * 255).astype(np.uint8)
    return Image.fromarray(pixels_HWC[..., 0] if pixels_HWC.shape[2] == 1 else pixels_HWC)


def _values(picture: Image.Image, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(picture, np.float64).reshape(shape) / 255
