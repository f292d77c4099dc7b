"""Layers and networks of the papers against independent computations and the papers' own tables."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from saccade.conv import reference
from saccade.conv.geometry import Window
from saccade.core.errors import ModelError
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.models.layers import SamePadding, SqueezeExcitation, StochasticDepth, set_stochastic_depth
from saccade.models.zoo.alexnet import AlexNet
from saccade.models.zoo.convnet import TABLE_B
from saccade.models.zoo.convnext import LayerScale
from saccade.models.zoo.googlenet import AUXILIARY_WEIGHT, TABLE_1
from saccade.models.zoo.inception import NAIVE_3A, ROW_3A, Inception
from saccade.models.zoo.lenet_1998 import TABLE_I, PartialConvolution, RadialBasisOutput, ScaledTanh, Subsampling
from saccade.models.zoo.resnet import BasicBlock, Bottleneck, ResNetConfig
from saccade.models.zoo.resnet_small import SmallBlock, ZeroPadding


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def test_grouped_convolution_is_two_towers_side_by_side():
    torch.manual_seed(0)
    grouped = nn.Conv2d(6, 8, 3, padding=1, groups=2).double()
    image = random(2, 6, 7, 7)
    ours = grouped(image).detach().numpy()
    weight, bias = grouped.weight.detach().numpy(), grouped.bias.detach().numpy()
    for tower in range(2):
        expected = reference.cross_correlate(
            image.numpy()[:, 3 * tower : 3 * tower + 3], weight[4 * tower : 4 * tower + 4], (Window(3, padding=1),) * 2
        )
        expected += bias[4 * tower : 4 * tower + 4][:, None, None]
        np.testing.assert_allclose(ours[:, 4 * tower : 4 * tower + 4], expected, rtol=1e-10, atol=1e-12)


def test_squeeze_and_excitation_is_figure_3_of_its_paper():
    torch.manual_seed(0)
    layer = SqueezeExcitation(6, 2, activation=nn.SiLU()).double()
    map_BCHW = random(3, 6, 5, 4).numpy()
    reduce_DC, expand_CD = (
        layer.reduce.weight.detach().numpy()[..., 0, 0],
        layer.expand.weight.detach().numpy()[..., 0, 0],
    )
    squeezed_BD = map_BCHW.mean((2, 3)) @ reduce_DC.T + layer.reduce.bias.detach().numpy()
    excited_BC = (squeezed_BD / (1 + np.exp(-squeezed_BD))) @ expand_CD.T + layer.expand.bias.detach().numpy()
    expected = map_BCHW / (1 + np.exp(-excited_BC))[:, :, None, None]
    np.testing.assert_allclose(layer(torch.from_numpy(map_BCHW)).detach().numpy(), expected, rtol=1e-12)
    assert isinstance(SqueezeExcitation(6, 2).activation, nn.ReLU)


def test_stochastic_depth_drops_whole_images_and_keeps_the_mean():
    layer = StochasticDepth(0.25).train()
    branch_BCHW = torch.ones(4000, 2, 3, 1)
    torch.manual_seed(0)
    dropped_BCHW = layer(branch_BCHW)
    of_image_B = dropped_BCHW[:, 0, 0, 0]
    assert torch.equal(dropped_BCHW, of_image_B[:, None, None, None].expand_as(dropped_BCHW))
    assert sorted(set(of_image_B.tolist())) == pytest.approx([0, 1 / 0.75])
    assert float(of_image_B.eq(0).double().mean()) == pytest.approx(0.25, abs=0.03)  # 4 deviations
    torch.manual_seed(0)
    assert torch.equal(layer(branch_BCHW), dropped_BCHW)
    assert not torch.equal(layer(branch_BCHW), dropped_BCHW)


def test_stochastic_depth_is_nothing_in_evaluation_and_refuses_what_is_no_probability():
    state, branch_BCHW = torch.get_rng_state(), torch.ones(8, 2, 3, 1)
    assert StochasticDepth(0.9).eval()(branch_BCHW) is branch_BCHW
    assert StochasticDepth(0).train()(branch_BCHW) is branch_BCHW
    assert torch.equal(torch.get_rng_state(), state)
    with pytest.raises(ModelError) as error:
        StochasticDepth(1)
    assert str(error.value) == "Stochastic depth takes a probability from 0 to below 1, got 1."


def test_stochastic_depth_of_a_whole_network_is_a_draw_for_each_block_and_nothing_in_evaluation():
    """Blocks summed by NumPy, each with what its branch gives and the draws that follow from the seed."""
    spec, probability, block = ModelSpec(num_classes=3, input_CHW=(3, 64, 64)), 0.6, 0
    model = build_model("convnext-atto", spec).double().eval()
    for module in model.modules():
        if isinstance(module, LayerScale):
            nn.init.ones_(module.factor)
    image_BCHW = random(8, 3, 64, 64)
    with torch.no_grad():
        before_BK = model(image_BCHW)
        assert set_stochastic_depth(model, probability)
        assert torch.equal(model(image_BCHW), before_BK)
        rates = np.linspace(0, probability, 12)
        torch.manual_seed(5)
        kept_NB = [np.ones(8)] + [torch.empty(8).bernoulli_(1 - rate).numpy() for rate in rates[1:].tolist()]
        value = model.stem(image_BCHW).numpy()
        for stage in model.stages.children():
            for name, module in stage.named_children():
                branch = (module.branch if name.startswith("block") else module)(torch.from_numpy(value)).numpy()
                if name.startswith("block"):
                    branch = value + branch * (kept_NB[block] / (1 - rates[block]))[:, None, None, None]
                    block += 1
                value = branch
        expected_BK = model.head(model.neck(torch.from_numpy(value)))
        torch.manual_seed(5)
        dropped_BK = model.train()(image_BCHW)
    assert block == 12
    np.testing.assert_allclose(dropped_BK.numpy(), expected_BK.numpy(), rtol=1e-6, atol=1e-9)
    assert not np.allclose(dropped_BK.numpy(), before_BK.numpy(), rtol=1e-2)


def test_a_network_whose_blocks_cannot_be_left_out_has_no_stochastic_depth():
    assert not set_stochastic_depth(build_model("resnet20", ModelSpec(num_classes=2, input_CHW=(3, 32, 32))), 0.5)


@pytest.mark.parametrize(("kernel", "stride"), [(3, 2), (5, 2), (7, 3), (2, 2)])
def test_same_padding_gives_tensorflows_positions(kernel: int, stride: int):
    """TensorFlow's rule: ceil(n / stride) outputs; (outputs - 1) * stride + kernel - n zeros, the odd one behind."""
    for height, width in ((1, 2), (4, 7), (8, 9)):
        padded = SamePadding(kernel, stride)(torch.ones(1, 1, height, width))[0, 0].numpy()
        for axis, size in enumerate((height, width)):
            needed = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
            line = padded.max(axis=1 - axis).tolist()
            assert line == [0] * (needed // 2) + [1] * size + [0] * (needed - needed // 2)


def test_alexnet_splits_exactly_where_figure_2_does():
    with torch.device("meta"):
        model = build_model("alexnet", MODELS.get("alexnet").default_spec)
    assert isinstance(model, AlexNet)
    groups = {name.split(".")[-1]: m.groups for name, m in model.named_modules() if isinstance(m, nn.Conv2d)}
    assert groups == {"convolution1": 1, "convolution2": 2, "convolution3": 1, "convolution4": 2, "convolution5": 2}
    with torch.device("meta"):
        assert model.stages(model.stem(torch.zeros(1, 3, 227, 227))).shape == (1, 256, 6, 6)


def test_network_b_has_the_lectures_table_row_by_row():
    with torch.device("meta"):
        model = build_model("convnet-b", MODELS.get("convnet-b").default_spec)
        activation = torch.zeros(1, *TABLE_B[0][1])
    rows = [("input", tuple(activation.shape[1:]), activation.numel(), 0)]
    named = {"conv1": "CONV1", "pool1": "POOL1", "conv2": "CONV2", "pool2": "POOL2", "fc3": "FC3", "fc4": "FC4"}
    named["softmax"] = "softmax"
    for name, layer in model.named_modules():
        if list(layer.children()):
            continue
        activation = layer(activation)
        leaf = name.split(".")[-1]
        if leaf in named:
            parameters = sum(parameter.numel() for parameter in layer.parameters())
            rows.append((named[leaf], tuple(activation.shape[1:]), activation.numel(), parameters))
    assert tuple(rows) == TABLE_B


def test_network_a_has_the_lectures_sizes():
    with torch.device("meta"):
        model = build_model("convnet-a", MODELS.get("convnet-a").default_spec)
        activation = torch.zeros(1, 3, 39, 39)
    shapes = []
    for part in (model.stem, *model.stages, model.neck):
        activation = part(activation)
        shapes.append(tuple(activation.shape[1:]))
    assert shapes == [(10, 37, 37), (20, 17, 17), (40, 7, 7), (1960,)]


def test_lenet_1998_units_are_the_papers():
    assert ScaledTanh()(torch.tensor([1.0, -1.0, 0.0])).tolist() == pytest.approx([1.0, -1.0, 0.0], abs=1e-4)
    assert sum(len(row) for row in TABLE_I) == 60
    assert [len(row) for row in TABLE_I] == [3] * 6 + [4] * 9 + [6]
    assert len({tuple(sorted(row)) for row in TABLE_I}) == 16, "no two maps of C3 see the same maps of S2"
    assert sum(parameter.numel() for parameter in PartialConvolution().parameters()) == 1516
    assert sum(parameter.numel() for parameter in Subsampling(6).parameters()) == 12


def test_partial_connections_see_their_maps_and_no_other():
    layer = PartialConvolution().double()
    map_BCHW = random(1, 6, 14, 14).requires_grad_()
    for number, row in enumerate(TABLE_I):
        (gradient,) = torch.autograd.grad(layer(map_BCHW)[:, number].sum(), map_BCHW)
        seen = {channel for channel in range(6) if bool(gradient[0, channel].abs().sum() > 0)}
        assert seen == set(row)


def test_the_radial_basis_output_is_a_negated_squared_distance():
    layer = RadialBasisOutput(10, 84)
    feature_BD = random(3, 84).float()
    expected = -((feature_BD.numpy()[:, None, :] - layer.code_KD.numpy()) ** 2).sum(axis=2)
    np.testing.assert_allclose(layer(feature_BD).numpy(), expected, rtol=1e-5)
    assert set(layer.code_KD.unique().tolist()) == {-1.0, 1.0}


def test_subsampling_is_a_gained_mean():
    layer = Subsampling(2).double()
    with torch.no_grad():
        layer.gain_C11.copy_(torch.tensor([2.0, 3.0])[:, None, None])
        layer.bias_C11.copy_(torch.tensor([0.5, -0.5])[:, None, None])
    map_BCHW = random(1, 2, 4, 4)
    mean = map_BCHW.numpy().reshape(1, 2, 2, 2, 2, 2).mean(axis=(3, 5))
    expected = mean * np.array([2.0, 3.0])[:, None, None] + np.array([0.5, -0.5])[:, None, None]
    np.testing.assert_allclose(layer(map_BCHW).detach().numpy(), expected, rtol=1e-12)


def zeroed(block: nn.Module) -> nn.Module:
    """The block with weights and bias of its last normalisation at zero, so that its residual is zero."""
    last = [module for module in block.modules() if isinstance(module, nn.BatchNorm2d)][-1]
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return block


@pytest.mark.parametrize(
    "block",
    [
        BasicBlock(16, 16, 1, ResNetConfig(depth=18)),
        Bottleneck(16, 4, 1, ResNetConfig(depth=50)),
        SmallBlock(16, 16, 1, "zeros"),
    ],
    ids=["basic", "bottleneck", "small"],
)
def test_a_residual_block_of_zeros_is_the_identity_on_what_a_nonlinearity_left(block: nn.Module):
    activation = random(2, 16, 5, 5).relu().float()
    assert torch.equal(zeroed(block)(activation), activation)


def test_a_plain_block_of_zeros_is_not():
    activation = random(2, 16, 5, 5).relu().float()
    assert float(zeroed(SmallBlock(16, 16, 1, "none"))(activation).detach().abs().max()) == 0


def test_zero_padding_shortcuts_keep_every_second_position_and_add_silent_channels():
    map_BCHW = random(1, 16, 8, 8)
    padded = ZeroPadding(16, 32, 2)(map_BCHW)
    assert padded.shape == (1, 32, 4, 4)
    assert torch.equal(padded[:, 8:24], map_BCHW[:, :, ::2, ::2])
    assert float(padded[:, :8].abs().sum() + padded[:, 24:].abs().sum()) == 0
    assert not list(ZeroPadding(16, 32, 2).parameters())


def test_inception_concatenates_its_four_branches_in_the_papers_order():
    torch.manual_seed(0)
    block = Inception(192, ROW_3A).double().eval()
    map_BCHW = random(1, 192, 6, 6)
    joined = block(map_BCHW)
    assert joined.shape == (1, 256, 6, 6)
    start = 0
    for branch, width in ((block.branch1, 64), (block.branch3, 128), (block.branch5, 32), (block.branch_pool, 32)):
        torch.testing.assert_close(joined[:, start : start + width], branch(map_BCHW), rtol=1e-12, atol=0)
        start += width


def multiplications(config, part: str) -> int:
    """Of one branch of a block on 28x28x192, from the shapes of its filters: 28 * 28 * all their weights."""
    with torch.device("meta"):
        branch = getattr(Inception(192, config), part)
    return 28 * 28 * sum(module.weight.numel() for module in branch.modules() if isinstance(module, nn.Conv2d))


def test_the_bottleneck_saves_what_the_lecture_says():
    assert multiplications(NAIVE_3A, "branch5") == 120_422_400
    assert multiplications(ROW_3A, "branch5") == 2_408_448 + 10_035_200 == 12_443_648


def test_googlenet_has_nine_blocks_of_table_1_and_two_side_branches_in_training_only():
    torch.manual_seed(0)
    model = build_model("googlenet", ModelSpec(num_classes=5, input_CHW=(3, 96, 96)))
    blocks = [name for name, module in model.named_modules() if isinstance(module, Inception)]
    assert len(blocks) == len(TABLE_1) == 9
    image_BCHW = random(2, 3, 96, 96).float()
    logits_BK, auxiliary = model.forward_train(image_BCHW)
    assert [weight for weight, _ in auxiliary] == [AUXILIARY_WEIGHT, AUXILIARY_WEIGHT] == [0.3, 0.3]
    assert [other_BK.shape for _, other_BK in auxiliary] == [(2, 5), (2, 5)]
    assert isinstance(model(image_BCHW), torch.Tensor)
    assert logits_BK.shape == (2, 5)
    kernels = {m.branch5.filter.convolution.kernel_size for m in model.modules() if isinstance(m, Inception)}
    assert kernels == {(5, 5)}


def test_side_branches_of_googlenet_are_section_5_computed_independently():
    torch.manual_seed(0)
    model = build_model("googlenet", ModelSpec(num_classes=5, input_CHW=(3, 224, 224))).double().eval()
    assert set(model.auxiliary) == {"4a", "4d"}  # behind these blocks, says section 5
    for name, channels in (("4a", 512), ("4d", 528)):
        branch = model.auxiliary[name]
        parameters = {key: value.detach().numpy() for key, value in branch.state_dict().items()}
        map_BCHW = random(2, channels, 14, 14, seed=1)
        pooled_BCHW = reference.average_pool(map_BCHW.numpy(), (Window(5, 3), Window(5, 3)))
        assert pooled_BCHW.shape == (2, channels, 4, 4)
        weight_key, bias_key = (f"convolution.convolution.{kind}" for kind in ("weight", "bias"))
        assert parameters[weight_key].shape == (128, channels, 1, 1)
        narrow_BCHW = reference.cross_correlate(pooled_BCHW, parameters[weight_key], (Window(1), Window(1)))
        narrow_BCHW = np.maximum(narrow_BCHW + parameters[bias_key][:, None, None], 0)
        hidden_BD = np.maximum(narrow_BCHW.reshape(2, 2048) @ parameters["fc1.weight"].T + parameters["fc1.bias"], 0)
        expected_BK = hidden_BD @ parameters["fc2.weight"].T + parameters["fc2.bias"]
        np.testing.assert_allclose(branch(map_BCHW).detach().numpy(), expected_BK, rtol=1e-10, atol=1e-12)
        assert branch.get_submodule("dropout").p == 0.7


def test_training_of_googlenet_takes_each_side_branch_from_its_own_block():
    torch.manual_seed(0)
    model = build_model("googlenet", ModelSpec(num_classes=5, input_CHW=(3, 96, 96))).eval()
    seen: dict[str, torch.Tensor] = {}
    for name in ("inception4a", "inception4d"):
        block = model.get_submodule(f"stages.stage2.{name}")
        block.register_forward_hook(lambda module, inputs, output, name=name: seen.update({name: output}))
    _, auxiliary = model.forward_train(random(1, 3, 96, 96).float())
    for (_, logits_BK), row in zip(auxiliary, ("4a", "4d"), strict=True):
        assert torch.equal(logits_BK, model.auxiliary[row](seen[f"inception{row}"]))


def test_map_sizes_of_googlenet_are_those_of_table_1():
    with torch.device("meta"):
        model = build_model("googlenet", MODELS.get("googlenet").default_spec).eval()
        map_BCHW = model.stem(torch.zeros(1, 3, 224, 224))
        shapes = [tuple(map_BCHW.shape[1:])]
        for stage in model.stages:
            map_BCHW = stage(map_BCHW)
            shapes.append(tuple(map_BCHW.shape[1:]))
    assert shapes == [(192, 28, 28), (480, 14, 14), (832, 7, 7), (1024, 7, 7)]


def test_a_size_that_does_not_fit_names_layer_formula_and_remedy():
    with pytest.raises(ModelError) as error:
        build_model("squeezenet1.1", ModelSpec(num_classes=10, input_CHW=(3, 16, 16)))
    assert error.value.message == (
        "squeezenet1.1 cannot take an input of 16x16x3: layer 'stages.stage2.pool': pooling f3 s2 on 1x1: "
        "ceil((1 + 0 - 3)/2) + 1 = 0.\n"
        "Use larger images than 16x16, for example --input 32x32x3 for a table, --set input.size_px=32 to train."
    )


def test_a_1x1_convolution_is_a_dense_layer_at_every_position():
    layer = nn.Conv2d(192, 32, 1).double()  # Lin et al. 2013: channels shrink, 28x28 stays
    map_BCHW = random(2, 192, 28, 28)
    dense = layer.weight[:, :, 0, 0]
    expected_BHWK = map_BCHW.permute(0, 2, 3, 1).numpy() @ dense.detach().numpy().T + layer.bias.detach().numpy()
    output_BKHW = layer(map_BCHW)
    assert output_BKHW.shape == (2, 32, 28, 28)
    np.testing.assert_allclose(output_BKHW.permute(0, 2, 3, 1).detach().numpy(), expected_BHWK, rtol=1e-10, atol=1e-12)
