"""The colours of the page and what computes from them: contrast, and the steps of the heat map.

Measured contrasts are in docs/judging.md; the tests compute them again.
"""

LIGHT = {
    "ground": "#F7F8FA",
    "surface": "#FFFFFF",
    "ink": "#1B1F24",
    "muted": "#57606A",
    "line": "#D0D7DE",
    "accent": "#0A5BC4",
    "good": "#0B6B5B",
    "bad": "#B4410E",
    "warn": "#7A5B00",
    "series1": "#0A5BC4",
    "series2": "#C2500A",
    "series3": "#7783FE",
    "series4": "#BB7B9C",
    "series5": "#75220A",
    "series6": "#4B0968",
    "edge": "#7D8590",
}
DARK = {
    "ground": "#0F1216",
    "surface": "#171B21",
    "ink": "#E6EAF0",
    "muted": "#A3ADB9",
    "line": "#363E48",
    "accent": "#6CB0FF",
    "good": "#4FD1B5",
    "bad": "#FF9A5C",
    "warn": "#E9C46A",
    "series1": "#4C9BFF",
    "series2": "#FF9248",
    "series3": "#359282",
    "series4": "#EAE637",
    "series5": "#27FDF7",
    "series6": "#3BCDDA",
    "edge": "#6B7684",
}
HEAT_LIGHT, HEAT_STRONG = "#D7E2F2", "#0A5BC4"
HEAT_STEPS = 10
BLACK, WHITE = "#000000", "#FFFFFF"


def stylesheet(has_switch: bool = False) -> str:
    """Custom properties for both themes and one class for each step of the heat map. `has_switch`: the page may have
    `data-theme` light or dark, which then holds whatever the system says."""
    light, dark = (";".join(f"--{name}:{value}" for name, value in theme.items()) for theme in (LIGHT, DARK))
    heat = "".join(
        f".matrix td.heat{step}{{background:{colour};color:{readable_on(colour)}}}"
        for step, colour in enumerate(heat_colours(), start=1)
    )
    return themed(light, dark, has_switch) + heat


def themed(light: str, dark: str, has_switch: bool) -> str:
    """The declarations of `light` and, where the system or the page's switch says so, of `dark`."""
    own = ":root:not([data-theme=light])" if has_switch else ":root"
    chosen = f"@media screen{{:root[data-theme=dark]{{{dark}}}}}" if has_switch else ""
    return f":root{{{light}}}@media screen and (prefers-color-scheme:dark){{{own}{{{dark}}}}}{chosen}"


def heat_colours() -> list[str]:
    """Ten colours from pale to strong blue, for shares above 0 to 1."""
    start, end = _channels(HEAT_LIGHT), _channels(HEAT_STRONG)
    fractions = [step / (HEAT_STEPS - 1) for step in range(HEAT_STEPS)]
    return ["#" + "".join(f"{round(a + f * (b - a)):02X}" for a, b in zip(start, end)) for f in fractions]


def heat_step(share: float) -> int:
    """1 to 10: the step of a cell with `share` (0 to 1) of its row, which is not empty."""
    return max(1, min(HEAT_STEPS, round(share * HEAT_STEPS)))


def heat_class(share: float) -> str:
    """The class of a cell with `share` (0 to 1) of its row; empty for zero."""
    return f"heat{heat_step(share)}" if share > 0 else ""


def readable_on(colour: str) -> str:
    """Black or white, whichever has the higher contrast on `colour`."""
    return max((BLACK, WHITE), key=lambda ink: contrast(ink, colour))


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, 1 to 21 (WCAG 2.2, relative luminance)."""
    high, low = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in (v / 255 for v in _channels(colour))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def _channels(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)
