"""From traced operations to the rows of a layer table.

A row is one call of a module without children, or one operation that a module does by itself (`x + shortcut`). What
works on each number by itself or normalises (batch normalisation, ReLU, ...) is folded into the row before it, as in
the literature's tables: a convolution with its normalisation and nonlinearity is one layer.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import torch
from torch import nn

from .cost import RECURRENT, is_activation, is_free, is_norm, is_not_counted, kind_of, multiply_adds
from .fields import Field, FieldFollower
from .trace import Operation, Trace, storage_of

GRADIENTS_ONLY = ("detach", "alias")  # what torch does besides where gradients are wanted


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One row. Sizes are for one image; `output` is [C, H, W], [D] or what the layer leaves without the batch axis.

    `kernel`, `stride`, `padding`, `dilation` are (height, width) and `groups` a number, for windows only.
    `receptive_field` and `jump` are (height, width) in input pixels: None where unknown or not dependent on the
    image; jump is None too where the map is gone. `folded` are the kinds that were folded in.
    """

    name: str
    kind: str
    output: tuple[int, ...]
    activations: int
    parameters: int
    multiply_adds: int
    kernel: tuple[int, int] | None = None
    stride: tuple[int, int] | None = None
    padding: tuple[int, int] | None = None
    dilation: tuple[int, int] | None = None
    groups: int | None = None
    receptive_field: tuple[int, int] | None = None
    jump: tuple[int, int] | None = None
    folded: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Flow:
    """How a row hangs together with the others: `sources` are the places of the rows that it reads, ascending, -1 for
    the image. Its output comes from the operation `name`, of which `before` come first in the trace: what else torch
    does differs with gradients and real tensors."""

    sources: tuple[int, ...]
    name: str
    before: int


@dataclass(frozen=True, kw_only=True)
class _Row:
    layer: Layer
    operations: tuple[Operation, ...]
    foldable: bool


def read_layers(trace: Trace, sizes: dict[str, int], fold: bool) -> tuple[Layer, ...]:
    """The rows of a trace. `sizes` gives the number of elements of every parameter by name."""
    return read_rows(trace, sizes, fold)[0]


def read_rows(trace: Trace, sizes: dict[str, int], fold: bool) -> tuple[tuple[Layer, ...], tuple[Flow, ...]]:
    """The same, and how each row hangs together with the others."""
    follower = FieldFollower(trace.input_BCHW)
    rows: list[_Row] = []
    seen: set[str] = set()
    # Those of work on weights or constants alone (a standardised filter) go to the row that uses its result.
    parameters, products = 0, 0
    for group in _groups(trace.operations):
        for operation in group.operations:
            follower.follow(operation)
        computing = [operation for operation in group.operations if operation.made and not is_free(operation)]
        if computing:
            parameters += _own_parameters(group.operations, trace, sizes, seen)
        if any(follower.depends(tensor) for operation in computing for tensor in operation.made):
            rows.append(_row(group, computing, follower, parameters, products))
            parameters, products = 0, 0
        else:
            products += sum(multiply_adds(operation) for operation in computing)
    if products and rows:  # what nothing uses is computed, too
        last = rows[-1].layer
        rows[-1] = replace(rows[-1], layer=replace(last, multiply_adds=last.multiply_adds + products))
    if fold:
        rows = _shorten(_fold(rows))
    return tuple(_distinct([row.layer for row in rows])), _flows(rows, trace)


def _flows(rows: list[_Row], trace: Trace) -> tuple[Flow, ...]:
    """What belongs to no row, such as a change of shape, hands on what it was given."""
    row_of = {id(operation): number for number, row in enumerate(rows) for operation in row.operations}
    makers: dict[int, frozenset[int]] = {storage_of(trace.input_BCHW): frozenset({-1})}
    read: list[set[int]] = [set() for _ in rows]
    for operation in trace.operations:
        given = frozenset[int]().union(*(makers.get(storage_of(tensor), ()) for tensor in operation.given))
        number = row_of.get(id(operation))
        if number is not None:
            read[number] |= given - {number}
            given = frozenset({number})
        makers |= {storage_of(tensor): given for tensor in operation.made}
    giving = {id(_giving(row)): number for number, row in enumerate(rows)}
    met: Counter[str] = Counter()
    last: dict[int, tuple[str, int]] = {}
    for operation in trace.operations:
        if id(operation) in giving:
            last[giving[id(operation)]] = (operation.name, met[operation.name])
        met[operation.name] += 1
    return tuple(
        Flow(sources=tuple(sorted(sources)), name=last[number][0], before=last[number][1])
        for number, sources in enumerate(read)
    )


def _giving(row: _Row) -> Operation:
    """The last operation of a row that makes what the table says of its output."""
    making = [operation for operation in row.operations if operation.made and operation.name not in GRADIENTS_ONLY]
    fitting = [operation for operation in making if tuple(operation.made[0].shape[1:]) == row.layer.output]
    return (fitting or making)[-1]


def uncounted(operations: Iterable[Operation]) -> tuple[str, ...]:
    """Each kind of operation whose products the table does not count, with the layer it is in first, and how often."""
    places: dict[str, list[str]] = {}
    for operation in operations:
        if is_not_counted(operation):
            places.setdefault(operation.name, []).append(operation.path)
    return tuple(
        f"{name}{f' in {paths[0]}' if paths[0] else ''} ({len(paths)} call{'s' * (len(paths) > 1)})"
        for name, paths in places.items()
    )


@dataclass(frozen=True)
class _Group:
    """The operations of one call of a layer, or one operation that a network does by itself."""

    operations: tuple[Operation, ...]
    is_layer: bool


def _groups(operations: Iterable[Operation]) -> Iterable[_Group]:
    """A layer is a module without children that multiplies at most once; a network written in functions is none."""
    for (_, is_leaf), run in groupby(operations, key=lambda operation: (operation.call, _is_leaf(operation.module))):
        group = tuple(run)
        if is_leaf and isinstance(group[0].module, RECURRENT) and group[0].path:
            yield _Group(group, is_layer=True)
        elif is_leaf and group[0].path and sum(multiply_adds(operation) > 0 for operation in group) <= 1:
            yield _Group(group, is_layer=True)
        else:
            yield from (_Group((operation,), is_layer=False) for operation in group)


def _row(group: _Group, computing: list[Operation], follower: FieldFollower, parameters: int, products: int) -> _Row:
    first, last = group.operations[0], computing[-1]
    if group.is_layer:  # which may end in another view of what it computed, channels in front again
        last = next(operation for operation in reversed(group.operations) if _gives(operation, follower))
    made = last.made[0]
    output = made.shape[1:]
    if group.is_layer and isinstance(first.module, nn.RNNBase):
        made, output = _all_steps(group, first.module, made)
    kind = kind_of(computing, first.module, group.is_layer)
    if group.is_layer and kind == "norm":  # it may work in parts, as local response normalisation does
        made = next(tensor for operation in group.operations for tensor in operation.given if follower.depends(tensor))
        output = made.shape[1:]
    field = follower.of(made)
    layer = Layer(
        name=first.path if group.is_layer else f"{first.path}.{kind}".strip(".").replace(" ", "_"),
        kind=kind,
        output=tuple(int(side) for side in output),
        activations=int(made.numel()),
        parameters=parameters,
        multiply_adds=products + sum(multiply_adds(operation) for operation in computing),
        receptive_field=(field.rows.size, field.columns.size) if field else None,
        jump=_jump(field),
        **_window(computing),
    )
    small = kind == "norm" or all(is_activation(operation) or is_norm(operation) for operation in computing)
    foldable = small and layer.multiply_adds == 0 and _num_inputs(group, follower) == 1
    return _Row(layer=layer, operations=group.operations, foldable=foldable)


def _gives(operation: Operation, follower: FieldFollower) -> bool:
    return bool(operation.made) and follower.depends(operation.made[0])


def _all_steps(group: _Group, module: nn.RNNBase, made: torch.Tensor) -> tuple[torch.Tensor, torch.Size]:
    """What a recurrent layer gives at all its steps, and the sizes of that for one image: (T, H). `made` where it was
    given a sequence without a batch axis."""
    given = (tensor for operation in group.operations for tensor in operation.given)
    came = next((tensor for tensor in given if tensor.ndim == 3 and tensor.shape[2] == module.input_size), None)
    if came is None:
        return made, made.shape[1:]
    num_steps = came.shape[1] if module.batch_first else came.shape[0]
    width = (module.proj_size or module.hidden_size) * (2 if module.bidirectional else 1)
    sizes = {(1, num_steps, width), (num_steps, 1, width)}
    steps = [tensor for operation in group.operations for tensor in operation.made if tuple(tensor.shape) in sizes]
    return steps[-1] if steps else made, torch.Size((num_steps, width))


def _num_inputs(group: _Group, follower: FieldFollower) -> int:
    """How many tensors from the image come in from outside: two for `x + shortcut`."""
    made = {storage_of(tensor) for operation in group.operations for tensor in operation.made}
    given = {storage_of(tensor) for o in group.operations for tensor in o.given if follower.depends(tensor)}
    return len(given - made) or 1  # in-place work makes what it is given


def _jump(field: Field | None) -> tuple[int, int] | None:
    return None if field is None or field.whole else (field.rows.jump, field.columns.jump)


def _window(computing: list[Operation]) -> dict[str, Any]:
    """Kernel and the rest of the first windowed operation in the row."""
    for operation in computing:
        arguments = operation.arguments
        if operation.name == "convolution" and arguments[1].ndim == 4:
            weight, _, stride, padding, dilation = arguments[1:6]
            return {
                "kernel": _pair(weight.shape[2:]),
                "stride": _pair(stride),
                "padding": _pair(padding),
                "dilation": _pair(dilation),
                "groups": int(arguments[8]),
            }
        if operation.name in ("max_pool2d_with_indices", "avg_pool2d"):
            is_max = operation.name.startswith("max")
            return {
                "kernel": _pair(arguments[1]),
                "stride": _pair((arguments[2] if len(arguments) > 2 else None) or arguments[1]),
                "padding": _pair(arguments[3] if len(arguments) > 3 else 0),
                "dilation": _pair(arguments[4] if is_max and len(arguments) > 4 else 1),
            }
    return {}


def _pair(value: Any) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return int(value[0]), int(value[-1])


def _own_parameters(operations: Iterable[Operation], trace: Trace, sizes: dict[str, int], seen: set[str]) -> int:
    """Elements of the parameters that are used here for the first time: what is shared counts once."""
    total = 0
    for operation in operations:
        for tensor in operation.given:
            name = trace.parameters.get(storage_of(tensor))
            if name is not None and name not in seen:
                seen.add(name)
                total += sizes[name]
    return total


def _fold(rows: list[_Row]) -> list[_Row]:
    folded: list[_Row] = []
    for row in rows:
        before = folded[-1] if folded else None
        if before and row.foldable and row.layer.output == before.layer.output and _feeds(before, row):
            layer = replace(
                before.layer,
                parameters=before.layer.parameters + row.layer.parameters,
                folded=(*before.layer.folded, row.layer.kind),
            )
            folded[-1] = _Row(layer=layer, operations=before.operations + row.operations, foldable=before.foldable)
        else:
            folded.append(row)
    return folded


def _feeds(before: _Row, row: _Row) -> bool:
    """Whether `row` works on what `before` leaves, and on nothing else that was computed."""
    left = {storage_of(tensor) for operation in before.operations for tensor in operation.made}
    return any(storage_of(tensor) in left for operation in row.operations for tensor in operation.given)


def _shorten(rows: list[_Row]) -> list[_Row]:
    """A row that holds all that a container does takes the container's name: `stem.conv1` for convolution + ReLU."""
    owners: dict[str, set[int]] = {}
    for number, row in enumerate(rows):
        for operation in row.operations:
            for path in _ancestors(operation.path):
                owners.setdefault(path, set()).add(number)
    shortened = []
    for number, row in enumerate(rows):
        covering = [path for path in _ancestors(row.operations[0].path) if owners[path] == {number}]
        name = min(covering, key=len) if covering and _is_leaf(row.operations[0].module) else row.layer.name
        shortened.append(replace(row, layer=replace(row.layer, name=name)))
    return shortened


def _distinct(layers: list[Layer]) -> list[Layer]:
    """Layers whose names say which is which: a second `add` in a block is `add@2`."""
    met: dict[str, int] = {}
    named = []
    for layer in layers:
        met[layer.name] = met.get(layer.name, 0) + 1
        again = met[layer.name]
        named.append(layer if again == 1 else replace(layer, name=f"{layer.name}@{again}"))
    return named


def _ancestors(path: str) -> list[str]:
    """`a`, `a.b`, `a.b.c` of `a.b.c`; nothing of the root."""
    parts = path.split(".") if path else []
    return [".".join(parts[: number + 1]) for number in range(len(parts))]


def _is_leaf(module: nn.Module) -> bool:
    return next(module.children(), None) is None
