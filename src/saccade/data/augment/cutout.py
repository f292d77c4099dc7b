"""Cutout: a square at a random place is filled with the mean colour."""

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Erasing, Scene, Strengths, register


class CutoutStrengths(Strengths):
    """How large the square is, and how often there is one."""

    size_px: int = Field(0, ge=0, le=8192, description="side of the square in output pixels")
    probability: float = Field(1.0, ge=0, le=1, description="share of images with a square")

    @property
    def is_active(self) -> bool:
        return self.size_px > 0 and self.probability > 0


def draw(strengths: CutoutStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`centre_column`, `centre_row` (any pixel of the image) and `side_px`, 0 where there is none: int64 (B,)."""
    height, width = scene.size_HW
    has_square_B = uniform_BN[:, 2] < strengths.probability
    return {
        "side_px": np.where(has_square_B, strengths.size_px, 0),
        "centre_column": np.floor(uniform_BN[:, 0] * width).astype(np.int64),
        "centre_row": np.floor(uniform_BN[:, 1] * height).astype(np.int64),
    }


def boxes(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The part of each square that lies inside the image."""
    height, width = scene.size_HW
    top_B = drawn["centre_row"] - drawn["side_px"] // 2
    left_B = drawn["centre_column"] - drawn["side_px"] // 2
    edges = [(top_B, height), (top_B + drawn["side_px"], height), (left_B, width), (left_B + drawn["side_px"], width)]
    return np.stack([edge_B.clip(0, limit) for edge_B, limit in edges], axis=1)


def words(drawn: Drawn, row: int) -> str:
    """Side and centre of the square."""
    side, column, line = (int(drawn[key][row]) for key in ("side_px", "centre_column", "centre_row"))
    return f"{side} px around {column},{line}" if side else ""


register(
    Erasing(
        name="cutout",
        summary="cover a square with the mean colour",
        source="DeVries and Taylor 2017, Improved regularization with cutout, arXiv:1708.04552, section 3.2",
        strengths=CutoutStrengths,
        num_draws=lambda strengths, scene: 3,
        draw=draw,
        boxes=boxes,
        words=words,
    ),
    __name__,
)
