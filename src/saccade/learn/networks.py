"""Networks walked through: the two worked examples and the classic ones."""

from collections.abc import Callable

from .lesson import Cell, Command, Lesson, Part, Section, Table, Words
from .walk import Design, layer_rows, share_words, table_of, walker

HINT = "Step through the layers: how the size follows from the one before, and where the parameters come from."


def _lesson(name: str, title: str, lead: str, design: Design, others: tuple[Section, ...]) -> Lesson:
    """A network: the walk, its table, then what is special about it."""
    walk: list[Part] = [walker(design, "Walk through it", HINT)]
    counted: list[Part] = [
        layer_rows(design),
        Words(share_words(design)),
        Command(line=f"saccade table {design.model}", what="With receptive fields and memory"),
        Command(line=f"saccade train photos/ --model {design.model}", what="Trained on your own photos"),
    ]
    sections = (Section("Layer by layer", walk), Section("Counted", counted), *others)
    return Lesson(name=name, title=title, lead=lead, sections=sections)


def network_a() -> Lesson:
    """39x39x3 to 7x7x40 to 1960 numbers."""
    design = table_of("convnet-a")
    last = design.layers[-2].output
    return _lesson(
        "network-a",
        "Network A: three convolutions and a softmax",
        f"Height and width go down, channels go up, until the map is a list of {last[0]:,} numbers for the "
        f"softmax to read."
        if len(last) == 1
        else f"Height and width go down, channels go up, until {last[1]}x{last[2]}x{last[0]} = "
        f"{last[0] * last[1] * last[2]:,} numbers are left for the softmax to read.",
        design,
        (),
    )


def network_b() -> Lesson:
    """LeNet-5-like, with the field's table."""
    design = table_of("convnet-b")
    return _lesson(
        "network-b",
        "Network B: convolution, pooling, dense",
        "Like LeNet-5, for colour images. A pooling has no parameters and counts as one layer with its convolution. "
        "Activations shrink slowly; most parameters sit in the dense layers.",
        design,
        (),
    )


def lenet() -> Lesson:
    """As published and as read today."""
    design, published = table_of("lenet5"), table_of("lenet5-1998")
    return _lesson(
        "lenet",
        "LeNet-5: the pattern of all that followed",
        f"LeCun 1998, for digits: {design.totals.parameters:,} parameters in today's reading. Convolution, pooling, "
        f"convolution, pooling, then dense layers.",
        design,
        (
            Section(
                "As published, and as read today",
                (
                    Words(
                        "The paper has scaled tanh for ReLU, means with a gain and a bias for maxima, a table of "
                        "which maps of C3 "
                        "see which of S2, and distances to codes for the softmax."
                    ),
                    _beside([("today, lenet5", design), ("1998, lenet5-1998", published)]),
                    Command(line="saccade train digits --model lenet5-1998", what="Trained on handwritten digits"),
                ),
            ),
        ),
    )


def alexnet() -> Lesson:
    """Groups, response normalisation, dense layers."""
    design, tower = table_of("alexnet"), table_of("alexnet-one-tower")
    normalised = [layer.output for layer in design.layers if "norm" in (layer.kind, *layer.folded)][-1]
    grouped = [layer for layer in design.layers if layer.groups and layer.groups > 1]
    return _lesson(
        "alexnet",
        "AlexNet: large, with ReLU, on two devices",
        f"Krizhevsky 2012: {design.totals.parameters:,} parameters, a thousand classes, ReLU instead of tanh, dropout, "
        f"overlapping pooling of 3x3 at stride 2.",
        design,
        (
            Section(
                "Two devices, so groups",
                (
                    Words(
                        f"{len(grouped)} of its convolutions see only the half of the channels that lies on their "
                        f"own device: "
                        f"groups = {grouped[0].groups}. That halves their weights."
                    ),
                    Table(
                        caption="The grouped convolutions",
                        headings=("layer", "groups", "parameters"),
                        rows=[[layer.name, layer.groups or 1, layer.parameters] for layer in grouped],
                    ),
                    Words(
                        f"Local response normalisation divides a number by its neighbours across channels: at "
                        f"each position of a map of "
                        f"{normalised[1]}x{normalised[2]}x{normalised[0]} it looks along {normalised[0]} numbers. "
                        f"Later networks leave it out."
                    ),
                    _beside([("alexnet", design), ("alexnet-one-tower", tower)]),
                ),
            ),
        ),
    )


def vgg() -> Lesson:
    """Only 3x3 and 2x2."""
    design, deeper = table_of("vgg16"), table_of("vgg19")
    widths = list(dict.fromkeys(layer.output[0] for layer in design.layers if layer.kind == "conv"))
    return _lesson(
        "vgg",
        "VGG-16: nothing but 3x3 and 2x2",
        f"Simonyan 2014: 3x3 convolutions that keep the size, 2x2 pooling that halves it, channels "
        f"{', '.join(map(str, widths))}. {design.totals.parameters:,} parameters.",
        design,
        (
            Section(
                "Deeper",
                (
                    Words(
                        "Three more convolutions make VGG-19. Two 3x3 see as much as one 5x5, with fewer weights "
                        "and one "
                        "nonlinearity more."
                    ),
                    _beside([("vgg16", design), ("vgg19", deeper)]),
                    Command(line="saccade compare vgg16 vgg19 resnet50", what="Beside others"),
                ),
            ),
        ),
    )


def _beside(designs: list[tuple[str, Design]]) -> Table:
    rows: list[list[Cell]] = [
        [name, design.totals.layers, design.totals.parameters, design.totals.multiply_adds] for name, design in designs
    ]
    return Table(
        caption="Side by side", headings=("network", "layers", "parameters", "multiply-adds an image"), rows=rows
    )


LESSONS: dict[str, Callable[[], Lesson]] = {
    "network-a": network_a,
    "network-b": network_b,
    "lenet": lenet,
    "alexnet": alexnet,
    "vgg": vgg,
}
