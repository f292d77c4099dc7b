"""What was asked and what was found: written apart, read together, and runs of every earlier format still open."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from tests.processes import PATIENCE_S
from tests.transfer.test_run import PIXELS, Cut, CutAfter, request

from saccade import api
from saccade.core.errors import CheckpointError, ConfigError, SaccadeError
from saccade.ensemble.training import EnsemblePlan, read_plan
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs import settings
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.ensemble_folder import num_members
from saccade.runs.summary import DEFAULTS, read_config_facts
from saccade.train.config import RunConfig
from saccade.train.run_directory import RunFolder

FORMATS = Path(__file__).parent / "formats"
NUMBERS = [path.name for path in sorted(FORMATS.iterdir()) if path.is_dir()]
REMEDY = "Put the file back from a copy, or start a new run with another --out."


@pytest.fixture(params=NUMBERS)
def old_run(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """One epoch on the digits, as each format wrote it."""
    return Path(shutil.copytree(FORMATS / request.param, tmp_path / "run"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The same of the second format, with the principal colours that were found."""
    return Path(shutil.copytree(FORMATS / "2", tmp_path / "run"))


def load(run: Path) -> RunConfig:
    return RunFolder(path=run).load_config()


def refused(run: Path) -> str:
    with pytest.raises(SaccadeError) as error:
        load(run)
    return error.value.message


def leaves(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found


def edit(run: Path, old: str, new: str, name: str = "config.toml") -> None:
    text = (run / name).read_text()
    assert old in text
    (run / name).write_text(text.replace(old, new))


def test_every_format_so_far_has_a_run_here():
    assert [str(number) for number in range(1, settings.FORMAT + 1)] == NUMBERS


def test_a_run_of_any_format_opens_resumes_and_has_its_report(old_run: Path):
    config = load(old_run)
    assert (config.source, config.epochs, config.batch_size, config.input.size_px) == ("digits", 1, 64, 8)
    assert (config.model, config.loss.label_smoothing) == ("conv 2 f3 | gap | fc 4", 0.1)
    before = (old_run / "checkpoint-best" / "weights.safetensors").read_bytes()
    result = api.train(api.TrainRequest(out=old_run, resume=True))
    assert result.config == config
    assert (old_run / "checkpoint-best" / "weights.safetensors").read_bytes() == before
    assert "source = &quot;digits&quot;" in (text := api.report(old_run).read_text()) or 'source = "digits"' in text


@pytest.mark.parametrize("of_today", [False, True])
def test_a_run_of_the_first_format_goes_on_to_the_same_bits(tmp_path: Path, of_today: bool):
    """Cut after its first epoch, it goes on by its own file or by one of today that says the same."""
    weights = []
    for name in ("whole", "cut"):
        run = Path(shutil.copytree(FORMATS / "1", tmp_path / name, ignore=shutil.ignore_patterns("checkpoint-*")))
        edit(run, "epochs = 1\n", "epochs = 2\n")
        if name == "cut":
            with pytest.raises(Cut):
                api.train(api.TrainRequest(out=run, resume=True), CutAfter(epoch=1))
            config = load(run)
            if of_today:
                settings.write_settings(run / "config.toml", config, config)
                assert (run / "config.toml").read_text().startswith("format = 3\n")
            assert load(run) == config
        api.train(api.TrainRequest(out=run, resume=True))
        weights.append(find_checkpoint(run / "checkpoint-last").load_weights())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_what_differs_stands_in_the_configuration_and_what_was_found_beside_it(run: Path):
    asked = tomllib.loads((run / "config.toml").read_text())
    assert leaves(asked) == {
        "format": 2,
        "source": "digits",
        "model": "conv 2 f3 | gap | fc 4",
        "epochs": 1,
        "batch_size": 64,
        "input.size_px": 8,
        "input.channels": "rgb",
        "augment.pca_colour.deviation": 0.1,
        "schedule.warmup_fraction": 0.1,
        "loss.label_smoothing": 0.1,
        "runtime.num_threads": 1,
    }
    found = json.loads((run / "found.json").read_text())["values"]
    assert list(found) == ["augment.pca_colour.eigenvalues", "augment.pca_colour.eigenvectors"]
    both = leaves(load(run).model_dump(mode="json"))
    defaults = leaves(RunConfig().model_dump(mode="json"))
    asked.pop("format")
    assert both == defaults | leaves(asked) | found


def test_a_transfer_keeps_the_network_it_was_asked_for_and_the_one_it_made(tmp_path: Path):
    torch.manual_seed(3)
    model = build_model("resnet20", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "w.safetensors")
    (tmp_path / "pixels.json").write_text(json.dumps(PIXELS))
    weights, pixels = tmp_path / "w.safetensors", tmp_path / "pixels.json"
    asked = replace(request(tmp_path, tmp_path / "run"), backbone="resnet20", weights=weights, preprocessing=pixels)
    result = api.transfer(asked)
    written = leaves(tomllib.loads((tmp_path / "run" / "config.toml").read_text()))
    found = json.loads((tmp_path / "run" / "found.json").read_text())["values"]
    assert written["model"] == written["transfer.backbone"] == "resnet20"
    assert written["transfer.weights"] == str(weights)
    assert sorted(found) == ["model", "transfer.preprocessing", "transfer.weights_sha256"]
    assert found["transfer.weights_sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    config = load(tmp_path / "run")
    assert config == result.run.config
    assert config.model == found["model"] == "resnet20+loglinear"


def test_weights_of_the_hub_keep_their_commit_and_teachers_their_digest(tmp_path: Path):
    asked = RunConfig.parse(
        {"distill": {"teachers": ["a"], "weight": 0.5}, "transfer": {"backbone": "resnet18", "weights": "hub:a/b"}}
    )
    config = asked.with_overrides(["transfer.weights=hub:a/b@0123", "distill.teacher_digest=ab"])
    settings.write_settings(tmp_path / "config.toml", asked, config)
    assert 'weights = "hub:a/b"\n' in (tmp_path / "config.toml").read_text()
    assert load(tmp_path) == config


def test_an_ensemble_keeps_what_was_asked_and_its_images_apart(tmp_path: Path):
    asked = EnsemblePlan(num_members=3, run=RunConfig(source="digits", seed=4))
    plan = asked.model_copy(update={"data_digest": "ab"})
    settings.write_settings(tmp_path / "ensemble.toml", asked, plan)
    assert (tmp_path / "ensemble.toml").read_text() == (
        'format = 3\nnum_members = 3\n\n[run]\nsource = "digits"\nseed = 4\n'
    )
    assert json.loads((tmp_path / "found.json").read_text()) == {"format": 3, "values": {"data_digest": "ab"}}
    assert (num_members(tmp_path), read_plan(tmp_path)) == (3, plan)
    (tmp_path / "found.json").unlink()
    (tmp_path / "ensemble.toml").write_text('num_members = 3\ndata_digest = "ab"\n[run]\nsource = "digits"\nseed = 4\n')
    assert read_plan(tmp_path) == plan  # the first format


def test_a_value_that_no_run_may_find_is_not_written(tmp_path: Path):
    asked = RunConfig(source="digits")
    with pytest.raises(ConfigError) as error:
        settings.write_settings(tmp_path / "config.toml", asked, asked.model_copy(update={"epochs": 3}))
    assert error.value.message == (f"{tmp_path}/config.toml: a value was found that found.json has no place for.")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("number", [1, 2])
def test_a_renamed_key_and_a_changed_default_are_translated(run: Path, monkeypatch: pytest.MonkeyPatch, number: int):
    """As a later version would have them, in which the second format is not the last one."""
    monkeypatch.setattr(settings, "FORMAT", 4)
    monkeypatch.setattr(settings, "RENAMED", {1: {"softening": "loss.soft"}, 3: {"loss.soft": "loss.label_smoothing"}})
    monkeypatch.setattr(settings, "FORMER_DEFAULTS", {2: {"optimizer.clip_norm": 7.0, "epochs": 99}})
    edit(run, "\n[loss]\nlabel_smoothing = 0.1\n", "" if number == 1 else "\n[loss]\nsoft = 0.25\n")
    if number == 1:
        edit(run, "format = 2\n", "softening = 0.25\n")
        (run / "found.json").unlink()
    config = load(run)
    assert (config.loss.label_smoothing, config.optimizer.clip_norm, config.epochs) == (0.25, 7.0, 1)


@pytest.mark.parametrize(
    ("split", "loader", "today"),
    [("error", "error", "error"), ("skip", "error", "skip"), ("error", "skip", "skip"), ("skip", "skip", "skip")],
)
def test_two_settings_that_became_one_are_read_as_the_one(run: Path, split: str, loader: str, today: str):
    """Until the second format the scan and the loader each had its own `on_bad_image`."""
    edit(run, "[runtime]\n", f'[split]\non_bad_image = "{split}"\n\n[loader]\non_bad_image = "{loader}"\n\n[runtime]\n')
    assert load(run).loader.on_bad_image == today


def test_a_wrong_value_of_a_setting_that_became_another_is_refused(run: Path):
    edit(run, "[runtime]\n", '[split]\non_bad_image = "shrug"\n\n[runtime]\n')
    assert refused(run) == f"{run}/config.toml: 'loader.on_bad_image' must be one of: error, skip; not 'shrug'."


def test_a_found_value_is_translated_too(run: Path, monkeypatch: pytest.MonkeyPatch):
    colours = load(run).augment.pca_colour
    monkeypatch.setattr(settings, "FORMAT", 3)
    old, new = "augment.pca_colour.eigenvalues", "augment.pca_colour.eigenvectors"
    edit(run, f'"{new}"', '"distill.teacher_digest"', "found.json")
    monkeypatch.setattr(settings, "RENAMED", {2: {"distill.teacher_digest": new}})
    assert load(run).augment.pca_colour == colours
    assert old in (run / "found.json").read_text()


def test_a_key_that_stands_under_both_names_is_refused(run: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settings, "FORMAT", 3)
    monkeypatch.setattr(settings, "RENAMED", {2: {"loss.smoothing": "loss.label_smoothing"}})
    edit(run, "[loss]\n", "[loss]\nsmoothing = 0.2\n")
    assert refused(run) == f"{run}/config.toml: Unknown key 'loss.smoothing'. Did you mean 'loss.label_smoothing'?"


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        (
            "config.toml",
            "format = 2",
            "format = 9",
            "{run}/config.toml is of format 9, and this Saccade reads formats up to 3.\n"
            "A later version wrote it: update Saccade.",
        ),
        (
            "config.toml",
            "format = 2",
            "format = true",
            "{run}/config.toml is damaged: format is a whole number from 1, got True.\n" + REMEDY,
        ),
        (
            "config.toml",
            "format = 2\n",
            "",
            "{run}/config.toml is damaged: it has no format, and found.json beside it is of format 2.\n" + REMEDY,
        ),
        (
            "found.json",
            '"format": 2',
            '"format": 9',
            "{run}/found.json is of format 9, and this Saccade reads formats up to 3.\n"
            "A later version wrote it: update Saccade.",
        ),
        (
            "found.json",
            '"augment.pca_colour.eigenvalues": [',
            '"augment.pca_colour.eigenvalues": ["x",',
            "{run}/found.json: 'augment.pca_colour.eigenvalues.0' must be a number, not 'x'.",
        ),
        (
            "found.json",
            '"augment.pca_colour.eigenvalues"',
            '"data_digest"',
            "{run}/found.json: Unknown key 'data_digest'. Keys: source, model, recipe, epochs, seed, batch_size, "
            "accumulate, stochastic_depth, input.*, split.*, augment.*, loader.*, optimizer.*, schedule.*, loss.*, "
            "labels.*, distill.*, average.*, transfer.*, stop.*, scale.*, runtime.*.",
        ),
        (
            "found.json",
            '"values"',
            '"more": 1, "values"',
            "{run}/found.json: Unknown key 'more'. Keys: format, values.\n" + REMEDY,
        ),
    ],
)
def test_a_format_that_does_not_fit_is_told(run: Path, name: str, old: str, new: str, message: str):
    edit(run, old, new, name)
    assert refused(run) == message.format(run=run)


def test_a_value_that_no_run_finds_is_refused_in_what_was_found(run: Path):
    """A stranger's `found.json` changes nothing that was asked."""
    edit(run, '"augment.pca_colour.eigenvalues"', '"source"', "found.json")
    first, second = refused(run).splitlines()
    assert first.startswith(f"{run}/found.json: 'values.source.[key]' must be one of: augment.pca_colour")
    assert second == REMEDY


def test_what_was_found_is_missed(run: Path):
    (run / "found.json").unlink()
    assert refused(run) == f"{run}/found.json is missing: it holds what the run found.\n{REMEDY}"
    with pytest.raises(CheckpointError):
        api.train(api.TrainRequest(out=run, resume=True))
    api.report(run)  # which tells what was asked


PLUG_IN = '''
from pydantic import Field
from saccade.data.augmentation import AUGMENTATIONS, Strengths, register

brightness = AUGMENTATIONS._entries["brightness"]

class FogStrengths(brightness.strengths):
    """How dense."""

    density: float = Field(0.5, description="a default that is not nothing")

import dataclasses
register(dataclasses.replace(brightness, name="fog", strengths=FogStrengths), __name__)
'''


TRAIN = """
import sys
from saccade import api
for name, settings in (("unused", []), ("used", ["augment.fog.max_change=0.25"])):
    settings += ["input.size_px=8", "runtime.num_threads=1"]
    request = api.TrainRequest(source="digits", model="conv 2 f3 | gap | fc 4", epochs=1, out=name, settings=settings)
    api.train(request)
"""


@pytest.fixture(scope="module")
def with_plug_in(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two runs of a process that has a further distribution, which registers an augmentation: `unused` and `used`."""
    folder = tmp_path_factory.mktemp("plug-in")
    place = folder / "site"
    (place / "fog-1.0.dist-info").mkdir(parents=True)
    (place / "fog_plug_in.py").write_text(PLUG_IN)
    (place / "fog-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: fog\nVersion: 1.0\n")
    (place / "fog-1.0.dist-info" / "entry_points.txt").write_text("[saccade.augmentations]\nfog = fog_plug_in\n")
    source = str(Path(settings.__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(place), source])}
    command = [sys.executable, "-c", TRAIN]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    return folder


def test_a_run_opens_without_a_plug_in_that_was_installed_and_not_used(with_plug_in: Path):
    run = with_plug_in / "unused"
    assert "fog" not in (run / "config.toml").read_text()
    result = api.train(api.TrainRequest(out=run, resume=True))
    assert result.config == load(run)
    assert api.evaluate([run], "digits").metrics.num_samples == 359


def test_a_plug_in_that_was_used_is_named_by_its_key(with_plug_in: Path):
    run = with_plug_in / "used"
    assert "\n[augment.fog]\nmax_change = 0.25\n" in (run / "config.toml").read_text()
    with pytest.raises(ConfigError) as error:
        api.train(api.TrainRequest(out=run, resume=True))
    assert error.value.message == (
        f"{run}/config.toml: 'augment.fog' belongs to an augmentation that is not registered here.\n"
        "The run was made with a plug-in that brings it: install that plug-in again."
    )


def test_a_complete_file_of_the_first_format_says_how_it_opens_without_its_plug_in(tmp_path: Path):
    run = Path(shutil.copytree(FORMATS / "1", tmp_path / "run"))
    edit(run, "[augment.hue]\n", "[augment.fog]\ndensity = 0.5\n\n[augment.hue]\n")
    assert refused(run) == (
        f"{run}/config.toml: 'augment.fog' belongs to an augmentation that is not registered here.\n"
        "The run was made with a plug-in that brings it: install that plug-in again. If the run did not use it, remove "
        "its table."
    )
    edit(run, "[augment.fog]\ndensity = 0.5\n", "")
    assert load(run) == load(FORMATS / "1")


def test_a_report_knows_the_defaults_that_a_configuration_leaves_out(run: Path):
    assert {name: RunConfig.model_fields[name].default for name in DEFAULTS} == DEFAULTS
    edit(run, "epochs = 1\n", "")
    facts = read_config_facts(run)[1]
    assert (facts.seed, facts.epochs) == (0, 10)


def test_defaults_and_names_are_those_that_runs_of_this_format_were_written_with():
    """A run holds what differs from the defaults, so another default would be another run.

    Where a name or a default changes: raise FORMAT, add it to RENAMED or FORMER_DEFAULTS, keep a run of the format
    before it in tests/runs/formats, and write the values of the new format to its `defaults-N.json`. A new key is added
    to the file of this format.
    """
    pinned = json.loads((FORMATS / f"defaults-{settings.FORMAT}.json").read_text())
    assert leaves(RunConfig().model_dump(mode="json")) == pinned
