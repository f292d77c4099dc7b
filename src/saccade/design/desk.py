"""The design desk: from what a person typed to a layer table, or to several side by side."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from torch import nn

from ..core.errors import UsageError, brief
from ..core.given import check_kind, settle_fields
from ..core.plain_numbers import check_count
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

    def __post_init__(self) -> None:
        settle_fields(self)
        check_kind(self.step, StepPlan, "api.TableRequest(step=StepPlan(batch_size=8))")
        if self.num_classes is not None:
            check_count(self.num_classes, "TableRequest: 'num_classes'")
        if self.input_CHW is not None:
            _check_sizes(self.input_CHW)


def _check_sizes(input_CHW: object) -> None:
    """Raise UsageError for what are not channels, height and width."""
    is_list = isinstance(input_CHW, Sequence) and not isinstance(input_CHW, str)
    if not is_list or len(input_CHW) != 3:  # type: ignore[arg-type]  # mypy does not follow is_list
        raise UsageError(
            f"TableRequest: 'input_CHW' is (channels, height, width), such as (3, 224, 224); got "
            f"{brief(repr(input_CHW), 40)}."
        )
    for size in input_CHW:  # type: ignore[attr-defined]
        check_count(size, "TableRequest: a size of 'input_CHW'")


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
