"""A curve as small as a word."""

from collections.abc import Sequence

from ....report.html import Markup, element

WIDTH, HEIGHT, ROOM = 96, 24, 2.0
MAX_POINTS = 96


def sparkline(values: Sequence[float], words: str) -> Markup | None:
    """The curve of `values` from its least to its greatest, `words` for those who cannot see it; None of fewer than
    two."""
    if len(values) < 2:
        return None
    if len(values) > MAX_POINTS:
        values = [values[round(i * (len(values) - 1) / (MAX_POINTS - 1))] for i in range(MAX_POINTS)]
    low, high = min(values), max(values)
    across = (WIDTH - 2 * ROOM) / (len(values) - 1)
    down = (HEIGHT - 2 * ROOM) / ((high - low) or 1.0)
    points = [(ROOM + i * across, HEIGHT - ROOM - (value - low) * down) for i, value in enumerate(values)]
    line = element("polyline", {"points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points)})
    end = element("circle", {"cx": round(points[-1][0], 1), "cy": round(points[-1][1], 1), "r": 2})
    attributes: dict[str, str | int] = {"viewBox": f"0 0 {WIDTH} {HEIGHT}", "width": WIDTH, "height": HEIGHT}
    return element("svg", {**attributes, "class": "spark", "role": "img", "aria-label": words}, line, end)
