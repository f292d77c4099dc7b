"""Numbers as colours that look as even as they are: computed in OKLab, never jet, always with the ends of the scale.

OKLab: Ottosson 2020, bottosson.github.io/posts/oklab. Equal steps of value are equal distances of colour; the lightness
only rises, so that the map survives grey printing and colour blindness.
"""

from functools import cache

import numpy as np

from ..filters.view import oklab_to_srgb, signed_colours

__all__ = ["even_colours", "even_palette", "overlay", "signed_colours", "signed_overlay", "signed_scale", "veil"]

NUM_STEPS = 256
DARK_LIGHTNESS, LIGHT_LIGHTNESS = 0.30, 0.95
START_HUE_DEGREES, END_HUE_DEGREES = 285.0, 465.0  # violet over magenta, red and orange to yellow
MAX_CHROMA = 0.17
OPACITY = 0.75


def even_colours(value_HW: np.ndarray, top: float = 1.0) -> np.ndarray:
    """RGB uint8 (H, W, 3) of values 0 (dark violet) to `top` (light yellow), cut off at both ends."""
    index_HW = np.rint(np.clip(value_HW / (top or 1.0), 0, 1) * (NUM_STEPS - 1)).astype(np.intp)
    return even_palette()[index_HW]


@cache
def even_palette() -> np.ndarray:
    """The colours of `even_colours` from 0 to the top: (256, 3) uint8, evenly spaced in OKLab."""
    fraction = np.linspace(0, 1, 4 * NUM_STEPS)
    lightness = DARK_LIGHTNESS + fraction * (LIGHT_LIGHTNESS - DARK_LIGHTNESS)
    hue = np.deg2rad(START_HUE_DEGREES + fraction * (END_HUE_DEGREES - START_HUE_DEGREES))
    chroma = MAX_CHROMA * np.sin(np.pi * (0.25 + 0.6 * fraction))  # fullest in the middle, inside the sRGB gamut
    path_N3 = np.stack([lightness, chroma * np.cos(hue), chroma * np.sin(hue)], axis=1)
    length_N = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(path_N3, axis=0), axis=1))])
    even = np.linspace(0, length_N[-1], NUM_STEPS)
    return oklab_to_srgb(np.stack([np.interp(even, length_N, path_N3[:, i]) for i in range(3)], axis=1))


def signed_overlay(image_HWC: np.ndarray, value_HW: np.ndarray, top: float) -> np.ndarray:
    """RGB uint8: the image in pale grey, tinted orange above zero and blue below, the stronger the further from it, to
    full colour at `top`; where it is 0 the pale image shows alone, as in the middle of `signed_scale`."""
    grey_HW1 = _pale(image_HWC)
    strength_HW = np.clip(value_HW / (top or 1.0), -1, 1)
    opacity_HW1 = OPACITY * np.sqrt(np.abs(strength_HW))[..., None]
    full_HWC = signed_colours(np.sign(strength_HW), 1.0)
    mixed_HWC: np.ndarray = np.rint(grey_HW1 * (1 - opacity_HW1) + full_HWC * opacity_HW1).astype(np.uint8)
    return mixed_HWC


def signed_scale() -> np.ndarray:
    """The colours of `signed_overlay` over middle grey, from -top to top: (256, 3) uint8, what a legend shows."""
    middle_HWC = np.full((1, NUM_STEPS, 1), 128, np.uint8)
    colour_N3: np.ndarray = signed_overlay(middle_HWC, np.linspace(-1, 1, NUM_STEPS)[None], 1.0)[0]
    return colour_N3


def _pale(image_HWC: np.ndarray) -> np.ndarray:
    """grey_HW1 float64 of the image, half way to white, so that colours on it are told apart."""
    pale_HW1: np.ndarray = 127.5 + 0.5 * image_HWC.astype(np.float64).mean(axis=2, keepdims=True)
    return pale_HW1


def veil(value_HW: np.ndarray) -> np.ndarray:
    """RGBA uint8 (H, W, 4) to lay over a picture: values 0 to 1 in even colours, the less of it the clearer."""
    alpha_HW1 = np.rint(255 * OPACITY * np.sqrt(np.clip(value_HW, 0, 1)))[..., None].astype(np.uint8)
    return np.concatenate([even_colours(value_HW), alpha_HW1], axis=2)


def overlay(image_HWC: np.ndarray, value_HW: np.ndarray) -> np.ndarray:
    """RGB uint8: the image in grey, tinted by `value_HW` in 0 to 1; where it is 0 the grey image shows alone."""
    grey_HW1 = image_HWC.astype(np.float64).mean(axis=2, keepdims=True)
    opacity_HW1 = OPACITY * np.sqrt(np.clip(value_HW, 0, 1))[..., None]
    mixed_HWC: np.ndarray = np.rint(grey_HW1 * (1 - opacity_HW1) + even_colours(value_HW) * opacity_HW1).astype(
        np.uint8
    )
    return mixed_HWC
