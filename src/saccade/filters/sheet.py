"""A picture of a kernel at work: the photo, the kernel's numbers, what it answers, and what the colours mean."""

import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..core.errors import printable
from .view import View, signed_colours

PAPER, INK, SOFT, LINE = (255, 255, 255), (27, 31, 36), (87, 96, 106), (208, 215, 222)
MARGIN_PX, GAP_PX, TITLE_PX, TEXT_PX, LINE_PX = 24, 24, 18, 14, 20
SIDE_PX = 480  # of the longer side of each picture; small ones are enlarged by whole factors
MOST_CELLS = 7  # rows and columns of a kernel that are written out
LEGEND_PX = 12
COLUMN_GAP_PX = 16  # between the columns of a kernel


def sheet_png(photo_HWC: np.ndarray, weights_HW: np.ndarray, view: View, title: str) -> bytes:
    """PNG of the photo and of `view` beside it, both at one scale, with the kernel and the legend below."""
    factor = _factor(photo_HWC)
    words = "the photo" if photo_HWC.dtype == np.uint8 else f"the numbers, {photo_HWC.min():g} to {photo_HWC.max():g}"
    pictures = [(words, _scaled(photo_HWC, factor)), ("what the kernel answers", _scaled(view.image_HWC, factor))]
    width_px = 2 * MARGIN_PX + sum(picture.width for _, picture in pictures) + GAP_PX
    width_px = max(width_px, 640)
    kernel_rows = _kernel_rows(weights_HW)
    legend_lines = _wrapped(view.scale, width_px - 2 * MARGIN_PX)
    tallest_px = max(picture.height for _, picture in pictures)
    is_signed = view.scale.startswith("signed") and "full orange" in view.scale
    bottom_px = LINE_PX * (1 + len(kernel_rows) + len(legend_lines) + 1) + (LEGEND_PX + 8 if is_signed else 0)
    top_px = MARGIN_PX + TITLE_PX + 16
    page = Image.new("RGB", (width_px, top_px + LINE_PX + tallest_px + GAP_PX + bottom_px + MARGIN_PX), PAPER)
    pen = ImageDraw.Draw(page)
    pen.text((MARGIN_PX, MARGIN_PX), printable(title), INK, ImageFont.load_default(TITLE_PX))
    left_px = MARGIN_PX
    for words, picture in pictures:
        pen.text((left_px, top_px), words, SOFT, ImageFont.load_default(TEXT_PX))
        page.paste(picture, (left_px, top_px + LINE_PX))
        pen.rectangle(_around(left_px, top_px + LINE_PX, picture), outline=LINE)
        left_px += picture.width + GAP_PX
    y_px = top_px + LINE_PX + tallest_px + GAP_PX
    y_px = _draw_kernel(pen, weights_HW, y_px)
    y_px += LINE_PX // 2
    if is_signed:
        ramp_1W3 = signed_colours(np.linspace(-1, 1, width_px - 2 * MARGIN_PX)[None], 1.0)
        page.paste(Image.fromarray(ramp_1W3.repeat(LEGEND_PX, axis=0)), (MARGIN_PX, y_px))
        y_px += LEGEND_PX + 8
    for line in legend_lines:
        pen.text((MARGIN_PX, y_px), line, SOFT, ImageFont.load_default(TEXT_PX))
        y_px += LINE_PX
    buffer = io.BytesIO()
    page.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _factor(photo_HWC: np.ndarray) -> float:
    """How much both pictures are enlarged: by whole numbers, so that pixels stay squares; large ones are shrunk."""
    longer_px = max(photo_HWC.shape[:2])
    return float(SIDE_PX // longer_px) if longer_px <= SIDE_PX else SIDE_PX / longer_px


def _scaled(image_HWC: np.ndarray, factor: float) -> Image.Image:
    pixels = _as_pixels(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC)
    image = Image.fromarray(np.ascontiguousarray(pixels)).convert("RGB")
    size = (max(1, round(image.width * factor)), max(1, round(image.height * factor)))
    return image.resize(size, Image.Resampling.NEAREST if factor >= 1 else Image.Resampling.BOX)


def _as_pixels(value: np.ndarray) -> np.ndarray:
    """uint8: pixels as they are; numbers from black, the least of them, to white."""
    if value.dtype == np.uint8:
        return value
    lowest, highest = float(value.min()), float(value.max())
    shown: np.ndarray = np.rint(255 * (value - lowest) / ((highest - lowest) or 1.0)).astype(np.uint8)
    return shown


def _around(left_px: int, top_px: int, picture: Image.Image) -> tuple[int, int, int, int]:
    return left_px - 1, top_px - 1, left_px + picture.width, top_px + picture.height


def _draw_kernel(pen: ImageDraw.ImageDraw, weights_HW: np.ndarray, y_px: int) -> int:
    """Its numbers from `y_px` on, each column flush right; of a large one its size. Where the next line begins."""
    rows, font = _kernel_rows(weights_HW), ImageFont.load_default(TEXT_PX)
    height, width = weights_HW.shape
    pen.text((MARGIN_PX, y_px), "kernel" if rows else f"kernel of {height}x{width}", INK, font)
    column_px = COLUMN_GAP_PX + max((_length_px(text) for row in rows for text in row), default=0)
    for row in rows:
        y_px += LINE_PX
        for number, text in enumerate(row, start=1):
            right_px = MARGIN_PX - COLUMN_GAP_PX + number * column_px
            pen.text((right_px - _length_px(text), y_px), text, INK, font)
    return y_px + LINE_PX


def _kernel_rows(weights_HW: np.ndarray) -> list[list[str]]:
    """The kernel's numbers, row by row; none of a large one."""
    if max(weights_HW.shape) > MOST_CELLS:
        return []
    return [[f"{value:.4g}" for value in row] for row in weights_HW]


def _length_px(text: str) -> int:
    return round(ImageFont.load_default(TEXT_PX).getlength(text))


def _wrapped(text: str, width_px: int) -> list[str]:
    font, lines = ImageFont.load_default(TEXT_PX), [""]
    for word in printable(text).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width_px:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
