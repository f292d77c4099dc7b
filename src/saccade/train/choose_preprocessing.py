"""How the images of a source become inputs: chosen once from what the scan saw, then stored with the weights."""

from typing import Literal

import numpy as np

from ..core.errors import ConfigError
from ..core.types import Fit, Preprocessing, Split
from ..data.images.bands import channel_words
from ..data.scan import Channels, ScanReport
from ..models.architecture import MODELS
from .config import RunConfig

SMALL_PX = 64  # images up to this size are used whole, at their own size; larger ones are resized and cut
RESIZE_MARGIN = 256 / 224  # short side over input size in the evaluation of ImageNet networks
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def channels_asked(config: RunConfig) -> Channels:
    """How the images of a run are scanned."""
    channels = config.input.channels
    return channels if channels in ("auto", "bands") else "colour"


def choose_preprocessing(config: RunConfig, scan: ScanReport, split: Split) -> Preprocessing:
    """The Preprocessing of a run.

    Size: `input.size_px` where given; images that all have one small size keep it, unless the network's own input is
    larger and they are tiny; photos take the network's own input size. Images of one small size are used whole unless
    a fit or a shape is asked for that they have not. Channels: grey where every image is grey, bands where the scan
    found them.
    Weights that the run begins with say all of this themselves, but for what 16-bit value is white in these images, for
    bands that they do not know, and for a normalisation that is asked for.
    """
    if config.transfer.preprocessing:
        return with_bands(config.transfer.preprocessing, config, scan, split)
    is_grey = bool(scan.is_grey_N[scan.good_N].all())
    channels: Literal["rgb", "grey", "bands"]
    if scan.num_bands or config.input.channels == "bands":
        channels = "bands"
    elif config.input.channels == "auto":
        channels = "grey" if is_grey else "rgb"
    else:
        channels = "grey" if config.input.channels == "grey" else "rgb"
    height_px, width_px = _input_size(config, scan)
    fit, resize_px = _fit(config, scan, (height_px, width_px))
    mean, std = _statistics(config, scan, split, channels)
    return Preprocessing(
        channels=channels,
        depth_bits=scan.depth_bits,
        fit=fit,
        resize_px=resize_px,
        input_height_px=height_px,
        input_width_px=width_px,
        white_16_bit=scan.white_16_bit,
        mean=mean,
        std=std,
    )


def with_bands(own: Preprocessing, config: RunConfig, scan: ScanReport, split: Split) -> Preprocessing:
    """`own`, that of weights, for the images of `scan`: bands that the weights were not trained on are normalised as
    these images are. Raises ConfigError for weights of bands and images of none."""
    own = own.model_copy(update={"white_16_bit": scan.white_16_bit})
    asked = config.input.normalisation
    if own.has_bands and not scan.num_bands:
        raise ConfigError(
            f"These weights were trained on images of {own.num_channels} channels, and these images are grey or RGB.\n"
            f"Take weights that were trained on such images; or give images with those channels."
        )
    if asked == "auto" and (not scan.num_bands or (own.has_bands and own.num_channels == scan.num_bands)):
        return own
    if not scan.num_bands:
        mean, std = _statistics(config, scan, split, own.channels)
        return own.model_copy(update={"mean": mean, "std": std})
    mean, std = _statistics(config, scan, split, "bands")
    return own.model_copy(update={"channels": "bands", "depth_bits": scan.depth_bits, "mean": mean, "std": std})


def fit_to(wanted: str, input_HW: tuple[int, int], margin: float) -> tuple[Fit, int | None]:
    """(fit, resize_px) of a Preprocessing: of a crop the input is cut out of a box `margin` times as large."""
    if wanted in ("pad", "squash"):
        return ("pad" if wanted == "pad" else "squash"), None
    height_px, width_px = input_HW
    return "crop" if height_px == width_px else "cover", round(min(input_HW) * margin)


def _fit(config: RunConfig, scan: ScanReport, input_HW: tuple[int, int]) -> tuple[Fit, int | None]:
    wanted, own_HW = config.input.fit, _common_size(scan)
    if wanted in ("pad", "squash") or own_HW is None or max(own_HW) > SMALL_PX:
        return fit_to(wanted, input_HW, RESIZE_MARGIN)
    is_of_shape = own_HW[0] * input_HW[1] == own_HW[1] * input_HW[0]
    if is_of_shape or (wanted == "auto" and not config.input.width_px):
        return "crop", None
    return fit_to(wanted, input_HW, margin=1.0)


def _input_size(config: RunConfig, scan: ScanReport) -> tuple[int, int]:
    if config.input.size_HW:
        return config.input.size_HW
    own_size = _common_size(scan)
    _, height_px, width_px = MODELS.get(config.model).default_spec.input_CHW if config.model in MODELS else (0, 32, 32)
    if own_size and max(own_size) <= SMALL_PX and min(own_size) >= 24:
        return own_size
    return height_px, width_px


def _common_size(scan: ScanReport) -> tuple[int, int] | None:
    """(height, width) in pixels where all images share it, else None."""
    size_M2 = scan.size_N2[scan.good_N]
    return (int(size_M2[0, 0]), int(size_M2[0, 1])) if bool((size_M2 == size_M2[0]).all()) else None


def _statistics(
    config: RunConfig, scan: ScanReport, split: Split, channels: str
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """(mean, std) of pixels in 0 to 1 by channel: measured over the training images, or ImageNet's. Raises ConfigError
    where those are asked for bands."""
    if config.input.normalisation == "imagenet" and channels == "bands":
        raise ConfigError(
            f"input.normalisation=imagenet is that of red, green and blue, and these images have "
            f"{channel_words(scan.num_bands)}.\nLeave it out: theirs are measured over the training images."
        )
    if config.input.normalisation == "imagenet":
        mean_C, std_C = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    else:
        mean_C = scan.mean_NC[split.train_N].astype(np.float64).mean(axis=0)
        square_C = scan.square_NC[split.train_N].astype(np.float64).mean(axis=0)
        std_C = np.sqrt(np.maximum(square_C - mean_C**2, 1e-6))  # blank images have none to divide by
    if channels == "grey":
        mean_C, std_C = mean_C.mean(keepdims=True), std_C.mean(keepdims=True)
    return tuple(round(float(v), 6) for v in mean_C), tuple(round(max(float(v), 1e-3), 6) for v in std_C)
