"""Asked about images that a run was trained on, `predict` says how many: in text, in JSON and beside a CSV file."""

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.classify import seen_images
from saccade.classify.classifier import Classifier
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.runs.seen import look_up_seen

NUM = 30  # images of a class
SHOWN = "such answers do not show how good it is."


def picture(seed: int, size: tuple[int, int]) -> Image.Image:
    """A picture of blurred noise, (width, height)."""
    rough = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return Image.fromarray(cv2.resize(rough, size, interpolation=cv2.INTER_CUBIC))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photographs that are decoded smaller than they are, plain ones, and tiny ones of 8 pixels, in two classes."""
    folder = tmp_path_factory.mktemp("images") / "photos"
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for number in range(NUM):
            seed = number + NUM * (name == "dog")
            picture(seed, (300, 240)).save(folder / name / f"large-{number}.jpg", quality=90)
            picture(1000 + seed, (8, 8)).save(folder / name / f"tiny-{number}.png")
            Image.new("RGB", (200, 200), (seed, 2 * seed, 100)).save(folder / name / f"plain-{number}.jpg")
    return folder


@pytest.fixture(scope="module")
def run(photos: Path) -> Path:
    out = photos.parent / "run"
    settings = ["runtime.num_threads=1", "split.validation_fraction=0.2"]  # enough to tell what is unlike training
    api.train(api.TrainRequest(source=str(photos), epochs=1, out=out, settings=settings))
    return out


def seen_by_evaluate(run: Path, source: Path) -> int:
    """How many images `evaluate` would leave out, which reads and compares all of them whole."""
    seen, scan = look_up_seen(run), scan_source(open_source(str(source)), 1, "error")
    return int((seen.equal(scan) | seen.near(scan)).sum())


def caveats(saccade: Callable, *arguments: object) -> list[str]:
    finished = saccade("predict", *arguments, "--json")
    assert finished.status == 0, finished.errors
    answer = json.loads(finished.output)
    assert answer["notes"][-len(answer["caveats"]) :] == answer["caveats"] or not answer["caveats"]
    return answer["caveats"]


def test_images_of_training_are_counted_as_evaluate_counts_them(saccade: Callable, run: Path, photos: Path):
    num_seen = seen_by_evaluate(run, photos)
    assert 100 < num_seen < 6 * NUM  # the test part is not among them
    were = "were used to train the run, or are nearly the same as some that were"
    told = f"{num_seen} of the {6 * NUM} images {were}: {SHOWN}"
    (said,) = caveats(saccade, run, photos)
    why = "called unlike training all the same, being far from all others that were seen there."
    assert re.fullmatch(rf"{re.escape(told)}( \d+ of these (is|are) {re.escape(why)})?", said)
    finished = saccade("predict", run, photos)
    assert finished.errors == f"note: {said}\n"
    assert saccade("predict", run, photos, "--quiet").errors == ""


def test_answers_in_a_file_are_told_of_too(saccade: Callable, run: Path, photos: Path, tmp_path: Path):
    told = caveats(saccade, run, photos)
    finished = saccade("predict", run, photos, "--csv", tmp_path / "answers.csv", "--json")
    assert json.loads(finished.output)["caveats"] == told
    finished = saccade("predict", run, photos, "--csv", tmp_path / "again.csv")
    assert finished.errors == f"note: {told[0]}\n"


def test_a_picture_saved_again_is_known_and_a_new_one_is_not(
    saccade: Callable, run: Path, photos: Path, tmp_path: Path
):
    trained = look_up_seen(run).parts()
    source = open_source(str(photos))
    scan = scan_source(source, 1, "error")
    names = [source.record(index).key for index in range(len(source))]
    large = [
        name
        for name, digest in zip(names, scan.pixel_digest_N, strict=True)
        if "large" in name and trained[digest.tobytes()] != {"test"}
    ]
    image = Image.open(photos / large[0])
    image.resize((150, 120)).save(tmp_path / "smaller.jpg", quality=80)
    assert caveats(saccade, run, tmp_path / "smaller.jpg") == [
        f"The image was used to train the run, or is nearly the same as one that was: {SHOWN}"
    ]
    picture(5000, (300, 240)).save(tmp_path / "new.jpg")
    Image.new("RGB", (200, 200), (250, 3, 7)).save(tmp_path / "plain.jpg")
    picture(5001, (8, 8)).save(tmp_path / "tiny.png")
    new = [tmp_path / name for name in ("new.jpg", "plain.jpg", "tiny.png")]
    assert caveats(saccade, run, *new) == []
    assert caveats(saccade, run, run.parent / "run", tmp_path / "smaller.jpg", *new) == [
        f"1 of the 4 images was used to train a run, or is nearly the same as one that was: {SHOWN}"
    ]


def test_arrays_from_python_are_told_of_where_somebody_listens(run: Path, photos: Path):
    path = next(iter(sorted((photos / "cat").glob("large-*.jpg"))))
    told: list[str] = []
    pixels_HWC = np.asarray(Image.open(path))
    answers = list(api.predict(run, [pixels_HWC, path], note=told.append))
    assert len(answers) == 2
    by_file: list[str] = []
    list(api.predict(run, path, note=by_file.append))
    assert len(told) == len(by_file)
    assert "2 of the 2 images" in told[0] if by_file else not told


@pytest.mark.parametrize("fault", ["missing", "damaged"])
def test_a_run_of_which_nothing_says_what_it_saw_still_answers(
    saccade: Callable, run: Path, photos: Path, tmp_path: Path, fault: str
):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    record = copy / "seen.safetensors"
    why = "seen.safetensors is not there"
    if fault == "missing":
        record.unlink()
    else:
        record.write_bytes(record.read_bytes()[:-1] + b"?")
        why = f"{record} is damaged: its content is not what was saved"
    assert caveats(saccade, copy, photos / "cat") == [
        f"Nothing says which images {copy} was trained on ({why}): some of these may be among them."
    ]


def test_runs_that_share_their_images_keep_them_once(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    copy = Path(shutil.copytree(run, tmp_path / "copy"))
    made: list[int] = []
    monkeypatch.setattr(seen_images, "KnownPictures", lambda thumbnail_KP: made.append(len(thumbnail_KP)))
    seen_images.SeenImages([run, copy])
    assert len(made) == 1


def test_an_image_of_training_that_is_told_to_be_unlike_training_is_explained(
    saccade: Callable, run: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def all_unlike(self: Classifier, *arguments: Any) -> Any:
        answers = answer(self, *arguments)
        return replace(answers, unlike_B=np.ones(len(answers.probability_BK), bool))

    answer = Classifier.answer
    monkeypatch.setattr(Classifier, "answer", all_unlike)
    picture(5002, (300, 240)).save(tmp_path / "new.jpg")
    trained = look_up_seen(run).parts()
    source = open_source(str(photos))
    digests = scan_source(source, 1, "error").pixel_digest_N
    seen = next(index for index, digest in enumerate(digests) if trained[digest.tobytes()] == {"train"})
    known = photos / source.record(seen).key
    why = "called unlike training all the same, being far from all others that were seen there."
    (alone,) = caveats(saccade, run, known)
    assert alone == f"The image was used to train the run, or is nearly the same as one that was: {SHOWN} It is {why}"
    (beside,) = caveats(saccade, run, tmp_path / "new.jpg", known)
    was = "1 of the 2 images was used to train the run, or is nearly the same as one that was"
    assert beside == f"{was}: {SHOWN} 1 of these is {why}"
