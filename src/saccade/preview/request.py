"""`saccade preview`: the augmentation of a configuration on a few images of its source, as training would draw it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from ..core.config import FrozenConfig, Settings
from ..core.errors import DataError, ImageError, counted, printable
from ..core.given import settle_fields
from ..core.plain_numbers import check_seed
from ..core.types import Preprocessing, Record, Split
from ..data.augment.shared.geometry import canvas_for
from ..data.augmentation_policy import AugmentConfig
from ..data.augmenter import Augmenter, left_out_of_bands, measure_colours, usable
from ..data.images.bands import bands_words
from ..data.images.preprocess import fit_words
from ..data.opening_line import Told, opening_line, untold
from ..data.scan import scan_source
from ..data.source import DataSource
from ..data.sources.in_memory import GivenImages, known_source
from ..data.store_place import store_at
from ..train.choose_preprocessing import channels_asked, choose_preprocessing
from ..train.config import RunConfig
from ..train.prepare import MUCH
from ..train.recipes import find_recipe, recipe_for
from ..train.request import as_text, refuse_other_ways, with_policy
from .images import Preview, choose_images, preview_images
from .picture import draw_previews
from .unlabelled import Unlabelled, open_pictures, unlabelled_line

NUM_SCANNED = 256  # images that decide the input size, the channels and the mean colour


PHOTO_PX = 64  # on the short side; smaller pictures are digits and the like, which no mirror may turn


@dataclass(frozen=True, kw_only=True)
class PreviewRequest:
    """What a person asks of `preview`. Empty values leave the choice to the recipe; `source` and `settings` are those
    of `TrainRequest`."""

    source: GivenImages
    recipe: str = ""
    policy: str = ""
    model: str = ""
    num_images: int = 4
    seed: int = 0
    settings: Settings = field(default_factory=list)

    def __post_init__(self) -> None:
        settle_fields(self)

    def config(self) -> RunConfig:
        """The configuration of the run that is previewed. Raises UsageError, UnknownNameError or ConfigError."""
        refuse_other_ways(self.settings)
        recipe = find_recipe(self.recipe) if self.recipe else recipe_for(self.model or "lenet5")
        config = recipe.config(as_text(self.source), self.model or None).model_copy(
            update={"seed": check_seed(self.seed)}
        )
        return with_policy(config, self.policy).with_overrides(self.settings)


@dataclass(frozen=True, kw_only=True)
class PreviewResult:
    """What a preview shows: the images, the configuration behind them, and how pixels become inputs."""

    config: RunConfig
    augment: AugmentConfig
    preprocessing: Preprocessing
    previews: list[Preview]
    bad: list[ImageError] = field(default_factory=list)

    def notes(self) -> list[str]:
        """That images were passed over, and that photos lose most of their detail in inputs this small, where so."""
        height_px, width_px = self.preprocessing.input_CHW[1:]
        short_px = int(np.median([min(preview.original_HWC.shape[:2]) for preview in self.previews]))
        notes = _passed_over(self.bad)
        if not usable(self.augment, self.preprocessing):
            named = "--policy photo-light, or another of" if short_px >= PHOTO_PX else "--policy with one of"
            notes.append(
                f"nothing is changed, so that the draws of an image are equal. To see augmentation: {named} "
                "'saccade augmentations'"
            )
        if short_px < MUCH * min(height_px, width_px):
            return notes
        return [
            *notes,
            f"photos of {short_px:,} pixels are shrunk to {height_px}x{width_px}, the input of {self.config.model}: "
            "most of their detail is lost. To draw them as a larger network sees them: --model resnet18, or "
            "--input 224",
        ]

    def picture(self) -> Image.Image:
        """Originals, draws and what was drawn."""
        channels, height_px, width_px = self.preprocessing.input_CHW
        num_epochs = counted(len(self.previews[0].draws), "epoch")
        title = f"{self.config.source}: what training sees in its first {num_epochs}"
        strengths = strength_lines(self.augment, self.preprocessing)
        pixels = self.preprocessing
        border = canvas_for(pixels, self.augment.border).border
        size = (
            f"input {height_px}x{width_px}x{channels} (height x width x channels), {fit_words(pixels)}, seed "
            f"{self.config.seed}, border {border}"
        )
        facts = [*self.notes(), *([f"images of {bands_words(pixels)}"] if pixels.has_bands else [])]
        if pixels.has_bands and (left_out := left_out_of_bands(self.augment)):
            facts.append(f"left out, since such channels are not colours: {', '.join(left_out)}")
        return draw_previews(self.previews, title, [size, *facts, *strengths])


def strength_lines(augment: AugmentConfig, preprocessing: Preprocessing) -> list[str]:
    """A line for each augmentation that can change an image, with how strong it is; `no augmentation` for none."""
    return [f"{entry.name}: {_changed(augment.strengths_of(entry))}" for entry in usable(augment, preprocessing)] or [
        "no augmentation"
    ]


@contextmanager
def named_preview(request: PreviewRequest) -> Iterator[PreviewRequest]:
    """`request` with a name in place of images in memory, known by it in the enclosed work."""
    with known_source(request.source) as source:
        yield replace(request, source=source)


def preview(config: RunConfig, num_images: int = 4, num_draws: int = 8, opened: Told = untold) -> PreviewResult:
    """Draw `num_images` images of the source `num_draws` times each. Raises DataError where none can be read.

    `opened` hears the line that names the classes.
    Size, channels and mean colour are chosen from up to 256 images (training looks at all of them).
    """
    with store_at(config.loader.store, config.loader.store_limit_bytes):
        source = open_pictures(config.source)
    opened(unlabelled_line(source) if isinstance(source, Unlabelled) else opening_line(source))
    scanned, bad = choose_images(source, NUM_SCANNED, config.seed)
    if not scanned:
        raise DataError(f"{printable(config.source)} has no training image that can be read.{_why(bad)}")
    subset = Subset(source, scanned)
    scan = scan_source(subset, threads=1, channels=channels_asked(config))
    everything = np.arange(len(subset), dtype=np.int64)
    nothing = np.zeros(0, np.int64)
    split = Split(train_N=everything, validation_N=nothing, test_N=nothing, origin="preview")
    preprocessing = choose_preprocessing(config, scan, split)
    augment = measure_colours(config.augment, subset, everything, config.seed, preprocessing.white_16_bit)
    augmenter = Augmenter(augment, preprocessing, config.seed)
    previews = preview_images(source, scanned[:num_images], augmenter, num_draws)
    return PreviewResult(config=config, augment=augment, preprocessing=preprocessing, previews=previews, bad=bad)


def _why(bad: list[ImageError]) -> str:
    """A line with the reason of the first image that cannot be read, and how many more there are."""
    more = f" ({counted(len(bad) - 1, 'more image')} cannot be read)" if len(bad) > 1 else ""
    return f"\n{bad[0].message}{more}" if bad else ""


def _passed_over(bad: list[ImageError]) -> list[str]:
    """That images were passed over, with the first of them."""
    if not bad:
        return []
    return [f"{counted(len(bad), 'image')} passed over that cannot be read: {' '.join(bad[0].message.splitlines())}"]


def as_json(result: PreviewResult) -> dict[str, Any]:
    """The object of `preview --json`."""
    return {
        "source": result.config.source,
        "seed": result.config.seed,
        "input": list(result.preprocessing.input_CHW),
        "notes": result.notes(),
        "augment": result.augment.model_dump(mode="json"),
        "images": [
            {"key": printable(image.key), "class": image.label, "draws": [list(draw.lines) for draw in image.draws]}
            for image in result.previews
        ],
    }


class Subset(DataSource):
    """Some of the images of another source, under new indices."""

    def __init__(self, source: DataSource, indices: list[int]) -> None:
        self.name, self.classes, self.digest = source.name, source.classes, source.digest
        self.task, self.label_name = source.task, source.label_name
        self._source, self._indices = source, indices

    def __len__(self) -> int:
        return len(self._indices)

    def record(self, index: int) -> Record:
        return self._source.record(self._indices[index])

    def read(self, index: int) -> bytes | np.ndarray:
        return self._source.read(self._indices[index])


def _changed(strengths: FrozenConfig) -> str:
    values = {name: value for name, value in strengths.model_dump(mode="json").items() if not isinstance(value, list)}
    return ", ".join(
        f"{name} {value:.4g}" if isinstance(value, float) else f"{name} {value}" for name, value in values.items()
    )
