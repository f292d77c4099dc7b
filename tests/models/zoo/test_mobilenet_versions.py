"""MobileNet 1, 3 and 4: figures and public names, counted and written here from the papers' tables."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saccade.models.architecture import MODELS, Translation, build_model
from saccade.weights.tensors import load_weights, match_names, tensor_shapes

Shapes = dict[str, tuple[int, ...]]


def norm(name: str, channels: int) -> Shapes:
    sizes = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {**sizes, f"{name}.num_batches_tracked": ()}


class Tally:
    """A public file as it grows layer by layer, with the multiplications of each convolution."""

    def __init__(self, side_px: int) -> None:
        self.side_px, self.shapes, self.products = side_px, {}, 0

    def convolution(self, names: tuple[str, str], out: int, given: int, kernel: int, stride: int = 1) -> None:
        """`given` are the channels that one filter sees: 1 where it works channel by channel."""
        self.side_px = math.ceil(self.side_px / stride)
        self.shapes |= {f"{names[0]}.weight": (out, given, kernel, kernel), **norm(names[1], out)}
        self.products += out * given * kernel**2 * self.side_px**2

    def dense(self, name: str, out: int, given: int, ending: tuple[int, ...] = ()) -> None:
        self.shapes |= {f"{name}.weight": (out, given, *ending), f"{name}.bias": (out,)}
        self.products += out * given

    @property
    def parameters(self) -> int:
        return sum(
            math.prod(shape)
            for name, shape in self.shapes.items()
            if not name.endswith(("running_mean", "running_var", "num_batches_tracked"))
        )


def version_1() -> Tally:
    """Table 1: a stride of 2 in front of 128, 256, 512 and 1024."""
    tally, given = Tally(224), 32
    tally.convolution(("conv_stem", "bn1"), 32, 3, 3, 2)
    for stage, widths in enumerate(([64], [128] * 2, [256] * 2, [512] * 6, [1024] * 2)):
        for position, width in enumerate(widths):
            place = f"blocks.{stage}.{position}"
            stride = 2 if stage > 0 and position == 0 else 1
            tally.convolution((f"{place}.conv_dw", f"{place}.bn1"), given, 1, 3, stride)
            tally.convolution((f"{place}.conv_pw", f"{place}.bn2"), width, given, 1)
            given = width
    tally.dense("classifier", 1000, 1024)
    return tally


# Tables 1 and 2: kernel, expanded, output, squeeze-and-excitation width, stride; SE is a quarter in eights.
LARGE = """3 16 16 0 1 | 3 64 24 0 2, 3 72 24 0 1 | 5 72 40 24 2, 5 120 40 32 1, 5 120 40 32 1
| 3 240 80 0 2, 3 200 80 0 1, 3 184 80 0 1, 3 184 80 0 1 | 3 480 112 120 1, 3 672 112 168 1
| 5 672 160 168 2, 5 960 160 240 1, 5 960 160 240 1"""
SMALL = """3 16 16 8 2 | 3 72 24 0 2, 3 88 24 0 1 | 5 96 40 24 2, 5 240 40 64 1, 5 240 40 64 1
| 5 120 48 32 1, 5 144 48 40 1 | 5 288 96 72 2, 5 576 96 144 1, 5 576 96 144 1"""


def version_3(table: str, last: int, hidden: int, is_timm: bool) -> Tally:
    tally, given, flat = Tally(224), 16, 0
    tally.convolution(("conv_stem", "bn1") if is_timm else ("features.0.0", "features.0.1"), 16, 3, 3, 2)
    stages = [[tuple(map(int, row.split())) for row in stage.split(",")] for stage in table.split("|")]
    for stage, rows in enumerate(stages):
        for position, (kernel, inner, out, squeezed, stride) in enumerate(rows):
            flat += 1
            steps = [("conv_pw", inner, given, 1, 1)] if inner != given else []
            steps += [("conv_dw", inner, 1, kernel, stride)]
            last_name = "conv_pwl" if inner != given else "conv_pw"
            steps += [("se", squeezed, inner, 1, 1)] * (squeezed > 0) + [(last_name, out, inner, 1, 1)]
            num_norms = 0
            for part, (name, wide, narrow, side, step) in enumerate(steps):
                place = f"blocks.{stage}.{position}" if is_timm else f"features.{flat}.block.{part}"
                if name == "se":
                    reduce, expand = ("se.conv_reduce", "se.conv_expand") if is_timm else ("fc1", "fc2")
                    tally.dense(f"{place}.{reduce}", squeezed, inner, (1, 1))
                    tally.dense(f"{place}.{expand}", inner, squeezed, (1, 1))
                    continue
                num_norms += 1
                names = (f"{place}.{name}", f"{place}.bn{num_norms}") if is_timm else (f"{place}.0", f"{place}.1")
                tally.convolution(names, wide, narrow, side, step)
            given = out
    end = len(stages)
    names = (f"blocks.{end}.0.conv", f"blocks.{end}.0.bn1") if is_timm else (f"features.{flat + 1}.0", "")
    tally.convolution((names[0], names[1] or f"features.{flat + 1}.1"), last, given, 1)
    tally.dense("conv_head" if is_timm else "classifier.0", hidden, last, (1, 1) if is_timm else ())
    tally.dense("classifier" if is_timm else "classifier.3", 1000, hidden)
    return tally


# The tables of MNv4-Conv-S and -M: a convolution "c kernel out stride", a fused block "f expansion out stride", the
# universal block "start middle expansion", whose width stands in front of the stage and whose first has stride 2.
V4_SMALL = """c 3 32 2, c 1 32 1 | c 3 96 2, c 1 64 1 | 96: 5 5 3, 0 3 2, 0 3 2, 0 3 2, 0 3 2, 3 0 4
| 128: 3 3 6, 5 5 4, 0 5 4, 0 5 3, 0 3 4, 0 3 4"""
V4_MEDIUM = """f 4 48 2 | 80: 3 5 4, 3 3 2 | 160: 3 5 6, 3 3 4, 3 3 4, 3 5 4, 3 3 4, 3 0 4, 0 0 2, 3 0 4
| 256: 5 5 6, 5 5 4, 3 5 4, 3 5 4, 0 0 4, 3 0 4, 3 5 2, 5 5 4, 0 0 4, 0 0 4, 5 0 2"""


def version_4(table: str, side_px: int) -> Tally:
    tally, given = Tally(side_px), 32
    tally.convolution(("conv_stem", "bn1"), 32, 3, 3, 2)
    for stage, text in enumerate(table.split("|")):
        width, colon, rows = text.partition(":")
        for position, row in enumerate((rows if colon else text).split(",")):
            place, (first, second, third, *fourth) = f"blocks.{stage}.{position}", row.split()
            if first == "c":
                out = int(third)
                tally.convolution((f"{place}.conv", f"{place}.bn1"), out, given, int(second), int(fourth[0]))
            elif first == "f":
                out, inner = int(third), given * int(second)
                tally.convolution((f"{place}.conv_exp", f"{place}.bn1"), inner, given, 3, int(fourth[0]))
                tally.convolution((f"{place}.conv_pwl", f"{place}.bn2"), out, inner, 1)
            else:
                start, middle, inner, out = int(first), int(second), given * int(third), int(width)
                stride = 2 if position == 0 else 1
                if start:
                    names = (f"{place}.dw_start.conv", f"{place}.dw_start.bn")
                    tally.convolution(names, given, 1, start, 1 if middle else stride)
                tally.convolution((f"{place}.pw_exp.conv", f"{place}.pw_exp.bn"), inner, given, 1)
                if middle:
                    tally.convolution((f"{place}.dw_mid.conv", f"{place}.dw_mid.bn"), inner, 1, middle, stride)
                tally.convolution((f"{place}.pw_proj.conv", f"{place}.pw_proj.bn"), out, inner, 1)
            given = out
    tally.convolution(("blocks.4.0.conv", "blocks.4.0.bn1"), 960, given, 1)
    tally.side_px = 1
    tally.convolution(("conv_head", "norm_head"), 1280, 960, 1)
    tally.dense("classifier", 1000, 1280)
    return tally


FILES: dict[str, tuple[str, Callable[[], Tally]]] = {
    "1, timm": ("mobilenetv1", version_1),
    "3 large, torchvision": ("mobilenetv3-large", lambda: version_3(LARGE, 960, 1280, is_timm=False)),
    "3 large, timm": ("mobilenetv3-large", lambda: version_3(LARGE, 960, 1280, is_timm=True)),
    "3 small, torchvision": ("mobilenetv3-small", lambda: version_3(SMALL, 576, 1024, is_timm=False)),
    "3 small, timm": ("mobilenetv3-small", lambda: version_3(SMALL, 576, 1024, is_timm=True)),
    "4 small, timm": ("mobilenetv4-conv-small", lambda: version_4(V4_SMALL, 224)),
    "4 medium, timm": ("mobilenetv4-conv-medium", lambda: version_4(V4_MEDIUM, 256)),
}


@pytest.mark.parametrize("file", FILES)
def test_figures_and_names_follow_from_the_papers_tables(file: str):
    name, count = FILES[file]
    architecture, tally = MODELS.get(name), count()
    (reference,) = architecture.references
    assert (reference.parameters, reference.multiply_adds) == (tally.parameters, tally.products)
    with torch.device("meta"):
        ours = tensor_shapes(build_model(name, architecture.default_spec))
    names, unused = match_names(list(tally.shapes), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    hidden = {"head.hidden.weight"}  # timm's is a convolution, which loading flattens
    assert {key: ours[place] for key, place in names.items() if place not in hidden} == {
        key: shape for key, shape in tally.shapes.items() if names[key] not in hidden
    }


@pytest.mark.parametrize(("is_timm", "epsilon"), [(False, 1e-3), (True, 1e-5)])
@pytest.mark.parametrize("wrapper", ["", "module."])
def test_files_keep_their_epsilon_whoever_wrote_them(tmp_path: Path, is_timm: bool, epsilon: float, wrapper: str):
    """variance + epsilon is what normalisation divides by: it must be the file's, also with small variances."""
    shapes = version_3(SMALL, 576, 1024, is_timm).shapes
    tensors = {f"{wrapper}{name}": torch.full(shape, 2e-4) for name, shape in shapes.items()}
    save_file(tensors, tmp_path / "w.safetensors")
    architecture = MODELS.get("mobilenetv3-small")
    network = build_model(architecture.name, architecture.default_spec)
    load_weights(network, tmp_path / "w.safetensors", architecture.rename_key)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 34
    for module in norms:
        torch.testing.assert_close(module.running_var + module.eps, torch.full_like(module.running_var, 2e-4 + epsilon))


def test_our_own_files_are_read_as_they_are(tmp_path: Path):
    architecture = MODELS.get("mobilenetv3-small")
    assert isinstance(architecture.rename_key, Translation)
    network, again = (build_model(architecture.name, architecture.default_spec) for _ in range(2))
    save_file(network.state_dict(), tmp_path / "w.safetensors")
    load_weights(again, tmp_path / "w.safetensors", architecture.rename_key)
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in network.state_dict().items())


def test_the_universal_bottleneck_strides_in_its_last_depthwise_filter():
    with torch.device("meta"):
        network = build_model("mobilenetv4-conv-small", MODELS.get("mobilenetv4-conv-small").default_spec)
    strided = [
        name for name, module in network.named_modules() if isinstance(module, nn.Conv2d) and module.stride == (2, 2)
    ]
    assert strided == [
        "stem.convolution",
        "stages.stage1.0.convolution",
        "stages.stage2.0.convolution",
        "stages.stage3.0.middle.convolution",
        "stages.stage4.0.middle.convolution",
    ]
