"""AlexNet on two devices, as it was trained (Krizhevsky et al. 2012, section 3.2 and Figure 2).

Each device holds half of every layer's maps or units: a `Tower`. conv2, conv4 and conv5 are grouped, so they read
their own half; the towers exchange all maps before conv3 and all units before fc6 and fc7, two maps at the border for
each normalisation, and add their halves of fc8. The result is that of `alexnet` on one device with the same weights.

`TwoDeviceAlexNet` drives both towers from one process; `TowerOfTwoProcesses` is one tower in each of two processes
that `torch.distributed` joins. Dropout draws on each device for itself, so equal training needs it switched off.
"""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from typing import Any

import torch
from torch import distributed, nn

from ...core.errors import ModelError
from ...kernels.response_norm import LocalResponseNorm
from .alexnet import AlexNet

NUM_TOWERS = 2
# What a tower computes between two meetings.
SEGMENTS = (
    ("convolution1", "relu1"),
    ("norm1", "pool1", "convolution2", "relu2"),
    ("norm2", "pool2"),
    ("convolution3", "relu3", "convolution4", "relu4", "convolution5", "relu5", "pool5", "neck"),
    ("dropout6", "fc6", "relu6"),
    ("dropout7", "fc7", "relu7", "fc8"),
)
NUM_MEETINGS = len(SEGMENTS) - 1
SUMMED = "fc8"  # split by what it reads, and added up; every other layer is split by what it computes


class NormAtBorder(nn.Module):
    """Local response normalisation of one half of the maps, which has also got the `reach` next maps beyond it."""

    def __init__(self, norm: LocalResponseNorm, number: int) -> None:
        super().__init__()
        self.norm, self.number, self.reach = norm, number, norm.size // 2

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, C + reach, H, W) to (B, C, H, W)."""
        normalised_BCHW: torch.Tensor = self.norm(map_BCHW)
        return normalised_BCHW[:, : -self.reach] if self.number == 0 else normalised_BCHW[:, self.reach :]


class Tower(nn.Module):
    """Half of an AlexNet: `number` 0 has the first half of every layer's maps, 1 the second.

    Between its `segments` the towers meet: each sends what `to_send` gives and goes on with what `join` makes of its
    own half and the half received. The last segment gives this tower's part of the logits.
    """

    def __init__(self, network: AlexNet, number: int) -> None:
        super().__init__()
        self.number = number
        layers = {name.rpartition(".")[2]: (name, module) for name, module in network.named_modules()}
        _check_divided(layers)
        self.names = {short: name for short, (name, _) in layers.items()}
        self.segments = nn.ModuleList()
        for shorts in SEGMENTS:
            halves = OrderedDict((short, _half(short, layers[short][1], number)) for short in shorts)
            self.segments.append(nn.Sequential(halves))

    def to_send(self, meeting: int, half: torch.Tensor) -> torch.Tensor:
        """What the other tower needs of this one's `half` behind segment `meeting`: all, or the maps at the border."""
        following = next(self.segments[meeting + 1].children())
        if not isinstance(following, NormAtBorder):
            return half
        reach = following.reach
        return half[:, -reach:] if self.number == 0 else half[:, :reach]

    def join(self, half: torch.Tensor, received: torch.Tensor) -> torch.Tensor:
        """Own and received maps or units in the order of the undivided network."""
        return torch.cat([half, received] if self.number == 0 else [received, half], dim=1)


class TwoDeviceAlexNet(nn.Module):
    """Both towers, each on its device, driven in step by one process; launches on accelerators overlap."""

    def __init__(self, network: AlexNet, devices: Sequence[torch.device]) -> None:
        super().__init__()
        if len(devices) != NUM_TOWERS:
            raise ModelError(f"AlexNet splits over {NUM_TOWERS} devices, got {len(devices)}.")
        self.devices = tuple(devices)
        self.towers = nn.ModuleList(Tower(network, number).to(device) for number, device in enumerate(devices))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK on the first device, of images on any."""
        towers = [tower for tower in self.towers if isinstance(tower, Tower)]
        inputs = [image_BCHW.to(device, non_blocking=True) for device in self.devices]
        for meeting in range(NUM_MEETINGS):
            halves = [tower.segments[meeting](input_) for tower, input_ in zip(towers, inputs, strict=True)]
            sent = [tower.to_send(meeting, half) for tower, half in zip(towers, halves, strict=True)]
            inputs = [
                tower.join(half, other.to(device, non_blocking=True))
                for tower, half, other, device in zip(towers, halves, reversed(sent), self.devices, strict=True)
            ]
        first_BK, second_BK = (tower.segments[-1](input_) for tower, input_ in zip(towers, inputs, strict=True))
        logits_BK: torch.Tensor = first_BK + second_BK.to(self.devices[0])
        return logits_BK


class TowerOfTwoProcesses(nn.Module):
    """This process's tower, by its rank in a group of two; both get the same images and give the same logits.

    A loss of the logits in both processes, followed by `backward` in both, gives the gradients of that one loss.
    """

    def __init__(self, network: AlexNet) -> None:
        super().__init__()
        if distributed.get_world_size() != NUM_TOWERS:
            raise ModelError(
                f"AlexNet splits over {NUM_TOWERS} processes, got {distributed.get_world_size()}.\n"
                f"Start it with torchrun --nproc-per-node {NUM_TOWERS}."
            )
        self.tower = Tower(network, distributed.get_rank())

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK, in both processes."""
        input_ = image_BCHW
        for meeting in range(NUM_MEETINGS):
            half = self.tower.segments[meeting](input_)
            received = _Exchange.apply(self.tower.to_send(meeting, half))  # type: ignore[no-untyped-call]
            input_ = self.tower.join(half, received)
        logits_BK: torch.Tensor = _Sum.apply(self.tower.segments[-1](input_))  # type: ignore[no-untyped-call]
        return logits_BK


def merged_weights(towers: Sequence[Tower]) -> dict[str, torch.Tensor]:
    """The towers' weights, in their order, as those of the undivided `alexnet`, under its names."""
    merged = {}
    for key, first in towers[0].state_dict().items():
        *_, short, kind = key.split(".")
        name = f"{towers[0].names[short]}.{kind}"
        if (short, kind) == (SUMMED, "bias"):
            merged[name] = first
        else:
            second = towers[1].state_dict()[key].to(first.device)
            merged[name] = torch.cat([first, second], dim=1 if short == SUMMED else 0)
    return merged


class _Exchange(torch.autograd.Function):
    """The other process's tensor for this one's, of the same shape; its gradient goes back the same way."""

    @staticmethod
    def forward(ctx: Any, sent: torch.Tensor) -> torch.Tensor:
        return _swap(sent)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return _swap(gradient)


class _Sum(torch.autograd.Function):
    """The sum over both processes; each process's own loss already gives the whole gradient of its part."""

    @staticmethod
    def forward(ctx: Any, part: torch.Tensor) -> torch.Tensor:
        total = part.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:
        return gradient


def _swap(tensor: torch.Tensor) -> torch.Tensor:
    both = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(NUM_TOWERS)]
    distributed.all_gather(both, tensor.contiguous())
    return both[1 - distributed.get_rank()]


def _check_divided(layers: dict[str, tuple[str, nn.Module]]) -> None:
    groups = getattr(layers["convolution2"][1], "groups", 1)
    if groups != NUM_TOWERS:
        raise ModelError(
            f"Only 'alexnet' splits over two devices: its convolution2 has {NUM_TOWERS} groups, here it has {groups}.\n"
            f"Build it with build_model('alexnet', spec)."
        )


def _half(short: str, layer: nn.Module, number: int) -> nn.Module:
    """A layer with its own copy of half of `layer`'s weights; a copy of a layer without weights."""
    if isinstance(layer, LocalResponseNorm):
        return NormAtBorder(layer, number)
    half = deepcopy(layer)
    if not isinstance(half, nn.Conv2d | nn.Linear):
        return half
    bias = half.bias
    half.weight = nn.Parameter(half.weight.detach().chunk(NUM_TOWERS, dim=1 if short == SUMMED else 0)[number].clone())
    if bias is not None and short != SUMMED:
        half.bias = nn.Parameter(bias.detach().chunk(NUM_TOWERS)[number].clone())
    elif number > 0:
        half.bias = None  # the sum of both towers has it once
    if isinstance(half, nn.Conv2d):
        half.out_channels, half.in_channels, half.groups = half.weight.shape[0], half.weight.shape[1], 1
    else:
        half.out_features, half.in_features = half.weight.shape
    return half
