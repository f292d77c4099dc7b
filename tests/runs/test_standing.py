"""How a run stands, told from its files alone, while somebody may be writing them."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from saccade.core import lock
from saccade.core.errors import printable
from saccade.runs.log import GrowingLog, read_epochs
from saccade.runs.marks_file import Mark, read_marks, write_marks
from saccade.runs.standing import Figure, VerdictFigures, WatchedRun, looks_like_run


def line(epoch: int, seconds: float = 10.0, num_epochs: int = 10) -> str:
    event = {"event": "epoch", "epoch": epoch, "num_epochs": num_epochs, "train_loss": 1 / epoch, "seconds": seconds}
    return json.dumps({**event, "train_accuracy": 0.5, "is_best": epoch == 2}) + "\n"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that was begun and has no epoch yet."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.toml").write_text('format = 3\nsource = "data/cats"\nepochs = 10\nmodel = "lenet5"\n')
    (folder / "found.json").write_text('{"format": 3, "values": {}}')
    return folder


def append(run: Path, text: str) -> None:
    with open(run / "metrics.jsonl", "a", encoding="utf-8") as file:
        file.write(text)


def figures(run: Path) -> None:
    (run / "checkpoint-best").mkdir()
    (run / "checkpoint-best" / "manifest.json").write_text('{"model": "lenet5"}')
    values = {"num_samples": 100, "top1": 0.9, "top1_low": 0.8, "top1_high": 0.95, "split": "test"}
    (run / "evaluation.json").write_text(json.dumps(values))


def test_a_log_is_read_on_and_a_torn_line_waits_for_its_end(run: Path):
    log = GrowingLog(run / "metrics.jsonl")
    assert log.read() == ()
    append(run, line(1) + line(2)[:20])
    assert [event.epoch for event in log.read()] == [1]
    append(run, line(2)[20:] + '{"event": "memory", "step": 3}\n' + line(3))
    assert log.read() == read_epochs(run / "metrics.jsonl")
    assert [event.epoch for event in log.read()] == [1, 2, 3]


def test_only_what_is_new_is_parsed(run: Path, monkeypatch: pytest.MonkeyPatch):
    from saccade.runs import log as module

    parsed: list[bytes] = []
    parse = module.parse_object

    def counting(content: bytes) -> dict[str, Any]:
        parsed.append(content)
        return parse(content)

    monkeypatch.setattr(module, "parse_object", counting)
    log = GrowingLog(run / "metrics.jsonl")
    append(run, "".join(line(epoch) for epoch in range(1, 101)))
    log.read()
    append(run, line(101))
    assert len(log.read()) == 101
    assert len(parsed) == 101


@pytest.mark.parametrize("change", ["cut", "written anew", "gone"])
def test_a_log_that_is_not_the_one_that_was_read_is_read_anew(run: Path, change: str):
    log = GrowingLog(run / "metrics.jsonl")
    append(run, line(1) + line(2) + line(3))
    log.read()
    if change == "cut":  # as --resume does behind the last checkpoint
        os.truncate(run / "metrics.jsonl", len(line(1)))
        append(run, line(2, 20.0) + line(3, 20.0) + line(4, 20.0))
    elif change == "written anew":
        (run / "metrics.jsonl").write_text(line(1, 99.0) + line(2, 99.0) + line(3, 99.0) + line(4, 99.0))
    else:
        (run / "metrics.jsonl").unlink()
    assert log.read() == read_epochs(run / "metrics.jsonl")


def test_behind_a_damaged_line_nothing_is_read_and_the_line_is_named(run: Path):
    append(run, line(1) + "{}\n" + line(1) + line(5))
    standing = WatchedRun(run).look()
    assert standing.state == "damaged"
    assert standing.problem == (
        f"{printable(str(run / 'metrics.jsonl'))} is damaged: line 3 has epoch 1 after epoch 1.\n"
        f"Remove that line, or put the file back from a copy; the weights are not concerned."
    )
    assert [event.epoch for event in standing.epochs] == [1]


def test_a_run_is_running_as_long_as_somebody_holds_it_then_stopped_or_finished(run: Path):
    watched = WatchedRun(run)
    append(run, line(1))
    with lock.exclusive(run):
        assert watched.look().state == "running"
    assert watched.look().state == "stopped"
    assert watched.look().resume_command == f"saccade train --resume --out {run}"
    figures(run)
    append(run, "".join(line(epoch) for epoch in range(2, 11)))
    standing = watched.look()
    assert (standing.state, standing.is_judged, standing.best_epoch, standing.model) == ("finished", True, 2, "lenet5")
    assert standing.figure == Figure(name="top1", value=0.9, low=0.8, high=0.95, num_judged=100)
    with lock.exclusive(run):  # somebody exports it
        assert watched.look().state == "finished"


@pytest.mark.parametrize("name", ["config.toml", "found.json", "environment.json", "data.json", "evaluation.json"])
@pytest.mark.parametrize("content", [b"{", b"\xff\xfe", b"[" * 100_000, b'{"epochs": "many", "counts": 3, "top1": 7}'])
def test_whatever_a_file_holds_it_is_a_state_and_the_rest_is_told(run: Path, name: str, content: bytes):
    append(run, line(1))
    (run / name).write_bytes(content)
    standing = WatchedRun(run).look()
    assert len(standing.epochs) == 1
    if standing.state == "damaged":
        assert name in standing.problem
    else:  # what was written is a value of another version, which is let be
        assert (name, content[:3]) == ("environment.json", b'{"e'), standing


@pytest.mark.parametrize(
    "make", [lambda path: os.mkfifo(path), lambda path: path.mkdir(), lambda path: path.symlink_to("/dev/zero")]
)
def test_what_is_no_plain_file_is_not_waited_for(run: Path, make: Callable[[Path], None]):
    for name in ("metrics.jsonl", "evaluation.json", "data.json"):
        make(run / name)
    assert WatchedRun(run).look().state == "damaged"


def test_the_time_that_is_left_is_that_of_the_latest_epochs_less_what_has_passed(run: Path):
    append(run, line(1, 99.0) + "".join(line(epoch, 10.0 + epoch) for epoch in range(2, 7)))
    now_s = (run / "metrics.jsonl").stat().st_mtime
    watched = WatchedRun(run)
    assert watched.look().left_s(now_s) is None  # nobody trains
    with lock.exclusive(run):
        standing = watched.look()
        assert standing.left_s(now_s) == pytest.approx((4 * 12.0 + 1, 4 * 1.1 * 16.0 + 6), abs=0.1)
        assert standing.left_s(now_s + 50) == pytest.approx((0.0, 4 * 1.1 * 16.0 + 6 - 50), abs=0.1)
        assert not standing.is_stale(now_s + 119)
        assert standing.is_stale(now_s + 121)


def test_the_time_that_is_left_counts_folds_and_members_that_have_not_begun(run: Path):
    append(run, "".join(line(epoch, 10.0) for epoch in range(1, 5)))
    part = WatchedRun(run).look()
    stopped_early = replace(part, figures=VerdictFigures())
    folds = replace(part, state="running", epochs=(), num_parts=3, parts=(stopped_early, part))
    # 6 epochs of the second, 10 of the third and 10 of the run for use, which an ensemble has not; each is reported
    assert folds.left_s(folds.active_s) == pytest.approx((260.0 + 3, 286.0 + 18))
    together = replace(folds, is_ensemble=True)
    assert together.left_s(folds.active_s) == pytest.approx((160.0 + 5, 176.0 + 30)), "the members' verdict, too"
    assert replace(folds, parts=()).left_s(folds.active_s) is None, "no epoch is done"


def test_the_time_that_is_left_has_the_judging_in_it(run: Path):
    """1,000 training images at 200 a second are 5 s of each epoch; what is left of it are 100 validation images."""
    data: dict[str, Any] = {"classes": ["cat", "dog"], "num_samples": 1500}
    data["counts"] = {"train": [500, 500], "validation": [60, 40], "test": [250, 150]}
    (run / "data.json").write_text(json.dumps(data))
    event = json.loads(line(10)) | {"images_per_second": 200.0}
    append(
        run, "".join(json.dumps(event | {"seconds": seconds, "epoch": at}) + "\n" for at, seconds in ((9, 6), (10, 7)))
    )
    now_s = (run / "metrics.jsonl").stat().st_mtime
    watched = WatchedRun(run)
    with lock.exclusive(run):
        # 400 test, 100 validation and 1,000 training images pass, at 1 to 2 s for 100; then the report, 1 to 6 s
        assert watched.look().left_s(now_s) == pytest.approx((15 * 1 + 1, 15 * 1.1 * 2 + 6), abs=0.1)
        assert watched.look().left_s(now_s + 10) == pytest.approx((6, 29), abs=0.1)
        data["counts"]["validation"] = [0, 0]
        (run / "data.json").write_text(json.dumps(data))
        now_s = (run / "data.json").stat().st_mtime
        # 1,400 images at 0.1 to 0.6 of what training took for them
        assert watched.look().left_s(now_s) == pytest.approx((0.1 * 7 + 1, 0.6 * 7 + 6), abs=0.1)


def test_a_transfer_without_epochs_is_being_judged_once_its_last_layer_is_fitted(run: Path):
    (run / "transfer.json").write_text('{"frozen": "all", "judging_s": 40.0, "epochs": 0}')
    now_s = (run / "transfer.json").stat().st_mtime
    watched = WatchedRun(run)
    assert watched.look().left_s(now_s) is None
    with lock.exclusive(run):
        standing = watched.look()
        assert standing.is_fitted
        assert standing.left_s(now_s) == pytest.approx((0.75 * 40 + 1, 1.25 * 40 + 6), abs=0.1)
        assert standing.left_s(now_s + 60) == (0.0, 0.0)
        (run / "transfer.json").write_text('{"frozen": "stage2", "judging_s": 40.0}')
        assert watched.look().left_s(now_s) is None, "epochs follow, and nothing tells how long one takes"


def test_a_long_epoch_is_not_taken_for_silence(run: Path):
    append(run, line(1, 600.0))
    now_s = time.time()
    with lock.exclusive(run):
        standing = WatchedRun(run).look()
        assert not standing.is_stale(now_s + 1700)
        assert standing.is_stale(now_s + 1900)


def test_an_ensemble_is_as_lively_as_its_members(run: Path, tmp_path: Path):
    ensemble = tmp_path / "two"
    ensemble.mkdir()
    (ensemble / "ensemble.toml").write_text('format = 3\nnum_members = 2\n[run]\nsource = "data/cats"\n')
    member = run.rename(ensemble / "member-1")
    append(member, line(1, 600.0))
    watched = WatchedRun(ensemble)
    with lock.exclusive(ensemble), lock.exclusive(member):
        standing = watched.look()
        now_s = standing.active_s
        assert (standing.state, standing.parts[0].state, watched.changes) == ("running", "running", 1)
        assert not standing.is_stale(now_s + 1700)
        assert standing.is_stale(now_s + 1900)
        watched.look()
        assert watched.changes == 1
        append(member, line(2))
        watched.look()
        assert watched.changes == 2
    assert watched.look().state == "stopped"


def test_nothing_is_read_again_as_long_as_no_file_changes(run: Path):
    watched = WatchedRun(run)
    append(run, line(1))
    watched.look()
    watched.look()
    assert watched.changes == 1
    append(run, line(2))
    watched.look()
    assert watched.changes == 2


def test_a_folder_is_a_run_by_its_files(run: Path, tmp_path: Path):
    assert looks_like_run(run)
    assert not looks_like_run(tmp_path)
    assert not looks_like_run(tmp_path / "absent")
    (run / "found.json").unlink()
    assert not looks_like_run(run), "the config.toml of something else"
    figures(run)
    (run / "config.toml").unlink()
    assert looks_like_run(run), "what it was asked is lost"


def test_marks_are_kept_as_they_were_given(run: Path):
    assert read_marks(run) == {}
    mark = Mark(image='a \U0001f600 "b".jpg', label="cat", said="dog", mark="unclear")
    write_marks(run, {mark.image: mark})
    assert read_marks(run) == {mark.image: mark}
