"""From signed numbers to a picture: blue and orange around zero, absolute, or clipped; and the file it goes to."""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

from ..core.atomic import write_bytes
from ..core.errors import UsageError, did_you_mean, printable
from .photo import brightness

SHOWS = ("auto", "signed", "absolute", "clipped")

MAX_JPEG_SIDE_PX = 65_500
ZERO_SUM = 0.01  # of the sum of magnitudes: an edge kernel, learned ones included
FULL_SCALE_QUANTILE = 0.995
QUANTILE_SAMPLES = 1_000_000  # evenly spread; below twice as many values, all of them
HALF_STEPS = 255  # colours on each side of zero

# Ends of the signed scale in OKLab (Ottosson 2020, bottosson.github.io/posts/oklab): equally far from white and
# equally light, so that equal steps of value look like equal steps of colour on both sides of zero.
WHITE_OKLAB = (1.0, 0.0, 0.0)
END_LIGHTNESS, END_CHROMA = 0.60, 0.15
BLUE_HUE_DEGREES, ORANGE_HUE_DEGREES = 255.0, 53.0


@dataclass(frozen=True)
class View:
    """`image_HWC` uint8, C 1 or 3; `scale` says in words what its colours mean."""

    image_HWC: np.ndarray
    scale: str


def check_show(show: str) -> None:
    """Raise UsageError where `show` is none of SHOWS."""
    if show not in SHOWS:
        raise UsageError(
            f"Unknown view '{printable(show)}'.{did_you_mean(show, SHOWS)} Use one of: {', '.join(SHOWS)}."
        )


def make_view(response_HWC: np.ndarray, show: str, weights_HW: np.ndarray) -> View:
    """A picture of the response. `auto` is signed where the kernel's numbers sum to zero (edges), else clipped."""
    if show == "auto":
        magnitude = float(np.abs(weights_HW).sum())
        show = "signed" if abs(float(weights_HW.sum())) <= ZERO_SUM * magnitude else "clipped"
    return {"signed": signed_view, "absolute": absolute_view, "clipped": clipped_view}[show](response_HWC)


def signed_view(response_HWC: np.ndarray) -> View:
    """Orange above zero, blue below, white at zero, even to the eye. Of three channels it shows the brightness's
    response, which is the same weighted sum of the channels' responses."""
    value_HW = brightness(response_HWC)[..., 0]
    scale, beyond = _full_scale(value_HW)
    of = " of the brightness" if response_HWC.shape[2] == 3 else ""
    if scale == 0:
        return View(signed_colours(value_HW, 1.0), f"signed: all values{of} are 0, which is white")
    text = f"signed: values{of} in even steps; white is 0, full orange +{scale:.6g}, full blue -{scale:.6g}{beyond}"
    return View(signed_colours(value_HW, scale), text)


def absolute_view(response_HWC: np.ndarray) -> View:
    """Magnitudes in even steps from black at zero."""
    scale, beyond = _full_scale(response_HWC)
    text = f"absolute: black is 0, full brightness {scale:.6g}{beyond}; the sign is not shown"
    factor = 255 / scale if scale else 0.0
    return View(_by_channel(response_HWC, lambda channel_HW: _to_bytes(np.abs(channel_HW) * factor)), text)


def _full_scale(value: np.ndarray) -> tuple[float, str]:
    """The magnitude drawn at full strength, and in words what lies beyond it. Edges are rare and strong: scaled to the
    strongest, all others would be too faint to see."""
    magnitude = np.abs(value.ravel()[:: max(1, value.size // QUANTILE_SAMPLES)])
    strongest = max(float(value.max()), -float(value.min()))
    scale = float(np.quantile(magnitude, FULL_SCALE_QUANTILE, method="higher")) or strongest
    beyond = float((magnitude > scale).mean())
    return scale, f" and beyond ({100 * beyond:.2f} % of the values)" if beyond else ""


def clipped_view(response_HWC: np.ndarray) -> View:
    """The values themselves, rounded, with what lies outside 0 to 255 cut off."""
    outside = 100 * float(((response_HWC < 0) | (response_HWC > 255)).mean())
    return View(
        _to_bytes(response_HWC), f"clipped: values as they are, 0 to 255; {outside:.1f} % lay outside and are cut"
    )


def signed_colours(value_HW: np.ndarray, scale: float) -> np.ndarray:
    """RGB uint8 (H, W, 3) of values in -scale to scale."""
    index_HW = np.rint(np.clip(value_HW / scale, -1, 1) * HALF_STEPS).astype(np.intp) + HALF_STEPS
    return _signed_palette()[index_HW]


@cache
def _signed_palette() -> np.ndarray:
    """Colours from full blue through white to full orange: (2 * HALF_STEPS + 1, 3) uint8."""
    blue, orange = (_oklab(hue) for hue in (BLUE_HUE_DEGREES, ORANGE_HUE_DEGREES))
    white = np.array(WHITE_OKLAB)
    fraction = np.linspace(0, 1, HALF_STEPS + 1)[:, None]
    negative, positive = (white + fraction * (end - white) for end in (blue, orange))
    return oklab_to_srgb(np.concatenate([negative[:0:-1], positive]))


def _oklab(hue_degrees: float) -> np.ndarray:
    hue = np.deg2rad(hue_degrees)
    return np.array([END_LIGHTNESS, END_CHROMA * np.cos(hue), END_CHROMA * np.sin(hue)])


def oklab_to_srgb(colour_N3: np.ndarray) -> np.ndarray:
    """uint8 sRGB of OKLab colours, by the matrices of Ottosson 2020; out-of-gamut values are cut."""
    to_cones = np.array(
        [[1, 0.3963377774, 0.2158037573], [1, -0.1055613458, -0.0638541728], [1, -0.0894841775, -1.2914855480]]
    )
    to_linear = np.array(
        [
            [4.0767416621, -3.3077115913, 0.2309699292],
            [-1.2684380046, 2.6097574011, -0.3413193965],
            [-0.0041960863, -0.7034186147, 1.7076147010],
        ]
    )
    linear = np.clip((colour_N3 @ to_cones.T) ** 3 @ to_linear.T, 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return _to_bytes(encoded * 255)


def _by_channel(response_HWC: np.ndarray, to_bytes: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """One channel after the other: a large photo needs little memory beside its response."""
    image_HWC = np.empty(response_HWC.shape, np.uint8)
    for channel in range(response_HWC.shape[2]):
        image_HWC[..., channel] = to_bytes(response_HWC[..., channel])
    return image_HWC


def _to_bytes(value: np.ndarray) -> np.ndarray:
    byte: np.ndarray = np.rint(np.clip(value, 0, 255)).astype(np.uint8)
    return byte


# Files


def _encode_png(image_HWC: np.ndarray) -> bytes:
    return _encode_picture(image_HWC, "PNG")


def _encode_jpeg(image_HWC: np.ndarray) -> bytes:
    if max(image_HWC.shape) > MAX_JPEG_SIDE_PX:
        raise UsageError(f"A JPEG file has at most {MAX_JPEG_SIDE_PX:,} pixels a side; write a .png instead.")
    return _encode_picture(image_HWC, "JPEG")


def _encode_picture(image_HWC: np.ndarray, file_format: str) -> bytes:
    buffer = io.BytesIO()
    picture = Image.fromarray(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC)
    picture.save(buffer, file_format, **({"quality": 95, "subsampling": 0} if file_format == "JPEG" else {}))
    return buffer.getvalue()


ENCODERS: dict[str, Callable[[np.ndarray], bytes]] = {".png": _encode_png, ".jpg": _encode_jpeg, ".jpeg": _encode_jpeg}
NUMBERS_SUFFIX = ".npy"


def check_out(out: Path, photo: Path) -> None:
    """Raise UsageError, before any work, where `out` cannot become the file a person expects."""
    shown = printable(str(out))
    if out.suffix.lower() not in (*ENCODERS, NUMBERS_SUFFIX):
        kind = f"'{printable(out.suffix)}'" if out.suffix else "a name without an ending"
        raise UsageError(
            f"Cannot write '{shown}': {kind} is not a kind of file that this command writes.\n"
            f"Use .png or .jpg for a picture, or .npy for the numbers themselves."
        )
    if os.path.isdir(out):
        raise UsageError(f"Cannot write '{shown}': it is a folder.\nAdd a file name to --out.")
    if not os.path.isdir(out.parent):
        raise UsageError(
            f"Cannot write '{shown}': there is no folder '{printable(str(out.parent))}'.\n"
            f"Create it, or choose another place with --out."
        )
    if os.path.exists(out) and os.path.exists(photo) and os.path.samefile(out, photo):
        raise UsageError(f"Cannot write '{shown}': it is the photo itself.\nChoose another name with --out.")


def check_sheet(out: Path, photo: Path) -> None:
    """As `check_out`, for the sheet, which is a .png file."""
    if out.suffix.lower() != ".png":
        raise UsageError(f"--sheet writes .png files; got '{printable(out.name)}'.\nChange the ending of the file.")
    check_out(out, photo)


def write_response(out: Path, response_HWC: np.ndarray, view: View) -> None:
    """Write the view as a picture, or the response itself as float64 .npy (H, W, C). Raises StorageError."""
    if out.suffix.lower() == NUMBERS_SUFFIX:
        buffer = io.BytesIO()
        np.save(buffer, response_HWC, allow_pickle=False)
        write_bytes(out, buffer.getvalue())
    else:
        write_bytes(out, ENCODERS[out.suffix.lower()](view.image_HWC))
