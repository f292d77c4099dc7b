"""Do our networks compute what the public ones compute? Random public weights, translated, must give equal logits.

    pip install torchvision timm        in an environment of its own: torchvision wants its own build of torch
    python -m benchmarks.check_public_networks

For every architecture with public weights: torchvision's network, and timm's where it has one, with random weights, its
state dict saved as safetensors and loaded into ours through `rename_key`, the same images through both. The largest
difference of a logit must be at most 1e-4. What batch normalisation multiplies and adds is drawn at random, and its
running averages are measured on other images, so that the signal reaches the logits: between two images they must
differ by 100 times the limit, or equal ones would show nothing.
"""

import argparse
import json
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from benchmarks.torchvision_stub import import_torchvision
from saccade.models.architecture import MODELS, build_model
from saccade.weights.tensors import load_weights

LIMIT = 1e-4
# Ours: theirs.
TORCHVISION = {
    "alexnet-one-tower": "alexnet",
    **{f"efficientnet-b{scale}": f"efficientnet_b{scale}" for scale in range(5)},
    "efficientnetv2-s": "efficientnet_v2_s",
    "googlenet-bn3x3": "googlenet",
    "mobilenetv2": "mobilenet_v2",
    "mobilenetv3-large": "mobilenet_v3_large",
    "mobilenetv3-small": "mobilenet_v3_small",
    **{f"shufflenetv2-x{width}": f"shufflenet_v2_x{width.replace('.', '_')}" for width in ("0.5", "1.0", "1.5", "2.0")},
    "squeezenet1.0": "squeezenet1_0",
    "squeezenet1.1": "squeezenet1_1",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}
TIMM = {
    **{f"efficientnet-b{scale}": f"efficientnet_b{scale}" for scale in range(5)},
    **{f"efficientnet-lite{scale}": f"tf_efficientnet_lite{scale}" for scale in range(5)},
    "mobilenetv1": "mobilenetv1_100",
    "mobilenetv2": "mobilenetv2_100",
    "mobilenetv3-large": "mobilenetv3_large_100",
    "mobilenetv3-small": "mobilenetv3_small_100",
    "mobilenetv4-conv-medium": "mobilenetv4_conv_medium",
    "mobilenetv4-conv-small": "mobilenetv4_conv_small",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of ours, separated by commas")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else list(TORCHVISION | TIMM)
    torchvision = import_torchvision()
    import timm

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    results, is_wrong = {}, False
    for name in chosen:
        torch.manual_seed(0)  # the peers draw their weights by it
        peers = {}
        if name in TORCHVISION:
            peers["torchvision"] = torchvision_network(TORCHVISION[name])
        if name in TIMM:
            peers["timm"] = timm.create_model(TIMM[name], pretrained=False)
        for peer, network in peers.items():
            largest, between = difference(name, network)
            results[f"{name} against {peer}"] = largest
            is_wrong |= not largest <= LIMIT or not between >= 100 * LIMIT
            print(
                f"{name:<22} {peer:<12} {largest:.2e}   between two images {between:.2g}", file=sys.stderr, flush=True
            )
    print(json.dumps({"versions": versions, "largest_difference": results}))
    sys.exit(1 if is_wrong else 0)


def torchvision_network(name: str) -> nn.Module:
    """The public network with random weights; GoogLeNet with its side branches, and without its input transform."""
    from torchvision import models

    if name == "googlenet":
        return models.googlenet(weights=None, init_weights=True, aux_logits=True, transform_input=False)
    return getattr(models, name)(weights=None)


@torch.no_grad()
def difference(name: str, network: nn.Module) -> tuple[float, float]:
    """The largest difference of a logit over two random images, weights translated through a file; and the largest
    between the two images."""
    generator = torch.Generator().manual_seed(0)
    architecture = MODELS.get(name)
    image_BCHW = torch.randn(6, *architecture.default_spec.input_CHW, generator=generator)
    draw_normalisation(network, image_BCHW[2:], generator)
    ours = build_model(name, architecture.default_spec).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "public.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
        load_weights(ours, path, architecture.rename_key)
    expected_BK = network(image_BCHW[:2])
    return (
        float((ours(image_BCHW[:2]) - expected_BK).abs().max()),
        float((expected_BK[0] - expected_BK[1]).abs().max()),
    )


@torch.no_grad()
def draw_normalisation(network: nn.Module, image_BCHW: torch.Tensor, generator: torch.Generator) -> None:
    """Random scales and shifts for batch normalisation, and the averages that `image_BCHW` has with them."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.weight.copy_(0.5 + torch.rand(norm.weight.shape, generator=generator))
        norm.bias.copy_(0.5 * torch.randn(norm.bias.shape, generator=generator))
        norm.train().momentum = 1.0
    network(image_BCHW)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum


if __name__ == "__main__":
    main()
