"""Fused layers give the values of the layers in turn."""

import copy

import pytest
import torch
from torch import nn

from saccade.kernels.fused_inference import (
    FusedConvolution,
    FusedSameConvolution,
    RectifiedMaximum,
    can_fuse,
    fuse_for_inference,
)
from saccade.kernels.same_padding import SamePadding
from saccade.models.architecture import ModelSpec, build_model

CPU = torch.device("cpu")
PRECISIONS = [torch.float32, torch.bfloat16]


def needs(precision: torch.dtype) -> None:
    if not can_fuse(CPU, precision):
        pytest.skip(f"this processor has no fused call in {precision}")


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name", ["squeezenet1.1", "resnet18", "googlenet", "mobilenetv3-small", "efficientnet-lite0", "efficientnet-b0"]
)
def test_a_fused_network_answers_as_the_network(name: str, precision: torch.dtype):
    needs(precision)
    torch.manual_seed(0)
    spec = ModelSpec(num_classes=5, input_CHW=(3, 64, 64))
    model = build_model(name, spec).eval()
    parts = (model.stem, model.stages, model.neck)
    fused = fuse_for_inference(parts, precision)
    kinds = [type(module) for module in fused.modules()]
    assert FusedConvolution in kinds
    assert not {nn.BatchNorm2d, nn.ReLU, nn.ReLU6, nn.SiLU} & set(kinds[1:])
    image_BCHW = torch.randn(2, 3, 64, 64).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = nn.Sequential(*copy.deepcopy(parts))(image_BCHW)
        found = fused(image_BCHW.to(precision)).float()
    scale = float(expected.abs().max())
    assert float((found - expected).abs().max()) <= scale * (1e-5 if precision == torch.float32 else 0.05)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("kernel_px", "stride_px", "padding_px"), [(3, 2, 0), (3, 2, 1), (2, 2, 0)])
@pytest.mark.parametrize("side_px", [13, 14])
def test_the_maximum_as_integers_has_the_bits_of_torchs(
    precision: torch.dtype, ceil_mode: bool, kernel_px: int, stride_px: int, padding_px: int, side_px: int
):
    pool = nn.MaxPool2d(kernel_px, stride_px, padding_px, ceil_mode=ceil_mode)
    map_BCHW = torch.randn(2, 5, side_px, side_px).relu().to(precision).contiguous(memory_format=torch.channels_last)
    assert torch.equal(RectifiedMaximum(pool)(map_BCHW), pool(map_BCHW))


@pytest.mark.parametrize(("kernel_px", "stride_px"), [(3, 2), (5, 2), (3, 1)])
@pytest.mark.parametrize("size_HW", [(12, 12), (13, 13), (12, 13), (14, 9)])
def test_tensorflows_zeros_are_folded_into_a_depthwise_convolution(
    kernel_px: int, stride_px: int, size_HW: tuple[int, int]
):
    needs(torch.float32)
    convolution = nn.Conv2d(8, 8, kernel_px, stride_px, groups=8, bias=False)
    layers = (SamePadding(kernel_px, stride_px), convolution, nn.BatchNorm2d(8).eval(), nn.ReLU6())
    nn.init.uniform_(layers[2].running_mean)
    fused = fuse_for_inference(layers, torch.float32)
    assert [type(module) for module in fused.children()] == [FusedSameConvolution]
    map_BCHW = torch.randn(3, 8, *size_HW).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        expected = nn.Sequential(*copy.deepcopy(layers))(map_BCHW)
        found = [fused(map_BCHW), fused(map_BCHW), fused(map_BCHW[:1])]  # weights are packed at the first
    for images in found:
        torch.testing.assert_close(images, expected[: len(images)], rtol=1e-5, atol=1e-6)


def test_no_fused_call_where_the_processor_or_the_device_has_none():
    assert not can_fuse(torch.device("cuda"), torch.float32)
    assert not can_fuse(CPU, torch.float16)
