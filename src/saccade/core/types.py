"""The types that flow between the parts of Saccade.

Shape suffixes: B batch, C channels, H height, W width, D features, K classes, N samples.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from .config import FrozenConfig
from .display import Displayed, Rows, figure
from .errors import printable
from .plain_numbers import check_count

if TYPE_CHECKING:
    import torch

AnyPath = str | os.PathLike[str]  # what a caller of the library may give as a path
SPLITS = ("train", "validation", "test")

MAX_INPUT_PX = 2048  # side of a network's input: a batch of 32 such images takes 0.4 GB
MAX_RESIZE_PX = 8192
MAX_16_BIT = 65_535
MAX_BANDS = 64  # channels of an image that is neither grey nor colour; imaging spectrometers with more are cut first
MIN_STD, MAX_STD = 1e-3, 10.0  # of pixels in 0 to 1: those that are fed as 0 to 255 have 1/255
InputSide = Annotated[int, Field(ge=1, le=MAX_INPUT_PX)]
Fit = Literal["crop", "cover", "pad", "squash"]
ChannelMeans = Annotated[tuple[Annotated[float, Field(ge=0, le=1)], ...], Field(strict=False, max_length=MAX_BANDS)]
ChannelDeviations = Annotated[
    tuple[Annotated[float, Field(ge=MIN_STD, le=MAX_STD)], ...], Field(strict=False, max_length=MAX_BANDS)
]


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a source knows of one image before it is read.

    `key` is a stable name (a path relative to the source, or an index as text), `label` an index into the
    source's classes, `split` one of SPLITS where the source has splits of its own, else None. Images of one
    `group` (one video, one patient) never sit on two sides of a split. Where an image may have several labels, `labels`
    are all of them, ascending, and `label` is -1; None where each has one. Where a number is asked for, it is `value`,
    and `label` is 0.
    """

    key: str
    label: int
    split: str | None = None
    group: str | None = None
    labels: tuple[int, ...] | None = None
    value: float | None = None

    @property
    def all_labels(self) -> tuple[int, ...]:
        """Every class of the image: its one label, or any number of them; 0 where a number is asked for."""
        return (self.label,) if self.labels is None else self.labels


@dataclass(frozen=True, kw_only=True)
class Sample:
    """One decoded image: `image_HWC` uint8 RGB 0-255, `label` an index into the classes, `key` a stable name.

    `label` and `labels` are as in `Record`.
    """

    image_HWC: np.ndarray
    label: int
    key: str
    labels: tuple[int, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Split:
    """Which samples of a source serve what, as sorted int64 indices; no index occurs twice.

    `origin` says in words where the split comes from; `notes` what a person should know of it. `copied_N` are images
    of the validation and test parts that are equal, or nearly so, to some that training saw.
    """

    train_N: np.ndarray
    validation_N: np.ndarray
    test_N: np.ndarray
    origin: str
    notes: tuple[str, ...] = ()
    copied_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))

    def indices(self, name: str) -> np.ndarray:
        """The indices of `name`, one of SPLITS."""
        return {"train": self.train_N, "validation": self.validation_N, "test": self.test_N}[name]

    @property
    def judged_part(self) -> str:
        """The part that a run is judged on: test, or else validation, or else train."""
        return next((name for name in reversed(SPLITS) if len(self.indices(name))), "train")

    def without_copies(self, name: str) -> np.ndarray:
        """The indices of `name` that are no copies of what training saw; all of them where every one is."""
        kept_N = np.setdiff1d(self.indices(name), self.copied_N)
        return kept_N if len(kept_N) else self.indices(name)


@dataclass(frozen=True, kw_only=True)
class Batch:
    """`image_BCHW` (uint8 before, floating after normalisation), `target` label_B int64 or target_BK float32.

    target_BK of one label is where images are mixed, and its rows add up to 1; of several labels it always is.
    `lane_sizes` says how many of the images, in order, are each lane's; without it they are all of one.
    """

    image_BCHW: torch.Tensor
    target: torch.Tensor
    index_B: np.ndarray
    lane_sizes: tuple[int, ...] = ()


class Preprocessing(FrozenConfig):
    """How pixels become inputs: the only description of it, stored beside the weights it belongs to."""

    model_config = ConfigDict(strict=True)

    channels: Literal["rgb", "grey", "bands"] = Field(
        "rgb",
        description="channels of the input: colours, grey, or bands: every channel of a file as it is, as many as mean "
        "has values",
    )
    depth_bits: Literal[8, 16] = Field(
        8, description="bits of a prepared pixel; with 16, which only bands have, white_16_bit becomes 1"
    )
    fit: Fit = Field(
        "crop",
        description="how a picture of another shape becomes an input. crop: its short side becomes resize_px, and the "
        "centre is cut out. cover: the same for inputs that are not square: it covers a box of the input's shape, of "
        "which resize_px is the short side. pad: all of it, and the mean colour around it. squash: both sides are "
        "resized straight to the input",
    )
    resize_px: int | None = Field(
        None,
        ge=1,
        le=MAX_RESIZE_PX,
        description="short side after resizing, in pixels; none with fit crop: resize both sides straight to the input",
    )
    input_height_px: InputSide = Field(224, description="height of the network's input in pixels")
    input_width_px: InputSide = Field(224, description="width of the network's input in pixels")
    interpolation: Literal["bilinear", "bicubic", "nearest"] = Field(
        "bilinear", description="resampling filter, antialiased when shrinking (Pillow's)"
    )
    fast_decode: bool = Field(
        False,
        description="let JPEG files be decoded at 1/2, 1/4 or 1/8 scale when at least twice the needed size",
    )
    white_16_bit: int = Field(
        MAX_16_BIT,
        ge=255,
        le=MAX_16_BIT,
        description="value that is white in files of 16 bits a channel: 4095 where the training images use 12 bits",
    )
    mean: ChannelMeans = Field((0.485, 0.456, 0.406), description="channel means of pixels in 0 to 1")
    std: ChannelDeviations = Field((0.229, 0.224, 0.225), description="channel deviations of pixels in 0 to 1")

    @property
    def num_channels(self) -> int:
        """1 for grey inputs, 3 for colours, of bands as many as there are means."""
        return {"grey": 1, "rgb": 3, "bands": len(self.mean)}[self.channels]

    @property
    def has_bands(self) -> bool:
        """Whether the channels are neither grey nor colours."""
        return self.channels == "bands"

    @property
    def full_scale(self) -> int:
        """The value of a prepared pixel that counts as 1: 255, or with 16 bits white_16_bit."""
        return self.white_16_bit if self.depth_bits == 16 else 255

    @property
    def pixel_type(self) -> type[np.uint8] | type[np.uint16]:
        """What prepared pixels are kept as."""
        return np.uint16 if self.depth_bits == 16 else np.uint8

    @property
    def input_CHW(self) -> tuple[int, int, int]:
        """Channels, height and width of an input; the sizes in pixels."""
        return self.num_channels, self.input_height_px, self.input_width_px

    @property
    def is_whole(self) -> bool:
        """Whether all of a picture is seen, whatever its shape: nothing is cut off."""
        return self.resize_px is None

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without values that came later where they are the usual ones: digests and files stay what they were."""
        values: dict[str, Any] = serialize(self)
        usual = {"white_16_bit": MAX_16_BIT, "fit": "crop", "depth_bits": 8}
        return {name: value for name, value in values.items() if name not in usual or value != usual[name]}

    @model_validator(mode="after")
    def _consistent(self) -> Preprocessing:
        if self.depth_bits == 16 and not self.has_bands:
            raise ValueError(f"depth_bits 16 is for bands, and the channels are {self.channels}")
        if not self.mean or len(self.mean) != self.num_channels or len(self.std) != self.num_channels:
            raise ValueError(
                f"mean and std need {self.num_channels or 'as many'} values for {self.channels} images, "
                f"got {len(self.mean)} and {len(self.std)}"
            )
        if self.fit in ("pad", "squash") and self.resize_px is not None:
            raise ValueError(f"fit {self.fit} cuts nothing, so it takes no resize_px, got {self.resize_px}")
        if self.fit == "cover" and self.resize_px is None:
            raise ValueError("fit cover needs resize_px, the short side of the box that the picture covers")
        sides = (self.input_height_px, self.input_width_px)
        if self.resize_px is not None and self.resize_px < (min(sides) if self.fit == "cover" else max(sides)):
            raise ValueError(
                f"resize_px {self.resize_px} is smaller than the input "
                f"{self.input_height_px}x{self.input_width_px} that is cut out of it"
            )
        return self


@dataclass(frozen=True, kw_only=True)
class GradeFigures:
    """How far answers are from ordered grades: `mae` the mean distance in grades, with its 95 % interval and that of
    always saying the `median` grade of the judged images; the share `within_one` grade; quadratic weighted `kappa` with
    its interval. Values are NaN where undefined."""

    mae: float
    mae_low: float
    mae_high: float
    baseline_mae: float
    median: int
    within_one: float
    kappa: float
    kappa_low: float
    kappa_high: float


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """How good a classifier is on N labelled images, K classes. Rates are fractions in 0 to 1.

    `confusion_KK[true, said]` counts images. Per-class values are NaN where they are undefined (no image of
    the class, or nothing said to be it). `top5` is None below six classes, where it says nothing. `macro_f1` is the
    mean over the classes that have images: one of which nothing is known counts nothing, said or not. `_low` and
    `_high` are 95 % Wilson intervals. `grades` is set where the classes are grades.
    """

    num_samples: int
    top1: float
    top1_low: float
    top1_high: float
    top5: float | None
    loss: float
    ece: float
    macro_f1: float
    majority_class: str
    majority_rate: float
    classes: tuple[str, ...]
    confusion_KK: np.ndarray
    precision_K: np.ndarray
    precision_low_K: np.ndarray
    precision_high_K: np.ndarray
    recall_K: np.ndarray
    recall_low_K: np.ndarray
    recall_high_K: np.ndarray
    f1_K: np.ndarray
    support_K: np.ndarray
    grades: GradeFigures | None = None


@dataclass(frozen=True, kw_only=True, repr=False)
class Prediction(Displayed):
    """What a classifier says of one image: `probabilities` (float, sum 1) in the order of `classes`.

    `notes` are sentences on damage of the file beside its pixels. Where an image may have several labels, each
    probability is of its own class, `labels` are the classes that are said, most probable first, and `thresholds` say
    from which probability on; None of one label.

    `unlike_training` says that the image is unlike anything seen in training; None where the run keeps nothing to tell
    it by. An image that is, and one whose most probable class has less than `min_confidence`, has no `answer`, and
    `no_answer` says why; `top` still says what it would be.

    Where a number is asked for, it is `value`, nine of ten truths lie within `interval` (None: not known), `classes` is
    the name of what is measured, and there are no probabilities. Where grades are, `grade` is the median of the
    probabilities, and the answer.
    """

    key: str
    classes: tuple[str, ...]
    probabilities: tuple[float, ...]
    latency_ms: float
    logits: tuple[float, ...] = field(default=())
    notes: tuple[str, ...] = ()
    labels: tuple[str, ...] | None = None
    thresholds: tuple[float, ...] = ()
    unlike_training: bool | None = None
    min_confidence: float = 0.0
    value: float | None = None
    interval: tuple[float, float] | None = None
    grade: str | None = None

    def top(self, num: int) -> list[tuple[str, float]]:
        """The `num` most probable (class, probability) pairs, most probable first; ties in class order; of grades the
        answer first. None of a number. Raises UsageError where `num` is no whole number from 0 on."""
        num = check_count(num, "top", least=0)
        if self.value is not None:
            return []
        return [(self.classes[k], self.probabilities[k]) for k in self._order[:num]]

    @cached_property
    def _order(self) -> list[int]:
        """The places of the classes as `top` has them; it is asked for several times, and there may be many classes."""
        order = sorted(range(len(self.classes)), key=self.probabilities.__getitem__, reverse=True)
        if self.grade is not None:
            order.sort(key=lambda k: self.classes[k] != self.grade)
        return order

    def said_json(self, num: int) -> dict[str, Any]:
        """The answer among classes with the `num` most probable of them, or the number, as `predict --json` and a
        server give it."""
        if self.value is not None:
            is_withheld = bool(self.no_answer)
            return {
                "name": self.classes[0],
                "number": None if is_withheld else self.value,
                "interval": list(self.interval) if self.interval and not is_withheld else None,
                "withheld_number": self.value if is_withheld else None,
                "unlike_training": self.unlike_training,
                "no_answer": self.no_answer or None,
            }
        return {
            "class": self.answer,
            "probability": None if self.no_answer else self.top(1)[0][1],
            "top": [{"class": name, "probability": probability} for name, probability in self.top(num)],
            "unlike_training": self.unlike_training,
            "no_answer": self.no_answer or None,
        }

    @property
    def no_answer(self) -> Literal["", "unlike_training", "low_confidence"]:
        """Why there is no answer; empty where there is one."""
        if self.unlike_training:
            return "unlike_training"
        if self.value is not None:
            return ""
        return "low_confidence" if self.top(1)[0][1] < self.min_confidence else ""

    @property
    def answer(self) -> str | None:
        """The most probable class, a number as text, or None where there is no answer."""
        if self.value is not None:
            return None if self.no_answer else figure(self.value)
        return None if self.no_answer else self.top(1)[0][0]

    def display_lines(self) -> list[str]:
        """The file and its answer, or that there is none and what it would be."""
        said = self._said()
        none = {
            "unlike_training": "unlike anything seen in training; if it had to answer: ",
            "low_confidence": "no answer; if it had to answer: ",
        }
        lines = [f"{printable(self.key)}: {none.get(self.no_answer, '')}{said}."]
        return [*lines, *(f"{printable(self.key)}: {note}" for note in self.notes)]

    def _said(self) -> str:
        if self.value is not None:
            return f"'{printable(self.classes[0])}' {self.number_text()}"
        if self.labels is not None:
            return self._labels_text()
        name, probability = self.top(1)[0]
        return f"'{printable(name)}', {100 * probability:.1f} %"

    def number_text(self) -> str:
        """`42.1 (38.0 to 46.2)`: the number, and the interval where it is known."""
        if self.value is None:
            return ""
        ends = "" if self.interval is None else f" ({figure(self.interval[0])} to {figure(self.interval[1])})"
        return f"{figure(self.value)}{ends}"

    def _labels_text(self) -> str:
        probability = dict(zip(self.classes, self.probabilities, strict=True))
        said = [f"'{printable(name)}', {100 * probability[name]:.1f} %" for name in self.labels or ()]
        return "; ".join(said) or "none of the labels"

    def display_rows(self) -> Rows:
        """The three most probable classes, or the number."""
        if self.value is not None:
            return ("number", "value"), [(self.classes[0], self.number_text())]
        return ("class", "probability"), [(name, f"{100 * value:.1f} %") for name, value in self.top(3)]
