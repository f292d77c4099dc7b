"""Vision transformers (Dosovitskiy et al. 2020, An image is worth 16x16 words, arXiv:2010.11929, section 3.1) as
frozen extractors: DINOv2's ViT-S/14 and ViT-B/14 (Oquab et al. 2023, arXiv:2304.07193), and the image tower of SigLIP's
ViT-B/16 (Zhai et al. 2023, arXiv:2303.15343). All three as timm 1.0.31 computes them.

An image is cut into patches; each becomes a token, to which a learned position is added. Blocks let every token look at
all others (attention) and change each by itself (two dense layers). DINOv2 reads the answer from a token of its own,
the class token, and scales its branches (LayerScale: Touvron et al. 2021, arXiv:2103.17239); SigLIP from one learned
query that looks at all tokens (Zhai et al. 2022, arXiv:2106.04560).

Positions are learned for the grid of the training images, 37x37 or 14x14 patches; for other inputs they are resampled
(bicubic, antialiased) whenever the network runs, so that weights do not depend on the size of images. The authors of
DINOv2 resample without antialiasing; SigLIP's own code has the approximate GELU.
"""

import math
import re
from collections import OrderedDict
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from ...core.errors import ModelError
from ...core.types import Preprocessing
from ..architecture import Architecture, ImageClassifier, ModelSpec, PublicInput, Reference, does_not_fit, register


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Channels of a token, heads of attention, patches of `patch_px`, positions for `grid` times `grid` of them.

    `has_class_token`: the answer is read from a class token, else by attention pooling. `scales`: branches have a
    LayerScale.
    """

    name: str
    channels: int
    heads: int
    patch_px: int
    grid: int
    has_class_token: bool
    scales: bool


CONFIGS = (
    ViTConfig(name="vit-s14-dinov2", channels=384, heads=6, patch_px=14, grid=37, has_class_token=True, scales=True),
    ViTConfig(name="vit-b14-dinov2", channels=768, heads=12, patch_px=14, grid=37, has_class_token=True, scales=True),
    ViTConfig(name="vit-b16-siglip", channels=768, heads=12, patch_px=16, grid=14, has_class_token=False, scales=False),
)
BLOCKS, EXPANSION = 12, 4
EPSILON = 1e-6  # of layer normalisation
LAYER_SCALE = 1e-5  # at first

PHOTO = ModelSpec(num_classes=1000, input_CHW=(3, 224, 224))


class Published(NamedTuple):
    """Parameters with a dense layer to 1000 classes, which the files lack, and multiply-adds by side in pixels."""

    parameters: int
    multiply_adds: dict[int, int]


PUBLISHED = {
    "vit-s14-dinov2": Published(22_441_192, {224: 6_123_945_984, 518: 46_697_123_328}),
    "vit-b14-dinov2": Published(87_348_712, {224: 23_161_995_264, 518: 151_574_486_016}),
    "vit-b16-siglip": Published(93_653_224, {224: 17_709_060_096}),
}


class PatchTokens(nn.Module):
    """Tokens of an image's patches, row by row, behind the class token where there is one, each with its position."""

    def __init__(self, config: ViTConfig, channels_in: int) -> None:
        super().__init__()
        self.grid, self.patch_px = config.grid, config.patch_px
        self.patches = nn.Conv2d(channels_in, config.channels, config.patch_px, config.patch_px)
        self.class_token = nn.Parameter(torch.zeros(1, 1, config.channels)) if config.has_class_token else None
        num_tokens = config.grid**2 + config.has_class_token
        self.position = nn.Parameter(torch.zeros(1, num_tokens, config.channels))

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """token_BND. Raises ModelError for sizes, such as growing images have, that are no whole patches."""
        height_px, width_px = image_BCHW.shape[2:]
        if height_px % self.patch_px or width_px % self.patch_px:
            raise ModelError(
                f"A vision transformer takes whole patches of {self.patch_px} px, got an image of "
                f"{height_px}x{width_px}.\nLeave input.start_fraction out, or choose sizes that are multiples."
            )
        map_BDhw: torch.Tensor = self.patches(image_BCHW)
        token_BND = map_BDhw.flatten(2).transpose(1, 2)
        if self.class_token is not None:
            token_BND = torch.cat([self.class_token.expand(len(token_BND), -1, -1), token_BND], dim=1)
        position_1ND = self._positions(map_BDhw.shape[2], map_BDhw.shape[3])
        return token_BND + position_1ND

    def _positions(self, rows: int, columns: int) -> torch.Tensor:
        """position_1ND of a grid of patches; that of the class token stays."""
        if (rows, columns) == (self.grid, self.grid):
            return self.position
        of_class, of_patches = self.position.split([self.position.shape[1] - self.grid**2, self.grid**2], dim=1)
        grid_1Dhw = of_patches.float().transpose(1, 2).unflatten(2, (self.grid, self.grid))
        resampled_1Dhw = functional.interpolate(grid_1Dhw, (rows, columns), mode="bicubic", antialias=True)
        return torch.cat([of_class, resampled_1Dhw.flatten(2).transpose(1, 2).to(of_class.dtype)], dim=1)


class Attention(nn.Module):
    """Every token becomes a mean of all tokens' values, weighed by how its query meets their keys (section 3.1)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query_key_value = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(self, token_BND: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        query, key, value = _of_heads(self.query_key_value(token_BND), 3, self.heads)
        changed_BND: torch.Tensor = self.project(_joined(functional.scaled_dot_product_attention(query, key, value)))
        return changed_BND


class AttentionPool(nn.Module):
    """One learned query looks at all tokens; what it finds goes through two dense layers, beside a shortcut."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.probe = nn.Parameter(torch.zeros(1, 1, channels))
        self.query = nn.Linear(channels, channels)
        self.key_value = nn.Linear(channels, 2 * channels)
        self.project = nn.Linear(channels, channels)
        self.dense = nn.Sequential(_dense_layers(channels))

    def forward(self, token_BND: torch.Tensor) -> torch.Tensor:
        """feature_BD of token_BND."""
        (query,) = _of_heads(self.query(self.probe.expand(len(token_BND), -1, -1)), 1, self.heads)
        key, value = _of_heads(self.key_value(token_BND), 2, self.heads)
        found_B1D = self.project(_joined(functional.scaled_dot_product_attention(query, key, value)))
        feature_BD: torch.Tensor = (found_B1D + self.dense(found_B1D))[:, 0]
        return feature_BD


def _of_heads(joined_BNX: torch.Tensor, num: int, heads: int) -> tuple[torch.Tensor, ...]:
    """`num` tensors (B, heads, N, channels of a head) out of one whose last axis holds them side by side."""
    apart_BNshd: torch.Tensor = joined_BNX.unflatten(2, (num, heads, -1))
    return apart_BNshd.permute(2, 0, 3, 1, 4).unbind(0)


def _joined(head_BHNd: torch.Tensor) -> torch.Tensor:
    """token_BND, the heads' channels side by side."""
    return head_BHNd.transpose(1, 2).flatten(2)


def _dense_layers(channels: int) -> OrderedDict[str, nn.Module]:
    return OrderedDict(
        norm=nn.LayerNorm(channels, EPSILON),
        expand=nn.Linear(channels, EXPANSION * channels),
        gelu=nn.GELU(),
        project=nn.Linear(EXPANSION * channels, channels),
    )


class LayerScale(nn.Module):
    """A learned factor for each channel of a token."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((channels,), LAYER_SCALE))

    def forward(self, token_BND: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        return token_BND * self.factor


class Block(nn.Module):
    """Attention, then two dense layers, each behind a normalisation and beside a shortcut (Figure 1, right)."""

    def __init__(self, config: ViTConfig) -> None:
        super().__init__()
        channels = config.channels
        attention = OrderedDict(norm=nn.LayerNorm(channels, EPSILON), attention=Attention(channels, config.heads))
        dense = _dense_layers(channels)
        if config.scales:
            attention["scale"], dense["scale"] = LayerScale(channels), LayerScale(channels)
        self.attention = nn.Sequential(attention)
        self.dense = nn.Sequential(dense)

    def forward(self, token_BND: torch.Tensor) -> torch.Tensor:
        """The same shape."""
        token_BND = token_BND + self.attention(token_BND)
        changed_BND: torch.Tensor = self.dense(token_BND)
        return token_BND + changed_BND


class FirstToken(nn.Module):
    """The class token alone."""

    def forward(self, token_BND: torch.Tensor) -> torch.Tensor:
        """feature_BD of token_BND."""
        return token_BND[:, 0]


class VisionTransformer(ImageClassifier):
    """Tokens of patches - 12 blocks, each a stage - normalisation and class token or attention pooling - dense."""

    def __init__(self, config: ViTConfig, spec: ModelSpec) -> None:
        super().__init__()
        _check_patches(config, spec)
        self.patch_px, self.has_class_token = config.patch_px, config.has_class_token
        self.stem = PatchTokens(config, spec.input_CHW[0])
        self.stages = nn.Sequential(OrderedDict((f"stage{number + 1}", Block(config)) for number in range(BLOCKS)))
        norm = nn.LayerNorm(config.channels, EPSILON)
        self.neck = nn.Sequential(
            OrderedDict(token=FirstToken(), norm=norm)
            if config.has_class_token
            else OrderedDict(norm=norm, pool=AttentionPool(config.channels, config.heads))
        )
        self.head = nn.Linear(config.channels, spec.num_classes)
        _initialise(self)

    def map_names(self) -> list[str]:
        """Where the class token answers, what the last block makes of the patches reaches no logit."""
        names = super().map_names()
        return names[:-1] if self.has_class_token else names

    def as_map(self, output: torch.Tensor, image_BCHW: torch.Tensor) -> torch.Tensor:
        """The tokens of the patches, as they lie in the image."""
        rows, columns = (side_px // self.patch_px for side_px in image_BCHW.shape[2:])
        if output.ndim != 3 or output.shape[1] < rows * columns:
            return output
        patch_BDN = output[:, -rows * columns :].transpose(1, 2)
        return patch_BDN.reshape(*patch_BDN.shape[:2], rows, columns)


def _check_patches(config: ViTConfig, spec: ModelSpec) -> None:
    patch_px = config.patch_px
    sides_px = spec.input_CHW[1:]
    if all(side_px % patch_px == 0 for side_px in sides_px):
        return
    height_px, width_px = (max(1, round(side_px / patch_px)) * patch_px for side_px in sides_px)
    wrong_px = next(side_px for side_px in sides_px if side_px % patch_px)
    does_not_fit(
        config.name,
        "stem.patches",
        spec,
        f"{wrong_px} px are not a whole number of patches of {patch_px} px",
        f"Use multiples of {patch_px}, such as --input {height_px}x{width_px}x{spec.input_CHW[0]} for a table, "
        f"--set input.size_px={height_px} to train.",
    )


def _initialise(network: VisionTransformer) -> None:
    """Normal, truncated, deviation 0.02; biases and the class token 0."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
            nn.init.trunc_normal_(module.weight, std=0.02)
            nn.init.zeros_(module.bias)
        elif isinstance(module, PatchTokens):
            nn.init.trunc_normal_(module.position, std=0.02)
        elif isinstance(module, AttentionPool):
            nn.init.trunc_normal_(module.probe, std=1 / math.sqrt(module.probe.shape[2]))


OUTSIDE = {
    "cls_token": "stem.class_token",
    "pos_embed": "stem.position",
    "patch_embed.proj": "stem.patches",
    "norm": "neck.norm",
    "head": "head",
    "attn_pool.latent": "neck.pool.probe",
    "attn_pool.q": "neck.pool.query",
    "attn_pool.kv": "neck.pool.key_value",
    "attn_pool.proj": "neck.pool.project",
    "attn_pool.norm": "neck.pool.dense.norm",
    "attn_pool.mlp.fc1": "neck.pool.dense.expand",
    "attn_pool.mlp.fc2": "neck.pool.dense.project",
}
IN_BLOCK = {
    "norm1": "attention.norm",
    "attn.qkv": "attention.attention.query_key_value",
    "attn.proj": "attention.attention.project",
    "ls1": "attention.scale",
    "norm2": "dense.norm",
    "mlp.fc1": "dense.expand",
    "mlp.fc2": "dense.project",
    "ls2": "dense.scale",
}
KINDS = {"gamma": "factor"}
BLOCK_LAYER = re.compile(r"blocks\.(\d+)\.(.+)\.(\w+)", re.ASCII)


def rename_key(key: str) -> str | None:
    """A tensor's name in timm's and in DINOv2's own public files as ours."""
    if key in OUTSIDE:
        return OUTSIDE[key]
    if match := BLOCK_LAYER.fullmatch(key):
        number, layer, tensor = match.groups()
        return f"stages.stage{int(number) + 1}.{IN_BLOCK[layer]}.{KINDS.get(tensor, tensor)}"
    owner, _, tensor = key.rpartition(".")
    return f"{OUTSIDE[owner]}.{tensor}" if owner in OUTSIDE else None


def build(config: ViTConfig, spec: ModelSpec) -> VisionTransformer:
    """A vision transformer with fresh weights."""
    return VisionTransformer(config, spec)


DINOV2_INPUT = PublicInput(
    whose="DINOv2's authors'", preprocessing=Preprocessing(resize_px=256, interpolation="bicubic")
)
SIGLIP_INPUT = PublicInput(
    whose="timm's",
    preprocessing=Preprocessing(resize_px=248, interpolation="bicubic", mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)),
)
WORDS = {
    "vit-s14-dinov2": (
        "DINOv2's ViT-S/14, for frozen features: trained without labels",
        "Oquab et al. 2023, arXiv:2304.07193; Dosovitskiy et al. 2020, arXiv:2010.11929",
        ("vit_small_patch14_dinov2", "dinov2_vits14"),
        DINOV2_INPUT,
    ),
    "vit-b14-dinov2": (
        "DINOv2's ViT-B/14, for frozen features: trained without labels",
        "Oquab et al. 2023, arXiv:2304.07193; Dosovitskiy et al. 2020, arXiv:2010.11929",
        ("vit_base_patch14_dinov2", "dinov2_vitb14"),
        DINOV2_INPUT,
    ),
    "vit-b16-siglip": (
        "SigLIP's ViT-B/16, for frozen features: trained on images and their captions",
        "Zhai et al. 2023, arXiv:2303.15343; Dosovitskiy et al. 2020, arXiv:2010.11929",
        ("vit_base_patch16_siglip_224",),
        SIGLIP_INPUT,
    ),
}


def _register(config: ViTConfig) -> None:
    summary, citation, also_called, public_input = WORDS[config.name]
    published = PUBLISHED[config.name]
    register(
        Architecture(
            name=config.name,
            build=partial(build, config),
            summary=summary,
            citation=citation,
            default_spec=PHOTO,
            references=tuple(
                Reference(
                    spec=ModelSpec(num_classes=1000, input_CHW=(3, side_px, side_px)),
                    source="timm 1.0.31, with a head for 1000 classes (parameters; multiply-adds by torch's counter)",
                    parameters=published.parameters,
                    multiply_adds=multiply_adds,
                )
                for side_px, multiply_adds in published.multiply_adds.items()
            ),
            rename_key=rename_key,
            also_called=also_called,
            public_input=public_input,
            public_head=False,
        ),
        __name__,
    )


for config in CONFIGS:
    _register(config)
