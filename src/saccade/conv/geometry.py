"""Sizes, coverage, receptive fields and costs of convolution and pooling windows: integers only, nothing runs.

Everything here is about one axis; height and width each have their own `Window`. Formulas: Dumoulin and Visin 2016,
arXiv:1603.07285 (sizes); Araujo, Norris and Sim 2019, Distill, doi:10.23915/distill.00021 (receptive fields).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from ..core.errors import ModelError


@dataclass(frozen=True)
class Window:
    """A sliding window on one axis: a filter or a pooling region of `kernel` taps that lie `dilation` apart.

    `padding` is (before, after), or one number for both ends. `ceil_mode` keeps a last window that hangs over the end,
    as torch does: only if it starts inside the input or the padding before it. Raises ModelError on values that no
    window can have.
    """

    kernel: int
    stride: int = 1
    padding: int | tuple[int, int] = 0
    dilation: int = 1
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        for name in ("kernel", "stride", "dilation"):
            if getattr(self, name) < 1:
                raise ModelError(f"The {name} of a window must be at least 1, got {getattr(self, name)}.")
        if min(self.pads) < 0:
            raise ModelError(f"The padding of a window must not be negative, got {self.padding}.")

    @property
    def pads(self) -> tuple[int, int]:
        """Padding (before, after)."""
        return (self.padding, self.padding) if isinstance(self.padding, int) else self.padding

    @property
    def extent(self) -> int:
        """Positions from the first tap to the last: dilation * (kernel - 1) + 1."""
        return self.dilation * (self.kernel - 1) + 1

    def output_size(self, input_size: int) -> int:
        """How many windows fit on `input_size` positions: floor((n + 2p - f)/s) + 1. Below 1: it does not fit."""
        size = self._uncut_size(input_size)
        starts_outside = (size - 1) * self.stride >= input_size + self.pads[0]
        return size - 1 if self.ceil_mode and starts_outside else size

    def formula(self, input_size: int) -> str:
        """`output_size` with its numbers, for messages: `floor((1 + 0 - 2)/2) + 1 = 0`."""
        rounding = "ceil" if self.ceil_mode else "floor"
        room = f"({input_size} + {sum(self.pads)} - {self.extent})/{self.stride}"
        size = self.output_size(input_size)
        cut = " - 1 (the last would start outside)" if size != self._uncut_size(input_size) else ""
        return f"{rounding}({room}) + 1{cut} = {size}"

    def coverage(self, input_size: int) -> tuple[int, ...]:
        """How many windows use each input position; 0 where the floor, a large stride or dilation skips it."""
        counts = [0] * input_size
        for index in range(max(self.output_size(input_size), 0)):
            first = index * self.stride - self.pads[0]
            for position in range(first, first + self.extent, self.dilation):
                if 0 <= position < input_size:
                    counts[position] += 1
        return tuple(counts)

    def never_covered(self, input_size: int) -> tuple[int, ...]:
        """The input positions that no window uses: `Window(3, stride=2)` on 8 never sees position 7."""
        return tuple(position for position, count in enumerate(self.coverage(input_size)) if count == 0)

    def _uncut_size(self, input_size: int) -> int:
        room = input_size + sum(self.pads) - self.extent
        return (-(-room // self.stride) if self.ceil_mode else room // self.stride) + 1


def same_padding(kernel: int, dilation: int = 1) -> tuple[int, int]:
    """Padding (before, after) that keeps the size at stride 1: (f-1)/2 twice for odd f, one more after for even f."""
    total = dilation * (kernel - 1)
    return total // 2, total - total // 2


def same_window(kernel: int, dilation: int = 1) -> Window:
    """The window of stride 1 whose output is as large as its input."""
    return Window(kernel, padding=same_padding(kernel, dilation), dilation=dilation)


@dataclass(frozen=True)
class ReceptiveField:
    """Which input positions an activation depends on, along one axis.

    Output i sees `first + i * jump` to `last + i * jump`, in input positions; negative ones lie in the padding. What
    lies between may have holes (dilation, a stride above the kernel). The input itself is `ReceptiveField()`.
    """

    first: int = 0
    last: int = 0
    jump: int = 1

    @property
    def size(self) -> int:
        """Width of the field in input positions."""
        return self.last - self.first + 1

    @property
    def start(self) -> float:
        """Centre of the field of output 0, in input positions (0 is the middle of the first pixel)."""
        return (self.first + self.last) / 2

    def after(self, window: Window) -> "ReceptiveField":
        """The field behind one more `window`: size grows by (extent - 1) * jump, the jump by the stride."""
        first = self.first - window.pads[0] * self.jump
        last = self.last + (window.extent - 1 - window.pads[0]) * self.jump
        return ReceptiveField(first, last, self.jump * window.stride)

    def after_whole_map(self, num_positions: int) -> "ReceptiveField":
        """The field behind a layer that reads all `num_positions` (global pooling, flatten and dense)."""
        return ReceptiveField(self.first, self.last + (num_positions - 1) * self.jump, self.jump * num_positions)


def combine(fields: Sequence[ReceptiveField], num_positions: int | None = None) -> ReceptiveField:
    """The field of a shortcut addition or a concatenation: from the earliest first to the latest last.

    Branches of a sum or a concatenation have equal jumps. Where they differ, a single position is spread over the
    map (as in squeeze-and-excitation) and `num_positions`, the size of the map, is needed: then the field is what
    all positions see together, and the jump that of the map. Raises ModelError without it, or on no fields.
    """
    if not fields:
        raise ModelError("A sum or concatenation needs at least one branch, got none.")
    jumps = sorted({field.jump for field in fields})
    if len(jumps) == 1:
        return ReceptiveField(min(field.first for field in fields), max(field.last for field in fields), jumps[0])
    if num_positions is None:
        raise ModelError(
            f"Branches that meet must have one jump, got {', '.join(map(str, jumps))}.\n"
            f"The strides along the branches differ, so their maps do not lie on each other."
        )
    reach = (num_positions - 1) * jumps[0]
    last = max(field.last + (reach if field.jump == jumps[0] else 0) for field in fields)
    return ReceptiveField(min(field.first for field in fields), last, jumps[0])


def receptive_field(windows: Sequence[Window]) -> ReceptiveField:
    """The field behind `windows` in sequence."""
    field = ReceptiveField()
    for window in windows:
        field = field.after(window)
    return field


def conv_parameters(
    in_channels: int, out_channels: int, kernel_hw: tuple[int, int], groups: int = 1, bias: bool = True
) -> int:
    """Parameters of a convolution, whatever the image size: (f * f * c / groups + 1) * k."""
    _check_groups(in_channels, out_channels, groups)
    return (prod(kernel_hw) * (in_channels // groups) + bias) * out_channels


def conv_multiply_adds(
    in_channels: int, output_CHW: tuple[int, int, int], kernel_hw: tuple[int, int], groups: int = 1
) -> int:
    """Multiply-adds of a convolution on one image; the bias is not counted."""
    _check_groups(in_channels, output_CHW[0], groups)
    return prod(output_CHW) * prod(kernel_hw) * (in_channels // groups)


def dense_parameters(in_features: int, out_features: int, bias: bool = True) -> int:
    """Parameters of a dense layer: (inputs + 1) * units."""
    return (in_features + bias) * out_features


def dense_multiply_adds(in_features: int, out_features: int) -> int:
    """Multiply-adds of a dense layer on one feature vector; the bias is not counted."""
    return in_features * out_features


def _check_groups(in_channels: int, out_channels: int, groups: int) -> None:
    if groups < 1 or in_channels % groups or out_channels % groups:
        raise ModelError(
            f"Groups must divide the channels, got {groups} groups for {in_channels} -> {out_channels} channels."
        )
