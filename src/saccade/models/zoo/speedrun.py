"""A network for small images that learns in minutes on a processor and in seconds on a graphics card.

Facts from Jordan 2024, "94% on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498, section 3, and the later
record github.com/KellerJordan/cifar10-airbench (Muon): a fixed first layer that whitens 2x2 patches of the training
images, three groups of two wide convolutions, batch normalisation without scale, filters that begin as the identity,
small logits. Deviations: SiLU in place of GELU, whose error function takes a processor twice as long; running
statistics over twice as many batches, which are smaller; the last pooling takes the maximum over the whole map, so that
the network takes any input from 9x9 on, which growing images need (32x32 gives the record's 3x3 maps); the head's
weights begin smaller and its output is divided by less (72, not 256), which lets it share the biases' learning rate.
"""

from collections import OrderedDict
from functools import partial

import torch
from torch import nn

from ..architecture import Architecture, ImageClassifier, ModelSpec, Reference, flatten_maps, register
from ..fit import check_size

WIDTHS = (64, 256, 256)
NARROW_WIDTHS = (32, 64, 128)  # ours, for grey images of 28x28 on a processor: a seventh of the multiply-adds
PATCH = 2
NORM_MOMENTUM, NORM_EPSILON = 0.2, 1e-12
WHITENING_EPSILON = 5e-4  # added to the variance along each direction, of inputs with unit variance
HEAD_DEVIATION, OUTPUT_SCALE = 0.28, 1 / 72
SMALLEST_PX = 9
PIXELS_AT_ONCE = 2**19  # whose patches are held at once: 50 MB of them, in colour
CIFAR = ModelSpec(num_classes=10, input_CHW=(3, 32, 32))
GREY = ModelSpec(num_classes=10, input_CHW=(1, 28, 28))


class Scale(nn.Module):
    """Multiplies by a constant."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """`value` of any shape, times the factor."""
        return value * self.factor

    def extra_repr(self) -> str:
        """The factor, for printing."""
        return f"factor={self.factor:.4g}"


class Features(nn.Module):
    """The largest value of every map: map_BCHW to feature_BC."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveMaxPool2d(1)

    def forward(self, map_BCHW: torch.Tensor) -> torch.Tensor:
        """See the class."""
        return flatten_maps(self.pool(map_BCHW))


class SpeedrunNetwork(ImageClassifier):
    """whitening - three groups of (conv, pool, norm, SiLU, conv, norm, SiLU) - maximum - dense, scaled."""

    def __init__(self, spec: ModelSpec, widths: tuple[int, int, int] = WIDTHS) -> None:
        super().__init__()
        channels = spec.input_CHW[0]
        num_patch_filters = 2 * channels * PATCH**2
        whitening = nn.Conv2d(channels, num_patch_filters, PATCH)
        whitening.weight.requires_grad_(False)
        self.stem = nn.Sequential(OrderedDict(whitening=whitening, silu=nn.SiLU()))
        self.stages = nn.Sequential()
        for number, (channels_in, width) in enumerate(zip((num_patch_filters, *widths), widths), start=1):
            self.stages.add_module(f"stage{number}", _group(channels_in, width))
        self.neck = Features()
        dense = nn.Linear(widths[-1], spec.num_classes, bias=False)
        nn.init.normal_(dense.weight, std=HEAD_DEVIATION)
        self.head = nn.Sequential(OrderedDict(dense=dense, scale=Scale(OUTPUT_SCALE)))

    @torch.no_grad()
    def initialise_from_images(self, image_BCHW: torch.Tensor) -> None:
        """Set the first layer from normalised training images: the eigenvectors of their patches' second moments, each
        divided by its deviation, and their negatives. Float64 inside, where the images lie; the same images give the
        same filters on the CPU."""
        whitening = self.stem.get_submodule("whitening")
        weight_OCHW = whitening.get_parameter("weight")
        num_numbers = image_BCHW.shape[1] * PATCH**2
        moment_DD = torch.zeros(num_numbers, num_numbers, dtype=torch.float64, device=image_BCHW.device)
        num_patches = 0
        for part_BCHW in image_BCHW.split(max(1, PIXELS_AT_ONCE // image_BCHW[0, 0].numel())):
            patch_ND = nn.functional.unfold(part_BCHW.double(), PATCH).transpose(1, 2).flatten(0, 1)
            moment_DD += patch_ND.T @ patch_ND
            num_patches += len(patch_ND)
        variance_D, direction_DD = torch.linalg.eigh(moment_DD.cpu() / num_patches)
        filter_DD = direction_DD.T / (variance_D.clamp(min=0) + WHITENING_EPSILON).sqrt()[:, None]
        weight_OCHW.copy_(torch.cat([filter_DD, -filter_DD]).view(weight_OCHW.shape))


def _group(channels_in: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        OrderedDict(
            conv1=_convolution(channels_in, width),
            pool=nn.MaxPool2d(2),
            norm1=_norm(width),
            silu1=nn.SiLU(),
            conv2=_convolution(width, width),
            norm2=_norm(width),
            silu2=nn.SiLU(),
        )
    )


def _convolution(channels_in: int, width: int) -> nn.Conv2d:
    """3x3 without bias; the first filters pass their channels on unchanged."""
    convolution = nn.Conv2d(channels_in, width, 3, padding=1, bias=False)
    with torch.no_grad():
        nn.init.dirac_(convolution.weight[:channels_in])
    return convolution


def _norm(width: int) -> nn.BatchNorm2d:
    norm = nn.BatchNorm2d(width, eps=NORM_EPSILON, momentum=NORM_MOMENTUM)
    norm.weight.requires_grad_(False)  # it stays 1
    return norm


def build(name: str, widths: tuple[int, int, int], spec: ModelSpec) -> SpeedrunNetwork:
    """The network with fresh weights; training sets the first layer from its images. Raises ModelError."""
    network = SpeedrunNetwork(spec, widths)
    check_size(name, network, spec, SMALLEST_PX)
    return network


VARIANTS = {
    "speedrun": (
        WIDTHS,
        "whitened patches and three wide groups, for small images in little time",
        Reference(
            spec=CIFAR,
            source="by hand: 312 + 9 * 218,624 + 2,304 + 2,560 parameters; on 31x31, 15x15, 7x7 and 3x3 positions",
            parameters=1_972_792,
            multiply_adds=118_147_360,
        ),
    ),
    "speedrun-narrow": (
        NARROW_WIDTHS,
        "the speedrun network with fewer channels, for small grey images",
        Reference(
            spec=GREY,
            source="by hand: 40 + 9 * 32,000 + 896 + 1,280 parameters; on 27x27, 13x13, 6x6 and 3x3 positions",
            parameters=290_216,
            multiply_adds=11_685_152,
        ),
    ),
}
for name, (widths, summary, reference) in VARIANTS.items():
    register(
        Architecture(
            name=name,
            build=partial(build, name, widths),
            summary=summary,
            citation="Jordan 2024, arXiv:2404.00498, section 3",
            default_spec=reference.spec,
            references=(reference,),
        ),
        __name__,
    )
