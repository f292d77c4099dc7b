"""`saccade drift`: the run's own held-out images as the reference; alarms where images changed, and only there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter
from scipy import stats

from saccade import api
from saccade.classify.classifier import open_member
from saccade.data.sources.digits import Digits
from saccade.evaluate.significance import holm
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.evaluation_files import read_verdict
from saccade.train.own_images import held_out_images

DIGITS = Digits()

PALE = "The accuracy that was measured may not hold for them."


@pytest.fixture(scope="session")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(a run on two thirds of the digits, a folder with the others, which it never sees)."""
    folder = tmp_path_factory.mktemp("halves")
    for index in range(1797):
        part = "others" if index % 3 == 2 else f"photos/{DIGITS.record(index).label}"
        place = folder / part / f"{index:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.read(index)).resize((32, 32), Image.Resampling.BICUBIC).save(place)
    out = folder / "run"
    api.train(api.TrainRequest(source=folder / "photos", epochs=3, out=out, settings=["runtime.num_threads=1"]))
    return out, folder / "others"


def changed(folder: Path, out: Path, change: Callable[[Image.Image], Image.Image], count: int = 120) -> Path:
    out.mkdir()
    for path in sorted(folder.iterdir())[:count]:
        change(Image.open(path)).save(out / path.name)
    return out


def test_the_reference_is_what_the_run_was_judged_on(halves: tuple[Path, Path]):
    run, _ = halves
    manifest = find_checkpoint(run).manifest
    held_out = held_out_images(run, manifest, "", 1)
    judged = read_verdict(run, manifest.classes)
    assert judged is not None
    verdict, outputs = judged
    assert [held_out.source.record(int(index)).key for index in held_out.index_N] == list(verdict.keys)
    np.testing.assert_array_equal(held_out.label_N, outputs.label_N)


def test_images_of_the_same_kind_raise_no_alarm_and_the_shares_are_those_of_predict(
    saccade: Callable, halves: tuple[Path, Path]
):
    run, others = halves
    done = saccade("drift", run, others, "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    assert (told["drifted"], told["num_new"]) == (False, 599)
    assert told["p_value"] > 0.05
    assert told["sentence"] == (
        f"The 599 new images look like the {told['num_reference']} that the run was judged on: no difference is found "
        f"(p = {told['p_value']:.3f}). Nothing speaks against the accuracy that was measured."
    )
    said = [answer.top(1)[0][0] for answer in api.predict(run, others)]
    for row in told["classes"]:
        assert row["new"] == pytest.approx(said.count(row["class"]) / 599)
        assert row["new_low"] <= row["new"] <= row["new_high"]
        assert not row["moved"]
    labels = [str(DIGITS.record(int(path.stem)).label) for path in sorted(others.iterdir())]
    truth = np.array([labels.count(row["class"]) / 599 for row in told["classes"]])
    low, high = (np.array([row[f"estimated_{end}"] for row in told["classes"]]) for end in ("low", "high"))
    assert ((low <= truth) & (truth <= high)).sum() >= 8  # of ten 95 % intervals
    p_K = [
        stats.fisher_exact(
            [
                [
                    round(row["reference"] * told["num_reference"]),
                    told["num_reference"] - round(row["reference"] * told["num_reference"]),
                ],
                [said.count(row["class"]), 599 - said.count(row["class"])],
            ]
        )[1]
        for row in told["classes"]
    ]
    np.testing.assert_allclose([row["p_value"] for row in told["classes"]], holm(np.array(p_K)), atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda image: image.filter(ImageFilter.GaussianBlur(2.5)),
        lambda image: image.point(lambda value: value * 0.5),
        lambda image: image.rotate(25),
    ],
    ids=["blurred", "darkened", "turned"],
)
def test_changed_images_are_told(
    saccade: Callable, halves: tuple[Path, Path], tmp_path: Path, change: Callable[[Image.Image], Image.Image]
):
    run, others = halves
    done = saccade("drift", run, changed(others, tmp_path / "changed", change))
    assert done.status == 0, done.errors
    first, second, *others_told = done.output.splitlines()
    assert first.startswith("The 120 new images do not look like the ")
    assert "(p = 0.001)" in first
    assert first.endswith(PALE)
    assert second.startswith("What changed most is how ")
    assert second.endswith(" % of them at least.")
    assert others_told[-2:] == [
        f"Next, choose some of them to label: saccade suggest {run} {tmp_path / 'changed'}",
        f"Then judge the run on those: saccade evaluate {run} LABELLED",
    ]


def test_random_halves_of_what_was_held_out_seldom_raise_an_alarm(halves: tuple[Path, Path]):
    """Whole runs of the command on samples of unseen images: p is uniform, so few of 12 lie below 0.05."""
    run, others = halves
    paths = sorted(others.iterdir())
    p_values = []
    for seed in range(12):
        drawn = np.random.default_rng(seed).permutation(len(paths))[:60]
        p_values.append(api.drift(run, [paths[place] for place in drawn], seed=seed).test.p_value)
    assert sum(p <= 0.05 for p in p_values) <= 3
    assert stats.kstest(p_values, "uniform").pvalue > 0.001


def test_a_class_that_is_met_more_often_is_named_with_its_share(
    saccade: Callable, halves: tuple[Path, Path], tmp_path: Path
):
    run, others = halves
    threes = [path for path in sorted(others.iterdir()) if DIGITS.record(int(path.stem)).label == 3]
    rest = [path for path in sorted(others.iterdir()) if path not in threes][:60]
    (tmp_path / "many").mkdir()
    for path in [*threes[:60], *rest]:
        shutil.copy(path, tmp_path / "many")
    done = saccade("drift", run, tmp_path / "many", "--json")
    told = {row["class"]: row for row in json.loads(done.output)["classes"]}
    assert told["3"]["moved"]
    assert told["3"]["estimated_low"] <= 0.5 <= told["3"]["estimated_high"]
    text = saccade("drift", run, tmp_path / "many").output
    assert "Answered more or less often: '3' " in text
    assert text.splitlines()[5].split()[0] == "3"  # the first row of the table
    assert "more, p < 0.001" in text.splitlines()[5]


def test_training_images_among_the_new_ones_are_told(saccade: Callable, halves: tuple[Path, Path]):
    run, _ = halves
    done = saccade("drift", run, run.parent / "photos" / "3", "--json")
    notes = json.loads(done.output)["notes"]
    assert len(notes) == 1
    assert "were used to train the run" in notes[0]


def test_too_few_images_are_refused(saccade: Callable, halves: tuple[Path, Path], tmp_path: Path):
    run, others = halves
    done = saccade("drift", run, others / "0002.png")
    assert (done.status, done.errors.splitlines()[-2:]) == (
        1,
        [
            "error: Whether images have changed shows in many of them: at least 20 new ones are needed, and there "
            "is 1.",
            "For single images, see what 'saccade predict' and 'saccade explain' say.",
        ],
    )
    (tmp_path / "empty").mkdir()
    done = saccade("drift", run, tmp_path / "empty")
    assert done.status == 1
    assert "and there are 0.\n" in done.errors


def test_a_bad_file_is_named_and_the_others_compared(saccade: Callable, halves: tuple[Path, Path], tmp_path: Path):
    run, others = halves
    folder = changed(others, tmp_path / "some", lambda image: image, 30)
    (folder / "bad.png").write_bytes(b"no image")
    done = saccade("drift", run, folder, "--json")
    assert done.status == 1
    assert json.loads(done.output)["num_new"] == 30
    assert done.errors.endswith("error: 1 of 31 could not be read; the others were compared.\n")


def test_a_source_that_has_moved_is_named_again_and_found_by_its_pixels(
    saccade: Callable, halves: tuple[Path, Path], tmp_path: Path
):
    run, others = halves
    moved = tmp_path / "run"
    shutil.copytree(run, moved)
    config = (moved / "config.toml").read_text().replace(str(run.parent / "photos"), str(tmp_path / "gone"))
    (moved / "config.toml").write_text(config)
    done = saccade("drift", moved, others)
    assert (done.status, done.errors.splitlines()[-1]) == (
        1,
        "If they lie elsewhere now, say where: --source SOURCE.",
    )
    renamed = tmp_path / "photos"
    for path in (run.parent / "photos").rglob("*.png"):
        place = renamed / path.parent.name / f"x{9999 - int(path.stem):04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, place)
    told = json.loads(saccade("drift", moved, others, "--source", renamed, "--json").output)
    before = json.loads(saccade("drift", run, others, "--json").output)
    assert told["num_reference"] == before["num_reference"]
    assert [row["reference"] for row in told["classes"]] == [row["reference"] for row in before["classes"]]


def test_held_out_images_that_were_changed_are_refused(saccade: Callable, halves: tuple[Path, Path], tmp_path: Path):
    run, others = halves
    photos = tmp_path / "photos"
    shutil.copytree(run.parent / "photos", photos)
    manifest = find_checkpoint(run).manifest
    held_out = held_out_images(run, manifest, "", 1)
    key = held_out.source.record(int(held_out.index_N[0])).key
    Image.new("L", (32, 32), 77).save(photos / key)
    done = saccade("drift", run, others, "--source", photos)
    assert (done.status, "\n".join(done.errors.splitlines()[-2:])) == (
        1,
        f"error: 1 image of {photos} is not what {run} was judged on: changed since then.\n"
        "Put them back, or say where they lie: --source SOURCE.",
    )
    done = saccade("drift", run, others, "--source", "digits")
    assert done.status == 1
    assert f"digits has none of the images that {run} was judged on.\n" in done.errors


def test_runs_without_a_source_or_held_out_images_say_so(saccade: Callable, halves: tuple[Path, Path], tmp_path: Path):
    _, others = halves
    picture_N = np.random.default_rng(0).integers(0, 256, (160, 16, 16)).astype(np.uint8)
    given = (picture_N, ["a", "b"] * 80)
    settings = ["runtime.num_threads=1"]
    api.train(api.TrainRequest(source=given, epochs=1, out=tmp_path / "given", settings=settings))
    done = saccade("drift", tmp_path / "given", others)
    assert done.status == 2
    assert done.errors.splitlines()[-1] == "Say where its images lie: --source SOURCE."
    assert api.drift(tmp_path / "given", list(picture_N), source=given).num_new == 160
    settings += ["split.test_fraction=0", "split.validation_fraction=0"]
    api.train(api.TrainRequest(source="digits", epochs=1, out=tmp_path / "all", settings=settings))
    done = saccade("drift", tmp_path / "all", others)
    assert done.status == 1
    assert done.errors.endswith("Train with a test part, or hold some out with --set split.test_fraction=0.2.\n")


def test_features_that_are_all_equal_show_no_drift(halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch):
    from saccade.models import penultimate

    run, others = halves
    monkeypatch.setattr(penultimate, "mean_over_positions", lambda feature: feature[:, :4] * 0 + 1)
    monkeypatch.setattr("saccade.survey.drift.MAX_PROBABILITIES", 0)
    found = api.drift(run, others)
    assert found.views == ("the probability of the answer",)


def test_a_checkpoint_folder_of_the_run_will_do(halves: tuple[Path, Path]):
    run, others = halves
    member = open_member(run / "checkpoint-best")
    assert member.classes == tuple("0123456789")
    assert api.drift(run / "checkpoint-best", others).num_new == 599


def test_of_many_images_as_many_as_are_tested_are_drawn_and_the_answers_of_all_count(
    saccade: Callable, halves: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
):
    run, others = halves
    all_of_them = json.loads(saccade("drift", run, others, "--json").output)
    monkeypatch.setattr("saccade.survey.drift.MAX_TESTED", 100)
    told = json.loads(saccade("drift", run, others, "--json").output)
    assert told["notes"] == ["The test looks at 100 images of a side that has more; the shares are of all."]
    assert (told["num_new"], told["classes"]) == (599, all_of_them["classes"])
    assert not told["drifted"]
    assert told["smallest_seen_difference"] > all_of_them["smallest_seen_difference"]
    assert json.loads(saccade("drift", run, others, "--json").output) == told
