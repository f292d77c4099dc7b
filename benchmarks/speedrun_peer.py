"""The public airbench94 recipe with Muon (github.com/KellerJordan/cifar10-airbench), ported to a processor.

Network, optimizers, rates, schedule, augmentation and number of epochs follow airbench94_muon.py; half precision became
bfloat16, or float32 where the processor has no units for bfloat16, and nothing is compiled. It shares no code with the
product.
"""

from collections.abc import Iterator

import numpy as np
import torch
from torch import nn
from torch.nn import functional

EPOCHS, BATCH_SIZE = 8, 2000
BIAS_RATE, HEAD_RATE, FILTER_RATE = 0.053, 0.67, 0.24
DECAY = 2e-6 * BATCH_SIZE
BIAS_EPOCHS = 3  # the whitening layer's bias is trained for so long
MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
Lists = list[torch.Tensor]


class Network(nn.Module):
    """Whitening, three groups of two convolutions, maximum, dense; logits over 256."""

    def __init__(self) -> None:
        super().__init__()
        self.whiten = nn.Conv2d(3, 24, 2)
        self.whiten.weight.requires_grad_(False)
        layers: list[nn.Module] = [nn.GELU()]
        for channels_in, width in ((24, 64), (64, 256), (256, 256)):
            first, second = (nn.Conv2d(c, width, 3, padding=1, bias=False) for c in (channels_in, width))
            for convolution in (first, second):
                nn.init.dirac_(convolution.weight.data[: convolution.in_channels])
            layers += [first, nn.MaxPool2d(2), _norm(width), nn.GELU(), second, _norm(width), nn.GELU()]
        self.layers = nn.Sequential(*layers, nn.MaxPool2d(3))
        self.head = nn.Linear(256, 10, bias=False)
        self.head.weight.data /= self.head.weight.data.std()

    def forward(self, image_BCHW: torch.Tensor, trains_bias: bool = False) -> torch.Tensor:
        bias = self.whiten.bias if trains_bias or self.whiten.bias is None else self.whiten.bias.detach()
        feature_BD = self.layers(functional.conv2d(image_BCHW, self.whiten.weight, bias)).flatten(1)
        return self.head(feature_BD) / feature_BD.shape[1]

    def whiten_from(self, image_BCHW: torch.Tensor) -> None:
        """Eigenvectors of 2x2 patches over their deviations, and their negatives."""
        patch_ND = functional.unfold(image_BCHW, 2).transpose(1, 2).flatten(0, 1)
        values, vectors = torch.linalg.eigh(patch_ND.T @ patch_ND / len(patch_ND))
        filters = (vectors.T / torch.sqrt(values[:, None] + 5e-4)).view(12, 3, 2, 2)
        self.whiten.weight.data.copy_(torch.cat([filters, -filters]))


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, eps=1e-12, momentum=0.4)
    norm.weight.requires_grad_(False)
    return norm


def train(
    image_NHWC: np.ndarray, label_N: np.ndarray, seed: int, epochs: int, precision: torch.dtype
) -> Iterator[nn.Module]:
    """The network after every step, from uint8 images."""
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(seed)
    images = normalised(image_NHWC, precision)
    labels = torch.from_numpy(label_N)
    network = Network()
    network.whiten_from(images[:5000].float())
    network = network.to(dtype=precision, memory_format=torch.channels_last)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.float()
    mirrored = torch.rand(len(images), generator=generator) < 0.5
    images[mirrored] = images[mirrored].flip(-1)
    padded = functional.pad(images.float(), (2, 2, 2, 2), "reflect").to(precision)
    padded = padded.contiguous(memory_format=torch.channels_last)
    batch_size = min(BATCH_SIZE, len(images))
    steps_an_epoch = len(images) // batch_size
    for _ in _fit(network, padded, labels, (epochs, steps_an_epoch, batch_size), generator):
        yield network


def _fit(
    network: Network,
    padded: torch.Tensor,
    labels: torch.Tensor,
    plan: tuple[int, int, int],
    generator: torch.Generator,
) -> Iterator[None]:
    epochs, steps_an_epoch, batch_size = plan
    num_steps, bias_steps = epochs * steps_an_epoch, min(BIAS_EPOCHS, epochs) * steps_an_epoch
    filters = [p for p in network.parameters() if p.ndim == 4 and p.requires_grad]
    norms = [p for n, p in network.named_parameters() if n.startswith("layers") and p.ndim == 1 and p.requires_grad]
    rates = [BIAS_RATE, BIAS_RATE, HEAD_RATE]
    groups = [[network.whiten.bias], norms, [network.head.weight]]
    others = torch.optim.SGD(
        [{"params": p, "lr": rate, "weight_decay": DECAY / rate} for p, rate in zip(groups, rates)],
        lr=BIAS_RATE,
        momentum=0.85,
        nesterov=True,
    )
    momenta = [torch.zeros_like(p) for p in filters]
    step = 0
    for epoch in range(epochs):
        crops = _crops(padded, generator)
        crops = crops.flip(-1) if epoch % 2 else crops
        order = torch.randperm(len(labels), generator=generator)
        network.train()
        for number in range(steps_an_epoch):
            chosen = order[number * batch_size : (number + 1) * batch_size]
            image_BCHW = crops[chosen].contiguous(memory_format=torch.channels_last)
            logits = network(image_BCHW, step < bias_steps).float()
            functional.cross_entropy(logits, labels[chosen], label_smoothing=0.2, reduction="sum").backward()
            others.param_groups[0]["lr"] = BIAS_RATE * max(0.0, 1 - step / bias_steps)
            for group, rate in zip(others.param_groups[1:], rates[1:]):
                group["lr"] = rate * (1 - step / num_steps)
            others.step()
            muon_step(filters, momenta, FILTER_RATE * (1 - step / num_steps))
            network.zero_grad(set_to_none=True)
            step += 1
            yield


@torch.no_grad()
def muon_step(filters: Lists, momenta: Lists, rate: float) -> None:
    """Momentum 0.6, Nesterov, filters to unit scale, three iterations."""
    for parameter, momentum in zip(filters, momenta):
        if parameter.grad is None:
            continue
        momentum.mul_(0.6).add_(parameter.grad)
        matrix = parameter.grad.add(momentum, alpha=0.6).reshape(len(parameter), -1)
        parameter.mul_(len(parameter) ** 0.5 / parameter.norm())
        x = matrix / (matrix.norm() + 1e-7)
        x = x.T if matrix.shape[0] > matrix.shape[1] else x
        for _ in range(3):
            gram = x @ x.T
            x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
        x = x.T if matrix.shape[0] > matrix.shape[1] else x
        parameter.add_(x.view(parameter.shape), alpha=-rate)


def _crops(padded: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    side = padded.shape[-1] - 4
    shift = torch.randint(0, 5, (len(padded), 2), generator=generator)
    crops = torch.empty((len(padded), 3, side, side), dtype=padded.dtype).to(memory_format=torch.channels_last)
    for down in range(5):
        for right in range(5):
            chosen = (shift[:, 0] == down) & (shift[:, 1] == right)
            crops[chosen] = padded[chosen, :, down : down + side, right : right + side]
    return crops


def normalised(image_NHWC: np.ndarray, precision: torch.dtype) -> torch.Tensor:
    """image_NCHW of `precision`, channels last."""
    images = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2).float() / 255
    mean, deviation = torch.tensor(MEAN)[:, None, None], torch.tensor(STD)[:, None, None]
    return ((images - mean) / deviation).to(precision).contiguous(memory_format=torch.channels_last)
