"""Bad input gets one clear message of at most four lines, the right exit status, and leaves nothing behind."""

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import Program

from saccade.core import lock
from saccade.data.sources.shared.image_files import ENDINGS_SHOWN
from saccade.models.architecture import MODELS
from saccade.train.recipes import all_recipes

FAST = ["--epochs", "1", "--set", "runtime.num_threads=1"]


def picture(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A small good set: two classes of eight pictures."""
    for number in range(8):
        picture(tmp_path / "photos" / "cat" / f"{number}.png", number)
        picture(tmp_path / "photos" / "dog" / f"{number}.jpg", 100 + number)
    return tmp_path / "photos"


@pytest.fixture(autouse=True)
def _in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def check(finished, message: str, status: int) -> None:
    assert finished.errors.endswith(f"error: {message}\n"), finished.errors
    assert finished.status == status
    assert len(message.splitlines()) <= 4
    assert finished.output == ""
    assert "Traceback" not in finished.errors


def test_a_missing_folder(saccade: Callable, tmp_path: Path):
    check(
        saccade("train", "nowhere"),
        f"There is no file or folder 'nowhere' (looked in {tmp_path}).\n"
        "Give a folder with one sub-folder of images per class, or a built-in set: digits.",
        1,
    )
    assert not list(tmp_path.glob("runs/*"))


def test_an_empty_folder(saccade: Callable, tmp_path: Path):
    (tmp_path / "empty").mkdir()
    check(
        saccade("train", "empty"),
        "The folder empty holds no images.\n"
        "Put the images of each class into a sub-folder named after it, such as empty/cat and empty/dog.",
        1,
    )


def test_loose_images_without_classes(saccade: Callable, tmp_path: Path):
    picture(tmp_path / "loose" / "a.png", 0)
    check(
        saccade("train", "loose"),
        "The folder loose holds images but no sub-folders.\n"
        "Put the images of each class into a sub-folder named after it, such as loose/cat and loose/dog.",
        1,
    )


def test_one_class(saccade: Callable, tmp_path: Path):
    picture(tmp_path / "one" / "cat" / "a.png", 0)
    check(
        saccade("train", "one"),
        "The folder one has one class only, 'cat': there is nothing to tell apart.\n"
        "Add a sub-folder of images for at least one more class.",
        1,
    )


def test_an_empty_class(saccade: Callable, photos: Path):
    (photos / "bird").mkdir()
    check(
        saccade("train", "photos"),
        "The folder photos has classes without a single image: 'bird'.\n"
        "Add images to them, or remove the empty folders.",
        1,
    )


def test_a_class_with_one_image_trains_and_is_named(saccade: Callable, photos: Path):
    picture(photos / "bird" / "only.png", 7)
    finished = saccade("train", "photos", "--out", "run", *FAST)
    assert finished.status == 0
    assert "note: no test image of: bird (1 image)\n" in finished.errors
    assert "held-out images correct" in finished.output


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("empty.jpg", b"", "the file is empty (0 bytes)"),
        (
            "notes.jpg",
            b"Dear diary, today",
            "not an image that can be read (see 'saccade sources'): it begins with 'Dear diary, '",
        ),
        ("cut.jpg", None, "the image data end too early: the file is truncated"),
    ],
)
def test_a_bad_file_is_named_before_training(
    saccade: Callable, photos: Path, name: str, content: bytes | None, reason: str
):
    for number in range(100):  # one bad file is then less than 1 %
        (photos / "dog" / f"more-{number}.jpg").write_bytes((photos / "dog" / f"{number % 8}.jpg").read_bytes())
    good = (photos / "dog" / "0.jpg").read_bytes()
    (photos / "cat" / name).write_bytes(good[: len(good) // 2] if content is None else content)
    check(
        saccade("train", "photos"),
        f"photos: 1 of 117 images cannot be decoded.\ncat/{name}: {reason}.\n"
        "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip.",
        1,
    )
    finished = saccade("train", "photos", "--on-bad-image", "skip", "--out", "run", *FAST)
    assert finished.status == 0
    assert f"note: left out: cat/{name}: {reason}.\n" in finished.errors


def test_a_bad_file_is_named_before_it_is_judged_and_can_be_left_out(saccade: Callable, photos: Path, tmp_path: Path):
    assert saccade("train", "photos", "--out", "run", *FAST).status == 0
    for number in range(100):
        picture(tmp_path / "later" / ("cat", "dog")[number % 2] / f"{number}.png", 1_000 + number)
    (tmp_path / "later" / "cat" / "empty.jpg").write_bytes(b"")
    check(
        saccade("evaluate", "run", "later"),
        "later: 1 of 101 images cannot be decoded.\ncat/empty.jpg: the file is empty (0 bytes).\n"
        "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip.",
        1,
    )
    asked = ("--on-bad-image", "skip", "--label-errors", "suspects.csv", "--json")
    finished = saccade("evaluate", "run", "later", *asked)
    values = json.loads(finished.output)
    assert (finished.status, values["num_samples"]) == (0, 100)
    assert "left out: cat/empty.jpg: the file is empty (0 bytes)." in values["notes"]
    assert "1 file could not be read and was left out." in values["caveats"]
    assert (tmp_path / "suspects.csv").read_text().startswith("image,label,")
    told = saccade("evaluate", "run", "later", *asked[:-1]).output
    assert told.count("1 file could not be read and was left out.") == 2
    check(saccade("evaluate", "run", "later", "--on-bad-image", "drop"),
          "--on-bad-image must be error or skip, got 'drop'.", 2)  # fmt: skip


def test_more_than_one_percent_of_bad_files_is_too_many_to_skip(saccade: Callable, photos: Path):
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        (photos / "cat" / name).write_bytes(b"")
    check(
        saccade("train", "photos", "--on-bad-image", "skip"),
        "photos: 3 of 19 images cannot be decoded.\n"
        "cat/a.jpg: the file is empty (0 bytes); cat/b.jpg: the file is empty (0 bytes); and 1 more.\n"
        "3 of 19 (15.8 %) is above the 1 % that may be left out: repair or remove them.\n"
        "All of them are named by: saccade inspect photos",
        1,
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "lenet6"], "Unknown model 'lenet6'. Did you mean 'lenet5'? 'saccade models' lists all {models}."),
        (
            ["--recipe", "lenet"],
            "Unknown recipe 'lenet'. Did you mean 'lenet5'? 'saccade recipes' lists all {recipes}.",
        ),
        (["--set", "optimiser.name=sgd"], "Unknown key 'optimiser.name'. Did you mean 'optimizer.name'?"),
        (
            ["--set", "optimizer.name=sdg"],
            "--set: 'optimizer.name' must be one of: sgd, momentum, nesterov, rmsprop, adam, adamw, muon; not 'sdg'.",
        ),
        (["--epochs", "0"], "--epochs must be 1 or more, not 0."),
        (["--epochs", "many"], "--epochs must be a whole number, not 'many'.\nHelp: saccade train --help"),
        (["--epochs=9.5"], "--epochs must be a whole number, not 9.5.\nHelp: saccade train --help"),
        (["--epochs"], "Option '--epochs' requires an argument.\nHelp: saccade train --help"),
        (
            ["--set", "augment.policy=photo"],
            "'augment.policy' cannot be given by --set: a policy is chosen with --policy; "
            "'saccade augmentations' lists them.",
        ),
    ],
)
def test_an_unknown_name_or_value_gets_the_nearest(saccade: Callable, arguments: list[str], message: str):
    expected = message.format(models=len(MODELS.names()), recipes=len(all_recipes()))
    check(saccade("train", "digits", *arguments), expected, 2)


def test_an_unknown_option_is_a_usage_error(saccade: Callable):
    finished = saccade("train", "digits", "--modell", "x")
    assert finished.status == 2
    assert "No such option" in finished.errors
    assert "Traceback" not in finished.errors


def test_without_a_command_the_help_is_shown_and_no_error(saccade: Callable):
    asked, finished = saccade("--help"), saccade()
    assert (asked.status, finished.status) == (0, 2)
    assert finished.output == asked.output
    assert finished.output.startswith("Usage: saccade ")
    assert finished.errors == ""


def test_a_place_that_cannot_be_written(saccade: Callable, tmp_path: Path):
    if os.geteuid() == 0:
        place = Path("/sys/saccade-run")
    else:
        (tmp_path / "locked").mkdir(mode=0o555)
        place = tmp_path / "locked" / "run"
    denied = "it may not be written by you.\nChoose another place, or change the permissions."
    shown = "no files are kept there, it shows the system.\nChoose another place."
    why = shown if os.geteuid() == 0 else denied
    check(saccade("train", "digits", "--out", place, *FAST), f"Cannot write {place}: {why}", 1)


def test_a_run_that_is_there_already(saccade: Callable, tmp_path: Path):
    assert saccade("train", "digits", "--out", "run", *FAST).status == 0
    check(
        saccade("train", "digits", "--out", "run", *FAST),
        "run already holds a run.\nGo on with it by --resume, or choose another place with --out.",
        1,
    )
    check(
        saccade("train", "--out", "run", "--resume", "--seed", "7"),
        "A resumed run goes on as it began: seed was 0, now 7.\n"
        "Leave that option out, or start a new run with another --out.",
        2,
    )
    finished = saccade("train", "--out", "run", "--resume")
    assert finished.status == 0
    assert "held-out images correct" in finished.output


@pytest.mark.parametrize("arguments", [["--resume"], ["digits"]])
def test_a_run_that_another_process_holds_is_told_before_its_images_are_read(
    saccade: Callable, tmp_path: Path, arguments: list[str]
):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "config.toml").write_text("")
    with lock.exclusive(Path("run")):
        since = json.loads((tmp_path / "run" / lock.LOCK_NAME).read_text())["since"]
        check(
            saccade("train", *arguments, "--out", "run"),
            f"The run run is in use by process {os.getpid()} since {since}.\n"
            "Wait until it ends, stop it, or choose another place with --out.",
            1,
        )


def test_resuming_what_is_not_there(saccade: Callable):
    check(
        saccade("train", "digits", "--out", "run", "--resume"),
        "There is no run to resume in run.\nLeave out --resume to start one there, or check --out.",
        1,
    )
    check(
        saccade("train", "--resume"),
        "Say which run to resume: saccade train --resume --out RUN, for example --out runs/digits-lenet5-1.",
        2,
    )


def test_a_loss_that_is_not_finite_names_step_layer_and_remedy(saccade: Callable, tmp_path: Path):
    finished = saccade(
        "train", "digits", "--out", "run", *FAST, "--set", "optimizer.learning_rate=1e20", "--set", "optimizer.name=sgd"
    )
    assert finished.status == 1
    lines = finished.errors[finished.errors.index("error: ") :].splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("error: The loss is not finite at step ")
    assert "learning rate" in lines[0]
    assert "not finite" in lines[1]
    assert lines[2] == "Nothing bad was saved, and no checkpoint before it."
    assert lines[3].startswith("Lower the rate, for example --set optimizer.learning_rate=")


def test_predicting_without_a_run_or_with_bad_files(saccade: Callable, photos: Path, tmp_path: Path):
    check(
        saccade("predict", "runs/none", "photos"),
        "The run runs/none is not there.\nGive the folder that 'saccade train' printed, such as runs/digits-lenet5-1.",
        1,
    )
    assert saccade("train", "photos", "--out", "run", *FAST).status == 0
    check(
        saccade("predict", "run"),
        "predict needs a run and images: saccade predict run PHOTO.jpg",
        2,
    )
    check(
        saccade("predict", "run", "nothing.jpg"),
        "nothing.jpg: cannot be read: No such file or directory.",
        1,
    )
    assert saccade("predict", "run", "nothing.jpg", "none.jpg").errors.endswith(
        "error: nothing.jpg: cannot be read: No such file or directory.\n"
        "error: none.jpg: cannot be read: No such file or directory.\n"
        "error: None of 2 could be read.\n"
    )
    (tmp_path / "documents").mkdir()
    for name in ("a.docx", "b.docx", "photos.zip"):
        (tmp_path / "documents" / name).write_bytes(b"x")
    finished = saccade("predict", "run", "documents")
    assert (finished.status, finished.output) == (1, "")
    assert finished.errors.endswith(
        "error: documents: the folder holds no images; 3 files passed over: 2 .docx, 1 .zip; unpack photos.zip first "
        f"(endings looked for: {ENDINGS_SHOWN}).\n"
    )
    check(
        saccade("predict", "run", ""),
        "An image, folder or source has an empty name: ''.\nIs a variable of the shell empty?",
        2,
    )
    finished = saccade("predict", "run", "nothing.jpg", "photos/cat/0.png")
    assert (finished.status, finished.output.count("photos/cat/0.png")) == (1, 1)  # the others are answered
    assert finished.errors.endswith("error: 1 of 2 could not be read; 1 was answered.\n")
    (photos / "cat" / "bad.jpg").write_bytes(b"")
    finished = saccade("predict", "run", "photos")
    assert finished.status == 1
    assert finished.output.count("photos/") == 16
    assert "error: photos/cat/bad.jpg: the file is empty (0 bytes).\n" in finished.errors


def test_evaluating_on_classes_the_run_does_not_know(saccade: Callable, photos: Path, tmp_path: Path):
    assert saccade("train", "photos", "--out", "run", *FAST).status == 0
    picture(tmp_path / "other" / "cat" / "x.png", 50)
    picture(tmp_path / "other" / "horse" / "x.png", 51)
    check(
        saccade("evaluate", "run", "other"),
        "The run does not know 'horse': it cannot be right on images of it.\n"
        "Rename the folders of the images to the run's class names, or judge on images of its classes only.",
        1,
    )
    check(
        saccade("evaluate", "run"),
        "evaluate needs a run and a source: saccade evaluate run SOURCE",
        2,
    )


def test_a_run_among_the_files_of_the_current_folder_is_refused(saccade: Callable, tmp_path: Path):
    check(
        saccade("train", "digits", "--out", ""),
        "--out is empty, or the current folder, among whose files a run's would lie.\n"
        "Name a folder of its own, such as --out runs/first.",
        2,
    )


def test_training_goes_on_when_the_reader_of_its_progress_has_gone(tmp_path: Path):
    command = ["-m", "saccade", "train", "digits", "--out", "run", *FAST]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        ended = Program(command, tmp_path, stderr=writing).communicate()
    finally:
        os.close(writing)
    assert ended.returncode == 0
    assert " held-out images correct" in ended.stdout


def test_a_place_that_may_not_be_read_is_told_without_a_traceback(saccade: Callable, monkeypatch: pytest.MonkeyPatch):
    def denied(*_: object) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), "runs/theirs/export")

    monkeypatch.setattr("saccade.api.export", denied)
    Path("runs/theirs").mkdir(parents=True)
    check(
        saccade("export", "runs/theirs"),
        "runs/theirs/export may not be read or written: Permission denied.\n"
        "Name a place of your own, or ask its owner; 'ls -ld' shows who that is.",
        1,
    )
