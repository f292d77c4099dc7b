"""Networks on inputs that are not square: they answer, or refuse by name, and never end in torch's own error."""

import pytest
import torch

from saccade.core.errors import ModelError
from saccade.models.architecture import MODELS, ModelSpec
from saccade.models.build import without_weights

OBLONG = (2, 3)  # the longer side is three times half of the shorter one


def oblong(name: str, is_wide: bool) -> ModelSpec:
    channels, height_px, _ = MODELS.get(name).default_spec.input_CHW
    longer_px = height_px * OBLONG[1] // OBLONG[0]
    sides = (height_px, longer_px) if is_wide else (longer_px, height_px)
    return ModelSpec(num_classes=3, input_CHW=(channels, *sides))


ONE_A_FAMILY = (
    *("alexnet", "convnet-a", "convnext-atto", "densenet121", "efficientnet-lite0", "googlenet", "inception-v3"),
    *(
        "lenet5",
        "lenet5-1998",
        "mobilenetv2",
        "mobilenetv3-small",
        "mobilenetv4-conv-small",
        "nin",
        "plain20",
        "resnet18",
    ),
    *("regnety-400mf", "shufflenetv2-0.5", "speedrun-narrow", "squeezenet1.1", "vgg11", "vit-s14-dinov2"),
)


@pytest.mark.parametrize("number", range(len(ONE_A_FAMILY)), ids=ONE_A_FAMILY)
def test_a_network_answers_for_oblong_inputs_or_says_why_not(number: int):
    name = ONE_A_FAMILY[number]
    spec = oblong(name, is_wide=number % 2 == 0)
    if name == "lenet5-1998":  # its code is one of 32x32
        with pytest.raises(ModelError, match=r"^lenet5-1998 .*32x48x1|^lenet5-1998 .*48x32x1"):
            MODELS.get(name).build(spec)
        return
    with without_weights():
        network = MODELS.get(name).build(spec).eval()
    with torch.device("meta"), torch.no_grad():
        assert network(torch.zeros(1, *spec.input_CHW)).shape == (1, 3)
