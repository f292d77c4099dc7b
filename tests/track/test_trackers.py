"""Trackers hear what `metrics.jsonl` has; one that fails is told once, and harms nothing."""

import importlib.util
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from saccade import api
from saccade.core.errors import UsageError
from saccade.runs.log import read_events
from saccade.track import tracker
from saccade.track.tracker import TrackedRun, Trackers, check_trackers, figures_of, flat_settings, run_key

EPOCH = {"epoch": 1, "num_epochs": 2, "train_loss": 0.5, "validation_accuracy": 0.75, "is_best": True, "step": 11}


class Kept:
    """A tracker that keeps what it hears, and raises where it is asked to."""

    def __init__(self, run: TrackedRun, fails_at: str = "") -> None:
        self.run, self.fails_at = run, fails_at
        self.logged: list[tuple[int, Mapping[str, float]]] = []
        self.verdict: Mapping[str, float] | None = None

    def log(self, values: Mapping[str, float], step: int) -> None:
        if self.fails_at == "log":
            raise ConnectionError("the server is gone\nfor good")
        self.logged.append((step, values))

    def close(self, verdict: Mapping[str, float]) -> None:
        if self.fails_at == "close":
            raise RuntimeError
        self.verdict = verdict


def run_of(folder: Path, is_resumed: bool = False) -> TrackedRun:
    return TrackedRun(
        name="first",
        folder=folder,
        key="0123456789abcdef",
        settings={"epochs": 2, "optimizer.name": "nesterov"},
        is_resumed=is_resumed,
        first_step=11 if is_resumed else 0,
    )


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Kept]:
    """Every tracker that is opened; "wandb" fails when it is logged to, "mlflow" when it is opened."""
    found: list[Kept] = []

    def module(name: str) -> Any:
        def open_tracker(run: TrackedRun) -> Kept:
            if name == "mlflow":
                raise ValueError("no such server")
            found.append(Kept(run, {"wandb": "log", "trackio": "close"}.get(name, "")))
            return found[-1]

        return SimpleNamespace(open_tracker=open_tracker)

    monkeypatch.setattr(tracker, "_module", module)
    monkeypatch.setattr(tracker, "check_trackers", lambda names: None)
    monkeypatch.setattr("saccade.train.tracking.check_trackers", lambda names: None)
    return found


def test_a_tracker_hears_the_figures_of_every_epoch_and_the_verdict(tmp_path: Path, opened: list[Kept]):
    notes: list[str] = []
    trackers = Trackers(["tensorboard", "tensorboard"], notes.append)
    trackers.begin(run_of(tmp_path))
    trackers.log("dropped", {"key": "a.png"})
    trackers.log("epoch", EPOCH)
    trackers.close({"top1": 0.9, "ece": None, "majority_class": "cat"})
    assert len(opened) == 1, "a name that stands twice is one tracker"
    assert opened[0].logged == [(11, {"train_loss": 0.5, "validation_accuracy": 0.75})]
    assert opened[0].verdict == {"verdict_top1": 0.9}
    assert notes == []


def test_a_tracker_that_fails_is_told_once_and_the_others_go_on(tmp_path: Path, opened: list[Kept]):
    notes: list[str] = []
    trackers = Trackers(["mlflow", "wandb", "trackio", "tensorboard"], notes.append)
    trackers.begin(run_of(tmp_path))
    for _ in range(3):
        trackers.log("epoch", EPOCH)
    trackers.close({"top1": 0.9})
    assert notes == [
        "--log mlflow could not be opened: no such server; metrics.jsonl has all of it",
        "--log wandb failed and hears no more of this run: the server is gone; metrics.jsonl has all of it",
        "--log trackio failed at the end: RuntimeError; metrics.jsonl has all of it",
    ]
    assert len(opened[-1].logged) == 3


def test_what_a_tracker_prints_leaves_the_result_alone(
    tmp_path: Path, opened: list[Kept], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(Kept, "log", lambda self, values, step: print("see your run at ..."))
    trackers = Trackers(["tensorboard"], lambda text: None)
    trackers.begin(run_of(tmp_path))
    trackers.log("epoch", EPOCH)
    assert capsys.readouterr() == ("", "see your run at ...\n")


def test_ctrl_c_in_a_tracker_is_not_swallowed(tmp_path: Path, opened: list[Kept], monkeypatch: pytest.MonkeyPatch):
    def interrupted(self: Kept, values: object, step: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Kept, "log", interrupted)
    trackers = Trackers(["tensorboard"], print)
    trackers.begin(run_of(tmp_path))
    with pytest.raises(KeyboardInterrupt):
        trackers.log("epoch", EPOCH)


def test_a_training_tells_trackers_what_its_log_has_and_a_broken_one_harms_nothing(tmp_path: Path, opened: list[Kept]):
    notes: list[str] = []

    class Heard(api.Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    request = api.TrainRequest(
        source="digits",
        model="conv 4 f3 bn | gap | fc 10",
        epochs=2,
        out=tmp_path / "run",
        log=["wandb", "tensorboard"],
        settings=["input.size_px=12", "runtime.num_threads=1"],
    )
    result = api.train(request, Heard())
    kept = next(one for one in opened if one.fails_at == "")
    events = [event for event in read_events(tmp_path / "run" / "metrics.jsonl") if event["event"] == "epoch"]
    named = ("train_loss", "validation_accuracy", "learning_rate")
    assert [(step, [values[name] for name in named]) for step, values in kept.logged] == [
        (event["step"], [event[name] for name in named]) for event in events
    ]
    assert kept.verdict is not None
    assert kept.verdict["verdict_top1"] == result.judgement.metrics.top1
    assert kept.run.name == "run"
    assert kept.run.settings["epochs"] == 2
    assert sum("--log wandb failed" in text for text in notes) == 1


def test_an_unknown_tracker_and_one_that_is_not_installed_are_told_before_any_work(monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError) as error:
        check_trackers(["tensorbord"])
    assert error.value.message == (
        "Unknown tracker 'tensorbord'. Did you mean 'tensorboard'? Known: tensorboard, mlflow, wandb, trackio."
    )
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UsageError) as error:
        check_trackers(["wandb"])
    assert error.value.message == (
        "--log wandb needs the package wandb, which is not installed.\n"
        "Install it: pip install 'saccade-learn[wandb]'\n"
        "Without it the figures of every epoch are in metrics.jsonl of the run."
    )


def test_a_library_that_would_leave_the_process_ends_its_tracking_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def leave(run: TrackedRun) -> Kept:
        raise SystemExit(3)

    def interrupt(run: TrackedRun) -> Kept:
        raise KeyboardInterrupt

    notes: list[str] = []
    monkeypatch.setattr(tracker, "_module", lambda name: SimpleNamespace(open_tracker=leave))
    Trackers(["wandb"], notes.append).begin(run_of(tmp_path))
    assert notes == ["--log wandb could not be opened: SystemExit; metrics.jsonl has all of it"]
    monkeypatch.setattr(tracker, "_module", lambda name: SimpleNamespace(open_tracker=interrupt))
    with pytest.raises(KeyboardInterrupt):
        Trackers(["wandb"], notes.append).begin(run_of(tmp_path))


def test_an_mlflow_server_that_does_not_answer_is_given_up_within_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[str | None] = []

    class Silent:
        def get_experiment_by_name(self, name: str) -> None:
            asked.append(os.environ.get("MLFLOW_HTTP_REQUEST_MAX_RETRIES"))
            raise ConnectionError("nobody answers")

    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(MlflowClient=Silent))
    monkeypatch.setitem(sys.modules, "mlflow.entities", SimpleNamespace(Param=None))
    from saccade.track.log_to_mlflow import open_tracker

    monkeypatch.delenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", raising=False)
    for wanted in ("2", "5"):
        with pytest.raises(ConnectionError):
            open_tracker(run_of(tmp_path))
        assert asked[-1] == wanted
        assert ("MLFLOW_HTTP_REQUEST_MAX_RETRIES" in os.environ) == (wanted == "5"), "as the caller had it"
        monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "5")


def test_trackio_is_finished_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A run that stays its current one is finished again when Python ends, on stdout, where the result is."""
    import contextvars

    current: contextvars.ContextVar[Any] = contextvars.ContextVar("current", default=None)
    told: list[str] = []

    class Run:
        def log(self, values: Mapping[str, float], step: int | None = None) -> None:
            told.append(f"log {dict(values)}")

        def finish(self) -> None:
            told.append("finish")

    def init(project: str, name: str, config: Mapping[str, Any], resume: str) -> Run:
        current.set(Run())
        return current.get()

    module = SimpleNamespace(init=init, context_vars=SimpleNamespace(current_run=current))
    monkeypatch.setitem(sys.modules, "trackio", module)
    from saccade.track.log_to_trackio import open_tracker

    open_tracker(run_of(tmp_path)).close({"verdict_top1": 0.5})
    assert told == ["log {'verdict_top1': 0.5}", "finish"]
    assert current.get() is None


def test_figures_are_finite_numbers_and_settings_are_flat():
    values = {"a": 1, "b": float("nan"), "c": True, "d": None, "e": [1], "f": 0.5, "step": 3}
    assert figures_of(values, ("step",)) == {"a": 1.0, "f": 0.5}
    assert flat_settings({"x": {"y": 1, "z": [1, 2]}, "w": None}) == {"x.y": 1, "x.z": "[1, 2]"}


def test_a_run_has_a_key_of_its_own(tmp_path: Path):
    keys = {run_key(tmp_path / "a", 1), run_key(tmp_path / "b", 1), run_key(tmp_path / "a", 2)}
    assert len(keys) == 3
    assert run_key(tmp_path / "a", 1) in keys


def test_tensorboard_reads_what_was_written_and_steps_that_were_lost_are_purged(tmp_path: Path):
    loader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="pip install tensorboard"
    )
    from saccade.track.log_to_tensorboard import open_tracker

    first = open_tracker(run_of(tmp_path))
    first.log({"train_loss": 0.5}, 11)
    first.log({"train_loss": 0.4}, 22)  # lost: the checkpoint is of step 11
    first.close({})
    again = open_tracker(run_of(tmp_path, is_resumed=True))
    again.log({"train_loss": 0.45}, 22)
    again.close({"verdict_top1": 0.875})
    found = loader.EventAccumulator(str(tmp_path / "tensorboard"))
    found.Reload()
    assert [(point.step, round(point.value, 3)) for point in found.Scalars("train_loss")] == [(11, 0.5), (22, 0.45)]
    assert found.Scalars("verdict/top1")[0].value == 0.875


def test_mlflow_has_the_points_and_a_resumed_run_is_the_same_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    mlflow = pytest.importorskip("mlflow", reason="pip install mlflow")
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # the one that needs no further packages
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"file://{tmp_path}/mlruns")
    mlflow.set_tracking_uri(f"file://{tmp_path}/mlruns")
    from saccade.track.log_to_mlflow import open_tracker

    open_tracker(run_of(tmp_path)).log({"train_loss": 0.5}, 11)
    again = open_tracker(run_of(tmp_path, is_resumed=True))
    again.log({"train_loss": 0.25}, 22)
    again.close({"verdict_top1": 0.875})
    client = mlflow.MlflowClient()
    (found,) = client.search_runs([client.get_experiment_by_name("saccade").experiment_id])
    assert found.info.status == "FINISHED"
    assert found.data.params["optimizer.name"] == "nesterov"
    assert [(m.step, m.value) for m in client.get_metric_history(found.info.run_id, "train_loss")] == [
        (11, 0.5),
        (22, 0.25),
    ]
    assert found.data.metrics["verdict_top1"] == 0.875


def test_wandb_keeps_a_run_offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("wandb", reason="pip install wandb")
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    from saccade.track.log_to_wandb import open_tracker

    tracked = open_tracker(run_of(tmp_path))
    tracked.log({"train_loss": 0.5}, 11)
    tracked.close({"verdict_top1": 0.875})
    assert list(tmp_path.glob("wandb/offline-run-*-0123456789abcdef/*.wandb"))


def test_trackio_keeps_the_points_on_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path))  # read when it is imported
    pytest.importorskip("trackio", reason="pip install trackio")
    from saccade.track.log_to_trackio import open_tracker

    tracked = open_tracker(run_of(tmp_path))
    tracked.log({"train_loss": 0.5}, 11)
    tracked.close({"verdict_top1": 0.875})
    assert list(tmp_path.rglob("*.db"))
