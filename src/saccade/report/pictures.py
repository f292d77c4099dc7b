"""The images of a report: which ones are shown, small, as data in the page, within a budget of bytes."""

import base64
import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image

from ..data.images.bands import as_picture
from ..runs.evaluation_files import THUMBNAIL_PX
from .html import Markup, element
from .record import RunRecord

PIXELATED_PX = 64
QUALITY = 80
MAX_BYTES = 1_500_000


@dataclass
class Pictures:
    """The pictures that stand in a run, once each; `bytes_left` is what the page may still take. Without a record
    only pictures that are given are shown."""

    record: RunRecord | None
    bytes_left: int = MAX_BYTES
    missing: set[int] = field(default_factory=set)

    def seen(self, position: int) -> np.ndarray | None:
        """What the network saw of the judged image at `position`, (H, W, C); None where the run has it not."""
        pictures = self.record.pictures if self.record else None
        return pictures.seen.get(position) if pictures else None

    def small(self, position: int) -> np.ndarray | None:
        """The judged image at `position` at no more than 96 pixels, uint8 grey or RGB; None where the run has it
        not."""
        pictures = self.record.pictures if self.record else None
        found = pictures.thumbnails.get(position) if pictures else None
        if found is None:
            self.missing.add(position)
        return found

    def shown(self, image_HWC: np.ndarray) -> np.ndarray:
        """What a person is shown of an image that the network saw, or of a picture: uint8 grey or RGB (H, W, C)."""
        is_picture = image_HWC.dtype == np.uint8 and image_HWC.shape[2] in (1, 3)
        return image_HWC if is_picture or not self.record else as_picture(image_HWC, self.record.manifest.preprocessing)

    def thumbnail(self, position: int, words: str) -> Markup | None:
        """The judged image as a small picture with `words` for those who cannot see it; None where it cannot be had."""
        image_HWC = self.small(position)
        return None if image_HWC is None else self.picture(image_HWC, words)

    def plain(self, image_HWC: np.ndarray, words: str) -> Markup | None:
        """An uint8 image at its own size; None where the page is full."""
        buffer = io.BytesIO()
        Image.fromarray(image_HWC).save(buffer, "PNG", optimize=True)
        height_px, width_px = image_HWC.shape[:2]
        return self._image(buffer.getvalue(), "png", {"alt": words, "width": width_px, "height": height_px})

    def picture(self, image_HWC: np.ndarray, words: str, kept_px: int = THUMBNAIL_PX) -> Markup | None:
        """An image as `shown`, at no more than 96 px, of which `kept_px` are kept for who enlarges it; None where the
        page is full."""
        content, kind = encoded_small(self.shown(image_HWC), kept_px)
        height_px, width_px = image_HWC.shape[:2]
        factor = THUMBNAIL_PX / max(height_px, width_px)
        attributes: dict[str, str | int] = {
            "alt": words,
            "width": round(width_px * factor),
            "height": round(height_px * factor),
        }
        if max(height_px, width_px) <= PIXELATED_PX:
            attributes["class"] = "pixels"
        return self._image(content, kind, attributes)

    def _image(self, content: bytes, kind: str, attributes: dict[str, str | int]) -> Markup | None:
        text = base64.b64encode(content).decode("ascii")
        if len(text) > self.bytes_left:
            return None
        self.bytes_left -= len(text)
        return element("img", {"src": f"data:image/{kind};base64,{text}", **attributes})


def encoded_small(image_HWC: np.ndarray, kept_px: int = THUMBNAIL_PX) -> tuple[bytes, str]:
    """(content, `png` or `jpeg`) of an image at no more than `kept_px`, uint8 grey or RGB (H, W, C)."""
    image = Image.fromarray(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC)
    buffer = io.BytesIO()
    if max(image.size) <= PIXELATED_PX:
        image.save(buffer, "PNG", optimize=True)
        return buffer.getvalue(), "png"
    image.thumbnail((kept_px, kept_px), Image.Resampling.BICUBIC)
    image.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return buffer.getvalue(), "jpeg"
