"""How long a job still takes: a range that narrows as more of its work has been measured.

Work of one kind is counted in units (batches of full-size images, images that are judged). What a unit takes is known
by the pieces that are done; the range is as wide as they differ, and wider while they are few.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from ..runs.judging_work import PASS_SHARE, REPORT_S

FLOOR = 0.05  # of a time that is known best
FEW = 0.3  # more of it, over the number of pieces
WIDEST = 0.6
PIECE_S = 1.0  # of work that counts as one piece, at least


@dataclass(frozen=True, kw_only=True)
class TimeLeft:
    """Between `low_s` and `high_s` seconds."""

    low_s: float
    high_s: float

    def __add__(self, other: "TimeLeft") -> "TimeLeft":
        return TimeLeft(low_s=self.low_s + other.low_s, high_s=self.high_s + other.high_s)

    def times(self, factor: float) -> "TimeLeft":
        """So many times as long."""
        return TimeLeft(low_s=factor * self.low_s, high_s=factor * self.high_s)


NO_TIME = TimeLeft(low_s=0.0, high_s=0.0)


@dataclass(kw_only=True)
class Pace:
    """What a unit of one kind of work takes, by the pieces (units, seconds) that were done."""

    pieces: list[tuple[float, float]] = field(default_factory=list)
    begun: tuple[float, float] = (0.0, 0.0)

    @property
    def is_known(self) -> bool:
        """Whether anything was done."""
        return self._total()[0] > 0

    def add(self, units: float, seconds: float) -> None:
        """So many units took so long; what is shorter than a second is counted with what follows."""
        self.begun = (self.begun[0] + units, self.begun[1] + seconds)
        if self.begun[1] >= PIECE_S and self.begun[0] > 0:
            self.pieces.append(self.begun)
            self.begun = (0.0, 0.0)

    def left(self, units: float) -> TimeLeft:
        """How long so many more units take. What was measured before anything was done is nothing: (0, 0)."""
        done, seconds = self._total()
        if not done:
            return NO_TIME
        expected_s, share = units * seconds / done, self._doubt()
        return TimeLeft(low_s=expected_s * (1 - share), high_s=expected_s * (1 + share))

    def _total(self) -> tuple[float, float]:
        everything = [*self.pieces, self.begun]
        return sum(units for units, _ in everything), sum(seconds for _, seconds in everything)

    def _doubt(self) -> float:
        """The half width of the range as a share: two standard errors of the mean pace, and more where pieces are
        few."""
        number = len(self.pieces)
        if number < 2:
            return FLOOR + FEW
        paces = [seconds / units for units, seconds in self.pieces]
        mean = sum(paces) / number
        spread = math.sqrt(sum((pace - mean) ** 2 for pace in paces) / (number - 1)) / mean if mean else 0.0
        return min(WIDEST, FLOOR + 2 * spread / math.sqrt(number) + FEW / number)


@dataclass(kw_only=True)
class JudgingTime:
    """The time that judging still takes, with the report behind it, while `num_passes` images pass."""

    num_passes: float
    passes: Pace = field(default_factory=Pace)
    num_done: int = 0
    clock: Callable[[], float] = time.monotonic
    since_s: float | None = None

    def passed(self, num_images: int) -> None:
        """So many images more have passed; what came before the first of them is not counted."""
        now_s = self.clock()
        if self.since_s is not None:
            self.passes.add(num_images, now_s - self.since_s)
        self.since_s, self.num_done = now_s, self.num_done + num_images

    @property
    def share(self) -> float:
        """Of the images, those that have passed: 0 to 1."""
        return min(1.0, self.num_done / max(1.0, self.num_passes))

    def left(self) -> TimeLeft:
        """(0, 0) until something is known."""
        if not self.passes.is_known:
            return NO_TIME
        report = TimeLeft(low_s=REPORT_S[0], high_s=REPORT_S[1])
        return self.passes.left(max(0.0, self.num_passes - self.num_done)) + report


@dataclass(kw_only=True)
class TrainingTime:
    """The time that a training still takes, with its validations, the judging of `num_judged` images and the report.

    `units_of` gives the work of a whole epoch in batches of full-size images; `num_batches` it has, and
    `num_validated` images it is validated on.
    """

    units_of: Callable[[int], float]
    num_batches: int
    num_images: int
    num_validated: int
    num_judged: int
    steps: Pace = field(default_factory=Pace)
    passes: Pace = field(default_factory=Pace)
    clock: Callable[[], float] = time.monotonic
    since_s: float = 0.0

    def begin(self) -> None:
        """Work begins now: what was before is not counted."""
        self.since_s = self.clock()

    def stepped(self, epoch: int) -> None:
        """A step of `epoch`, counted from 0, is done."""
        self.steps.add(self.units_of(epoch) / self.num_batches, self._taken_s())

    def validated(self) -> None:
        """The validation images have passed."""
        self.passes.add(self.num_validated, self._taken_s())

    def left(self, epoch: int, batch: int, last_epoch: int) -> TimeLeft:
        """From `batch` steps of `epoch` on, both counted from 0, to the end of an epoch before `last_epoch`, and the
        verdict."""
        units = self.units_of(epoch) * (1 - batch / self.num_batches) if epoch < last_epoch else 0.0
        units += sum(self.units_of(later) for later in range(epoch + 1, last_epoch))
        num_passes = (last_epoch - epoch) * self.num_validated + self.num_judged
        report = TimeLeft(low_s=REPORT_S[0], high_s=REPORT_S[1])
        return self.steps.left(units) + self._passes_left(num_passes) + report

    def _passes_left(self, num_passes: float) -> TimeLeft:
        if self.passes.is_known:
            return self.passes.left(num_passes)
        steps = self.steps.left(num_passes * self.num_batches / max(1, self.num_images))
        return TimeLeft(low_s=PASS_SHARE[0] * steps.low_s, high_s=PASS_SHARE[1] * steps.high_s)

    def _taken_s(self) -> float:
        now_s = self.clock()
        taken_s, self.since_s = now_s - self.since_s, now_s
        return taken_s
