"""Images of a set that excite the channels of a layer most: what a channel answers to, shown instead of guessed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ..classify.classifier import Member, join_members
from ..classify.stream import items_of_source, stream
from ..core.errors import printable
from ..core.types import SPLITS
from ..data.images.bands import as_picture, network_pixels
from ..data.images.decode import decode_image
from ..data.images.preprocess import prepare_image
from ..data.opening_line import Told, opening_line, untold
from ..data.source import DataSource, open_source
from .maps import Excitement, most_exciting

MAX_IMAGES = 2000
NUM_EXAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class ChannelExamples:
    """The images that excite `channel` most, strongest first, as the network sees them (image_NHWC uint8)."""

    channel: int
    found: tuple[Excitement, ...]
    keys: tuple[str, ...]
    image_NHWC: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Examples:
    """Examples for some channels of `layer`, whose maps have `map_size` (rows, columns).

    `num_images` of the `num_available` images were looked at.
    """

    layer: str
    map_size: tuple[int, int]
    source: str
    num_images: int
    num_available: int
    channels: tuple[ChannelExamples, ...]

    def words(self) -> str:
        """Where the images come from, and of how many they are the strongest."""
        all_of_them = self.num_images == self.num_available
        which = f"{self.num_images:,}" if all_of_them else f"{self.num_images:,} of {self.num_available:,}"
        return f"The strongest of {which} images of '{printable(self.source)}'; a square marks the place."


def find_examples(
    member: Member, source_text: str, layer: str, channels: Sequence[int], opened: Told = untold
) -> Examples:
    """Look through the training images of a source, or all of them where none are marked, evenly thinned to 2,000.

    `opened` hears the line that names the classes. Raises DataError, ImageError, UnknownNameError.
    """
    source = open_source(source_text, several=True, target=member.task.target)
    opened(opening_line(source))
    index_N = _training_images(source)
    thinned_N = index_N[np.linspace(0, len(index_N) - 1, min(len(index_N), MAX_IMAGES)).round().astype(np.int64)]
    found, map_size = most_exciting(member, _batches(member, source, thinned_N), layer, channels, NUM_EXAMPLES)
    return Examples(
        layer=layer,
        map_size=map_size,
        source=source.name,
        num_images=len(thinned_N),
        num_available=len(index_N),
        channels=tuple(_shown(member, source, channel, best) for channel, best in found.items()),
    )


def _batches(member: Member, source: DataSource, index_N: np.ndarray) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
    """(index_B, prepared uint8 image_BCHW). Raises ImageError naming a file that cannot be read."""
    start = 0
    for batch in stream(join_members([member]), items_of_source(source, index_N)):
        batch.refuse_bad_images()
        image_BHWC = batch.prepared[member.preprocessing][:, 0]
        yield index_N[start : start + len(image_BHWC)], torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)
        start += len(image_BHWC)


def _training_images(source: DataSource) -> np.ndarray:
    split_N = [source.record(index).split for index in range(len(source))]
    wanted = SPLITS[0] if SPLITS[0] in split_N else None
    return np.array([index for index, split in enumerate(split_N) if wanted is None or split == wanted], dtype=np.int64)


def _picture(member: Member, content: bytes | np.ndarray, key: str) -> np.ndarray:
    """An image as the network sees it, uint8 grey or RGB."""
    pixels = member.preprocessing
    decoded = decode_image(content, key, None, pixels.white_16_bit)
    return as_picture(prepare_image(network_pixels(decoded, key, pixels), pixels), pixels)


def _shown(member: Member, source: DataSource, channel: int, best: list[Excitement]) -> ChannelExamples:
    keys = tuple(source.record(found.index).key for found in best)
    images = [_picture(member, source.read(found.index), key) for found, key in zip(best, keys, strict=True)]
    return ChannelExamples(channel=channel, found=tuple(best), keys=keys, image_NHWC=np.stack(images))
