"""One image on its way through a network: what every row of its layer table makes of it, strongest maps first.

The network runs once. What a row gives is looked at as it is computed and kept small, so that a walk needs little more
memory than an answer does.
"""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.display import figure
from ..core.errors import ModelError, printable
from ..core.torch_private.tracing import TorchDispatchMode
from ..design.layers import Flow, Layer
from ..design.text import DesignTable, shape
from ..design.trace import evaluating, fast_paths_off, operation_name
from .colour import even_palette, signed_colours

MIN_MAPS, MAX_MAPS = 4, 24  # of a layer that are kept
MAX_SIDE = 64  # of a kept map: of larger ones means of squares are kept
WALK_BYTES = 16 << 20  # of all maps of a walk
NUM_LARGEST = 5  # values of a vector that are told
MIDDLE = 128  # the shade of 0 on a scale with two signs


@dataclass(frozen=True, kw_only=True)
class LayerMaps:
    """What a row makes of one image.

    `shade_MHW` (uint8) are its strongest maps by mean magnitude, strongest first, those of the channels `channel_M`;
    a vector is one map, filled row by row. A shade of 255 stands for `top`, 0 for 0; where `is_signed` 1 stands for
    -`top` and 128 for 0. `step`: a value is the mean of step x step. `least` and `most` are those of all channels;
    `num_dead` counts channels that are zero everywhere. `largest` are (place, value) of a vector.
    """

    name: str
    kind: str
    output: str
    num_channels: int
    is_vector: bool
    channel_M: tuple[int, ...]
    strength_M: tuple[float, ...]
    shade_MHW: np.ndarray
    is_signed: bool
    top: float
    step: int
    least: float
    most: float
    num_dead: int
    is_finite: bool
    largest: tuple[tuple[int, float], ...] = ()

    def words(self) -> str:
        """`64 maps of 112x112, the 24 strongest of them shown, 3 of them zero everywhere. Values 0 to 5.21.`"""
        dead = "1 of them zero" if self.num_dead == 1 else f"{self.num_dead:,} of them zero"
        if self.is_vector:
            what = f"{self.num_channels:,} value{'s' * (self.num_channels != 1)}{f', {dead}' if self.num_dead else ''}"
        else:
            shown = len(self.channel_M)
            which = f", the {shown} strongest of them shown" if shown < self.num_channels else ""
            what = f"{self.output}{which}{f', {dead} everywhere' if self.num_dead else ''}"
        damaged = "" if self.is_finite else " Some are not finite numbers; they are drawn as 0."
        return f"{what}. Values {figure(self.least)} to {figure(self.most)}.{damaged}"

    def legend(self) -> str:
        """How to read the colours, and what was left out."""
        scale = "white is 0, orange {0}, blue -{0}" if self.is_signed else "dark is 0, light {0}"
        told = scale.format(figure(self.top))
        means = f"; a pixel is the mean of {self.step}x{self.step} values" if self.step > 1 else ""
        rows = "; in rows, from the first value on" if self.is_vector and self.num_channels > 1 else ""
        return f"One scale for all: {told}{means}{rows}."

    def picture(self, most: int = MAX_MAPS) -> np.ndarray:
        """uint8 (M H, W, 3): the strongest maps below each other, `most` of them."""
        palette = _signed_palette() if self.is_signed else even_palette()
        picture_HWC: np.ndarray = palette[np.concatenate(list(self.shade_MHW[:most]))]
        return picture_HWC


def walk(model: nn.Module, input_1CHW: torch.Tensor, table: DesignTable) -> list[LayerMaps]:
    """What every row of `table` makes of one normalised image, in its order. The model stays as it is.

    Raises ModelError where the network computes other things than those that the table was drawn up from.
    """
    most = max(MIN_MAPS, min(MAX_MAPS, WALK_BYTES // max(1, len(table.layers) * MAX_SIDE**2)))
    found: dict[int, LayerMaps] = {}

    def take(place: int, made: torch.Tensor) -> None:
        found[place] = _maps_of(table.layers[place], made, most)

    with torch.no_grad(), fast_paths_off(), evaluating(model):
        walker = _Walker(table.flows, take)
        with walker:
            model(input_1CHW.contiguous())
    missing = [layer.name for place, layer in enumerate(table.layers) if place not in found]
    if missing:
        raise ModelError(
            f"{printable(table.model)} computes otherwise with an image than without one, from layer "
            f"'{printable(missing[0])}' on.\nIts maps cannot be told apart; 'saccade explain' shows those of its parts."
        )
    return [found[place] for place in range(len(table.layers))]


class _Walker(TorchDispatchMode):
    """Counts the operations as the trace of the table counted them, and hands over those that give a row's output."""

    def __init__(self, flows: tuple[Flow, ...], take: Callable[[int, torch.Tensor], None]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._wanted = {(flow.name, flow.before): place for place, flow in enumerate(flows)}
        self._take = take
        self._met: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        name = operation_name(func)
        place = self._wanted.get((name, self._met[name]))
        self._met[name] += 1
        if place is not None:
            self._take(place, made if isinstance(made, torch.Tensor) else made[0])
        return made


def _maps_of(layer: Layer, made: torch.Tensor, most: int) -> LayerMaps:
    value_CHW = _as_maps(layer, made.detach().float())
    is_vector = len(layer.output) < 2
    is_finite = bool(torch.isfinite(value_CHW).all())
    value_CHW = value_CHW if is_finite else torch.nan_to_num(value_CHW, nan=0.0, posinf=0.0, neginf=0.0)
    strength_C = value_CHW.abs().mean(dim=(1, 2)).numpy().astype(np.float64)
    order_M = np.argsort(-strength_C, kind="stable")[:most]
    step = -(-max(value_CHW.shape[1:]) // MAX_SIDE)
    kept_MHW = value_CHW[torch.from_numpy(order_M)]
    if step > 1:
        kept_MHW = nn.functional.avg_pool2d(kept_MHW[None], step, ceil_mode=True)[0]
    kept = kept_MHW.numpy()
    top = float(np.abs(kept).max()) or 1.0
    is_signed = bool(kept.min() < 0)
    shade = np.rint(MIDDLE + (255 - MIDDLE) * kept / top) if is_signed else np.rint(255 * kept / top)
    values = value_CHW.flatten()
    num_values = math.prod(layer.output) if layer.output else 1
    dead = (values[:num_values] == 0) if is_vector else (value_CHW == 0).flatten(1).all(dim=1)
    return LayerMaps(
        name=printable(layer.name),
        kind=printable(" + ".join([layer.kind, *layer.folded])),
        output=shape(layer) if is_vector else _maps_words(value_CHW),
        num_channels=num_values if is_vector else len(value_CHW),
        is_vector=is_vector,
        channel_M=tuple(order_M.tolist()),
        strength_M=tuple(strength_C[order_M].tolist()),
        shade_MHW=shade.clip(0, 255).astype(np.uint8),
        is_signed=is_signed,
        top=top,
        step=step,
        least=float(values[:num_values].min()),
        most=float(values[:num_values].max()),
        num_dead=int(dead.sum()),
        is_finite=is_finite,
        largest=_largest(values[:num_values]) if is_vector else (),
    )


def _as_maps(layer: Layer, made: torch.Tensor) -> torch.Tensor:
    """(C, H, W) of what a row gives for one image: maps as they are, rows of tokens as one map, a vector in rows."""
    sizes = layer.output
    if len(sizes) >= 2 and made.numel() == math.prod(sizes):
        return made.reshape(-1, *sizes[-2:])
    values = made.flatten()
    width = math.ceil(math.sqrt(values.numel()))
    height = -(-values.numel() // width)
    return nn.functional.pad(values, (0, height * width - values.numel())).reshape(1, height, width)


def _maps_words(value_CHW: torch.Tensor) -> str:
    count, height, width = value_CHW.shape
    return f"{count:,} map{'s' * (count != 1)} of {height}x{width}"


def _largest(values: torch.Tensor) -> tuple[tuple[int, float], ...]:
    order = torch.argsort(values, descending=True, stable=True)[:NUM_LARGEST].tolist()
    return tuple((place, float(values[place])) for place in order)


def _signed_palette() -> np.ndarray:
    """RGB of the shades 0 to 255 of a scale with two signs."""
    colour_N3: np.ndarray = signed_colours((np.arange(256.0)[None] - MIDDLE) / (255 - MIDDLE), 1.0)[0]
    return colour_N3
