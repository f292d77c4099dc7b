"""`saccade transfer PHOTOS` with less than a network and its weights, from a hub on this machine and without any."""

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save
from tests.hub_server import Repositories, commit, serve
from tests.processes import run_python

from saccade.core.errors import UnknownNameError, UsageError, WeightsError
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.transfer.choose_backbone import without_download
from saccade.transfer.request import TransferRequest
from saccade.weights.licence import restriction
from saccade.weights.public import network_of_weights
from saccade.weights.public_table import best_weights, find_public, public_weights, weights_of

MOBILENET, SWSL = "timm/mobilenetv2_100.ra_in1k", "timm/resnet18.fb_swsl_ig1b_ft_in1k"


def config(architecture: str, licence: str) -> bytes:
    pixels = {"input_size": [3, 32, 32], "crop_pct": 1.0, "interpolation": "bilinear", "license": licence}
    return json.dumps({"architecture": architecture, "pretrained_cfg": pixels}).encode()


def weight_file(network: str) -> bytes:
    torch.manual_seed(1)
    model = build_model(network, ModelSpec(num_classes=1000, input_CHW=(3, 32, 32)))
    return save({name: tensor.contiguous() for name, tensor in model.state_dict().items()})


@pytest.fixture(scope="module")
def repositories() -> Repositories:
    return {
        (MOBILENET, "main"): {
            "model.safetensors": weight_file("mobilenetv2"),
            "config.json": config("mobilenetv2_100", "apache-2.0"),
        },
        (SWSL, "main"): {
            "model.safetensors": weight_file("resnet18"),
            "config.json": config("resnet18", "cc-by-nc-4.0"),
        },
    }


@pytest.fixture
def hub(repositories: Repositories) -> Iterator[str]:
    with serve(repositories) as address:
        yield address


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    numbers = np.random.default_rng(0)
    for label in ("cat", "dog"):
        (tmp_path / "photos" / label).mkdir(parents=True)
        for number in range(10):
            pixels_HWC = numbers.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels_HWC).save(tmp_path / "photos" / label / f"{number}.png")
    return tmp_path / "photos"


def transfer(folder: Path, hub: str, *arguments: str, offline: bool = False) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_ENDPOINT": hub}
    environment |= {
        "HF_HOME": str(folder / "hub"),
        "HF_HUB_OFFLINE": str(int(offline)),
        "HF_TOKEN": "",
        "NO_PROXY": "*",
    }
    environment |= {"HF_HUB_DISABLE_TELEMETRY": "1"}
    environment.pop("HF_HUB_DISABLE_PROGRESS_BARS", None)
    words = ["transfer", *arguments, "--freeze", "all", "--cache", "none", "--json", "--set", "runtime.device=cpu"]
    return run_python(["-m", "saccade", *words], folder, environment)


def test_a_network_alone_takes_its_best_weights_and_nothing_takes_what_is_here(hub: str, photos: Path):
    folder = photos.parent
    first = transfer(folder, hub, "photos", "--backbone", "MobileNet_V2", "--out", "first")
    assert first.returncode == 0, first.stderr
    assert f"note: backbone mobilenetv2: hub:{MOBILENET}, apache-2.0, downloading 14 MB" in first.stderr
    assert "%|" not in first.stderr  # a bar is for a terminal
    asked = tomllib.loads((folder / "first" / "config.toml").read_text())["transfer"]
    assert asked["weights"] == f"hub:{MOBILENET}@{commit(MOBILENET, 'main')}"
    second = transfer(folder, hub, "photos", "--out", "second", offline=True)
    assert second.returncode == 0, second.stderr
    assert (
        "note: backbone mobilenetv2, the best that is here; the default, efficientnet-lite0, is not: "
        f"hub:{MOBILENET}, apache-2.0, on this machine"
    ) in second.stderr


def test_weights_alone_know_their_network_and_a_licence_with_limits_is_in_the_verdict(hub: str, photos: Path):
    done = transfer(photos.parent, hub, "photos", "--weights", "resnet18.fb_swsl_ig1b_ft_in1k", "--out", "run")
    assert done.returncode == 0, done.stderr
    address = f"hub:{SWSL}@{commit(SWSL, 'main')}"
    said = f"The weights {address} are not free for commercial use (cc-by-nc-4.0)."
    assert f"note: {said[0].lower()}{said[1:-1]}\n" in done.stderr
    assert said in json.loads(done.stdout)["caveats"]
    assert said in (photos.parent / "run" / "report.html").read_text()
    assert json.loads((photos.parent / "run" / "found.json").read_text())["values"]["model"] == "resnet18+loglinear"


def test_without_weights_here_and_without_the_hub_the_message_says_what_to_do(hub: str, photos: Path):
    done = transfer(photos.parent, hub, "photos", "--out", "run", offline=True)
    assert (done.returncode, done.stdout) == (1, "")
    told = done.stderr[done.stderr.index("error:") :]
    assert told == (
        "error: hub:timm/tf_efficientnet_lite0.in1k (main) is not complete on this machine, and HF_HUB_OFFLINE is "
        "set.\n"
        "Put https://huggingface.co/timm/tf_efficientnet_lite0.in1k/resolve/main/model.safetensors (19 MB) and "
        "config.json from beside it into a folder, such as tf_efficientnet_lite0.in1k, and give that with "
        "--weights.\n"
        "Then run the same command with --weights tf_efficientnet_lite0.in1k\n"
        "Without pretrained weights: saccade train photos\n"
    )
    assert not (photos.parent / "run").exists()


def test_a_file_alone_knows_its_network_by_its_tensors(tmp_path: Path):
    (tmp_path / "w.safetensors").write_bytes(weight_file("mobilenetv2"))
    assert network_of_weights(str(tmp_path / "w.safetensors")) == "mobilenetv2"
    (tmp_path / "other.safetensors").write_bytes(save({"a": torch.zeros(3, 4)}))
    with pytest.raises(WeightsError) as error:
        network_of_weights(str(tmp_path / "other.safetensors"))
    assert error.value.message == (
        f"The tensors of {tmp_path}/other.safetensors are those of no network here.\n"
        "Say which one is meant with --backbone; 'saccade models' lists them."
    )


def test_every_line_of_the_table_is_of_a_network_that_reads_public_files():
    for line in public_weights():
        assert MODELS.get(line.network).name == line.network
        assert MODELS.get(line.network).rename_key is not None, line.network
        assert line.any_use == (restriction(line.licence) == ""), line.name
        owner, _, name = line.hub.partition("/")
        assert owner
        assert name
        assert line.top1_percent is None or 30 < line.top1_percent < 95
        assert (line.top1_percent is None) == (not MODELS.get(line.network).public_head)  # those answer nothing
        parameters = MODELS.get(line.network).references[0].parameters
        assert line.megabytes == pytest.approx(4 * parameters / 1e6, rel=0.15), line.name  # side branches


def test_the_best_weights_are_those_of_the_highest_accuracy_that_are_free_for_any_use():
    assert best_weights("resnet50").name == "resnet50.a1_in1k"  # 80.4 %; fb_swsl has 81.1 % and cc-by-nc-4.0
    assert [line.any_use for line in weights_of("resnet50")] == [True, True, True, False]
    assert find_public("ResNet_50") == best_weights("resnet50")
    with pytest.raises(WeightsError) as error:
        best_weights("lenet5")
    assert error.value.message == (
        "The table has no weights of lenet5 that are free for any use.\n"
        "Give some with --weights FILE, or take another network: 'saccade weights' lists those with weights."
    )


@pytest.mark.parametrize(
    ("licence", "said"),
    [
        ("apache-2.0", ""),
        ("bsd-3-clause", ""),
        ("mit", ""),
        ("cc-by-nc-4.0", "not free for commercial use"),
        ("CC BY-NC-SA 4.0", "not free for commercial use"),
        ("Non-Commercial", "not free for commercial use"),
        ("dinov3-license", "with terms of its own (Meta's DINOv3 licence)"),
        ("apple-amlr", "with terms of its own (Apple's sample code licence)"),
        ("other", "with terms of its own"),
        ("", ""),
    ],
)
def test_licences_that_are_not_free_for_any_use_are_known_by_their_words(licence: str, said: str):
    assert restriction(licence) == said


def test_a_network_of_others_is_named_with_the_nearest_one_here():
    with pytest.raises(UnknownNameError) as error:
        MODELS.get("swin_tiny_patch4_window7_224")
    assert error.value.message == (
        "Saccade has no Swin tiny ('swin_tiny_patch4_window7_224'). The nearest by size and accuracy: convnext-tiny. "
        f"'saccade models' lists all {len(MODELS.names())}."
    )


def test_a_run_in_place_of_a_network_is_told_with_the_option_that_takes_it():
    with pytest.raises(UnknownNameError) as error:
        MODELS.get("./runs/mine")
    assert error.value.message == (
        "Unknown model './runs/mine', which is written like a place on this machine. A run or a file of weights there "
        "begins a transfer: saccade transfer SOURCE --weights ./runs/mine"
    )
    with pytest.raises(UnknownNameError, match=r"^Saccade has no ViT-B of .* The nearest .*: vit-b16-siglip\. "):
        MODELS.get("google/vit-base-patch16-224")


@pytest.mark.parametrize(
    ("option", "value"), [("--budget-ms", "0"), ("--budget-mb", "-1"), ("--minutes", "0"), ("--minutes", "nan")]
)
def test_a_bound_of_nothing_is_no_word_for_no_bound(saccade: Callable, option: str, value: str):
    done = saccade("transfer", "digits", "--backbone", "resnet18,resnet34", option, value)
    told = f"error: {option} must be above 0, or be left out: nothing keeps to a bound of 0.\n"
    assert (done.status, done.errors) == (2, told)


def test_a_budget_that_bounds_no_choice_is_refused():
    for idle in ({"budget_ms": 5.0}, {"budget_mb": 5.0}):
        with pytest.raises(UsageError) as error:
            without_download(TransferRequest(source="digits", backbone="resnet18", **idle), print)
        assert error.value.message == (
            "--budget-ms and --budget-mb bound a choice among several networks, and one is asked for here.\n"
            "Name several, as --backbone A,B or --backbone auto; or leave the budget out."
        )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (
            "vit_base",
            "Saccade has no ViT-B of ImageNet's classes ('vit_base'). The nearest by size and accuracy: vit-b",
        ),
        ("resnet26", "Saccade has no ResNet-26 ('resnet26'). The nearest by size and accuracy: resnet34."),
        (
            "EfficientNet",
            "'EfficientNet' is a family of networks; name one of them: efficientnet-b0, efficientnet-b1, "
            "efficientnet-b2, efficientnet-b3, efficientnet-b4, efficientnet-lite0, efficientnet-lite1, "
            "efficientnet-lite2 and 3 more. ",
        ),
        ("vit", "'vit' is a family of networks; name one of them: vit-b14-dinov2, vit-b16-siglip, vit-s14-dinov2. "),
        ("resnet5", "Unknown model 'resnet5'. Did you mean '"),
    ],
)
def test_a_name_that_no_network_has_leads_to_those_that_are_meant(name: str, said: str):
    with pytest.raises(UnknownNameError) as error:
        MODELS.get(name)
    assert error.value.message.startswith(said)


def test_a_dry_run_knows_the_network_of_weights_by_the_table_or_says_that_it_does_not(photos: Path):
    asked = TransferRequest(source=str(photos), weights="resnet18.a1_in1k")
    assert without_download(asked, print)[0].backbone == "resnet18"
    with pytest.raises(UsageError) as error:
        without_download(replace(asked, weights="hub:nobody/none-such"), print)
    assert error.value.message == (
        "hub:nobody/none-such is not on this machine, and a dry run downloads nothing, so its network is not known.\n"
        "Name it with --backbone NAME, or leave out --dry-run."
    )
