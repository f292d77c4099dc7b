"""Networks under timm's names: which of ours timm has, and the inverse of `rename_key`.

A `rename_key` reads more spellings than timm's, so it is not turned round: every name that timm's network may have is
written here as a pattern, and `rename_key` is asked about each. `{0-3}` stands for each of these numbers, `{a|b}` for
each of these words.
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from ..core.errors import ExportError, printable
from ..models.architecture import MODELS, ModelSpec, Translation, build_model
from ..models.build import without_weights
from ..weights.tensors import AUXILIARY, match_names, tensor_shapes

TENSORS = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked", "gamma")
VGG_PX = 7  # rows and columns of the map that timm's VGG takes to its dense layers
VGG_FILTERS = {"pre_logits.fc1": VGG_PX, "pre_logits.fc2": 1}
BLOCK = "{conv|conv_pw|conv_dw|conv_pwl|conv_exp|bn1|bn2|bn3|se.conv_reduce|se.conv_expand}"
UNIVERSAL = "{dw_start|pw_exp|dw_mid|pw_proj}.{conv|bn}"

RESNET = (
    "conv1", "conv1.{0-6}", "bn1", "layer{1-4}.{0-35}.{conv|bn}{1-3}", "layer{1-4}.{0-35}.se.fc{1-2}",
    "layer{1-4}.0.downsample.{0-2}", "fc",
)  # fmt: skip
DENSENET = (
    "features.{conv0|norm0|norm5}", "features.denseblock{1-4}.denselayer{1-48}.{norm|conv}{1-2}",
    "features.transition{1-3}.{norm|conv}", "classifier",
)  # fmt: skip
VGG = ("features.{0-52}", "pre_logits.fc{1-2}", "head.fc")
MOBILE = (
    "conv_stem", "bn1", "blocks.{0-6}.{0-12}." + BLOCK, "blocks.{0-6}.{0-12}." + UNIVERSAL, "conv_head", "bn2",
    "norm_head", "classifier",
)  # fmt: skip
CONVNEXT = (
    "stem.{0-1}", "stages.{0-3}.downsample.{0-1}", "stages.{0-3}.blocks.{0-26}",
    "stages.{0-3}.blocks.{0-26}.{conv_dw|norm|mlp.fc1|mlp.fc2}", "head.{norm|fc}",
)  # fmt: skip
REGNET = (
    "stem.{conv|bn}", "s{1-4}.b{1-20}.{conv1|conv2|conv3|downsample}.{conv|bn}", "s{1-4}.b{1-20}.se.fc{1-2}", "head.fc",
)  # fmt: skip
INCEPTION_V3 = (
    "Conv2d_{1a_3x3|2a_3x3|2b_3x3|3b_1x1|4a_3x3}.{conv|bn}",
    "Mixed_{5|6|7}{a|b|c|d|e}.{branch1x1|branch_pool}.{conv|bn}", "Mixed_6a.branch3x3.{conv|bn}",
    "Mixed_{5|6|7}{a|b|c|d|e}.branch{3x3|5x5|7x7|3x3dbl|7x7dbl|7x7x3}_{1-5}.{conv|bn}",
    "Mixed_7{b|c}.branch3x3{_2a|_2b|dbl_3a|dbl_3b}.{conv|bn}", "fc",
)  # fmt: skip
INCEPTION_V4 = (
    "features.{0-2}.{conv|bn}", "features.{3|5}.conv.{conv|bn}", "features.{4|18}.branch0.{0-1}.{conv|bn}",
    "features.{6-17}.branch0.{conv|bn}", "features.{19-21}.branch0.{conv|bn}",
    "features.{4-18}.branch{1-3}.{0-4}.{conv|bn}", "features.{19-21}.branch3.1.{conv|bn}",
    "features.{19-21}.branch{1-2}_{0-2}.{conv|bn}", "features.{19-21}.{branch1_1a|branch1_1b}.{conv|bn}",
    "features.{19-21}.{branch2_3a|branch2_3b}.{conv|bn}", "last_linear",
)  # fmt: skip
INCEPTION_RESNET = (
    "conv2d_{1a|2a|2b|3b|4a|7b}.{conv|bn}", "mixed_{5b|6a}.branch0.{conv|bn}", "mixed_7a.branch0.{0-1}.{conv|bn}",
    "mixed_{5b|6a|7a}.branch{1-3}.{0-2}.{conv|bn}", "block8.branch0.{conv|bn}", "block8.branch1.{0-2}.{conv|bn}",
    "block8.conv2d", "{repeat|repeat_1|repeat_2}.{0-19}.branch0.{conv|bn}",
    "{repeat|repeat_1|repeat_2}.{0-19}.branch{1-2}.{0-2}.{conv|bn}", "{repeat|repeat_1|repeat_2}.{0-19}.conv2d",
    "classif",
)  # fmt: skip
VIT = (
    "patch_embed.proj", "blocks.{0-11}.{norm1|norm2|attn.qkv|attn.proj|mlp.fc1|mlp.fc2|ls1|ls2}", "norm",
    "attn_pool.{q|kv|proj|norm|mlp.fc1|mlp.fc2}", "head",
)  # fmt: skip
VIT_WHOLE = ("cls_token", "pos_embed", "attn_pool.latent")  # names of tensors, not of layers


@dataclass(frozen=True, kw_only=True)
class TimmNetwork:
    """timm's name of one of our networks, the patterns of its layers' names, the last of which is the last layer, and
    what its constructor is given.

    `filters` are dense layers here that are filters there, with their side in pixels; `dense` the other way round.
    """

    name: str
    patterns: tuple[str, ...]
    model_args: Mapping[str, Any] = field(default_factory=dict)
    filters: Mapping[str, int] = field(default_factory=dict)
    dense: tuple[str, ...] = ()

    @property
    def last_layer(self) -> str:
        """The name of the layer that gives the logits."""
        return list(expanded(self.patterns[-1]))[-1]


def _networks() -> dict[str, TimmNetwork]:
    """By our name."""
    same = {
        RESNET: ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
        DENSENET: ("densenet121", "densenet169", "densenet201"),
        VGG: tuple(f"vgg{depth}" for depth in (11, 13, 16, 19)),
    }
    named = {(ours, ours): patterns for patterns, names in same.items() for ours in names}
    named |= {(f"vgg{depth}-bn", f"vgg{depth}_bn"): VGG for depth in (11, 13, 16, 19)}
    named |= {
        ("resnet50-d", "resnet50d"): RESNET,
        ("se-resnet50", "seresnet50"): RESNET,
        ("resnext50-32x4d", "resnext50_32x4d"): RESNET,
        ("resnext101-32x8d", "resnext101_32x8d"): RESNET,
        ("wide-resnet50-2", "wide_resnet50_2"): RESNET,
        ("mobilenetv1", "mobilenetv1_100"): MOBILE,
        ("mobilenetv2", "mobilenetv2_100"): MOBILE,
        ("mobilenetv3-small", "mobilenetv3_small_100"): MOBILE,
        ("mobilenetv3-large", "mobilenetv3_large_100"): MOBILE,
        ("mobilenetv4-conv-small", "mobilenetv4_conv_small"): MOBILE,
        ("mobilenetv4-conv-medium", "mobilenetv4_conv_medium"): MOBILE,
        ("inception-v3", "inception_v3"): INCEPTION_V3,
        ("inception-v4", "inception_v4"): INCEPTION_V4,
        ("inception-resnet-v2", "inception_resnet_v2"): INCEPTION_RESNET,
        ("regnety-800mf-torchvision", "regnety_008_tv"): REGNET,
        ("regnety-8gf-torchvision", "regnety_080_tv"): REGNET,
    }
    named |= {(f"efficientnet-b{size}", f"efficientnet_b{size}"): MOBILE for size in range(5)}
    named |= {(f"efficientnet-lite{size}", f"tf_efficientnet_lite{size}"): MOBILE for size in range(5)}
    sizes = ("atto", "femto", "pico", "nano", "tiny", "small", "base")
    named |= {(f"convnext-{size}", f"convnext_{size}"): CONVNEXT for size in sizes}
    flops = {"400mf": "004", "800mf": "008", "1.6gf": "016", "3.2gf": "032", "8gf": "080", "16gf": "160"}
    named |= {(f"regnety-{ours}", f"regnety_{theirs}"): REGNET for ours, theirs in flops.items()}
    found = {
        ours: TimmNetwork(
            name=theirs,
            patterns=patterns,
            filters=VGG_FILTERS if patterns == VGG else {"conv_head": 1} if "mobilenetv3" in ours else {},
            dense=("mlp.fc1", "mlp.fc2") if ours in ("convnext-tiny", "convnext-small", "convnext-base") else (),
        )
        for (ours, theirs), patterns in named.items()
    }
    for ours, theirs in (
        ("vit-s14-dinov2", "vit_small_patch14_dinov2"),
        ("vit-b14-dinov2", "vit_base_patch14_dinov2"),
        ("vit-b16-siglip", "vit_base_patch16_siglip_224"),
    ):  # positions are resampled whenever the network runs, as here
        found[ours] = TimmNetwork(name=theirs, patterns=VIT, model_args={"dynamic_img_size": True})
    return found


NETWORKS = _networks()


def timm_network(model: str, shapes: Mapping[str, tuple[int, ...]], spec: ModelSpec, remedy: str = "") -> TimmNetwork:
    """timm's network for the run's `model`, whose tensors have `shapes`. Raises ExportError where timm has none that
    computes the same; where only the head is another, `remedy` says what to do."""
    name, _, head = model.partition("+")
    found = NETWORKS.get(name)
    if found is None or name not in MODELS:
        raise ExportError(
            f"timm has no network with the names and the arithmetic of {printable(model[:200])}, so nothing on the hub "
            f"could load it.\nExport a graph, which holds any network: --format onnx."
        )
    if head and dict(shapes) != own_shapes(name, spec):
        raise ExportError(
            f"{printable(model[:200])} ends in a head that timm's {found.name} does not have, so timm could not load "
            f"it.\nExport a graph, which holds any head: --format onnx. {remedy or f'Or train {name}.'}"
        )
    if found.patterns == VGG and {side_px // 32 for side_px in spec.input_CHW[1:]} != {VGG_PX}:
        height_px, width_px = spec.input_CHW[1:]
        raise ExportError(
            f"timm's {found.name} computes as ours for inputs of 224x224 px alone, and this run has "
            f"{width_px}x{height_px}.\nExport a graph: --format onnx."
        )
    return found


def under_timm_names(model: str, network: TimmNetwork, weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """`weights` under timm's names, with the shapes that timm has; side branches, which answer nothing, stay behind.

    Raises ExportError where a tensor has no name there.
    """
    rename_key = MODELS.get(model.partition("+")[0]).rename_key
    names = theirs_by_ours(network, dict.fromkeys(weights, ()), rename_key)
    missing = [ours for ours in weights if ours not in names and not ours.startswith(AUXILIARY)]
    if missing:
        raise ExportError(
            f"timm's name of the tensor '{printable(missing[0])}' of {printable(model[:200])} is not known.\n"
            f"Export a graph: --format onnx. Report it with the network's name."
        )
    return {
        theirs: weights[ours].reshape(_shape_there(network, theirs, weights[ours])).contiguous()
        for ours, theirs in names.items()
    }


def theirs_by_ours(network: TimmNetwork, expected: dict[str, tuple[int, ...]], rename_key: Any) -> dict[str, str]:
    """timm's name by ours, of the tensors `expected`, in the order of the patterns."""
    candidates = [f"{layer}.{tensor}" for layer in _layers(network.patterns) for tensor in TENSORS]
    rename = rename_key.rename if isinstance(rename_key, Translation) else rename_key
    names, _ = match_names([*VIT_WHOLE, *candidates] if network.patterns == VIT else candidates, expected, rename)
    return {ours: theirs for theirs, ours in names.items()}


def _shape_there(network: TimmNetwork, name: str, tensor: torch.Tensor) -> tuple[int, ...]:
    """The shape of the tensor `name` in timm, which writes some dense layers as filters and some filters as dense."""
    layer, _, kind = name.rpartition(".")
    shape = tuple(tensor.shape)
    if kind == "weight" and layer in network.filters:
        side_px = network.filters[layer]
        return shape[0], shape[1] // side_px**2, side_px, side_px
    return shape[:2] if kind == "weight" and network.dense and layer.endswith(network.dense) else shape


def own_shapes(name: str, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the registered network's tensors by our names."""
    with without_weights():
        return tensor_shapes(build_model(name, spec))


def expanded(pattern: str) -> Iterator[str]:
    """Every name that a pattern stands for: `b{1-2}.{conv|bn}` for b1.conv, b1.bn, b2.conv and b2.bn."""
    fixed = re.split(r"\{(.*?)\}", pattern)
    choices = [_choices(text) if place % 2 else [text] for place, text in enumerate(fixed)]
    return map("".join, itertools.product(*choices))


def _choices(text: str) -> list[str]:
    numbers = re.fullmatch(r"(\d+)-(\d+)", text, re.ASCII)
    return [str(number) for number in range(int(numbers[1]), int(numbers[2]) + 1)] if numbers else text.split("|")


def _layers(patterns: tuple[str, ...]) -> Iterator[str]:
    for pattern in patterns:
        yield from expanded(pattern)
