"""A layer table: what it holds, and how it is shown as text for a terminal or a file, as CSV and as Markdown."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ..core.display import Displayed, Rows, fits, table_lines
from ..core.errors import printable
from .layers import Flow, Layer
from .memory import Memory

COLUMNS = ("layer", "kind", "window", "output", "activations", "parameters", "multiply-adds", "field", "jump")
# What a terminal narrower than so many characters does without; numbers are never cut.
DROPPED_BELOW = ((110, ("jump", "activations")), (90, ("window",)), (70, ("kind",)))
LEFT = 3  # columns of words


@dataclass(frozen=True, kw_only=True)
class Totals:
    """Sums over the network, for one image.

    `parameters` counts every parameter once; `trainable` those with gradients; `not_run` those that evaluation does
    not use (side branches of training). `receptive_field` and `jump` are those of the last map, (height, width),
    None where there is none; behind attention the field is all that attention read, and there is no jump. `activations`
    is the sum over the rows.
    """

    layers: int
    activations: int
    parameters: int
    trainable: int
    not_run: int
    multiply_adds: int
    receptive_field: tuple[int, int] | None
    jump: tuple[int, int] | None


@dataclass(frozen=True, kw_only=True, repr=False)
class DesignTable(Displayed):
    """Rows and totals of a network for inputs of `input_CHW`; `memory` is for its `batch_size`. `not_counted` names the
    operations whose multiply-adds are left out; `flows` say of each row what it reads."""

    model: str
    input_CHW: tuple[int, int, int]
    layers: tuple[Layer, ...]
    totals: Totals
    memory: Memory
    not_counted: tuple[str, ...] = ()
    flows: tuple[Flow, ...] = ()

    def display_lines(self) -> list[str]:
        """What the network is and costs."""
        return total_lines(self)

    def display_rows(self) -> Rows:
        """A row for each layer, from the input on."""
        return COLUMNS, [[row[column] for column in COLUMNS] for row in (_input_cells(self), *map(_cells, self.layers))]

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
            "not_counted": list(self.not_counted),
            "totals": {**totals, "memory": memory},
        }


def table_text(table: DesignTable, width: int = 0) -> str:
    """Rows, totals and memory, for `width` characters (0: as wide as it gets)."""
    columns = visible_columns(width)
    rows = [_input_cells(table), *(_cells(layer) for layer in table.layers)]
    shown, left = _cut_out(rows, columns)
    if "kind" in columns and not fits(columns, shown, left, width):
        columns = tuple(name for name in columns if name != "kind")
        shown, left = _cut_out(rows, columns)
    dropped = [name for name in COLUMNS if name not in columns]
    narrow = f"Wider terminals, --csv and --json also have: {', '.join(dropped)}."
    told = ["", *total_lines(table), *([narrow] if dropped else [])]
    return "\n".join([*table_lines(columns, shown, left, width), *told])


def _cut_out(rows: Sequence[dict[str, str]], columns: Sequence[str]) -> tuple[list[list[str]], int]:
    """(the cells of these columns, how many of the columns are of words)."""
    return [[row[column] for column in columns] for row in rows], sum(column in COLUMNS[:LEFT] for column in columns)


def visible_columns(width: int) -> tuple[str, ...]:
    """The columns that a terminal of `width` characters has room for, the most important ones kept."""
    dropped = {name for limit, names in DROPPED_BELOW if 0 < width < limit for name in names}
    return tuple(name for name in COLUMNS if name not in dropped)


def total_lines(table: DesignTable) -> list[str]:
    """What the network is and costs, in words."""
    totals, memory = table.totals, table.memory
    channels, height, width = table.input_CHW
    frozen = totals.parameters - totals.trainable
    lines = [
        f"{table.model} for {height}x{width}x{channels}: {totals.parameters:,} parameters"
        + (f" ({totals.trainable:,} trainable)" if frozen else "")
        + f", {totals.multiply_adds:,} multiply-adds an image (convolutions and matrix products, no biases)."
    ]
    if table.not_counted:
        lines.append(f"Not counted: {printable(', '.join(table.not_counted))}.")
    if totals.not_run:
        lines.append(f"{totals.not_run:,} of the parameters are in parts that only training runs.")
    if totals.receptive_field and totals.jump:
        lines.append(
            f"Receptive field of the last map: {pair(totals.receptive_field)} px, jump {pair(totals.jump)} px."
        )
    elif totals.receptive_field:
        lines.append(f"Receptive field: {pair(totals.receptive_field)} px; attention reads all positions.")
    images = "1 image" if memory.batch_size == 1 else f"{memory.batch_size:,} images"
    lines.append(
        f"Memory to train on {images} in {memory.precision}: {size(memory.training_peak)} at most = "
        f"weights {size(memory.weights)}, gradients {size(memory.gradients)}, {memory.optimizer} "
        f"{size(memory.optimizer_state)}, saved activations {size(memory.saved_activations)}, passing "
        f"{size(max(0, _passing(table)))}."
    )
    lines.append(f"Memory to answer for {images} in float32: {size(memory.inference_peak)} at most.")
    return lines


def table_csv(table: DesignTable) -> str:
    """All columns, one line a layer, numbers without separators."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["layer", "kind", "kernel", "stride", "padding", "dilation", "groups", "output", "activations"]
                    + ["parameters", "multiply_adds", "receptive_field", "jump", "folded"])  # fmt: skip
    for layer in table.layers:
        windows = [pair(each) if each else "" for each in (layer.kernel, layer.stride, layer.padding, layer.dilation)]
        fields = [pair(each) if each else "" for each in (layer.receptive_field, layer.jump)]
        groups = "" if layer.groups is None else str(layer.groups)
        sizes = [layer.activations, layer.parameters, layer.multiply_adds]
        writer.writerow(
            [layer.name, layer.kind, *windows, groups, shape(layer), *sizes, *fields, "+".join(layer.folded)]
        )
    return stream.getvalue().rstrip("\n")


def table_markdown(table: DesignTable) -> str:
    """A Markdown table with the totals below it."""
    rows = [_input_cells(table), *(_cells(layer) for layer in table.layers)]
    rule = ["---" if number < LEFT else "---:" for number in range(len(COLUMNS))]
    lines = [_bars(COLUMNS), _bars(rule), *(_bars([row[column] for column in COLUMNS]) for row in rows)]
    return "\n".join([*lines, "", *(f"{line}  " for line in total_lines(table))]).rstrip()


def size(num_bytes: float) -> str:
    """Bytes as a person reads them, in powers of ten: 46.8 MB."""
    for unit in ("B", "kB", "MB", "GB"):
        if num_bytes < 999.5 or unit == "GB":
            break
        num_bytes /= 1000
    return f"{num_bytes:,.0f} {unit}" if num_bytes >= 99.5 or unit == "B" else f"{num_bytes:.3g} {unit}"


def pair(sides: tuple[int, int]) -> str:
    """`3` for (3, 3), `1x7` for (1, 7)."""
    return str(sides[0]) if sides[0] == sides[1] else f"{sides[0]}x{sides[1]}"


def shape(layer: Layer) -> str:
    """Height x width x channels of a map, as in the literature; other outputs axis by axis."""
    sides = layer.output
    return "x".join(map(str, (*sides[1:], sides[0]) if len(sides) == 3 else sides)) or "1"


def _passing(table: DesignTable) -> int:
    memory = table.memory
    held = memory.weights + memory.gradients + memory.optimizer_state + memory.saved_activations
    return memory.training_peak - held


def _cells(layer: Layer) -> dict[str, str]:
    return {
        "layer": layer.name,
        "kind": " + ".join([layer.kind, *layer.folded]),
        "window": window_words(layer),
        "output": shape(layer),
        "activations": f"{layer.activations:,}",
        "parameters": f"{layer.parameters:,}",
        "multiply-adds": f"{layer.multiply_adds:,}",
        "field": pair(layer.receptive_field) if layer.receptive_field else "?",
        "jump": pair(layer.jump) if layer.jump else "-",
    }


def _input_cells(table: DesignTable) -> dict[str, str]:
    channels, height, width = table.input_CHW
    cells = dict.fromkeys(COLUMNS, "")
    numbers = f"{channels * height * width:,}"
    return {**cells, "layer": "input", "output": f"{height}x{width}x{channels}", "activations": numbers,
            "parameters": "0", "multiply-adds": "0", "field": "1", "jump": "1"}  # fmt: skip


def window_words(layer: Layer) -> str:
    """`f3 s2 p1`, and `d2` or `g32` where they are not 1: the words of the one-line notation."""
    if layer.kernel is None:
        return ""
    words = [f"f{pair(layer.kernel)}"]
    for letter, sides, usual in (
        ("s", layer.stride, (1, 1)),
        ("p", layer.padding, (0, 0)),
        ("d", layer.dilation, (1, 1)),
    ):
        if sides is not None and (sides != usual or (letter == "s" and layer.kind.endswith("pool"))):
            words.append(f"{letter}{pair(sides)}")
    return " ".join([*words, f"g{layer.groups}"] if (layer.groups or 1) > 1 else words)


def _bars(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _one(value: Any) -> Any:
    """(3, 3) as 3, (3, 5) as [3, 5]; everything else as it is."""
    if isinstance(value, tuple) and len(value) == 2:
        return value[0] if value[0] == value[1] else list(value)
    return value
