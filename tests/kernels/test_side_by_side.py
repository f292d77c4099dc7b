"""Weight gradients from images laid side by side: torch's in float64, and a plain sum over positions."""

import numpy as np
import pytest
import torch
from torch import nn

from saccade.kernels import same_convolution, side_by_side


def maps(num_images: int, size_HW: tuple[int, int], dtype: torch.dtype, channels: tuple[int, int] = (5, 7)):
    generator = torch.Generator().manual_seed(3)
    made = (torch.randn(num_images, c, *size_HW, generator=generator, dtype=torch.float64) for c in channels)
    return tuple(one.to(dtype).contiguous(memory_format=torch.channels_last) for one in made)


def by_hand(map_BCHW: torch.Tensor, gradient_BOHW: torch.Tensor, side: int) -> np.ndarray:
    """gradient_OCHW: for each tap the sum over images and positions of gradient times the input it saw."""
    pad = side // 2
    height, width = map_BCHW.shape[2:]
    padded = np.pad(map_BCHW.double().numpy(), ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    gradient = gradient_BOHW.double().numpy()
    taps = [
        [np.einsum("bohw,bchw->oc", gradient, padded[:, :, i : i + height, j : j + width]) for j in range(side)]
        for i in range(side)
    ]
    return np.array(taps).transpose(2, 3, 0, 1)


@pytest.mark.parametrize("side", [1, 3])
@pytest.mark.parametrize("size_HW", [(1, 1), (3, 3), (7, 7), (8, 5), (9, 9)])
@pytest.mark.parametrize("num_images", [7, 12])
def test_the_gradient_is_the_sum_over_positions(side: int, size_HW: tuple[int, int], num_images: int):
    map_BCHW, gradient_BOHW = maps(num_images, size_HW, torch.float64)
    weight = torch.zeros(7, 5, side, side, dtype=torch.float64).to(memory_format=torch.channels_last)
    found = side_by_side.weight_gradient(map_BCHW, gradient_BOHW, weight)
    if found is None:  # wide maps, and those that do not divide into rows of about the wanted length
        assert side == 3
        assert max(size_HW) > 8 or num_images == 7
        found = same_convolution.gradients(map_BCHW, gradient_BOHW, weight, (False, True, False))[1]
    np.testing.assert_allclose(found.numpy(), by_hand(map_BCHW, gradient_BOHW, side), rtol=1e-12, atol=1e-12)
    assert found.stride() == weight.stride()


@pytest.mark.parametrize("side", [1, 3])
def test_in_bfloat16_it_is_as_near_as_torchs_own(side: int):
    map_BCHW, gradient_BOHW = maps(24, (7, 7), torch.bfloat16, (64, 96))
    weight = torch.zeros(96, 64, side, side, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    exact = by_hand(map_BCHW, gradient_BOHW, side)
    found = side_by_side.weight_gradient(map_BCHW, gradient_BOHW, weight)
    own = same_convolution.gradients(map_BCHW, gradient_BOHW, weight, (False, True, False))[1]
    # One rounding to eight bits of a value at most the largest, and float32 sums below that; processors without units
    # for bfloat16, which train in float32, round sums on the way too: there torch's own is off by 1.2 %, this by 0.7.
    bound = max(2**-8 * np.abs(exact).max(), np.abs(own.double().numpy() - exact).max())
    assert np.abs(found.double().numpy() - exact).max() <= bound
    assert found.dtype == torch.bfloat16


def test_images_lie_in_rows_with_zeros_between_them():
    map_BCHW = torch.arange(1.0, 13.0).view(3, 1, 2, 2).to(memory_format=torch.channels_last)
    wide = side_by_side.side_by_side(map_BCHW, 3)
    expected = [[1, 2, 0, 5, 6, 0, 9, 10, 0], [3, 4, 0, 7, 8, 0, 11, 12, 0], [0] * 9]
    assert wide[0, 0].tolist() == expected
    assert wide.shape == (1, 1, 3, 9)
    assert wide.is_contiguous(memory_format=torch.channels_last)


def test_only_small_maps_are_laid_side_by_side(monkeypatch: pytest.MonkeyPatch):
    seen = []

    def spy(map_BCHW: torch.Tensor, together: int) -> torch.Tensor:
        seen.append((tuple(map_BCHW.shape), together))
        return lay(map_BCHW, together)

    lay = side_by_side.side_by_side
    monkeypatch.setattr(side_by_side, "side_by_side", spy)
    weight = torch.zeros(7, 5, 3, 3)
    for size in (7, 14):
        map_BCHW, gradient_BOHW = maps(32, (size, size), torch.float32)
        found = side_by_side.weight_gradient(map_BCHW, gradient_BOHW, weight)
        assert (found is None) == (size == 14)
    assert seen == [((32, 5, 7, 7), 4), ((32, 7, 7, 7), 4)]


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(64, 4, 1), nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, bias=False)],
    ids=str,
)
def test_layers_that_suit(layer: nn.Module):
    assert side_by_side.suits(layer)
    layer.requires_grad_(False)
    assert not side_by_side.suits(layer)


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(8, 8, 3, stride=2, padding=1),
        nn.Conv2d(64, 8, 1, stride=2),
        nn.Conv2d(96, 64, 1),
        nn.Conv2d(64, 8, 1, padding=1),
        nn.Conv2d(8, 8, 3),
        nn.Conv2d(8, 8, 5, padding=2),
        nn.Conv2d(8, 8, 3, padding=1, groups=2),
        nn.Conv2d(8, 8, 3, padding=2, dilation=2),
        nn.Conv2d(8, 8, 3, padding=1, padding_mode="reflect"),
        nn.Linear(8, 8),
    ],
    ids=str,
)
def test_layers_that_do_not(layer: nn.Module):
    assert not side_by_side.suits(layer)
