"""The strengths of all augmentations as one configuration, and the named policies of the literature."""

from typing import Any

from pydantic import Field, create_model

from ...core.config import FrozenConfig
from ...core.errors import UnknownNameError, did_you_mean, printable
from .base import AUGMENTATIONS, Augmentation, Border, Strengths


def _strength_fields() -> dict[str, Any]:
    entries = [AUGMENTATIONS.get(name) for name in AUGMENTATIONS]
    return {entry.name: (entry.strengths, Field(entry.strengths(), description=entry.summary)) for entry in entries}


# One field for each registered augmentation, so that a file dropped into this folder is configurable at once.
class AugmentConfig(create_model("AugmentFields", __base__=FrozenConfig, **_strength_fields())):  # type: ignore[misc]
    """What may happen to a training image; the default is nothing. One field per registered augmentation."""

    border: Border = Field(
        "reflect", description="what lies outside the image: its mirror image, its edge, the mean colour, or black"
    )

    def strengths_of(self, augmentation: Augmentation) -> Strengths:
        """The values of one augmentation."""
        return getattr(self, augmentation.name)

    def active(self) -> list[Augmentation]:
        """The augmentations that can change an image, in alphabetical order."""
        entries = [AUGMENTATIONS.get(name) for name in AUGMENTATIONS]
        return [entry for entry in entries if self.strengths_of(entry).is_active]


class Policy(FrozenConfig):
    """A named set of strengths and where they come from."""

    name: str = Field(description="what a person types")
    source: str = Field(description="paper, section, or the public recipe")
    config: AugmentConfig = Field(description="the strengths")


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


_policy("none", "no augmentation: every image as evaluation sees it", {})
_policy(
    "shift-flip",
    "He et al. 2016, Deep residual learning, section 4.2: 4 pixels of zeros on each side, random crop, mirror",
    {"mirror": {"probability": 0.5}, "shift": {"max_px": 4}, "border": "black"},
)
