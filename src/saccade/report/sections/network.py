"""Inside: the layers with their sizes, and the filters of the first one."""

import numpy as np

from ...classify.classifier import Member
from ...core.errors import ModelError
from ...design.layers import Layer, read_layers
from ...design.text import pair, shape, window_words
from ...design.trace import trace
from ...explain.weights_view import filter_grid, tile_images
from ...models.new_head import network_words
from ..html import Child, Markup, element, folded, section, table
from ..pictures import Pictures

FOLDED_ABOVE = 24
HEADINGS = ["layer", "kind", "window", "output", "parameters", "multiply-adds", "receptive field"]
COUNTING = (
    "Window: f filter, s stride, p padding. A multiply-add is one multiplication and one addition, of convolution and "
    "dense layers, for one image. Receptive field: the side of the square of input pixels that one output value "
    "depends on, padding included."
)


def network_section(member: Member, pictures: Pictures) -> Markup:
    """Filters and layer table."""
    total = sum(parameter.numel() for parameter in member.model.parameters())
    words = f"{network_words(member.architecture)}: {total:,} parameters"
    try:
        layers = _layers(member)
    except ModelError as error:  # a network of a person's own that cannot be traced still has a report
        body = [element("p", {}, f"{words}. {error.message.splitlines()[0]}"), *_filters(member, pictures)]
        return section("network", "Network", *body)
    rows: list[list[Child]] = [_row(layer) for layer in layers]
    listing = table(HEADINGS, rows, "Layers of the network", numeric_from=3)
    multiply_adds = sum(layer.multiply_adds for layer in layers)
    words += f" and {multiply_adds:,} multiply-adds an image, in {len(layers)} layers."
    return section(
        "network",
        "Network",
        element("p", {}, words),
        *_filters(member, pictures),
        folded("All layers", listing) if len(rows) > FOLDED_ABOVE else listing,
        element("p", {"class": "key"}, COUNTING),
    )


def _layers(member: Member) -> tuple[Layer, ...]:
    """The rows of the design table, nonlinearities and normalisations folded into the layer before them."""
    sizes = {name: parameter.numel() for name, parameter in member.model.named_parameters()}
    return read_layers(trace(member.model, member.preprocessing.input_CHW), sizes, fold=True)


def _row(layer: Layer) -> list[Child]:
    field = f"{pair(layer.receptive_field)} px" if layer.receptive_field else "-"
    kind = " + ".join([layer.kind, *layer.folded])
    counts = [f"{layer.parameters:,}", f"{layer.multiply_adds:,}"]
    return [layer.name, kind, window_words(layer), shape(layer), *counts, field]


def _filters(member: Member, pictures: Pictures) -> list[Markup]:
    try:
        grid = filter_grid(member.model)
    except ModelError as error:
        return [element("p", {}, error.message)]
    columns = min(16, grid.num_shown, max(8, int(np.ceil(np.sqrt(2.5 * grid.num_shown)))))
    picture = pictures.plain(
        tile_images(grid.tile_NHWC, 64 if grid.num_shown <= 32 else 40, columns, see_through=True),
        "Filters of the first layer",
    )
    words = f"The {grid.num_filters} filters of the first layer, on one scale for all: {grid.legend}."
    return [
        element("figure", {"class": "filters"}, element("h3", {}, "Filters"), picture, element("figcaption", {}, words))
    ]
