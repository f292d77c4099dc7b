"""What one value of a map sees: the rectangle of input pixels it depends on, found by experiment.

Pixels are replaced by NaN, which every layer passes on to all that depends on it (a maximum and a ReLU too), whatever
the weights are. Each edge of the rectangle is found by halving; the arithmetic of `conv.geometry` is not used, so the
two check each other. What reaches beyond the image, into padding, is cut off at its edge.
"""

from dataclasses import dataclass

import torch
from torch import nn

from .endpoints import read_maps


@dataclass(frozen=True, kw_only=True)
class SeenField:
    """Rows `top` up to but without `bottom`, columns `left` up to but without `right`, of an input of `size_px`
    (height, width): what the value at `position` (row, column) of `layer` depends on."""

    layer: str
    position: tuple[int, int]
    top: int
    left: int
    bottom: int
    right: int
    size_px: tuple[int, int]

    def words(self) -> str:
        """`framed: what the strongest value of 'stage2' sees, 27x27 px`, or that it sees everything."""
        height_px, width_px = self.bottom - self.top, self.right - self.left
        if height_px <= 0 or width_px <= 0:
            return f"the values of '{self.layer}' do not depend on the image"
        if (height_px, width_px) == self.size_px:
            return f"the strongest value of '{self.layer}' sees all of it"
        return f"framed: what the strongest value of '{self.layer}' sees, {width_px}x{height_px} px"


def seen_field(model: nn.Module, input_1CHW: torch.Tensor, layer: str, position: tuple[int, int]) -> SeenField:
    """The field of the value at `position` (row, column) of `layer`. Raises UnknownNameError or ModelError."""
    height_px, width_px = input_1CHW.shape[2:]
    spared = [0, 0, 0, 0]  # rows and columns known to be without influence: from the top, bottom, left and right
    at_most = [height_px, height_px, width_px, width_px]
    while spared != at_most:
        tried = [(low + high + 1) // 2 for low, high in zip(spared, at_most)]
        map_4Chw = read_maps(model, _damaged(input_1CHW, tried), [layer])[layer]
        is_hit = map_4Chw[:, :, position[0], position[1]].isnan().any(dim=1).tolist()
        spared = [low if hit else num for low, num, hit in zip(spared, tried, is_hit)]
        at_most = [min(high, num - 1) if hit else high for high, num, hit in zip(at_most, tried, is_hit)]
    return SeenField(
        layer=layer,
        position=position,
        top=spared[0],
        left=spared[2],
        bottom=height_px - spared[1],
        right=width_px - spared[3],
        size_px=(height_px, width_px),
    )


def _damaged(input_1CHW: torch.Tensor, num_lines: list[int]) -> torch.Tensor:
    """Four copies, in each of which so many lines from the top, bottom, left or right are NaN."""
    height_px, width_px = input_1CHW.shape[2:]
    copy_4CHW = input_1CHW.repeat(4, 1, 1, 1)
    copy_4CHW[0, :, : num_lines[0]] = torch.nan
    copy_4CHW[1, :, height_px - num_lines[1] :] = torch.nan
    copy_4CHW[2, :, :, : num_lines[2]] = torch.nan
    copy_4CHW[3, :, :, width_px - num_lines[3] :] = torch.nan
    return copy_4CHW
