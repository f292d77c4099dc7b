"""A confidence threshold that keeps a promise: of the answers at or above it, at least a wanted share is right.

The threshold with the wanted share on the validation images does not keep it: it is where luck helped most. So
thresholds are tested, from the strictest on, each one only where all before it passed, until one fails (fixed-sequence
testing: Angelopoulos et al. 2021, arXiv:2110.01052, section 3; Geifman and El-Yaniv 2017, arXiv:1705.08500, for the
question). A threshold passes where the exact lower bound of its share (Clopper and Pearson 1934) reaches the wanted one
at 95 %. Then no more than one choice in twenty breaks the promise, whatever the classifier. How many images each test
answers is fixed by the number of validation images alone; the first test is passed with one wrong answer, or with none
where the images are few.
"""

from dataclasses import dataclass

import numpy as np

from ..core.errors import UsageError
from ..core.plain_numbers import check_number

RISK = 0.05  # of a promise that does not hold
NUM_STEPS = 40  # from the first threshold that can pass to answering everything
MIN_PRECISION, MAX_PRECISION = 0.5, 0.9999


@dataclass(frozen=True, kw_only=True)
class PromisedPrecision:
    """A threshold chosen on `num_validation` images for `precision`, or why there is none.

    At `min_confidence` or above `num_answered` of them are answered, and `num_right` of these are right; None where no
    threshold can be promised to give that precision.
    """

    precision: float
    num_validation: int
    min_confidence: float | None
    num_answered: int = 0
    num_right: int = 0

    def sentence(self) -> str:
        """What was chosen and by what, or why nothing could be."""
        wanted = f"{100 * self.precision:g} % precision"
        images = f"{self.num_validation:,} validation images"
        if self.min_confidence is not None:
            return (
                f"{wanted} is promised (95 % sure) at a confidence of {self.min_confidence:.4f} or above: of {images} "
                f"that answers {self.num_answered:,}, and {self.num_right:,} of these answers are right."
            )
        needed = fewest_images(self.precision, 0)
        if self.num_validation < needed:
            return f"{wanted} cannot be promised by {images}: it takes {needed:,} that are answered, all of them right."
        return f"{wanted} cannot be promised: too many of the surest answers to the {images} are wrong."


def check_precision(precision: float) -> None:
    """Raise UsageError for a precision that no threshold is chosen for."""
    precision = check_number(precision, "--precision")
    if not MIN_PRECISION <= precision <= MAX_PRECISION:
        raise UsageError(f"--precision takes a share in {MIN_PRECISION:g} to {MAX_PRECISION:g}, got {precision:g}.")


def check_confidence(min_confidence: float) -> None:
    """Raise UsageError for what is no probability."""
    min_confidence = check_number(min_confidence, "--min-confidence")
    if not 0 <= min_confidence <= 1:
        raise UsageError(f"--min-confidence takes a probability in 0 to 1, got {min_confidence:g}.")


def choose_threshold(confidence_N: np.ndarray, right_N: np.ndarray, precision: float) -> PromisedPrecision:
    """The lowest threshold that is promised to give `precision`, from images that no step has learned from."""
    sorted_N = np.sort(confidence_N)[::-1]
    chosen: tuple[float, int, int] | None = None
    for number in numbers_tried(len(confidence_N), precision):
        threshold = float(sorted_N[number - 1])
        is_answered_N = confidence_N >= threshold
        num_answered, num_right = int(is_answered_N.sum()), int(right_N[is_answered_N].sum())
        if lower_bound(num_right, num_answered) < precision:
            break
        chosen = threshold, num_answered, num_right
    if chosen is None:
        return PromisedPrecision(precision=precision, num_validation=len(confidence_N), min_confidence=None)
    return PromisedPrecision(
        precision=precision,
        num_validation=len(confidence_N),
        min_confidence=chosen[0],
        num_answered=chosen[1],
        num_right=chosen[2],
    )


def numbers_tried(num_images: int, precision: float) -> list[int]:
    """How many of the surest images each threshold that is tested answers, the strictest first."""
    first = next((needed for wrong in (1, 0) if (needed := fewest_images(precision, wrong)) <= num_images), None)
    if first is None:
        return []
    steps_T = np.linspace(first, num_images, NUM_STEPS + 1)
    return list(dict.fromkeys(int(number) for number in np.rint(steps_T)))


def fewest_images(precision: float, num_wrong: int) -> int:
    """How many answered images with `num_wrong` wrong answers it takes for the lower bound to reach `precision`."""
    low, high = num_wrong + 1, num_wrong + 2
    while lower_bound(high - num_wrong, high) < precision:
        low, high = high, 2 * high
    while low < high:
        middle = (low + high) // 2
        if lower_bound(middle - num_wrong, middle) < precision:
            low = middle + 1
        else:
            high = middle
    return low


def lower_bound(num_right: int, num_answered: int) -> float:
    """The exact one-sided 95 % lower bound of a share (Clopper and Pearson 1934)."""
    from scipy.special import betaincinv  # here: most verbs choose no threshold, and the import takes a while

    if num_right <= 0:
        return 0.0
    return float(betaincinv(num_right, num_answered - num_right + 1, RISK))
