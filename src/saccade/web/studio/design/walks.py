"""One image through every layer of a network that is designed: with the weights of a run, or freshly drawn ones."""

import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
import torch
from PIL import Image

from ....classify.classifier import open_member
from ....core.errors import ImageError, printable
from ....core.runtime import RuntimeConfig
from ....core.types import Preprocessing
from ....data.images.bands import as_picture, network_pixels
from ....data.images.decode import decode_image
from ....data.images.encode import picture_address, picture_content
from ....data.images.normalize import normalize
from ....data.images.preprocess import prepare_image, refuse_large_resize
from ....design.target import drawn_from_words
from ....design.text import DesignTable
from ....explain.walk import LayerMaps, walk
from ...refusal import Reason, Refusal
from ..runs.index import Run
from ..runs.records import Latest
from .wanted import Wanted

MAX_WALKS = 4  # that are kept, each of at most WALK_BYTES and their pictures
MAX_SIDE_PX = 1024
MAX_BYTES = 3 << 29  # of weights and of what one image takes besides
MAX_MULTIPLY_ADDS = 100_000_000_000
SEED = 0
TILE_PX, TILES_A_ROW = 40, 32  # of the picture of all layers
PHOTO = "flower.jpg"  # of scikit-learn, CC BY 2.0
MEANS = {1: ((0.449,), (0.226,)), 3: ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}
DRAWN = "Freshly drawn weights (seed 0): the maps show what the layers are, and nothing that was learned."
TRAINED = "The weights of the run."
GONE = Reason(404, "no_such_walk", "This walk is not kept any more.", "Walk the image through again.")
CHANGED = Reason(
    422,
    "not_its_own",
    "The weights of a run fit its own input and classes alone.",
    "Leave the fields 'Input' and 'Classes' empty to walk an image through it.",
)
NO_PHOTO = Reason(422, "no_photo", "The photo of scikit-learn is not installed here.", "Choose a photo of your own.")


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What each row of `table` made of an image; `seen_HWC` is that image as the network sees it."""

    id: str
    layers: tuple[LayerMaps, ...]
    classes: tuple[str, ...]
    is_trained: bool
    seen_HWC: np.ndarray

    def as_json(self) -> dict[str, Any]:
        """What the page shows; its keys are read by `static/design/walk.js`."""
        return {
            "id": self.id,
            "seen": picture_address(self.seen_HWC),
            "weights": TRAINED if self.is_trained else DRAWN,
            "tile_px": TILE_PX,
            "tiles_a_row": TILES_A_ROW,
            "layers": [self._layer(place) for place in range(len(self.layers))],
        }

    def _layer(self, place: int) -> dict[str, Any]:
        maps = self.layers[place]
        height, width = maps.shade_MHW.shape[1:]
        return {
            "name": maps.name,
            "kind": maps.kind,
            "words": maps.words(),
            "legend": maps.legend(),
            "size": [height, width],
            "is_vector": maps.is_vector,
            "channels": list(maps.channel_M),
            "strengths": [float(f"{value:.3g}") for value in maps.strength_M],
            "largest": [{"name": self._value_name(maps, at), "value": f"{value:.4g}"} for at, value in maps.largest],
        }

    def _value_name(self, maps: LayerMaps, at: int) -> str:
        is_answer = maps is self.layers[-1] and maps.num_channels == len(self.classes)
        return printable(self.classes[at]) if is_answer else f"value {at + 1:,}"


class Walks:
    """The latest few walks."""

    def __init__(self) -> None:
        self._kept: Latest[Walk] = Latest(MAX_WALKS)

    def walk(self, wanted: Wanted, table: DesignTable, run: Run | None, content: bytes) -> Walk:
        """An encoded image through the network of `table`, which `wanted` asks for. Raises Refusal, SaccadeError."""
        version = run.watched.changes if run else 0
        asked = (wanted.network, wanted.run, wanted.input, wanted.classes, wanted.is_unfolded, version)
        identifier = hashlib.sha256(repr(asked).encode() + content).hexdigest()[:16]
        return self._kept.get(identifier, lambda: _walked(identifier, wanted, table, run, content))

    def find(self, identifier: str) -> Walk:
        """The walk of that id. Raises Refusal where it is not kept."""
        if not self._kept.has(identifier):
            raise Refusal(GONE)
        return self._kept.get(identifier, _gone)


def maps_picture(found: Walk, place: int) -> bytes:
    """The maps of a row below each other, as PNG. Raises Refusal where there is no such row."""
    if place >= len(found.layers):
        raise Refusal(GONE)
    return picture_content(found.layers[place].picture())


def strip_picture(found: Walk) -> bytes:
    """The strongest map of every row as tiles, `TILES_A_ROW` beside each other, as PNG."""
    tiles = [
        Image.fromarray(maps.picture(most=1)).resize((TILE_PX, TILE_PX), Image.Resampling.NEAREST)
        for maps in found.layers
    ]
    sheet = Image.new("RGB", (TILES_A_ROW * TILE_PX, -(-len(tiles) // TILES_A_ROW) * TILE_PX))
    for place, tile in enumerate(tiles):
        row, column = divmod(place, TILES_A_ROW)
        sheet.paste(tile, (column * TILE_PX, row * TILE_PX))
    return picture_content(np.asarray(sheet))


@cache
def built_in_photo() -> bytes:
    """A photo of a flower that scikit-learn brings along. Raises Refusal where it does not."""
    try:
        return files("sklearn.datasets.images").joinpath(PHOTO).read_bytes()
    except (ModuleNotFoundError, FileNotFoundError):
        raise Refusal(NO_PHOTO) from None


def _gone() -> Walk:
    raise Refusal(GONE)


def _walked(identifier: str, wanted: Wanted, table: DesignTable, run: Run | None, content: bytes) -> Walk:
    _refuse_large(table)
    if run is not None and (wanted.input or wanted.classes):
        raise Refusal(CHANGED)
    member = open_member(run.path, RuntimeConfig(device="cpu")) if run else None
    pixels = member.preprocessing if member else _preprocessing(table)
    prepared_HWC = _prepared(content, pixels)
    model = (
        member.model
        if member
        else drawn_from_words(wanted.network, table.input_CHW, wanted.classes or None, SEED).model
    )
    input_1CHW = normalize(torch.from_numpy(np.array(prepared_HWC)).permute(2, 0, 1)[None], pixels, torch.float32)
    return Walk(
        id=identifier,
        layers=tuple(walk(model, input_1CHW, table)),
        classes=member.classes if member else (),
        is_trained=member is not None,
        seen_HWC=as_picture(prepared_HWC, pixels),
    )


def _prepared(content: bytes, pixels: Preprocessing) -> np.ndarray:
    """What the network sees of the image, (H, W, C). Raises Refusal where it is none."""
    try:
        decoded = decode_image(content, "the image", None, pixels.white_16_bit)
        refuse_large_resize("the image", decoded.image_HWC.shape[:2], pixels)
        return prepare_image(network_pixels(decoded, "the image", pixels), pixels)
    except ImageError as error:
        raise bad_photo(error) from None


def bad_photo(error: ImageError) -> Refusal:
    """422: what came is no image that can be walked through."""
    reason = error.reason[:1].upper() + error.reason[1:].rstrip(".")
    return Refusal(Reason(422, "bad_image", f"{printable(reason)}.", "Choose another image."))


def _preprocessing(table: DesignTable) -> Preprocessing:
    """A photo covers the input, whatever its shape. Raises Refusal where the input is no picture."""
    channels, height_px, width_px = table.input_CHW
    if channels not in MEANS:
        what = f"A photo has 1 or 3 channels, and this network takes {channels:,}."
        raise Refusal(Reason(422, "no_picture", what, "Give it an input of 1 or 3 channels, such as 64x64x3."))
    mean, std = MEANS[channels]
    return Preprocessing(
        channels="rgb" if channels == 3 else "grey",
        fit="cover",
        resize_px=min(height_px, width_px),
        input_height_px=height_px,
        input_width_px=width_px,
        mean=mean,
        std=std,
    )


def _refuse_large(table: DesignTable) -> None:
    """Raise Refusal where one image would take very long, or more memory than a page should."""
    _, height_px, width_px = table.input_CHW
    largest = sorted((layer.activations for layer in table.layers), reverse=True)[:3]
    num_bytes = 4 * (table.totals.parameters + sum(largest))
    products = table.totals.multiply_adds
    if max(height_px, width_px) > MAX_SIDE_PX:
        what = f"The walk takes inputs of at most {MAX_SIDE_PX:,} px a side, and this is {height_px}x{width_px}."
    elif num_bytes > MAX_BYTES:
        what = f"One image through this network takes {num_bytes / 1e9:.1f} GB; the walk takes {MAX_BYTES / 1e9:.1f}."
    elif products > MAX_MULTIPLY_ADDS:
        what = f"One image takes {products:,} multiply-adds; the walk takes {MAX_MULTIPLY_ADDS:,}."
    else:
        return
    raise Refusal(Reason(422, "too_large_to_walk", what, "Make the input or the network smaller."))
