"""A run of one's own as a backbone: found by any of its names, with what it says of itself."""

import json
from pathlib import Path

import pytest
import torch
from tests.transfer.test_run import SMALL

from saccade import api
from saccade.core.errors import SaccadeError
from saccade.core.types import Preprocessing
from saccade.models.architecture import ModelSpec, build_model
from saccade.models.build import resolve_model
from saccade.runs.checkpoint import find_checkpoint, save_checkpoint
from saccade.runs.manifest import Manifest
from saccade.weights.public import find_weights, load_backbone

PIXELS = Preprocessing(channels="grey", input_height_px=32, input_width_px=32, mean=(0.5,), std=(0.25,))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """LeNet-5 for three classes, as a run keeps it."""
    return kept(tmp_path / "run", "lenet5")


def kept(run: Path, model: str, origin: dict[str, str] | None = None) -> Path:
    torch.manual_seed(1)
    classes = ("a", "b", "c")
    manifest = Manifest(
        model=model, preprocessing=PIXELS, classes=classes, provenance={"transfer": origin} if origin else {}
    )
    network = resolve_model(model, ModelSpec(num_classes=3, input_CHW=(1, 32, 32)))
    run.mkdir()
    (run / "config.toml").write_text("format = 2\n")
    save_checkpoint(run / "checkpoint-best", manifest, network.state_dict())
    return run


def refused(text: Path, model: str) -> str:
    with pytest.raises(SaccadeError) as error:
        find_weights(str(text), model)
    return error.value.message


@pytest.mark.parametrize(
    "name",
    [
        "",
        "checkpoint-best",
        "checkpoint-best/weights.safetensors",
        "checkpoint-best/manifest.json",
        "config.toml",
    ],
)
def test_a_run_is_found_by_its_folder_its_checkpoint_or_a_file_of_them(run: Path, name: str):
    found = find_weights(str(run / name), "lenet5")
    assert (found.model, found.preprocessing, found.classes, found.licence) == (
        "lenet5",
        PIXELS,
        ("a", "b", "c"),
        "own: trained from random weights",
    )
    assert found.notes == ()
    weights = find_checkpoint(run).load_weights()
    loaded = load_backbone(found).state_dict()
    assert all(torch.equal(loaded[tensor], weights[tensor]) for tensor in weights)


def test_the_licence_is_that_of_the_weights_the_run_began_with(tmp_path: Path):
    origin = {"backbone": "lenet5", "weights": "hub:a/b", "licence": "MIT"}
    found = find_weights(str(kept(tmp_path / "one", "lenet5+loglinear", origin)), "lenet5")
    assert (found.model, found.licence, found.notes) == ("lenet5+loglinear", "MIT", ())
    unknown = kept(tmp_path / "two", "lenet5", origin | {"licence": ""})
    assert find_weights(str(unknown), "lenet5").notes == (
        f"{unknown}/checkpoint-best began with hub:a/b, whose licence is not known; look where you got those weights.",
    )


def test_a_run_of_another_network_or_of_none_that_has_a_name_is_refused(run: Path, tmp_path: Path):
    assert refused(run, "resnet18") == (
        f"{run}/checkpoint-best holds the weights of lenet5, not of resnet18.\n"
        "Give --backbone lenet5, or leave --backbone out."
    )
    line = kept(tmp_path / "line", "conv 2 f3 | gap | fc 3")
    assert refused(line, "lenet5") == (
        f"{line}/checkpoint-best holds a network that was written as a line or given from Python: "
        f"'conv 2 f3 | gap | fc 3'.\nA backbone is a registered network; 'saccade models' lists them."
    )


def test_a_run_whose_weights_were_changed_is_refused(run: Path):
    path = run / "checkpoint-best" / "weights.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert "weights.safetensors" in refused(run, "lenet5")
    manifest = json.loads((run / "checkpoint-best" / "manifest.json").read_text())
    assert manifest["model"] == "lenet5"


def test_a_transfer_begins_with_a_run_and_takes_its_network_and_pixels(run: Path, tmp_path: Path):
    request = api.TransferRequest(
        source="digits", weights=run, freeze="all", out=tmp_path / "next", cache="none", settings=SMALL
    )
    result = api.transfer(request)
    manifest = find_checkpoint(tmp_path / "next").manifest
    assert (result.run.config.transfer.backbone, manifest.preprocessing) == ("lenet5", PIXELS)
    began, shipped = (find_checkpoint(folder).load_weights() for folder in (run, tmp_path / "next"))
    same = [name for name in shipped if shipped[name].shape == began[name].shape]
    assert len(shipped) - len(same) == 2
    assert all(torch.equal(shipped[name], began[name]) for name in same)
    assert api.evaluate([tmp_path / "next"], "digits").metrics.num_samples == 359
    assert build_model("lenet5", manifest.spec) is not None
