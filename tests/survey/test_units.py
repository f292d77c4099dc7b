"""`predict --out FOLDER` and `features --out FOLDER`: units that any process makes, each once, right after any kill."""

import json
import os
import re
import shutil
import signal
import stat
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import yaml
from pyarrow import parquet
from tests.processes import PATIENCE_S, Program, run_python

from saccade import api
from saccade.classify import units
from saccade.core import atomic
from saccade.core.errors import DataError, StorageError
from saccade.survey.feature_file import seeing_run
from saccade.survey.feature_units import feature_rows, feature_units

SCALE = Path(__file__).parents[2] / "examples" / "scale"
# The command in a process of its own, with small units; it kills itself where the rows of a unit are being written.
SMALL_UNITS = """
import os, signal, sys
from saccade.classify import units
from saccade.cli.main import main
size, deadly_row = map(int, sys.argv[1:3])
units.UNIT_IMAGES, units.ROWS_AT_ONCE, count = size, 8, units.UnitsWritten._count
num_rows = 0

def counted(written, row):
    global num_rows
    num_rows += 1
    if num_rows == deadly_row:
        os.kill(os.getpid(), signal.SIGKILL)
    count(written, row)

units.UnitsWritten._count = counted
sys.argv = ["saccade", *sys.argv[3:]]
main()
"""


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Units of 32 images, so that forty are two."""
    monkeypatch.setattr(units, "UNIT_IMAGES", 32)


def rows(folder: str | Path) -> list[dict]:
    """The folder as other tools read it."""
    return parquet.read_table(folder).to_pylist()


@pytest.mark.usefixtures("_small")
def test_a_folder_of_answers_says_what_predict_says(saccade: Callable, digits_run: Path, new: Path):
    (new / "05.png").write_bytes(b"")
    (new / "notes.txt").write_text("x")
    expected = json.loads(saccade("predict", digits_run, new, "--json", "--top", 5).output)
    done = saccade("predict", digits_run, new, "--out", "answers", "--json")
    assert done.status == 0, done.errors  # an unreadable image is a row with the reason
    told = json.loads(done.output)
    assert told["notes"][0] == "1 file passed over: 1 .txt"
    numbers = ("num_images", "num_units", "num_there", "num_written", "num_answered", "num_bad", "is_complete")
    assert [told[name] for name in numbers] == [40, 2, 2, 2, 39, 1, True]
    assert told["caveats"] == expected["caveats"]
    found = rows("answers")
    assert [row["key"] for row in found] == [f"new/{number:02d}.png" for number in range(40)]
    bad = found.pop(5)
    assert (bad["class"], bad["answered"], bad["reason"]) == (None, False, "unreadable")
    assert bad["error"] == expected["errors"][0]["reason"]
    for row, answer in zip(found, expected["predictions"], strict=True):
        assert row["class"] == answer["class"]
        assert row["top"] == answer["top"]
        assert (row["reason"], row["unlike_training"]) == (answer["no_answer"], answer["unlike_training"])
        assert row["probability"] == answer["probability"]  # the same batches, so the same bits
    assert sum(not row["answered"] for row in found) == told["num_unlike_training"]
    assert sorted(os.listdir("answers")) == [
        "_summary.json",
        "answers-00000-of-00002.parquet",
        "answers-00001-of-00002.parquet",
    ]
    summary = json.loads(Path("answers/_summary.json").read_text())
    assert [summary[name] for name in ("num_images", "num_answered", "num_bad")] == [40, 39, 1]
    assert summary["num_unlike_training"] == told["num_unlike_training"]
    facts = json.loads(parquet.read_schema("answers/answers-00001-of-00002.parquet").metadata[b"saccade"])
    assert (facts["unit"], facts["first_image"], facts["num_rows"], facts["runs"]) == (1, 32, 8, [str(digits_run)])


@pytest.mark.usefixtures("_small")
def test_two_processes_make_what_one_makes(saccade: Callable, digits_run: Path, new: Path):
    saccade("predict", digits_run, new, "--out", "one")
    done = saccade("predict", digits_run, new, "--out", "two", "--unit-of", "1/2")
    assert done.output == (
        "1 file of 8 images written to two.\n"
        "1 of 2 files are there; other processes, or the same command again, write the others.\n"
    )
    assert done.errors.splitlines()[0] == "answers-00001-of-00002.parquet: 8 images"
    assert not Path("two/_summary.json").exists()
    done = saccade("predict", digits_run, new, "--out", "two", "--unit-of", "0/2", "--quiet")
    assert done.output == (
        "1 file of 32 images written to two.\n"
        "two is complete: 2 files of 40 images.\n"
        "1 of 32 images has no answer: 1 is unlike anything seen in training.\n"
    )
    assert done.errors == ""
    for name in os.listdir("one"):
        assert Path("one", name).read_bytes() == Path("two", name).read_bytes(), name
    before = {path: path.stat().st_mtime_ns for path in Path("two").glob("*.parquet")}
    done = saccade("predict", digits_run, new, "--out", "two")
    assert done.output == "two was complete already: 2 files of 40 images.\n"
    assert {path: path.stat().st_mtime_ns for path in Path("two").glob("*.parquet")} == before


@pytest.mark.usefixtures("_small")
def test_the_launchers_part_is_taken_where_asked(
    saccade: Callable, digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    saccade("features", digits_run, new, "--out", "features/", "--unit-of", "env")
    assert os.listdir("features") == ["features-00001-of-00002.parquet"]


@pytest.mark.parametrize("deadly_row", [1, 9, 33, 40])
def test_a_job_that_was_killed_goes_on(
    saccade: Callable, digits_run: Path, new: Path, deadly_row: int, monkeypatch: pytest.MonkeyPatch
):
    arguments = ["predict", digits_run, new, "--out", "answers"]
    done = run_python(["-c", SMALL_UNITS, 32, deadly_row, *arguments], Path.cwd())
    assert done.returncode == -signal.SIGKILL, done.stderr
    num_whole = (deadly_row - 1) // 32
    assert len(list(Path("answers").glob("*.parquet"))) == num_whole
    assert len(list(Path("answers").glob("*saccade-tmp"))) == 1
    monkeypatch.setattr(units, "UNIT_IMAGES", 32)
    done = saccade(*arguments, "--json")
    assert json.loads(done.output)["num_written"] == 2 - num_whole
    assert sorted(os.listdir("answers")) == [
        "_summary.json",
        "answers-00000-of-00002.parquet",
        "answers-00001-of-00002.parquet",
    ]
    assert [row["key"] for row in rows("answers")] == [f"new/{number:02d}.png" for number in range(40)]


@pytest.mark.usefixtures("_small")
def test_who_is_too_late_with_a_unit_ends_right(
    saccade: Callable, digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another process makes the same unit, finds all done, and removes the temporary file of this one."""
    saccade("predict", digits_run, new, "--out", "other")
    write = atomic.write_with

    def late(path: Path, fill: Callable[[Path], None], needed_bytes: int = 0) -> None:
        if path.suffix != ".parquet":
            write(path, fill, needed_bytes)
            return
        path.write_bytes((Path("other") / path.name).read_bytes())
        raise StorageError("gone")

    monkeypatch.setattr(units.atomic, "write_with", late)
    done = saccade("predict", digits_run, new, "--out", "answers")
    assert done.status == 0, done.errors
    assert rows("answers") == rows("other")

    def full(path: Path, fill: Callable[[Path], None], needed_bytes: int = 0) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(units.atomic, "write_with", full)
    done = saccade("predict", digits_run, new, "--out", "third")
    assert (done.status, done.errors.splitlines()[-1]) == (1, "error: The disk is full.")


@pytest.mark.usefixtures("_small")
def test_what_another_job_wrote_is_never_mixed_in(
    saccade: Callable, digits_run: Path, new: Path, tmp_path_factory: pytest.TempPathFactory
):
    saccade("predict", digits_run, new, "--out", "answers", "--unit-of", "0/2")
    first = "answers/answers-00000-of-00002.parquet"
    before = Path(first).read_bytes()
    other_name = "Name another folder with --out, or remove this one."
    other = new / "40.png"
    tests = [
        (["--top", 2], f"{first} holds answers of another --top.\n{other_name}"),
        (["--min-confidence", 0.5], f"{first} holds answers of another --min-confidence.\n{other_name}"),
    ]
    for options, message in tests:
        done = saccade("predict", digits_run, new, "--out", "answers", *options)
        assert (done.status, done.errors) == (2, f"error: {message}\n")
    shutil.copytree(digits_run, "copy")
    done = saccade("predict", digits_run, "copy", new, "--out", "answers")
    assert done.errors == f"error: {first} holds answers of another run, or of one that was changed.\n{other_name}\n"
    (new / "07.png").rename(other)
    done = saccade("predict", digits_run, new, "--out", "answers")
    assert done.errors == f"error: {first} holds answers of another list of images.\n{other_name}\n"
    other.rename(new / "07.png")
    done = saccade("features", digits_run, new, "--out", "answers")
    assert done.errors.splitlines()[-2:] == [
        "error: answers holds answers-00000-of-00002.parquet, which is not a unit of these images.",
        "It is of another list of images, or of another command. Name another folder with --out.",
    ]
    done = saccade("predict", digits_run, new, *["new/00.png"] * 30, "--out", "answers")
    assert done.errors == (
        "error: answers holds answers-00000-of-00002.parquet, which is not a unit of these images.\n"
        "It is of another list of images, or of another command. Name another folder with --out.\n"
    )
    assert Path(first).read_bytes() == before
    Path(first).write_bytes(before[:-100])
    done = saccade("predict", digits_run, new, "--out", "answers")
    assert done.status == 1
    assert re.fullmatch(
        rf"error: {first} cannot be read: .+\.\nRemove it, and it is made again: rm {first}\n", done.errors
    ), done.errors


@pytest.mark.usefixtures("_small")
@pytest.mark.parametrize("half", [False, True])
def test_a_folder_of_features_has_the_bits_of_a_file(saccade: Callable, digits_run: Path, new: Path, half: bool):
    (new / "05.png").write_bytes(b"")
    saccade("features", digits_run, new, "--out", "f.npz")
    with np.load("f.npz") as arrays:
        feature_ND, key_N = arrays["feature_ND"], arrays["key_N"].tolist()
    done = saccade("features", digits_run, new, "--out", "features", *["--half"] * half, "--json")
    assert done.status == 0, done.errors
    assert "num_unlike_training" not in json.loads(done.output)
    table = parquet.read_table("features")
    number = pa.float16() if half else pa.float32()
    assert table.schema.field("feature").type == pa.list_(number, feature_ND.shape[1])
    bad = table.slice(5, 1).to_pylist()[0]
    assert bad == {"key": "new/05.png", "label": None, "feature": None, "error": "the file is empty (0 bytes)."}
    good = table.filter(pa.compute.is_valid(table["feature"]))
    assert good["key"].to_pylist() == key_N
    found_ND = np.stack(good["feature"].to_pylist()).astype(np.float32)
    np.testing.assert_array_equal(found_ND, feature_ND.astype(np.float16 if half else np.float32))
    done = saccade("features", digits_run, new, "--out", "features", *["--half"] * (not half))
    assert done.errors.splitlines()[-2] == (
        "error: features/features-00000-of-00002.parquet holds features of another --half."
    )


def test_labels_of_a_set_stand_beside_the_features(saccade: Callable, digits_run: Path, new: Path):
    done = saccade("features", digits_run, "digits", "--out", "features", "--unit-of", "0/1")
    assert done.output == "1 file of 1,797 images written to features, which is complete.\n"
    assert "features-00000" not in done.errors  # said once
    table = parquet.read_table("features")
    assert table["label"].to_pylist()[:4] == ["0", "1", "2", "3"]


def test_a_feature_that_float16_cannot_hold_is_refused(digits_run: Path):
    from saccade.classify.classifier import open_member

    kind = feature_units(seeing_run(digits_run, open_member(digits_run)), half=True)
    row = {"key": "a.png", "label": None, "feature": np.full(kind.schema.field("feature").type.list_size, 7e4)}
    with pytest.raises(DataError) as caught:
        kind.to_batch([row])
    assert caught.value.message == ("a.png: a feature is 7e+04, more than float16 holds (65,504).\nLeave --half out.")
    assert list(feature_rows([], lambda error: None)) == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["predict", "RUN", "new", "--out", "answers.csv"],
            "--out writes a folder of Parquet files, and answers.csv has the ending of a file.\n"
            "For one file of answers: --csv answers.csv; for a folder of this name: --out answers.csv/",
        ),
        (
            ["predict", "RUN", "new", "--unit-of", "0/2"],
            "--unit-of is for a folder of Parquet files: give --out a folder's name, such as --out parts/.",
        ),
        (
            ["features", "RUN", "new", "--out", "f.npz", "--half"],
            "--half is for a folder of Parquet files: give --out a folder's name, such as --out parts/.",
        ),
        (
            ["predict", "RUN", "new", "--out", "a", "--csv", "a.csv"],
            "--csv, --out, --label-studio and --fiftyone each take all answers: give one of them.",
        ),
        (
            ["predict", "RUN", "-", "--out", "a"],
            "Standard input can be read once, by one process, and the parts of a folder of answers are shared out.\n"
            "Write the list into a CSV file with the columns file and label, or give the folder of the images.",
        ),
    ],
)
def test_mistakes_get_one_message_and_write_nothing(
    saccade: Callable, digits_run: Path, new: Path, arguments: list[str], message: str
):
    done = saccade(*(str(digits_run) if word == "RUN" else word for word in arguments))
    assert (done.status, done.errors) == (2, f"error: {message}\n")
    assert os.listdir() == ["new"]


def test_memory_does_not_grow_with_the_images(digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(units, "UNIT_IMAGES", 64)
    monkeypatch.setattr(units, "ROWS_AT_ONCE", 32)
    pixels_NHW = np.zeros((1500, 8, 8), np.uint8)

    def peak_bytes(num_images: int) -> int:
        source = api.ArraySource(pixels_NHW[:num_images], ["a", "b"] * (num_images // 2))
        tracemalloc.start()
        written = api.predict_to_folder(
            digits_run, source, f"out{num_images}", runtime=api.RuntimeConfig(num_threads=1)
        )
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert (written.num_answered, written.is_complete) == (num_images, True)
        return peak

    peak_bytes(64)
    assert peak_bytes(1500) < peak_bytes(320) + 200_000  # the answers of 1,180 images take more


def test_the_slurm_array_of_the_examples_answers_every_image(digits_run: Path, new: Path):
    here = Path.cwd()
    (here / "small.py").write_text(SMALL_UNITS)
    stubs = {
        "srun": '#!/bin/sh\necho "step of task $SLURM_ARRAY_TASK_ID" >> srun.log\nexec "$@"\n',
        "saccade": f'#!/bin/sh\nexec "{sys.executable}" small.py 16 0 "$@"\n',
    }
    (here / "bin").mkdir()
    for name, text in stubs.items():
        path = here / "bin" / name
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IEXEC)
    script = SCALE / "predict_array.sbatch"
    assert "#SBATCH --array=0-63" in script.read_text()
    environment = {
        **os.environ,
        "PATH": f"{here / 'bin'}:{os.environ['PATH']}",
        **{"RUN": str(digits_run), "SOURCE": "new", "OUT": "answers"},
        **{"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "1", "SLURM_ARRAY_TASK_COUNT": "2"},
    }
    start = "import os, sys; os.execvp('bash', ['bash', *sys.argv[1:]])"
    started = [
        Program(["-c", start, script], here, {**environment, "SLURM_ARRAY_TASK_ID": number}) for number in ("1", "2")
    ]
    tasks = [program.communicate() for program in started]  # at once, as on a cluster
    assert [task.returncode for task in tasks] == [0, 0], tasks
    assert sorted(Path("srun.log").read_text().splitlines()) == ["step of task 1", "step of task 2"]
    written = [task.stdout.splitlines()[0] for task in tasks]
    assert written == ["2 files of 24 images written to answers.", "1 file of 16 images written to answers."]
    assert json.loads(Path("answers/_summary.json").read_text())["num_images"] == 40
    assert [row["key"] for row in rows("answers")] == [f"new/{number:02d}.png" for number in range(40)]


def test_the_pods_of_the_kubernetes_job_make_every_unit(
    saccade: Callable, digits_run: Path, new: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(units, "UNIT_IMAGES", 16)
    job = yaml.safe_load((SCALE / "kubernetes_job.yaml").read_text())
    container = job["spec"]["template"]["spec"]["containers"][0]
    assert container["command"] == ["saccade"]
    assert (job["spec"]["completionMode"], job["spec"]["completions"]) == ("Indexed", 16)
    Path("runs").mkdir()
    Path("runs/photos").symlink_to(digits_run)
    new.rename("photos")
    for index in (2, 0, 15, 1):
        text = [word.replace("$(JOB_COMPLETION_INDEX)", str(index)) for word in container["args"]]
        assert text[-1] == f"{index}/16"
        done = saccade(*text)
        assert done.status == 0, done.errors
    assert done.output.splitlines()[1] == "answers is complete: 3 files of 40 images."


def test_the_kubernetes_job_is_one_by_its_schema():
    validator = pytest.importorskip("kubernetes_validate", reason="kubernetes-validate is not installed")
    job = yaml.safe_load((SCALE / "kubernetes_job.yaml").read_text())
    validator.validate(job, "1.33", strict=True)
    job["spec"]["completion"] = job["spec"].pop("completions")
    with pytest.raises(validator.ValidationError):
        validator.validate(job, "1.33", strict=True)


def test_the_map_of_ray_answers_every_image(digits_run: Path, tmp_path: Path):
    if find_spec("ray") is None:
        pytest.skip("ray is not installed")
    start = (
        "import ray, runpy, sys; ray.init(num_cpus=2, object_store_memory=80 << 20, include_dashboard=False); "
        "sys.argv = sys.argv[1:]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    command = [sys.executable, "-c", start, str(SCALE / "ray_data.py"), str(digits_run), "digits", "answers", "2"]
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "1,797 images answered, 0 unreadable"
    assert parquet.read_table(tmp_path / "answers").num_rows == 1797
