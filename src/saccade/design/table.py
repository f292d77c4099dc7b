"""The layer table of any network: shapes, parameters, multiply-adds, receptive fields and memory, before it runs."""

from dataclasses import asdict, dataclass
from typing import Any

from torch import nn

from ..core.errors import ModelError
from .layers import Layer, read_layers
from .memory import Memory, StepPlan, estimate_memory
from .trace import trace


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the network, for one image.

    `parameters` counts every parameter once; `trainable` those with gradients; `not_run` those that evaluation does
    not use (side branches of training). `receptive_field` and `jump` are those of the last map, (height, width),
    None where there is none. `activations` is the sum over the rows.
    """

    layers: int
    activations: int
    parameters: int
    trainable: int
    not_run: int
    multiply_adds: int
    receptive_field: tuple[int, int] | None
    jump: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True)
class DesignTable:
    """Rows and totals of a network for inputs of `input_CHW`; `memory` is for its `batch_size`."""

    model: str
    input_CHW: tuple[int, int, int]
    layers: tuple[Layer, ...]
    totals: Totals
    memory: Memory

    def as_json(self) -> dict[str, Any]:
        """The JSON of `saccade table --json`; equal sides of windows and fields are one number."""
        layers = []
        for layer in self.layers:
            values = {**asdict(layer), "output": list(layer.output), "folded": list(layer.folded)}
            layers.append({key: _one(value) for key, value in values.items()})
        totals = {key: _one(value) for key, value in asdict(self.totals).items()}
        memory = {
            f"{key}_bytes" if isinstance(value, int) else key: value for key, value in asdict(self.memory).items()
        }
        memory["batch_size"] = memory.pop("batch_size_bytes")
        return {
            "model": self.model,
            "input": list(self.input_CHW),
            "layers": layers,
            "totals": {**totals, "memory": memory},
        }


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
    sizes = {parameter_name: parameter.numel() for parameter_name, parameter in model.named_parameters()}
    layers = read_layers(traced, sizes, fold)
    return DesignTable(
        model=name or type(model).__name__,
        input_CHW=input_CHW,
        layers=layers,
        totals=_totals(layers, model),
        memory=estimate_memory(model, input_CHW, step or StepPlan()),
    )


def _totals(layers: tuple[Layer, ...], model: nn.Module) -> Totals:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    last_map = next((layer for layer in reversed(layers) if layer.jump is not None and len(layer.output) == 3), None)
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


def _one(value: Any) -> Any:
    """(3, 3) as 3, (3, 5) as [3, 5]; everything else as it is."""
    if isinstance(value, tuple) and len(value) == 2:
        return value[0] if value[0] == value[1] else list(value)
    return value
