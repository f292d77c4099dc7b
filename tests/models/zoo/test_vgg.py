"""VGG: Table 1 of the paper, figures by hand, and the names of the public files."""

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from saccade.core.errors import ModelError
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.models.zoo import vgg
from saccade.models.zoo.vgg import VGG, VGGConfig, public_names
from saccade.weights.tensors import load_weights

# Table 1, configurations A, B, D and E, written out as in the paper ("M": maxpool).
TABLE_1 = {
    11: [64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    13: [64, 64, "M", 128, 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M"],
    16: [64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M"],
    19: [64, 64, "M", 128, 128, "M", *[256] * 4, "M", *[512] * 4, "M", *[512] * 4, "M"],
}


def convolutions_and_pools(network: nn.Module) -> list[int | str]:
    rows: list[int | str] = []
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            assert (module.kernel_size, module.stride, module.padding) == ((3, 3), (1, 1), (1, 1))
            rows.append(module.out_channels)
        if isinstance(module, nn.MaxPool2d):
            assert (module.kernel_size, module.stride) == (2, 2)
            rows.append("M")
    return rows


@pytest.mark.parametrize("depth", TABLE_1)
@pytest.mark.parametrize("ending", ["", "-bn"])
def test_layers_are_those_of_table_1(depth: int, ending: str):
    with torch.device("meta"):
        network = build_model(f"vgg{depth}{ending}", MODELS.get("vgg16").default_spec)
    assert convolutions_and_pools(network) == TABLE_1[depth]
    dense = [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]
    assert dense == [(25_088, 4096), (4096, 4096), (4096, 1000)]
    assert len(dense) + sum(isinstance(m, nn.Conv2d) for m in network.modules()) == depth
    num_norms = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert num_norms == (depth - 3 if ending else 0)


@pytest.mark.parametrize("depth", TABLE_1)
def test_multiply_adds_follow_from_table_1(depth: int):
    """Independent of torch: positions x 9 x channels in x channels out, then the dense layers."""
    size_px, channels, total = 224, 3, 0
    for row in TABLE_1[depth]:
        if row == "M":
            size_px //= 2
        else:
            total += size_px * size_px * 9 * channels * int(row)
            channels = int(row)
    total += 25_088 * 4096 + 4096 * 4096 + 4096 * 1000
    assert vgg.MULTIPLY_ADDS[depth] == total


@pytest.mark.parametrize("peer", ["torchvision", "timm"])
@pytest.mark.parametrize("batch_norm", [False, True])
def test_public_files_translate_completely(monkeypatch, tmp_path, peer: str, batch_norm: bool):
    """A file as the peer writes it, built here layer by layer from the peer's own numbering, fills every tensor."""
    monkeypatch.setattr(vgg, "DENSE", 24)
    layers: list[nn.Module] = []
    channels = 3
    for row in TABLE_1[11]:
        if row == "M":
            layers.append(nn.MaxPool2d(2))
            continue
        layers += [nn.Conv2d(channels, int(row), 3, padding=1), nn.ReLU()]
        if batch_norm:
            layers.insert(-1, nn.BatchNorm2d(int(row)))
        channels = int(row)
    public = nn.ModuleDict({"features": nn.Sequential(*layers)})
    if peer == "torchvision":
        dense = [nn.Linear(512 * 49, 24), nn.ReLU(), nn.Dropout(), nn.Linear(24, 24), nn.ReLU(), nn.Dropout()]
        public["classifier"] = nn.Sequential(*dense, nn.Linear(24, 5))
    else:
        public["pre_logits"] = nn.ModuleDict({"fc1": nn.Conv2d(512, 24, 7), "fc2": nn.Conv2d(24, 24, 1)})
        public["head"] = nn.ModuleDict({"fc": nn.Linear(24, 5)})
    save_file(public.state_dict(), tmp_path / "public.safetensors")
    config = VGGConfig(depth=11, batch_norm=batch_norm)
    network = VGG(config, ModelSpec(num_classes=5, input_CHW=(3, 224, 224))).eval()
    loaded = load_weights(network, tmp_path / "public.safetensors", MODELS.get(config.name).rename_key)
    assert loaded.num_tensors == len(network.state_dict()) == len(public.state_dict())
    assert loaded.unused == ()

    feature_BCHW = torch.randn(2, 512, 7, 7, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        if peer == "torchvision":
            expected_BK = public["classifier"].eval()(feature_BCHW.flatten(1))
        else:
            hidden_BCHW = torch.relu(public["pre_logits"]["fc1"](feature_BCHW))
            hidden_BCHW = torch.relu(public["pre_logits"]["fc2"](hidden_BCHW))
            expected_BK = public["head"]["fc"](hidden_BCHW.flatten(1))
        torch.testing.assert_close(network.head(network.neck(feature_BCHW)), expected_BK, rtol=1e-4, atol=1e-5)


def test_names_of_other_files_mean_nothing_here():
    rename = MODELS.get("vgg16").rename_key
    assert rename is not None
    assert [rename(key) for key in ("fc.weight", "features.4.weight", "features", "layer1.0.conv1.weight")] == [
        None
    ] * 4
    assert rename("features.28.weight") == "stages.stage4.convolution3.weight"
    assert len(public_names(VGGConfig(depth=19, batch_norm=True))) == 16 * 2 + 6


def test_the_pooling_that_does_not_fit_is_named_with_its_formula():
    with pytest.raises(ModelError) as error:
        build_model("vgg16", ModelSpec(num_classes=10, input_CHW=(3, 40, 24)))
    assert str(error.value) == (
        "vgg16 cannot take an input of 40x24x3: layer 'stages.stage4.pool': pooling f2 s2 on 2x1: "
        "floor((1 + 0 - 2)/2) + 1 = 0.\n"
        "Use larger images than 40x24, for example --input 80x80x3 for a table, --set input.size_px=80 to train."
    )
