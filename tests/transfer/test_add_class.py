"""`saccade add-class`: a class more by kept features, judged on all, and the old ones compared on the same images."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.classify.asked_images import asked_images
from saccade.data.left_out import PassedOver
from saccade.data.sources.digits import Digits
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.seen import read_seen

DIGITS = Digits()

OLD = tuple(str(digit) for digit in range(8))


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `photos` (the digits 0 to 7), `more/8`, `more/9`, and `run`, trained on the photos."""
    folder = tmp_path_factory.mktemp("made")
    for index in range(600):
        name = str(DIGITS.record(index).label)
        place = folder / ("photos" if name in OLD else "more") / name / f"{index:04d}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(DIGITS.read(index)).resize((32, 32), Image.Resampling.BICUBIC).save(place)
    settings = ["runtime.num_threads=1"]
    api.train(api.TrainRequest(source=folder / "photos", epochs=4, out=folder / "run", settings=settings))
    return folder


@pytest.fixture(scope="session")
def grown(made: Path) -> api.AddedClasses:
    """The run of `made` with the class 8; its features are kept in `cache`."""
    return api.add_class(made / "run", made / "more" / "8", out=made / "grown", cache=made / "cache")


@pytest.fixture
def here(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return made


def test_a_class_is_added_and_all_are_judged(saccade: Callable, here: Path):
    done = saccade("add-class", here / "run", here / "more" / "8", "--out", "grown", "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    manifest = find_checkpoint(Path("grown")).manifest
    assert manifest.classes == (*OLD, "8")
    assert told["added"] == ["8"]
    assert told["top1"] > 0.85
    assert told["frozen"] == "all"
    assert {row["class"]: row["recall"] for row in told["per_class"]}["8"] > 0.7
    # the old classes, by an independent count of both runs' answers on the images that the old run was judged on
    verdict = json.loads((here / "run" / "evaluation.json").read_text())
    keys = [here / "photos" / key for key in verdict["keys"]]
    right = {
        run: np.array([answer.top(1)[0][0] == key.parent.name for key, answer in zip(keys, api.predict(run, keys))])
        for run in (here / "run", Path("grown"))
    }
    change = told["old_classes_change"]
    assert change["num_samples"] == len(keys)
    assert change["difference"] == pytest.approx(right[Path("grown")].mean() - right[here / "run"].mean())
    assert [row["class"] for row in told["old_classes"]] == list(OLD)
    assert sum(row["right_before"] for row in told["old_classes"]) == right[here / "run"].sum()
    assert sum(row["right_after"] for row in told["old_classes"]) == right[Path("grown")].sum()


def test_no_image_changes_sides_and_the_run_stays_as_it_was(here: Path):
    before = {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()}
    api.add_class(here / "run", here / "more", out="grown")
    assert {path: path.read_bytes() for path in (here / "run").rglob("*") if path.is_file()} == before
    old, new = read_seen(here / "run"), read_seen(Path("grown"))
    assert old is not None
    assert new is not None
    assert find_checkpoint(Path("grown")).manifest.classes == (*OLD, "8", "9")
    parts = new.parts()
    for pixels, part in old.parts().items():
        assert parts[pixels] == part
    assert len(parts) > len(old.parts()) + 100


def test_kept_features_are_found_again(here: Path, grown: api.AddedClasses):
    assert grown.transfer.start.num_found == 0
    second = api.add_class(here / "run", here / "more" / "9", out="second", cache=here / "cache")
    counts = json.loads((here / "grown" / "data.json").read_text())["counts"]
    kept = sum(sum(counts[part][:8]) for part in ("train", "validation"))
    assert second.transfer.start.num_found == kept
    assert second.old == OLD


def test_the_verdict_stands_beside_what_became_of_the_old_classes(saccade: Callable, here: Path):
    done = saccade("add-class", here / "run", here / "more" / "8", "--out", "grown")
    assert done.status == 0, done.errors
    lines = done.output.splitlines()
    assert "held-out images correct" in lines[0]
    assert lines[1].startswith("Added: '8'. On the 8 classes that were there: ")
    assert Path("grown/report.html").is_file()
    assert saccade("evaluate", "grown", here / "photos", "--quiet").status == 0


def test_what_was_grown_knows_where_its_images_lie(saccade: Callable, here: Path, grown: api.AddedClasses):
    done = saccade("add-class", here / "grown", here / "more" / "9", "--out", "again", "--cache", here / "cache")
    assert done.status == 0, done.errors
    assert find_checkpoint(Path("again")).manifest.classes == (*OLD, "8", "9")
    known, whole = (json.loads((run / "data.json").read_text())["counts"] for run in (here / "grown", Path("again")))
    assert {part: counts[:9] for part, counts in whole.items()} == known  # every image, in the part that it had
    assert json.loads(Path("again/added.json").read_text()) == {
        "sources": [str(here / "photos"), str(here / "more" / "8"), str(here / "more" / "9")]
    }
    told = api.drift("again", here / "more" / "9")
    assert told.num_reference == sum(whole["test"])


def test_what_was_grown_is_opened_elsewhere_where_that_is_named(here: Path, grown: api.AddedClasses):
    shutil.copytree(here / "photos", "all")
    shutil.copytree(here / "more" / "8", "all/8")
    again = api.add_class(here / "grown", here / "more" / "9", out="again", source="all")
    assert len(again.old) == 9
    assert json.loads(Path("again/added.json").read_text())["sources"] == ["all", str(here / "more" / "9")]


@pytest.mark.parametrize(
    ("second", "message", "status"),
    [
        (
            "hub:somebody/photos",
            "The run theirs reads its images from 'hub:somebody/photos'.\n"
            "A run from somebody else may name any place, so only paths on this machine are opened unasked.\n"
            "If you want that one, name it: --source SOURCE.",
            2,
        ),
        (
            "gone",
            "The images of theirs cannot be opened: There is no file or folder 'gone' (looked in {here}).\n"
            "If they lie elsewhere now, say where: --source SOURCE.",
            1,
        ),
        (
            "{more}/9",
            "The images of theirs cannot be opened: The classes in {photos}, {more}/9 are not the 9 that were learned "
            "from there.\nIf they lie elsewhere now, say where: --source SOURCE.",
            1,
        ),
    ],
)
def test_places_that_a_run_names_are_not_believed(
    saccade: Callable, here: Path, grown: api.AddedClasses, second: str, message: str, status: int
):
    names = {"more": here / "more", "photos": here / "photos", "here": Path.cwd()}
    shutil.copytree(here / "grown", "theirs")
    sources = [str(here / "photos"), second.format(**names)]
    Path("theirs/added.json").write_text(json.dumps({"sources": sources}))
    done = saccade("add-class", "theirs", here / "more" / "9", "--out", "again", "--quiet")
    assert (done.status, done.errors) == (status, f"error: {message.format(**names)}\n")


def test_bad_input_gets_one_message(saccade: Callable, here: Path):
    Path("empty").mkdir()
    Path("mixed/7a").mkdir(parents=True)
    picture = Image.fromarray(np.zeros((8, 8), np.uint8))
    picture.save("mixed/x.png")
    picture.save("mixed/7a/x.png")
    run = here / "run"
    cases = [
        (
            [run, here / "photos" / "3"],
            f"{run} knows the class '3' already.\n"
            "A class is added by its new name. To learn from more images of it, put them beside the others: "
            f"saccade transfer SOURCE --weights {run}",
            2,
        ),
        ([run, "empty"], None, 1),
        (
            [run, "mixed"],
            "The folder mixed holds images and folders of images.\n"
            "Put the images of each class into a folder of its own, or name the folder of one class.",
            1,
        ),
        ([run, here / "more" / "8", "--source", "empty"], None, 1),
        ([run, "gone"], None, 1),
    ]
    for arguments, message, status in cases:
        done = saccade("add-class", *arguments, "--out", "grown", "--quiet")
        assert done.status == status, done.errors
        if message:
            assert done.errors == f"error: {message}\n"
        assert "Traceback" not in done.errors
        assert not Path("grown").exists()


def test_a_bad_photo_is_named_before_anything_is_fitted(saccade: Callable, here: Path):
    shutil.copytree(here / "more" / "8", "eights")
    Path("eights/bad.png").write_bytes(b"")
    done = saccade("add-class", here / "run", "eights", "--out", "grown", "--quiet")
    assert done.status == 1
    assert "eights/bad.png: the file is empty (0 bytes)" in done.errors
    assert not Path("grown").exists()


def test_one_image_of_a_class_is_learned_and_the_verdict_says_that_none_judges_it(saccade: Callable, here: Path):
    Path("single").mkdir()
    shutil.copy(next((here / "more" / "9").iterdir()), "single/only.png")
    done = saccade("add-class", here / "run", "single", "--out", "grown")
    assert done.status == 0, done.errors
    assert "No held-out image of 'single'" in done.output


def test_images_the_run_learned_from_are_not_judged_under_a_new_name(saccade: Callable, here: Path):
    shutil.copytree(here / "photos" / "5", "fives")
    done = saccade("add-class", here / "run", "fives", "--out", "grown", "--json")
    assert done.status == 0, done.errors
    trained = read_seen(here / "run")
    assert trained is not None
    split = json.loads(Path("grown/data.json").read_text())["counts"]
    assert split["test"][8] <= 15  # of 60: those that the run had learned from are in no held-out part
    assert json.loads(done.output)["num_samples"] > 0
    counts = [sum(split[part]) for part in ("train", "validation", "test")]
    num_unused = sum(1 for _ in (here / "photos").rglob("*.png")) + len(list(Path("fives").iterdir())) - sum(counts)
    assert num_unused > 1
    assert (
        f"note: {num_unused} images of the new classes are not used: equal to one that the run has learned from, so "
        f"not to be held out\n"
    ) in done.errors


class Stopping(api.Silent):
    """Who watches and asks for the end while images are turned into features."""

    def working(self, text: str) -> None:
        api.request_stop()


def test_a_stopped_one_leaves_no_run_and_the_same_command_begins_again(here: Path):
    def stopped(cache: str) -> str:
        with pytest.raises(api.Stopped) as error:
            api.add_class(here / "run", here / "more" / "8", "grown", cache=cache, progress=Stopping())
        return error.value.message

    nothing = "Stopped, and nothing of the new run is kept.\nRun the command again"
    assert stopped("none") == f"{nothing}."
    assert stopped("cache") == f"{nothing}: features that were computed are found again."
    assert not Path("grown").exists()
    Path("grown").mkdir()
    Path("grown/mine.txt").write_text("mine")
    assert stopped("cache") == (
        "Stopped; grown holds a run that is not finished and cannot go on.\n"
        "Run the command again with another --out: features that were computed are found again."
    )
    assert Path("grown/mine.txt").read_text() == "mine"
    added = api.add_class(here / "run", here / "more" / "8", "again", cache="cache")
    assert added.added == ("8",)


def test_a_run_that_is_there_is_told_before_the_images_are_read(saccade: Callable, here: Path):
    Path("eights").mkdir()
    Path("eights/bad.png").write_bytes(b"")  # would be told first
    done = saccade("add-class", here / "run", "eights", "--out", here / "run", "--quiet")
    assert (done.status, done.errors) == (
        1,
        f"error: {here / 'run'} already holds a run.\nChoose another place with --out.\n",
    )


def test_one_class_of_a_table_is_added_and_asked_about(here: Path, grown: api.AddedClasses):
    files = sorted((here / "more" / "9").iterdir())
    table = here / "more" / "nines.csv"
    table.write_text("file,label\n" + "".join(f"9/{path.name},nine\n" for path in files))
    added = api.add_class(here / "grown", table, out="again", cache=here / "cache")
    assert added.added == ("nine",)
    assert len(list(asked_images([str(table)], PassedOver()))) == len(files)
    with pytest.raises(api.SaccadeError, match="has one class only, 'nine': there is nothing to tell apart"):
        api.train(api.TrainRequest(source=table, epochs=1, out="trained"))


def test_a_run_judged_on_names_that_are_not_utf_8_is_read_again(here: Path):
    shutil.copytree(here / "more" / "8", "odd/8")
    for path in sorted(Path("odd/8").iterdir()):
        path.rename(os.fsdecode(os.fsencode(path)[:-4] + b"\xff.png"))
    api.add_class(here / "run", "odd", out="grown", cache=here / "cache")
    keys = json.loads(Path("grown/evaluation.json").read_text())["keys"]
    assert any(key.endswith("\\udcff.png") for key in keys)
    assert api.report("grown").is_file()
    assert api.drift("grown", here / "more" / "9").num_reference == len(keys)
