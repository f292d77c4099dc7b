"""The design desk: from what a person typed to a layer table, or to several side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from .compare import Comparison
from .memory import StepPlan
from .table import DesignTable, layer_table
from .target import resolve_target


@dataclass(frozen=True, kw_only=True)
class TableRequest:
    """What to draw up: None takes the network's or the run's own input and classes; `step` is for the memory.

    `prepare` may change the network before it is looked at, such as freeze a part of it.
    """

    input_CHW: tuple[int, int, int] | None = None
    num_classes: int | None = None
    step: StepPlan = field(default_factory=StepPlan)
    prepare: Callable[[nn.Module], object] | None = None


def draw_table(text: str, request: TableRequest, fold: bool = True) -> DesignTable:
    """The layer table of the network that `text` names (`target.resolve_target`)."""
    target = resolve_target(text, request.input_CHW, request.num_classes)
    if request.prepare is not None:
        request.prepare(target.model)
    return layer_table(
        target.model,
        target.input_CHW,
        name=target.name,
        fold=fold,
        step=request.step,
    )


def draw_comparison(texts: Sequence[str], request: TableRequest) -> Comparison:
    """The tables of several networks, drawn up alike."""
    return Comparison(tables=tuple(draw_table(text, request) for text in texts))
