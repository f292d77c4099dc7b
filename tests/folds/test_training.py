"""Training with folds: each image judged once by a model that has not seen it, one run for use, resumed anywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from safetensors.numpy import load_file
from scipy.stats import binomtest
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, confusion_matrix

from saccade import api
from saccade.core.errors import CheckpointError, UsageError
from saccade.train.cross_validated import shared_sentence

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=64"]
NUM_IMAGES = 360
RUNS = ("folds/fold-1", "folds/fold-2", "folds/fold-3", ".")


def request(source: Path, out: Path, **changes: object) -> api.TrainRequest:
    values = {"source": source, "epochs": 1, "out": out, "folds": 3, "seed": 5, "settings": SETTINGS}
    return api.TrainRequest(**(values | changes))


def weights(run: Path) -> dict[str, np.ndarray]:
    return load_file(run / "checkpoint-best" / "weights.safetensors")


def seen_parts(run: Path) -> list[int]:
    """How many images the run learned from, chose its epoch by, and was judged on by itself."""
    return np.bincount(load_file(run / "seen.safetensors")["part_N"], minlength=3).tolist()


def assert_equal_runs(first: Path, second: Path) -> None:
    for name in RUNS:
        a, b = weights(first / name), weights(second / name)
        assert a.keys() == b.keys()
        assert all((a[key] == b[key]).all() for key in a)
    a, b = (load_file(run / "evaluation.safetensors") for run in (first, second))
    assert all((a[key] == b[key]).all() for key in a)
    assert (first / "folds.json").read_text() == (second / "folds.json").read_text()


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first handwritten digits, one folder a class."""
    folder, digits = tmp_path_factory.mktemp("folds") / "digits", load_digits()
    for number in range(NUM_IMAGES):
        path = folder / str(digits.target[number]) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), (digits.images[number] * 15).astype(np.uint8))
    return folder


class Told(api.Silent):
    """Keeps what it is told."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def begin(self, lines: list[str]) -> None:
        self.lines += lines

    def note(self, text: str) -> None:
        self.lines.append(text)


@pytest.fixture(scope="module")
def told() -> Told:
    return Told()


@pytest.fixture(scope="module")
def result(source: Path, told: Told, tmp_path_factory: pytest.TempPathFactory) -> api.TrainResult:
    return api.train(request(source, tmp_path_factory.mktemp("run") / "run"), told)


@pytest.fixture(scope="module")
def run(result: api.TrainResult) -> Path:
    return result.run_dir


def test_every_image_is_judged_once_by_a_run_that_was_not_trained_on_it(run: Path):
    judged = [load_file(run / name / "evaluation.safetensors")["index_N"].tolist() for name in RUNS[:3]]
    assert sorted(sum(judged, [])) == list(range(NUM_IMAGES))
    for name, indices in zip(RUNS, judged, strict=False):
        seen = load_file(run / name / "seen.safetensors")
        assert (seen["part_N"] == 2).sum() == len(indices)
        rows = {row.tobytes() for row in seen["pixels_NB"][seen["part_N"] < 2]}
        assert len(rows) == NUM_IMAGES - len(indices)
    own = load_file(run / "seen.safetensors")
    assert ((own["part_N"] < 2).sum(), (own["part_N"] == 2).sum()) == (NUM_IMAGES, 0)


def test_the_figure_is_that_of_all_images_with_wilsons_interval(run: Path, result: api.TrainResult):
    parts = [load_file(run / name / "evaluation.safetensors") for name in RUNS[:3]]
    logits_NK = np.concatenate([part["logits_NK"] for part in parts])
    index_N = np.concatenate([part["index_N"] for part in parts])
    label_N = np.sort(load_digits().target[:NUM_IMAGES])[index_N]  # a folder's images come class by class
    said_N = logits_NK.argmax(axis=1)
    metrics = result.judgement.metrics
    assert metrics.num_samples == NUM_IMAGES
    assert metrics.top1 == pytest.approx(accuracy_score(label_N, said_N))
    assert (metrics.confusion_KK == confusion_matrix(label_N, said_N)).all()
    interval = binomtest(int((label_N == said_N).sum()), NUM_IMAGES).proportion_ci(method="wilson")
    assert (metrics.top1_low, metrics.top1_high) == pytest.approx((interval.low, interval.high))
    whole = load_file(run / "evaluation.safetensors")
    assert (whole["index_N"] == np.arange(NUM_IMAGES)).all()
    assert (whole["logits_NK"][index_N] == logits_NK).all()


def test_the_folds_are_told_each_with_how_they_differ(run: Path, saccade: Callable):
    finished = saccade("train", "--resume", "--out", run, "--json")
    assert finished.status == 0, finished.errors
    found = json.loads(finished.output)
    assert (found["split"], found["num_samples"]) == ("folds", NUM_IMAGES)
    folds = found["folds"]
    assert (folds["num_folds"], folds["num_samples"], folds["top1"]) == (3, NUM_IMAGES, found["top1"])
    rates = []
    for name, fold in zip(RUNS, folds["each"], strict=False):
        outputs = load_file(run / name / "evaluation.safetensors")
        rates.append(float((outputs["logits_NK"].argmax(axis=1) == outputs["label_N"]).mean()))
        assert (fold["run"], fold["num_samples"]) == (name, len(outputs["label_N"]))
        assert fold["num_train"] == seen_parts(run / name)[0]
        assert fold["top1"] == pytest.approx(rates[-1])
        assert fold["frozen"] is None
    assert (folds["lowest"], folds["highest"]) == pytest.approx((min(rates), max(rates)))
    assert folds["standard_deviation"] == pytest.approx(np.std(rates, ddof=1))
    assert folds["verdict"].startswith(
        f"{100 * found['top1']:.1f} % of 360 images correct, each judged by a model that has not seen it (95 % "
    )
    learned = [fold["num_train"] for fold in folds["each"]]
    sizes = [fold["num_samples"] for fold in folds["each"]]
    by_chance = 100 * np.sqrt(np.mean([found["top1"] * (1 - found["top1"]) / size for size in sizes]))
    assert folds["notes"] == [
        f"This estimates the model of this run by cross-validation: 3 models like it, each trained on {min(learned)} "
        f"images or more where it has {seen_parts(run)[0]}, were judged on images that they had not seen. The estimate "
        f"is rather too low than too high.",
        f"The folds lie between {100 * min(rates):.1f} and {100 * max(rates):.1f} % (standard deviation "
        f"{100 * np.std(rates, ddof=1):.1f} points; chance alone gives {by_chance:.1f} in folds of {min(sizes)} "
        f"images). Their models share about half of their images, so neither this nor the interval says what other "
        f"training images or another seed would change.",
    ]
    assert found["caveats"][:2] == folds["notes"]


def test_the_run_is_one_for_every_verb_and_says_what_its_figure_is(run: Path, source: Path, saccade: Callable):
    text = saccade("train", "--resume", "--out", run)
    assert ", each judged by a model that has not seen it (95 % interval " in text.output.splitlines()[0]
    assert text.output.splitlines()[1].startswith("This estimates the model of this run by cross-validation: ")
    page = (run / "report.html").read_text()
    assert "of 360 cross-validated images correct" in page
    assert "folds/fold-3" in page
    assert "held-out images correct" not in page
    assert saccade("predict", run, source / "3").status == 0
    own = saccade("evaluate", run, source, "--json")
    assert own.status == 0, own.errors
    verdict = json.loads((run / "folds.json").read_text())["verdict"]
    assert f"Its folds gave, when it was trained: {verdict}" in json.loads(own.output)["caveats"]


class Killed(BaseException):
    """Ends a training as abruptly as a test can without ending the process."""


class Killer(api.Silent):
    """Kills at the `at`-th step of all runs together."""

    def __init__(self, at: int) -> None:
        self.left = at

    def step(self, epoch: int, batch: int, num_batches: int, means: object) -> None:
        self.left -= 1
        if not self.left:
            raise Killed


def test_each_fold_tells_its_figure_as_it_comes_and_no_line_twice(run: Path, told: Told):
    for number in (1, 2, 3):
        judged = load_file(run / "folds" / f"fold-{number}" / "evaluation.safetensors")
        is_right_N = judged["logits_NK"].argmax(axis=1) == judged["label_N"]
        words = f"fold {number} of 3: {100 * is_right_N.mean():.1f} % of {len(is_right_N)} images correct"
        assert told.lines.count(words) == 1
    assert [line for line in told.lines if told.lines.count(line) > 1] == []
    assert sum(line.startswith("run     ") for line in told.lines) == 4
    assert sum(line.startswith("model   ") for line in told.lines) == 1


def test_what_needs_images_that_were_held_out_names_the_way(run: Path, source: Path, tmp_path: Path):
    with pytest.raises(UsageError) as drift:
        api.drift(run, source)
    assert drift.value.message == (
        f"{run} learned from all its images; its folds judged it, and it held none out.\n"
        f"Ask a run of a fold, which held its images out: {run}/folds/fold-1."
    )
    with pytest.raises(UsageError) as more:
        api.add_class(run, source / "0", tmp_path / "new")
    assert more.value.message == (
        f"{run} learned from all its images; its folds judged it, and it held none out to judge it with further "
        f"classes.\nPut all classes into one folder, and train again: saccade transfer FOLDER --folds 3."
    )
    assert not (tmp_path / "new").exists()
    fold = run / "folds" / "fold-1"
    assert api.drift(fold, source).num_reference == seen_parts(fold)[2]


@pytest.mark.parametrize("at", [1, 6, 15])
def test_killed_in_any_run_it_goes_on_to_the_same_bits(run: Path, source: Path, tmp_path: Path, at: int):
    with pytest.raises(Killed):
        api.train(request(source, tmp_path / "run"), Killer(at))
    finished = [name for name in RUNS[:3] if (tmp_path / "run" / name / "evaluation.json").exists()]
    times = {name: (tmp_path / "run" / name / "evaluation.json").stat().st_mtime_ns for name in finished}
    api.train(api.TrainRequest(out=tmp_path / "run", resume=True))
    assert_equal_runs(run, tmp_path / "run")
    assert all((tmp_path / "run" / name / "evaluation.json").stat().st_mtime_ns == times[name] for name in finished)


def test_a_run_whose_folds_are_not_finished_says_so_and_a_fold_that_judged_others_is_refused(
    run: Path, source: Path, tmp_path: Path, saccade: Callable
):
    begun = tmp_path / "run"
    shutil.copytree(run, begun)
    for path in begun.iterdir():
        if path.name != "folds":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    finished = saccade("predict", begun, source / "3" / "0003.png")
    assert (finished.status, finished.errors) == (
        1,
        f"error: The run {begun} has no network yet: it is trained once its folds are judged.\n"
        f"Go on with it by --resume: saccade train, or transfer, --resume --out {begun}\n",
    )
    shutil.rmtree(begun / "folds" / "fold-2")
    shutil.copytree(begun / "folds" / "fold-1", begun / "folds" / "fold-2")
    with pytest.raises(CheckpointError) as error:
        api.train(api.TrainRequest(out=begun, resume=True))
    assert str(error.value) == (
        f"{begun}/folds/fold-2 was judged on other images, or by other labels, than those of its fold.\n"
        f"Put the images back as they were, or start a new run with another --out."
    )


def test_other_images_than_it_began_with_are_refused(run: Path, source: Path, tmp_path: Path):
    mine = tmp_path / "digits"
    shutil.copytree(source, mine)
    with pytest.raises(Killed):
        api.train(request(mine, tmp_path / "run"), Killer(6))
    (mine / "3" / "0003.png").unlink()
    for settings in ([], ["loader.on_bad_image=skip"]):
        with pytest.raises(CheckpointError) as error:
            api.train(api.TrainRequest(out=tmp_path / "run", resume=True, settings=settings))
        assert str(error.value) == (
            f"The images in {mine} are not those this run was begun with, and its folds may not be dealt out anew.\n"
            f"Put the images back as they were, or start a new run with another --out."
        )


def test_without_its_folds_folder_the_run_is_whole(run: Path, tmp_path: Path, saccade: Callable):
    alone = tmp_path / "alone"
    shutil.copytree(run, alone)
    shutil.rmtree(alone / "folds")
    assert saccade("report", alone).status == 0
    assert "folds/fold-3" in (alone / "report.html").read_text()


def test_what_does_not_fit_is_refused_in_words(run: Path, source: Path, tmp_path: Path, saccade: Callable):
    for number in (1, 21, -2):
        with pytest.raises(UsageError) as error:
            api.train(request(source, tmp_path / "one", folds=number))
        assert str(error.value) == f"--folds takes 2 to 20, got {number}; 5 is usual."
    with pytest.raises(UsageError) as error:
        api.train(request(source, run, resume=True, folds=4))
    assert str(error.value) == (
        "A resumed run goes on as it began: it has 3 folds, now 4.\n"
        "Leave --folds out, or start a new run with another --out."
    )
    taken = (
        f"{run} already holds a run with folds.\nGo on with it: saccade train --resume --out {run}\n"
        f"Or choose another place with --out."
    )
    for folds in (0, 3):
        with pytest.raises(CheckpointError) as begun:
            api.train(request(source, run, folds=folds))
        assert str(begun.value) == taken
    with pytest.raises(UsageError) as error:
        api.train(api.TrainRequest(out=tmp_path, resume=True, folds=3))
    assert str(error.value) == (
        "A run with folds has them from its beginning: --folds goes with --resume only where it began with it.\n"
        "Leave --folds out, or say which run: saccade train --resume --out RUN"
    )
    both = saccade("train", "digits", "--folds", "3", "--ensemble", "2", "--out", tmp_path / "both")
    assert (both.status, both.errors) == (
        2,
        "error: --folds and --ensemble each train several runs, and for another purpose: leave one out.\n"
        "--folds judges one model on all images; --ensemble makes several answer together.\n",
    )
    other = saccade("transfer", "--resume", "--out", run)
    assert (other.status, other.errors) == (
        2,
        f"error: {run} was begun by saccade train.\nGo on with: saccade train --resume --out {run}\n",
    )
    direct = saccade("train", "digits", "--set", "split.folds=3", "--out", tmp_path / "direct")
    assert (direct.status, direct.errors) == (
        2,
        "error: 'split.folds' cannot be given by --set: folds are asked for with --folds.\n",
    )
    part = saccade("train", "digits", "--folds", "3", "--set", "split.test_fraction=0.3", "--out", tmp_path / "part")
    assert (part.status, part.errors) == (
        2,
        "error: With --folds no part is held out, so split.test_fraction would change nothing.\n"
        "Leave one of them out.\n",
    )
    assert not [path for path in tmp_path.iterdir() if path.is_dir()]


@pytest.mark.parametrize("num_folds", range(2, 21))
def test_how_much_the_models_share_is_said_as_it_is(num_folds: int):
    """Counted: the models of two folds both learn from the images of all other folds."""
    learned = [{fold for fold in range(num_folds) if fold != judged} for judged in range(num_folds)]
    share = len(learned[0] & learned[1]) / len(learned[0])
    told = shared_sentence(num_folds)
    assert ("share most of their images" in told) == (share > 0.5)
    assert ("share about half of their images" in told) == (share == 0.5)
    assert ("that one model learned from judge the other" in told) == (share == 0)
