"""How long a transfer takes, said before it begins, and what a limit of minutes leaves out.

One batch is measured of each kind of work; the rest is counting. Without a limit the forecast is only said. With one
(`transfer.minutes`), comparing depths gets a third of what the features leave, the epochs are as many as fit, and the
fine-tuning ends at the deadline whatever happens.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..core.durations import rounded_words
from ..core.ranks import ALONE, Ranks

SHARE_OF_EVIDENCE = 1 / 3
MARGIN = 1.1  # of an epoch's forecast
COMPARED = 2  # depths that are compared as a rule, the last of the network
WORTH_TELLING_S = 20.0  # shorter work is done before its forecast is read
DOUBT = 0.25  # of what is left, as a share: one batch of each kind was measured
RATIO_RANGE = (0.5, 4.0)  # of measured to forecast seconds, that later forecasts are corrected by


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """Seconds of each part of a transfer on this machine: all until now, all features, a first look at training behind
    each depth, fitting the last layer, an epoch of fine-tuning from each depth, judging at the end, the report.
    `num_looks` is how many a depth takes on average."""

    start_s: float
    features_s: float
    look_s: Mapping[str, float]
    layer_s: float
    epoch_s: Mapping[str, float]
    judging_s: float
    report_s: float
    num_looks: float = 1.0


NOTHING_KNOWN = Forecast(start_s=0.0, features_s=0.0, look_s={}, layer_s=0.0, epoch_s={}, judging_s=0.0, report_s=0.0)


@dataclass(kw_only=True)
class TimePlan:
    """`forecast`, the limit (`minutes`, 0: none) and when the work began (`started_s`, of `time.monotonic`).

    Of the processes of a run the clock of the first one decides; all ask at the same places.
    """

    forecast: Forecast
    minutes: float = 0.0
    started_s: float = field(default_factory=time.monotonic)
    ratio: float = 1.0  # of measured to forecast seconds
    evidence_until_s: float = 0.0
    ranks: Ranks = ALONE

    @property
    def left_s(self) -> float:
        """Until the deadline, the last layer and judging left out; endless without a limit."""
        if not self.minutes:
            return float("inf")
        sure_s = self.forecast.layer_s + self.forecast.judging_s
        return self.started_s + 60 * self.minutes - time.monotonic() - sure_s

    def expected(self, num_epochs: int) -> dict[str, float]:
        """Seconds of each part, by its name, with what a limit allows. Fine-tuning is counted from the first of the
        depths that are compared."""
        known, compared_s, num_fine_tuned = self.forecast, 0.0, num_epochs
        depth, left_s = next(iter(known.epoch_s), ""), self.left_s - known.features_s
        looks_s = list(known.look_s.values())[:COMPARED] if self.minutes else []
        if not self.minutes:
            compared_s = known.num_looks * sum(list(known.look_s.values())[:COMPARED])
        elif depth and self._least_s(depth) > self.left_s and looks_s:
            num_fine_tuned = 0  # the last layer alone
        else:
            for number, look_s in enumerate(looks_s):
                compared_s += look_s if not number or compared_s + look_s <= SHARE_OF_EVIDENCE * left_s else 0.0
            num_fine_tuned = self._epochs_in(left_s - compared_s, depth, num_epochs)
        return {
            "start": known.start_s,
            "features": known.features_s,
            "comparing depths": compared_s,
            "last layer": known.layer_s,
            "fine-tuning": num_fine_tuned * known.epoch_s.get(depth, 0.0),
            "judging": known.judging_s,
            "report": known.report_s,
        }

    def allows_fine_tuning(self, depth: str) -> bool:
        """Whether features, a first look and an epoch from `depth` fit into the time."""
        return bool(self._as_first(self._least_s(depth) <= self.left_s))

    def _least_s(self, depth: str) -> float:
        known = self.forecast
        return known.features_s + known.look_s.get(depth, 0.0) + known.epoch_s.get(depth, 0.0)

    def no_time_sentence(self, depth: str) -> str:
        """Why only the last layer is trained."""
        least_s = self.forecast.start_s + self._least_s(depth) + self.forecast.layer_s + self.forecast.judging_s
        return (
            f"--minutes {self.minutes:g} leaves no time for more, which takes at least about {rounded_words(least_s)}"
        )

    def begin_evidence(self) -> None:
        """Features are there: comparing depths begins, and gets its share of what is left."""
        self.evidence_until_s = time.monotonic() + SHARE_OF_EVIDENCE * self.left_s

    def allows_look(self, depth: str, is_first: bool) -> bool:
        """Whether there is time to train behind `depth`, as evidence. The first depth may take all but an epoch."""
        look_s = self.ratio * self.forecast.look_s.get(depth, 0.0)
        if is_first:
            is_time = look_s + self.ratio * self.forecast.epoch_s.get(depth, 0.0) <= self.left_s
        else:
            is_time = not self.minutes or time.monotonic() + look_s <= self.evidence_until_s
        return bool(self._as_first(is_time))

    def learn(self, depth: str, look_s: float) -> None:
        """A first look at `depth` took `look_s` seconds: forecasts are corrected by it."""
        if forecast_s := self.forecast.look_s.get(depth, 0.0):
            self.ratio = min(max(look_s / forecast_s, RATIO_RANGE[0]), RATIO_RANGE[1])

    def left(
        self, depths: Sequence[str], fine_tuned: Sequence[str], num_epochs: int, done: float
    ) -> tuple[float, float]:
        """Between how many seconds all of the work still takes, its verdict and report included.

        `depths` may still be compared, the next one first; behind one of `fine_tuned`, or none, all is trained for
        `num_epochs`. `done` of the features are there.
        """
        known = self.forecast
        if not known.judging_s:
            return 0.0, 0.0
        looks_s = [self.ratio * known.look_s.get(depth, max(known.look_s.values(), default=0.0)) for depth in depths]
        most_s = max(known.epoch_s.values(), default=0.0)
        epochs_s = [self.ratio * num_epochs * known.epoch_s.get(depth, most_s) for depth in fine_tuned]
        sure_s = known.features_s * (1 - done) + known.layer_s + known.judging_s + known.report_s
        low_s = sure_s + (looks_s[0] if looks_s else 0.0) + (min(epochs_s) if epochs_s and not depths else 0.0)
        high_s = sure_s + known.num_looks * sum(looks_s) + max(epochs_s, default=0.0)
        return (1 - DOUBT) * low_s, (1 + DOUBT) * high_s

    def left_out(self, depth: str) -> str:
        """What is added to the sentence of a choice where `depth` was not measured for want of time."""
        return f"; {depth} was not measured: --minutes {self.minutes:g} leaves no time" if depth else ""

    def epochs_for(self, depth: str, num_epochs: int) -> int:
        """How many of `num_epochs` fit into what is left."""
        return self._as_first(self._epochs_in(self.left_s, depth, num_epochs)) if self.minutes else num_epochs

    def _epochs_in(self, left_s: float, depth: str, num_epochs: int) -> int:
        epoch_s = self.forecast.epoch_s.get(depth, 0.0)
        return max(0, min(num_epochs, int(left_s / (MARGIN * self.ratio * epoch_s)))) if epoch_s else num_epochs

    def _as_first(self, number: int) -> int:
        """`number` of the first process, whose clock decides."""
        return int(self.ranks.tell(str(int(number)).encode(), patiently=True))


def expected_sentence(expected_s: Mapping[str, float]) -> str:
    """`this takes about 6 min: start 5 s, features 60 s, ...`, of the seconds of each part; "" where it is short."""
    total_s = sum(expected_s.values())
    if total_s < WORTH_TELLING_S:
        return ""
    named = ", ".join(f"{name} {rounded_words(seconds)}" for name, seconds in expected_s.items() if seconds >= 1)
    is_more = expected_s["comparing depths"] > 0
    advice = " (--freeze all leaves out the comparison and the fine-tuning)" if is_more else ""
    return f"this takes about {rounded_words(total_s)}: {named}{advice}"
