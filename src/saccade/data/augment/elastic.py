"""Smooth local warping: control points on a grid move at random, what lies between follows a cubic spline."""

import functools

import numpy as np
from pydantic import Field

from ..augmentation import Drawn, Scene, Strengths, Warping, between, register


class ElasticStrengths(Strengths):
    """How far and how finely the image is warped."""

    max_px: float = Field(
        0.0, ge=0, le=256, description="largest move of a control point in each direction, in output pixels"
    )
    spacing_px: float = Field(32.0, ge=4, le=1024, description="distance of control points, in output pixels")

    @property
    def is_active(self) -> bool:
        return self.max_px > 0


def num_points(size_px: int, spacing_px: float) -> int:
    """Control points along a side: a cubic spline needs three more than it has intervals."""
    return int(np.ceil(size_px / spacing_px)) + 3


def num_draws(strengths: ElasticStrengths, scene: Scene) -> int:
    """Two numbers for each control point."""
    down, across = (num_points(size, strengths.spacing_px) for size in scene.size_HW)
    return 2 * down * across


def draw(strengths: ElasticStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`move_px` of the control points, right and down: float64 (B, 2, rows, columns), and their spacing."""
    down, across = (num_points(size, strengths.spacing_px) for size in scene.size_HW)
    move_B2HW = between(uniform_BN, -strengths.max_px, strengths.max_px).reshape(-1, 2, down, across)
    return {"move_px": move_B2HW, "spacing_px": np.full(len(uniform_BN), strengths.spacing_px)}


def displacement(drawn: Drawn, row: int, scene: Scene) -> np.ndarray:
    """The spline's value at every output pixel, float32 (H, W, 2); its size is at most max_px in each direction."""
    height, width = scene.size_HW
    spacing_px = float(drawn["spacing_px"][row])
    weight_HP, weight_WP = spline_weights(height, spacing_px), spline_weights(width, spacing_px)
    move_2PP = drawn["move_px"][row].astype(np.float32)
    return np.stack([weight_HP @ move_PP @ weight_WP.T for move_PP in move_2PP], axis=-1)


def words(drawn: Drawn, row: int) -> str:
    """The largest move of a control point."""
    return f"up to {np.abs(drawn['move_px'][row]).max():.1f} px"


@functools.lru_cache(maxsize=16)
def spline_weights(size_px: int, spacing_px: float) -> np.ndarray:
    """Weight of each control point at each pixel of a side, float32 (size, points); rows sum to 1.

    Uniform cubic B-spline: de Boor 1978, A practical guide to splines, chapter IX.
    """
    place = np.arange(size_px) / spacing_px
    interval = np.floor(place).astype(int)
    t = place - interval
    basis = [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
    weight_SP = np.zeros((size_px, num_points(size_px, spacing_px)))
    for offset, values in enumerate(basis):
        weight_SP[np.arange(size_px), interval + offset] = values / 6
    return weight_SP.astype(np.float32)


register(
    Warping(
        name="elastic",
        summary="warp locally and smoothly",
        source="Simard, Steinkraus, Platt 2003, Best practices, section 2; cubic B-spline instead of a Gaussian filter",
        strengths=ElasticStrengths,
        num_draws=num_draws,
        draw=draw,
        displacement=displacement,
        words=words,
    ),
    __name__,
)
