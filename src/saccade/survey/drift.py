"""Are new images like those a run was judged on? A test on what its network sees, and which classes moved.

The reference are the run's own held-out images: training images look better to a network than any new ones. What is
compared are the principal directions of the features and the probabilities of the classes, one after the other
(`evaluate/two_samples.py`); no classifier is fitted.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..classify.classifier import Member
from ..classify.features import BadImages, errors_json, raise_bad, stream_features
from ..classify.seen_images import SeenImages, whole_digest
from ..classify.stream import Recognises, Way, items_of_source
from ..core.display import Displayed, Rows
from ..core.errors import DataError, ImageError, printable
from ..core.task import images_a_class
from ..data.images.decode import DecodedImage
from ..data.sources.in_memory import HeldImage
from ..evaluate.label_shift import LabelShift, estimate_label_shift, estimate_prevalence_shift
from ..evaluate.metrics import wilson_interval
from ..evaluate.rates import percent
from ..evaluate.significance import SIGNIFICANT, holm, p_words
from ..evaluate.two_samples import TwoSamples, compare_samples, main_directions
from ..train.own_images import HeldOut, refuse_changed

MIN_IMAGES = 20
MAX_TESTED = 2000  # images of each side that the test looks at, drawn by the seed
MAX_DIRECTIONS = 32
MAX_PROBABILITIES = 64  # classes whose probabilities are compared, too
MAX_NAMED = 3
MAX_ROWS = 40
THE_NUMBER = "the number "  # how the view of the numbers that are said is called
MAY_NOT_HOLD = "The accuracy that was measured may not hold for them."


@dataclass(frozen=True, kw_only=True)
class ClassShare:
    """How often a class is answered, of held-out and of new images, with 95 % Wilson intervals. Where an image may have
    several labels, the shares do not add up to 1.

    `p_value` is Fisher's exact one, corrected for all classes (Holm 1979). `estimate` and its interval: the share of
    images that are of the class, if only the shares of the classes have changed; NaN where it is not known.
    """

    name: str
    reference: float
    new: float
    new_low: float
    new_high: float
    p_value: float
    estimate: float
    estimate_low: float
    estimate_high: float

    @property
    def moved(self) -> bool:
        """Whether chance does not explain the difference."""
        return self.p_value < SIGNIFICANT

    def estimate_text(self) -> str:
        """The share that is likely true with its interval; `-` where it is not known."""
        if np.isnan(self.estimate):
            return "-"
        return f"{percent(self.estimate)} % ({percent(self.estimate_low)} to {percent(self.estimate_high)})"


@dataclass(frozen=True, kw_only=True, repr=False)
class Drift(Displayed):
    """Whether `num_new` images differ from `num_reference` held-out ones, by `test` over `views`, which are named.

    `errors` are of images that could not be used; `notes` qualify the answer; `shift` says why no shares are estimated.
    """

    num_reference: int
    num_new: int
    test: TwoSamples
    views: tuple[str, ...]
    classes: tuple[ClassShare, ...]
    shift_unknown: str
    errors: tuple[ImageError, ...]
    notes: tuple[str, ...]

    @property
    def is_drifted(self) -> bool:
        """Whether chance does not explain the difference, at 5 %."""
        return self.test.p_value < SIGNIFICANT

    def sentence(self) -> str:
        """Whether the new images are like those that were held out, and what that means for the accuracy."""
        sides = f"the {self.num_reference:,} that the run was judged on"
        p = p_words(self.test.p_value)
        if self.is_drifted:
            return f"The {self.num_new:,} new images do not look like {sides} ({p}). {MAY_NOT_HOLD}"
        return (
            f"The {self.num_new:,} new images look like {sides}: no difference is found ({p}). Nothing speaks against "
            f"the accuracy that was measured."
        )

    def change_sentence(self) -> str:
        """What changed most; or how large a change is that could go unseen."""
        if not self.is_drifted:
            return (
                f"With so many images a change in less than {100 * self.test.critical:.0f} % of them could go unseen."
            )
        view = int(self.test.distance_D.argmax())
        what = self.views[view].removeprefix("the probability of ")
        if self.views[view].startswith(THE_NUMBER):
            said = self.views[view]
        elif what == self.views[view]:  # a direction of the features
            said = "how they look to the network"
        else:
            said = f"how sure the network is of {what}"
        return f"What changed most is {said}, in {100 * self.test.distance_D[view]:.0f} % of them at least."

    def class_sentence(self) -> str:
        """Which classes are answered more or less often."""
        moved = self._by_change([share for share in self.classes if share.moved])
        if not moved:
            return "No class is answered more or less often than chance explains."
        shown = [
            f"'{printable(share.name)}' {percent(share.new)} % ({percent(share.reference)} % before)"
            for share in moved[:MAX_NAMED]
        ]
        more = f" and {len(moved) - MAX_NAMED:,} more" if len(moved) > MAX_NAMED else ""
        return f"Answered more or less often: {', '.join(shown)}{more}."

    def display_lines(self) -> list[str]:
        """Whether it matters, what changed, which classes moved, and what qualifies all that."""
        if not self.classes:
            return [self.sentence(), self.change_sentence(), *self.notes]
        estimated = "Likely true shares allow for the network's usual mistakes; they hold if only the mix has changed."
        if self.shift_unknown:
            estimated = f"What share each class truly has is not estimated: {self.shift_unknown}."
        return [self.sentence(), self.change_sentence(), self.class_sentence(), estimated, *self.notes]

    def display_rows(self) -> Rows:
        """The classes, those that moved first."""
        shown = self._by_change(self.classes)[:MAX_ROWS]
        rows = [
            [
                share.name,
                f"{percent(share.reference)} %",
                f"{percent(share.new)} % ({percent(share.new_low)} to {percent(share.new_high)})",
                f"{'more' if share.new > share.reference else 'less'}, {p_words(share.p_value)}"
                if share.moved
                else "-",
                share.estimate_text(),
            ]
            for share in shown
        ]
        num = 4 if self.shift_unknown else 5
        return ("class", "answers before", "answers now", "changed", "likely true share")[:num], [r[:num] for r in rows]

    @staticmethod
    def _by_change(shares: Sequence[ClassShare]) -> list[ClassShare]:
        return sorted(shares, key=lambda share: (not share.moved, -abs(share.new - share.reference)))

    def as_json(self) -> dict[str, Any]:
        """The object of `drift --json`, without the run."""
        return {
            "drifted": self.is_drifted,
            "sentence": self.sentence(),
            "p_value": self.test.p_value,
            "num_new": self.num_new,
            "num_reference": self.num_reference,
            "smallest_seen_difference": self.test.critical,
            "views": [
                {"name": name, "distance": float(distance), "p_value": float(p)}
                for name, distance, p in zip(self.views, self.test.distance_D, self.test.p_D, strict=True)
            ],
            "classes": [
                {
                    "class": share.name,
                    "reference": share.reference,
                    "new": share.new,
                    "new_low": share.new_low,
                    "new_high": share.new_high,
                    "p_value": share.p_value,
                    "moved": share.moved,
                    "estimated_share": share.estimate,
                    "estimated_low": share.estimate_low,
                    "estimated_high": share.estimate_high,
                }
                for share in self.classes
            ],
            "shares_not_estimated": self.shift_unknown or None,
            "errors": errors_json(self.errors),
            "notes": list(self.notes),
        }


@dataclass(frozen=True, kw_only=True)
class _Sample:
    """What is kept of the images of one side: the class said of each (bool (N, K) of several labels), how many were
    recognised, and feature_SD float32 and probability_SK of at most 2,000 drawn ones, in their order."""

    said_N: np.ndarray
    num_recognised: int
    feature_SD: np.ndarray
    probability_SK: np.ndarray


def find_drift(
    member: Member,
    run: Path,
    held_out: HeldOut,
    items: Iterable[HeldImage],
    seed: int,
    bad: Callable[[ImageError], None],
) -> Drift:
    """Compare new images with the held-out ones of `run`. `bad` hears of each new one that cannot be used.

    Raises DataError for fewer than 20 images on a side, or held-out images that have changed.
    """
    seen, refused = SeenImages([run]), BadImages(bad)
    new = _sample(member, items, seen.recognises, refused, seed + 1)
    seen.count(len(new.said_N), new.num_recognised)
    _refuse_few(len(new.said_N), "new")

    def is_known(key: str, content: bytes | np.ndarray, decoded: DecodedImage, way: Way) -> bool:
        return whole_digest(key, content, decoded, way) in held_out.digests

    held_out_items = items_of_source(held_out.source, held_out.index_N)
    own = _sample(member, held_out_items, is_known, BadImages(raise_bad), seed)
    refuse_changed(len(own.said_N) - own.num_recognised, held_out.source, run)
    _refuse_few(len(own.said_N), "held-out")
    views, own_views_SV, new_views_SV = _views(own, new, member)
    shift, shares = _shift(own, new, held_out, member, seed)
    notes = [*(seen.caveats() if new.num_recognised else []), *_unknown_note(shares, bool(shift))]
    if max(len(own.said_N), len(new.said_N)) > MAX_TESTED:
        notes.append(f"The test looks at {MAX_TESTED:,} images of a side that has more; the shares are of all.")
    return Drift(
        num_reference=len(own.said_N),
        num_new=len(new.said_N),
        test=compare_samples(own_views_SV, new_views_SV, seed=seed),
        views=views,
        classes=shares,
        shift_unknown=shift,
        errors=refused.errors,
        notes=tuple(notes),
    )


def _shift(
    own: _Sample, new: _Sample, held_out: HeldOut, member: Member, seed: int
) -> tuple[str, tuple[ClassShare, ...]]:
    """(why the true shares of the classes are not estimated, "" where they are; how often each is answered)."""
    if member.task.is_number:
        return "a number has no classes", ()
    if member.task.is_several:
        shift = estimate_prevalence_shift(own.said_N, held_out.label_N, new.said_N, seed)
    else:
        shift = estimate_label_shift(own.said_N, held_out.label_N, new.said_N, len(member.classes), seed)
    return shift.reason, _class_shares(member.classes, own.said_N, new.said_N, shift)


def _unknown_note(shares: Sequence[ClassShare], is_unknown: bool) -> list[str]:
    """Which classes have no likely true share, where others have one."""
    names = [f"'{printable(share.name)}'" for share in shares if np.isnan(share.estimate)]
    if is_unknown or not names:
        return []
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return [
        f"Not estimated is the true share of {', '.join(names[:MAX_NAMED])}{more}: hardly any held-out image has the "
        f"class, or hardly any has it not, or the network says it of both alike."
    ]


def _sample(
    member: Member, items: Iterable[HeldImage], recognises: Recognises, refused: BadImages, seed: int
) -> _Sample:
    """Images as they come; those that are tested have the smallest of random numbers, so that memory does not grow with
    their features."""
    draw = np.random.default_rng(seed)
    said: list[np.ndarray] = []
    kept: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []  # random number, feature, probability
    num_kept = num_recognised = 0
    for batch in refused.good_batches(stream_features(member, items, recognises)):
        is_several, probability_GK = member.task.is_several, batch.probability_GK
        said.append(member.task.said(probability_GK) if is_several else member.task.answer_of(probability_GK))
        kept.append((draw.random(len(said[-1])), batch.feature_GD, probability_GK.astype(np.float32)))
        num_recognised += len(batch.recognised)
        num_kept += len(said[-1])
        if num_kept >= 2 * MAX_TESTED:
            kept, num_kept = [_smallest(kept)], MAX_TESTED
    if not kept:
        nothing = np.zeros((0, 1), np.float32)
        return _Sample(said_N=np.zeros(0, int), num_recognised=0, feature_SD=nothing, probability_SK=nothing)
    _, feature_SD, probability_SK = _smallest(kept)
    return _Sample(
        said_N=np.concatenate(said),
        num_recognised=num_recognised,
        feature_SD=feature_SD,
        probability_SK=probability_SK,
    )


def _smallest(
    kept: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Everything of the images with the 2,000 smallest numbers, in their order."""
    number_N, feature_ND, probability_NK = (np.concatenate(parts) for parts in zip(*kept))
    place_S = np.sort(np.argsort(number_N, kind="stable")[:MAX_TESTED])
    return number_N[place_S], feature_ND[place_S], probability_NK[place_S]


def _refuse_few(number: int, what: str) -> None:
    if number < MIN_IMAGES:
        remedy = "Train a run that holds out more, as with --set split.test_fraction=0.3."
        if what == "new":
            remedy = "For single images, see what 'saccade predict' and 'saccade explain' say."
        raise DataError(
            f"Whether images have changed shows in many of them: at least {MIN_IMAGES} {what} ones are needed, and "
            f"there {'is' if number == 1 else 'are'} {number}.\n{remedy}"
        )


def _views(own: _Sample, new: _Sample, member: Member) -> tuple[tuple[str, ...], np.ndarray, np.ndarray]:
    """(names, own_NV, new_MV): the main directions of the features, then the probability of each class, or the
    number."""
    classes = member.classes
    own_NR, new_MR = main_directions(own.feature_SD, new.feature_SD, MAX_DIRECTIONS)
    names = [f"direction {number} of the features" for number in range(1, own_NR.shape[1] + 1)]
    own_answer_NK, new_answer_MK = own.probability_SK, new.probability_SK
    if member.task.is_number:
        names.append(f"{THE_NUMBER}'{printable(classes[0])}'")
    elif len(classes) <= MAX_PROBABILITIES:
        names += [f"the probability of '{printable(name)}'" for name in classes]
    else:
        names.append("the probability of the answer")
        own_answer_NK, new_answer_MK = (found.max(axis=1, keepdims=True) for found in (own_answer_NK, new_answer_MK))
    own_NR = np.concatenate([own_NR, own_answer_NK], axis=1)
    new_MR = np.concatenate([new_MR, new_answer_MK], axis=1)
    return tuple(names), own_NR, new_MR


def _class_shares(
    classes: tuple[str, ...], said_N: np.ndarray, said_M: np.ndarray, shift: LabelShift
) -> tuple[ClassShare, ...]:
    count_K, new_K = (images_a_class(said, len(classes)) for said in (said_N, said_M))
    p_K = holm(np.array([_fisher(int(a), len(said_N), int(b), len(said_M)) for a, b in zip(count_K, new_K)]))
    shares = []
    for place, name in enumerate(classes):
        low, high = wilson_interval(int(new_K[place]), len(said_M))
        shares.append(
            ClassShare(
                name=name,
                reference=float(count_K[place] / len(said_N)),
                new=float(new_K[place] / len(said_M)),
                new_low=low,
                new_high=high,
                p_value=float(p_K[place]),
                estimate=float(shift.share_K[place]),
                estimate_low=float(shift.low_K[place]),
                estimate_high=float(shift.high_K[place]),
            )
        )
    return tuple(shares)


def _fisher(first: int, num_first: int, second: int, num_second: int) -> float:
    from scipy.stats import fisher_exact  # a second; only who asks for it pays

    return float(fisher_exact([[first, num_first - first], [second, num_second - second]])[1])
