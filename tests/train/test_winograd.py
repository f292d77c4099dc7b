"""The weight gradient of 3x3 convolutions against torch's in float64, and where it is used."""

import copy

import pytest
import torch
from torch import nn

from saccade.core.runtime import Runtime
from saccade.core.types import Preprocessing
from saccade.models.base import ModelSpec
from saccade.models.build import resolve_model
from saccade.train import winograd
from saccade.train.config import RunConfig
from saccade.train.step import TrainingStep

WIDE = dict(kernel_size=3, padding=1)


@pytest.mark.parametrize("size", [(1, 1), (3, 3), (4, 8), (7, 7), (14, 9)])
@pytest.mark.parametrize("num_images", [1, 5])
def test_the_gradient_is_torchs_in_float64(size: tuple[int, int], num_images: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(winograd, "CHUNK_BYTES", 20_000)  # several chunks
    generator = torch.Generator().manual_seed(1)
    map_BCHW, gradient_BOHW = (
        torch.randn(num_images, channels, *size, generator=generator, dtype=torch.float64) for channels in (5, 7)
    )
    weight = torch.zeros(7, 5, 3, 3, dtype=torch.float64, requires_grad=True)
    nn.functional.conv2d(map_BCHW, weight, padding=1).backward(gradient_BOHW)
    found = winograd.weight_gradient(map_BCHW, gradient_BOHW)
    torch.testing.assert_close(found, weight.grad, rtol=1e-11, atol=1e-11)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_in_float32_the_error_is_small():
    map_BCHW, gradient_BOHW = (torch.randn(8, 64, 14, 14, generator=torch.Generator().manual_seed(n)) for n in (1, 2))
    exact = winograd.weight_gradient(map_BCHW.double(), gradient_BOHW.double())
    error = (winograd.weight_gradient(map_BCHW, gradient_BOHW) - exact).abs().max() / exact.abs().max()
    assert float(error) < 3e-5


@pytest.mark.parametrize("bias", [False, True])
def test_a_trained_convolution_gives_the_same_outputs_and_gradients(bias: bool):
    torch.manual_seed(0)
    plain = nn.Sequential(nn.Conv2d(64, 64, **WIDE, bias=bias), nn.GELU(), nn.Conv2d(64, 96, **WIDE, bias=bias))
    plain = plain.double().to(memory_format=torch.channels_last)
    fast = copy.deepcopy(plain)
    assert winograd.use_fast_gradients(fast) == 2
    assert list(fast.state_dict()) == list(plain.state_dict())
    image_BCHW = torch.randn(3, 64, 9, 9, dtype=torch.float64)
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
def test_other_layers_stay_as_they_are(other: nn.Module):
    kind = type(other)
    assert winograd.use_fast_gradients(nn.Sequential(other)) == 0
    assert type(other) is kind


def test_frozen_weights_get_no_gradient():
    layer = nn.Sequential(nn.Conv2d(64, 64, **WIDE, bias=False))
    layer.requires_grad_(False)
    assert winograd.use_fast_gradients(layer) == 0
    layer.requires_grad_(True)
    assert winograd.use_fast_gradients(layer) == 1
    layer.requires_grad_(False)
    image_BCHW = torch.randn(2, 64, 4, 4, requires_grad=True)
    layer(image_BCHW).sum().backward()
    assert image_BCHW.grad is not None
    assert layer[0].weight.grad is None


@pytest.mark.parametrize(
    ("capability", "precision", "expected"),
    [("AVX2", torch.float32, 1), ("AVX512", torch.float32, 0), ("AVX2", torch.bfloat16, 0), ("AVX2", torch.float64, 0)],
)
def test_training_uses_it_where_it_was_measured_to_be_faster(
    monkeypatch: pytest.MonkeyPatch, capability: str, precision: torch.dtype, expected: int
):
    monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
    pixels = Preprocessing(input_height_px=8, input_width_px=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    network = resolve_model(
        "conv 64 f3 same | conv 64 f3 same | gap | fc 3", ModelSpec(num_classes=3, input_CHW=(3, 8, 8))
    )
    runtime = Runtime(device=torch.device("cpu"), precision=precision, num_threads=1)
    training = TrainingStep(network, RunConfig(), pixels, runtime)
    assert sum(isinstance(module, winograd.WinogradConvolution) for module in training.model.modules()) == expected
