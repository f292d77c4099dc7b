"""The part of the sheet that shows which images excite the strongest channels most: one row a channel."""

import numpy as np

from . import svg
from .examples import NUM_EXAMPLES, ChannelExamples, Examples

LABEL, GAP = 104.0, 8.0
MARK = 10.0


def examples_part(examples: Examples, place: tuple[float, float], width: float) -> tuple[list[str], float]:
    """SVG elements from `place` (x, y) on, and the height they take."""
    x, y = place
    side = (width - LABEL) / NUM_EXAMPLES - GAP
    body = [
        svg.text(x, y, f"What excites the strongest channels of '{examples.layer}' most", 14, bold=True),
        svg.text(x, y + 20, examples.words(), 12, svg.MUTED),
    ]
    top = y + 32
    for channel in examples.channels:
        body += _row(channel, examples.map_size, (x, top), side)
        top += side + GAP
    return body, top - y


def _row(channel: ChannelExamples, map_size: tuple[int, int], place: tuple[float, float], side: float) -> list[str]:
    x, y = place
    lowest, highest = channel.found[-1].activation, channel.found[0].activation
    body = [
        svg.text(x, y + 16, f"channel {channel.channel}", 13, bold=True),
        svg.text(x, y + 34, f"{highest:.3g} to {lowest:.3g}", 12, svg.MUTED),
    ]
    for number, (image_HWC, found) in enumerate(zip(channel.image_NHWC, channel.found)):
        left = x + LABEL + number * (side + GAP)
        shown_HWC = np.ascontiguousarray(np.broadcast_to(image_HWC, (*image_HWC.shape[:2], 3)))
        size = svg.fitted(shown_HWC, side, side)
        body.append(svg.picture(left, y, size, svg.crisp(shown_HWC, 180), channel.keys[number]))
        centre_x = left + (found.position[1] + 0.5) / map_size[1] * size[0]
        centre_y = y + (found.position[0] + 0.5) / map_size[0] * size[1]
        for half, colour in ((MARK / 2 + 1, "#FFFFFF"), (MARK / 2, svg.ACCENT)):
            body.append(svg.rectangle(centre_x - half, centre_y - half, (2 * half, 2 * half), "none", colour))
    return body
