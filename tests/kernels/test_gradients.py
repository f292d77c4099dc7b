"""Convolutions trained with a weight gradient of our own: outputs, gradients, names, and where they are used."""

import copy
from collections.abc import Callable

import pytest
import torch
from torch import nn

from saccade.core.runtime import Runtime
from saccade.core.types import Preprocessing
from saccade.kernels import gradients, side_by_side, strided_depthwise, winograd
from saccade.kernels.gradients import (
    FastWeightConvolution,
    SideBySideConvolution,
    StridedDepthwiseConvolution,
    WinogradConvolution,
)
from saccade.models.architecture import ModelSpec
from saccade.models.build import resolve_model
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

WIDE = dict(kernel_size=3, padding=1)
KINDS = [(WinogradConvolution, winograd.suits), (SideBySideConvolution, side_by_side.suits)]
Kind = type[FastWeightConvolution]
Suits = Callable[[nn.Module], bool]


@pytest.mark.parametrize(("kind", "suits"), KINDS)
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size", [7, 9])
def test_a_trained_convolution_gives_the_same_outputs_and_gradients(kind: Kind, suits: Suits, bias: bool, size: int):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(64, 64, **WIDE, bias=bias), nn.GELU(), nn.Conv2d(64, 96, **WIDE, bias=bias))
    plain = plain.double().to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    assert gradients.replace(fast, kind, suits) == 2
    assert list(fast.state_dict()) == list(plain.state_dict())
    image_BCHW = torch.randn(3, 64, size, size, dtype=torch.float64)
    inputs = [image_BCHW.clone().requires_grad_() for _ in range(2)]
    outputs = [network(image) for network, image in zip((plain, fast), inputs, strict=True)]
    torch.testing.assert_close(outputs[0], outputs[1], rtol=1e-12, atol=1e-12)
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-10, atol=1e-10)
    for a, b in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-10, atol=1e-10)
        assert a.stride() == b.grad.stride()  # which the fused optimizers rely on
    copied = copy.deepcopy(fast).eval()  # as a running average of the weights keeps it
    assert torch.equal(copied(image_BCHW), plain.eval()(image_BCHW))


@pytest.mark.parametrize("bias", [False, True])
def test_under_autocast_outputs_are_torchs_and_gradients_as_near_the_exact_ones(bias: bool):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(64, 32, 1, bias=bias), nn.GELU(), nn.Conv2d(32, 32, **WIDE, bias=bias))
    plain = plain.to(memory_format=torch.channels_last)
    fast, exact = copy.deepcopy(plain), copy.deepcopy(plain).double()
    assert gradients.replace(fast, SideBySideConvolution, side_by_side.suits) == 2
    image_BCHW = torch.randn(12, 64, 7, 7)
    exact(image_BCHW.double()).square().sum().backward()
    outputs = []
    for network in (plain, fast):
        with torch.autocast("cpu", torch.bfloat16):
            outputs.append(network(image_BCHW))
        outputs[-1].float().square().sum().backward()
    assert torch.equal(outputs[0], outputs[1])
    for a, b, c in zip(plain.parameters(), fast.parameters(), exact.parameters(), strict=True):
        assert b.grad is not None
        assert b.grad.dtype == torch.float32
        assert a.stride() == b.grad.stride()
        error = [float((found.grad.double() - c.grad).norm() / c.grad.norm()) for found in (a, b)]
        assert error[1] < 1.2 * error[0] + 1e-3


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(64, 64, 3, stride=2, padding=1),
        nn.Conv2d(64, 64, 3),
        nn.Conv2d(64, 64, 3, padding=1, groups=2),
        nn.Conv2d(64, 64, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(64, 64, 3, padding=2, dilation=2),
        nn.Conv2d(63, 64, 3, padding=1),
        nn.Conv2d(64, 64, 1),
        nn.Linear(64, 64),
    ],
    ids=str,
)
def test_layers_that_winograds_tiles_do_not_suit_stay_as_they_are(other: nn.Module):
    kind = type(other)
    assert gradients.replace(nn.Sequential(other), WinogradConvolution, winograd.suits) == 0
    assert type(other) is kind


@pytest.mark.parametrize(("kind", "suits"), KINDS)
def test_frozen_weights_get_no_gradient(kind: Kind, suits: Suits):
    layer = nn.Sequential(nn.Conv2d(64, 64, **WIDE, bias=False))
    layer.requires_grad_(False)
    assert gradients.replace(layer, kind, suits) == 0
    layer.requires_grad_(True)
    assert gradients.replace(layer, kind, suits) == 1
    layer.requires_grad_(False)
    image_BCHW = torch.randn(2, 64, 4, 4, requires_grad=True)
    layer(image_BCHW).sum().backward()
    assert image_BCHW.grad is not None
    assert layer[0].weight.grad is None


@pytest.mark.parametrize(
    ("capability", "has_tiles", "precision", "expected"),
    [
        ("AVX2", False, torch.float32, WinogradConvolution),
        ("AVX512", True, torch.float32, nn.Conv2d),
        ("AVX512", True, torch.bfloat16, SideBySideConvolution),
        ("AVX512", False, torch.bfloat16, nn.Conv2d),
        ("AVX2", False, torch.float64, nn.Conv2d),
    ],
)
def test_training_uses_the_one_that_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch,
    capability: str,
    has_tiles: bool,
    precision: torch.dtype,
    expected: type[nn.Module],
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: has_tiles)
    pixels = Preprocessing(input_height_px=8, input_width_px=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = resolve_model(
        "conv 64 f3 same | conv 64 f3 same | gap | fc 3", ModelSpec(num_classes=3, input_CHW=(3, 8, 8))
    )
    runtime = Runtime(device=torch.device("cpu"), precision=precision, num_threads=1)
    training = TrainingStep(network, RunConfig(), pixels, runtime)
    kinds = [type(module) for module in training.model.modules() if isinstance(module, nn.Conv2d)]
    assert kinds[1] is expected
    depthwise = nn.Sequential(nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8))
    assert gradients.use_fast_gradients(depthwise, runtime) == (precision == torch.bfloat16)
    assert isinstance(depthwise[0], StridedDepthwiseConvolution) is (precision == torch.bfloat16)


STRIDED = dict(kernel_size=3, stride=2, padding=1, groups=12)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("size_HW", [(9, 9), (10, 7)])
@pytest.mark.parametrize("num_images", [1, 4, 6])
def test_a_strided_depthwise_convolution_has_torchs_outputs_and_gradients(
    bias: bool, size_HW: tuple[int, int], num_images: int
):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(12, 12, **STRIDED, bias=bias), nn.GELU(), nn.Conv2d(12, 12, **STRIDED, bias=bias))
    plain = plain.double().to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    assert gradients.replace(fast, StridedDepthwiseConvolution, strided_depthwise.suits) == 2
    assert list(fast.state_dict()) == list(plain.state_dict())
    image_BCHW = torch.randn(num_images, 12, *size_HW, dtype=torch.float64)
    inputs = [image_BCHW.clone().requires_grad_() for _ in range(2)]
    outputs = [network(image) for network, image in zip((plain, fast), inputs, strict=True)]
    assert torch.equal(outputs[0], outputs[1])
    for output in outputs:
        output.square().sum().backward()
    torch.testing.assert_close(inputs[0].grad, inputs[1].grad, rtol=1e-12, atol=1e-12)
    for a, b in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad, rtol=1e-12, atol=1e-12)
        assert a.stride() == b.grad.stride()
    fast.requires_grad_(False)  # frozen: the gradient still passes through
    expected = inputs[1].grad.clone()
    inputs[1].grad = None
    fast(inputs[1]).square().sum().backward()
    assert torch.equal(inputs[1].grad, expected)


def test_a_strided_depthwise_gradient_in_bfloat16_is_the_float32_one_rounded():
    torch.manual_seed(0)
    plain = nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False)
    fast = copy.deepcopy(plain)
    fast.__class__ = StridedDepthwiseConvolution
    image_BCHW = torch.randn(5, 16, 8, 8).bfloat16()
    leaf_BCHW, wide_BCHW = image_BCHW.clone().requires_grad_(), image_BCHW.float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        output_BCHW = fast(leaf_BCHW)
        assert torch.equal(output_BCHW, plain(image_BCHW))
    gradient_BCHW = torch.randn_like(output_BCHW)
    output_BCHW.backward(gradient_BCHW)
    rounded = copy.deepcopy(plain)
    with torch.no_grad():
        rounded.weight.copy_(plain.weight.bfloat16())
    rounded(wide_BCHW).backward(gradient_BCHW.float())
    assert torch.equal(leaf_BCHW.grad, wide_BCHW.grad.bfloat16())
    assert fast.weight.grad.dtype == torch.float32


@pytest.mark.parametrize(
    "other",
    [
        nn.Conv2d(8, 8, 3, padding=1, groups=8),
        nn.Conv2d(8, 16, 3, stride=2, padding=1, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=4),
        nn.Conv2d(8, 8, 3, stride=2, padding=2, dilation=2, groups=8),
        nn.Conv2d(8, 8, 3, stride=2, padding=1, padding_mode="circular", groups=8),
        nn.Conv2d(1, 1, 3, stride=2, padding=1),
    ],
)
def test_other_convolutions_are_not_strided_depthwise_ones(other: nn.Conv2d):
    assert gradients.replace(nn.Sequential(other), StridedDepthwiseConvolution, strided_depthwise.suits) == 0
