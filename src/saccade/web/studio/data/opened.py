"""Sources that were opened, the latest few: which images they hold, chosen by class and split, and their pictures."""

import io
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from ....core.addresses import is_address, is_hub
from ....core.display import figure
from ....core.errors import ImageError, SaccadeError, printable
from ....core.in_memory import is_given
from ....core.types import MAX_16_BIT, SPLITS
from ....data.images.decode import DecodedImage, decode_image
from ....data.images.encode import picture_content
from ....data.source import DataSource, open_source
from ....report.pictures import encoded_small
from ....runs.evaluation_files import THUMBNAIL_PX
from ...refusal import Reason, Refusal
from ..runs.records import Latest, not_shown
from .sets import ImageSet

MAX_OPENED = 3
LOOK_AGAIN_S = 20.0  # how old a listing may be where a page is opened anew
MAX_THUMBNAILS = 4096  # a few kB each
LARGE_PX = 1600
LOSSLESS_PX = 256
QUALITY = 90
NO_SUCH_IMAGE = Reason(404, "no_such_image", "The data set has no such image.", "Load the page again.")
CHANGED = Reason(409, "changed", "The images have changed since.", "Load the page again.")
NOT_HERE = "This data set is not on this machine as files: {why}."
REMAINS = "What its runs say of it is shown all the same."


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A source and what its N records say. `split_N` are places in SPLITS, -1 where an image has none.

    `index_of` are the images of each class, ascending; `version` changes when the listing does. `white` is white in
    files of 16 bits a channel.
    """

    source: DataSource
    version: str
    split_N: np.ndarray
    index_of: dict[int, np.ndarray]
    white: int = MAX_16_BIT

    def splits(self) -> list[str]:
        """The splits that the source itself gives."""
        present = Counter(self.split_N.tolist())
        return [name for place, name in enumerate(SPLITS) if present[place]]

    def chosen(self, label: int | None, split: str) -> np.ndarray:
        """int64: the images of a class and a split; of all where none is named."""
        nothing = np.zeros(0, np.int64)
        index_M = np.arange(len(self.source)) if label is None else self.index_of.get(label, nothing)
        return index_M[self.split_N[index_M] == SPLITS.index(split)] if split else index_M

    def decoded(self, position: int, min_short_side_px: int | None = None) -> DecodedImage:
        """The image at `position`. Raises Refusal where there is none, or where it cannot be read."""
        if position >= len(self.source):
            raise Refusal(NO_SUCH_IMAGE)
        key = self.source.record(position).key
        try:
            return decode_image(self.source.read(position), key, min_short_side_px, self.white)
        except ImageError as error:
            raise Refusal(Reason(422, "bad_image", printable(error.reason[:1].upper() + error.reason[1:]))) from None
        except SaccadeError as error:
            raise not_shown(error) from None


class Sources:
    """The sources of sets. What a run names is opened where it is a file or folder of this machine, or comes with
    Saccade; nothing is fetched."""

    def __init__(self) -> None:
        self._opened: Latest[Opened] = Latest(MAX_OPENED)
        self._thumbnails: Latest[tuple[bytes, str]] = Latest(MAX_THUMBNAILS)
        self._looked: dict[str, tuple[int, float]] = {}  # by id: how many times, when
        self._lock = threading.Lock()

    def opened(self, found: ImageSet, white: int, is_renewed: bool = False) -> Opened:
        """The source of `found`; looked at again where `is_renewed` and its listing is old. Raises Refusal."""
        now_s = time.monotonic()
        with self._lock:
            number, looked_s = self._looked.get(found.id, (0, now_s))
            if is_renewed and now_s - looked_s > LOOK_AGAIN_S:
                number, looked_s = number + 1, now_s
            self._looked[found.id] = (number, looked_s)
        return self._opened.get((found.id, number, white), lambda: _open(found.source, white))

    def thumbnail(self, found: ImageSet, opened: Opened, position: int) -> tuple[bytes, str]:
        """(content, media type) of an image at no more than 96 px. Raises Refusal."""

        def make() -> tuple[bytes, str]:
            content, kind = encoded_small(opened.decoded(position, THUMBNAIL_PX).image_HWC)
            return content, f"image/{kind}"

        return self._thumbnails.get((found.id, opened.version, position), make)


def large_picture(opened: Opened, position: int) -> tuple[bytes, str]:
    """(content, media type) of an image upright, at no more than 1600 px. Raises Refusal."""
    image_HWC = opened.decoded(position).image_HWC
    if max(image_HWC.shape[:2]) <= LOSSLESS_PX:
        return picture_content(image_HWC), "image/png"
    image = Image.fromarray(image_HWC)
    image.thumbnail((LARGE_PX, LARGE_PX), Image.Resampling.BICUBIC)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=QUALITY)
    return stream.getvalue(), "image/jpeg"


def image_facts(opened: Opened, position: int) -> dict[str, Any]:
    """What is told of one image; its keys are read by `static/data/data.js`. Raises Refusal."""
    if position >= len(opened.source):
        raise Refusal(NO_SUCH_IMAGE)
    facts = item_of(opened, position) | {"problem": "", "lines": []}
    try:
        decoded = opened.decoded(position)
    except Refusal as refusal:
        return facts | {"problem": refusal.reason.text}
    height_px, width_px = decoded.image_HWC.shape[:2]
    lines = [f"{width_px:,} x {height_px:,} px, mode {decoded.mode}"]
    lines += ["Turned upright, as the file asks for."] if decoded.rotated else []
    lines += [f"Converted to sRGB from the colour profile {decoded.profile}."] if decoded.profile else []
    lines += [f"Shown at {LARGE_PX:,} px."] if max(height_px, width_px) > LARGE_PX else []
    return facts | {"lines": [printable(line) for line in [*lines, *decoded.notes]], "width_px": width_px}


def item_of(opened: Opened, position: int) -> dict[str, Any]:
    """Position, name, class and split of an image."""
    record = opened.source.record(position)
    if record.value is not None:
        label = f"{opened.source.classes[0]} {figure(record.value)}"
    else:
        label = ", ".join(opened.source.classes[k] for k in record.all_labels) or "no label"
    return {
        "position": position,
        "name": printable(record.key),
        "label": printable(label),
        "split": record.split or "",
    }


def _open(text: str, white: int) -> Opened:
    refuse_elsewhere(text)
    try:
        source = open_source(text, several=True)
    except SaccadeError as error:
        raise not_shown(error) from None
    records = [source.record(index) for index in range(len(source))]
    split_N = np.array([SPLITS.index(r.split) if r.split in SPLITS else -1 for r in records], np.int8)
    return Opened(
        source=source,
        version=source.digest[:16],
        split_N=split_N,
        index_of=_by_class([record.all_labels for record in records]),
        white=white,
    )


def refuse_elsewhere(text: str) -> None:
    """Raise Refusal where a source is no file or folder of this machine."""
    why = "it was given from Python" if is_given(text) else ""
    why = "it is an address, and the studio asks none" if is_hub(text) or is_address(text) else why
    if why:
        raise Refusal(Reason(422, "not_here", NOT_HERE.format(why=why), REMAINS))


def _by_class(labels_N: Sequence[tuple[int, ...]]) -> dict[int, np.ndarray]:
    found: dict[int, list[int]] = {}
    for index, labels in enumerate(labels_N):
        for label in labels:
            found.setdefault(label, []).append(index)
    return {label: np.array(indices, np.int64) for label, indices in found.items()}
