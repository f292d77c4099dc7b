"""Do our networks compute what the public ones compute? Random public weights, translated, must give equal logits.

    pip install torchvision timm        in an environment of its own: torchvision wants its own build of torch
    python -m benchmarks.check_public_networks

For every architecture with public weights: torchvision's network and timm's, where they have one, with random weights,
its state dict saved as safetensors and loaded into ours through `rename_key`, the same images through both. The largest
difference of a logit must be at most 1e-4. What normalisations and layer scales multiply and add is drawn at random,
and running averages are measured on other images, so that the signal reaches the logits: between two images they must
differ by 100 times the limit, or equal ones would show nothing.
"""

import argparse
import json
import sys
import tempfile
from dataclasses import replace
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
    **{f"efficientnet-b{scale}": f"efficientnet_b{scale}" for scale in range(5)},
    "efficientnetv2-s": "efficientnet_v2_s",
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
    "mobilenetv3-large": "mobilenet_v3_large",
    "mobilenetv3-small": "mobilenet_v3_small",
    **{f"shufflenetv2-{width}": f"shufflenet_v2_x{width.replace('.', '_')}" for width in ("0.5", "1.0", "1.5", "2.0")},
    "squeezenet1.0": "squeezenet1_0",
    "squeezenet1.1": "squeezenet1_1",
    "wide-resnet50-2": "wide_resnet50_2",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}": f"vgg{depth}" for depth in (11, 13, 16, 19)},
    **{f"vgg{depth}-bn": f"vgg{depth}_bn" for depth in (11, 13, 16, 19)},
}
TIMM = {
    "inception-resnet-v2": "inception_resnet_v2",
    "inception-v4": "inception_v4",
    **{f"convnext-{size}": f"convnext_{size}" for size in CONVNEXT},
    **{f"densenet{depth}": f"densenet{depth}" for depth in (121, 169, 201)},
    "inception-v3": "inception_v3",
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
    "vit-b14-dinov2": "vit_base_patch14_dinov2",
    "vit-b16-siglip": "vit_base_patch16_siglip_224",
    "vit-s14-dinov2": "vit_small_patch14_dinov2",
}
# (height, width) in pixels beside the network's usual one: vision transformers resample their positions.
OTHER_SIZES = {"vit-s14-dinov2": [(518, 518), (196, 280)], "vit-b16-siglip": [(256, 192)]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="names of ours, separated by commas")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",") if arguments.only else sorted(TORCHVISION | TIMM)
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
            any_size = {"num_classes": 1000, "dynamic_img_size": True} if name.startswith("vit") else {}
            peers["timm"] = timm.create_model(TIMM[name], pretrained=False, **any_size)
        usual = MODELS.get(name).default_spec.input_CHW
        for peer, network in peers.items():
            for size_px in [usual[1:], *OTHER_SIZES.get(name, [])]:
                largest, between = difference(name, network, (usual[0], *size_px))
                label = f"{name} against {peer}" + (f" at {size_px[0]}x{size_px[1]}" if size_px != usual[1:] else "")
                results[label] = largest
                is_wrong |= not largest <= LIMIT or not between >= 100 * LIMIT
                print(f"{label:<50} {largest:.2e}   between two images {between:.2g}", file=sys.stderr, flush=True)
    print(json.dumps({"versions": versions, "largest_difference": results}))
    sys.exit(1 if is_wrong else 0)


def torchvision_network(name: str) -> nn.Module:
    """The public network with random weights; Inceptions with side branches and without input transform."""
    from torchvision import models

    if name in ("googlenet", "inception_v3"):
        return getattr(models, name)(weights=None, init_weights=True, aux_logits=True, transform_input=False)
    return getattr(models, name)(weights=None)


@torch.no_grad()
def difference(name: str, network: nn.Module, input_CHW: tuple[int, int, int]) -> tuple[float, float]:
    """The largest difference of a logit over two random images, weights translated through a file; and the largest
    between the two images."""
    generator = torch.Generator().manual_seed(0)
    architecture = MODELS.get(name)
    image_BCHW = torch.randn(6, *input_CHW, generator=generator)
    draw_normalisation(network, image_BCHW[2:], generator)
    ours = build_model(name, replace(architecture.default_spec, input_CHW=input_CHW)).eval()
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
    """Random scales and shifts for normalisations, layer scales, and the averages that `image_BCHW` has with them."""
    network.eval()
    for layer in network.modules():
        if isinstance(layer, nn.LayerNorm):  # and torchvision's and timm's for maps, which are based on it
            layer.weight.copy_(0.5 + torch.rand(layer.weight.shape, generator=generator))
            layer.bias.copy_(0.5 * torch.randn(layer.bias.shape, generator=generator))
    for name, tensor in network.named_parameters():
        if name.endswith(SCALES):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
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
