"""Which units are whose, the list that every process makes, and the rows of answers of every kind."""

from pathlib import Path

import pytest
from PIL import Image

from saccade.classify.answer_units import answer_rows, answer_schema
from saccade.classify.asked_images import asked_images
from saccade.classify.listing import asked_listing, listing_of
from saccade.classify.unit_share import UnitShare, parse_share
from saccade.core.errors import ImageError, UsageError
from saccade.core.task import Task
from saccade.core.types import Prediction
from saccade.data.left_out import PassedOver
from saccade.data.sources.digits import Digits

ARRAY = {"SLURM_ARRAY_TASK_MIN": "1", "SLURM_ARRAY_TASK_STEP": "1", "SLURM_ARRAY_TASK_COUNT": "8"}


@pytest.mark.parametrize("num_units", [0, 1, 2, 7, 64, 1000])
def test_the_parts_of_all_processes_are_every_unit_once(num_units: int):
    for of in [1, 2, 3, 8, 100]:
        parts = [UnitShare(number=number, of=of).units(num_units) for number in range(of)]
        assert sorted(unit for part in parts for unit in part) == list(range(num_units))
        assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize(
    ("text", "environment", "expected"),
    [
        ("", {"RANK": "1", "WORLD_SIZE": "2"}, (0, 1)),  # nothing is taken from the environment unasked
        ("2/8", {}, (2, 8)),
        ("0/1", {"RANK": "1", "WORLD_SIZE": "2"}, (0, 1)),
        ("env", {"RANK": "1", "WORLD_SIZE": "4"}, (1, 4)),
        ("env", {"SLURM_ARRAY_TASK_ID": "1", **ARRAY}, (0, 8)),
        ("env", {"SLURM_ARRAY_TASK_ID": "8", **ARRAY}, (7, 8)),
        ("env", {"SLURM_ARRAY_TASK_ID": "7", "SLURM_ARRAY_TASK_MIN": "7", "SLURM_ARRAY_TASK_COUNT": "1"}, (0, 1)),
        (
            "env",
            {
                "SLURM_ARRAY_TASK_ID": "12",
                "SLURM_ARRAY_TASK_MIN": "0",
                "SLURM_ARRAY_TASK_STEP": "4",
                "SLURM_ARRAY_TASK_COUNT": "4",
            },
            (3, 4),
        ),
        ("env", {"RANK": "3", "WORLD_SIZE": "4", "SLURM_ARRAY_TASK_ID": "8", **ARRAY}, (3, 4)),
    ],
)  # fmt: skip
def test_a_part_is_given_or_read_from_the_launcher(text: str, environment: dict[str, str], expected: tuple[int, int]):
    share = parse_share(text, environment)
    assert (share.number, share.of) == expected


USE = "Give the part of this process: --unit-of K/N, K from 0 to N - 1."


@pytest.mark.parametrize(
    ("text", "environment", "message"),
    [
        (
            "8/8",
            {},
            "--unit-of takes K/N, K from 0 to N - 1, or env; got '8/8'.\n"
            "The first of four processes takes --unit-of 0/4, the last --unit-of 3/4.",
        ),
        (
            "1 of 2",
            {},
            "--unit-of takes K/N, K from 0 to N - 1, or env; got '1 of 2'.\n"
            "The first of four processes takes --unit-of 0/4, the last --unit-of 3/4.",
        ),
        (
            "env",
            {"RANK": "1"},
            "--unit-of env: neither RANK and WORLD_SIZE (torchrun) nor SLURM_ARRAY_TASK_ID (a Slurm array) is set "
            f"here.\n{USE}",
        ),
        ("env", {"RANK": "one", "WORLD_SIZE": "2"}, f"--unit-of env: RANK is not a number: 'one'.\n{USE}"),
        (
            "env",
            {"RANK": "2", "WORLD_SIZE": "2"},
            "--unit-of env: the pair RANK and WORLD_SIZE gives K = 2 and N = 2, which is not a part of a whole.\n"
            "Number an array evenly, as in --array=0-7; or give the part: --unit-of K/N, K from 0 to N - 1.",
        ),
        (
            "env",
            {"SLURM_ARRAY_TASK_ID": "9", **ARRAY, "SLURM_ARRAY_TASK_COUNT": "3"},  # --array=1,4,9
            "--unit-of env: the Slurm array gives K = 8 and N = 3, which is not a part of a whole.\n"
            "Number an array evenly, as in --array=0-7; or give the part: --unit-of K/N, K from 0 to N - 1.",
        ),
        (
            "env",
            {"JOB_COMPLETION_INDEX": "3"},
            "--unit-of env: Kubernetes sets JOB_COMPLETION_INDEX, but not how many pods there are.\n"
            "Write both into the pod's arguments, for 8 completions: --unit-of $(JOB_COMPLETION_INDEX)/8",
        ),
    ],
)
def test_a_part_that_is_none_is_refused(text: str, environment: dict[str, str], message: str):
    with pytest.raises(UsageError) as caught:
        parse_share(text, environment)
    assert caught.value.message == message


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ["a-b/0.png", "a/1.png", "a/2.png", "3.png", "é.png"]:
        path = tmp_path / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)
    (tmp_path / "photos" / "notes.txt").write_text("x")
    (tmp_path / "empty").mkdir()
    return Path("photos")


def test_a_list_has_the_images_of_asked_images_in_any_parts(folder: Path):
    texts = ["photos", "photos/3.png", "digits", "gone.png", "empty", "https://host/a.png"]
    whole = [item.key for item in asked_images(texts, PassedOver(), allow_url=True)]
    passed_over = PassedOver()
    listing = asked_listing(texts, passed_over, allow_url=True)
    assert len(listing) == len(whole) == 5 + 1 + 1797 + 1 + 1 + 1
    assert passed_over.sentence() == "1 file passed over: 1 .txt"
    for size in (1, 4, 4096):
        parts = [listing.items(start, min(start + size, len(listing))) for start in range(0, len(listing), size)]
        assert [item.key for part in parts for item in part] == whole
    first = next(listing.items(6, 7))
    assert (first.read() == Digits().read(0)).all()
    assert first.label == "0"


def test_the_digest_is_of_the_names_and_their_order(folder: Path):
    digest = listing_of("photos").digest
    assert listing_of([folder]).digest == digest
    assert listing_of(["photos", "photos/3.png"]).digest != digest
    assert listing_of(["photos/3.png", "photos"]).digest != listing_of(["photos", "photos/3.png"]).digest
    assert listing_of(Digits()).digest == Digits().digest
    (folder / "4.png").write_bytes(b"")
    assert listing_of("photos").digest != digest


def test_standard_input_is_no_list():
    with pytest.raises(UsageError) as caught:
        asked_listing(["-"], PassedOver())
    assert caught.value.message == (
        "Standard input can be read once, by one process, and the parts of a folder of answers are shared out.\n"
        "Write the list into a CSV file with the columns file and label, or give the folder of the images."
    )


def rows_of(task: Task, *answers: Prediction | ImageError) -> list[dict]:
    """The rows as they come back from Arrow."""
    import pyarrow

    rows = list(answer_rows(answers, 2, task, lambda error: None))
    return pyarrow.RecordBatch.from_pylist(rows, schema=answer_schema(task)).to_pylist()


def test_rows_of_one_label_say_the_answer_or_why_there_is_none():
    kept = {"classes": ("a", "b", "c"), "probabilities": (0.25, 0.5, 0.25), "latency_ms": 1.0}
    top = [{"class": "b", "probability": 0.5}, {"class": "a", "probability": 0.25}]
    found = rows_of(
        Task(),
        Prediction(key="0", **kept),
        Prediction(key="1", unlike_training=True, **kept),
        Prediction(key="2", unlike_training=False, min_confidence=0.6, **kept),
        ImageError("3\udcff", "is cut off."),
    )
    none = {"class": None, "probability": None, "answered": False}
    assert found == [
        {"key": "0", "class": "b", "probability": 0.5, "top": top, "answered": True, "reason": None, "error": None,
         "unlike_training": None},
        {"key": "1", **none, "top": top, "reason": "unlike_training", "error": None, "unlike_training": True},
        {"key": "2", **none, "top": top, "reason": "low_confidence", "error": None, "unlike_training": False},
        {"key": "3\\udcff", **none, "top": None, "reason": "unreadable", "error": "is cut off.",
         "unlike_training": None},
    ]  # fmt: skip


def test_rows_of_several_labels_have_those_that_are_said():
    kept = {"classes": ("a", "b", "c"), "probabilities": (0.9, 0.1, 0.7), "latency_ms": 1.0}
    said, unlike = rows_of(
        Task(kind="several labels"),
        Prediction(key="0", labels=("a", "c"), **kept),
        Prediction(key="1", labels=("a", "c"), unlike_training=True, **kept),
    )
    assert (said["labels"], said["class"], said["answered"]) == (["a", "c"], "a", True)
    assert (unlike["labels"], unlike["class"], unlike["reason"]) == (None, None, "unlike_training")
    assert unlike["top"] == [{"class": "a", "probability": 0.9}, {"class": "c", "probability": 0.7}]


def test_rows_of_a_number_have_its_interval():
    kept = {"classes": ("age",), "probabilities": (), "latency_ms": 1.0, "value": 41.5}
    said, bare, unlike = rows_of(
        Task(kind="number"),
        Prediction(key="0", interval=(40.0, 43.0), **kept),
        Prediction(key="1", **kept),
        Prediction(key="2", unlike_training=True, interval=(40.0, 43.0), **kept),
    )
    cells = ["number", "low", "high", "withheld_number", "answered"]
    assert [said[name] for name in cells] == [41.5, 40.0, 43.0, None, True]
    assert [bare[name] for name in cells] == [41.5, None, None, None, True]
    assert [unlike[name] for name in cells] == [None, None, None, 41.5, False]
