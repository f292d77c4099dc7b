"""Volumes, one layer of a network, pooling, and what sharing parameters saves."""

from collections.abc import Callable

import numpy as np

from ..conv.filters import parse_kernel
from ..conv.geometry import Window, conv_multiply_adds, conv_parameters, dense_multiply_adds, dense_parameters
from ..conv.reference import average_pool, cross_correlate, max_pool
from .edges import bench_state, half, plain_state
from .lesson import Cell, Command, Equation, Lesson, Matrix, Section, Table, Toy, Words

COLOURS = ("red", "green", "blue")
VALID = (Window(3), Window(3))
POOLED_HERE = np.array([[1.0, 3, 2, 1], [2, 9, 1, 1], [1, 3, 2, 3], [5, 6, 1, 2]])  # Ng 2017, week 1
NONE = np.zeros((3, 3))


def colour_image() -> np.ndarray:
    """A 6x6 image of three channels: a vertical edge in red, a horizontal one in green, nothing in blue."""
    image_CHW: np.ndarray = np.stack([half(), half().T, np.zeros((6, 6))])
    return image_CHW


def correlated(image_CHW: np.ndarray, kernel_OIHW: np.ndarray) -> np.ndarray:
    """output_OHW of one image, without padding."""
    output_OHW: np.ndarray = cross_correlate(image_CHW[None], kernel_OIHW, VALID)[0]
    return output_OHW


def volumes() -> Lesson:
    """Three channels in, as many out as there are filters."""
    vertical, horizontal = (parse_kernel(name).weights_HW for name in ("vertical", "horizontal"))
    image_CHW = colour_image()
    red_only = np.stack([vertical, NONE, NONE])[None]
    both = np.stack([np.stack([vertical] * 3), np.stack([horizontal] * 3)])
    toy = Toy(
        kind="bench",
        title="Three channels, two filters",
        hint=(
            "Each output adds the products of all three channels. Set the numbers of a channel to 0 and that "
            "colour no longer "
            "counts."
        ),
        settings={
            "state": plain_state(image_CHW.tolist(), both.tolist()),
            "kernels": {
                "vertical and horizontal": both.tolist(),
                "red only": np.stack([red_only[0], np.stack([NONE, horizontal, NONE])]).tolist(),
            },
            "brushes": [0, 5, 10],
            "controls": ["paint"],
        },
    )
    return Lesson(
        name="volumes",
        title="Volumes: a filter has as many channels as the image",
        lead=(
            "A colour image is three numbers at each place, and a 3x3 filter on it has 3x3x3 = "
            f"{conv_parameters(3, 1, (3, 3), bias=False)} of them. All products are added to one number, so one "
            f"filter makes one "
            "channel, whatever goes in."
        ),
        sections=(
            Section(
                "Red only",
                (
                    Words("Zeros in the other channels: edges of red count, all else does not."),
                    *_volume(image_CHW, red_only),
                ),
            ),
            Section(
                "Two filters, two channels",
                (
                    Words("n x n x c with k filters of f x f x c gives (n - f + 1) x (n - f + 1) x k:"),
                    _shapes(),
                    *_outputs(correlated(image_CHW, both), ("vertical in all colours", "horizontal in all colours")),
                    toy,
                    Command(
                        line="saccade filter photo.jpg --kernel vertical --out edges.png",
                        what="Each colour of your photo by itself",
                    ),
                    Command(
                        line="saccade filter photo.jpg --kernel vertical --grey --out edges.png", what="Its brightness"
                    ),
                ),
            ),
        ),
    )


def _volume(image_CHW: np.ndarray, kernel_OIHW: np.ndarray) -> list[Equation]:
    images = [
        Matrix(name=f"image, {name}", value_HW=image_CHW[number], shade="grey") for number, name in enumerate(COLOURS)
    ]
    kernels = [Matrix(name=f"kernel, {name}", value_HW=kernel_OIHW[0, number]) for number, name in enumerate(COLOURS)]
    return [
        Equation(images),
        Equation([*kernels, "=", Matrix(name="output", value_HW=correlated(image_CHW, kernel_OIHW)[0])]),
    ]


def _outputs(output_OHW: np.ndarray, names: tuple[str, ...]) -> list[Equation]:
    return [
        Equation([Matrix(name=name, value_HW=output_HW) for name, output_HW in zip(names, output_OHW, strict=True)])
    ]


def _shapes() -> Table:
    rows: list[list[Cell]] = []
    for side, channels, kernel, filters in ((6, 3, 3, 1), (6, 3, 3, 2), (32, 3, 5, 6), (28, 192, 1, 32)):
        out = Window(kernel).output_size(side)
        weights = conv_parameters(channels, filters, (kernel, kernel), bias=False)
        rows.append(
            [
                f"{side}x{side}x{channels}",
                f"{filters} of {kernel}x{kernel}x{channels}",
                f"{out}x{out}x{filters}",
                weights,
            ]
        )
    return Table(caption="Shapes", headings=("image", "filters", "output", "weights"), rows=rows, numeric_from=3)


def one_layer() -> Lesson:
    """Filters, bias, nonlinearity; 280 parameters."""
    parameters = conv_parameters(3, 10, (3, 3))
    toy = Toy(
        kind="bench",
        title="One filter with bias and ReLU",
        hint="Add a bias, switch ReLU on and off, and watch what is left of the negative numbers.",
        settings={
            "state": bench_state(half(mirrored=True), "vertical") | {"bias": [0], "relu": True},
            "brushes": [0, 5, 10],
            "controls": ["paint", "bias", "relu"],
        },
    )
    return Lesson(
        name="layer",
        title=f"One layer: {parameters} parameters, whatever the image size",
        lead=(
            "A convolutional layer is filters, one bias for each, and a nonlinearity on every number. Ten "
            "filters of 3x3x3 have "
            f"(3*3*3 + 1) * 10 = {parameters} parameters, on a thumbnail and on a photo of 1000x1000."
        ),
        sections=(
            Section("Bias, then ReLU", (toy,)),
            Section("The count does not depend on the image", (_layer_table(),)),
            Section(
                "The sizes of layer l",
                (
                    Words(
                        "f filter size, p padding, s stride, n_c filters; n_H and n_W follow by floor((n + 2p - "
                        "f)/s) + 1."
                    ),
                    _notation(),
                    Command(
                        line='saccade table "conv 10 f3 | gap | softmax" --input 1000x1000x3', what="Any layer, counted"
                    ),
                ),
            ),
        ),
    )


def _layer_table() -> Table:
    rows: list[list[Cell]] = []
    for side in (32, 224, 1000):
        out = Window(3).output_size(side)
        rows.append(
            [
                f"{side}x{side}x3",
                conv_parameters(3, 10, (3, 3)),
                conv_multiply_adds(3, (10, out, out), (3, 3)),
                out * out * 10,
            ]
        )
    return Table(
        caption="Ten 3x3x3 filters", headings=("image", "parameters", "multiply-adds", "activations"), rows=rows
    )


def _notation() -> Table:
    filters, channels, side, batch = 10, 3, 39, 32
    out = Window(3).output_size(side)
    return Table(
        caption="Shapes of layer l",
        headings=("what", "shape", f"example: {side}x{side}x{channels}, ten 3x3 filters"),
        rows=[
            ["input", "n_H(l-1) x n_W(l-1) x n_c(l-1)", f"{side}x{side}x{channels}"],
            ["weights", "f x f x n_c(l-1) x n_c(l)", f"3x3x{channels}x{filters}"],
            ["bias", "1 x 1 x 1 x n_c(l)", f"1x1x1x{filters}"],
            ["activations", "n_H x n_W x n_c", f"{out}x{out}x{filters}"],
            ["of a batch of m", "m x n_H x n_W x n_c", f"{batch}x{out}x{out}x{filters}"],
        ],
        numeric_from=3,
    )


def pooling() -> Lesson:
    """Maximum and mean, and what padding counts as."""
    two, three = (Window(2, 2), Window(2, 2)), (Window(3, 1), Window(3, 1))
    image_HW = POOLED_HERE
    toy = Toy(
        kind="pool",
        title="Paint and pool",
        hint=(
            "Choose the maximum or the mean, change window and stride, and click on an output to see where it "
            "comes from."
        ),
        settings={
            "state": {"image": image_HW.tolist(), "kind": "max", "f": 2, "s": 2, "p": 0},
            "brushes": [0, 3, 6, 9],
        },
    )
    return Lesson(
        name="pooling",
        title="Pooling: a smaller map without parameters",
        lead=(
            "A window keeps its largest number, or the mean. Usual are f = 2, s = 2, which halves height and "
            "width, and no padding. "
            "Each channel is pooled by itself; there is nothing to learn."
        ),
        sections=(
            Section(
                "Maximum and mean",
                (
                    Equation(
                        (
                            Matrix(name="image", value_HW=image_HW, shade="grey"),
                            "→",
                            Matrix(
                                name="max, f 2, s 2", value_HW=max_pool(image_HW[None, None], two)[0, 0], shade="grey"
                            ),
                            Matrix(
                                name="mean, f 2, s 2",
                                value_HW=average_pool(image_HW[None, None], two)[0, 0],
                                shade="grey",
                            ),
                            Matrix(
                                name="max, f 3, s 1", value_HW=max_pool(image_HW[None, None], three)[0, 0], shade="grey"
                            ),
                        )
                    ),
                    toy,
                ),
            ),
            Section("What padding counts as", _padded_pooling(image_HW)),
            Section(
                "At the end: a mean of everything",
                (
                    Words(
                        "Global average pooling turns the map into one number a channel, so that a dense layer "
                        "behind it is small:"
                    ),
                    _global(),
                    Command(line="saccade table googlenet", what="Where a network pools"),
                ),
            ),
        ),
    )


def _padded_pooling(image_HW: np.ndarray) -> list[Words | Equation]:
    padded = (Window(3, 2, 1), Window(3, 2, 1))
    batch = image_HW[None, None]
    return [
        Words(
            "Padding of a maximum counts as minus infinity and never wins. Padding of a mean counts as zeros by "
            "default, as in "
            "torch, which darkens the border; it can be left out of the count."
        ),
        Equation(
            (
                Matrix(name="max, f 3, s 2, p 1", value_HW=max_pool(batch, padded)[0, 0], shade="grey"),
                Matrix(name="mean, zeros count", value_HW=average_pool(batch, padded)[0, 0], shade="grey"),
                Matrix(name="mean, zeros left out", value_HW=average_pool(batch, padded, False)[0, 0], shade="grey"),
            )
        ),
    ]


def _global() -> Table:
    side, channels, units = 7, 1000, 10
    pooled = dense_parameters(channels, units)
    flat = dense_parameters(side * side * channels, units)
    return Table(
        caption="A dense layer of ten units behind a map",
        headings=("behind", "inputs", "parameters of ten units"),
        rows=[
            [f"the map, {side}x{side}x{channels}", side * side * channels, flat],
            [
                f"its mean, {Window(side).output_size(side)}x{Window(side).output_size(side)}x{channels}",
                channels,
                pooled,
            ],
        ],
    )


def sharing() -> Lesson:
    """14,450,688 against 456."""
    side, channels, kernel, filters = 32, 3, 5, 6
    out = Window(kernel).output_size(side)
    dense = dense_parameters(side * side * channels, out * out * filters, bias=False)
    convolution = conv_parameters(channels, filters, (kernel, kernel))
    state = {"side": side, "channels": channels, "f": kernel, "filters": filters}
    toy = Toy(
        kind="sharing",
        title="Move the sizes",
        hint="The dense layer grows with the fourth power of the image side, the convolution not at all.",
        settings={
            "state": state,
            "limits": {"side": [8, 256], "channels": [1, 3], "f": [1, 7], "filters": [1, 64]},
        },
    )
    return Lesson(
        name="sharing",
        title=f"Parameter sharing: {dense:,} against {convolution}",
        lead=(
            f"From {side}x{side}x{channels} to {out}x{out}x{filters}: a dense layer has a weight for every pair "
            f"of input and output, "
            f"{dense:,}. A convolution uses the same {convolution} parameters at every place: an edge is an edge "
            f"everywhere."
        ),
        sections=(
            Section("Counted", (_sharing_table(side, channels, kernel, filters), toy)),
            Section(
                "Two reasons in one",
                (
                    Words(
                        "Sharing: a filter that is useful in one place is useful in others. Sparsity: an output "
                        "depends on "
                        f"{kernel}x{kernel}x{channels} = {kernel * kernel * channels} inputs, not on all "
                        f"{side * side * channels:,}. "
                        "So a picture that is moved by a pixel gives maps that are moved by a pixel."
                    ),
                    _photo_table(),
                    Command(
                        line='saccade compare "fc 4704 | softmax" "conv 6 f5 | softmax" --input 32x32x3',
                        what="Both as networks",
                    ),
                ),
            ),
        ),
    )


def _sharing_table(side: int, channels: int, kernel: int, filters: int) -> Table:
    out = Window(kernel).output_size(side)
    inputs, outputs = side * side * channels, out * out * filters
    return Table(
        caption=f"{side}x{side}x{channels} to {out}x{out}x{filters}",
        headings=("layer", "how it is counted", "parameters", "multiply-adds"),
        rows=[
            [
                "dense, weights alone",
                f"{inputs:,} x {outputs:,}",
                dense_parameters(inputs, outputs, bias=False),
                dense_multiply_adds(inputs, outputs),
            ],
            [
                "convolution over three channels",
                f"({kernel}*{kernel}*{channels} + 1) * {filters}",
                conv_parameters(channels, filters, (kernel, kernel)),
                conv_multiply_adds(channels, (filters, out, out), (kernel, kernel)),
            ],
            [
                "convolution over one channel",
                f"({kernel}*{kernel} + 1) * {filters}",
                conv_parameters(1, filters, (kernel, kernel)),
                conv_multiply_adds(1, (filters, out, out), (kernel, kernel)),
            ],
        ],
        numeric_from=2,
    )


def _photo_table() -> Table:
    inputs = 1000 * 1000 * 3
    return Table(
        caption="A photo of 1000x1000x3",
        headings=("layer", "parameters"),
        rows=[
            ["dense, 1,000 units", dense_parameters(inputs, 1000, bias=False)],
            ["ten 3x3 filters", conv_parameters(3, 10, (3, 3))],
        ],
    )


LESSONS: dict[str, Callable[[], Lesson]] = {
    "volumes": volumes,
    "layer": one_layer,
    "pooling": pooling,
    "sharing": sharing,
}
