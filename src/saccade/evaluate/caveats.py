"""What qualifies a figure, in sentences: told with the verdict wherever the verdict is told."""

import numpy as np

from ..core.task import Task
from .calibration import is_worse_scaled, log_probabilities
from .label_answers import is_worse_calibrated


def sentences(notes: list[str]) -> list[str]:
    """`notes` as sentences, each once, in their order."""
    found = [note[:1].upper() + note[1:] + ("" if note.endswith((".", "!", "?")) else ".") for note in notes if note]
    return list(dict.fromkeys(found))


def worse_scaled(logits_NK: np.ndarray, label_N: np.ndarray, temperature: float, num_fitted: int = 0) -> list[str]:
    """That the temperature, fitted on `num_fitted` images (0: not known), makes these confidences worse, if it does."""
    if not is_worse_scaled(logits_NK, label_N, temperature):
        return []
    own = np.arange(len(label_N))
    without, scaled = (
        -float(log_probabilities(logits_NK.astype(np.float64) / divisor)[own, label_N].mean())
        for divisor in (1.0, temperature)
    )
    fitted = f", fitted on {num_fitted:,} validation images," if num_fitted else ""
    return [
        f"The temperature {temperature:.2f}{fitted} makes the confidences worse here: log loss {scaled:.3f} instead of "
        f"{without:.3f}."
    ]


def worse_calibrated(logits_NK: np.ndarray, label_NK: np.ndarray, task: Task) -> list[str]:
    """That the calibration of several labels makes these probabilities worse, if it does."""
    losses = is_worse_calibrated(logits_NK, label_NK, task)
    if losses is None:
        return []
    without, fitted = losses
    return [
        f"The calibration makes the probabilities worse here: log loss {fitted:.3f} instead of {without:.3f} an image."
    ]
