"""The strengths of all augmentations as one configuration, and the named policies of the literature."""

from typing import Any, Self

from pydantic import Field, create_model, model_validator

from ..core.config import FrozenConfig
from ..core.errors import UnknownNameError, did_you_mean, printable
from .augmentation import AUGMENTATIONS, Augmentation, Border, Framing, Strengths


def _strength_fields() -> dict[str, Any]:
    entries = [AUGMENTATIONS.get(name) for name in AUGMENTATIONS]
    return {entry.name: (entry.strengths, Field(entry.strengths(), description=entry.summary)) for entry in entries}


# One field for each registered augmentation, so that a file dropped into this folder is configurable at once.
class AugmentConfig(create_model("AugmentFields", __base__=FrozenConfig, **_strength_fields())):  # type: ignore[misc]
    """What may happen to a training image; the default is nothing. One field per registered augmentation."""

    border: Border = Field(
        "reflect", description="what lies outside the image: its mirror image, its edge, the mean colour, or black"
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        framing = [entry.name for entry in self.active() if isinstance(entry, Framing)]
        if len(framing) > 1:
            raise ValueError(f"{' and '.join(framing)} both choose what is seen of an image; use one of them")
        return self

    def strengths_of(self, augmentation: Augmentation) -> Strengths:
        """The values of one augmentation."""
        return getattr(self, augmentation.name)

    def active(self) -> list[Augmentation]:
        """The augmentations that can change an image, in alphabetical order."""
        known = [name for name in AUGMENTATIONS if name in type(self).model_fields]  # one may come later
        return [entry for entry in map(AUGMENTATIONS.get, known) if self.strengths_of(entry).is_active]


class Policy(FrozenConfig):
    """A named set of strengths and where they come from."""

    name: str = Field(description="what a person types")
    source: str = Field(description="paper, section, or the public recipe")
    config: AugmentConfig = Field(description="the strengths")

    def values(self) -> dict[str, Any]:
        """The strengths that differ from the defaults, nested as in a configuration file."""
        values, defaults = self.config.model_dump(mode="json"), AugmentConfig().model_dump(mode="json")
        changed: dict[str, Any] = {}
        for name, value in values.items():
            if isinstance(value, dict):
                value = {key: item for key, item in value.items() if item != defaults[name][key]}
            if value and value != defaults[name]:
                changed[name] = value
        return changed


POLICIES: dict[str, Policy] = {}


def _policy(name: str, source: str, values: dict[str, Any]) -> None:
    POLICIES[name] = Policy(name=name, source=source, config=AugmentConfig.parse(values, f"policy {name}"))


def get_policy(name: str) -> Policy:
    """The policy called `name`. Raises UnknownNameError with the nearest name."""
    if name not in POLICIES:
        raise UnknownNameError(
            f"Unknown augmentation policy '{printable(name)}'.{did_you_mean(name, POLICIES)} "
            f"Policies: {', '.join(POLICIES)}."
        )
    return POLICIES[name]


HALF = {"probability": 0.5}

_policy("none", "no augmentation: every image as evaluation sees it", {})
_policy(
    "shift-flip",
    "small images: He et al. 2016, Deep residual learning, section 4.2 (4 pixels of zeros around, random crop, mirror)",
    {"mirror": HALF, "shift": {"max_px": 4}, "border": "black"},
)
_policy(
    "airbench",
    "small images: Jordan 2024, arXiv:2404.00498, sections 3.1 and 3.6 (2 pixels, reflected; alternating mirror)",
    {"alternating_mirror": {"enabled": True}, "shift": {"max_px": 2}},
)
_policy(
    "cutout",
    "small images: DeVries and Taylor 2017, arXiv:1708.04552, section 4.1 (CIFAR-10: shift-flip and 16 pixels)",
    {"mirror": HALF, "shift": {"max_px": 4}, "cutout": {"size_px": 16}, "border": "black"},
)
_policy(
    "handwriting",
    "digits and letters, which are never mirrored: Simard et al. 2003, section 2; LeCun et al. 1998, section III.B",
    {
        "rotation": {"max_degrees": 10},
        "shear": {"max_horizontal_degrees": 10},
        "translation": {"max_fraction": 0.08},
        "elastic": {"max_px": 1.5, "spacing_px": 7},
        "border": "edge",
    },
)
_policy(
    "photo-light",
    "photographs, few images or few epochs: fastai's Imagenette recipe (35 to 100 % of the area, mirror)",
    {"crop": {"min_area": 0.35}, "mirror": HALF},
)
_policy(
    "photo",
    "photographs: Szegedy et al. 2014, section 6; colours of fb.resnet.torch (Gross and Wilber 2016): 0.4 each",
    {
        "crop": {"min_area": 0.08},
        "mirror": HALF,
        "brightness": {"max_change": 0.4},
        "contrast": {"max_change": 0.4},
        "saturation": {"max_change": 0.4},
    },
)
_policy(
    "alexnet",
    "photographs: Krizhevsky et al. 2012, section 4.1 (random window of the resized image, mirror, PCA colour)",
    {"window": {"reach": 1}, "mirror": HALF, "pca_colour": {"deviation": 0.1}},
)
_policy(
    "photo-mixed",
    "photographs, many epochs: photo with mixup of half of the images (Zhang et al. 2018, alpha 0.2 on ImageNet) and "
    "CutMix of half of them (Yun et al. 2019, alpha 1)",
    {
        "crop": {"min_area": 0.08},
        "mirror": HALF,
        "brightness": {"max_change": 0.4},
        "contrast": {"max_change": 0.4},
        "saturation": {"max_change": 0.4},
        "mixup": {"alpha": 0.2, "probability": 0.5},
        "cutmix": {"alpha": 1, "probability": 0.5},
    },
)
_policy(
    "trivial-wide",
    "photographs, many epochs, nothing to tune: Müller and Hutter 2021, arXiv:2103.10158 (crops of 8 to 100 %, mirror)",
    {"crop": {"min_area": 0.08}, "mirror": HALF, "trivial_augment": {"probability": 1}},
)
_policy(
    "rand-augment",
    "photographs, many epochs: Cubuk et al. 2020, arXiv:1909.13719, section 4.4 (N = 2, M = 9 for ResNet-50)",
    {"crop": {"min_area": 0.08}, "mirror": HALF, "rand_augment": {"num_operations": 2, "magnitude": 9}},
)
_policy(
    "augmix",
    "photographs that come blurred, noisy or badly lit: Hendrycks et al. 2020, arXiv:1912.02781 (severity 3, 3 chains)",
    {"crop": {"min_area": 0.08}, "mirror": HALF, "augmix": {"severity": 3}},
)
