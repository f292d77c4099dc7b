"""Everything `saccade explain` finds out about one image, as arrays."""

from dataclasses import dataclass

import numpy as np

from ..classify.classifier import Member
from ..core.display import Displayed, figure
from ..core.errors import printable
from ..data.opening_line import Told, untold
from ..evaluate.thresholds import PromisedPrecision
from .examples import Examples, find_examples
from .field import SeenField, seen_field
from .gradcam import EvidenceMap, grad_cam
from .maps import FeatureMaps, feature_maps
from .occlusion import OcclusionMap, occlusion
from .on_photo import field_on_photo, map_on_photo
from .subject import Subject, look_at
from .weights_view import FilterGrid, filter_grid

NUM_CHANNELS = 3
UNLIKE_TRAINING = "Unlike anything seen in training: 'saccade predict' gives no answer."
MUCH_AT_THE_EDGE = 0.7  # of the evidence; an even map has 0.44 of it there


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(Displayed):
    """One image, the class it is explained for (the answer unless asked otherwise), and what was found. `promised` is
    the confidence from which the run promises a precision; None where it keeps nothing to choose one by."""

    member: Member
    subject: Subject
    class_index: int
    evidence: EvidenceMap
    occlusion: OcclusionMap
    features: FeatureMaps
    filters: FilterGrid
    field: SeenField
    examples: Examples | None = None
    promised: PromisedPrecision | None = None

    def display_lines(self) -> list[str]:
        """The answer, and where its evidence was found."""
        place = self.evidence
        found = f"Evidence for '{printable(place.class_name)}' was found in layer '{place.layer}'."
        return [
            f"{printable(self.subject.key)}: {self.answer_words()}.",
            *self.answering_words(),
            place.message or found,
            *([self.occlusion.message] if self.occlusion.message else []),
            *filter(None, [self.outside_words()]),
            self.features.words(),
        ]

    @property
    def number(self) -> tuple[float | None, tuple[float, float] | None]:
        """The number that is said, and the interval that nine of ten truths lie in; None where classes are known."""
        return self.member.task.number_of(self.subject.probability_K)

    def answer_words(self) -> str:
        """What is said of the image."""
        value, interval = self.number
        if value is not None:
            ends = f" ({figure(interval[0])} to {figure(interval[1])})" if interval else ""
            return f"'{printable(self.class_name)}' {figure(value)}{ends}"
        if self.labels is not None:
            return self.labels_words()
        name, probability = self.top(1)[0]
        return f"'{printable(name)}', {100 * probability:.1f} %"

    @property
    def field_on_photo(self) -> SeenField | None:
        """`field` in pixels of the photo; None where none of them lies in it, as in the room around a padded one."""
        return field_on_photo(self.field, self._photo_HW, self.member.preprocessing)

    def outside_words(self) -> str:
        """A caution where most of the evidence lies at the edge of what the network sees, where a subject seldom is; ""
        elsewhere. It stands for a look at the sheet: nothing here knows where the subject is."""
        share = edge_share(self.evidence.map_HW) if not self.evidence.message else 0.0
        if share <= MUCH_AT_THE_EDGE:
            return ""
        return (
            f"Caution: {100 * share:.0f} % of the evidence lies at the edge of the picture, an eighth of its sides "
            f"wide. Look at the sheet whether the background gives the answer away."
        )

    def evidence_on_photo(self) -> np.ndarray:
        """The Grad-CAM map as float32 (H, W) of the photo; NaN where the network does not see it."""
        return map_on_photo(self.evidence.map_HW, self._photo_HW, self.member.preprocessing)

    @property
    def _photo_HW(self) -> tuple[int, int]:
        height_px, width_px = self.subject.original_HWC.shape[:2]
        return height_px, width_px

    @property
    def class_name(self) -> str:
        """The name of the class that is explained."""
        return self.member.classes[self.class_index]

    @property
    def labels(self) -> list[tuple[str, float]] | None:
        """Of several labels, the (class, probability) pairs that are said, most probable first; None of one label."""
        if not self.member.task.is_several:
            return None
        is_said_K = self.member.task.said(self.subject.probability_K[None])[0]
        return [pair for pair in self.top(len(is_said_K)) if is_said_K[self.member.classes.index(pair[0])]]

    @property
    def is_sure(self) -> bool | None:
        """Whether the confidence reaches the promised threshold; None without one."""
        promised = self.promised
        if promised is None or promised.min_confidence is None:
            return None
        return self.top(1)[0][1] >= promised.min_confidence

    def answering_words(self) -> list[str]:
        """Whether the image is like those of training, and whether the answer is sure; as far as the run can tell."""
        told = []
        if self.subject.unlike_training is not None:
            told.append(UNLIKE_TRAINING if self.subject.unlike_training else "Like images seen in training.")
        elif self.member.unlike_unknown:
            told.append(self.member.unlike_unknown)
        promised = self.promised
        if promised is not None and promised.min_confidence is not None:
            reach = "reaches" if self.is_sure else "is below"
            told.append(
                f"Its confidence {reach} {promised.min_confidence:.4f}, from where {100 * promised.precision:g} % "
                f"precision is promised."
            )
        return told

    def labels_words(self) -> str:
        """The labels that are said, with their probabilities."""
        said = [f"'{printable(name)}', {100 * probability:.1f} %" for name, probability in self.labels or ()]
        return "; ".join(said) or "none of the labels"

    def top(self, num: int) -> list[tuple[str, float]]:
        """The `num` most probable (class, probability) pairs, most probable first, of grades the answer; none of a
        number."""
        if self.member.task.is_number:
            return []
        probability_K = self.subject.probability_K
        order = np.argsort(-probability_K, kind="stable")
        if self.member.task.is_grade:
            said = int(self.member.task.answer_of(probability_K[None])[0])
            order = np.array([said, *(k for k in order if k != said)])
        order = order[:num]
        return [(self.member.classes[k], float(self.subject.probability_K[k])) for k in order]


def explain_image(
    member: Member,
    content: bytes | np.ndarray,
    key: str,
    class_name: str = "",
    layer: str = "",
    source: str = "",
    opened: Told = untold,
) -> Explanation:
    """Explain the answer for one image, or why not `class_name`; maps are those of `layer`, or of the best one.

    With `source`, its images that excite the three strongest channels most are looked for too; `opened` hears the line
    that names its classes.

    Raises ImageError, UnknownNameError, ModelError.
    """
    subject = look_at(member, content, key)
    index = member.class_index(class_name) if class_name else _most_probable(member, subject)
    evidence = grad_cam(member.model, subject.input_1CHW, index, member.classes, layer)
    features = feature_maps(member, subject.input_1CHW, evidence.layer)
    strongest = features.order_C[:NUM_CHANNELS].tolist()
    return Explanation(
        member=member,
        subject=subject,
        class_index=index,
        evidence=evidence,
        occlusion=occlusion(member.model, subject.input_1CHW, index, temperature=member.temperature, task=member.task),
        features=features,
        filters=filter_grid(member.model),
        field=seen_field(member.model, subject.input_1CHW, evidence.layer, _strongest(evidence)),
        examples=find_examples(member, source, evidence.layer, strongest, opened) if source else None,
    )


def edge_share(value_HW: np.ndarray) -> float:
    """Which share of the values, none below zero, lies in a frame that is an eighth of each side wide; 0 of nothing."""
    height_px, width_px = value_HW.shape
    down, across = max(1, height_px // 8), max(1, width_px // 8)
    total = float(value_HW.sum())
    return 1 - float(value_HW[down:-down, across:-across].sum()) / total if total > 0 else 0.0


def _most_probable(member: Member, subject: Subject) -> int:
    """The class that is explained unasked. Of several labels, calibration may put another first than the logits."""
    task = member.task
    scores_K = subject.logits_K if task.is_one and not task.is_grade else subject.probability_K
    return int(task.answer_of(scores_K[None])[0])


def _strongest(evidence: EvidenceMap) -> tuple[int, int]:
    """(row, column) of the strongest evidence, of the middle where there is none."""
    height, width = evidence.evidence_hw.shape
    if evidence.message:
        return height // 2, width // 2
    row, column = divmod(int(evidence.evidence_hw.argmax()), width)
    return row, column
