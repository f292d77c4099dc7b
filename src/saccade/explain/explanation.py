"""Everything `saccade explain` finds out about one image, as arrays."""

from dataclasses import dataclass

import numpy as np

from ..classify.classifier import Member
from ..core.display import Displayed
from ..core.errors import printable
from ..data.opening_line import Told, untold
from .examples import Examples, find_examples
from .field import SeenField, seen_field
from .gradcam import EvidenceMap, grad_cam
from .maps import FeatureMaps, feature_maps
from .occlusion import OcclusionMap, occlusion
from .subject import Subject, look_at
from .weights_view import FilterGrid, filter_grid

NUM_CHANNELS = 3


@dataclass(frozen=True, kw_only=True, repr=False)
class Explanation(Displayed):
    """One image, the class it is explained for (the answer unless asked otherwise), and what was found."""

    member: Member
    subject: Subject
    class_index: int
    evidence: EvidenceMap
    occlusion: OcclusionMap
    features: FeatureMaps
    filters: FilterGrid
    field: SeenField
    examples: Examples | None = None

    def display_lines(self) -> list[str]:
        """The answer, and where its evidence was found."""
        name, probability = self.top(1)[0]
        place = self.evidence
        found = f"Evidence for '{printable(place.class_name)}' was found in layer '{place.layer}'."
        return [
            f"{printable(self.subject.key)}: '{printable(name)}', {100 * probability:.1f} %.",
            place.message or found,
            *([self.occlusion.message] if self.occlusion.message else []),
            self.features.words(),
        ]

    @property
    def class_name(self) -> str:
        """The name of the class that is explained."""
        return self.member.classes[self.class_index]

    def top(self, num: int) -> list[tuple[str, float]]:
        """The `num` most probable (class, probability) pairs, most probable first."""
        order = np.argsort(-self.subject.probability_K, kind="stable")[:num]
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
    index = member.class_index(class_name) if class_name else int(subject.logits_K.argmax())
    evidence = grad_cam(member.model, subject.input_1CHW, index, member.classes, layer)
    features = feature_maps(member, subject.input_1CHW, evidence.layer)
    strongest = features.order_C[:NUM_CHANNELS].tolist()
    return Explanation(
        member=member,
        subject=subject,
        class_index=index,
        evidence=evidence,
        occlusion=occlusion(member.model, subject.input_1CHW, index, temperature=member.temperature),
        features=features,
        filters=filter_grid(member.model),
        field=seen_field(member.model, subject.input_1CHW, evidence.layer, _strongest(evidence)),
        examples=find_examples(member, source, evidence.layer, strongest, opened) if source else None,
    )


def _strongest(evidence: EvidenceMap) -> tuple[int, int]:
    """(row, column) of the strongest evidence, of the middle where there is none."""
    height, width = evidence.evidence_hw.shape
    if evidence.message:
        return height // 2, width // 2
    row, column = divmod(int(evidence.evidence_hw.argmax()), width)
    return row, column
