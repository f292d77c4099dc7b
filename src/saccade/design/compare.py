"""Networks side by side: what each costs, and how many times the first one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..core.display import Displayed, Rows
from .table import DesignTable
from .text import pair, size


@dataclass(frozen=True, kw_only=True, repr=False)
class Comparison(Displayed):
    """Tables of several networks in the order given; ratios are against the first."""

    tables: tuple[DesignTable, ...]

    def display_lines(self) -> list[str]:
        """What the memory columns mean."""
        return [comparison_note(self.tables)]

    def display_rows(self) -> Rows:
        """The totals of each network and how many times those of the first."""
        return comparison_rows(self)

    def as_json(self) -> dict[str, Any]:
        """The JSON of `saccade compare --json`: the totals of each and their ratios to the first."""
        first = self.tables[0].totals
        entries = []
        for table in self.tables:
            values = table.as_json()
            entry = {"model": table.model, "input": values["input"], **values["totals"]}
            entry["parameters_ratio"] = _ratio(table.totals.parameters, first.parameters)
            entry["multiply_adds_ratio"] = _ratio(table.totals.multiply_adds, first.multiply_adds)
            entries.append(entry)
        return {"models": entries}


def comparison_rows(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """(headings, rows) of the table that people read; `x` columns are ratios to the first network."""
    first = comparison.tables[0].totals
    headings = ["model", "input", "layers", "parameters", "x", "multiply-adds", "x", "field", "training", "inference"]
    rows = []
    for table in comparison.tables:
        totals, memory = table.totals, table.memory
        channels, height, width = table.input_CHW
        rows.append(
            [
                table.model,
                f"{height}x{width}x{channels}",
                str(totals.layers),
                f"{totals.parameters:,}",
                _times(totals.parameters, first.parameters),
                f"{totals.multiply_adds:,}",
                _times(totals.multiply_adds, first.multiply_adds),
                pair(totals.receptive_field) if totals.receptive_field else "-",
                size(memory.training_peak),
                size(memory.inference_peak),
            ]
        )
    return headings, rows


def comparison_note(tables: Sequence[DesignTable]) -> str:
    """What the memory columns mean."""
    memory = tables[0].memory
    images = "1 image" if memory.batch_size == 1 else f"{memory.batch_size:,} images"
    return f"Memory is for {images} in {memory.precision} with {memory.optimizer}; x is against {tables[0].model}."


def _ratio(value: int, first: int) -> float | None:
    return round(value / first, 4) if first else None


def _times(value: int, first: int) -> str:
    return f"{value / first:.3g}" if first else "-"
