"""Whether a picture is grey, and the mean and mean square of its pixels in 0 to 1: of one, or of many of one shape."""

from collections.abc import Sequence

import cv2
import numpy as np

from .decode import bands

Statistics = tuple[np.ndarray, np.ndarray, np.ndarray]  # is_grey, mean, mean square


def statistics_of(pixels: np.ndarray) -> Statistics:
    """(is_grey bool (), mean_C, square_C float64 (3,)) of pixels uint8 (H, W) or (H, W, 3).

    A colour a plane: OpenCV takes three times as long over interleaved ones.
    """
    is_grey, mean_C, square_C = _moments(pixels, 255)
    return np.array(is_grey), np.broadcast_to(mean_C, 3), np.broadcast_to(square_C, 3)


def statistics_of_bands(band_HWC: np.ndarray, full_scale: int) -> tuple[np.ndarray, np.ndarray]:
    """(mean_C, square_C float64) of bands uint8 or uint16 (H, W, C), of which `full_scale` is 1."""
    return _moments(band_HWC, full_scale)[1:]


def _moments(pixels: np.ndarray, full_scale: int) -> tuple[bool, np.ndarray, np.ndarray]:
    """(whether all planes are the same, mean_C, square_C) of pixels (H, W) or (H, W, C)."""
    num_planes = 1 if pixels.ndim == 2 else pixels.shape[2]
    is_grey, total_C, square_C = True, np.zeros(num_planes), np.zeros(num_planes)
    for rows in bands(pixels):
        planes = [pixels[rows]] if pixels.ndim == 2 else list(cv2.split(pixels[rows]))
        is_grey = is_grey and are_equal(planes)
        moments = np.array([cv2.meanStdDev(plane) for plane in planes]).reshape(-1, 2)
        total_C += planes[0].size * moments[:, 0]
        square_C += planes[0].size * (moments[:, 0] ** 2 + moments[:, 1] ** 2)
    num_pixels = pixels.shape[0] * pixels.shape[1]
    return is_grey, total_C / (full_scale * num_pixels), square_C / (full_scale**2 * num_pixels)


def are_equal(planes: Sequence[np.ndarray]) -> bool:
    """Whether all planes are the same; looks at their first rows before the rest, since colour shows at once."""
    return all(np.array_equal(planes[0][:2], plane[:2]) and np.array_equal(planes[0], plane) for plane in planes[1:])


def statistics_of_many(image_NHWC: np.ndarray) -> Statistics:
    """(is_grey_N, mean_NC, square_NC) of N pictures of one shape, uint8 (N, H, W) or (N, H, W, 3), of up to 65,536
    pixels each: their sums are exact in 32 bits."""
    num_pixels = image_NHWC.shape[1] * image_NHWC.shape[2]
    plane_NCP = np.ascontiguousarray(image_NHWC.reshape(len(image_NHWC), num_pixels, -1).transpose(0, 2, 1))
    is_grey_N = (plane_NCP == plane_NCP[:, :1]).all(axis=(1, 2))
    mean_NC = plane_NCP.sum(axis=2, dtype=np.uint32) / (255 * num_pixels)
    square_NC = np.square(plane_NCP, dtype=np.uint32).sum(axis=2, dtype=np.uint32) / (255**2 * num_pixels)
    return is_grey_N, mean_NC, square_NC
