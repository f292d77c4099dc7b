"""Edges, and the two operations that find them: the small images of the field's notes, filtered by `saccade filter`."""

from typing import Any

import numpy as np

from ..conv.filters import KERNELS, Kernel, parse_kernel
from ..filters.photo import FilterOptions, filter_photo
from .lesson import Command, Equation, Lesson, Matrix, Section, Table, Toy, Words

BRIGHT = 10.0
# The lecture's kernel and image of the flip: Ng 2017, Convolutional neural networks, week 1.
FLIPPED_HERE = np.array([[3.0, 4, 5], [1, 0, 2], [-1, 9, 7]])
PRESETS = ("vertical", "horizontal", "sobel-x", "sobel-y", "scharr-x", "scharr-y", "prewitt-x", "prewitt-y")
MORE_PRESETS = ("laplacian", "emboss", "sharpen", "box", "gaussian", "identity")


def filtered(image_HW: np.ndarray, kernel: str, options: FilterOptions | None = None) -> np.ndarray:
    """What `saccade filter` gives: response_HW."""
    response_HWC = filter_photo(image_HW[..., None], parse_kernel(kernel), options or FilterOptions()).response_HWC
    response_HW: np.ndarray = response_HWC[..., 0]
    return response_HW


def half(columns: int = 6, mirrored: bool = False) -> np.ndarray:
    """The image whose left half is bright, or its right half."""
    image_HW = np.zeros((columns, columns))
    image_HW[:, columns // 2 :] = BRIGHT
    return image_HW if mirrored else image_HW[:, ::-1].copy()


def quarters() -> np.ndarray:
    """The 6x6 image whose upper left and lower right quarters are bright."""
    return np.kron(np.eye(2), np.full((3, 3), BRIGHT))


def equation(image_HW: np.ndarray, kernel: str, options: FilterOptions | None = None) -> Equation:
    """image * kernel = output."""
    return Equation(
        (
            Matrix(name="image", value_HW=image_HW, shade="grey"),
            "*",
            Matrix(name=f"kernel: {kernel}", value_HW=parse_kernel(kernel).weights_HW),
            "=",
            Matrix(name="output", value_HW=filtered(image_HW, kernel, options)),
        )
    )


def kernel_rows(kernel: Kernel) -> list[list[float]]:
    """Its rows, for a script."""
    rows: list[list[float]] = kernel.weights_HW.tolist()
    return rows


def presets(names: tuple[str, ...]) -> dict[str, Any]:
    """Name -> kernel[filter][channel][row][column], for a bench of one filter and one channel."""
    return {name: [[kernel_rows(parse_kernel(name))]] for name in names}


def bench_state(image_HW: np.ndarray, kernel: str) -> dict[str, Any]:
    """What a bench of one channel and one filter begins with."""
    return plain_state([image_HW.tolist()], [[kernel_rows(parse_kernel(kernel))]])


def plain_state(image: list[Any], kernel: list[Any]) -> dict[str, Any]:
    """A bench of image[channel][row][column] and kernel[filter][channel][row][column], nothing else chosen."""
    return {
        "image": image,
        "kernel": kernel,
        "operation": "cross-correlation",
        "padding": 0,
        "mode": "zero",
        "stride": 1,
        "dilation": 1,
        "bias": None,
        "relu": False,
        "pool": "none",
    }


def edges() -> Lesson:
    """The 6x6 tables, the weights in the middle, and a grid to paint."""
    cross = np.zeros((8, 8))
    cross[3:5], cross[:, 3:5] = BRIGHT, BRIGHT
    images = {
        "left half bright": half(8),
        "right half bright": half(8, mirrored=True),
        "four quarters": np.kron(np.eye(2), np.full((4, 4), BRIGHT)),
        "cross": cross,
        "diagonal": np.tril(np.full((8, 8), BRIGHT)),
        "empty": np.zeros((8, 8)),
    }
    toy = Toy(
        kind="bench",
        title="Paint an image and move the window",
        hint=(
            "Paint with the pointer, or with the arrow keys and Enter. Click on a number of the output to see "
            "the sum it "
            "comes from, change any number of the kernel, or press Play."
        ),
        settings={
            "state": bench_state(half(8), "vertical"),
            "images": {name: [image_HW.tolist()] for name, image_HW in images.items()},
            "kernels": presets((*PRESETS, *MORE_PRESETS)),
            "brushes": [0, 5, 10],
            "controls": ["paint"],
        },
    )
    return Lesson(
        name="edges",
        title="Edges: nine numbers find them",
        lead=(
            "Lay a 3x3 kernel on the image, multiply each of the nine pairs, add them up, move one step. Where "
            "the image is "
            "the same on both sides the sum is 0; at an edge it is large, and its sign says which side is brighter."
        ),
        sections=(
            Section("A vertical edge", (equation(half(), "vertical"), toy)),
            Section(
                "Dark to bright",
                (
                    Words("The mirrored image has the same edge the other way round, and the output the other sign."),
                    equation(half(mirrored=True), "vertical"),
                ),
            ),
            Section(
                "A horizontal edge, and what lies between",
                (
                    _between(),
                    equation(quarters(), "horizontal"),
                ),
            ),
            Section(
                "More weight in the middle",
                (
                    Words("Sobel and Scharr smooth along the edge, so that noise counts less."),
                    _derivatives(),
                    _own_photo("scharr-x"),
                ),
            ),
        ),
    )


def _between() -> Words:
    """How many places see a part of both edges."""
    response_HW = np.abs(filtered(quarters(), "horizontal"))
    between = int(((response_HW > 0) & (response_HW < response_HW.max())).sum())
    return Words(
        f"Where two edges meet, the window sees a part of both: {between} of the {response_HW.size} numbers lie "
        f"between. On an "
        f"image of 6x6 that is much; in a photo such places are rare."
    )


def _derivatives() -> Table:
    rows = []
    for name in PRESETS:
        response_HW = filtered(half(), name)
        weights = "; ".join(" ".join(f"{value:g}" for value in row) for row in parse_kernel(name).weights_HW.tolist())
        rows.append(
            [
                name,
                weights,
                " ".join(f"{value:g}" for value in response_HW[0].tolist()),
                KERNELS[name].source.partition(",")[0],
            ]
        )
    return Table(
        caption="Kernels for edges",
        headings=("kernel", "its rows", "a row of its output on the left-bright image", "from"),
        rows=rows,
        numeric_from=4,
    )


def _own_photo(kernel: str) -> Command:
    return Command(line=f"saccade filter photo.jpg --kernel {kernel} --out edges.png", what="On your own photo")


LESSONS = {"edges": edges}
