"""A network with public weights, opened for what its head sees of images."""

from pathlib import Path

from ..core.runtime import Runtime
from ..weights.public import BackboneWeights, find_weights, load_backbone
from .classifier import Member


def open_backbone(
    name: str, weights: str, runtime: Runtime, preprocessing: Path | None = None
) -> tuple[Member, BackboneWeights]:
    """The network `name` with `weights`, which are what `transfer` takes, and what is known of them.

    Raises WeightsError, ConfigError, or UnknownNameError for `name`.
    """
    found = find_weights(weights, name, preprocessing)
    model = load_backbone(found).eval().to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
    member = Member(
        name=found.source,
        model=model,
        classes=found.classes or tuple(str(number) for number in range(found.num_classes)),
        preprocessing=found.preprocessing,
        temperature=1.0,
        runtime=runtime,
        architecture=name,
    )
    return member, found
