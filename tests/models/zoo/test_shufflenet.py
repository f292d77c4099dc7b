"""ShuffleNet V2: the shuffle, figures from Table 5 by hand, torchvision's names."""

import pytest
import torch

from saccade.models.architecture import MODELS, build_model
from saccade.models.zoo.shufflenet import ShuffleUnit
from saccade.weights.tensors import match_names, tensor_shapes

# Table 5: output channels of stages 2, 3, 4 and conv5.
TABLE_5 = {
    "0.5": (48, 96, 192, 1024),
    "1.0": (116, 232, 464, 1024),
    "1.5": (176, 352, 704, 1024),
    "2.0": (244, 488, 976, 2048),
}
Shapes = dict[str, tuple[int, ...]]


def convolution(name: str, norm: str, *sizes: int) -> Shapes:
    shapes: Shapes = {f"{name}.weight": sizes, f"{norm}.num_batches_tracked": ()}
    return shapes | {f"{norm}.{kind}": sizes[:1] for kind in ("weight", "bias", "running_mean", "running_var")}


def torchvision_shapes(width: str) -> Shapes:
    *stages, last = TABLE_5[width]
    shapes, given = convolution("conv1.0", "conv1.1", 24, 3, 3, 3), 24
    for stage, (out, units) in enumerate(zip(stages, (4, 8, 4), strict=True), start=2):
        for unit in range(units):
            place, half = f"stage{stage}.{unit}", out // 2
            if unit == 0:
                shapes |= convolution(f"{place}.branch1.0", f"{place}.branch1.1", given, 1, 3, 3)
                shapes |= convolution(f"{place}.branch1.2", f"{place}.branch1.3", half, given, 1, 1)
            place = f"{place}.branch2"
            shapes |= convolution(f"{place}.0", f"{place}.1", half, given if unit == 0 else half, 1, 1)
            shapes |= convolution(f"{place}.3", f"{place}.4", half, 1, 3, 3)
            shapes |= convolution(f"{place}.5", f"{place}.6", half, half, 1, 1)
            given = out
    shapes |= convolution("conv5.0", "conv5.1", last, given, 1, 1)
    return shapes | {"fc.weight": (1000, last), "fc.bias": (1000,)}


@pytest.mark.parametrize("width", TABLE_5)
def test_every_tensor_of_torchvisions_file_has_its_place(width: str):
    architecture = MODELS.get(f"shufflenetv2-x{width}")
    with torch.device("meta"):
        ours = tensor_shapes(build_model(architecture.name, architecture.default_spec))
    theirs = torchvision_shapes(width)
    names, unused = match_names(list(theirs), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    assert {key: ours[place] for key, place in names.items()} == theirs


@pytest.mark.parametrize("width", TABLE_5)
def test_multiply_adds_follow_from_table_5(width: str):
    *stages, last = TABLE_5[width]
    total, given, side = 27 * 24 * 112**2, 24, 56
    for out, units in zip(stages, (4, 8, 4), strict=True):
        half, before, side = out // 2, side**2, side // 2
        total += (9 * given + given * half) * side**2  # the other way of the first unit
        total += given * half * before + (9 * half + half * half) * side**2
        total += (units - 1) * (2 * half * half + 9 * half) * side**2
        given = out
    (reference,) = MODELS.get(f"shufflenetv2-x{width}").references
    assert reference.multiply_adds == total + given * last * side**2 + 1000 * last


def test_a_unit_passes_half_of_the_channels_and_takes_both_in_turn():
    torch.manual_seed(0)
    unit = ShuffleUnit(8, 8, stride=1).eval()
    map_BCHW = torch.randn(2, 8, 3, 5)
    with torch.no_grad():
        shuffled_BCHW = unit(map_BCHW)
        filtered_BCHW = unit.branch(map_BCHW[:, 4:])
    for channel in range(4):
        assert torch.equal(shuffled_BCHW[:, 2 * channel], map_BCHW[:, channel])
        assert torch.equal(shuffled_BCHW[:, 2 * channel + 1], filtered_BCHW[:, channel])
