"""A run where images belong, and images where a run belongs: one message says which, and the command that was meant."""

from collections.abc import Callable
from pathlib import Path

import pytest

OTHER_WAY = "Wrong order: runs/a is a run, {other} is not; runs come before the images."


@pytest.fixture(autouse=True)
def _runs_and_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two folders that hold a run as far as anybody can see from outside, and one with images."""
    monkeypatch.chdir(tmp_path)
    for name in ("a", "b"):
        (tmp_path / "runs" / name / "checkpoint-best").mkdir(parents=True)
    (tmp_path / "my photos" / "cat").mkdir(parents=True)
    (tmp_path / "cat.jpg").write_bytes(b"")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["evaluate", "digits", "runs/a"], [OTHER_WAY.format(other="digits"), "Write: saccade evaluate runs/a digits"]),
        (
            ["evaluate", "my photos", "runs/a"],
            [OTHER_WAY.format(other="my photos"), "Write: saccade evaluate runs/a 'my photos'"],
        ),
        (
            ["evaluate", "runs/b", "digits", "runs/a"],
            [OTHER_WAY.format(other="digits"), "Write: saccade evaluate runs/b runs/a digits"],
        ),
        (
            ["evaluate", "runs/a", "runs/b"],
            ["The images are missing: each argument is a run.", "Write: saccade evaluate runs/a runs/b SOURCE"],
        ),
        (
            ["explain", "cat.jpg", "runs/a", "--out", "why.svg"],
            [OTHER_WAY.format(other="cat.jpg"), "Write: saccade explain runs/a cat.jpg --out why.svg"],
        ),
        (
            ["suggest", "my photos", "runs/a"],
            [OTHER_WAY.format(other="my photos"), "Write: saccade suggest runs/a 'my photos'"],
        ),
        (
            ["drift", "my photos", "runs/a"],
            [OTHER_WAY.format(other="my photos"), "Write: saccade drift runs/a 'my photos'"],
        ),
        (
            ["similar", "cat.jpg", "my photos", "runs/a"],
            [OTHER_WAY.format(other="cat.jpg"), "Write: saccade similar runs/a cat.jpg 'my photos'"],
        ),
        (
            ["add-class", "my photos", "runs/a"],
            [OTHER_WAY.format(other="my photos"), "Write: saccade add-class runs/a 'my photos'"],
        ),
        (
            ["predict", "cat.jpg", "runs/a"],
            [OTHER_WAY.format(other="cat.jpg"), "Write: saccade predict runs/a cat.jpg"],
        ),
        (
            ["predict", "my photos", *["cat.jpg"] * 6, "runs/a", "runs/b"],
            [
                OTHER_WAY.format(other="my photos"),
                f"Write: saccade predict runs/a runs/b 'my photos'{' cat.jpg' * 5} ...",
            ],
        ),
        (
            ["predict", "runs/b", "cat.jpg", "runs/a"],
            [
                "Wrong order: runs/a is a run; runs come before the images.",
                "Write: saccade predict runs/b runs/a cat.jpg",
            ],
        ),
        (
            ["report", "page.html", "--out", "runs/a"],
            [
                "Wrong order: runs/a is a run, page.html is not; runs come before --out.",
                "Write: saccade report runs/a --out page.html",
            ],
        ),
        (
            ["compare", "runs/a", "digits"],
            [
                "digits names images, and compare shows networks and runs.",
                "To judge runs on images: saccade evaluate RUN... digits",
            ],
        ),
        (
            ["table", "my photos"],
            [
                "my photos names images, and table shows networks and runs.",
                "To judge runs on images: saccade evaluate RUN... 'my photos'",
            ],
        ),
    ],
)
def test_arguments_in_each_others_places_are_told_with_the_command_that_was_meant(
    saccade: Callable, typed: list[str], message: list[str]
):
    finished = saccade(*typed)
    assert finished.errors == "error: " + "\n".join(message) + "\n"
    assert (finished.status, finished.output) == (2, "")


MEANT = {
    ("transfer", "runs/a", "my photos"): "saccade transfer 'my photos' --weights runs/a",
    ("train", "my photos", "runs/a", "--epochs", "1"): "saccade transfer 'my photos' --weights runs/a",
    ("train", "resnet18", "digits"): "saccade train digits --model resnet18",
    ("transfer", "digits", "resnet18"): "saccade transfer digits --backbone resnet18",
    ("train", "my photos/train", "my photos/test"): "saccade train 'my photos'",
    ("explain", "runs/a"): "saccade explain runs/a IMAGE...",
    ("features", "my photos"): "saccade features RUN 'my photos' (RUN: see saccade runs)",
    ("similar", "cat.jpg"): "saccade similar RUN cat.jpg FILE-OR-FOLDER-OR-SOURCE... (RUN: see saccade runs)",
}


@pytest.mark.parametrize("typed", MEANT)
def test_too_many_arguments_or_too_few_are_told_with_the_command_that_was_meant(
    saccade: Callable, typed: tuple[str, ...]
):
    finished = saccade(*typed)
    assert (finished.status, finished.output) == (2, "")
    assert finished.errors.splitlines()[1:] == [f"Did you mean: {MEANT[typed]}", f"Help: saccade {typed[0]} --help"]


def test_images_without_a_run_are_told_where_the_run_goes(saccade: Callable):
    assert [saccade(*typed).errors for typed in (["evaluate", "digits"], ["predict", "cat.jpg"], ["predict", "x"])] == [
        "error: evaluate needs a run and a source: saccade evaluate RUN digits (RUN: see saccade runs)\n",
        "error: predict needs a run and images: saccade predict RUN cat.jpg (RUN: see saccade runs)\n",
        "error: predict needs a run and images: saccade predict RUN PHOTO.jpg\n",
    ]


@pytest.mark.parametrize("verb", ["train", "transfer", "inspect", "preview"])
def test_a_run_is_no_source_of_images(saccade: Callable, verb: str):
    finished = saccade(verb, "runs/a", *(["--out", "drawn.png"] if verb == "preview" else []))
    assert finished.errors == (
        "error: runs/a is a run, not a set of images.\n"
        "Give the images; or go on with it: saccade train --resume --out runs/a\n"
        "To judge it: saccade evaluate runs/a SOURCE\n"
    )
    assert (finished.status, finished.output) == (2, "")


def test_a_run_that_is_not_there_is_said_to_be_missing_not_swapped(saccade: Callable):
    finished = saccade("predict", "runs/typo", "cat.jpg")
    assert finished.errors == (
        "error: The run runs/typo is not there.\n"
        "Give the folder that 'saccade train' printed, such as runs/digits-lenet5-1.\n"
    )
    assert finished.status == 1


@pytest.mark.parametrize(
    "typed", [["evaluate", "NAME", "digits"], ["inspect", "NAME"], ["table", "NAME"], ["report", "NAME"]]
)
def test_a_name_longer_than_the_disk_holds_is_told_as_that(saccade: Callable, typed: list[str]):
    name = "a" * 300
    finished = saccade(*[name if word == "NAME" else word for word in typed])
    assert finished.errors == (
        f"error: The name '{name[:80]}...' is longer than a name on this disk can be.\n"
        f"Give the path of a file or a folder.\n"
    )
    assert (finished.status, finished.output) == (2, "")


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["my photos"], ["'my photos' is no command; a command comes first.", "Write: saccade inspect 'my photos'"]),
        (
            ["digits", "--epochs", "2"],
            ["'digits' is no command; a command comes first.", "Write: saccade inspect digits"],
        ),
        (["runs/a"], ["'runs/a' is no command; a command comes first.", "Write: saccade evaluate runs/a SOURCE"]),
        (["cat.jpg"], ["'cat.jpg' is no command; a command comes first.", "Write: saccade predict RUN cat.jpg"]),
        (["trian"], ["No such command 'trian'. Did you mean 'train', 'transfer'?"]),
        (["inspect", "my", "photos"], ["A name with spaces stands in quotes.", "Write: saccade inspect 'my photos'"]),
        (["inspect", "a", "b", "c"], ["'saccade inspect' takes SOURCE; beyond that it got 'b', 'c'."]),
        (["recipes", "a"], ["'saccade recipes' takes no argument; beyond that it got 'a'."]),
    ],
)
def test_what_stands_where_it_does_not_belong_is_told(saccade: Callable, typed: list[str], message: list[str]):
    done = saccade(*typed)
    assert done.status == 2
    help_of = f"saccade {typed[0]}" if typed[0] in ("inspect", "recipes") else "saccade"
    assert done.errors.splitlines() == [f"error: {message[0]}", *message[1:], f"Help: {help_of} --help"]
