"""Generated photographs by which an export is compared with its run: the same everywhere, and nobody's own.

Three smooth colour fields with hard-edged shapes on them, of three proportions, larger than any usual input, so that
resizing, cutting and the order of the channels all show in the answer.
"""

import numpy as np

SIZES_HW = ((480, 640), (600, 400), (512, 512))


def check_image(number: int) -> np.ndarray:
    """image_HWC uint8 RGB of `number`, from 0 to 2."""
    height_px, width_px = SIZES_HW[number]
    draw = np.random.Generator(np.random.PCG64(7 + number))
    y_H1, x_1W = np.linspace(0, 1, height_px)[:, None], np.linspace(0, 1, width_px)[None]
    image_HWC = np.empty((height_px, width_px, 3))
    for channel in range(3):
        rate_y, rate_x, phase = draw.uniform(1, 5), draw.uniform(1, 5), draw.uniform(0, 6.28)
        image_HWC[..., channel] = 128 + 90 * np.sin(rate_y * 3 * y_H1 + rate_x * 4 * x_1W + phase)
    for _ in range(6):
        top, left = draw.integers(0, height_px - 60), draw.integers(0, width_px - 60)
        bottom, right = top + draw.integers(20, 200), left + draw.integers(20, 200)
        image_HWC[top:bottom, left:right] = draw.uniform(0, 255, 3)
    return np.clip(np.rint(image_HWC), 0, 255).astype(np.uint8)
