"""Groups go to one side whole, and the sides still come near their sizes, class by class."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from saccade.core.types import Record, Split
from saccade.data.scan import scan_source
from saccade.data.source import DataSource
from saccade.data.split import split_source


class Grouped(DataSource):
    """Pixels that tell all images apart, with given labels and groups."""

    name = "grouped"
    digest = "0" * 64

    def __init__(self, labels: list[int], groups: list[str | None]) -> None:
        self.labels, self.groups = labels, groups
        self.classes = tuple(f"class {label}" for label in range(max(labels) + 1))

    def __len__(self) -> int:
        return len(self.labels)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=self.labels[index], group=self.groups[index])

    def read(self, index: int) -> np.ndarray:
        return np.frombuffer(index.to_bytes(4, "little"), np.uint8).reshape(2, 2)


def divide(source: Grouped, seed: int = 0) -> Split:
    return split_source(source, scan_source(source, 1), seed)


def sizes(split: Split) -> list[int]:
    return [len(split.indices(name)) for name in ("train", "validation", "test")]


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_no_group_is_on_two_sides_and_every_class_stays_in_train(data: st.DataObject):
    num = data.draw(st.integers(4, 120))
    labels = [0, 1, *data.draw(st.lists(st.integers(0, 3), min_size=num - 2, max_size=num - 2))]
    groups = data.draw(st.lists(st.none() | st.sampled_from("abcdefgh"), min_size=num, max_size=num))
    split = divide(Grouped(labels, groups), data.draw(st.integers(0, 5)))
    sides = {int(index): name for name in ("train", "validation", "test") for index in split.indices(name)}
    assert sorted(sides) == list(range(num))
    for group in set(groups) - {None}:
        assert len({sides[index] for index in range(num) if groups[index] == group}) == 1
    assert {labels[index] for index in split.train_N} == set(labels)


@pytest.mark.parametrize("seed", range(6))
def test_patients_with_images_of_every_class_are_held_out_whole(seed: int):
    labels = [index % 3 for index in range(120)]
    groups: list[str | None] = [f"patient {index % 5}" for index in range(120)]
    split = divide(Grouped(labels, groups), seed)
    assert sizes(split) == [72, 24, 24]
    assert Counter(labels[index] for index in split.test_N) == {0: 8, 1: 8, 2: 8}


@pytest.mark.parametrize("seed", range(6))
def test_many_groups_of_one_class_each_come_near_the_fractions_in_every_class(seed: int):
    rng = np.random.default_rng(seed)
    labels, groups = [], []
    for number in range(150):
        count = int(rng.integers(1, 8))
        labels += [number % 3] * count
        groups += [f"video {number}"] * count
    split = divide(Grouped(labels, groups), seed)
    for label in range(3):
        total = labels.count(label)
        tested = sum(labels[index] == label for index in split.test_N)
        assert abs(tested - 0.2 * total) <= 4


def test_three_patients_give_one_to_judge_by_and_a_note_on_the_choice_of_the_epoch():
    split = divide(Grouped([index % 2 for index in range(60)], [f"patient {index % 3}" for index in range(60)]))
    assert sizes(split) == [40, 0, 20]
    assert split.notes[-1] == "no validation image: 2 groups are too few to hold one out whole"


def test_two_patients_cannot_be_divided_and_that_is_said():
    split = divide(Grouped([index % 2 for index in range(60)], [f"patient {index // 30}" for index in range(60)]))
    assert sizes(split) == [60, 0, 0]
    assert split.notes == ("no validation and no test image: 2 groups are too few to hold one out whole",)


def test_without_groups_each_class_gives_its_rounded_share():
    labels = [0] * 50 + [1] * 33 + [2] * 4 + [3]
    split = divide(Grouped(labels, [None] * len(labels)))
    tested = Counter(labels[index] for index in split.test_N)
    assert tested == {0: 10, 1: 7, 2: 1}
    assert Counter(labels[index] for index in split.validation_N) == {0: 4, 1: 3}
