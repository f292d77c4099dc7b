"""Several looks at one image: crops, mirrors and scales, whose probabilities are averaged.

Ten crops are those of Krizhevsky et al. 2012, section 4.1: the four corners and the centre, and their mirrors; the
probabilities (not the logits) are averaged, as there. Grids of more positions follow Szegedy et al. 2014, section 7.
The centre look is bit for bit what `prepare_image` makes, so one crop is ordinary evaluation.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.errors import UsageError
from ..core.plain_numbers import check_number, check_whole
from ..core.types import Preprocessing
from ..data.images.preprocess import mean_levels, place_on_input, prepare_image

MAX_CROPS = 200
MIN_SCALE, MAX_SCALE = 1.0, 4.0
SMALL_MARGIN = 1 / 16  # images that are used whole are shifted by this part of the input side


@dataclass(frozen=True)
class Look:
    """One view of an image: enlarged by `scale`, cut out at (`down`, `right`) in 0 (start) to 1 (end), `mirror`ed."""

    scale: float = 1.0
    down: float = 0.5
    right: float = 0.5
    mirror: bool = False


CENTRE = Look()
_CORNERS = [(0.0, 0.0), (0.0, 1.0), (1.0, 0.0), (1.0, 1.0)]


def looks(num_crops: int, scales: float | Sequence[float] = (1.0,)) -> tuple[Look, ...]:
    """The looks of `num_crops` at each scale: 1, 2, 5, 10, or a grid of g x g positions, mirrored too if 2 x g x g.
    One scale may stand alone.

    Raises UsageError for another number, naming the nearest that work, or for a scale outside 1 to 4.
    """
    num_crops = check_whole(num_crops, "--crops")
    each = [scales] if isinstance(scales, float | int | str) or not isinstance(scales, Iterable) else scales
    scales = [check_number(scale, "A scale of crops") for scale in each]
    if num_crops not in _LAYOUTS:
        smaller = max((n for n in _LAYOUTS if n < num_crops), default=1)
        larger = min((n for n in _LAYOUTS if n > num_crops), default=max(_LAYOUTS))
        raise UsageError(
            f"--crops takes 1, 2, 5, 10 or a grid such as 9 (3x3) or 18 (3x3 and their mirrors), got {num_crops}.\n"
            f"The nearest that work are {smaller} and {larger}."
        )
    if not scales or not all(MIN_SCALE <= scale <= MAX_SCALE for scale in scales):
        shown = ", ".join(f"{scale:g}" for scale in scales) or "none"
        raise UsageError(
            f"Scales of crops lie in {MIN_SCALE:g} to {MAX_SCALE:g}, where 1 is the run's own; got {shown}."
        )
    return tuple(
        Look(scale=scale, down=down, right=right, mirror=mirror)
        for scale in scales
        for down, right, mirror in _LAYOUTS[num_crops]
    )


def prepare_looks(image_HWC: np.ndarray, preprocessing: Preprocessing, wanted: Sequence[Look]) -> np.ndarray:
    """image_VHWC, one prepared input for each look at image_HWC (any size; what `prepare_image` takes)."""
    if tuple(wanted) == (CENTRE,):
        return prepare_image(image_HWC, preprocessing)[None]
    canvases = {scale: _canvas(image_HWC, preprocessing, scale) for scale in {look.scale for look in wanted}}
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    out_VHWC = np.empty((len(wanted), height_px, width_px, preprocessing.num_channels), preprocessing.pixel_type)
    for view, look in enumerate(wanted):
        canvas_HWC = canvases[look.scale]
        top = round((canvas_HWC.shape[0] - height_px) * look.down)
        left = round((canvas_HWC.shape[1] - width_px) * look.right)
        pixels_HWC = canvas_HWC[top : top + height_px, left : left + width_px]
        out_VHWC[view] = pixels_HWC[:, ::-1] if look.mirror else pixels_HWC
    return out_VHWC


def _canvas(image_HWC: np.ndarray, preprocessing: Preprocessing, scale: float) -> np.ndarray:
    """The resized image that inputs are cut out of, uint8 (H, W, C), at least as large as the input.

    Images that are used whole (`resize_px` none) have nothing around them: at scale 1 their edge pixels are repeated,
    with fit pad the mean colour.
    """
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    if preprocessing.resize_px is not None:
        resized_HW, _ = place_on_input((image_HWC.shape[0], image_HWC.shape[1]), preprocessing, scale)
        size = {"input_height_px": resized_HW[0], "input_width_px": resized_HW[1]}
        whole = {"fit": "squash", "resize_px": None}
        return prepare_image(image_HWC, preprocessing.model_copy(update=size | whole))
    if scale > 1:
        size = {"input_height_px": math.ceil(height_px * scale), "input_width_px": math.ceil(width_px * scale)}
        return prepare_image(image_HWC, preprocessing.model_copy(update=size))
    margin_px = [max(1, round(side * SMALL_MARGIN)) for side in (height_px, width_px)]
    pad = ((margin_px[0], margin_px[0]), (margin_px[1], margin_px[1]), (0, 0))
    prepared_HWC = prepare_image(image_HWC, preprocessing)
    if preprocessing.fit != "pad":
        return np.pad(prepared_HWC, pad, mode="edge")
    size_HW = height_px + 2 * margin_px[0], width_px + 2 * margin_px[1]
    canvas_HWC = np.empty((*size_HW, prepared_HWC.shape[2]), prepared_HWC.dtype)
    canvas_HWC[...] = mean_levels(preprocessing)
    canvas_HWC[margin_px[0] : margin_px[0] + height_px, margin_px[1] : margin_px[1] + width_px] = prepared_HWC
    return canvas_HWC


def _layouts() -> dict[int, list[tuple[float, float, bool]]]:
    """Number of crops -> (down, right, mirror) of each, the first ones unmirrored."""
    positions = {1: [(0.5, 0.5)], 5: [*_CORNERS, (0.5, 0.5)]}
    for side in range(2, 11):
        steps = [i / (side - 1) for i in range(side)]
        positions[side * side] = [(down, right) for down in steps for right in steps]
    found = {}
    for num, places in positions.items():
        plain = [(down, right, False) for down, right in places]
        found[num] = plain
        if 2 * num <= MAX_CROPS:
            found[2 * num] = plain + [(down, right, True) for down, right in places]
    return found


_LAYOUTS = _layouts()
