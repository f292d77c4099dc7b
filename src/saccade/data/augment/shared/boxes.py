"""What the augmentations share that draw a box: `top`, `bottom`, `left` and `right`, int64 (B,), in pixels."""

import numpy as np

from ...augmentation import Drawn, Scene


def drawn_boxes(drawn: Drawn, scene: Scene) -> np.ndarray:
    """(top, bottom, left, right) of each box, int64 (B, 4)."""
    return np.stack([drawn[key] for key in ("top", "bottom", "left", "right")], axis=1)


def box_words(drawn: Drawn, row: int) -> str:
    """Size and place of the box; nothing where it is empty."""
    left, right, top, bottom = (int(drawn[key][row]) for key in ("left", "right", "top", "bottom"))
    return f"{right - left}x{bottom - top} px at {left},{top}" if (right - left) * (bottom - top) else ""
