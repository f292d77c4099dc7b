"""A run that is gone on with, judged or reported after files of it were lost or damaged: never other weights, never a
training that begins again over what was kept, never a traceback."""

import json
import os
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import PATIENCE_S

from saccade import api
from saccade.core.errors import CheckpointError, UsageError
from saccade.data.loading.loader import Loader
from saccade.runs.checkpoint import open_checkpoint
from saccade.runs.log import read_events

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=256"]


class Listener(api.Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three epochs."""
    out = tmp_path_factory.mktemp("guards") / "run"
    return api.train(api.TrainRequest(source="digits", epochs=3, out=out, settings=SETTINGS)).run_dir


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    """A copy of it, to be damaged."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def resume(run: Path, *settings: str) -> list[str]:
    """Go on with `run`; what was told."""
    listener = Listener()
    api.train(api.TrainRequest(out=run, resume=True, settings=list(settings)), listener)
    return listener.notes


def test_a_run_whose_images_lie_elsewhere_now_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """It said only that there is no such folder, which nobody had named, and took no other."""
    draw = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / "begun" / "photos" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(draw.integers(0, 256, (8, 8), dtype=np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "later").mkdir()
    monkeypatch.chdir(tmp_path / "begun")
    settings = [*SETTINGS, "split.test_fraction=0.4", "input.size_px=8"]
    asked = api.TrainRequest(source="photos", model="conv 2 f3 | gap | fc 2", epochs=1, out="run", settings=settings)
    weights = api.train(asked).run_dir.resolve() / "checkpoint-last" / "weights.safetensors"
    before = weights.read_bytes()
    monkeypatch.chdir(tmp_path / "later")
    for source in ("", tmp_path / "begun" / "photos"):
        with pytest.raises(CheckpointError) as error:
            api.train(api.TrainRequest(source=source, out=tmp_path / "begun" / "run", resume=True))
        assert error.value.message == (
            f"The images of the run {tmp_path}/begun/run are not where it began with them: 'photos' (looked in "
            f"{tmp_path}/later).\n"
            "Go on in the folder where it was begun, or let that name lead to them: ln -s IMAGES photos\n"
            "They have to be the same images; for others, start a new run with another --out."
        )
    (tmp_path / "later" / "photos").symlink_to(tmp_path / "begun" / "photos")
    api.train(api.TrainRequest(out=tmp_path / "begun" / "run", resume=True))
    assert weights.read_bytes() == before


def test_a_run_is_saved_where_the_name_of_its_folder_is_no_text(tmp_path: Path):
    """Its command, which has that name in it, could not be written: all that was trained was lost."""
    out = tmp_path / os.fsdecode(b"run \xff")
    asked = api.TrainRequest(
        source="digits", model="conv 2 f3 | gap | fc 10", epochs=1, out=out, settings=[*SETTINGS, "input.size_px=8"]
    )
    api.train(asked, command=f"saccade train digits --out '{out.name}'")
    assert open_checkpoint(out / "checkpoint-best").manifest.origin.command == (
        r"saccade train digits --out 'run \udcff'"
    )


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_checkpoint_in_a_run_is_not_judged_on_what_training_saw(run: Path):
    for place in (run, run / "checkpoint-best", run / "checkpoint-last"):
        evaluation = api.evaluate([place], "digits")
        assert (evaluation.metrics.num_samples, evaluation.kind) == (359, "held-out")


def test_without_a_record_of_what_training_saw_no_image_is_called_held_out(saccade: Callable, run: Path):
    (run / "seen.safetensors").unlink()
    printed = saccade("evaluate", str(run), "digits").output
    assert " % of 1,797 images correct (95 % interval" in printed.splitlines()[0]
    assert (
        f"Nothing says which images {run} was trained on (seen.safetensors is not there): "
        "if some of these are among them, the figure flatters." in printed
    )


def test_a_damaged_record_of_what_training_saw_is_named(run: Path):
    (run / "seen.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError) as caught:
        api.evaluate([run], "digits")
    first, second = caught.value.message.splitlines()
    assert first == f"{run}/seen.safetensors is damaged: its content is not what was saved."
    assert second == (
        "It says what training saw. Put the file back from a copy; without it the figure is not of held-out images."
    )


def test_the_kept_weights_are_missed_before_a_run_is_judged_or_gone_on_with(run: Path):
    best = json.loads((run / "checkpoint-last" / "manifest.json").read_text())["training"]["best_epoch"]
    shutil.rmtree(run / "checkpoint-best")
    with pytest.raises(CheckpointError) as caught:
        resume(run)
    assert caught.value.message == (
        f"{run}/checkpoint-best is not there.\n"
        f"It kept epoch {best}, the best so far. Put the folder back from a copy, or start a new run with another "
        f"--out; {run}/checkpoint-last is whole and can be used as it is."
    )
    with pytest.raises(CheckpointError) as caught:
        api.evaluate([run], "digits")
    assert caught.value.message == (
        f"{run}/checkpoint-best, the weights that were kept, is not there.\n"
        f"The last checkpoint is whole: give {run}/checkpoint-last instead, or train again."
    )


def test_damaged_kept_weights_are_told_before_the_training_goes_on(run: Path):
    flip(run / "checkpoint-best" / "weights.safetensors")
    with pytest.raises(CheckpointError, match="is damaged: .*\n.*It kept epoch|It kept epoch"):
        resume(run)


def test_a_run_without_a_saved_state_does_not_begin_again_over_what_was_kept(run: Path):
    manifest = run / "checkpoint-best" / "manifest.json"
    epoch = json.loads(manifest.read_text())["epoch"]
    assert epoch > 1
    before = manifest.read_bytes()
    for name in ("checkpoint-last", "checkpoint-last.previous"):
        shutil.rmtree(run / name, ignore_errors=True)
    with pytest.raises(CheckpointError) as caught:
        resume(run)
    assert caught.value.message == (
        f"No saved state of {run} can be read, so it cannot be gone on with.\n"
        f"The weights of epoch {epoch}, its best, are whole: use them as they are, or start a new run with another "
        f"--out."
    )
    assert manifest.read_bytes() == before


def test_checkpoints_without_their_configuration_are_not_trained_over(run: Path):
    (run / "config.toml").unlink()
    for request in (
        api.TrainRequest(out=run, resume=True),
        api.TrainRequest(source="digits", epochs=1, out=run, settings=SETTINGS),
    ):
        with pytest.raises(CheckpointError) as caught:
            api.train(request)
        assert caught.value.message == (
            f"{run} holds checkpoints of a run, but not its config.toml.\n"
            f"Put that file back from a copy, or choose another place with --out."
        )


def test_an_edited_configuration_is_told(run: Path):
    text = (run / "config.toml").read_text()
    (run / "config.toml").write_text(text.replace("format = 3\n", "format = 3\noptimizer.learning_rate = 0.5\n"))
    assert (
        "config.toml is not what the run was saved with: it was edited, or Saccade or a plug-in of it changed. "
        "The run goes on with what the file says now"
    ) in resume(run)


def test_how_images_are_read_may_be_adjusted_and_another_machine_is_told(run: Path):
    told = resume(run, "loader.timeout_s=600", "loader.threads=2", "loader.on_bad_image=skip")
    assert told == [
        "only exact copies of training images could be looked for: the images are smaller than 16 px",
        "this run is finished (3 epochs) and is judged again; "
        "for more epochs, begin a new one: --epochs 6 and another --out",
    ]
    manifest = run / "checkpoint-last" / "manifest.json"
    assert '"CPU, 1 thread' in manifest.read_text()
    config = (run / "config.toml").read_text()
    (run / "config.toml").write_text(config.replace("num_threads = 1", "num_threads = 2"))
    assert any(
        note.startswith("the run was saved on: CPU, 1 thread, ") and "it goes on on: CPU, 2 threads, " in note
        for note in resume(run)
    )


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"!!!!\n", "line 1, column 1 is not JSON (Expecting value)"),
        (b"\xff\xfe\n", "byte 1 is not UTF-8 text"),
        (b"[1]\n", "it holds no JSON object"),
        (b'{"event": "epoch", "epoch": NaN}\n', "it holds NaN, which is not a JSON number"),
        (b'{"event": "epoch", "epoch": 1, "epoch": 2}\n', "it has the key 'epoch' twice"),
    ],
)
def test_a_damaged_log_spoils_the_report_and_nothing_else(saccade: Callable, run: Path, content: bytes, reason: str):
    log = run / "metrics.jsonl"
    log.write_bytes(content + log.read_bytes().split(b"\n", 1)[1])
    message = (
        f"{log} is damaged: line 1: {reason}.\n"
        f"Remove that line, or put the file back from a copy; the weights are not concerned."
    )
    finished = saccade("train", "--resume", "--out", str(run), "--quiet")
    assert finished.status == 0
    assert " held-out images correct" in finished.output
    assert finished.errors == f"note: the report could not be written: {message}\n"
    assert saccade("report", str(run)).errors == f"error: {message}\n"


def test_an_evaluation_of_other_images_is_no_report(run: Path):
    (run / "evaluation.json").write_text("{}")
    with pytest.raises(CheckpointError) as caught:
        api.report(run)
    assert caught.value.message == (
        f"{run}/evaluation.json is damaged: its keys are not those of the judged images.\n"
        f"Put the file back from a copy, or train again."
    )


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "model=resnet20",
            "'model' cannot be given by settings: a network is chosen with --model, and its recipe with it.",
        ),
        ("recipe=none", "'recipe' cannot be given by settings: a recipe is chosen with --recipe."),
        ("loader.lanes=2", "'loader.lanes' cannot be given by settings: the parts of a batch are scale.lanes."),
    ],
)
def test_values_that_an_option_chooses_are_not_set_past_it(setting: str, message: str):
    with pytest.raises(UsageError) as caught:
        api.TrainRequest(source="digits", settings=[setting]).config()
    assert caught.value.message == message


def test_a_stop_does_not_wait_for_a_file_that_hangs(monkeypatch: pytest.MonkeyPatch):
    from saccade.core.types import Preprocessing, Record
    from saccade.data.augmentation_policy import AugmentConfig
    from saccade.data.loading.loader import LoaderConfig, build_loader
    from saccade.data.source import DataSource

    class Hanging(DataSource):
        name, classes, digest = "hanging", ("a", "b"), "0"

        def __len__(self) -> int:
            return 4

        def record(self, index: int) -> Record:
            return Record(key=str(index), label=index % 2, split=None)

        def read(self, index: int) -> np.ndarray:
            assert let_go.wait(PATIENCE_S)
            return np.zeros((8, 8, 3), dtype=np.uint8)

    class Asked(Exception):
        pass

    def check() -> None:
        let_go.set()
        raise Asked

    let_go = threading.Event()
    pixels = Preprocessing(input_height_px=8, input_width_px=8, mean=(0.5,) * 3, std=(0.25,) * 3)
    loader: Loader = build_loader(Hanging(), np.arange(4), pixels, AugmentConfig(), LoaderConfig(batch_size=4), 0)
    with loader, pytest.raises(Asked):
        next(loader.epoch(0, check=check))


def test_files_that_turn_bad_in_a_run_are_told_and_logged(tmp_path: Path):
    from PIL import Image

    photos = tmp_path / "photos"
    generator = np.random.default_rng(0)
    for label in "ab":
        (photos / label).mkdir(parents=True)
        for number in range(60):
            Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8)).save(
                photos / label / f"{number}.png"
            )

    settings = [*SETTINGS, "loader.memory_limit_bytes=0", "loader.on_bad_image=skip", "split.test_fraction=0"]
    settings += ["split.validation_fraction=0", "stop.patience_epochs=1"]
    victim = photos / "a" / "7.png"

    class Damaging(Listener):
        """Damages a training image behind the first epoch."""

        def epoch(self, result: object) -> None:
            victim.write_bytes(b"no image")

    listener = Damaging()
    out = tmp_path / "run"
    api.train(api.TrainRequest(source=str(photos), epochs=2, out=out, settings=settings), listener)
    assert any(note.startswith("left out: a/7.png in epoch 2: ") for note in listener.notes)
    assert (
        "stop.patience_epochs is without effect: no image could be spared to tell a better epoch by" in listener.notes
    )
    dropped = [event for event in read_events(out / "metrics.jsonl") if event["event"] == "dropped"]
    assert [(event["key"], event["epoch"]) for event in dropped] == [("a/7.png", 2)]
