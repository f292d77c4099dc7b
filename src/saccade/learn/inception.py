"""1x1 convolutions, the Inception block and GoogLeNet."""

from collections.abc import Callable

import numpy as np

from ..conv.geometry import Window, conv_multiply_adds, conv_parameters
from ..conv.reference import cross_correlate
from ..models.zoo.googlenet import AUXILIARY_BEHIND, AUXILIARY_WEIGHT, TABLE_1
from ..models.zoo.inception import BLOCK_INPUT, ROW_3A, InceptionConfig
from .edges import plain_state
from .lesson import Cell, Command, Equation, Lesson, Matrix, Section, Table, Toy, Words
from .walk import table_of

SIDE, CHANNELS = BLOCK_INPUT.input_CHW[1], BLOCK_INPUT.input_CHW[0]
ONE = (Window(1), Window(1))


def one_by_one() -> Lesson:
    """A dense layer at each place."""
    draw = np.random.Generator(np.random.PCG64(1))
    image_CHW = draw.integers(0, 5, (3, 4, 4)).astype(np.float64)
    weights_OI = np.array([[1.0, -1, 0], [1, 1, 1]])
    output_OHW = cross_correlate(image_CHW[None], weights_OI[:, :, None, None], ONE)[0]
    here = image_CHW[:, 0, 0]
    return Lesson(
        name="one-by-one",
        title="1x1 convolution: a dense layer at every place",
        lead=(
            "On one channel a 1x1 filter only multiplies. On many channels it adds them up with weights, at each "
            "place by itself: a "
            "dense layer that slides. It changes the number of channels and nothing else."
        ),
        sections=(
            Section(
                "The same weights at each place",
                (
                    Equation(
                        [
                            Matrix(name=f"channel {number + 1}", value_HW=image_HW, shade="grey")
                            for number, image_HW in enumerate(image_CHW)
                        ]
                    ),
                    Equation(
                        [
                            Matrix(name="weights, a row a filter", value_HW=weights_OI),
                            "→",
                            *(
                                Matrix(name=f"output {number + 1}", value_HW=output_HW)
                                for number, output_HW in enumerate(output_OHW)
                            ),
                        ]
                    ),
                    Words(
                        "At the upper left, the weights times the three numbers of that place, as a dense layer has it:"
                    ),
                    Equation(
                        (
                            Matrix(name="weights", value_HW=weights_OI),
                            "·",
                            Matrix(name="place", value_HW=here[:, None], shade="grey"),
                            "=",
                            Matrix(name="both outputs there", value_HW=(weights_OI @ here)[:, None]),
                        )
                    ),
                    _one_toy(image_CHW, weights_OI),
                ),
            ),
            Section(
                "Channels go down, height and width stay",
                (
                    Words(
                        "Pooling shrinks height and width; a 1x1 convolution shrinks the channels, or keeps them "
                        "and adds a nonlinearity."
                    ),
                    _shrinking(),
                    Command(line="saccade table nin", what="A network of them (Network in Network, Lin 2013)"),
                ),
            ),
        ),
    )


def _one_toy(image_CHW: np.ndarray, weights_OI: np.ndarray) -> Toy:
    return Toy(
        kind="bench",
        title="Move the place, change the weights",
        hint="Click on an output. Its sum has one term a channel, and no neighbour takes part.",
        settings={
            "state": plain_state(image_CHW.tolist(), weights_OI[:, :, None, None].tolist()),
            "brushes": [0, 2, 4],
            "controls": ["paint", "relu"],
        },
    )


def _shrinking() -> Table:
    filters = ROW_3A.pool
    return Table(
        caption="28x28x192 through 1x1 filters",
        headings=("input", "filters", "output", "parameters", "multiply-adds"),
        rows=[
            [
                f"{SIDE}x{SIDE}x{CHANNELS}",
                f"{filters} of 1x1x{CHANNELS}",
                f"{SIDE}x{SIDE}x{filters}",
                conv_parameters(CHANNELS, filters, (1, 1)),
                conv_multiply_adds(CHANNELS, (filters, SIDE, SIDE), (1, 1)),
            ]
        ],
        numeric_from=3,
    )


def five_by_five() -> tuple[int, int, int]:
    """Multiplications of the block's 5x5 branch: without a bottleneck, of the bottleneck, of the 5x5 behind it."""
    output = (ROW_3A.filter5x5, SIDE, SIDE)
    naive = conv_multiply_adds(CHANNELS, output, (5, 5))
    reduced = conv_multiply_adds(CHANNELS, (ROW_3A.reduce5x5, SIDE, SIDE), (1, 1))
    behind = conv_multiply_adds(ROW_3A.reduce5x5, output, (5, 5))
    return naive, reduced, behind


def inception() -> Lesson:
    """120,422,400 against 12,443,648."""
    naive, reduced, behind = five_by_five()
    return Lesson(
        name="inception",
        title=f"Inception: {naive:,} multiplications, or {reduced + behind:,}",
        lead=(
            "Which filter size is best? Take all of them side by side and join their channels: "
            f"{ROW_3A.plain} + {ROW_3A.filter3x3} + {ROW_3A.filter5x5} + {ROW_3A.pool} = {ROW_3A.channels}. "
            "The price is paid by the 5x5, and a 1x1 bottleneck in front of it brings it down to about a tenth."
        ),
        sections=(
            Section(
                "The 5x5 branch",
                (
                    Table(
                        caption="Multiplications of the 5x5 branch",
                        headings=("what", "how it is counted", "multiplications"),
                        rows=[
                            ["5x5 on all channels", f"{SIDE}*{SIDE}*{ROW_3A.filter5x5} * 5*5*{CHANNELS}", naive],
                            ["bottleneck 1x1", f"{SIDE}*{SIDE}*{ROW_3A.reduce5x5} * {CHANNELS}", reduced],
                            ["5x5 behind it", f"{SIDE}*{SIDE}*{ROW_3A.filter5x5} * 5*5*{ROW_3A.reduce5x5}", behind],
                            ["both", f"{(reduced + behind) / naive:.3f} of it", reduced + behind],
                        ],
                        numeric_from=2,
                    ),
                    Toy(
                        kind="bottleneck",
                        title="How narrow may the bottleneck be?",
                        hint="At which width does the bottleneck no longer save anything?",
                        settings={
                            "side": SIDE,
                            "channels": CHANNELS,
                            "filters": ROW_3A.filter5x5,
                            "kernel": 5,
                            "width": ROW_3A.reduce5x5,
                        },
                    ),
                ),
            ),
            Section(
                "The whole block",
                (
                    _block_table(),
                    Command(line="saccade compare inception-naive inception-block", what="Both forms of the block"),
                ),
            ),
        ),
    )


def _block_table() -> Table:
    rows: list[list[Cell]] = []
    for name, reduce, filters, kernel in (
        ("1x1", 0, ROW_3A.plain, 1),
        ("1x1, then 3x3", ROW_3A.reduce3x3, ROW_3A.filter3x3, 3),
        ("1x1, then 5x5", ROW_3A.reduce5x5, ROW_3A.filter5x5, 5),
        ("max pooling, then 1x1", 0, ROW_3A.pool, 1),
    ):
        inner = reduce or CHANNELS
        work = conv_multiply_adds(inner, (filters, SIDE, SIDE), (kernel, kernel))
        work += conv_multiply_adds(CHANNELS, (reduce, SIDE, SIDE), (1, 1)) if reduce else 0
        rows.append([name, str(reduce or "none"), f"{SIDE}x{SIDE}x{filters}", work])
    rows.append(["joined", "", f"{SIDE}x{SIDE}x{ROW_3A.channels}", sum(int(row[3]) for row in rows)])
    return Table(
        caption="The branches of the block",
        headings=("branch", "bottleneck", "output", "multiplications"),
        rows=rows,
        numeric_from=3,
    )


def googlenet() -> Lesson:
    """Nine blocks and two side branches."""
    design = table_of("googlenet")
    training = design.totals.not_run
    places = " and ".join(AUXILIARY_BEHIND)
    return Lesson(
        name="googlenet",
        title="GoogLeNet: nine blocks, two side branches",
        lead=(
            f"Szegedy 2014: {len(TABLE_1)} Inception blocks with max pooling between them, and a global mean "
            f"instead of large dense "
            f"layers. {design.totals.parameters - training:,} parameters answer; {training:,} more sit in side "
            f"branches that only "
            f"training uses."
        ),
        sections=(
            Section("The blocks", (_blocks(),)),
            Section(
                "Side branches",
                (
                    Words(
                        f"Behind blocks {places} a small network predicts the class from a hidden map. Its loss "
                        f"counts with weight "
                        f"{AUXILIARY_WEIGHT:g}: loss = main + {AUXILIARY_WEIGHT:g} * first + {AUXILIARY_WEIGHT:g} "
                        f"* second. That "
                        "regularises, hands a gradient to the middle of the network, and shows that hidden "
                        "layers already predict. "
                        "Answers leave them out."
                    ),
                    Toy(
                        kind="losses",
                        title="What the side branches weigh",
                        hint=(
                            "Three losses of one batch: move them and the weight, and see what share of the "
                            "gradient's cause each has."
                        ),
                        settings={"weight": AUXILIARY_WEIGHT, "names": ["main", *AUXILIARY_BEHIND]},
                    ),
                    Command(line="saccade table googlenet", what="All its layers"),
                    Command(
                        line="saccade train photos/ --model googlenet",
                        what="Trained on your own photos, side branches included",
                    ),
                ),
            ),
        ),
    )


def _blocks() -> Table:
    rows: list[list[Cell]] = []
    for name, channels in TABLE_1.items():
        parts = dict(zip(("plain", "reduce3x3", "filter3x3", "reduce5x5", "filter5x5", "pool"), channels, strict=True))
        config = InceptionConfig(**parts)
        rows.append([name, *channels, config.channels])
    headings = ("block", "1x1", "3x3 reduce", "3x3", "5x5 reduce", "5x5", "pool 1x1", "together")
    return Table(caption="Channels of the nine blocks", headings=headings, rows=rows)


LESSONS: dict[str, Callable[[], Lesson]] = {"one-by-one": one_by_one, "inception": inception, "googlenet": googlenet}
