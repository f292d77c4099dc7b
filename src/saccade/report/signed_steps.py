"""The steps of colour in which a page shows numbers: blue below zero, orange above it, and greys for an image.

Classes `s-8` to `s8` and `g0` to `g8`, each with the digits' colour that reads best on it, and variables of the same
names for what a script paints.
"""

import numpy as np

from ..filters.view import BLUE_HUE_DEGREES, ORANGE_HUE_DEGREES, oklab_to_srgb
from .palette import readable_on, themed

STEPS = 8  # on each side of zero, and of grey
GREY_LIGHTNESS = (0.24, 1.0)
# (lightness of zero, lightness and chroma at the ends) in OKLab
LIGHT_SCALE, DARK_SCALE = (1.0, 0.72, 0.14), (0.27, 0.72, 0.14)


def steps_stylesheet(has_switch: bool = False) -> str:
    """The variables for both themes and the classes; `has_switch` as in `palette.stylesheet`."""
    grey = {f"g{step}": _grey(step / STEPS) for step in range(STEPS + 1)}
    light, dark = (_variables(_signed(scale) | grey) for scale in (LIGHT_SCALE, DARK_SCALE))
    names = [*(f"s{step}" for step in range(-STEPS, STEPS + 1)), *grey]
    classes = "".join(f".{name}{{background:var(--{name});color:var(--on-{name})}}" for name in names)
    return themed(light, dark, has_switch) + classes


def signed_step(value: float, scale: float) -> str:
    """The class of a signed value, in -scale to scale."""
    return f"s{round(STEPS * max(-1.0, min(1.0, value / scale))) if scale else 0}"


def grey_step(value: float, low: float, high: float) -> str:
    """The class of a value of an image whose values lie in low to high."""
    return f"g{round(STEPS * max(0.0, min(1.0, (value - low) / (high - low)))) if high > low else 0}"


def _signed(scale: tuple[float, float, float]) -> dict[str, str]:
    """Name -> colour, in even steps from zero to both ends."""
    zero_lightness, lightness, chroma = scale
    found = {}
    for step in range(-STEPS, STEPS + 1):
        share = abs(step) / STEPS
        hue = np.deg2rad(ORANGE_HUE_DEGREES if step > 0 else BLUE_HUE_DEGREES)
        level = zero_lightness + share * (lightness - zero_lightness)
        found[f"s{step}"] = _hex([level, share * chroma * np.cos(hue), share * chroma * np.sin(hue)])
    return found


def _grey(share: float) -> str:
    low, high = GREY_LIGHTNESS
    return _hex([low + share * (high - low), 0.0, 0.0])


def _hex(oklab: list[float]) -> str:
    red, green, blue = oklab_to_srgb(np.array([oklab]))[0].tolist()
    return f"#{red:02X}{green:02X}{blue:02X}"


def _variables(colours: dict[str, str]) -> str:
    return ";".join(f"--{name}:{colour};--on-{name}:{readable_on(colour)}" for name, colour in colours.items())
