"""What qualifies a figure, in sentences: told with the verdict wherever the verdict is told."""

import numpy as np

from .calibration import is_worse_scaled, log_probabilities
from .metrics import wilson_interval
from .words import percent


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


def without_copies(right_N: np.ndarray, is_copy_N: np.ndarray) -> list[str]:
    """The accuracy on the judged images that are no copies of what training saw; nothing where none is a copy."""
    if not is_copy_N.any():
        return []
    num_right, num = int(right_N[~is_copy_N].sum()), int((~is_copy_N).sum())
    if not num:
        return ["Every judged image is a copy of one that training saw: nothing is known of the accuracy on others."]
    low, high = wilson_interval(num_right, num)
    images = "image" if num == 1 else "images"
    return [
        f"Without these copies: {percent(num_right / num)} % of {num:,} {images} correct "
        f"(95 % interval {percent(low)} to {percent(high)})."
    ]
