"""Logits and features from one pass: the logits keep their bits, the features are what the head sees."""

import pytest
import torch
from torch import nn

from saccade.models.architecture import ImageClassifier, ModelSpec
from saccade.models.build import resolve_model
from saccade.models.penultimate import MAX_KEPT, as_head_sees, split_outputs, with_features
from saccade.models.surgery import last_layer

SPEC = ModelSpec(num_classes=5, input_CHW=(3, 64, 64))
NETWORKS = (
    *("lenet5", "resnet20", "resnet18", "squeezenet1.1", "squeezenet1.1+linear", "resnet18+hidden16", "mobilenetv2"),
    *("resnet18+loglinear", "convnext-atto", "conv 8 f3 | pool | fc 12 | relu | softmax", "conv 4 f3 | gap | fc 7"),
    "conv 16 f3 same | fc 4",  # whose head sees 65,536 numbers
)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_logits_keep_their_bits_and_the_features_are_what_the_head_sees(name: str):
    torch.manual_seed(0)
    model = resolve_model(name, SPEC).eval()
    image_BCHW = torch.randn(3, *SPEC.input_CHW)
    both = with_features(model, MAX_KEPT)
    assert both is not None
    with torch.inference_mode():
        logits_BK, feature_BD = split_outputs(both(image_BCHW), SPEC.num_classes)
        assert torch.equal(logits_BK, model(image_BCHW))
        assert feature_BD.ndim == 2
        feature = model.forward_features(image_BCHW)
        pooled_BD = feature.mean(dim=(2, 3)) if feature.ndim == 4 else feature
        everything = with_features(model)
        assert everything is not None
        assert torch.equal(split_outputs(everything(image_BCHW), SPEC.num_classes)[1], pooled_BD)
        if pooled_BD.shape[1] > 8192:
            pooled_BD = model.stages(model.stem(image_BCHW)).mean(dim=(2, 3))
        assert torch.equal(feature_BD, pooled_BD)
        assert feature_BD.shape[1] <= 8192


def test_a_network_without_named_parts_or_with_a_way_of_its_own_gives_no_features():
    class Own(ImageClassifier):
        def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
            return image_BCHW.mean(dim=(2, 3))

    assert with_features(Own()) is None
    assert with_features(nn.Sequential(nn.Flatten(), nn.Linear(4, 2))) is None


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("resnet18", 0.0),
        ("squeezenet1.1+linear", 0.0),
        ("resnet18+loglinear", 2e-6),  # their logarithms, undone
        ("resnet18+hidden512", None),  # as many numbers, but of the hidden layer
        ("lenet5", None),
        ("conv 16 f3 same | fc 4", None),  # its features are the means of the last map
    ],
)
def test_the_features_follow_from_what_the_last_layer_sees(name: str, tolerance: float | None):
    torch.manual_seed(0)
    model = resolve_model(name, SPEC).eval()
    seen: list[torch.Tensor] = []
    hook = last_layer(model).register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    both = with_features(model)
    assert both is not None
    with torch.inference_mode():
        _, feature_BD = split_outputs(both(torch.randn(3, *SPEC.input_CHW)), SPEC.num_classes)
    hook.remove()
    undo = as_head_sees(model)
    assert (undo is None) == (tolerance is None)
    if undo is not None:
        torch.testing.assert_close(undo(seen[0]), feature_BD, rtol=tolerance, atol=tolerance)
