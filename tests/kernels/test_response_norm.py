"""Local response normalisation: the paper's formula, its gradient, dtypes and layouts."""

import numpy as np
import pytest
import torch

from saccade.kernels import response_norm
from saccade.kernels.response_norm import LocalResponseNorm


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def by_hand(a: np.ndarray, norm: LocalResponseNorm) -> np.ndarray:
    channels = a.shape[1]
    expected = np.empty_like(a)
    for i in range(channels):
        low, high = max(0, i - norm.size // 2), min(channels - 1, i + (norm.size - 1) // 2)
        squares = (a[:, low : high + 1] ** 2).sum(axis=1)
        expected[:, i] = a[:, i] / (norm.k + norm.alpha * squares) ** norm.beta
    return expected


@pytest.mark.parametrize("channels", [3, 5, 16])
def test_local_response_norm_is_the_papers_formula(channels: int):
    map_BCHW = random(2, channels, 3, 4)
    norm = LocalResponseNorm()
    np.testing.assert_allclose(norm(map_BCHW).numpy(), by_hand(map_BCHW.numpy(), norm), rtol=1e-12)


@pytest.mark.parametrize(("size", "beta"), [(1, 0.75), (2, 0.5), (4, 1.0), (7, 0.75)])
def test_any_size_and_power_in_many_chunks(size: int, beta: float, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(response_norm, "CHUNK_ELEMENTS", 6 * 5 + 1)  # five positions; 24 leave a rest
    map_BCHW = random(2, 6, 3, 4).requires_grad_()
    norm = LocalResponseNorm(size=size, alpha=0.3, beta=beta, k=1.0)
    np.testing.assert_allclose(norm(map_BCHW).detach().numpy(), by_hand(map_BCHW.detach().numpy(), norm), rtol=1e-12)
    assert torch.autograd.gradcheck(norm, (map_BCHW,))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_float32_and_its_gradient_against_torchs_own(memory_format: torch.memory_format):
    map_BCHW = (3 * random(4, 64, 9, 7)).float().contiguous(memory_format=memory_format)
    weight_BCHW = random(4, 64, 9, 7, seed=1).float()
    norm, found = LocalResponseNorm(), []
    for function in (norm, lambda value: torch.nn.functional.local_response_norm(value, 5, 5e-4, 0.75, 2.0)):
        leaf_BCHW = map_BCHW.clone().requires_grad_()
        output_BCHW = function(leaf_BCHW)
        output_BCHW.backward(weight_BCHW)
        found.append((output_BCHW.detach(), leaf_BCHW.grad))
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


def test_bfloat16_is_float32_rounded_once():
    map_BCHW = random(2, 16, 5, 5).bfloat16().requires_grad_()
    wide_BCHW = map_BCHW.detach().float().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        narrow, wide = LocalResponseNorm()(map_BCHW), LocalResponseNorm()(wide_BCHW)
    assert (narrow.dtype, wide.dtype) == (torch.bfloat16, torch.float32)
    assert torch.equal(narrow, wide.bfloat16())
    gradient_BCHW = random(2, 16, 5, 5, seed=2).bfloat16()
    narrow.backward(gradient_BCHW)
    wide.backward(gradient_BCHW.float())
    assert torch.equal(map_BCHW.grad, wide_BCHW.grad.bfloat16())


def test_training_keeps_the_input_alone():
    kept: list[torch.Size] = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t.shape) or t, lambda t: t):
        LocalResponseNorm()(random(2, 16, 5, 5).requires_grad_())
    assert kept == [(2, 16, 5, 5)]


def test_local_response_norm_uses_every_channel_of_a_position():
    """The lecture's example: 13x13x256 has 256 numbers at a position, and only they meet."""
    map_BCHW = random(1, 256, 13, 13)
    changed = map_BCHW.clone()
    changed[0, :, 4, 5] *= 3
    difference = (LocalResponseNorm(size=511)(changed) - LocalResponseNorm(size=511)(map_BCHW)).abs().sum(dim=1)[0]
    assert difference[4, 5] > 0
    assert difference.sum() == difference[4, 5]
