"""JPEG compression: the image is coded and decoded at a drawn quality."""

import cv2
import numpy as np
import simplejpeg
from pydantic import Field

from ..augmentation import Drawn, Pixel, Scene, Strengths, register

SAMPLING_420 = cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420


class JpegStrengths(Strengths):
    """How low the quality goes, and how often an image is compressed."""

    min_quality: int = Field(
        100,
        ge=1,
        le=100,
        description="lowest quality of libjpeg; drawn from it to 100, which leaves the image as it is",
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of images for which a quality is drawn")

    @property
    def is_active(self) -> bool:
        return self.min_quality < 100 and self.probability > 0


def draw(strengths: JpegStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`quality`: whole numbers in min_quality to 100, each equally likely, int64 (B,)."""
    quality_B = strengths.min_quality + np.floor(uniform_BN[:, 0] * (101 - strengths.min_quality)).astype(np.int64)
    return {"quality": np.where(uniform_BN[:, 1] < strengths.probability, quality_B, 100)}


def change(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """Colour at half the resolution (4:2:0), as most files have it; the exact transforms in both directions."""
    quality = int(drawn["quality"][row])
    if quality == 100:
        return image_HWC
    is_grey = image_HWC.shape[2] == 1
    # Not simplejpeg's encoder, which takes a coarse transform below quality 96, whatever it is told.
    options = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, SAMPLING_420]
    _, content = cv2.imencode(".jpg", image_HWC if is_grey else cv2.cvtColor(image_HWC, cv2.COLOR_RGB2BGR), options)
    return simplejpeg.decode_jpeg(content, "GRAY" if is_grey else "RGB", fastdct=False, fastupsample=False)


def words(drawn: Drawn, row: int) -> str:
    """The quality."""
    quality = int(drawn["quality"][row])
    return f"quality {quality}" if quality < 100 else ""


register(
    Pixel(
        name="jpeg",
        summary="compress as a JPEG file does",
        source="Hendrycks and Dietterich 2019, Benchmarking neural network robustness, arXiv:1903.12261, section 3",
        strengths=JpegStrengths,
        num_draws=lambda strengths, scene: 2,
        draw=draw,
        change=change,
        words=words,
    ),
    __name__,
)
