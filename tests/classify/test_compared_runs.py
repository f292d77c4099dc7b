"""Two verdicts on the same images: what each is right on alone, and whether that could be luck."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from saccade import api
from saccade.classify.compared_runs import compare_runs
from saccade.core.errors import CheckpointError
from saccade.runs.checkpoint import find_checkpoint
from saccade.runs.evaluation_files import JudgedOutputs, JudgedPictures, read_verdict, write_verdict

FORMATS = Path(__file__).parents[1] / "runs" / "formats"
NO_PICTURES = JudgedPictures(seen={}, thumbnails={})


def run(folder: Path) -> Path:
    """One epoch on the digits."""
    return Path(shutil.copytree(FORMATS / "3", folder))


def changed(path: Path, answers: dict[int, int], kept: slice = slice(None)) -> tuple[np.ndarray, np.ndarray]:
    """Let the run say the class `answers[position]` of an image, and judge it on the images of `kept` alone: (labels,
    what is said)."""
    manifest = find_checkpoint(path).manifest
    found = read_verdict(path, manifest.classes)
    assert found is not None
    verdict, outputs = found
    logits_NK = outputs.logits_NK.copy()
    for position, said in answers.items():
        logits_NK[position] = 0
        logits_NK[position, said] = 9
    judged = JudgedOutputs(logits_NK=logits_NK[kept], label_N=outputs.label_N[kept], index_N=outputs.index_N[kept])
    values = json.loads((path / "evaluation.json").read_text())
    del values["keys"], values["files"]
    write_verdict(path, values, list(verdict.keys)[kept], judged, NO_PICTURES)
    return judged.label_N, judged.logits_NK.argmax(axis=1)


def test_two_runs_are_compared_image_by_image(tmp_path: Path):
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    label_N, said_N = changed(first, {})
    wrong = np.flatnonzero(said_N != label_N)[:30].tolist()
    right = np.flatnonzero(said_N == label_N)[:4].tolist()
    answers = {place: int(label_N[place]) for place in wrong} | {place: int(label_N[place] + 1) % 10 for place in right}
    changed(second, answers)
    (_, compared) = compare_runs([first, second]).runs
    against = compared.against_first
    assert against is not None
    assert (against.num_only_first, against.num_only_second) == (len(right), len(wrong))
    assert compared.num_both == len(label_N)
    assert against.p_value == pytest.approx(binomtest(len(right), len(right) + len(wrong)).pvalue)
    assert against.difference == pytest.approx((len(wrong) - len(right)) / len(label_N))


def test_only_images_that_both_were_judged_on_count(tmp_path: Path):
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    changed(first, {}, slice(0, 200))
    changed(second, {}, slice(150, None))
    (_, compared) = compare_runs([first, second]).runs
    assert compared.num_both == 50


def test_what_cannot_be_compared_is_said(tmp_path: Path):
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    config = second / "config.toml"
    config.write_text(config.read_text().replace('source = "digits"', 'source = "/elsewhere/photos"'))
    found = compare_runs([first, second])
    assert found.display_lines() == [
        f"{second} is not compared with {first}: it was judged on 'photos', not on the images of the first."
    ]
    assert found.as_json()[1]["why_not"] is not None
    (first / "evaluation.json").unlink()
    with pytest.raises(CheckpointError) as error:
        compare_runs([first, second])
    assert error.value.message == (
        f"The run {first} has not been judged yet: it has no evaluation.json.\n"
        f"Finish it with: saccade train --resume --out {first}"
    )


def test_the_command_shows_verdicts_below_the_totals(saccade: Callable, tmp_path: Path):
    first, second = run(tmp_path / "first"), run(tmp_path / "second")
    done = saccade("compare", first, second)
    assert done.status == 0
    assert f"{first} and {second} cannot be told apart: " in done.output
    values = json.loads(saccade("compare", first, second, "--json").output)
    assert [entry["run"] for entry in values["verdicts"]] == [str(first), str(second)]
    assert values["verdicts"][1]["p_value"] == 1.0
    assert json.loads(saccade("compare", "lenet5", "resnet20", "--json").output)["verdicts"] is None
    with pytest.raises(api.SaccadeError):
        api.compare_verdicts([first])
