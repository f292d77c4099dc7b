"""Splits: stratified, repeatable, equal images and groups on one side, given splits as they are, tiny classes named."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.core.errors import DataError
from saccade.core.types import Record, Split
from saccade.data.images.near_duplicates import Likeness
from saccade.data.scan import ScanReport
from saccade.data.source import DataSource
from saccade.data.split import split_source


class Labelled(DataSource):
    """Records only: a split never reads an image."""

    def __init__(self, records: list[Record], num_classes: int = 2) -> None:
        self.name, self.digest = "photos", ""
        self.classes = tuple(f"class {label}" for label in range(num_classes))
        self.records = records

    def __len__(self) -> int:
        return len(self.records)

    def record(self, index: int) -> Record:
        return self.records[index]

    def read(self, index: int) -> bytes:
        raise AssertionError("a split reads no image")


def scanned(contents: list[int], bad: tuple[int, ...] = ()) -> ScanReport:
    """A report of images whose contents are equal where the numbers are."""
    count = len(contents)
    digest_N = np.zeros((count, 16), np.uint8)
    digest_N[:, :8] = np.array(contents, dtype="<u8").view(np.uint8).reshape(count, 8)
    return ScanReport(
        pixel_digest_N=digest_N,
        bytes_digest_N=digest_N,
        good_N=np.array([index for index in range(count) if index not in bad], dtype=np.int64),
        bad=(),
        size_N2=np.full((count, 2), 32, np.int32),
        mean_NC=np.zeros((count, 3), np.float32),
        square_NC=np.zeros((count, 3), np.float32),
        is_grey_N=np.zeros(count, bool),
        mode_counts={},
        num_rotated=0,
        likeness=Likeness(thumbnail_NP=np.zeros((count, 256), np.uint8), is_telling_N=np.zeros(count, bool)),
    )


def labelled(*labels: int, given: str | None = None) -> list[Record]:
    return [Record(key=str(number), label=label, split=given) for number, label in enumerate(labels)]


def divide(records: list[Record], contents: list[int] | None = None, seed: int = 0, num_classes: int = 2) -> Split:
    report = scanned(list(range(len(records))) if contents is None else contents)
    return split_source(Labelled(records, num_classes), report, seed)


def sides(split: Split) -> list[set[int]]:
    return [set(split.indices(name).tolist()) for name in ("train", "validation", "test")]


def test_each_class_is_divided_in_the_fractions_asked_for():
    labels = [0] * 1000 + [1] * 100 + [2] * 10
    split = divide(labelled(*labels), num_classes=3)
    counts = [Counter(labels[index] for index in side) for side in sides(split)]
    # 20 % for the test; 10 % of the remaining 800, 80 and 8 for validation
    assert counts == [{0: 720, 1: 72, 2: 7}, {0: 80, 1: 8, 2: 1}, {0: 200, 1: 20, 2: 2}]
    assert split.origin == "stratified by content, seed 0"
    assert split.notes == ()


def test_a_seed_gives_the_same_split_and_another_another():
    records = labelled(*[0, 1] * 100)
    assert sides(divide(records, seed=3)) == sides(divide(records, seed=3))
    assert sides(divide(records, seed=3)) != sides(divide(records, seed=4))


def test_the_side_follows_the_content_not_the_order_or_the_name():
    labels = [0, 1] * 100
    split = divide(labelled(*labels))
    order = np.random.default_rng(1).permutation(200)
    shuffled = divide(labelled(*(labels[index] for index in order)), contents=order.tolist())
    assert [{int(order[index]) for index in side} for side in sides(shuffled)] == sides(split)


def test_adding_images_moves_few_of_the_others():
    labels = [0, 1] * 250
    before, after = divide(labelled(*labels[:480])), divide(labelled(*labels))
    moved = sum(len(one - other) for one, other in zip(sides(before), sides(after)))
    assert moved <= 0.03 * 480


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 30), st.sampled_from([None, "a", "b", "c"])), min_size=2),
    st.integers(0, 5),
)
def test_every_image_is_on_one_side_and_what_belongs_together_stays_together(
    images: list[tuple[int, int, str | None]], seed: int
):
    records = [Record(key=str(n), label=label, group=group) for n, (label, _, group) in enumerate(images)]
    if len({record.label for record in records}) < 2:
        return
    split = divide(records, [content for _, content, _ in images], seed, num_classes=3)
    train, validation, test = sides(split)
    assert sorted([*train, *validation, *test]) == list(range(len(images)))
    for first in range(len(images)):
        for second in range(first):
            same_content = images[first][1] == images[second][1]
            same_group = images[first][2] is not None and images[first][2] == images[second][2]
            if same_content or same_group:
                assert any(first in side and second in side for side in (train, validation, test))
    assert {records[index].label for index in train} == {record.label for record in records}
    assert not any("also in train" in note for note in split.notes)


def test_given_splits_are_taken_as_they_are_and_their_leaks_said():
    records = [
        *(Record(key=f"a{n}", label=n % 2, split="train") for n in range(6)),
        *(Record(key=f"b{n}", label=n % 2, split="validation") for n in range(4)),
        *(Record(key=f"c{n}", label=n % 2, split="test") for n in range(2)),
    ]
    split = divide(records, [0, 1, 2, 3, 4, 5, 0, 7, 8, 9, 1, 2])
    assert sides(split) == [{0, 1, 2, 3, 4, 5}, {6, 7, 8, 9}, {10, 11}]
    assert split.origin == "train, validation, test as given"
    assert split.notes == (
        "1 validation image is also in train: it is not used",
        "2 test images are also in train or validation: there are no others to judge by",
        "2 images are each in more than one class, so labels are wrong: 'a1' (class 1) and 'c0' (class 0)",
    )


def test_a_validation_part_that_is_missing_is_cut_from_train_and_the_test_stays():
    records = [
        *(Record(key=f"a{n}", label=n % 2, split="train") for n in range(40)),
        *(Record(key=f"c{n}", label=n % 2, split="test") for n in range(10)),
    ]
    train, validation, test = sides(split := divide(records))
    assert test == set(range(40, 50))
    assert len(validation) == 4
    assert train | validation == set(range(40))
    assert split.origin == "train, test as given; validation dealt out of train"


def test_tiny_classes_stay_in_train_and_are_named():
    split = divide(labelled(*[0] * 50, *[1] * 50, 2, 3, 3), num_classes=4)
    train, _, _ = sides(split)
    assert {100, 101} <= train or {100, 102} <= train
    assert any(note.startswith("no validation image of: class 2 (1 image)") for note in split.notes)
    assert any(note.startswith("no test image of: class 2 (1 image)") for note in split.notes)


def test_what_cannot_be_learned_from_is_refused_with_the_whole_message():
    with pytest.raises(DataError) as error:
        split_source(Labelled(labelled(0, 1)), scanned([0, 1], bad=(0, 1)), 0)
    assert str(error.value) == "photos has no image that can be decoded."
    with pytest.raises(DataError) as error:
        split_source(Labelled(labelled(0, 1, 1)), scanned([0, 1, 2], bad=(0,)), 0)
    assert str(error.value) == (
        "photos has images of one class only, 'class 1': there is nothing to tell apart.\n"
        "Give a folder with one sub-folder of images for each of at least two classes."
    )
    with pytest.raises(DataError) as error:
        divide(labelled(0, 1, 0, given="test"))
    assert str(error.value) == "photos has no training images: every image is in another split."
    trained = [Record(key=str(number), label=number % 2, split="train") for number in range(4)]
    with pytest.raises(DataError) as error:
        divide([*trained, Record(key="4", label=2, split="test")], num_classes=3)
    assert str(error.value) == (
        "photos: the test part has images of class 2 only, and training none of these, but of class 0, class 1: no "
        "answer could be right.\n"
        "Give a class one name in all parts; or, if nobody knows what they show, take them out of the set."
    )
    known = [Record(key=str(number), label=label, split="test") for number, label in ((4, 2), (5, 1))]
    assert sides(divide([*trained, *known], num_classes=3))[2] == {4, 5}


def test_bad_images_are_on_no_side():
    records = labelled(*[0, 1] * 20)
    split = split_source(Labelled(records), scanned(list(range(40)), bad=(3, 17)), 0)
    assert set().union(*sides(split)) == set(range(40)) - {3, 17}


def test_images_that_are_all_equal_are_not_divided():
    split = divide(labelled(*[0, 1] * 10), contents=[7] * 20)
    assert sides(split) == [set(range(20)), set(), set()]
