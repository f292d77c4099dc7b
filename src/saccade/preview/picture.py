"""The picture of a preview: a row for each image, its original, its draws, and what was drawn beneath them."""

from collections.abc import Iterable

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..core.errors import printable
from .images import Preview

PAPER, INK, SOFT, ACCENT = (255, 255, 255), (24, 28, 35), (98, 106, 118), (20, 90, 160)
MARGIN_PX = 20
GAP_PX = 12
SMALLEST_TILE_PX = 112
LARGEST_TILE_PX = 224
TEXT_PX = 13
LINE_PX = 17


def draw_previews(previews: list[Preview], title: str, facts: list[str]) -> Image.Image:
    """An RGB picture: title and facts, then originals and draws side by side. Small images are enlarged in blocks."""
    tile_px = _tile_px(previews)
    columns = 1 + len(previews[0].draws)
    width_px = 2 * MARGIN_PX + columns * tile_px + (columns - 1) * GAP_PX
    facts = _wrapped(facts, width_px - 2 * MARGIN_PX)
    rows = [_captions(preview, tile_px) for preview in previews]
    heights = [tile_px + 6 + LINE_PX * max(len(lines) for lines in row) + 2 * GAP_PX for row in rows]
    head_px = MARGIN_PX + 28 + LINE_PX * len(facts) + GAP_PX
    picture = Image.new("RGB", (width_px, head_px + sum(heights) + MARGIN_PX - GAP_PX), PAPER)
    pen = ImageDraw.Draw(picture)
    pen.text((MARGIN_PX, MARGIN_PX), printable(title), INK, ImageFont.load_default(18))
    _write(pen, (MARGIN_PX, MARGIN_PX + 28), facts, SOFT)
    top = head_px
    for preview, row, height in zip(previews, rows, heights):
        images = [preview.original_HWC, *(draw.image_HWC for draw in preview.draws)]
        for column, (image_HWC, lines) in enumerate(zip(images, row)):
            left = MARGIN_PX + column * (tile_px + GAP_PX)
            tile = _tile(image_HWC, tile_px)
            picture.paste(tile, (left + (tile_px - tile.width) // 2, top + (tile_px - tile.height) // 2))
            _write(pen, (left, top + tile_px + 6), lines, ACCENT if column == 0 else INK)
        top += height
    return picture


def _captions(preview: Preview, tile_px: int) -> list[list[str]]:
    """Lines beneath the original and beneath each draw."""
    name = preview.key.rsplit("/", 1)[-1]
    original = [
        f"{preview.label}: {name}" if preview.label else name,
        f"{preview.original_HWC.shape[1]}x{preview.original_HWC.shape[0]} px",
    ]
    lines = [list(draw.lines) or ["nothing changed"] for draw in preview.draws]
    return [_wrapped(texts, tile_px) for texts in [original, *lines]]


def _tile_px(previews: list[Preview]) -> int:
    """Side of a tile: the input's, enlarged by a whole factor where it is small."""
    side_px = max(previews[0].evaluated_HWC.shape[:2])
    factor = max(1, -(-SMALLEST_TILE_PX // side_px))
    return min(side_px * factor, max(LARGEST_TILE_PX, SMALLEST_TILE_PX))


def _tile(image_HWC: np.ndarray, tile_px: int) -> Image.Image:
    pixels = image_HWC[:, :, 0] if image_HWC.shape[2] == 1 else image_HWC
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    scale = tile_px / max(image.size)
    size = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
    filter_ = Image.Resampling.NEAREST if scale > 1.5 else Image.Resampling.BILINEAR
    return image if size == image.size else image.resize(size, filter_)


def _wrapped(texts: Iterable[str], width_px: int) -> list[str]:
    """Texts as lines that fit into `width_px`, in printable characters."""
    font = ImageFont.load_default(TEXT_PX)
    lines = []
    for text in texts:
        line = ""
        for word in printable(text).split(" "):
            longer = f"{line} {word}".strip()
            if line and font.getlength(longer) > width_px:
                lines.append(line)
                longer = "  " + word
            line = longer
        while font.getlength(line) > width_px and len(line) > 4:
            cut = max(4, int(len(line) * width_px / font.getlength(line)))
            lines.append(line[:cut])
            line = "  " + line[cut:]
        lines.append(line)
    return lines


def _write(pen: ImageDraw.ImageDraw, place: tuple[int, int], lines: list[str], colour: tuple[int, int, int]) -> None:
    for number, line in enumerate(lines):
        pen.text((place[0], place[1] + number * LINE_PX), line, colour, ImageFont.load_default(TEXT_PX))
