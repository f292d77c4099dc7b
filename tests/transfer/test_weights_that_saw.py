"""Transfers from the weights of a run: what those were trained on is never judged on as held out, now or later."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file
from tests.train.test_values_that_lie import photos
from tests.transfer.test_run import Cut, CutAfter

from saccade import api
from saccade.core.errors import UsageError
from saccade.transfer.request import TransferRequest

FAST = ["runtime.num_threads=1", "loader.threads=1", "batch_size=32", "runtime.precision=float32"]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """(run, set): LeNet-5 of one epoch, of a set that is dealt out with seed 1."""
    folder = tmp_path_factory.mktemp("before")
    source = photos(folder / "set")
    settings = [*FAST, "input.size_px=32", "split.seed=1"]
    asked = api.TrainRequest(source=str(source), model="lenet5", epochs=1, out=folder / "run", settings=settings)
    run = api.train(asked)
    values = json.loads((run.run_dir / "checkpoint-best" / "manifest.json").read_text())
    (folder / "pixels.json").write_text(json.dumps(values["preprocessing"]))
    return run.run_dir, source


def request(run: Path, source: Path, out: Path, seed: int, freeze: str = "all") -> TransferRequest:
    return TransferRequest(
        source=str(source),
        backbone="lenet5",
        weights=str(run / "checkpoint-best"),
        freeze=freeze,
        epochs=1,
        out=out,
        cache="none",
        preprocessing=run.parent / "pixels.json",
        settings=[*FAST, f"split.seed={seed}"],
    )


def rows(run: Path, *parts: int) -> set[bytes]:
    record = load_file(run / "seen.safetensors")
    return {row.tobytes() for row in record["pixels_NB"][np.isin(record["part_N"], parts)]}


@pytest.mark.parametrize("freeze", ["all", "none"])
def test_weights_that_were_trained_on_judged_images_are_refused(before: tuple[Path, Path], tmp_path: Path, freeze: str):
    run, source = before
    plain = tmp_path / "plain"
    plain.mkdir()
    shutil.copy(run / "checkpoint-best" / "weights.safetensors", plain / "model.safetensors")
    unasked = replace(request(run, source, tmp_path / "unasked", 2), weights=str(plain))
    api.transfer(unasked)
    judged, trained = rows(tmp_path / "unasked", 2), rows(run, 0, 1)
    assert 0 < len(judged & trained) < len(judged)
    with pytest.raises(UsageError) as caught:
        api.transfer(request(run, source, tmp_path / "new", 2, freeze))
    assert caught.value.message == (
        f"{len(judged & trained)} of the {len(judged)} images held out were used to train the weights "
        f"{run}/checkpoint-best: the verdict would flatter.\n"
        "Deal the images out as that run did: --set split.seed=N, where N is its seed."
    )
    assert not (tmp_path / "new").exists()


def test_going_on_with_the_same_split_is_honest_and_says_nothing(before: tuple[Path, Path], tmp_path: Path):
    run, source = before
    result = api.transfer(request(run, source, tmp_path / "new", 1))
    assert rows(tmp_path / "new", 2) == rows(run, 2)
    assert rows(tmp_path / "new", 3) == set()
    few = "Fewer than 10 training images"
    assert [text for text in result.run.judgement.caveats if "trained" in text and not text.startswith(few)] == []
    again = api.evaluate([tmp_path / "new"], str(source))
    assert (again.kind, again.metrics.num_samples) == ("held-out", len(rows(run, 2)))


def test_what_the_weights_saw_is_not_held_out_of_any_later_evaluation(before: tuple[Path, Path], tmp_path: Path):
    run, source = before
    others = photos(tmp_path / "others", first=1000)
    api.transfer(request(run, others, tmp_path / "new", 1))
    assert rows(tmp_path / "new", 3) == rows(run, 0, 1)
    assert len(rows(tmp_path / "new", 0, 1, 2)) == 60
    evaluation = api.evaluate([tmp_path / "new"], str(source))
    assert (evaluation.kind, evaluation.metrics.num_samples) == ("held-out", len(rows(run, 2)))
    assert evaluation.notes == (
        f"{len(rows(run, 0, 1))} images are left out: the run was trained on them, or fitted its temperature on them.",
    )
    shutil.copy(run.parent / "pixels.json", tmp_path)
    third = api.transfer(request(tmp_path / "new", others, tmp_path / "third", 1, "none"))
    assert rows(third.run.run_dir, 3) == rows(run, 0, 1)


def test_a_transfer_that_goes_on_keeps_the_record_to_the_byte(before: tuple[Path, Path], tmp_path: Path):
    run, _ = before
    others = photos(tmp_path / "others", first=1000)
    whole = api.transfer(request(run, others, tmp_path / "whole", 1, "none")).run
    with pytest.raises(Cut):
        api.transfer(request(run, others, tmp_path / "cut", 1, "none"), CutAfter(epoch=1))
    resumed = api.transfer(TransferRequest(resume=True, out=tmp_path / "cut", cache="none")).run
    records = [(result.run_dir / "seen.safetensors").read_bytes() for result in (whole, resumed)]
    assert records[0] == records[1]
    assert whole.judgement.caveats == resumed.judgement.caveats
    assert api.evaluate([tmp_path / "cut"], str(others)).kind == "held-out"


def test_near_duplicates_of_what_the_weights_saw_are_told_with_the_figure_without_them(
    before: tuple[Path, Path], tmp_path: Path
):
    run, source = before
    for path in source.rglob("*.png"):
        place = tmp_path / "copies" / path.parent.name / f"{path.stem}.jpg"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(place, quality=90, subsampling=0)
    result = api.transfer(request(run, tmp_path / "copies", tmp_path / "new", 2))
    told = " ".join(result.run.judgement.caveats)
    some = f"held-out images are nearly the same as some that the weights {run}/checkpoint-best were trained on"
    assert f"{some}: they are left out of the verdict." in told  # noise is hard to know again: a few are not
    assert " copies, for comparison with published figures: " in told


def test_weights_of_a_run_without_a_record_are_told_now_and_later(before: tuple[Path, Path], tmp_path: Path):
    _, source = before
    run = Path(shutil.copytree(before[0], tmp_path / "before"))
    shutil.copy(before[0].parent / "pixels.json", tmp_path)
    (run / "seen.safetensors").unlink()
    first = api.transfer(request(run, source, tmp_path / "new", 2)).run
    said = (
        f"Nothing says which images the weights {run}/checkpoint-best were trained on: if some of the judged images "
        "are among them, the figure flatters."
    )
    assert said in first.judgement.caveats
    evaluation = api.evaluate([tmp_path / "new"], str(source))
    assert (evaluation.kind, evaluation.metrics.num_samples) == ("", len(rows(tmp_path / "new", 2)))
    assert evaluation.caveats[0] == (
        f"Nothing says which images {tmp_path}/new was trained on (nothing is known of the weights that it began "
        "with): if some of these are among them, the figure flatters."
    )
