"""ResNeXt, Wide ResNet and ResNet-D: blocks against sums by hand, and the names of their public files."""

import numpy as np
import pytest
import torch
from tests.models.zoo.public_names import Shapes, check_every_tensor_has_its_place, norm, with_bias

from saccade.conv import reference
from saccade.conv.geometry import Window
from saccade.design.desk import TableRequest, draw_table
from saccade.models.zoo.resnet import Bottleneck, ResNetConfig, pooled_shortcut
from saccade.models.zoo.resnet_d import build
from saccade.models.zoo.resnext import CONFIGS, IMAGENET


def test_a_bottleneck_in_groups_is_a_sum_of_narrow_paths():
    """Figure 3 of the paper: (a), paths of 1x1, 3x3 and 1x1 each, is what (c), the grouped convolution, computes."""
    torch.manual_seed(0)
    config = ResNetConfig(depth=50, groups=8, group_width=4)
    block = Bottleneck(16, 64, 1, config).double().eval()
    map_BCHW = torch.randn(2, 16, 5, 5, dtype=torch.float64)
    down, inside, up = (layer.convolution.weight.detach().numpy() for layer in list(block.children())[:3])
    assert down.shape[:2] == (32, 16)
    assert inside.shape == (32, 4, 3, 3)
    expected = np.zeros((2, 256, 5, 5))
    keep, window = (Window(1),) * 2, (Window(3, padding=1),) * 2
    for path in range(8):
        own = slice(4 * path, 4 * path + 4)
        narrow = np.maximum(normalised(reference.cross_correlate(map_BCHW.numpy(), down[own], keep)), 0)
        filtered = np.maximum(normalised(reference.cross_correlate(narrow, inside[own], window)), 0)
        expected += normalised(reference.cross_correlate(filtered, up[:, own], keep))
    expected += normalised(
        reference.cross_correlate(map_BCHW.numpy(), block.shortcut.convolution.weight.detach().numpy(), keep)
    )
    np.testing.assert_allclose(block(map_BCHW).detach().numpy(), np.maximum(expected, 0), rtol=1e-9, atol=1e-12)


def normalised(map_BCHW: np.ndarray) -> np.ndarray:
    """What a fresh batch normalisation makes of a map when it answers: mean 0, variance 1, plus torch's 1e-5."""
    return map_BCHW / np.sqrt(1 + 1e-5)


@pytest.mark.parametrize(("name", "inner"), [("resnext50-32x4d", 128), ("resnext101-32x8d", 256)])
def test_the_inner_width_is_that_of_table_1(name: str, inner: int):
    config = CONFIGS[name]
    assert [config.inner_width(width) for width in (64, 128, 256, 512)] == [inner * 2**stage for stage in range(4)]


def test_a_pooled_shortcut_projects_the_mean_of_four_positions_and_what_is_left_over_by_itself():
    torch.manual_seed(0)
    layer = pooled_shortcut(2, 3, 2).double().eval()
    map_BCHW = torch.randn(1, 2, 5, 4, dtype=torch.float64)
    image = map_BCHW.numpy()
    means = np.zeros((1, 2, 3, 2))
    for row in range(3):
        for column in range(2):
            means[:, :, row, column] = image[:, :, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2].mean((2, 3))
    weight = layer.project.convolution.weight.detach().numpy()
    expected = normalised(np.einsum("oc,bchw->bohw", weight[:, :, 0, 0], means))
    np.testing.assert_allclose(layer(map_BCHW).detach().numpy(), expected, rtol=1e-9)


def test_a_resnet_d_takes_odd_sizes_down_to_one_pixel():
    config = ResNetConfig(depth=50, deep_stem=True, pooled_shortcuts=True)
    with torch.device("meta"):
        model = build(config, IMAGENET).eval()
        assert [tuple(model(torch.zeros(1, 3, *size)).shape) for size in ((225, 223), (33, 1), (1, 1))] == [
            (1, 1000)
        ] * 3


def block_shapes(with_excitation: bool, projection: str) -> Shapes:
    """timm's tensors of the four stages of 50 layers; `projection` numbers the shortcut's layers."""
    theirs: Shapes = {}
    convolution, normalisation = projection
    channels = 64
    for stage, (count, width) in enumerate(zip((3, 4, 6, 3), (64, 128, 256, 512), strict=True), start=1):
        for block in range(count):
            place = f"layer{stage}.{block}"
            theirs[f"{place}.conv1.weight"] = (width, channels, 1, 1)
            theirs[f"{place}.conv2.weight"] = (width, width, 3, 3)
            theirs[f"{place}.conv3.weight"] = (4 * width, width, 1, 1)
            theirs |= norm(f"{place}.bn1", width) | norm(f"{place}.bn2", width) | norm(f"{place}.bn3", 4 * width)
            if with_excitation:
                theirs |= with_bias(f"{place}.se.fc1", width // 4, 4 * width, 1, 1)
                theirs |= with_bias(f"{place}.se.fc2", 4 * width, width // 4, 1, 1)
            if block == 0:
                theirs[f"{place}.downsample.{convolution}.weight"] = (4 * width, channels, 1, 1)
                theirs |= norm(f"{place}.downsample.{normalisation}", 4 * width)
            channels = 4 * width
    return theirs | with_bias("fc", 1000, 2048)


def test_every_tensor_of_timms_resnet_50_d_has_its_place():
    stem: Shapes = {"conv1.0.weight": (32, 3, 3, 3), "conv1.3.weight": (32, 32, 3, 3), "conv1.6.weight": (64, 32, 3, 3)}
    stem |= norm("conv1.1", 32) | norm("conv1.4", 32) | norm("bn1", 64)
    check_every_tensor_has_its_place("resnet50-d", stem | block_shapes(False, "12"))


def test_every_tensor_of_timms_se_resnet_50_has_its_place():
    stem: Shapes = {"conv1.weight": (64, 3, 7, 7), **norm("bn1", 64)}
    check_every_tensor_has_its_place("se-resnet50", stem | block_shapes(True, "01"))


def test_excitation_weighs_the_branch_and_not_the_shortcut():
    torch.manual_seed(0)
    block = Bottleneck(16, 4, 1, ResNetConfig(depth=50, squeeze=4)).double().eval()
    map_BCHW = torch.randn(2, 16, 5, 5, dtype=torch.float64).relu()
    branch_BCHW = block.convolution3(block.convolution2(block.convolution1(map_BCHW).relu()).relu())
    for bias, weight in ((60.0, 1.0), (0.0, 0.5), (-60.0, 0.0)):  # the sigmoid of the biases alone
        torch.nn.init.zeros_(block.excitation.expand.weight)
        torch.nn.init.constant_(block.excitation.expand.bias, bias)
        torch.testing.assert_close(block(map_BCHW), (map_BCHW + weight * branch_BCHW).relu())


def test_the_table_counts_what_squeeze_and_excitation_costs():
    """By hand for the first block: 256 channels down to 16 and up again, once for a whole map."""
    table = draw_table("se-resnet50", TableRequest(input_CHW=(3, 224, 224), num_classes=1000))
    start = "stages.stage1.0.excitation."
    rows = [
        (layer.name.removeprefix(start), layer.output, layer.parameters, layer.multiply_adds, layer.folded)
        for layer in table.layers
        if layer.name.startswith(start)
    ]
    assert rows == [
        ("pool", (256, 1, 1), 0, 0, ()),
        ("reduce", (16, 1, 1), 256 * 16 + 16, 256 * 16, ("relu",)),
        ("expand", (256, 1, 1), 16 * 256 + 256, 16 * 256, ("sigmoid",)),
        ("multiply", (256, 56, 56), 0, 0, ()),
    ]
