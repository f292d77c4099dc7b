"""A network walked through, from its layer table: how each size and each number of parameters comes about."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..conv.geometry import Window, conv_parameters, dense_parameters
from ..design.layers import Layer
from ..design.table import counted_layers
from ..design.target import resolve_target
from ..design.text import Totals
from .lesson import Cell, Table, Toy

KINDS = {"conv": "convolution", "max pool": "max pooling", "avg pool": "average pooling", "norm": "normalisation"}


@dataclass(frozen=True, kw_only=True)
class Design:
    """The layers and totals of a network for images of `input_CHW`, as `saccade table` has them."""

    model: str
    input_CHW: tuple[int, int, int]
    layers: tuple[Layer, ...]
    totals: Totals


def table_of(network: str) -> Design:
    """The layers of a network of ours at its own input."""
    target = resolve_target(network)
    layers, totals = counted_layers(target.model, target.input_CHW)
    return Design(model=network, input_CHW=target.input_CHW, layers=layers, totals=totals)


def shape_words(output: Sequence[int]) -> str:
    """28x28x6, as the field writes it: height, width, channels."""
    return "x".join(str(side) for side in (*output[1:], output[0]))


def short_name(layer: Layer) -> str:
    """The last part of the layer's name that says something."""
    parts = [part for part in layer.name.split(".") if part not in ("convolution", "pool", "relu")]
    name = parts[-1] if parts else layer.name
    return f"{name} pool" if "pool" in layer.kind and "pool" not in name else name


def walker(design: Design, title: str, hint: str) -> Toy:
    """The thing to move: its layers one by one."""
    channels, height, width = design.input_CHW
    size = channels * height * width
    first = {
        "name": "input",
        "kind": "the image",
        "output": [channels, height, width],
        "shape": shape_words(design.input_CHW),
        "activations": size,
        "parameters": 0,
        "multiply_adds": 0,
        "words": [f"{shape_words(design.input_CHW)} = {size:,} numbers"],
    }
    layers: list[dict[str, Any]] = [first]
    before: tuple[int, ...] = design.input_CHW
    for layer in design.layers:
        layers.append(_step(layer, before))
        before = layer.output
    return Toy(kind="walker", title=title, hint=hint, settings={"layers": layers})


def _step(layer: Layer, before: tuple[int, ...]) -> dict[str, Any]:
    return {
        "name": short_name(layer),
        "kind": KINDS.get(layer.kind, layer.kind),
        "output": list(layer.output),
        "shape": shape_words(layer.output),
        "activations": layer.activations,
        "parameters": layer.parameters,
        "multiply_adds": layer.multiply_adds,
        "words": _words(layer, before),
    }


def _words(layer: Layer, before: tuple[int, ...]) -> list[str]:
    lines = [f"{shape_words(before)} -> {shape_words(layer.output)}, {layer.activations:,} numbers"]
    lines += _size_words(layer, before)
    lines.append(f"{_parameter_words(layer, before)}; {layer.multiply_adds:,} multiply-adds")
    if layer.receptive_field and len(layer.output) == 3:
        lines.append(f"each number sees {layer.receptive_field[0]}x{layer.receptive_field[1]} pixels of the image")
    if layer.folded:
        lines.append(f"then {', '.join(layer.folded)}")
    return lines


def _size_words(layer: Layer, before: tuple[int, ...]) -> list[str]:
    """The size formula, where it gives this size."""
    if layer.kernel is None or layer.stride is None or layer.padding is None or len(before) != 3:
        return []
    dilation = layer.dilation[0] if layer.dilation else 1
    for ceil_mode in (False, True):
        window = Window(layer.kernel[0], layer.stride[0], layer.padding[0], dilation, ceil_mode)
        if window.output_size(before[1]) == layer.output[1]:
            return [window.formula(before[1])]
    return []


def _parameter_words(layer: Layer, before: tuple[int, ...]) -> str:
    count = f"{layer.parameters:,} parameters"
    if layer.kind == "conv" and layer.kernel:
        groups = layer.groups or 1
        if conv_parameters(before[0], layer.output[0], layer.kernel, groups) == layer.parameters:
            return f"({layer.kernel[0]}*{layer.kernel[1]}*{before[0] // groups} + 1) * {layer.output[0]} = {count}"
    inputs = _product(before)
    if layer.kind == "dense" and dense_parameters(inputs, layer.output[0]) == layer.parameters:
        return f"({inputs:,} + 1) * {layer.output[0]:,} = {count}"
    return count if layer.parameters else "no parameters"


def _product(sides: Sequence[int]) -> int:
    product = 1
    for side in sides:
        product *= side
    return product


def layer_rows(design: Design) -> Table:
    """Shape, activations and parameters of each layer, as the field's tables have them."""
    rows: list[list[Cell]] = [["input", shape_words(design.input_CHW), _product(design.input_CHW), 0]]
    rows += [
        [short_name(layer), shape_words(layer.output), layer.activations, layer.parameters] for layer in design.layers
    ]
    return Table(
        caption=f"The layers of {design.model}",
        headings=("layer", "activation shape", "activation size", "parameters"),
        rows=rows,
        numeric_from=2,
    )


def share_words(design: Design) -> str:
    """Where the parameters sit and where the work is done."""
    totals = design.totals
    dense = sum(layer.parameters for layer in design.layers if layer.kind == "dense")
    work = sum(layer.multiply_adds for layer in design.layers if layer.kind == "conv")
    return (
        f"{totals.parameters:,} parameters, {100 * dense / totals.parameters:.0f} % of them in dense layers; "
        f"{totals.multiply_adds:,} multiply-adds an image, {100 * work / totals.multiply_adds:.0f} % of them in "
        "convolutions."
    )
