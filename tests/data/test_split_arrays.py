"""Groups and splits are arrays now: the same, image for image, as one by one with dictionaries."""

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from tests.data import split_in_plain_python as plain
from tests.data.test_split import Labelled, divide, scanned

from saccade.core.task import NUMBER, SEVERAL_LABELS
from saccade.core.types import Record
from saccade.data.records import RecordTable, one_label_each, table_of_labels, table_of_records
from saccade.data.same_images import group_images
from saccade.data.source import DataSource, GradeSource, NumberSource, open_source
from saccade.data.split import deal_out, group_numbers, split_source, strata

IMAGES = st.lists(
    st.tuples(st.integers(0, 2), st.integers(0, 40), st.sampled_from([None, None, None, "a", "b", "\xff" * 9])),
    min_size=4,
    max_size=60,
)
NEAR = st.lists(st.lists(st.integers(0, 59), min_size=2, max_size=4, unique=True), max_size=3)


def made(images: list, near: list[list[int]], num_bad: int = 1):
    """(records, scan) of images with contents, groups and near duplicates; the last is bad."""
    records = [Record(key=str(n), label=label, group=group) for n, (label, _, group) in enumerate(images)]
    spread = np.random.default_rng(0).permutation(2**20)  # digests in another order than the images
    scan = scanned([int(spread[content]) for _, content, _ in images], tuple(range(len(images) - num_bad, len(images))))
    good = set(scan.good_N.tolist())
    groups = [np.array(sorted(n for n in group if n in good)) for group in near]
    scan.__dict__["near_groups"] = (tuple(group for group in groups if len(group) > 1), 0)
    return records, scan


@settings(deadline=None, max_examples=150)
@given(IMAGES, NEAR, st.integers(0, 3), st.sampled_from([0.1, 0.2, 0.5]))
def test_images_are_grouped_and_dealt_as_one_by_one(images: list, near: list[list[int]], seed: int, fraction: float):
    records, scan = made(images, near)
    source, indices = Labelled(records, 3), scan.good_N.tolist()
    groups = plain.groups_of(records, scan, indices)
    number_M = group_numbers(source, scan, scan.good_N)
    expected = {index: number for number, members in enumerate(groups.values()) for index in members}
    assert number_M.tolist() == [expected[index] for index in indices]
    ranks = group_images(source.table(), scan, scan.good_N).ranks(seed)
    names = list(groups)
    assert [names[place] for place in np.argsort(ranks, kind="stable")] == plain.by_rank(groups, seed)
    label_of = {index: records[index].label for index in indices}
    rest, test = plain.cut(records, scan, indices, label_of, fraction, seed)
    train, validation = plain.cut(records, scan, sorted(rest), label_of, 0.1, seed + 1)
    dealt = deal_out(source, scan, scan.good_N, seed, (fraction, 0.1))
    assert [set(part) for part in dealt] == [train, validation, test]


@settings(deadline=None, max_examples=40)
@given(IMAGES, NEAR, st.integers(0, 3))
def test_images_of_several_labels_are_dealt_as_one_by_one(images: list, near: list[list[int]], seed: int):
    records, scan = made(images, near)
    several = [(), (0,), (0, 2)]
    records = [replace(record, label=-1, labels=several[record.label]) for record in records]
    source = Labelled(records, 3)
    source.task = SEVERAL_LABELS
    expected = plain.cut_several(records, scan, scan.good_N.tolist(), 3, 0.2, seed)
    rest, _, test = deal_out(source, scan, scan.good_N, seed, (0.2, 0.0))
    assert (set(rest), set(test)) == expected


def test_numbers_are_dealt_by_their_ranges_as_one_by_one():
    rng = np.random.default_rng(3)
    records = [Record(key=str(n), label=0, value=float(value)) for n, value in enumerate(rng.normal(size=300))]
    source, scan = Labelled(records, 1), scanned(rng.permutation(300).tolist())
    source.task = NUMBER
    label_N = strata(source, source.table(), scan.good_N)
    assert np.bincount(label_N).tolist() == [30] * 10
    label_of = dict(enumerate(label_N.tolist()))
    rest, test = plain.cut(records, scan, list(range(300)), label_of, 0.2, 5)
    kept, _, dealt = deal_out(source, scan, scan.good_N, 5, (0.2, 0.0))
    assert (set(kept), set(dealt)) == (rest, test)


def test_equal_images_with_two_numbers_are_told():
    records = [Record(key=str(n), label=0, value=float(n % 7)) for n in range(40)]
    source, contents = Labelled(records, 1), [*range(39), 3]
    source.task = NUMBER
    assert split_source(source, scanned(contents), 0).notes == (
        "1 image has more than one number, so some are wrong, or all are uncertain: '3' (3) and '39' (4)",
    )


def test_the_first_of_several_muddles_is_shown():
    records = [Record(key=str(n), label=n % 2) for n in range(40)]
    contents = list(range(40))
    contents[20], contents[31], contents[7], contents[24] = 5, 20, 8, 8  # 5 and 20; 8, 7 and 24
    assert divide(records, contents).notes == (
        "2 images are each in more than one class, so labels are wrong: '5' (class 1) and '20' (class 0)",
    )


# What a CSV file says of image n, by the kind of set.
ROWS = {
    "one label": ("file,label", lambda n: "xyz"[n % 3]),
    "several": ("file,label", lambda n: ("x;y", "y;x", "x", "")[n % 4]),
    "groups": (
        "file,label,split,group",
        lambda n: f"{'xy'[n % 2]},{('train', 'test')[n // 6]},{('p', '', 'q')[n // 4]}",
    ),
    "numbers": ("file,label", lambda n: ("1", "1.0", "2.5")[n % 3]),
    "grades": ("file,label", lambda n: ("2", "10", "1")[n % 3]),
}
TARGETS = {"numbers": ("?target=number", NumberSource), "grades": ("?target=grade", GradeSource)}


@pytest.mark.parametrize("kind", ["folder", "parts", *ROWS])
def test_the_table_of_a_source_is_that_of_its_records(kind: str, tmp_path: Path):
    for number in range(12):
        part = ("train/", "test/")[number % 2] if kind == "parts" else ""
        path = tmp_path / f"{part}{'ab'[number % 3 == 0]}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), number).save(path)
    text = str(tmp_path)
    target, expected_type = TARGETS.get(kind, ("", DataSource))
    if kind in ROWS:
        columns, row = ROWS[kind]
        files = sorted(path.relative_to(tmp_path) for path in tmp_path.rglob("*.png"))
        lines = [columns, *(f"{file},{row(n)}" for n, file in enumerate(files))]
        (tmp_path / "list.csv").write_text("\n".join(lines) + "\n")
        text = f"{tmp_path / 'list.csv'}{target}"
    source = open_source(text, several=True)
    assert isinstance(source, expected_type)
    found, expected = source.table(), table_of_records(map(source.record, range(len(source))), len(source))
    assert [found.labels[code] for code in found.code_N] == [expected.labels[code] for code in expected.code_N]
    assert len(set(found.labels)) == len(found.labels)
    np.testing.assert_array_equal(found.split_N, expected.split_N)
    assert (found.group_N is None) == (expected.group_N is None) == (kind != "groups")
    groups = [None if table.group_N is None else named_groups(table) for table in (found, expected)]
    assert groups[0] == groups[1]


def named_groups(table: RecordTable) -> list[str | None]:
    return [table.groups[number] if number >= 0 else None for number in table.group_N]


class ManyLabelled(DataSource):
    """30,000 images of ten classes, of which arrays are kept."""

    name, digest, classes = "photos", "", tuple("0123456789")

    def __len__(self) -> int:
        return 30_000

    def record(self, index: int) -> Record:
        raise AssertionError("a split of arrays asks for no record")

    def read(self, index: int) -> bytes:
        raise AssertionError("a split reads no image")

    def table(self) -> RecordTable:
        label_N = np.arange(len(self), dtype=np.int32) % 10
        return table_of_labels(label_N, one_label_each(10), np.full(len(self), -1, np.int8))


def test_a_split_takes_few_bytes_an_image():
    """It took 700 with objects for each."""
    source = ManyLabelled()
    scan = replace(scanned(np.random.default_rng(0).permutation(len(source)).tolist()), likeness=None)
    tracemalloc.start()
    split = split_source(source, scan, 0)
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert [len(split.train_N), len(split.validation_N), len(split.test_N)] == [21_600, 2_400, 6_000]
    assert peak_bytes < 250 * len(source)
