"""The filters of the first layer as a picture: all on one scale, centred on zero."""

from dataclasses import dataclass

import numpy as np
from torch import nn

from ..core.errors import ModelError
from .colour import signed_colours

GAP_PX = 6
FRAME_GREY = 208
MAX_FILTERS = 256


@dataclass(frozen=True, kw_only=True)
class FilterGrid:
    """`tile_NHWC` uint8, one weight a pixel; `scale` is the largest magnitude, which every
    filter's colours refer to; `legend` says what the colours mean."""

    tile_NHWC: np.ndarray
    num_filters: int
    num_shown: int
    scale: float
    layer: str
    legend: str


def first_filters(model: nn.Module) -> np.ndarray:
    """The weights of the first convolution, (filters, channels, rows, columns) float64. Raises ModelError without."""
    return _first_convolution(model)[1].weight.detach().cpu().double().numpy()


def filter_grid(model: nn.Module) -> FilterGrid:
    """The first layer's filters: colours around mid-grey for RGB input, orange and blue around white otherwise."""
    layer, _ = _first_convolution(model)
    weight_FCHW = first_filters(model)
    scale = float(np.abs(weight_FCHW).max()) or 1.0
    shown_FCHW = weight_FCHW[:MAX_FILTERS]
    if weight_FCHW.shape[1] == 3:
        tiles = np.rint(127.5 + 127.5 * shown_FCHW.transpose(0, 2, 3, 1) / scale).astype(np.uint8)
        legend = f"mid-grey is 0; a channel at full strength is +{scale:.3g}, absent -{scale:.3g}"
    else:
        flat_FHW = shown_FCHW.reshape(-1, *shown_FCHW.shape[2:])[:MAX_FILTERS]
        tiles = np.stack([signed_colours(tile_HW, scale) for tile_HW in flat_FHW])
        legend = f"white is 0, orange +{scale:.3g}, blue -{scale:.3g}"
    return FilterGrid(
        tile_NHWC=tiles,
        num_filters=len(weight_FCHW),
        num_shown=len(tiles),
        scale=scale,
        layer=layer,
        legend=legend,
    )


def tile_images(tile_NHWC: np.ndarray, side_px: int, columns: int, see_through: bool = False) -> np.ndarray:
    """One picture of N equal tiles, row by row, each pixel repeated until a tile is about `side_px` wide, in a thin
    grey frame on white, or, for pages that may be dark, on nothing (RGBA)."""
    factor = max(1, round(side_px / tile_NHWC.shape[2]))
    enlarged_NHWC = tile_NHWC.repeat(factor, axis=1).repeat(factor, axis=2)
    framed_NHWC = np.pad(enlarged_NHWC, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=FRAME_GREY)
    num, height_px, width_px, channels = framed_NHWC.shape
    columns = min(columns, num)
    rows = -(-num // columns)
    size = (rows * (height_px + GAP_PX) - GAP_PX, columns * (width_px + GAP_PX) - GAP_PX, channels)
    grid_HWC = np.full(size, 255, np.uint8)
    opacity_HW1 = np.zeros((*size[:2], 1), np.uint8)
    for number, image_HWC in enumerate(framed_NHWC):
        top, left = (number // columns) * (height_px + GAP_PX), (number % columns) * (width_px + GAP_PX)
        grid_HWC[top : top + height_px, left : left + width_px] = image_HWC
        opacity_HW1[top : top + height_px, left : left + width_px] = 255
    if not see_through:
        return grid_HWC
    rgb_HWC = np.broadcast_to(grid_HWC, (*grid_HWC.shape[:2], 3))
    return np.concatenate([rgb_HWC, opacity_HW1], axis=2)


def _first_convolution(model: nn.Module) -> tuple[str, nn.Conv2d]:
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module
    raise ModelError(f"{type(model).__name__} has no convolution, so there are no filters to show.")
