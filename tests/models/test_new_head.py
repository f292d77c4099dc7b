"""What a new head sees is told by the old one, and is what a pass in front of it gives."""

import pytest
import torch
from torch import nn

from saccade.models.architecture import MODELS, ImageClassifier, ModelSpec, build_model
from saccade.models.build import without_weights
from saccade.models.new_head import _measured, _told_by_head


@pytest.mark.parametrize(
    "name", ["lenet5", "squeezenet1.1", "nin", "alexnet", "resnet18", "mobilenetv3-small", "convnext-atto"]
)
def test_the_old_head_tells_what_a_pass_in_front_of_it_gives(name: str):
    spec = MODELS.get(name).default_spec
    with without_weights():
        model = build_model(name, spec)
        assert isinstance(model, ImageClassifier)
        seen: list[torch.Tensor] = []
        model.head.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
        model.eval()(torch.zeros(1, *spec.input_CHW))
    assert _told_by_head(model.head) == (seen[0].shape[1], seen[0].ndim == 4)


def test_a_head_that_begins_with_another_layer_is_measured():
    model = build_model("resnet18", ModelSpec(num_classes=3, input_CHW=(3, 64, 64)))
    assert isinstance(model, ImageClassifier)
    model.train()
    model.head = nn.Sequential(nn.Unflatten(1, (128, 4)), nn.Flatten(), nn.Linear(512, 3))
    assert _told_by_head(model.head) is None
    assert _measured(model, ModelSpec(num_classes=3, input_CHW=(3, 64, 64))) == (512, False)
    assert model.training
