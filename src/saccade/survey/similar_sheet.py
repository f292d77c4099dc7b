"""The nearest images of one as a page of pictures, SVG or PNG."""

from pathlib import Path

import numpy as np
from PIL import Image

from ..core.errors import printable
from ..data.images.decode import decode_image
from ..data.sources.in_memory import HeldImage
from ..explain import svg
from ..explain.sheet import write_page
from .similar import Similar

WIDTH, MARGIN, GAP = 1000, 24, 16
COLUMNS = 5
TILE = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
CAPTION_CHARACTERS, LINE = 28, 16
MAX_PICTURES = 100  # each takes some 100 KB of the page


def write_similar_sheet(path: Path, similar: Similar) -> None:
    """Write the query and the images of `similar` with their distances. Raises StorageError, ImageError."""
    shown = min(len(similar.found), MAX_PICTURES)
    more = f" (the first {shown} of {len(similar.found):,} are drawn)" if shown < len(similar.found) else ""
    title = f"Images like {Path(similar.query).name[:60]}{more}"
    body = [svg.text(MARGIN, 42, title, 20, bold=True)]
    captions = ["asked for", *(f"distance {image.distance:.4f}" for image in similar.found[:shown])]
    for number, (item, caption) in enumerate(zip(similar.items, captions, strict=False)):
        row, column = divmod(number, COLUMNS)
        x, y = MARGIN + column * (TILE + GAP), 66 + row * (TILE + 2 * LINE + GAP)
        body += _tile(item, caption, x, y)
    rows = -(-len(captions) // COLUMNS)
    y = 66 + rows * (TILE + 2 * LINE + GAP) + LINE
    for line in similar.copy_lines():
        body.append(svg.text(MARGIN, y, line[:150], 12, svg.MUTED))
        y += LINE
    write_page(path, svg.document(WIDTH, y + MARGIN, body, title))


def _tile(item: HeldImage, caption: str, x: float, y: float) -> list[str]:
    image_HWC = small_picture(item, round(2 * TILE))
    name = Path(item.key).name
    shown = name if len(name) <= CAPTION_CHARACTERS else f"{name[: CAPTION_CHARACTERS - 1]}…"
    return [
        svg.picture(x, y, svg.fitted(image_HWC, TILE, TILE), image_HWC, printable(item.key)),
        svg.text(x, y + TILE + LINE, shown, 12),
        svg.text(x, y + TILE + 2 * LINE, caption, 12, svg.MUTED),
    ]


def small_picture(item: HeldImage, longest_px: int) -> np.ndarray:
    """uint8 (H, W, 3) of at most `longest_px`, in proportion; small images keep their pixels as squares."""
    image_HWC = decode_image(item.read(), item.key).image_HWC
    if max(image_HWC.shape[:2]) <= longest_px // 2:
        return svg.crisp(image_HWC, longest_px)
    image = Image.fromarray(image_HWC)
    image.thumbnail((longest_px, longest_px), Image.Resampling.BICUBIC)
    return np.array(image)
