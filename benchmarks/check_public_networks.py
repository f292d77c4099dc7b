"""Do our networks compute what the public ones compute? Random public weights, translated, must give equal logits.

    pip install torchvision timm        in an environment of its own: torchvision wants its own build of torch
    python -m benchmarks.check_public_networks

For every architecture with public weights: torchvision's network and timm's, where they have one, with random weights,
its state dict saved as safetensors and loaded into ours through `rename_key`, the same images through both. The largest
difference of a logit must be at most 1e-4. Normalisations, layer scales and biases are drawn at random too: fresh ones
are often 0, and what they multiply would not be compared.
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
SCALES = ("gamma", "layer_scale")  # what ConvNeXt's layer scale is called
CONVNEXT = ("atto", "femto", "pico", "nano", "tiny", "small", "base")
# Ours: theirs.
TORCHVISION = {
    "alexnet-one-tower": "alexnet",
    **{f"convnext-{size}": f"convnext_{size}" for size in ("tiny", "small", "base")},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    "googlenet-bn3x3": "googlenet",
    "inception-v3": "inception_v3",
    "mobilenetv2": "mobilenet_v2",
    "regnety-1.6gf": "regnet_y_1_6gf",
    "regnety-16gf": "regnet_y_16gf",
    "regnety-3.2gf": "regnet_y_3_2gf",
    "regnety-400mf": "regnet_y_400mf",
    "regnety-800mf-torchvision": "regnet_y_800mf",
    "regnety-8gf-torchvision": "regnet_y_8gf",
    "resnext101-32x8d": "resnext101_32x8d",
    "resnext50-32x4d": "resnext50_32x4d",
    "squeezenet1.0": "squeezenet1_0",
    "squeezenet1.1": "squeezenet1_1",
    "wide-resnet50-2": "wide_resnet50_2",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}
TIMM = {
    **{f"convnext-{size}": f"convnext_{size}" for size in CONVNEXT},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    "inception-v3": "inception_v3",
    "mobilenetv2": "mobilenetv2_100",
    "regnety-1.6gf": "regnety_016",
    "regnety-16gf": "regnety_160",
    "regnety-3.2gf": "regnety_032",
    "regnety-400mf": "regnety_004",
    "regnety-800mf": "regnety_008",
    "regnety-800mf-torchvision": "regnety_008_tv",
    "regnety-8gf": "regnety_080",
    "regnety-8gf-torchvision": "regnety_080_tv",
    "resnet50-d": "resnet50d",
    "se-resnet50": "seresnet50",
    "resnext101-32x8d": "resnext101_32x8d",
    "resnext50-32x4d": "resnext50_32x4d",
    "wide-resnet50-2": "wide_resnet50_2",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of ours, separated by commas")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else sorted(TORCHVISION | TIMM)
    torchvision = import_torchvision()
    import timm

    versions = {"torch": torch.__version__, "torchvision": torchvision.__version__, "timm": timm.__version__}
    results = {}
    for name in chosen:
        peers = {}
        if name in TORCHVISION:
            peers["torchvision"] = torchvision_network(TORCHVISION[name])
        if name in TIMM:
            peers["timm"] = timm.create_model(TIMM[name], pretrained=False)
        for peer, network in peers.items():
            results[f"{name} against {peer}"] = difference(name, network)
            print(f"{name:<20} {peer:<12} {results[f'{name} against {peer}']:.2e}", file=sys.stderr)
    print(json.dumps({"versions": versions, "largest_difference": results}))
    sys.exit(0 if all(value <= LIMIT for value in results.values()) else 1)


def torchvision_network(name: str) -> nn.Module:
    """The public network with random weights; Inceptions with side branches and without input transform."""
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        return getattr(models, name)(weights=None, init_weights=True, aux_logits=True, transform_input=False)
    return getattr(models, name)(weights=None)


def is_one_a_channel(tensor: torch.Tensor) -> bool:
    """Whether it has one number for each channel."""
    return tensor.ndim > 0 and tensor.numel() == max(tensor.shape)


@torch.no_grad()
def difference(name: str, network: nn.Module) -> float:
    """The largest difference of a logit over two random images, weights translated through a file; of the largest logit
    where that is above 1."""
    generator = torch.Generator().manual_seed(0)
    network.eval()
    for key, tensor in network.state_dict().items():
        if key.endswith(("running_var", "weight", *SCALES)) and is_one_a_channel(tensor):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif key.endswith(("running_mean", "bias")):
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    architecture = MODELS.get(name)
    ours = build_model(name, architecture.default_spec).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "public.safetensors"
        save_file({key: tensor.contiguous() for key, tensor in network.state_dict().items()}, path)
        load_weights(ours, path, architecture.rename_key)
    image_BCHW = torch.randn(2, *architecture.default_spec.input_CHW, generator=generator)
    theirs_BK = network(image_BCHW)
    return float((ours(image_BCHW) - theirs_BK).abs().max() / theirs_BK.abs().max().clamp(min=1))


if __name__ == "__main__":
    main()
