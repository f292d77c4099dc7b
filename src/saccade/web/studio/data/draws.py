"""What training sees of one image: draws of a run's own augmentation, with what was drawn for each in words."""

from typing import Any

import numpy as np

from ....core.errors import ImageError, SaccadeError, printable
from ....core.types import Preprocessing
from ....data.augmentation import Mixing
from ....data.augmentation_policy import AugmentConfig
from ....data.augmenter import Augmenter, measure_colours, usable
from ....data.images.encode import picture_address
from ....data.random_numbers import permutation
from ....data.source import DataSource
from ....preview.images import Preview, choose_images, preview_images
from ....preview.request import strength_lines
from ....runs.summary import DataSummary
from ....train.run_directory import RunFolder
from ...refusal import Reason, Refusal
from ..runs.index import Run
from ..runs.records import not_shown
from .opened import NO_SUCH_IMAGE, Opened

NUM_DRAWS = 8
NUM_MIXED = 4  # images that stand for a batch where images are mixed
NUM_MEASURED = 256  # images whose colours are measured where the run has not done it yet
MAX_SEED = 2**31 - 1
NOT_READ = Reason(
    422, "not_read", "This run does not say yet what its network sees.", "It does so before the first epoch."
)


def drawn(opened: Opened, position: int, run: Run, data: DataSummary | None, seed: int | None) -> dict[str, Any]:
    """What eight epochs of `run` draw for an image, with another `seed` where one is given; its keys are read by
    `static/data/draws.js`. Raises Refusal."""
    if position >= len(opened.source):
        raise Refusal(NO_SUCH_IMAGE)
    if data is None or data.preprocessing is None:
        raise Refusal(NOT_READ)
    pixels = data.preprocessing
    try:
        config = RunFolder(path=run.path, resume=True).load_config()
        seed = config.seed if seed is None else seed
        augment = _measured(config.augment, opened, seed)
        indices = _batch(opened.source, position, augment, pixels, seed)
        preview = preview_images(opened.source, indices, Augmenter(augment, pixels, seed), NUM_DRAWS)[0]
    except ImageError as error:
        raise Refusal(Reason(422, "bad_image", printable(error.reason[:1].upper() + error.reason[1:]))) from None
    except SaccadeError as error:
        raise not_shown(error) from None
    return {
        "seed": seed,
        "own_seed": config.seed,
        "run": printable(run.name),
        "evaluated": picture_address(preview.evaluated_HWC),
        "values": "" if pixels.has_bands else values_words(preview, pixels),
        "strengths": [printable(line) for line in strength_lines(augment, pixels)],
        "draws": [
            {"picture": picture_address(draw.image_HWC), "lines": [printable(line) for line in draw.lines]}
            for draw in preview.draws
        ],
    }


def values_words(preview: Preview, pixels: Preprocessing) -> str:
    """The range of what evaluation sees, before and after it is normalised."""
    value_HWC = preview.evaluated_HWC / pixels.full_scale
    normalised_HWC = (value_HWC - np.asarray(pixels.mean)) / np.asarray(pixels.std)
    before, after = (f"{each.min():.2f} to {each.max():.2f}" for each in (value_HWC, normalised_HWC))
    return f"values {before}; normalised {after}"


def _measured(augment: AugmentConfig, opened: Opened, seed: int) -> AugmentConfig:
    index_M = permutation(seed, 0, len(opened.source))[:NUM_MEASURED]
    return measure_colours(augment, opened.source, index_M, seed, opened.white)


def _batch(source: DataSource, position: int, augment: AugmentConfig, pixels: Preprocessing, seed: int) -> list[int]:
    """The image, and others of other classes where images are mixed."""
    if not any(isinstance(entry, Mixing) for entry in usable(augment, pixels)):
        return [position]
    others = choose_images(source, NUM_MIXED, seed)[0]
    return [position, *(index for index in others if index != position)][:NUM_MIXED]
