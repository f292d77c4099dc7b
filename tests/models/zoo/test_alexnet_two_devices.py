"""The grouped AlexNet on two devices, or in two processes, computes what it computes on one."""

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.processes import Program
from torch import nn
from torch.nn.functional import cross_entropy

from saccade.core.errors import ModelError
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.zoo import alexnet
from saccade.models.zoo.alexnet import AlexNet
from saccade.models.zoo.alexnet_two_devices import Tower, TwoDeviceAlexNet, merged_weights

CPU = torch.device("cpu")
SIZE_PX = 99  # leaves 2x2 positions behind pool5: the order of a flattened map matters
EXACT = {"rtol": 0.0, "atol": 1e-10}


@pytest.fixture
def network() -> AlexNet:
    """The paper's convolutions, fewer dense units, in float64; dropout off."""
    torch.manual_seed(0)
    network = build_model("alexnet", ModelSpec(num_classes=7, input_CHW=(3, SIZE_PX, SIZE_PX))).double().eval()
    assert isinstance(network, AlexNet)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.1)
    return network


@pytest.fixture(autouse=True)
def _fewer_dense_units(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(alexnet, "DENSE", 96)


def images() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    image_BCHW = torch.randn(3, 3, SIZE_PX, SIZE_PX, generator=generator, dtype=torch.float64)
    return image_BCHW, torch.tensor([0, 3, 6])


def towers_of(network: TwoDeviceAlexNet) -> list[Tower]:
    return [tower for tower in network.towers if isinstance(tower, Tower)]


def gradients(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter.grad for name, parameter in network.named_parameters() if parameter.grad is not None}


def merged_gradients(towers: list[Tower]) -> dict[str, torch.Tensor]:
    """Both towers' gradients under the names of the undivided network, put together as its weights are."""
    for tower in towers:
        for parameter in tower.parameters():
            parameter.data = parameter.grad
    return merged_weights(towers)


def test_two_devices_give_the_logits_and_gradients_of_one(network: AlexNet):
    image_BCHW, target_B = images()
    two = TwoDeviceAlexNet(network, (CPU, CPU)).eval()
    expected_BK, logits_BK = network(image_BCHW), two(image_BCHW)
    assert expected_BK.std() > 1e-3, "the comparison needs logits that differ"
    torch.testing.assert_close(logits_BK, expected_BK, **EXACT)
    cross_entropy(expected_BK, target_B).backward()
    cross_entropy(logits_BK, target_B).backward()
    expected = gradients(network)
    assert len(expected) == 16
    assert min(float(gradient.abs().max()) for gradient in expected.values()) > 1e-6
    torch.testing.assert_close(merged_gradients(towers_of(two)), expected, **EXACT)


def test_a_step_on_two_devices_is_the_step_on_one(network: AlexNet):
    image_BCHW, target_B = images()
    two = TwoDeviceAlexNet(network, (CPU, CPU)).eval()
    for each in (network, two):
        optimizer = torch.optim.SGD(each.parameters(), lr=0.01, momentum=0.9)
        for _ in range(2):
            optimizer.zero_grad()
            cross_entropy(each(image_BCHW), target_B).backward()
            optimizer.step()
    torch.testing.assert_close(merged_weights(towers_of(two)), dict(network.state_dict()), **EXACT)


def test_splitting_and_merging_keep_every_bit_and_each_device_holds_half(network: AlexNet):
    two = TwoDeviceAlexNet(network, (CPU, CPU))
    weights = network.state_dict()
    merged = merged_weights(towers_of(two))
    assert merged.keys() == weights.keys()
    assert all(torch.equal(merged[name], weights[name]) for name in weights)
    counts = [sum(parameter.numel() for parameter in tower.parameters()) for tower in two.towers]
    assert sum(counts) == sum(parameter.numel() for parameter in network.parameters())
    assert counts[0] - counts[1] == 7, "the bias of fc8 is on the first device"


def test_towers_meet_only_where_the_paper_says(network: AlexNet):
    """Section 3.2: maps of all of layer 2 enter layer 3, of layers 1, 3 and 4 only those of the same processor."""
    two = TwoDeviceAlexNet(network, (CPU, CPU))
    first = towers_of(two)[0]
    reads = {
        name.rpartition(".")[2]: (layer.in_channels, layer.out_channels)
        for name, layer in first.named_modules()
        if isinstance(layer, nn.Conv2d)
    }
    assert reads == {
        "convolution1": (3, 48),
        "convolution2": (48, 128),
        "convolution3": (256, 192),
        "convolution4": (192, 192),
        "convolution5": (192, 128),
    }
    map_BCHW = torch.arange(48.0).reshape(1, 48, 1, 1)
    assert first.to_send(0, map_BCHW).flatten().tolist() == [46, 47], "a normalisation over five maps needs two beyond"


def test_two_processes_give_the_logits_and_gradients_of_one(network: AlexNet, tmp_path: Path):
    image_BCHW, target_B = images()
    case = {"image_BCHW": image_BCHW, "target_B": target_B, **network.state_dict()}
    save_file({name: tensor.contiguous() for name, tensor in case.items()}, tmp_path / "case.safetensors")
    script = Path(__file__).parent / "alexnet_process.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DENSE": str(alexnet.DENSE)}
    processes = [Program([script, rank, tmp_path], tmp_path, environment) for rank in range(2)]
    ended = [process.communicate() for process in processes]
    assert [done.returncode for done in ended] == [0, 0], [done.stderr for done in ended]
    results = [load_file(tmp_path / f"result-{rank}.safetensors") for rank in range(2)]
    expected_BK = network(image_BCHW)
    cross_entropy(expected_BK, target_B).backward()
    two = TwoDeviceAlexNet(network, (CPU, CPU))
    for tower, result in zip(towers_of(two), results, strict=True):
        torch.testing.assert_close(result.pop("logits_BK"), expected_BK.detach(), **EXACT)
        for name, parameter in tower.named_parameters():
            parameter.grad = result.pop(name)
        assert not result
    torch.testing.assert_close(merged_gradients(towers_of(two)), gradients(network), **EXACT)


def test_only_the_grouped_network_and_only_two_devices(network: AlexNet):
    with pytest.raises(ModelError) as error:
        TwoDeviceAlexNet(network, (CPU,) * 3)
    assert str(error.value) == "AlexNet splits over 2 devices, got 3."
    one_tower = build_model("alexnet-one-tower", ModelSpec(num_classes=7, input_CHW=(3, SIZE_PX, SIZE_PX)))
    assert isinstance(one_tower, AlexNet)
    with pytest.raises(ModelError) as error:
        TwoDeviceAlexNet(one_tower, (CPU, CPU))
    assert str(error.value) == (
        "Only 'alexnet' splits over two devices: its convolution2 has 2 groups, here it has 1.\n"
        "Build it with build_model('alexnet', spec)."
    )
