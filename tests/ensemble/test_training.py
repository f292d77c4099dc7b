"""Training an ensemble: members, their joint verdict, and going on after a kill at any point."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from saccade import api
from saccade.core import lock
from saccade.core.errors import CheckpointError, ConfigError, DataError, ImageError, RunInUseError, UsageError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.ensemble import training as members

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "split.test_fraction=0.6", "batch_size=128"]


def request(out: Path, **changes: object) -> api.TrainRequest:
    values = {"source": "digits", "epochs": 2, "out": out, "ensemble": 2, "seed": 5, "settings": SETTINGS}
    return api.TrainRequest(**(values | changes))


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "checkpoint-best" / "weights.safetensors")


def assert_equal_members(first: Path, second: Path) -> None:
    for name in ("member-1", "member-2"):
        a, b = weights(first / name), weights(second / name)
        assert a.keys() == b.keys()
        assert all((a[key] == b[key]).all() for key in a)


@pytest.fixture(scope="module")
def ensemble(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return api.train_ensemble(request(tmp_path_factory.mktemp("ensemble") / "e")).path


def test_a_member_is_the_run_of_its_seed_on_the_split_of_the_first(ensemble: Path, tmp_path: Path):
    settings = [*SETTINGS, "split.seed=5"]
    alone = api.train(request(tmp_path / "alone", ensemble=0, seed=6, settings=settings)).run_dir
    a, b = weights(ensemble / "member-2"), weights(alone)
    assert all((a[key] == b[key]).all() for key in b)
    first, second = (load_file(ensemble / f"member-{k}" / "evaluation.safetensors") for k in (1, 2))
    assert (first["index_N"] == second["index_N"]).all()
    assert (first["logits_NK"] != second["logits_NK"]).any()


class Deletes(api.Silent):
    """Deletes a training file when the first epoch of the last member has been told, then cuts the power."""

    def __init__(self, source: Path, run: Path, last_epoch: int) -> None:
        self.source, self.run, self.last_epoch, self.num_told, self.gone = source, run, last_epoch, 0, None

    def epoch(self, result: object) -> None:
        self.num_told += 1
        if self.num_told == self.last_epoch:
            seen = load_file(self.run / "member-1" / "seen.safetensors")
            known = {row.tobytes() for row in seen["pixels_NB"][seen["part_N"] == 0]}
            opened = open_source(str(self.source))
            rows = [row.tobytes() in known for row in scan_source(opened, 1).pixel_digest_N]
            self.gone = self.source / opened.record(rows.index(True)).key
            self.gone.unlink()


def test_an_ensemble_goes_on_without_a_training_file_that_was_deleted(tmp_path: Path):
    source = tmp_path / "set"
    draw = np.random.default_rng(0)
    for number in range(160):
        pixels = (draw.integers(0, 128, (32, 32, 3)) + (100 if number % 2 else 0)).astype(np.uint8)
        (source / ("light" if number % 2 else "dark")).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(source / ("light" if number % 2 else "dark") / f"{number}.png")
    settings = ["runtime.num_threads=1", "loader.threads=1", "batch_size=32", "loader.memory_limit_bytes=0"]
    out = tmp_path / "e"
    watching = Deletes(source, out, last_epoch=3)
    with pytest.raises(DataError, match="--resume --set loader.on_bad_image=skip"):
        api.train_ensemble(request(out, source=str(source), settings=settings), watching)
    assert watching.gone is not None
    seen = load_file(out / "member-1" / "seen.safetensors")
    resumed = api.TrainRequest(out=out, resume=True, settings=["loader.on_bad_image=skip"])
    result = api.train_ensemble(resumed)
    for name in ("member-1", "member-2"):
        after = load_file(out / name / "seen.safetensors")
        assert all(np.array_equal(seen[key], after[key]) for key in seen)
        assert (out / name / "checkpoint-best" / "weights.safetensors").is_file()
    first, second = (load_file(out / f"member-{k}" / "evaluation.safetensors") for k in (1, 2))
    assert np.array_equal(first["label_N"], second["label_N"])
    assert result.evaluation.metrics.num_samples == int((seen["part_N"] == 2).sum())
    assert result.evaluation.metrics.top1 > 0.9
    told = "training image was lost or changed while the run was under way."
    assert any(told in caveat for caveat in result.evaluation.caveats)


def test_the_joint_verdict_averages_the_probabilities_of_the_members(saccade: Callable, ensemble: Path):
    result = json.loads((ensemble / "evaluation.json").read_text())
    probability, right = [], []
    for name in ("member-1", "member-2"):
        outputs = load_file(ensemble / name / "evaluation.safetensors")
        temperature = json.loads((ensemble / name / "evaluation.json").read_text())["temperature"]
        power_NK = np.exp(outputs["logits_NK"].astype(np.float64) / temperature)
        probability.append(power_NK / power_NK.sum(axis=1, keepdims=True))
        right.append(outputs["logits_NK"].argmax(axis=1) == outputs["label_N"])
    together_N = np.mean(probability, axis=0).argmax(axis=1) == outputs["label_N"]
    assert result["top1"] == pytest.approx(together_N.mean())
    together = result["together"]
    assert [member["top1"] for member in together["members"]] == [pytest.approx(r.mean()) for r in right]
    assert together["gain"] == pytest.approx(together_N.mean() - max(r.mean() for r in right))
    assert together["mean_top1"] == pytest.approx(np.mean(right))
    assert together["gain_over_mean"] == pytest.approx(together_N.mean() - np.mean(right))
    assert together["gain_over_mean_low"] <= together["gain_over_mean"] <= together["gain_over_mean_high"]
    finished = saccade("evaluate", ensemble, "digits", "--json")
    assert finished.status == 0, finished.errors
    again = json.loads(finished.output)
    assert (again["num_samples"], again["top1"]) == (result["num_samples"], result["top1"])
    assert [member["run"] for member in again["together"]["members"]] == [str(ensemble / f"member-{k}") for k in (1, 2)]


def test_members_answer_for_files_together(saccade: Callable, ensemble: Path, tmp_path: Path):
    draw = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(draw.integers(0, 256, (20, 24), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    (tmp_path / "3.png").write_bytes(b"no image")
    *together, bad = api.predict(ensemble, [tmp_path])
    assert isinstance(bad, ImageError)
    apart = [[*api.predict(ensemble / f"member-{k}", [tmp_path])][:3] for k in (1, 2)]
    for number, answer in enumerate(together):
        mean = np.mean([answers[number].probabilities for answers in apart], axis=0)
        np.testing.assert_allclose(answer.probabilities, mean, atol=1e-6)
        np.testing.assert_allclose(answer.logits, np.log(mean), atol=1e-4)
    finished = saccade("predict", ensemble, tmp_path / "0.png", "--json")
    assert finished.status == 0, finished.errors
    assert json.loads(finished.output)["predictions"][0]["top"][0]["class"] == together[0].top(1)[0][0]
    members = [ensemble / "member-1", ensemble / "member-2"]
    named = saccade("predict", *members, tmp_path / "0.png", "--json")
    assert named.status == 0, named.errors
    result = json.loads(named.output)
    assert result["run"] == ", ".join(str(member) for member in members)
    assert result["predictions"][0]["top"] == json.loads(finished.output)["predictions"][0]["top"]


def test_an_ensemble_of_one_is_refused(saccade: Callable, tmp_path: Path):
    finished = saccade("train", "digits", "--ensemble", "1", "--out", tmp_path / "one")
    assert (finished.status, finished.errors) == (2, "error: --ensemble takes 2 to 15 runs, got 1.\n")
    assert not (tmp_path / "one").exists()


class Killed(BaseException):
    """Ends a training as abruptly as a test can without ending the process."""


class Killer(api.Silent):
    """Kills at the `at`-th step of all members together."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
        self.left -= 1
        if not self.left:
            raise Killed


@pytest.mark.parametrize("at", [1, 10, 12, 17])
def test_killed_in_any_member_it_goes_on_to_the_same_bits(ensemble: Path, tmp_path: Path, at: int):
    with pytest.raises(Killed):
        api.train_ensemble(request(tmp_path / "e"), Killer(at))
    api.train_ensemble(api.TrainRequest(out=tmp_path / "e", resume=True))
    assert_equal_members(ensemble, tmp_path / "e")
    first, second = (json.loads((folder / "evaluation.json").read_text()) for folder in (ensemble, tmp_path / "e"))
    assert (first["top1"], first["loss"]) == (second["top1"], second["loss"])


@pytest.mark.parametrize("lost", ["every member", "what a member was begun with", "the joint verdict"])
def test_killed_between_members_it_goes_on_to_the_same_bits(ensemble: Path, tmp_path: Path, lost: str):
    folder = tmp_path / "e"
    shutil.copytree(ensemble, folder)
    (folder / "evaluation.json").unlink()
    if lost == "every member":
        shutil.rmtree(folder / "member-1")
        shutil.rmtree(folder / "member-2")
    if lost == "what a member was begun with":
        for path in (folder / "member-2").iterdir():
            if path.name != "environment.json":
                shutil.rmtree(path) if path.is_dir() else path.unlink()
    api.train_ensemble(api.TrainRequest(out=folder, resume=True))
    assert_equal_members(ensemble, folder)
    assert (folder / "evaluation.json").exists()


def test_the_command_reports_every_member_and_resumes_by_the_folder(saccade: Callable, ensemble: Path, tmp_path: Path):
    folder = tmp_path / "e"
    shutil.copytree(ensemble, folder)
    finished = saccade("train", "--resume", "--out", folder)
    assert finished.status == 0, finished.errors
    assert "Against the mean of the single runs, " in finished.output
    assert finished.output.endswith(f"Next: saccade evaluate {folder} digits --crops 10\n")
    assert (folder / "member-1" / "report.html").exists()
    assert (folder / "member-2" / "report.html").exists()


def test_what_does_not_fit_is_refused_in_words(ensemble: Path, tmp_path: Path):
    taken = f"{ensemble} already holds an ensemble.\nGo on with it by --resume, or choose another place with --out."
    for begin in (lambda: api.train_ensemble(request(ensemble)), lambda: api.train(request(ensemble, ensemble=0))):
        with pytest.raises(CheckpointError) as error:
            begin()
        assert str(error.value) == taken
    with pytest.raises(UsageError) as usage:
        api.train_ensemble(api.TrainRequest(out=ensemble, resume=True, ensemble=3))
    assert str(usage.value) == (
        "A resumed ensemble goes on as it began: it has 2 members, now 3.\n"
        "Leave --ensemble out, or start a new one with another --out."
    )
    with pytest.raises(ConfigError, match="epochs was 2, now 9"):
        api.train_ensemble(api.TrainRequest(out=ensemble, resume=True, epochs=9))
    for verb in ("explain", "report"):
        with pytest.raises(UsageError) as usage:
            api.explain(ensemble, tmp_path / "x.png") if verb == "explain" else api.report(ensemble)
        assert str(usage.value) == (
            f"{ensemble} is an ensemble of 2 runs; 'saccade {verb}' takes one run.\n"
            f"Take a member, such as {ensemble}/member-1."
        )
    for number in (1, 16):
        with pytest.raises(UsageError, match=f"^--ensemble takes 2 to 15 runs, got {number}.$"):
            api.train_ensemble(request(tmp_path / "n", ensemble=number))
    assert not (tmp_path / "n").exists()


def test_an_unfinished_ensemble_is_not_judged(ensemble: Path, tmp_path: Path):
    shutil.copytree(ensemble, tmp_path / "e")
    shutil.rmtree(tmp_path / "e" / "member-2")
    with pytest.raises(CheckpointError) as error:
        api.evaluate([tmp_path / "e"], "digits")
    assert str(error.value) == (
        f"The ensemble {tmp_path / 'e'} is not complete: member 2 of 2 has not been trained to its end.\n"
        f"Go on with: saccade train --resume --out {tmp_path / 'e'}"
    )


def test_two_starters_of_one_ensemble_do_not_mix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """One that begins while the other still reads the images wins: its plan stays, and the other is told."""
    real, out = members.prepare_images, tmp_path / "e"

    def slow(*arguments: Any) -> Any:
        monkeypatch.setattr(members, "prepare_images", real)
        api.train_ensemble(request(out, epochs=1))  # all of the other starter's work
        return real(*arguments)

    monkeypatch.setattr(members, "prepare_images", slow)
    with pytest.raises(CheckpointError, match="already holds an ensemble"):
        api.train_ensemble(request(out, seed=70, ensemble=3, epochs=2))
    plan = members.read_plan(out)
    assert (plan.num_members, plan.run.seed, plan.run.epochs) == (2, 5, 1)


def test_an_ensemble_that_is_being_trained_is_not_gone_on_with(ensemble: Path):
    with lock.exclusive(ensemble), pytest.raises(RunInUseError):
        api.train_ensemble(request(ensemble, resume=True))
