"""A few shapes as SVG text. Everything that comes from outside is escaped here."""

import base64
import io
from html import escape

import numpy as np
from PIL import Image

FONT = "system-ui, 'Segoe UI', Roboto, 'Liberation Sans', Arial, sans-serif"
INK, MUTED, LINE, ACCENT = "#1B1F24", "#57606A", "#D0D7DE", "#0A5BC4"


def document(width: float, height: float, body: list[str], title: str) -> str:
    """A white SVG page of the given size in pixels; `title` is what a screen reader says."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" '
        f'viewBox="0 0 {width:g} {height:g}" role="img" font-family="{FONT}">'
        f"<title>{clean(title)}</title>"
        f'<rect width="{width:g}" height="{height:g}" fill="#FFFFFF"/>{"".join(body)}</svg>\n'
    )


def text(x: float, y: float, words: str, size: float = 13, fill: str = INK, bold: bool = False) -> str:
    """One line of text with its baseline at y."""
    weight = ' font-weight="600"' if bold else ""
    return f'<text x="{x:g}" y="{y:g}" font-size="{size:g}" fill="{fill}"{weight}>{clean(words)}</text>'


def paragraph(x: float, y: float, words: str, num_characters: int, size: float = 13) -> str:
    """Muted text broken into lines of at most `num_characters`, 1.4 times the size apart."""
    lines: list[str] = [""]
    for word in words.split():
        fits = len(lines[-1]) + len(word) < num_characters
        lines = [*lines[:-1], f"{lines[-1]} {word}".strip()] if fits or not lines[-1] else [*lines, word]
    return "".join(text(x, y + i * size * 1.4, line, size, MUTED) for i, line in enumerate(lines))


def rectangle(x: float, y: float, size: tuple[float, float], fill: str, stroke: str = "none") -> str:
    """A filled rectangle of `size` (width, height)."""
    return f'<rect x="{x:g}" y="{y:g}" width="{size[0]:g}" height="{size[1]:g}" fill="{fill}" stroke="{stroke}"/>'


def picture(x: float, y: float, size: tuple[float, float], image_HWC: np.ndarray, label: str) -> str:
    """An image of `size` (width, height) on the page, embedded as PNG."""
    return (
        f'<image x="{x:g}" y="{y:g}" width="{size[0]:g}" height="{size[1]:g}" preserveAspectRatio="none" '
        f'aria-label="{clean(label)}" href="{data_uri(image_HWC)}"/>'
    )


def fitted(image_HWC: np.ndarray, width: float, height: float) -> tuple[float, float]:
    """(width, height) on the page of an image that keeps its proportions inside a box."""
    factor = min(width / image_HWC.shape[1], height / image_HWC.shape[0])
    return image_HWC.shape[1] * factor, image_HWC.shape[0] * factor


def crisp(image_HWC: np.ndarray, width_px: int) -> np.ndarray:
    """The image with every pixel repeated, its longer side to about `width_px`, so that pixels stay squares."""
    factor = max(1, round(width_px / max(image_HWC.shape[:2])))
    return image_HWC.repeat(factor, axis=0).repeat(factor, axis=1)


def data_uri(image_HWC: np.ndarray) -> str:
    """image_HWC uint8, one or three channels, as a PNG in a data URI."""
    buffer = io.BytesIO()
    Image.fromarray(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC).save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def clean(words: str) -> str:
    """Text that is safe in XML: escaped, and without characters that XML forbids or that turn the line round."""
    return escape("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words))
