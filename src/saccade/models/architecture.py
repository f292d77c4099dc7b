"""What every network is: `stem -> stages -> neck -> head`, a factory in the registry, and its published figures.

Public code and papers count a multiply-add once; so do we: convolution and linear layers, no biases, one image.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from numbers import Integral
from typing import NoReturn

import torch
from torch import nn

from ..core.errors import ModelError, printable, shell_word
from ..core.registry import Registry, spelled
from ..core.types import Preprocessing
from .elsewhere import nearest_here


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """What a factory is asked to build: K classes for inputs of `input_CHW` (channels, height and width in pixels)."""

    num_classes: int
    input_CHW: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """Figures published for a network, which the contract tests hold our code against.

    `parameters` and `multiply_adds` are exact counts at `spec`. `source` is the paper's table or the public
    implementation that the figures were read from, or the sum by which they were counted by hand.
    """

    spec: ModelSpec
    source: str
    parameters: int
    multiply_adds: int


class ImageClassifier(nn.Module):
    """A network with the field's named parts. Abstract: it has no state of its own.

    `stem` and the children of `stages` (named `stage1`, `stage2`, ...) keep their input a map_BCHW, or token_BND, of
    which `as_map` makes one; `neck` turns the last of them into the feature, which is feature_BD, or stays feature_BCHW
    where the paper's head is itself convolutional (Network in Network, SqueezeNet); `head` gives logits_BK. These
    attribute names are a file format.
    """

    stem: nn.Module
    stages: nn.Sequential
    neck: nn.Module
    head: nn.Module

    def forward_features(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """Everything before the head: feature_BD (or feature_BCHW, see the class)."""
        feature: torch.Tensor = self.neck(self.stages(self.stem(image_BCHW)))
        return feature

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK of normalised images."""
        logits_BK: torch.Tensor = self.head(self.forward_features(image_BCHW))
        return logits_BK

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        """logits_BK and the (loss weight, logits_BK) of auxiliary heads, which only training uses."""
        return self(image_BCHW), []

    def endpoints(self) -> Iterator[tuple[str, nn.Module]]:
        """The named parts in order of computation: stem, stage1, ..., neck, head."""
        yield "stem", self.stem
        yield from self.stages.named_children()
        yield "neck", self.neck
        yield "head", self.head

    def map_names(self) -> list[str]:
        """The endpoints that are maps, with an influence of every position on the logits: stem, stage1, ..."""
        return ["stem", *(name for name, _ in self.stages.named_children())]

    def as_map(self, output: torch.Tensor, image_BCHW: torch.Tensor) -> torch.Tensor:
        """What an endpoint puts out for `image_BCHW` as map_BCHW; so it is as it comes, except for tokens."""
        return output


RenameKey = Callable[[str], str | None]


@dataclass(frozen=True, kw_only=True)
class Translation:
    """A `rename_key` for networks whose public files do not all add the same epsilon to a variance.

    `added_variance(name)` is the epsilon of the file that has a running variance under `name`, less ours: loading adds
    it to the variance, so that the sum of both, and with it every answer, is the file's.
    """

    rename: RenameKey
    added_variance: Callable[[str], float]

    def __call__(self, key: str) -> str | None:
        """See `Architecture.rename_key`."""
        return self.rename(key)


@dataclass(frozen=True, kw_only=True)
class PublicInput:
    """How pixels become inputs of public weights that do not say so; `whose` they are, as `torchvision's`."""

    whose: str
    preprocessing: Preprocessing


# Torchvision's first files: short side to 256, centre 224x224, bilinear, ImageNet's mean and deviation.
TORCHVISION_INPUT = PublicInput(whose="torchvision's", preprocessing=Preprocessing(resize_px=256))
PHOTO_CHW = (3, 224, 224)


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """A registered network.

    `build(spec)` raises ModelError, naming the layer, where the input does not fit. `rename_key` translates a name in
    a public weight file to ours (None: the tensor is not used); the whole is None where no public weights exist.
    `also_called` are names that others give it, such as timm's, besides other spellings of `name`.
    `public_input` is assumed of files that say nothing; None is torchvision's first for photos of 224x224, and nothing
    for other inputs. `lookalikes` are timm's names of networks with the same tensors and another arithmetic, each with
    the words for it ("pads as TensorFlow does"): their weights are refused. Without `public_head`, public files end in
    the feature, and may lack the head.
    """

    name: str
    build: Callable[[ModelSpec], nn.Module]
    summary: str
    citation: str
    default_spec: ModelSpec
    references: tuple[Reference, ...] = ()
    rename_key: RenameKey | None = None
    also_called: tuple[str, ...] = ()
    public_input: PublicInput | None = None
    lookalikes: Mapping[str, str] = field(default_factory=dict, hash=False)
    public_head: bool = True


MOST_NAMED, FEWEST_LETTERS = 8, 3  # of a family in a message, and of its name


class Networks(Registry[Architecture]):
    """The registered networks. A name that is known elsewhere leads to the nearest one here."""

    def unknown(self, name: str) -> str:
        """As for every registry; for a network of others, what it is and which one here is nearest."""
        owner, _, last = name.rpartition("/")
        if name.startswith(("/", "./", "../", "~/")):  # by its look: what lies there is nobody's business
            return (
                f"Unknown model '{printable(name[:80])}', which is written like a place on this machine. A run or a "
                f"file of weights there begins a transfer: saccade transfer SOURCE --weights {shell_word(name[:80])}"
            )
        if owner and nearest_here(last) is not None:
            return self.unknown(last)  # the hub calls it OWNER/NAME
        network, point, _ = name.partition(".")
        own = self._spellings.get(spelled(network), set()) if point else set()
        if len(own) == 1:
            return (
                f"'{printable(name[:80])}' is a name of weights; their network is {next(iter(own))}. "
                f"'saccade weights' lists weights, 'saccade {self.plural}' networks."
            )
        family_here = self._family(name)
        if len(family_here) > 1:
            others = f" and {len(family_here) - MOST_NAMED} more" if len(family_here) > MOST_NAMED else ""
            return (
                f"'{printable(name[:80])}' is a family of networks; name one of them: "
                f"{', '.join(family_here[:MOST_NAMED])}{others}. 'saccade {self.plural}' lists all."
            )
        here = nearest_here(name)
        if here is None or here[1] not in self:
            return super().unknown(name)
        family, nearest = here
        return (
            f"Saccade has no {family} ('{printable(name[:80])}'). The nearest by size and accuracy: {nearest}. "
            f"'saccade {self.plural}' lists all {len(self.names())}."
        )

    def _family(self, name: str) -> list[str]:
        """The networks whose names go on where `name` ends, but not in the middle of a number."""
        key = spelled(name)
        if len(key) < FEWEST_LETTERS:
            return []
        ends_in_digit = key[-1].isdigit()
        return [
            own
            for own in self.names()
            if spelled(own).startswith(key) and not (ends_in_digit and spelled(own)[len(key) :][:1].isdigit())
        ]


def _what_is_wrong(architecture: Architecture) -> str:
    spec = architecture.default_spec
    sizes = (spec.num_classes, *spec.input_CHW) if isinstance(spec.input_CHW, tuple) else ()
    if len(sizes) != 4 or not all(isinstance(size, Integral) and size > 0 for size in sizes):
        return f"'default_spec' must have classes, channels, height and width, each 1 or more, not {spec!r}"[:300]
    return ""


MODELS = Networks("model", "models", "saccade.models.zoo", Architecture, _what_is_wrong)


def register(architecture: Architecture, origin: str) -> None:
    """Enter `architecture` under its name; `origin` is the module's `__name__`."""
    MODELS.add(architecture, origin)


def build_model(name: str, spec: ModelSpec) -> nn.Module:
    """A freshly initialised network. Raises UnknownNameError, or ModelError where the spec does not fit."""
    architecture = MODELS.get(name)
    if spec.num_classes < 1 or min(spec.input_CHW) < 1:
        raise ModelError(f"{name} needs at least one class and a positive input size, got {spec}.")
    network = architecture.build(spec)
    if not isinstance(network, nn.Module):
        raise ModelError(
            f"The network {name} of {MODELS.origin(name)} cannot be used: its build gives a value of type "
            f"{type(network).__name__}, not a torch.nn.Module.\nCorrect it there."
        )
    return network


def does_not_fit(model: str, layer: str, spec: ModelSpec, why: str, remedy: str) -> NoReturn:
    """Raise the ModelError for an input that `layer` of `model` cannot take."""
    channels, height_px, width_px = spec.input_CHW
    raise ModelError(
        f"{printable(model)} cannot take an input of {height_px}x{width_px}x{channels}: "
        f"layer '{printable(layer)}': {why}.\n{remedy}"
    )


def flatten_maps(map_BCHW: torch.Tensor) -> torch.Tensor:
    """feature_BD from map_BCHW, D = C * H * W, in channel-major order."""
    return map_BCHW.flatten(1)
