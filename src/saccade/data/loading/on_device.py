"""Small sets on the device: images are gathered, mirrored, moved and covered there, and never copied to it again.

What happens to a sample is drawn as for any other batch and involves no arithmetic on pixels, so the bits are those
that the reading threads would have made. Jordan 2024, arXiv:2404.00498, keeps CIFAR-10 so.
"""

import numpy as np
import torch

from ...core.runtime import send
from ...core.types import Batch
from ..augment.shared.lossless import fold, source_rows_and_columns
from ..augmenter import Augmenter, Plan

MAX_SHARE_OF_FREE = 0.25  # of the device's free memory; the rest is the network's


class ResidentSet:
    """All images of a set at the input size, uint8 (N, H, W, C), on a device.

    Only for an `augmenter` whose `moves_whole_pixels` holds. `image_NHWC` is copied.
    """

    def __init__(self, image_NHWC: np.ndarray, augmenter: Augmenter, device: torch.device) -> None:
        self.device = device
        self._augmenter = augmenter
        self._image_NHWC = torch.from_numpy(image_NHWC).to(device, copy=True)

    def batch(self, position_B: np.ndarray, plan: Plan, label_B: np.ndarray, lane_sizes: tuple[int, ...] = ()) -> Batch:
        """The batch of the images at `position_B`, its image_BCHW on the device and channels-last."""
        index_B11 = self._tensor(position_B)[:, None, None]
        row_BH, column_BW, is_outside_BHW = self._places(plan)
        image_BHWC = self._image_NHWC[index_B11, self._tensor(row_BH)[:, :, None], self._tensor(column_BW)[:, None, :]]
        canvas = self._augmenter.canvas
        if is_outside_BHW is not None:
            image_BHWC = torch.where(is_outside_BHW[..., None], self._tensor(canvas.fill_C), image_BHWC)
        for box_B4 in self._augmenter.boxes(plan):
            is_covered_BHW = self._inside(self._tensor(box_B4))
            image_BHWC = torch.where(is_covered_BHW[..., None], self._tensor(self._augmenter.mean_C), image_BHWC)
        return Batch(
            image_BCHW=image_BHWC.permute(0, 3, 1, 2),
            target=torch.from_numpy(label_B),
            index_B=plan.index_B,
            lane_sizes=lane_sizes,
        )

    def _places(self, plan: Plan) -> tuple[np.ndarray, np.ndarray, torch.Tensor | None]:
        """row_BH and column_BW of the pixels that are shown, and where a border colour is shown instead."""
        canvas = self._augmenter.canvas
        height, width = canvas.size_HW
        row_BH, column_BW = source_rows_and_columns(plan.geometry_B33, canvas.size_HW)
        inside_row_BH, inside_column_BW = fold(row_BH, height, canvas.border), fold(column_BW, width, canvas.border)
        if canvas.border not in ("mean", "black"):
            return inside_row_BH, inside_column_BW, None
        is_outside_BH = self._tensor(row_BH != inside_row_BH)
        is_outside_BW = self._tensor(column_BW != inside_column_BW)
        return inside_row_BH, inside_column_BW, is_outside_BH[:, :, None] | is_outside_BW[:, None, :]

    def _inside(self, box_B4: torch.Tensor) -> torch.Tensor:
        """Which pixels lie in the box (top, bottom, left, right) of each sample: bool (B, H, W)."""
        height, width = self._augmenter.canvas.size_HW
        top_B1, bottom_B1, left_B1, right_B1 = (box_B4[:, [k]] for k in range(4))
        y_H, x_W = torch.arange(height, device=self.device), torch.arange(width, device=self.device)
        is_row_BH, is_column_BW = (y_H >= top_B1) & (y_H < bottom_B1), (x_W >= left_B1) & (x_W < right_B1)
        return is_row_BH[:, :, None] & is_column_BW[:, None, :]

    def _tensor(self, values: np.ndarray) -> torch.Tensor:
        return send(torch.from_numpy(values), self.device)


def has_room(device: torch.device, num_bytes: int) -> bool:
    """Whether a set of so many bytes leaves the device enough memory for the network."""
    if device.type != "cuda":
        return True
    free_bytes, _ = torch.cuda.mem_get_info(device)
    return num_bytes <= MAX_SHARE_OF_FREE * free_bytes
