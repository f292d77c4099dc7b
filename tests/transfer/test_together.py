"""Several processes adapt a network together: features, depth, weights and verdict are those of one, whoever dies."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tests.group import start_group
from tests.processes import run_python
from tests.transfer.test_run import PIXELS

from saccade.models.architecture import ModelSpec, build_model

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

KILLED = Path(__file__).parent.parent / "killed.py"
SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "split.test_fraction=0.8", "batch_size=16", "scale.lanes=4"]
SETTINGS += ["runtime.precision=float32", "scale.timeout_s=4", "stop.save_every_s=1e-9"]
TRANSFER = ["transfer", "digits", "--backbone", "lenet5", "--weights", "weights", "--preprocessing", "pixels.json"]
TRANSFER += ["--epochs", "2", "--cache", "cache", "--out", "run", "--json"]
TRANSFER += [word for setting in SETTINGS for word in ("--set", setting)]
GO_ON = ["transfer", "--resume", "--out", "run", "--cache", "cache", "--json"]
TIMES = {"seconds", "images_per_second", "training_seconds", "features_seconds", "heads_seconds", "depth_seconds"}
TIMES |= {"fine_tuning_seconds", "report", "images_computed", "images_found"}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 with random weights, and how it sees pixels."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def ready(folder: Path, weights: Path) -> Path:
    """`folder` with all that the command names."""
    folder.mkdir(exist_ok=True)
    (folder / "weights").mkdir()
    (folder / "weights" / "model.safetensors").symlink_to(weights / "model.safetensors")
    (folder / "pixels.json").symlink_to(weights / "pixels.json")
    return folder


@pytest.fixture(scope="module")
def alone(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The transfer in one process, and what it says."""
    folder = ready(tmp_path_factory.mktemp("alone"), weights)
    done = run_python(["-m", "saccade", *TRANSFER], folder)
    assert done.returncode == 0, done.stderr
    (folder / "said.json").write_text(done.stdout)
    return folder


def run_together(words: list[str], number: int, folder: Path) -> dict[str, Any]:
    done = [program.communicate() for program in start_group(["-m", "saccade", *words], number, folder)]
    assert [one.returncode for one in done] == [0] * number, "\n".join(one.stderr for one in done)
    assert [(one.stdout, one.stderr) for one in done[1:]] == [("", "")] * (number - 1)
    return dict(json.loads(done[0].stdout))


def untimed(value: Any) -> Any:
    """What a command says, without times and without what it found in the cache."""
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name not in TIMES}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def features_in(folder: Path) -> dict[str, bytes]:
    """Every kept record, by its set and the digest of its image."""
    records = {}
    for path in (folder / "cache").rglob("records-*.safetensors"):
        arrays = load_file(path)
        for digest_B, value in zip(arrays["digest_NB"], arrays["values"], strict=True):
            key = f"{path.parent.name} {digest_B.tobytes().hex()}"
            assert key not in records, "an image passed twice"
            records[key] = value.tobytes()
    return records


def what_counts(folder: Path) -> dict[str, Any]:
    """What no number of processes and no kill may change."""
    run = folder / "run"
    names = ("checkpoint-start", "checkpoint-last", "checkpoint-best")
    manifests = {name: json.loads((run / name / "manifest.json").read_bytes()) for name in names}
    start = json.loads((run / "transfer.json").read_bytes())
    fits = json.loads((run / "measured.json").read_bytes())["fits"]
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    volatile = {"features_s", "heads_s", "depth_s", "judging_s", "num_computed", "num_found"}
    return {
        "features": features_in(folder),
        "fits": {name: (fit["right"], fit["num_judged"]) for name, fit in fits.items()},
        "start": untimed({name: value for name, value in start.items() if name not in volatile}),
        "files": {name: manifest["files"] for name, manifest in manifests.items()},
        "metrics": manifests["checkpoint-best"]["metrics"],
        "log": untimed(events),
        "logits": (run / "evaluation.safetensors").read_bytes(),
    }


@pytest.mark.parametrize("number", [2, 3])
def test_any_number_of_processes_chooses_trains_and_judges_alike(
    weights: Path, alone: Path, tmp_path: Path, number: int
):
    said = run_together(TRANSFER, number, ready(tmp_path / "here", weights))
    expected = json.loads((alone / "said.json").read_text())
    assert untimed(said) == untimed(expected)
    assert (said["images_computed"], said["images_found"]) == (expected["images_computed"], 0)
    assert {rung["trained"] for rung in said["ladder"]} == {"linear", "hidden", "tail"}
    assert what_counts(tmp_path / "here") == what_counts(alone)


# process, function at which it dies, at which of its calls: in the features, in a fit of the ladder, in a step
KILLS = [
    ("1", "saccade.transfer.features:_Passing.next_part", "1"),
    ("0", "saccade.transfer.features:_keep", "3"),
    ("1", "saccade.transfer.evidence:_train", "2"),
    ("0", "saccade.transfer.measurements:Measurements.keep", "3"),
    ("1", "saccade.train.step:TrainingStep.run", "5"),
    ("0", "saccade.train.loop:save_checkpoint", "4"),
]


def test_a_transfer_that_lost_processes_is_the_transfer_of_one(weights: Path, alone: Path, tmp_path: Path):
    """One is killed again and again, further and further on; each time two or three go on."""
    folder = ready(tmp_path / "here", weights)
    for number, (rank, place, call) in enumerate(KILLS):
        words = TRANSFER if number == 0 else [*GO_ON, "--weights", "weights"]
        words = TRANSFER if not (folder / "run" / "config.toml").exists() else words
        programs = start_group([KILLED, place, rank, call, *words], 2 + number % 2, folder)
        done = [program.communicate() for program in programs]
        statuses = [one.returncode for one in done]
        assert statuses.pop(int(rank)) == -9, (place, [one.stderr for one in done])
        assert statuses == [1] * len(statuses), (place, [one.stderr for one in done])
    said = run_together([*GO_ON, "--weights", "weights"], 2, folder)
    assert untimed(said) == untimed(json.loads((alone / "said.json").read_text()))
    assert what_counts(folder) == what_counts(alone)
