"""What each channel of a layer answers: to one image, strongest first, and the images that excite a channel most."""

import heapq
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..classify.classifier import Member
from ..core.errors import UsageError, brief
from .colour import even_colours, signed_colours
from .endpoints import best_endpoint, endpoint_names, read_maps


@dataclass(frozen=True, kw_only=True)
class FeatureMaps:
    """`map_CHW` (float32) of one image in a layer; `order_C` its channels by mean magnitude, strongest first;
    `num_dead` how many are zero everywhere for this image."""

    layer: str
    map_CHW: np.ndarray
    order_C: np.ndarray
    strength_C: np.ndarray
    num_dead: int

    def words(self) -> str:
        """`64 maps of 14x14 in 'stage2'; 3 of them are zero everywhere for this image.`"""
        channels, height, width = self.map_CHW.shape
        dead = f"{self.num_dead:,} of them {'is' if self.num_dead == 1 else 'are'} zero everywhere for this image"
        return f"{channels:,} maps of {width}x{height} in '{self.layer}'; {dead if self.num_dead else 'none is zero'}."


def feature_maps(member: Member, input_1CHW: torch.Tensor, layer: str = "") -> FeatureMaps:
    """The maps of one normalised image in `layer` (empty: the one Grad-CAM looks at). Raises UnknownNameError."""
    maps = read_maps(member.model, input_1CHW, [layer] if layer else endpoint_names(member.model))
    chosen = layer or best_endpoint(maps)
    map_CHW = maps[chosen][0].contiguous().numpy()
    strength_C = np.abs(map_CHW).mean(axis=(1, 2), dtype=np.float64)
    return FeatureMaps(
        layer=chosen,
        map_CHW=map_CHW,
        order_C=np.argsort(-strength_C, kind="stable"),
        strength_C=strength_C,
        num_dead=int((map_CHW == 0).all(axis=(1, 2)).sum()),
    )


def feature_tiles(features: FeatureMaps, num: int = 32) -> tuple[np.ndarray, str]:
    """(tile_NHWC uint8, legend) of the `num` strongest maps, strongest first, on one scale for all."""
    chosen_NHW = features.map_CHW[features.order_C[:num]]
    top = float(np.abs(chosen_NHW).max()) or 1.0
    if chosen_NHW.min() < 0:
        tiles = [signed_colours(map_HW, top) for map_HW in chosen_NHW]
        return np.stack(tiles), f"white is 0, orange +{top:.3g}, blue -{top:.3g}"
    return np.stack([even_colours(map_HW, top) for map_HW in chosen_NHW]), f"dark is 0, light {top:.3g}"


@dataclass(frozen=True, kw_only=True)
class Excitement:
    """How strongly an image excites a channel at its best `position` (row, column of the map)."""

    activation: float
    index: int
    position: tuple[int, int]


def exciting_images(
    member: Member,
    batches: Iterable[tuple[np.ndarray, torch.Tensor]],
    layer: str,
    channel: int,
    num: int = 9,
) -> list[Excitement]:
    """The `num` images that excite `channel` of `layer` most, strongest first, one position an image.

    `batches` gives (index_B into a source, prepared uint8 image_BCHW), as a Loader does. Raises UnknownNameError
    for the layer, UsageError for the channel.
    """
    return most_exciting(member, batches, layer, [channel], num)[0][channel]


@torch.no_grad()
def most_exciting(
    member: Member,
    batches: Iterable[tuple[np.ndarray, torch.Tensor]],
    layer: str,
    channels: Sequence[int],
    num: int,
) -> tuple[dict[int, list[Excitement]], tuple[int, int]]:
    """`exciting_images` for several channels in one pass, by channel; and the size (rows, columns) of the maps."""
    best: dict[int, list[Excitement]] = {channel: [] for channel in channels}
    map_size = (0, 0)
    for index_B, image_BCHW in batches:
        prepared_BHWC = image_BCHW.permute(0, 2, 3, 1).contiguous().numpy()
        maps = read_maps(member.model, member.normalized(prepared_BHWC), [layer])[layer]
        map_size = (maps.shape[2], maps.shape[3])
        for channel in channels:
            if not 0 <= channel < maps.shape[1]:
                raise UsageError(
                    f"Layer '{brief(layer, 80)}' has the channels 0 to {maps.shape[1] - 1}, got {channel}."
                )
            found = _strongest_places(index_B, maps[:, channel])
            best[channel] = heapq.nsmallest(num, [*best[channel], *found], key=lambda e: (-e.activation, e.index))
    return best, map_size


def _strongest_places(index_B: np.ndarray, map_BHW: torch.Tensor) -> list[Excitement]:
    value_B, place_B = map_BHW.flatten(1).max(dim=1)
    return [
        Excitement(activation=value, index=index, position=divmod(place, map_BHW.shape[2]))
        for index, value, place in zip(index_B.tolist(), value_B.tolist(), place_B.tolist())
    ]
