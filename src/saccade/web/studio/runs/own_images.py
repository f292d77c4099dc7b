"""The images that a run was judged on, opened again where they lie on this machine: a run keeps few of them itself."""

import numpy as np
import torch

from ....core.errors import ImageError, SaccadeError, printable, storable
from ....data.images.bands import network_pixels
from ....data.images.decode import decode_image
from ....data.images.preprocess import prepare_image
from ....data.source import DataSource, open_source
from ....report.record import RunRecord
from ...refusal import Reason, Refusal
from ..data.opened import refuse_elsewhere
from .index import Run
from .records import Latest, Records, not_shown

MAX_OPENED, MAX_PREPARED = 2, 64
ANSWER_TOLERANCE = 0.05  # of the spread of the logits: another processor rounds otherwise, another image says otherwise
NOT_FOUND = Reason(422, "not_found", "The image is not among those of the run's source any more.")
OTHER_IMAGE = Reason(
    422,
    "other_image",
    "The network says otherwise of this image than the run wrote down: it has changed, or others judged it.",
)


def are_here(run: Run) -> bool:
    """Whether the source that the run names may be opened: a file or folder of this machine."""
    source = run.look().config.source
    try:
        refuse_elsewhere(source)
    except Refusal:
        return False
    return bool(source)


class OwnImages:
    """The sources of runs, the latest few, with the place of each image by name."""

    def __init__(self) -> None:
        self._opened: Latest[tuple[DataSource, dict[str, int]]] = Latest(MAX_OPENED)
        self._prepared: Latest[np.ndarray] = Latest(MAX_PREPARED)

    def prepared(self, run: Run, records: Records, record: RunRecord, position: int) -> np.ndarray:
        """What the network sees of the judged image at `position`, (H, W, C). Raises Refusal where it is not there, or
        is not what was judged."""
        key = (run.id, run.watched.changes, position)
        return self._prepared.get(key, lambda: self._read(run, records, record, position))

    def _read(self, run: Run, records: Records, record: RunRecord, position: int) -> np.ndarray:
        source, place_of = self._source(run)
        key = record.keys[position]
        if key not in place_of:
            raise Refusal(NOT_FOUND)
        member = records.network(run)
        pixels = member.preprocessing
        try:
            decoded = decode_image(source.read(place_of[key]), key, None, pixels.white_16_bit)
            prepared_HWC = np.array(prepare_image(network_pixels(decoded, key, pixels), pixels))
            logits_K = member.logits(torch.from_numpy(prepared_HWC).permute(2, 0, 1)[None]).numpy()[0]
        except ImageError as error:
            raise Refusal(Reason(422, "bad_image", printable(error.reason[:1].upper() + error.reason[1:]))) from None
        except SaccadeError as error:
            raise not_shown(error) from None
        judged_K = record.logits_NK[position]
        if np.abs(logits_K - judged_K).max() > ANSWER_TOLERANCE * max(1.0, float(np.ptp(judged_K))):
            raise Refusal(OTHER_IMAGE)
        return prepared_HWC

    def _source(self, run: Run) -> tuple[DataSource, dict[str, int]]:
        text = run.look().config.source
        refuse_elsewhere(text)

        def opened() -> tuple[DataSource, dict[str, int]]:
            source = open_source(text, several=True)
            return source, {storable(source.record(place).key): place for place in range(len(source))}

        try:
            return self._opened.get(text, opened)
        except SaccadeError as error:
            raise not_shown(error) from None
