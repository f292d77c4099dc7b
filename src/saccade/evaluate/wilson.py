"""Wilson's interval of a share: how far the true one may be from what few images show (Wilson 1927)."""

import numpy as np

Z_95 = 1.959963984540054  # 97.5 % quantile of the normal distribution


def wilson_interval(num_correct: int, num_total: int) -> tuple[float, float]:
    """The 95 % Wilson interval of the rate num_correct / num_total, within 0 to 1; (0, 1) where the total is 0."""
    low, high = wilson_ends(np.array(num_correct, np.float64), np.array(num_total, np.float64))
    return float(low), float(high)


def wilson_ends(correct: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The ends of the 95 % intervals of `correct` of `total`, arrays float64 of one shape."""
    wrong, square = total - correct, Z_95**2
    centre = correct + square / 2
    half = Z_95 * np.sqrt(np.divide(correct * wrong, total, out=np.zeros_like(total), where=total > 0) + square / 4)
    low, high = (centre - half) / (total + square), (centre + half) / (total + square)
    return np.where(correct == 0, 0.0, low), np.where(wrong == 0, 1.0, high)  # exact where rounding would miss it
