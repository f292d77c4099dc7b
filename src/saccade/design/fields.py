"""Receptive fields through any graph: what each traced tensor depends on, along height and width.

Rules, each from `conv.geometry`: a window widens the field; sums and concatenations join fields; a global pooling, a
dense layer on a flattened map and attention see the whole map, and so do tokens to which attention was added.
Statistics of normalisations are not counted as seeing, as is usual. Where a position's field is not the same everywhere
(uneven adaptive pooling, resizing) it is unknown, and so is all that follows.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import torch

from ..conv.geometry import ReceptiveField, Window, combine
from .trace import Operation, storage_of

POOLS = ("max_pool2d_with_indices", "avg_pool2d", "avg_pool3d", "max_pool3d_with_indices")
ADAPTIVE = ("_adaptive_avg_pool2d", "adaptive_max_pool2d")
PADS = ("constant_pad_nd", "reflection_pad2d", "replication_pad2d")
REDUCTIONS = ("mean", "sum", "amax", "amin", "var_mean", "max", "logsumexp")
DENSE = ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
RESIZES = ("upsample", "grid_sampler", "pixel_shuffle", "col2im", "roll", "flip", "im2col")


@dataclass(frozen=True, kw_only=True)
class Field:
    """Fields along both axes of a map of `size_HW` positions and `channels`; `whole`: the map is gone, all was read."""

    rows: ReceptiveField
    columns: ReceptiveField
    size_HW: tuple[int, int]
    channels: int
    whole: bool = False

    def after(self, windows: tuple[Window, Window], made: torch.Tensor) -> "Field":
        """The field behind `windows` (height, width), on the map `made`."""
        rows, columns = self.rows.after(windows[0]), self.columns.after(windows[1])
        return replace(self, rows=rows, columns=columns, size_HW=_size(made), channels=made.shape[-3])

    def read_whole(self, channels: int) -> "Field":
        """The field of what reads every position."""
        rows = self.rows.after_whole_map(self.size_HW[0])
        columns = self.columns.after_whole_map(self.size_HW[1])
        return Field(rows=rows, columns=columns, size_HW=(1, 1), channels=channels, whole=True)


UNKNOWN = None
Known = dict[tuple[Any, ...], Field | None]


class FieldFollower:
    """The field of every tensor of a trace that depends on the image; constants and parameters have none."""

    def __init__(self, input_BCHW: torch.Tensor) -> None:
        channels, height, width = input_BCHW.shape[1:]
        start = Field(rows=ReceptiveField(), columns=ReceptiveField(), size_HW=(height, width), channels=channels)
        self._known: Known = {_key(input_BCHW): start}

    def depends(self, tensor: torch.Tensor) -> bool:
        """Whether `tensor` depends on the image."""
        return _key(tensor) in self._known

    def of(self, tensor: torch.Tensor) -> Field | None:
        """Its field; None where it is unknown, or where the tensor does not depend on the image."""
        return self._known.get(_key(tensor))

    def follow(self, operation: Operation) -> None:
        """Work out the fields of what `operation` made."""
        given = [tensor for tensor in operation.given if self.depends(tensor)]
        if not given:
            return
        fields = [self._known[_key(tensor)] for tensor in given]
        for made in operation.made:
            known = [field for field in fields if field is not None]
            self._known[_key(made)] = _after(operation, given, known, made) if len(known) == len(fields) else UNKNOWN


def _after(
    operation: Operation, given: Sequence[torch.Tensor], fields: Sequence[Field], made: torch.Tensor
) -> Field | None:
    name, arguments, first = operation.name, operation.arguments, fields[0]
    if name in DENSE:
        return _dense(given, fields, made)
    if "attention" in name:
        return _joined(fields, UNKNOWN_SIZE).read_whole(made.shape[-1])
    if (
        name.startswith((*RESIZES, "mkldnn_rnn"))
        or "::" in name
        or (name == "convolution" and (arguments[6] or given[0].ndim != 4))
    ):
        return UNKNOWN
    if first.whole:
        return first
    if name == "convolution":
        _, _, _, stride, padding, dilation = arguments[:6]
        return first.after(_windows(arguments[1].shape[2:], stride, padding, dilation, False), made)
    if name in POOLS:
        return first.after(_pool_windows(operation), made)
    if name in ADAPTIVE:
        return _adaptive(first, made)
    if name in PADS and given[0].ndim >= 3:
        return _padded(first, arguments[1], made)
    if name in REDUCTIONS and len(arguments) > 1:
        return _reduced(first, given[0], arguments[1], made)
    if name in ("slice", "select", "index_select"):
        return _sliced(first, given[0], operation, made)
    return _joined(fields, made) if len(fields) > 1 else first


UNKNOWN_SIZE = torch.empty(0)


def _dense(given: Sequence[torch.Tensor], fields: Sequence[Field], made: torch.Tensor) -> Field:
    """Products of two images' tensors mix all positions; those with weights only what they contract."""
    field = fields[0]
    if field.whole:
        return replace(field, channels=made.shape[-1])
    contracted = given[0].shape[-1]
    flattened = field.channels * prod(field.size_HW)
    if len(fields) > 1 or (contracted == flattened and contracted != field.channels):
        return _joined(fields, UNKNOWN_SIZE).read_whole(made.shape[-1])
    if contracted == field.channels and prod(field.size_HW) == 1:
        return field.read_whole(made.shape[-1])
    return replace(field, channels=made.shape[-1])


def _joined(fields: Sequence[Field], made: torch.Tensor) -> Field:
    """A sum, product or concatenation. Tokens are no grid any more once some of them have seen everything."""
    everything = next((field for field in fields if field.whole), None)
    if everything is not None and made.ndim == 3:
        return everything
    widest = max(fields, key=lambda field: (not field.whole, prod(field.size_HW)))
    rows = combine([field.rows for field in fields], widest.size_HW[0])
    columns = combine([field.columns for field in fields], widest.size_HW[1])
    channels = made.shape[-3] if made.ndim >= 4 else widest.channels
    return replace(widest, rows=rows, columns=columns, channels=channels)


def _adaptive(field: Field, made: torch.Tensor) -> Field | None:
    """Even bins are windows with stride; one bin reads the whole map; uneven bins have no single field."""
    windows = []
    for size, left in zip(field.size_HW, _size(made), strict=True):
        if size % left:
            return UNKNOWN
        windows.append(Window(size // left, size // left))
    if _size(made) == (1, 1):
        return field.read_whole(made.shape[-3])
    return field.after((windows[0], windows[1]), made)


def _padded(field: Field, pads: Sequence[int], made: torch.Tensor) -> Field:
    """Padding moves the first position out; a negative one, which crops, moves it in."""
    columns = _moved(field.columns, pads[0])
    rows = _moved(field.rows, pads[2]) if len(pads) > 2 else field.rows
    return replace(field, rows=rows, columns=columns, size_HW=_size(made), channels=made.shape[-3])


def _reduced(field: Field, given: torch.Tensor, axes: Any, made: torch.Tensor) -> Field | None:
    """Over both axes of a map: global pooling. Over channels: per position. Over tokens: all of them."""
    if not isinstance(axes, Sequence):
        axes = [axes] if isinstance(axes, int) else range(given.ndim)
    reduced = {axis % given.ndim for axis in axes}
    if given.ndim == 4:
        spatial = {2, 3} if given.shape[2:] == field.size_HW else {1, 2}
        if not reduced & spatial:
            return field
        return field.read_whole(field.channels) if spatial <= reduced else UNKNOWN
    return field.read_whole(field.channels) if given.ndim == 3 and reduced & {1, 2} else field


def _sliced(field: Field, given: torch.Tensor, operation: Operation, made: torch.Tensor) -> Field | None:
    """Every second row and the like move and stretch the grid; slices of other axes change nothing."""
    axis = operation.arguments[1] % given.ndim if len(operation.arguments) > 1 else 0
    if given.ndim != 4 or axis < 2:
        return field
    if operation.name != "slice":
        return UNKNOWN
    start, step = _argument(operation, 2, 0) or 0, _argument(operation, 4, 1)
    start = start + given.shape[axis] if start < 0 else start
    moved = _moved(field.rows if axis == 2 else field.columns, -start).after(Window(1, step))
    changed = replace(field, size_HW=_size(made))
    return replace(changed, rows=moved) if axis == 2 else replace(changed, columns=moved)


def _moved(field: ReceptiveField, before: int) -> ReceptiveField:
    return ReceptiveField(field.first - before * field.jump, field.last - before * field.jump, field.jump)


def _pool_windows(operation: Operation) -> tuple[Window, Window]:
    kernel = _argument(operation, 1, 1)
    stride = _argument(operation, 2, kernel) or kernel
    padding = _argument(operation, 3, 0)
    is_max = operation.name.startswith("max")
    dilation = _argument(operation, 4, 1) if is_max else 1
    ceil_mode = _argument(operation, 5 if is_max else 4, False)
    return _windows(kernel, stride, padding, dilation, ceil_mode)


def _windows(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> tuple[Window, Window]:
    rows, columns = (
        Window(_axis(kernel, axis), _axis(stride, axis), _axis(padding, axis), _axis(dilation, axis), ceil_mode)
        for axis in (-2, -1)
    )
    return rows, columns


def _axis(value: Any, axis: int) -> int:
    return int(value) if isinstance(value, int) else int(value[axis] if len(value) > 1 else value[0])


def _argument(operation: Operation, position: int, default: Any) -> Any:
    return operation.arguments[position] if len(operation.arguments) > position else default


def _size(tensor: torch.Tensor) -> tuple[int, int]:
    return (int(tensor.shape[-2]), int(tensor.shape[-1])) if tensor.ndim >= 2 else (1, 1)


def _key(tensor: torch.Tensor) -> tuple[Any, ...]:
    """A view is told by where it lies in its memory; the trace keeps every tensor, so no memory is used twice."""
    return (storage_of(tensor), tensor.storage_offset(), tuple(tensor.shape), tuple(tensor.stride()))
