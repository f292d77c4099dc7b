"""What a run says of one image that a person brings: the answer, what the network sees of it, where the evidence lies.

It answers through the classifier of `saccade predict`, to the same bits.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from ....classify.classifier import Classifier, open_classifier
from ....classify.crops import CENTRE
from ....classify.predict import predict
from ....classify.stream import prepared_stream
from ....core.errors import ImageError, SaccadeError, brief, printable
from ....core.runtime import RuntimeConfig
from ....core.types import Prediction
from ....data.images.bands import as_picture
from ....data.images.encode import picture_address
from ....data.sources.in_memory import HeldImage
from ....explain.colour import veil
from ....explain.gradcam import grad_cams
from ...refusal import Reason, Refusal
from ..runs.index import Run
from ..runs.records import Latest, no_such_class, not_shown

TOP = 5  # classes of an answer
MAX_CLASSIFIERS = 3  # networks that are held
WHY = {
    "unlike_training": "Unlike anything seen in training: no answer.",
    "low_confidence": "Not sure: no answer at this confidence.",
}


class Classifiers:
    """The classifiers of runs, the latest few. A run whose files change is read again."""

    def __init__(self) -> None:
        self._kept: Latest[Classifier] = Latest(MAX_CLASSIFIERS)

    def of(self, run: Run) -> Classifier:
        """The classifier of `run`, on the CPU. Raises Refusal where its weights cannot be read."""
        run.look()
        key = (run.id, run.watched.changes)
        try:
            return self._kept.get(key, lambda: open_classifier(run.path, RuntimeConfig(device="cpu")))
        except SaccadeError as error:
            raise not_shown(error) from None


@dataclass(frozen=True, kw_only=True)
class Sent:
    """An image that came in a request."""

    content: bytes

    def item(self) -> HeldImage:
        """As the stream of images takes it."""
        return HeldImage("the image", lambda: self.content)


def answer(classifier: Classifier, sent: Sent, min_confidence: float) -> dict[str, Any]:
    """The answer as JSON. Raises Refusal where the bytes are no image."""
    said = next(iter(predict(classifier, [sent.item()], min_confidence=min_confidence)))
    if isinstance(said, ImageError):
        raise bad_image(said)
    return answer_json(said) | {"seen": picture_address(as_picture(_prepared(classifier, sent), _seen_as(classifier)))}


def answer_json(said: Prediction) -> dict[str, Any]:
    """What a page shows of an answer; its keys are read by `static/predict/predict.js`."""
    labels = said.labels
    first = said.top(1)[0][0] if said.value is None else ""
    words = {"number": said.number_text(), "labels": ", ".join(labels or ()) or "none of the labels"}
    kind = "number" if said.value is not None else "labels" if labels is not None else "class"
    return {
        "kind": kind,
        "answer": printable(words.get(kind, said.grade or first)),
        "why_none": WHY.get(said.no_answer, ""),
        "top": []
        if said.value is not None
        else [
            {"class": printable(name), "index": said.classes.index(name), "probability": probability}
            for name, probability in said.top(TOP)
        ],
        "measured": printable(said.classes[0]) if said.value is not None else "",
        "notes": [printable(note) for note in said.notes],
        "ms": round(said.latency_ms, 1),
    }


def evidence(classifier: Classifier, sent: Sent, class_index: int) -> dict[str, Any]:
    """Where the evidence for a class lies, as a picture to lay over what the network sees. Raises Refusal."""
    if class_index >= len(classifier.classes):
        raise no_such_class()
    member = classifier.members[0]
    pixels_HWC = _prepared(classifier, sent)
    try:
        found = grad_cams(member.model, member.normalized(pixels_HWC[None]), [class_index], member.classes)[0]
    except SaccadeError as error:  # a network of a person's own that does not name its parts
        raise Refusal(Reason(422, "no_evidence", error.message.splitlines()[0])) from None
    return {"veil": picture_address(veil(found.map_HW)), "message": found.message, "layer": found.layer}


def _prepared(classifier: Classifier, sent: Sent) -> np.ndarray:
    """uint8 or uint16 (H, W, C): what the first network of the run sees of it. Raises Refusal."""
    preprocessing = _seen_as(classifier)
    batch = next(iter(prepared_stream([sent.item()], [preprocessing], [CENTRE], 1)))
    for error in batch.errors.values():
        raise bad_image(error)
    found: np.ndarray = batch.prepared[preprocessing][0, 0]
    return found


def _seen_as(classifier: Classifier) -> Any:
    return classifier.members[0].preprocessing


def bad_image(error: ImageError) -> Refusal:
    """422: what came is no image that can be answered."""
    reason = error.reason[:1].upper() + error.reason[1:]
    return Refusal(Reason(422, "bad_image", f"{brief(reason, 300).rstrip('.')}.", "Send another image."))
