"""The speedrun network: its first layer whitens patches, its filters begin as the identity, its figures by hand."""

import numpy as np
import pytest
import torch

from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo import speedrun
from saccade.models.zoo.speedrun import CIFAR, WHITENING_EPSILON, SpeedrunNetwork


def correlated_images(channels: int) -> torch.Tensor:
    noise = torch.randn(64, channels, 17, 17, generator=torch.Generator().manual_seed(0))
    return noise.cumsum(2).cumsum(3) / 10 + noise[:, :1]


@pytest.mark.parametrize("pixels_at_once", [speedrun.PIXELS_AT_ONCE, 5 * 17 * 17])  # 64 images at once, and five
def test_patches_come_out_uncorrelated_with_unit_variance(pixels_at_once: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speedrun, "PIXELS_AT_ONCE", pixels_at_once)
    for channels in (1, 3):
        network = build_model("speedrun", ModelSpec(num_classes=4, input_CHW=(channels, 17, 17)))
        assert isinstance(network, SpeedrunNetwork)
        image_BCHW = correlated_images(channels)
        network.initialise_from_images(image_BCHW)
        filters = network.stem.get_submodule("whitening")
        weight = filters.weight.detach()
        half = len(weight) // 2
        assert torch.equal(weight[:half], -weight[half:])
        patches = np.lib.stride_tricks.sliding_window_view(image_BCHW.numpy(), (2, 2), axis=(2, 3))
        patch_ND = patches.transpose(0, 2, 3, 1, 4, 5).reshape(-1, 4 * channels).astype(np.float64)
        answer_ND = patch_ND @ weight[:half].reshape(half, -1).numpy().T.astype(np.float64)
        variance_D = np.linalg.eigvalsh(patch_ND.T @ patch_ND / len(patch_ND))
        expected = np.diag(variance_D / (variance_D + WHITENING_EPSILON))
        np.testing.assert_allclose(answer_ND.T @ answer_ND / len(answer_ND), expected, atol=2e-4)


def test_the_first_filters_of_every_convolution_pass_their_channels_on():
    network = build_model("speedrun", CIFAR)
    for stage in network.stages:
        convolution = stage.get_submodule("conv1")
        channels = convolution.in_channels
        expected = torch.zeros(channels, channels, 3, 3)
        expected[range(channels), range(channels), 1, 1] = 1
        assert torch.equal(convolution.weight[:channels], expected)


def test_parameters_and_multiply_adds_by_hand():
    network = build_model("speedrun", CIFAR)
    convolutions = 9 * (24 * 64 + 64 * 64 + 64 * 256 + 256 * 256 + 256 * 256 + 256 * 256)
    norms, whitening, head = 2 * 2 * (64 + 256 + 256), 24 * 12 + 24, 2560
    assert sum(p.numel() for p in network.parameters()) == convolutions + norms + whitening + head
    trained = sum(p.numel() for p in network.parameters() if p.requires_grad)
    assert trained == convolutions + norms // 2 + 24 + head
    shapes = [
        tuple(stage(torch.zeros(2, c, s, s)).shape[1:])
        for stage, c, s in zip(network.stages, (24, 64, 256), (31, 15, 7))
    ]
    assert shapes == [(64, 15, 15), (256, 7, 7), (256, 3, 3)]
