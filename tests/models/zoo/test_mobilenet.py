"""MobileNetV2's names in timm's files, written here from the paper's Table 2 and timm's own words for the layers."""

import torch

from saccade.models.architecture import MODELS, build_model
from saccade.weights.tensors import match_names, tensor_shapes

# Table 2 of the paper: expansion, channels, repeats.
TABLE_2 = ((1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1))


def norm(name: str, channels: int) -> dict[str, tuple[int, ...]]:
    sizes = {f"{name}.{kind}": (channels,) for kind in ("weight", "bias", "running_mean", "running_var")}
    return {**sizes, f"{name}.num_batches_tracked": ()}


def timm_shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {"conv_stem.weight": (32, 3, 3, 3), **norm("bn1", 32)}
    channels = 32
    for stage, (expansion, width, repeats) in enumerate(TABLE_2):
        for position in range(repeats):
            place, inner = f"blocks.{stage}.{position}", expansion * channels
            last, last_norm = ("conv_pw", "bn2") if expansion == 1 else ("conv_pwl", "bn3")
            if expansion > 1:
                shapes |= {f"{place}.conv_pw.weight": (inner, channels, 1, 1), **norm(f"{place}.bn1", inner)}
            shapes[f"{place}.conv_dw.weight"] = (inner, 1, 3, 3)
            shapes |= norm(f"{place}.{'bn1' if expansion == 1 else 'bn2'}", inner)
            shapes |= {f"{place}.{last}.weight": (width, inner, 1, 1), **norm(f"{place}.{last_norm}", width)}
            channels = width
    shapes |= {"conv_head.weight": (1280, 320, 1, 1), **norm("bn2", 1280)}
    return shapes | {"classifier.weight": (1000, 1280), "classifier.bias": (1000,)}


def test_every_tensor_of_timms_file_has_its_place():
    architecture = MODELS.get("mobilenetv2")
    with torch.device("meta"):
        ours = tensor_shapes(build_model("mobilenetv2", architecture.default_spec))
    theirs = timm_shapes()
    names, unused = match_names(list(theirs), ours, architecture.rename_key)
    assert unused == []
    assert sorted(names.values()) == sorted(ours)
    assert {key: ours[place] for key, place in names.items()} == theirs
