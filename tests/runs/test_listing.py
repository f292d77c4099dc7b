"""How runs stand: running, finished, stopped or damaged, told from their files alone."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.processes import PATIENCE_S

from saccade.classify.run_list import progress_words, read_run_list, verdict_words
from saccade.core import documents, lock
from saccade.core.errors import CheckpointError, UsageError
from saccade.core.head_name import head_words
from saccade.runs import listing
from saccade.runs.at_path import holds_checkpoint
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.listing import FoundRuns, find_runs, list_runs
from saccade.runs.standing import Figure, Standing, WatchedRun, looks_like_run

FORMATS = Path(__file__).parent / "formats"


def finished_run(folder: Path, number: str = "3") -> Path:
    """One epoch on the digits, as a format wrote it."""
    return Path(shutil.copytree(FORMATS / number, folder))


def read_listed(path: Path) -> Standing:
    return WatchedRun(path).look()


@pytest.mark.parametrize("number", ["1", "2", "3"])
def test_a_judged_run_is_finished_with_the_figures_of_its_verdict(tmp_path: Path, number: str):
    run = read_listed(finished_run(tmp_path / "run", number))
    judged = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert (run.state, run.problem, run.config.verb, run.config.source) == ("finished", "", "train", "digits")
    assert run.figure == Figure(
        name="top1",
        value=judged["top1"],
        low=judged["top1_low"],
        high=judged["top1_high"],
        num_judged=judged["num_samples"],
    )
    assert run.num_epochs == run.num_done == 1
    assert run.model


def test_a_run_without_verdict_is_stopped_and_says_how_far_it_came(tmp_path: Path):
    path = finished_run(tmp_path / "run")
    (path / "evaluation.json").unlink()
    run = read_listed(path)
    assert (run.state, run.figure, progress_words(run)) == ("stopped", None, "epoch 1 of 1")
    assert run.resume_command == f"saccade train --resume --out {path}"


def test_a_log_in_the_middle_of_growing_is_no_damage(tmp_path: Path):
    path = finished_run(tmp_path / "run")
    (path / "evaluation.json").unlink()
    whole = (path / "metrics.jsonl").read_bytes()
    with lock.exclusive(path):
        for num_bytes in range(1, len(whole)):
            (path / "metrics.jsonl").write_bytes(whole[:num_bytes])
            run = read_listed(path)
            assert (run.state, run.problem) == ("running", "")


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def not_a_run(path: Path) -> None:
    path.write_text("epochs = 'many'\n")


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("evaluation.json", cut, "evaluation.json is damaged: line 1, column 2"),
        ("metrics.jsonl", lambda path: path.write_text("no\n"), "metrics.jsonl is damaged: line 1: "),
        ("config.toml", not_a_run, "config.toml"),
        (
            "checkpoint-best/manifest.json",
            Path.unlink,
            "checkpoint-best has no manifest.json: its weights cannot be opened.",
        ),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_told(
    tmp_path: Path, name: str, damage: Callable[[Path], None], said: str
):
    path = finished_run(tmp_path / "run")
    damage(path / name)
    run = read_listed(path)
    assert run.state == "damaged"
    assert said in run.problem
    (entry,) = read_run_list(tmp_path).as_json()["runs"]
    assert said in entry["problem"]
    assert "\n" not in entry["problem"]


def test_runs_are_found_at_any_depth_and_nothing_else_is_taken_for_one(tmp_path: Path):
    first, second = finished_run(tmp_path / "a" / "first"), finished_run(tmp_path / "b" / "c" / "second")
    finished_run(tmp_path / ".hidden" / "run")
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "config.toml").write_text("title = 'of something else'\n")
    (tmp_path / "link").symlink_to(first)
    (tmp_path / "loop").symlink_to(tmp_path)
    assert find_runs(tmp_path) == FoundRuns(paths=(first, second))
    assert find_runs(first) == FoundRuns(paths=(first,)), "a run may be named itself"
    os.utime(second / "config.toml", (1, 1))
    assert [run.path for run in list_runs(tmp_path)[0]] == [first, second], "the newest first"


def test_a_folder_that_is_not_there_is_told(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        list_runs(tmp_path / "nowhere")
    assert error.value.message == (
        f"There is no folder {tmp_path / 'nowhere'}.\n"
        "Runs lie in 'runs' beside where they were begun, or where --out said: saccade runs FOLDER"
    )


def test_more_folders_than_are_looked_into_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(listing, "MAX_FOLDERS", 3)
    first = finished_run(tmp_path / "a")
    for name in "bc":
        (tmp_path / name).mkdir()
    assert find_runs(tmp_path) == FoundRuns(paths=(first,), is_cut=True)
    with pytest.raises(UsageError) as error:
        list_runs(tmp_path)
    assert error.value.message == f"{tmp_path} has more than 3 folders.\nName the folder of the runs alone."


def test_an_ensemble_is_one_entry_with_its_members(tmp_path: Path):
    ensemble = tmp_path / "five"
    ensemble.mkdir()
    (ensemble / "ensemble.toml").write_text(
        'format = 3\nnum_members = 5\n[run]\nsource = "digits"\nmodel = "lenet5"\nepochs = 1\n'
    )
    finished_run(ensemble / "member-1")
    (finished_run(ensemble / "member-2") / "evaluation.json").unlink()
    ((run,), _) = list_runs(tmp_path)
    assert (run.state, run.is_ensemble, run.num_parts) == ("stopped", True, 5)
    assert [part.state for part in run.parts] == ["finished", "stopped"]
    assert progress_words(run) == "1 of 5 members finished"
    assert (run.config.source, run.model) == ("digits", "lenet5")
    with lock.exclusive(ensemble):
        assert read_listed(ensemble).state == "running"


def test_a_run_whose_folds_come_first_is_listed_before_it_has_begun_itself(tmp_path: Path):
    folds = tmp_path / "run" / "folds"
    folds.mkdir(parents=True)
    (folds / "folds.toml").write_text('format = 3\nnum_folds = 5\n[run]\nsource = "digits"\n')
    finished_run(folds / "fold-1")
    ((run,), _) = list_runs(tmp_path)
    assert (run.path, run.state, progress_words(run)) == (tmp_path / "run", "stopped", "1 of 5 folds finished")


def test_a_member_that_is_damaged_damages_the_ensemble_and_a_member_has_no_members(tmp_path: Path):
    member = tmp_path / "five" / "member-1"
    finished_run(member)
    for folder in (tmp_path / "five", member):
        (folder / "ensemble.toml").write_text('format = 3\nnum_members = 2\n[run]\nsource = "digits"\n')
    (tmp_path / "five" / "member-2").symlink_to(member)
    (member / "member-1").symlink_to(tmp_path / "five")
    run = read_listed(tmp_path / "five")
    assert [(part.path, part.parts) for part in run.parts] == [(member, ())]
    cut(member / "data.json")
    run = read_listed(tmp_path / "five")
    assert (run.state, run.parts[0].problem) == ("damaged", run.problem)


@pytest.mark.parametrize(
    ("figure", "words"),
    [
        (Figure(name="top1", value=0.992, low=0.976, high=0.997, num_judged=1359), "99.2 % (97.6 to 99.7) of 1,359"),
        (Figure(name="map", value=0.594, low=0.5, high=0.7, num_judged=20), "mAP 59.4 % (50.0 to 70.0) of 20"),
        (Figure(name="mae", value=1.325, low=1.2, high=1.5, num_judged=20), "off by 1.325 (1.2 to 1.5) of 20"),
        (Figure(name="top1", value=0.5, low=None, high=None, num_judged=2), "50.0 % of 2"),
    ],
)
def test_a_figure_is_told_with_its_interval(figure: Figure, words: str):
    assert verdict_words(figure) == words


def test_the_list_says_what_is_damaged_and_how_stopped_runs_go_on(tmp_path: Path):
    cut(finished_run(tmp_path / "bad") / "evaluation.json")
    (finished_run(tmp_path / "half") / "evaluation.json").unlink()
    finished_run(tmp_path / "whole")
    found = read_run_list(tmp_path)
    counts, damaged, go_on = found.display_lines()
    assert counts == f"3 runs in {tmp_path}: 1 finished, 1 stopped, 1 damaged."
    assert damaged.startswith(f"{tmp_path}/bad/evaluation.json is damaged: ")
    assert go_on == f"Go on: saccade train --resume --out {tmp_path}/half"
    entries = {Path(entry["run"]).name: entry for entry in found.as_json()["runs"]}
    assert {name: entry["state"] for name, entry in entries.items()} == {
        "bad": "damaged",
        "half": "stopped",
        "whole": "finished",
    }
    assert {entry["head"] for entry in entries.values()} == {None}
    assert entries["half"]["go_on"] == f"saccade train --resume --out {tmp_path}/half"
    assert entries["whole"]["value"] == json.loads((tmp_path / "whole" / "evaluation.json").read_text())["top1"]


def test_the_list_says_what_kind_of_last_layer_a_transfer_has(tmp_path: Path):
    run = finished_run(tmp_path / "transferred")
    manifest = run / "checkpoint-best" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"model": "squeezenet1.1+hidden256"}))
    found = read_run_list(tmp_path)
    assert found.display_rows()[1][0][3].endswith(", 256 hidden units")
    assert found.as_json()["runs"][0]["head"] == "256 hidden units"
    assert [head_words(text) for text in ("resnet18+linear", "resnet18+loglinear", "resnet18", "a+b", "x+hidden0")] == [
        "linear", "log-linear", "", "", "",
    ]  # fmt: skip


def test_the_terminal_lists_runs_without_importing_torch(tmp_path: Path):
    finished_run(tmp_path / "runs" / "first")
    code = (
        "import sys; from saccade.cli.main import main; sys.argv = ['saccade', 'runs']\n"
        "try: main()\nexcept SystemExit: pass\nprint('torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]  # not a process that was made ready, which has imported torch
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0].split() == "run state verdict (95 % interval) network images begun".split()
    assert lines[1].startswith("runs/first  finished  ")
    assert lines[-2:] == ["1 run in runs: 1 finished.", "False"]


def test_no_runs_yet_says_how_to_begin(saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    done = saccade("runs")
    assert (done.status, done.output) == (0, "No runs in runs yet. Start one: saccade train digits\n")
    assert json.loads(saccade("runs", "--json").output) == {"folder": "runs", "runs": [], "denied": []}
    assert saccade("runs", "nowhere").status == 2


def denied_under(folder: Path) -> Callable[..., os.stat_result]:
    """`os.stat` for somebody who may not look into `folder`."""
    stat = os.stat

    def refusing(path, *arguments, **options):  # type: ignore[no-untyped-def]
        if isinstance(path, str | os.PathLike) and folder in Path(path).parents:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return stat(path, *arguments, **options)

    return refusing


def test_a_folder_that_may_not_be_looked_into_hides_no_run_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Linux lists a folder of mode r--, and denies every name in it."""
    (tmp_path / "locked").mkdir()
    finished_run(tmp_path / "run")
    monkeypatch.setattr(os, "stat", denied_under(tmp_path / "locked"))
    assert [run.path.name for run in list_runs(tmp_path)[0]] == ["run"]
    assert not looks_like_run(tmp_path / "locked")
    assert not holds_checkpoint(tmp_path / "locked")


def test_a_run_that_may_not_be_read_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = finished_run(tmp_path / "a run")
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != path)
    with pytest.raises(CheckpointError) as error:
        find_checkpoint(path)
    assert error.value.message == (
        f"The run {path} may not be read: Permission denied.\nIts owner can allow it: chmod -R a+rX '{path}'"
    )


def test_a_folder_that_may_not_be_read_is_named_and_not_taken_for_an_empty_one(
    tmp_path: Path, saccade: Callable, monkeypatch: pytest.MonkeyPatch
):
    locked = finished_run(tmp_path / "locked")
    finished_run(tmp_path / "run")
    monkeypatch.setattr(os, "access", lambda place, mode: Path(place) != locked)
    found = read_run_list(tmp_path)
    assert [run.path.name for run in found.runs] == ["run"]
    assert found.display_lines() == [
        f"1 run in {tmp_path}: 1 finished.",
        f"1 folder may not be read by you: {locked}.",
        f"The owner can allow it: chmod -R a+rX {locked}",
    ]
    assert found.as_json()["denied"] == [str(locked)]
    with pytest.raises(UsageError) as error:
        list_runs(locked)
    assert error.value.message == (
        f"The folder {locked} may not be read by you.\nIts owner can allow it: chmod -R a+rX {locked}"
    )
    done = saccade("runs", locked)
    assert (done.status, done.errors) == (
        2,
        f"error: Invalid value for 'DIR': path '{locked}' is not readable.\n"
        f"Its owner can allow it: chmod -R a+rX {locked}\nHelp: saccade runs --help\n",
    )
    done = saccade("compare", tmp_path / "run", locked)
    assert (done.status, done.errors) == (
        1,
        f"error: The run {locked} may not be read: Permission denied.\n"
        f"Its owner can allow it: chmod -R a+rX {locked}\n",
    )


def test_a_file_of_a_run_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = finished_run(tmp_path / "run") / "evaluation.json"

    def refusing(place, *arguments, **options):  # type: ignore[no-untyped-def]
        if Path(place) == path:
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        return real(place, *arguments, **options)

    real = documents.open_plain_file
    monkeypatch.setattr(documents, "open_plain_file", refusing)
    assert read_run_list(tmp_path).runs[0].problem == (
        f"{path} may not be read: Permission denied.\nIts owner can allow it: chmod a+r {path}"
    )
