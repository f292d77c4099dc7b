"""Inside: the layers with their sizes, and the filters of the first one."""

import numpy as np
import torch
from torch import nn

from ...core.errors import ModelError
from ...explain.subject import Classifier
from ...explain.weights_view import filter_grid, tile_images
from ..html import Child, Markup, element, folded, section, table
from ..pictures import Pictures

FOLDED_ABOVE = 24


def network_section(classifier: Classifier, pictures: Pictures) -> Markup:
    """Layer table and filters."""
    rows = layer_rows(classifier)
    total = sum(parameter.numel() for parameter in classifier.model.parameters())
    listing = table(["layer", "kind", "output", "parameters"], rows, "Layers of the network", numeric_from=2)
    words = f"{classifier.architecture}: {len(rows)} layers, {total:,} parameters."
    layers = folded("All layers", listing) if len(rows) > FOLDED_ABOVE else listing
    return section("network", "Inside", element("p", {}, words), *_filters(classifier, pictures), layers)


@torch.no_grad()
def layer_rows(classifier: Classifier) -> list[list[Child]]:
    """Name, kind, output size and parameters of every layer that computes, in order of computation, for one image."""
    rows: list[list[Child]] = []

    def look(name: str, module: nn.Module, output: torch.Tensor) -> None:
        size = "x".join(str(side) for side in output.shape[1:])
        own = sum(parameter.numel() for parameter in module.parameters())
        rows.append([name, type(module).__name__, size, f"{own:,}"])

    leaves = [(name, module) for name, module in classifier.model.named_modules() if not list(module.children())]
    handles = [
        module.register_forward_hook(lambda m, _i, output, name=name: look(name, m, output)) for name, module in leaves
    ]
    try:
        classifier.model(torch.zeros(1, *classifier.preprocessing.input_CHW))
    finally:
        for handle in handles:
            handle.remove()
    return rows


def _filters(classifier: Classifier, pictures: Pictures) -> list[Markup]:
    try:
        grid = filter_grid(classifier.model)
    except ModelError as error:
        return [element("p", {}, error.message)]
    columns = min(16, grid.num_shown, max(8, int(np.ceil(np.sqrt(2.5 * grid.num_shown)))))
    picture = pictures.plain(
        tile_images(grid.tile_NHWC, 64 if grid.num_shown <= 32 else 40, columns), "Filters of the first layer"
    )
    words = f"The {grid.num_filters} filters of the first layer, on one scale for all: {grid.legend}."
    return [
        element("figure", {"class": "filters"}, element("h3", {}, "Filters"), picture, element("figcaption", {}, words))
    ]
