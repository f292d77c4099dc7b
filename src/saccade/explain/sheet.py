"""One composed page about one image, as SVG or PNG: what was given, what the network sees, where the evidence lies."""

import io
from pathlib import Path

import numpy as np
from PIL import Image

from ..core import atomic
from ..core.drawing import drawing_engine
from ..core.errors import UsageError, printable
from ..evaluate.verdict import percent
from . import svg
from .colour import even_palette, overlay, signed_overlay, signed_scale
from .examples_part import examples_part
from .explanation import Explanation
from .field import SeenField
from .maps import feature_tiles
from .subject import what_it_sees
from .weights_view import tile_images

WIDTH, MARGIN, GAP = 1000, 24, 24
PANEL = (WIDTH - 2 * MARGIN - 3 * GAP) / 4
CAPTION_CHARACTERS = 36
ENDINGS = (".svg", ".png")
PNG_SCALE = 2
MAX_MAPS, MAP_COLUMNS = 32, 16


def check_out(path: Path, verb: str = "explain", option: str = "--out") -> None:
    """Raise UsageError where `path`, given to `verb` behind `option`, cannot become a sheet."""
    if path.suffix.lower() not in ENDINGS:
        raise UsageError(
            f"{verb} writes .svg or .png files; got '{printable(path.name)}'.\nChange the ending of {option}."
        )


def write_sheet(path: Path, explanation: Explanation) -> None:
    """Write the sheet of `explanation`, durably. Raises StorageError, UsageError for another ending."""
    check_out(path)
    write_page(path, sheet_svg(explanation))


def write_page(path: Path, text: str) -> None:
    """Write a page of SVG text as .svg, or drawn as .png, durably. Raises StorageError."""
    if path.suffix.lower() == ".svg":
        atomic.write_text(path, text)
        return
    page = Image.open(io.BytesIO(drawing_engine().svg_to_png(text, scale=PNG_SCALE))).convert("RGB")
    atomic.write_with(path, lambda temporary: page.save(temporary, "PNG", optimize=True))


def sheet_svg(explanation: Explanation) -> str:
    """The page as SVG text; it needs nothing from outside."""
    said = explanation.answer_words()
    if explanation.top(1):
        name, probability = explanation.top(1)[0]
        said = f"'{name}', {percent(probability)} %"
    title = f"{_shortened(Path(explanation.subject.key).name, 60)}: {said}"
    body = [svg.text(MARGIN, 42, title, 20, bold=True)]
    y = 72.0
    for words in [*explanation.answering_words(), *filter(None, [explanation.outside_words()])]:
        body.append(svg.text(MARGIN, y - 8, words, 13, svg.MUTED))
        y += 20
    body += _panels(explanation, y)
    y += PANEL + 130
    body += _answers(explanation, y)
    body += _filters(explanation, y)
    y += 260
    features, height = _features(explanation, y)
    body += features
    y += height + MARGIN
    if explanation.examples:
        y += GAP / 2
        examples, height = examples_part(explanation.examples, (MARGIN, y), WIDTH - 2 * MARGIN)
        body += examples
        y += height + MARGIN
    return svg.document(WIDTH, y, body, title)


def _panels(explanation: Explanation, y: float) -> list[str]:
    subject, evidence, cover = explanation.subject, explanation.evidence, explanation.occlusion
    columns = [MARGIN + number * (PANEL + GAP) for number in range(4)]
    sees = np.broadcast_to(subject.prepared_HWC, (*subject.prepared_HWC.shape[:2], 3))
    sees = np.ascontiguousarray(sees)
    body = _panel(columns[0], y, "Given", svg.crisp(subject.original_HWC, 440), "the file, turned upright")
    on_photo = explanation.field_on_photo
    body += _frame(columns[0], y + 12, svg.fitted(subject.original_HWC, PANEL, PANEL), on_photo) if on_photo else []
    body += _panel(
        columns[1],
        y,
        "What the network sees",
        svg.crisp(sees, 440),
        f"{what_it_sees(subject, explanation.member.preprocessing)}; {explanation.field.words()}",
    )
    body += _frame(columns[1], y + 12, svg.fitted(sees, PANEL, PANEL), explanation.field)
    name = printable(explanation.class_name)
    if evidence.message:
        body += _words(columns[2], y, "Grad-CAM", evidence.message)
    else:
        picture = overlay(sees, evidence.map_HW)
        caption = f"evidence for '{name}' in {evidence.layer}"
        body += _panel(columns[2], y, "Grad-CAM", svg.crisp(picture, 440), caption, ("none", "strongest"))
    if cover.message:
        body += _words(columns[3], y, "Occlusion", cover.message)
    else:
        top = float(np.abs(cover.drop_HW).max())
        picture = signed_overlay(sees, cover.drop_HW, top)
        caption = f"a {cover.patch_px} px square is covered: orange is what '{name}' needs"
        ends = (f"rises {100 * top:.1f} points", f"falls {100 * top:.1f} points")
        if explanation.member.task.is_number:
            ends = (f"rises {top:.3g}", f"falls {top:.3g}")
        body += _panel(columns[3], y, "Occlusion", svg.crisp(picture, 440), caption, ends)
    return body


def _frame(x: float, y: float, size: tuple[float, float], field: SeenField) -> list[str]:
    """The field as a frame on a picture of `size` at (x, y), visible on dark and on light pixels."""
    height_px, width_px = field.size_px
    if (field.top, field.left, field.bottom, field.right) == (0, 0, height_px, width_px):
        return []
    across, down = size[0] / width_px, size[1] / height_px
    place = (x + field.left * across, y + field.top * down)
    sides = ((field.right - field.left) * across, (field.bottom - field.top) * down)
    return [
        svg.rectangle(place[0] + inset, place[1] + inset, (sides[0] - 2 * inset, sides[1] - 2 * inset), "none", colour)
        for inset, colour in ((0.5, "#FFFFFF"), (1.5, svg.ACCENT), (2.5, "#FFFFFF"))
    ]


def _panel(
    x: float, y: float, title: str, image_HWC: np.ndarray, caption: str, ends: tuple[str, str] | None = None
) -> list[str]:
    """A titled picture in a square, its caption, and the legend of its colours where `ends` names what they mean."""
    size = svg.fitted(image_HWC, PANEL, PANEL)
    body = [
        svg.text(x, y, title, 14, bold=True),
        svg.picture(x, y + 12, size, image_HWC, title),
        svg.paragraph(x, y + PANEL + 32, caption, CAPTION_CHARACTERS, 12),
    ]
    if ends:
        palette = even_palette() if ends[0] == "none" else signed_scale()
        body.append(svg.picture(x, y + PANEL + 66, (PANEL, 8), palette[None], "colour scale"))
        body.append(svg.text(x, y + PANEL + 89, ends[0], 11, svg.MUTED))
        body.append(f'<g text-anchor="end">{svg.text(x + PANEL, y + PANEL + 89, ends[1], 11, svg.MUTED)}</g>')
    return body


def _words(x: float, y: float, title: str, message: str) -> list[str]:
    return [
        svg.text(x, y, title, 14, bold=True),
        svg.rectangle(x + 0.5, y + 12.5, (PANEL - 1, PANEL - 1), "#FFFFFF", svg.LINE),
        svg.paragraph(x + 12, y + 40, message, CAPTION_CHARACTERS - 6),
    ]


def _answers(explanation: Explanation, y: float) -> list[str]:
    """The five most probable classes as bars, with their figures."""
    body = [svg.text(MARGIN, y, "Answer", 14, bold=True)]
    if not explanation.top(1):
        body.append(svg.text(MARGIN, y + 27, _shortened(explanation.answer_words(), 60), 13, bold=True))
    width = 2 * PANEL + GAP
    for number, (name, probability) in enumerate(explanation.top(5)):
        top = y + 14 + number * 40
        bold = name == explanation.class_name
        body.append(svg.text(MARGIN, top + 13, _shortened(printable(name), 44), 13, bold=bold))
        body.append(f'<g text-anchor="end">{svg.text(MARGIN + width, top + 13, f"{percent(probability)} %")}</g>')
        body.append(svg.rectangle(MARGIN, top + 19, (width, 8), "#E6EAF0"))
        body.append(svg.rectangle(MARGIN, top + 19, (max(1.0, width * probability), 8), svg.ACCENT))
    return body


def _filters(explanation: Explanation, y: float) -> list[str]:
    grid = explanation.filters
    x, width = MARGIN + 2 * (PANEL + GAP), 2 * PANEL + GAP
    columns = max(4, int(np.ceil(np.sqrt(2.5 * grid.num_shown))))
    image_HWC = tile_images(grid.tile_NHWC, round(1.6 * width / columns), columns)
    size = svg.fitted(image_HWC, width, 180)
    more = "" if grid.num_shown >= grid.num_filters else f", {grid.num_shown} shown"
    return [
        svg.text(x, y, f"Filters of the first layer ({grid.num_filters}{more})", 14, bold=True),
        svg.picture(x, y + 14, size, image_HWC, "filters of the first layer"),
        svg.text(x, y + 14 + size[1] + 20, f"one scale for all: {grid.legend}", 12, svg.MUTED),
    ]


def _features(explanation: Explanation, y: float) -> tuple[list[str], float]:
    tile_NHWC, legend = feature_tiles(explanation.features, num=MAX_MAPS)
    width = WIDTH - 2 * MARGIN
    image_HWC = tile_images(tile_NHWC, round(1.6 * width / MAP_COLUMNS), MAP_COLUMNS)
    size = svg.fitted(image_HWC, width, 420)
    num = min(MAX_MAPS, len(explanation.features.order_C))
    words = f"{explanation.features.words()} The {num} strongest, on one scale: {legend}."
    body = [
        svg.text(MARGIN, y, f"What '{explanation.features.layer}' answers", 14, bold=True),
        svg.text(MARGIN, y + 20, words, 12, svg.MUTED),
        svg.picture(MARGIN, y + 32, size, image_HWC, "feature maps, strongest first"),
    ]
    return body, 32 + size[1]


def _shortened(words: str, num_characters: int) -> str:
    return words if len(words) <= num_characters else words[: num_characters - 1] + "…"
