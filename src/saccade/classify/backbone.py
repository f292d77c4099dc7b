"""A network with public weights, opened for what its head sees of images."""

from pathlib import Path

from ..core.errors import UsageError, printable, shell_word
from ..core.runtime import Runtime
from ..models.architecture import MODELS
from ..weights.public import BackboneWeights, find_weights, load_backbone
from .classifier import Member


def refuse_network_for_run(text: str) -> None:
    """Raise UsageError where `text`, given for a run, is no folder but the name of a network."""
    if text in MODELS and not Path(text).exists():
        raise UsageError(
            f"'{printable(text)}' is a network, and no run has that name here: which weights should it have?\n"
            f"Give them: --weights FILE-OR-FOLDER. Those that can be fetched: saccade weights {shell_word(text)}"
        )


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
        classes=found.classes or tuple(str(number) for number in range(found.num_classes or 1)),  # without a head, 1
        preprocessing=found.preprocessing,
        temperature=1.0,
        runtime=runtime,
        architecture=name,
    )
    return member, found
