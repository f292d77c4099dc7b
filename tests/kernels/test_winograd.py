"""The weight gradient of 3x3 convolutions by Winograd's tiles, against torch's in float64."""

import pytest
import torch
from torch import nn

from saccade.kernels import winograd


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
