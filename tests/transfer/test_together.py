"""Several processes adapt a network together: features, depth, weights and verdict are those of one, whoever dies."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.numpy import load_file
from safetensors.torch import save_file
from tests.group import start_group
from tests.processes import run_python

from saccade.models.architecture import ModelSpec, build_model

pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

CHILD = Path(__file__).with_name("together_child.py")
KILLED = Path(__file__).parent.parent / "killed.py"
PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
NUM_IMAGES, NUM_CLASSES = 96, 3
VOLATILE = {
    "features_s",
    "heads_s",
    "depth_s",
    "judging_s",
    "seconds",
    "images_per_second",
    "num_computed",
    "num_found",
}


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos that are hard to tell apart, LeNet-5 with random weights, and how it sees pixels."""
    folder, draw = tmp_path_factory.mktemp("given"), np.random.default_rng(0)
    for number in range(NUM_IMAGES):
        place = folder / "photos" / f"class-{number % NUM_CLASSES}"
        place.mkdir(parents=True, exist_ok=True)
        pixels = draw.integers(0, 200, (32, 32), dtype=np.uint8) + np.uint8(4 * (number % NUM_CLASSES))
        Image.fromarray(pixels).save(place / f"{number}.png")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file(model.state_dict(), folder / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps(PIXELS))
    return folder


def ready(folder: Path, given: Path) -> Path:
    """`folder` with all that the child names."""
    for path in given.iterdir():
        (folder / path.name).symlink_to(path)
    return folder


@pytest.fixture(scope="module", params=["auto", "stem"])
def alone(
    request: pytest.FixtureRequest, given: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, dict[str, Any]]:
    """(what is frozen, the transfer in one process, what it says)."""
    folder = ready(tmp_path_factory.mktemp("alone"), given)
    done = run_python([CHILD, request.param], folder)
    assert done.returncode == 0, done.stderr
    return request.param, folder, json.loads(done.stdout)


def adapted(freeze: str, number: int, folder: Path) -> dict[str, Any]:
    """What each of so many processes says, which is the same."""
    done = [program.communicate() for program in start_group([CHILD, freeze], number, folder)]
    assert [one.returncode for one in done] == [0] * number, "\n".join(one.stderr for one in done)
    said = [json.loads(one.stdout) for one in done]
    assert said == said[:1] * number
    return dict(said[0])


def features_in(folder: Path) -> dict[str, bytes]:
    """Every kept record, by its set and the digest of its image."""
    records: dict[str, bytes] = {}
    for path in (folder / "cache").rglob("records-*.safetensors"):
        arrays = load_file(path)
        for digest_B, value in zip(arrays["digest_NB"], arrays["values"], strict=True):
            key = f"{path.parent.name} {digest_B.tobytes().hex()}"
            assert key not in records, "an image passed twice"
            records[key] = value.tobytes()
    return records


def read(path: Path) -> Any:
    """A file of JSON, or the lines of one, without what a clock or the cache says; None: there is none."""
    if not path.exists():
        return None
    text = path.read_text(encoding="utf-8")
    return untimed([json.loads(line) for line in text.splitlines()] if path.suffix == ".jsonl" else json.loads(text))


def untimed(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: untimed(item) for name, item in value.items() if name not in VOLATILE}
    return [untimed(item) for item in value] if isinstance(value, list) else value


def what_counts(folder: Path) -> dict[str, Any]:
    """What no number of processes and no kill may change."""
    run = folder / "run"
    manifests = [read(run / f"checkpoint-{name}" / "manifest.json") for name in ("start", "last", "best")]
    return {
        "features": features_in(folder),
        "fits": read(run / "measured.json"),
        "start": read(run / "transfer.json"),
        "files": [manifest and manifest["files"] for manifest in manifests],
        "metrics": manifests[2]["metrics"],
        "log": read(run / "metrics.jsonl"),
        "logits": (run / "evaluation.safetensors").read_bytes(),
    }


def test_two_and_three_processes_adapt_a_network_as_one(
    alone: tuple[str, Path, dict[str, Any]], given: Path, tmp_path: Path
):
    """The same features, each image once, the same choice and figures, weights and verdict."""
    freeze, expected, said = alone
    ladder = json.loads((expected / "run" / "transfer.json").read_text())["rungs"]
    assert {rung["trained"] for rung in ladder} == ({"linear", "hidden", "tail"} if freeze == "auto" else set())
    for number in (2, 3):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert adapted(freeze, number, ready(folder, given)) == said
        assert what_counts(folder) == what_counts(expected)


# Where a process dies (function, rank, at which call), how many there are, and by what is frozen.
KILLS = {
    "auto": [
        ("saccade.transfer.features:_Passing._next_part", 1, 2, 2),
        ("saccade.transfer.evidence:_train", 1, 3, 2),
        ("saccade.transfer.measurements:Measurements.keep", 0, 3, 3),
    ],
    "stem": [
        ("saccade.transfer.features:_keep", 0, 2, 3),
        ("saccade.train.step:TrainingStep.run", 1, 3, 2),
        ("saccade.train.loop:save_checkpoint", 0, 2, 2),
    ],
}


def test_a_transfer_that_lost_processes_is_the_transfer_of_one(
    alone: tuple[str, Path, dict[str, Any]], given: Path, tmp_path: Path
):
    freeze, expected, said = alone
    folder = ready(tmp_path, given)
    for place, rank, call, number in KILLS[freeze]:
        programs = start_group([KILLED, signal.SIGKILL.value, place, rank, call, CHILD, freeze], number, folder)
        done = [program.communicate() for program in programs]
        assert done.pop(rank).returncode == -signal.SIGKILL, place
        assert [one.returncode for one in done] == [1] * (number - 1), place
        assert all(one.stderr.startswith("NoAnswerError: process ") for one in done), done
    again = adapted(freeze, 2, folder)
    again.pop("counts")
    assert again == {name: value for name, value in said.items() if name != "counts"}
    assert what_counts(folder) == what_counts(expected)
