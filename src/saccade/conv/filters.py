"""Named kernels, each with its source, rotated to any angle; and kernels written as numbers.

What a person types: `sobel-x`, `emboss@30` (turned by 30 degrees counterclockwise), `45deg` (an edge at any angle:
`sobel-x@45`), or rows of numbers, `1,0,-1; 1,0,-1; 1,0,-1`. The signs are those of cross-correlation, which is what
networks compute: `sobel-x` answers with positive values where the image gets brighter to the right.
"""

import math
import re
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..core.errors import UnknownNameError, UsageError, brief, did_you_mean, printable
from ..core.plain_numbers import plain_float

MAX_KERNEL_SIZE = 31
MAX_MAGNITUDE = 1e9  # beyond it sums of pixels lose their digits
NEAR = 0.05  # length of the difference over that of the named kernel

HOW_TO_WRITE = "Write rows between semicolons and numbers between commas, such as '1,0,-1;1,0,-1;1,0,-1'."


@dataclass(frozen=True, kw_only=True)
class NamedKernel:
    """An entry of the table: `rows` divided by `divisor`. `steerable` derivatives are turned exactly."""

    rows: tuple[tuple[int, ...], ...]
    source: str
    divisor: int = 1
    steerable: bool = False


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel to use: float64 `weights_HW`, the `name` as typed, and where its numbers come from."""

    name: str
    weights_HW: np.ndarray
    source: str


def _turned(rows: tuple[tuple[int, ...], ...]) -> tuple[tuple[int, ...], ...]:
    return tuple(zip(*rows))


_VERTICAL = ((1, 0, -1), (1, 0, -1), (1, 0, -1))
_PREWITT = ((-1, 0, 1), (-1, 0, 1), (-1, 0, 1))
_SOBEL = ((-1, 0, 1), (-2, 0, 2), (-1, 0, 1))
_SCHARR = ((-3, 0, 3), (-10, 0, 10), (-3, 0, 3))

_PREWITT_SOURCE = "Prewitt 1970, Object enhancement and extraction, in Picture Processing and Psychopictorics"
_SOBEL_SOURCE = "Sobel and Feldman 1968, published in Duda and Hart 1973, Pattern Classification and Scene Analysis"
_SCHARR_SOURCE = "Scharr 2000, Optimale Operatoren in der Digitalen Bildverarbeitung, Heidelberg"
_EDGE_SOURCE = "Prewitt's operator with the bright side first, as lectures on convolutional networks write it"

KERNELS: dict[str, NamedKernel] = {
    "vertical": NamedKernel(rows=_VERTICAL, source=_EDGE_SOURCE, steerable=True),
    "horizontal": NamedKernel(rows=_turned(_VERTICAL), source=_EDGE_SOURCE, steerable=True),
    "prewitt-x": NamedKernel(rows=_PREWITT, source=_PREWITT_SOURCE, steerable=True),
    "prewitt-y": NamedKernel(rows=_turned(_PREWITT), source=_PREWITT_SOURCE, steerable=True),
    "sobel-x": NamedKernel(rows=_SOBEL, source=_SOBEL_SOURCE, steerable=True),
    "sobel-y": NamedKernel(rows=_turned(_SOBEL), source=_SOBEL_SOURCE, steerable=True),
    "scharr-x": NamedKernel(rows=_SCHARR, source=_SCHARR_SOURCE, steerable=True),
    "scharr-y": NamedKernel(rows=_turned(_SCHARR), source=_SCHARR_SOURCE, steerable=True),
    "laplacian": NamedKernel(
        rows=((0, 1, 0), (1, -4, 1), (0, 1, 0)),
        source="the five-point second difference, Abramowitz and Stegun 1964, 25.3.30",
    ),
    "emboss": NamedKernel(
        rows=((-2, -1, 0), (-1, 1, 1), (0, 1, 2)),
        source="the emboss example of the GIMP manual's convolution matrix",
    ),
    "sharpen": NamedKernel(
        rows=((0, -1, 0), (-1, 5, -1), (0, -1, 0)),
        source="the identity minus the Laplacian: unsharp masking with four neighbours",
    ),
    "box": NamedKernel(rows=((1, 1, 1),) * 3, divisor=9, source="the mean of nine neighbours"),
    "gaussian": NamedKernel(
        rows=((1, 2, 1), (2, 4, 2), (1, 2, 1)),
        divisor=16,
        source="the binomial approximation of a Gaussian, (1 2 1) by (1 2 1)",
    ),
    "identity": NamedKernel(rows=((0, 0, 0), (0, 1, 0), (0, 0, 0)), source="changes nothing: one in the middle"),
}


def parse_kernel(text: str) -> Kernel:
    """The kernel a person typed: NAME, NAME@DEGREES, DEGREESdeg, or numbers, themselves with @DEGREES or not.

    Raises UnknownNameError with the nearest name, or UsageError saying which part is malformed.
    """
    degrees_only = re.fullmatch(r"\s*([^\s@;,]+)\s*deg\s*", text)
    base, at, angle = (f"sobel-x@{degrees_only[1]}" if degrees_only else text).partition("@")
    weights_HW, source, steerable = _look_up(base.strip())
    if at:
        degrees = _parse_degrees(angle.strip(), text)
        weights_HW = steer(weights_HW, degrees) if steerable else rotate(weights_HW, degrees)
        source = f"{source}; turned by {degrees:g} degrees counterclockwise"
    return Kernel(name=text.strip(), weights_HW=weights_HW, source=source)


def steer(kernel_HW: np.ndarray, degrees: float) -> np.ndarray:
    """A first-derivative kernel turned counterclockwise, as one sees it: cos * K + sin * (K turned by 90 degrees).

    Exact for derivatives (Freeman and Adelson 1991, doi:10.1109/34.93808): the response to a linear ramp is the
    ramp's slope in the turned direction.
    """
    quarters, rest = divmod(degrees % 360, 90)
    turned_HW = np.rot90(kernel_HW, int(quarters))
    radians = math.radians(rest)
    return math.cos(radians) * turned_HW + math.sin(radians) * np.rot90(turned_HW)


def rotate(kernel_HW: np.ndarray, degrees: float) -> np.ndarray:
    """Any square kernel turned counterclockwise, ring by ring around its middle, linearly between neighbours.

    Exact at multiples of 90 degrees, for 3x3 at those of 45 (the compass kernels); the sum never changes. Raises
    UsageError where the kernel is not square.
    """
    height, width = kernel_HW.shape
    if height != width:
        raise UsageError(
            f"Only a square kernel can be turned, got {height}x{width}.\n"
            f"Leave out the '@' and its angle, or make it square."
        )
    turned_HW = np.array(kernel_HW, np.float64)
    for ring in range(height // 2):
        rows, columns = _ring(ring, height - 1 - ring)
        values = kernel_HW[rows, columns]
        whole, part = divmod(degrees % 360 / 360 * len(values), 1)
        earlier, later = np.roll(values, int(whole)), np.roll(values, int(whole) + 1)
        turned_HW[rows, columns] = (1 - part) * earlier + part * later
    return turned_HW


def flip_effect(kernel_HW: np.ndarray) -> Literal["equal", "negative", "different"]:
    """What flipping does: `equal` where true convolution and cross-correlation agree, `negative` where they are
    exact negatives of each other (Sobel, Scharr: shown as absolute values they look the same), else `different`."""
    tolerance = 1e-12 * float(np.abs(kernel_HW).max())
    flipped_HW = kernel_HW[::-1, ::-1]
    if np.allclose(flipped_HW, kernel_HW, rtol=0, atol=tolerance):
        return "equal"
    return "negative" if np.allclose(flipped_HW, -kernel_HW, rtol=0, atol=tolerance) else "different"


def nearest_kernel(weights_HW: np.ndarray) -> Kernel | None:
    """The named kernel, derivatives turned to the nearest whole degree, from which the numbers differ least; None
    where that is more than 5 % of its length."""
    best, least = None, NEAR
    for name, entry in KERNELS.items():
        named_HW = np.array(entry.rows, np.float64) / entry.divisor
        if named_HW.shape != weights_HW.shape:
            continue
        names = [name]
        if entry.steerable:
            along, across = (float((turned_HW * weights_HW).sum()) for turned_HW in (named_HW, steer(named_HW, 90)))
            names.append(f"{name}@{round(math.degrees(math.atan2(across, along)))}")
        for candidate in map(parse_kernel, names):
            distance = float(np.linalg.norm(candidate.weights_HW - weights_HW) / np.linalg.norm(candidate.weights_HW))
            if distance < least:
                best, least = candidate, distance
    return best


def _look_up(base: str) -> tuple[np.ndarray, str, bool]:
    if base.lower() in KERNELS:
        entry = KERNELS[base.lower()]
        return np.array(entry.rows, np.float64) / entry.divisor, entry.source, entry.steerable
    if re.search(r"[;,\s]", base) or re.match(r"[-+.\d]", base):
        return _parse_numbers(base), "the numbers given", False
    raise UnknownNameError(
        f"Unknown kernel '{printable(base)}'.{did_you_mean(base, KERNELS)}\n"
        f"Known: {', '.join(KERNELS)};\n"
        f"any of them turned, such as 'sobel-x@30'; an edge at any angle, such as '45deg'; or numbers.\n"
        f"{HOW_TO_WRITE}"
    )


def _parse_numbers(text: str) -> np.ndarray:
    shown = printable(text if len(text) <= 60 else f"{text[:57]}...")
    rows = [[_parse_number(number, shown) for number in re.split(r"\s*,\s*|\s+", row)] for row in _rows(text)]
    lengths = [len(row) for row in rows]
    if len(set(lengths)) > 1:
        raise UsageError(
            f"The rows of the kernel '{shown}' have different lengths: {', '.join(map(str, lengths))}.\n{HOW_TO_WRITE}"
        )
    if max(len(rows), lengths[0]) > MAX_KERNEL_SIZE:
        raise UsageError(
            f"A kernel has at most {MAX_KERNEL_SIZE} rows and columns, got {len(rows)} rows of {lengths[0]}."
        )
    return np.array(rows, np.float64)


def _rows(text: str) -> list[str]:
    return [row.strip() for row in text.strip().removesuffix(";").split(";")]


def _parse_number(text: str, kernel: str) -> float:
    try:
        number = plain_float(text)
    except ValueError as error:
        what = f"'{printable(text)}' is not a number" if text else "a number is missing"
        raise UsageError(f"Cannot read the kernel '{brief(kernel)}': {what}.\n{HOW_TO_WRITE}") from error
    if not abs(number) <= MAX_MAGNITUDE:
        raise UsageError(
            f"Cannot read the kernel '{brief(kernel)}': its numbers must lie between -1e9 and 1e9, "
            f"got {brief(text, 40)}."
        )
    return number


def _parse_degrees(text: str, kernel: str) -> float:
    try:
        degrees = plain_float(text)
    except ValueError:
        degrees = math.nan
    if not math.isfinite(degrees):
        raise UsageError(
            f"Cannot read the kernel '{brief(kernel)}': '{printable(text)}' is not an angle in degrees.\n"
            f"Write it as in 'sobel-x@30' or '45deg'."
        )
    return degrees


def _ring(first: int, last: int) -> tuple[list[int], list[int]]:
    """Rows and columns of the square ring between two indices, counterclockwise from its upper left corner."""
    along, back = range(first, last), range(last, first, -1)
    rows = [*along, *([last] * len(along)), *back, *([first] * len(along))]
    columns = [*([first] * len(along)), *along, *([last] * len(along)), *back]
    return rows, columns
