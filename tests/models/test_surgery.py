"""Gradual unfreezing: part after part, each of which has something to train."""

from saccade.models.architecture import ImageClassifier, ModelSpec
from saccade.models.build import resolve_model
from saccade.models.surgery import freeze, thaw


def trained(model: ImageClassifier) -> set[str]:
    """The parts with parameters that steps may change."""
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return {".".join(name.split(".")[:2]) if name.startswith("stages.") else name.split(".")[0] for name in names}


def test_every_step_of_gradual_unfreezing_releases_a_part_with_parameters():
    model = resolve_model("resnet18+loglinear", ModelSpec(num_classes=2, input_CHW=(3, 64, 64)))
    freeze(model, "none")
    parts = ["head", "stages.stage4", "stages.stage3", "stages.stage2", "stages.stage1", "stem"]
    for number in range(6):
        waiting = thaw(model, "none", number / 5)
        assert trained(model) == set(parts[: number + 1])
        held = {id(module) for module in waiting}
        assert (id(model.stem) in held) == (number < 5)
    assert thaw(model, "none", 1.0) == ()
    assert thaw(model, "none", 3.0) == ()
    thaw(model, "none", 0.0)
    assert trained(model) == {"head"}


def test_what_is_frozen_never_thaws():
    model = resolve_model("resnet18+loglinear", ModelSpec(num_classes=2, input_CHW=(3, 64, 64)))
    freeze(model, "stage3")
    thaw(model, "stage3", 1.0)
    assert trained(model) == {"head", "stages.stage4"}
