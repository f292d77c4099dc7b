"""The layer table of any network: shapes, parameters, multiply-adds, receptive fields and memory, before it runs."""

from torch import nn

from ..core.errors import ModelError
from .layers import Flow, Layer, read_rows, uncounted
from .memory import StepPlan, estimate_memory
from .text import DesignTable as DesignTable
from .text import Totals
from .trace import Trace, trace


def layer_table(
    model: nn.Module,
    input_CHW: tuple[int, int, int],
    *,
    name: str = "",
    fold: bool = True,
    step: StepPlan | None = None,
) -> DesignTable:
    """The table of `model` for images of `input_CHW`. Nothing is allocated and nothing in the model is changed.

    With `fold` normalisations and nonlinearities belong to the layer before them; without it each has its row.
    Memory is that of `step`, by default 32 images in float32.
    Raises ModelError, naming the layer, where the input does not fit.
    """
    if len(input_CHW) != 3 or min(input_CHW) < 1:
        raise ModelError(f"An input has channels, height and width of at least 1, got {input_CHW}.")
    traced = trace(model, input_CHW)
    layers, flows = _rows(traced, model, fold)
    return DesignTable(
        model=name or type(model).__name__,
        input_CHW=input_CHW,
        layers=layers,
        flows=flows,
        not_counted=uncounted(traced.operations),
        totals=_totals(layers, model),
        memory=estimate_memory(model, input_CHW, step or StepPlan()),
    )


def counted_layers(model: nn.Module, input_CHW: tuple[int, int, int]) -> tuple[tuple[Layer, ...], Totals]:
    """The rows and totals of `layer_table` without its memory, which takes most of the time."""
    layers, _ = _rows(trace(model, input_CHW), model, fold=True)
    return layers, _totals(layers, model)


def _rows(traced: Trace, model: nn.Module, fold: bool) -> tuple[tuple[Layer, ...], tuple[Flow, ...]]:
    return read_rows(traced, {name: parameter.numel() for name, parameter in model.named_parameters()}, fold)


def _totals(layers: tuple[Layer, ...], model: nn.Module) -> Totals:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    maps = [layer for layer in layers if layer.kind == "attention" or (layer.jump and len(layer.output) == 3)]
    last_map = maps[-1] if maps else None
    return Totals(
        layers=len(layers),
        activations=sum(layer.activations for layer in layers),
        parameters=parameters,
        trainable=sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad),
        not_run=parameters - sum(layer.parameters for layer in layers),
        multiply_adds=sum(layer.multiply_adds for layer in layers),
        receptive_field=last_map.receptive_field if last_map else None,
        jump=last_map.jump if last_map else None,
    )
