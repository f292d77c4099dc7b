"""Padding and stride: how large the output is, and which pixels are used how often."""

from typing import Any

import numpy as np

from ..conv.geometry import Window, same_padding
from ..filters.photo import FilterOptions
from .edges import bench_state, equation, half, presets
from .lesson import Command, Equation, Lesson, Matrix, Section, Table, Toy, Words

SIDE = 6


def uses(side: int, window: Window) -> np.ndarray:
    """How often each pixel of a side x side image is used."""
    count = np.array(window.coverage(side), np.float64)
    use_HW: np.ndarray = np.outer(count, count)
    return use_HW


def _size_toy(hint: str, state: dict[str, int], limits: dict[str, list[int]]) -> Toy:
    return Toy(kind="sizes", title="Move the numbers", hint=hint, settings={"state": state, "limits": limits})


def _bench(image_HW: np.ndarray, controls: list[str], title: str, hint: str, change: dict[str, Any]) -> Toy:
    return Toy(
        kind="bench",
        title=title,
        hint=hint,
        settings={
            "state": bench_state(image_HW, "vertical") | change,
            "kernels": presets(("vertical", "sobel-x", "box", "gaussian")),
            "brushes": [0, 5, 10],
            "controls": ["paint", *controls],
        },
    )


def padding() -> Lesson:
    """Why images shrink, how often each pixel is used, what padding costs and changes."""
    valid, same = Window(3), Window(3, padding=same_padding(3))
    corner, middle = uses(SIDE, valid)[0, 0], uses(SIDE, valid).max()
    return Lesson(
        name="padding",
        title="Padding: why corners are used once",
        lead=(
            f"Without padding an image of n pixels and a filter of f leave n - f + 1: {SIDE} and 3 leave "
            f"{valid.output_size(SIDE)}. A corner lies under {corner:.0f} window, a pixel in the middle under "
            f"{middle:.0f}."
        ),
        sections=(
            Section(
                "How often each pixel is used",
                (
                    Equation(
                        (
                            Matrix(name=f"{SIDE}x{SIDE}, 3x3, no padding", value_HW=uses(SIDE, valid)),
                            Matrix(name="padded by 1", value_HW=uses(SIDE, same)),
                        )
                    ),
                    _size_toy(
                        "Each bar below the pixels is one place of the window.",
                        {"n": SIDE, "f": 3, "p": 0, "s": 1, "d": 1},
                        {"n": [3, 12], "f": [1, 5], "p": [0, 3]},
                    ),
                ),
            ),
            Section(
                "Sizes",
                (
                    _padding_table(),
                    Words(
                        "Same padding at stride 1 is (f - 1)/2 for odd f. An even f needs one more after than before."
                    ),
                ),
            ),
            Section(
                "What the border is filled with",
                (
                    Words(
                        "Zeros are an edge of their own: on a bright border the output answers where there is "
                        "nothing to "
                        "see. Reflected and replicated pixels do not."
                    ),
                    Words("Padded by zeros:"),
                    equation(half(), "vertical", FilterOptions(padding="zero")),
                    Words("By replicated pixels:"),
                    equation(half(), "vertical", FilterOptions(padding="replicate")),
                    _bench(
                        half(),
                        ["padding", "mode"],
                        "Pad by hand",
                        "The dashed cells are padding. Step the window over a border and compare the ways to fill it.",
                        {"padding": 1},
                    ),
                    Command(
                        line="saccade filter photo.jpg --kernel vertical --padding reflect --out edges.png",
                        what="On your own photo",
                    ),
                ),
            ),
        ),
    )


def _padding_table() -> Table:
    rows = []
    for kernel in (1, 2, 3, 4, 5, 7):
        before, after = same_padding(kernel)
        rows.append(
            [
                kernel,
                Window(kernel).formula(SIDE + 2),
                f"{before}, {after}",
                Window(kernel, padding=(before, after)).formula(SIDE + 2),
            ]
        )
    return Table(
        caption="Sizes with and without padding",
        headings=("f", f"n = {SIDE + 2}, no padding", "same: before, after", "with it"),
        rows=[[str(row[0]), *row[1:]] for row in rows],
    )


def stride() -> Lesson:
    """The floor, and what hangs outside."""
    window = Window(3, stride=2)
    image_HW = np.add.outer(np.arange(7.0), np.arange(7.0))
    missed = len(window.never_covered(8))
    return Lesson(
        name="stride",
        title="Stride: larger steps, and the floor",
        lead=(
            f"A window that moves s pixels at a time leaves floor((n + 2p - f)/s) + 1 places: 7 pixels, f = 3, s "
            f"= 2 leave "
            f"{window.output_size(7)}. What would hang over the end is not computed."
        ),
        sections=(
            Section(
                "The floor",
                (
                    _stride_table(),
                    Words(f"With 8 pixels the floor bites: {missed} row and {missed} column are never covered."),
                    _size_toy(
                        "Make n 8 and s 2: a dashed pixel is one that no window sees.",
                        {"n": 7, "f": 3, "p": 0, "s": 2, "d": 1},
                        {"n": [3, 14], "f": [1, 5], "p": [0, 3], "s": [1, 4], "d": [1, 3]},
                    ),
                ),
            ),
            Section(
                "The same numbers, fewer of them",
                (
                    Words("Stride 2 computes every second number of stride 1, in both directions."),
                    equation(image_HW, "box", FilterOptions()),
                    equation(image_HW, "box", FilterOptions(stride=2)),
                    _bench(
                        half(8),
                        ["padding", "stride", "dilation"],
                        "Step by hand",
                        "Change the stride, and look at the last row and column. Dilation pulls the taps apart.",
                        {"stride": 2},
                    ),
                    Command(
                        line="saccade filter photo.jpg --kernel vertical --stride 2 --out edges.png",
                        what="On your own photo",
                    ),
                ),
            ),
        ),
    )


def _stride_table() -> Table:
    rows = []
    for side, window in (
        (7, Window(3, 2)),
        (8, Window(3, 2)),
        (9, Window(3, 2)),
        (7, Window(3, 3)),
        (39, Window(3)),
        (37, Window(5, 2)),
    ):
        missed = ", ".join(str(position + 1) for position in window.never_covered(side)) or "none"
        rows.append([f"{side}, f {window.kernel}, s {window.stride}", window.formula(side), missed])
    return Table(caption="Sizes by stride", headings=("n, f, s", "size", "pixels never covered"), rows=rows)


LESSONS = {"padding": padding, "stride": stride}
