"""Numbers, grades and bands, judged through a real `saccade serve`: the figures are those of the runs themselves."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

for package in ("onnx", "onnxscript", "onnxruntime", "openvino", "starlette", "python_multipart"):
    pytest.importorskip(package, reason="the extras 'export' and 'serve' are not installed")

from tests.angles import write_angles  # noqa: E402
from tests.audit.v2_server import Habits, v2_server  # noqa: E402
from tests.ship.untrained import BANDS_16, untrained_run  # noqa: E402

from saccade import api  # noqa: E402
from saccade.audit.endpoint import told_classes, told_task  # noqa: E402
from saccade.core.errors import DataError  # noqa: E402
from saccade.core.task import GRADE, NUMBER, ONE_LABEL, SEVERAL_LABELS, Task  # noqa: E402
from saccade.core.types import Preprocessing  # noqa: E402

SMALL = "conv 6 f3 s2 bn | conv 8 f3 s2 bn | gap"
GREY = Preprocessing(channels="grey", input_height_px=16, input_width_px=16, mean=(0.3,), std=(0.2,))
GRADES = ("0_left", "1_middle", "2_right")
SAME = ("num_samples", "mae", "mae_low", "mae_high", "baseline_mae")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`angles.csv`, `grades.csv` and `fields/` of five bands, and a run for each that nobody trained."""
    folder = tmp_path_factory.mktemp("kinds")
    angles = write_angles(folder / "angles", 40)
    rows = [line.split(",") for line in angles.read_text().splitlines()[1:]]
    graded = [f"{name},{GRADES[int(np.digitize(float(angle), (-20, 20)))]}" for name, angle in rows]
    angles.with_name("grades.csv").write_text("\n".join(["file,grade", *graded]) + "\n")
    draw = np.random.default_rng(2)
    for name in ("bright", "dark"):
        (folder / "fields" / name).mkdir(parents=True)
        for number in range(12):
            np.save(folder / "fields" / name / f"{number}.npy", draw.integers(0, 4096, (18, 20, 5)).astype(np.uint16))
    scale = Task(kind="number", mean=5.0, deviation=30.0, half_width=40.0, half_width_images=60)
    for name, values in {
        "numbers": {"preprocessing": GREY, "task": scale, "classes": ("angle",), "head_scale": 20.0},
        "grades": {"preprocessing": GREY, "task": GRADE, "classes": GRADES, "head_scale": 5.0},
        "bands": {"preprocessing": BANDS_16, "classes": ("bright", "dark"), "head_scale": 20.0},
    }.items():
        run = untrained_run(folder / "runs" / name, SMALL, temperature=1.0, metrics={}, **values)
        api.export(run, folder / name, formats=["openvino"])
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[str]:
    with api.serve([folder / name for name in ("numbers", "grades", "bands")]) as running:
        yield running.url


def test_numbers_are_judged_as_the_run_judges_them(folder: Path, server: str, saccade: Callable):
    source = folder / "angles" / "angles.csv"
    finished = saccade("evaluate", "--endpoint", server, "--model", "numbers", source, "--slices", "--json")
    assert finished.status == 0, finished.errors
    found = json.loads(finished.output)
    own = api.evaluate(folder / "runs" / "numbers", source).as_json()
    for name in (*SAME, "r2", "rmse", "near", "covered", "half_width"):
        assert found[name] == pytest.approx(own[name], rel=1e-4), name
    assert found["task"] == "number"
    assert {part["trait"] for part in found["slices"]} >= {"brightness"}


def test_grades_are_judged_as_the_run_judges_them(folder: Path, server: str, saccade: Callable):
    source = folder / "angles" / "grades.csv"
    finished = saccade("evaluate", "--endpoint", server, "--model", "grades", source, "--json")
    assert finished.status == 0, finished.errors
    found, own = json.loads(finished.output), api.evaluate(folder / "runs" / "grades", source).as_json()
    for name in (*SAME, "top1", "within_one", "quadratic_kappa", "loss"):
        assert found[name] == pytest.approx(own[name], rel=1e-4), name
    assert found["confusion"] == own["confusion"]


def test_bands_go_as_files_and_as_arrays(folder: Path, server: str):
    own = api.evaluate(folder / "runs" / "bands", folder / "fields")
    paths = sorted((folder / "fields").rglob("*.npy"))
    labels = [path.parent.name for path in paths]
    arrays = api.ArraySource([np.load(path) for path in paths], labels)
    for source in (folder / "fields", arrays):
        found = api.evaluate_endpoint(server, "bands", source)
        np.testing.assert_allclose(found.probabilities(), own.probabilities(), atol=1e-6)


def test_labels_of_another_kind_are_refused(folder: Path, server: str):
    grades = f"{folder / 'angles' / 'grades.csv'}?target=grade"
    with pytest.raises(DataError) as caught:
        api.evaluate_endpoint(server, "numbers", grades)
    assert caught.value.message == (
        f"The deployed model says a number for an image, and {grades} has a grade: nothing says which answers are "
        "right.\nJudge it on images that are labelled as those it learned from."
    )


def test_of_another_server_the_labels_say_what_is_asked(folder: Path, tmp_path: Path):
    grades = f"{folder / 'angles' / 'grades.csv'}?target=grade"
    (tmp_path / "names.txt").write_text("\n".join(GRADES))
    (tmp_path / "turned.txt").write_text("\n".join(GRADES[::-1]))
    with v2_server(Habits(says_classes=False)) as url:
        found = api.evaluate_endpoint(url, "colours", grades, class_names=tmp_path / "names.txt")
        with pytest.raises(DataError) as caught:
            api.evaluate_endpoint(url, "colours", grades, class_names=tmp_path / "turned.txt")
    assert (found.task, found.metrics.num_samples) == (GRADE, 40)
    assert found.metrics.grades is not None
    assert caught.value.message == (
        f"{url}/v2/models/colours does not give its grades in their order: 2_right, 1_middle, 0_left.\n"
        "Judge it by classes: leave --target out."
    )


@pytest.mark.parametrize(
    ("parameters", "task"),
    [
        ({}, None),
        ({"task": "something"}, None),
        ({"task": "one label"}, ONE_LABEL),
        ({"task": "several labels"}, SEVERAL_LABELS),
        ({"task": "grade"}, GRADE),
        ({"task": "number"}, NUMBER),
        ({"task": "number", "mean": "3.5", "deviation": "2"}, Task(kind="number", mean=3.5, deviation=2.0)),
        ({"task": "number", "mean": "nan", "deviation": "2"}, NUMBER),
        ({"task": "number", "deviation": "-1"}, NUMBER),
        ({"task": "number", "half_width": "much"}, NUMBER),
    ],
)
def test_what_a_configuration_says_of_the_answers(parameters: dict[str, str], task: Task | None):
    assert told_task(parameters) == task


@pytest.mark.parametrize(
    ("text", "names"),
    [('["b", "a"]', ("b", "a")), ("[]", ()), ("{}", ()), ("[" * 5000, ()), ("much", ())],
)
def test_what_a_configuration_says_of_the_classes(text: str, names: tuple[str, ...]):
    assert told_classes({"classes": text}, "a server") == names
    assert told_classes({}, "a server") == ()
