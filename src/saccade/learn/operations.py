"""Flip or not, and kernels that are learned."""

import numpy as np

from ..conv.filters import parse_kernel
from ..conv.reference import convolve, cross_correlate, flip, full_windows
from ..filters.photo import FilterOptions
from ..filters.target import Target, relative_error
from .edges import bench_state, equation, filtered, kernel_rows, presets
from .lesson import Cell, Command, Equation, Lesson, Matrix, Section, Table, Toy, Words

# The image of the convolution examples: any numbers, no symmetry.
UNEVEN = np.array([[0.0, 1, 4, 9, 16], [8, 2, 15, 13, 13], [15, 2, 8, 16, 9], [4, 1, 0, 1, 4], [9, 16, 8, 2, 15]])
FLIPPED_HERE = np.array([[3.0, 4, 5], [1, 0, 2], [-1, 9, 7]])
LEARNED = ("sobel-x", "scharr-x", "45deg", "70deg")
SIDE = 16
SEED = 0


def flip_or_not() -> Lesson:
    """Cross-correlation beside true convolution."""
    toy = Toy(
        kind="bench",
        title="Both operations on the same image",
        hint="Switch the operation and watch the terms: true convolution takes the kernel's numbers from its end.",
        settings={
            "state": bench_state(UNEVEN, "emboss"),
            "kernels": presets(("emboss", "sobel-x", "scharr-x", "gaussian", "laplacian")),
            "controls": ["operation"],
        },
    )
    true = FilterOptions(true_convolution=True)
    return Lesson(
        name="flip",
        title="Flip or not: cross-correlation and true convolution",
        lead=(
            "Networks lay the kernel on the image as it is: cross-correlation. Convolution proper turns it by "
            "180 degrees first. "
            "For a kernel that is learned it makes no difference, for one that is written down it may."
        ),
        sections=(
            Section(
                "What flipping does",
                (
                    Equation(
                        (
                            Matrix(name="kernel", value_HW=FLIPPED_HERE),
                            "→",
                            Matrix(name="flipped in both directions", value_HW=flip(FLIPPED_HERE)),
                        )
                    ),
                ),
            ),
            Section(
                "An uneven kernel: the results differ",
                (
                    Words("Cross-correlation with emboss:"),
                    equation(UNEVEN, "emboss"),
                    Words("True convolution with the same kernel:"),
                    equation(UNEVEN, "emboss", true),
                    toy,
                ),
            ),
            Section(
                "Sobel: only the sign changes",
                (
                    Words(
                        "Sobel and Scharr turn into their negatives. Shown as absolute values both operations look the "
                        "same, which hides the difference: look at signed values."
                    ),
                    Equation(
                        (
                            Matrix(name="cross-correlation", value_HW=filtered(UNEVEN, "sobel-x")),
                            Matrix(name="true convolution", value_HW=filtered(UNEVEN, "sobel-x", true)),
                        )
                    ),
                ),
            ),
            Section(
                "Why mathematicians flip",
                (
                    Words(
                        "Only true convolution is associative: two kernels one after the other are one kernel, and the "
                        "order does not matter. With full padding, A the image, B Sobel, C emboss:"
                    ),
                    _associativity(),
                    Command(
                        line="saccade filter photo.jpg --kernel emboss --true-convolution --out embossed.png",
                        what="On your own photo",
                    ),
                ),
            ),
        ),
    )


def _associativity() -> Table:
    first, second = (parse_kernel(name).weights_HW[None, None] for name in ("sobel-x", "emboss"))
    rows: list[list[Cell]] = []
    for name, operate in (("true convolution", convolve), ("cross-correlation", cross_correlate)):
        full = full_windows(first[0, 0])
        one_by_one = operate(operate(UNEVEN[None, None], first, full), second, full)
        kernels = operate(first, second, full)
        at_once = operate(UNEVEN[None, None], kernels, full_windows(kernels[0, 0]))
        rows.append([name, float(np.abs(one_by_one - at_once).max())])
    return Table(
        caption="Whether two kernels may be joined",
        headings=("operation", "largest difference of (A*B)*C and A*(B*C)"),
        rows=rows,
    )


def learned_edges() -> Lesson:
    """Gradient descent finds the nine numbers."""
    image_HW = _texture()
    toy = Toy(
        kind="descent",
        title="Watch the nine numbers find themselves",
        hint=(
            "Press Learn. The target is what the true kernel, turned by the angle, answers; the descent sees "
            "image and target "
            "only. Above 100 % of the stable limit the loss grows without end: try 105 %."
        ),
        settings={
            "image": image_HW.tolist(),
            "kernels": {name: kernel_rows(parse_kernel(name)) for name in ("sobel-x", "scharr-x", "vertical")},
            "angle": 45,
        },
    )
    return Lesson(
        name="learned-edges",
        title="Learned edges: the nine numbers as parameters",
        lead=(
            "Nobody has to write the kernel. Start from nine random numbers w1 to w9, compare what they answer "
            "with the edges "
            "that are wanted, and follow the gradient: Sobel, Scharr or an edge at any angle comes out."
        ),
        sections=(
            Section("Live", (toy,)),
            Section(
                "What comes out",
                (
                    Words(
                        f"Learned from the same {SIDE}x{SIDE} image by gradient descent, from random numbers "
                        f"(seed {SEED}):"
                    ),
                    *_learned(image_HW),
                ),
            ),
            Section(
                "On your own photo",
                (
                    Command(
                        line="saccade filter photo.jpg --learn sobel-x", what="From a photo and what Sobel makes of it"
                    ),
                    Command(line="saccade filter photo.jpg --learn 70deg", what="An edge at 70 degrees"),
                ),
            ),
        ),
    )


def _texture() -> np.ndarray:
    """An image of random greys: neighbouring pixels differ, so that every number of the kernel matters."""
    image_HW: np.ndarray = np.random.Generator(np.random.PCG64(SEED)).integers(0, 10, (SIDE, SIDE)).astype(np.float64)
    return image_HW


def _learned(image_HW: np.ndarray) -> list[Equation | Table]:
    from ..filters.learning import learn_kernel  # here: the other topics do not need torch

    parts: list[Equation | Table] = []
    rows: list[list[Cell]] = []
    for name in LEARNED:
        true_HW = parse_kernel(name).weights_HW
        target = Target(value_HWC=filtered(image_HW, name)[..., None], is_picture=False)
        learned = learn_kernel(image_HW[..., None], target, (3, 3), SEED)
        error = relative_error(learned.weights_HW, true_HW)
        rows.append([name, len(learned.losses) - 1, learned.losses[0], learned.losses[-1], f"{error or 0:.0e}"])
        parts.append(
            Equation(
                (
                    Matrix(name=f"{name}, learned", value_HW=learned.weights_HW),
                    Matrix(name="the true numbers", value_HW=true_HW),
                )
            )
        )
    table = Table(
        caption="The descents",
        headings=("target", "steps", "mean squared error before", "after", "relative error of the numbers"),
        rows=rows,
    )
    return [*parts, table]


LESSONS = {"flip": flip_or_not, "learned-edges": learned_edges}
