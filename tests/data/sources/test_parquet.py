"""Parquet files as Hugging Face keeps images: columns, names, splits, damage; reads in any order stay cheap."""

import json
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from saccade.core.errors import DataError, ImageError
from saccade.data.source import open_source
from saccade.data.sources.parquet import row_groups
from saccade.data.sources.parquet.row_groups import Group, KeptGroups, ParquetPart, ValueReader

NAMES = ["cat", "dog", "owl"]


def rows(num: int, first: int = 0) -> list[dict[str, Any]]:
    """Rows with contents of 40 to 60 bytes that tell them apart."""
    contents = [f"image {number:05d} ".encode() + b"x" * (30 + number % 20) for number in range(first, first + num)]
    return [{"image": {"bytes": content, "path": None}, "label": n % 3} for n, content in enumerate(contents)]


def write(path: Path, values: list[dict[str, Any]], features: object = None, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.Table.from_pylist(values)
    if features is not None:
        text = features if isinstance(features, str) else json.dumps({"info": {"features": features}})
        table = table.replace_schema_metadata({"huggingface": text})
    parquet.write_table(table, path, **({"compression": "none", "row_group_size": 7} | options))
    return path


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    return str(error.value)


LABEL = {"image": {"_type": "Image"}, "label": {"names": NAMES, "_type": "ClassLabel"}}


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd"])
@pytest.mark.parametrize("dictionary", [True, False])
def test_rows_come_back_in_any_order(tmp_path: Path, compression: str, dictionary: bool):
    values = rows(50)
    values[40]["image"]["bytes"] = values[3]["image"]["bytes"]
    path = write(tmp_path / "a.parquet", values, LABEL, compression=compression, use_dictionary=dictionary)
    source = open_source(str(path))
    assert source.classes == tuple(NAMES)
    for index in np.random.default_rng(0).permutation(np.repeat(np.arange(50), 3)):
        assert source.read(int(index)) == values[index]["image"]["bytes"]
        assert source.record(int(index)).label == values[index]["label"]
    assert source.record(31).key == "a.parquet:31"
    assert {source.record(index).split for index in range(50)} == {None}


def test_cifar10_as_hugging_face_keeps_it(shared: Callable[[str], Path]):
    source = open_source(str(shared("data/cifar10-jpeg")))
    assert source.classes == tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
    splits = [source.record(index).split for index in range(0, 60_000, 100)]
    assert (splits.count("train"), splits.count("test"), len(source)) == (500, 100, 60_000)
    table = parquet.read_table(shared("data/cifar10-jpeg") / "train.parquet")
    for row in np.random.default_rng(0).integers(0, 50_000, 20).tolist():
        assert source.read(10_000 + row) == table["image"][row]["bytes"].as_py()
        assert source.record(10_000 + row).label == table["label"][row].as_py()
        assert source[10_000 + row].image_HWC.shape == (32, 32, 3)


@pytest.mark.parametrize(
    ("train", "test"),
    [
        ("train.parquet", "test.parquet"),
        ("train-00000-of-00001.parquet", "test-00000-of-00001.parquet"),
        ("data/train-00000-of-00001-0a1b.parquet", "data/validation_x.parquet"),
        ("train/0000.parquet", "test/0000.parquet"),
        ("plain_text/train/0000.parquet", "plain_text/test/0000.parquet"),
    ],
)
def test_splits_are_told_by_file_names(tmp_path: Path, train: str, test: str):
    write(tmp_path / train, rows(6), LABEL)
    write(tmp_path / test, rows(3, 6), LABEL)
    source = open_source(str(tmp_path))
    found = {source.record(index).key.rpartition(":")[0]: source.record(index).split for index in range(9)}
    assert found == {train: "train", test: "validation" if "validation" in test else "test"}


def test_files_of_one_split_are_divided_by_us(tmp_path: Path):
    write(tmp_path / "train-00000-of-00002.parquet", rows(6), LABEL)
    write(tmp_path / "train-00001-of-00002.parquet", rows(6, 6), LABEL)
    source = open_source(str(tmp_path))
    assert {source.record(index).split for index in range(12)} == {None}


def test_a_test_part_without_labels_is_left_out(tmp_path: Path):
    write(tmp_path / "train.parquet", rows(6), LABEL)
    write(tmp_path / "test.parquet", [row | {"label": -1} for row in rows(6)], LABEL)
    assert len(open_source(str(tmp_path))) == 6


CARDS = {
    "dictionary": "dataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
    "      class_label:\n        names:\n          '0': cat\n          '1': dog\n          '2': owl\n",
    "configurations": "dataset_info:\n- config_name: a\n  features:\n  - name: label\n    dtype:\n      class_label:\n"
    "        names: [cat, dog, owl]\n- config_name: b\n  features:\n  - name: text\n    dtype: string\n",
}


@pytest.mark.parametrize("card", CARDS)
def test_class_names_come_from_the_data_card_where_the_file_has_none(tmp_path: Path, card: str):
    write(tmp_path / "train.parquet", rows(6))
    (tmp_path / "README.md").write_text(f"---\nlicense: mit\n{CARDS[card]}---\n# Cats\n")
    assert open_source(str(tmp_path)).classes == tuple(NAMES)


# what a recursive reader would end the process on, or read for half a minute
LARGE = (f"---\na: {'[' * 300_000}\n---\n", f"---\n{'? ' * 200_000}\n---\n", "---\n" + "- - a\n" * 150_000 + "---\n")


@pytest.mark.parametrize(
    "card", ["", "# no head", "---\n: [\n---\n", "---\n- 1\n---\n", "---\ndataset_info: 3\n---\n", *LARGE]
)
@pytest.mark.parametrize("features", [None, "{", '{"info": []}', '{"info": {"features": [1]}}', "[" * 100_000])
def test_without_names_the_numbers_serve(tmp_path: Path, card: str, features: str | None):
    write(tmp_path / "train.parquet", rows(6), features)
    (tmp_path / "README.md").write_text(card)
    assert open_source(str(tmp_path)).classes == ("0", "1", "2")


ALIASES = {
    "features": "a: &f {name: image}\nb: &l [" + "*f," * 5000 + "]\nc: &i {features: *l}\n",
    "names": "a: &n [" + "x," * 5000 + "]\nc: &i {features: [{name: label, dtype: {class_label: {names: *n}}}]}\n",
}


@pytest.mark.parametrize("kind", ALIASES)
def test_a_data_card_that_repeats_itself_by_aliases_is_refused(tmp_path: Path, kind: str):
    write(tmp_path / "train.parquet", rows(6))
    card = ALIASES[kind] + "dataset_info: [" + "*i," * 5000 + "]\n"
    (tmp_path / "README.md").write_text(f"---\n{card}---\n")  # 30 KB, and 25 million entries
    with pytest.raises(DataError) as caught:
        open_source(str(tmp_path))
    assert caught.value.message == (
        f"{tmp_path}/README.md: the data card repeats its lists by aliases (*) without end.\n"
        "Write them once, or move the file away: the numbers then serve as names of the classes."
    )


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int8(), pa.string())])
def test_labels_may_be_names(tmp_path: Path, kind: pa.DataType):
    names = pa.array(["owl", "cat", "owl", "dog"]).cast(kind)
    table = pa.table({"img": pa.array([b"a", b"b", b"c", b"d"]), "class": names})
    parquet.write_table(table, tmp_path / "x.parquet")
    source = open_source(str(tmp_path / "x.parquet"))
    assert source.classes == ("cat", "dog", "owl")
    assert [source.record(index).label for index in range(4)] == [2, 0, 2, 1]
    assert [source.read(index) for index in range(4)] == [b"a", b"b", b"c", b"d"]


def test_the_fine_labels_of_several_are_used(tmp_path: Path):
    features = {name: {"_type": "ClassLabel", "names": NAMES} for name in ("coarse_label", "fine_label")}
    values = [{"img": row["image"], "coarse_label": 0, "fine_label": row["label"]} for row in rows(6)]
    source = open_source(str(write(tmp_path / "x.parquet", values, features | {"img": {"_type": "Image"}})))
    assert [source.record(index).label for index in range(6)] == [0, 1, 2, 0, 1, 2]
    assert source.notes == ("x.parquet: 'fine_label' is the label; columns that are not used: coarse_label",)


def test_a_column_that_says_the_parts_is_told(tmp_path: Path):
    values = [row | {"split": "train", "camera": 1} for row in rows(6)]
    assert open_source(str(write(tmp_path / "x.parquet", values))).notes == (
        "x.parquet: 'label' is the label; columns that are not used: split, camera",
        "'split' may say which part an image is of: write a file for each part, such as train.parquet",
    )


def test_columns_that_are_missing_or_many_are_named(tmp_path: Path):
    assert refusal(write(tmp_path / "a.parquet", [{"text": "x", "label": 1}])) == (
        f"{tmp_path}/a.parquet has no column that can be the image; its columns are: text, label.\n"
        "Name the image column image (bytes of an encoded file) and the class column label; "
        "or choose: --file-column NAME."
    )
    assert refusal(write(tmp_path / "b.parquet", [{"image": b"x", "kind": 1}])) == (
        f"{tmp_path}/b.parquet has no column that can be the label; its columns are: image, kind.\n"
        "Name the image column image (bytes of an encoded file) and the class column label; "
        "or choose: --label-column NAME."
    )
    assert refusal(write(tmp_path / "c.parquet", [{"left": b"x", "right": b"y", "label": 1}])) == (
        f"{tmp_path}/c.parquet has several columns that can be the image; its columns are: left, right, label.\n"
        "Name the image column image (bytes of an encoded file) and the class column label; "
        "or choose: --file-column NAME."
    )


def test_columns_are_chosen_behind_the_name(tmp_path: Path):
    values = [{"left": b"l%d" % n, "right": {"bytes": b"r%d" % n}, "fine": n % 3, "coarse": n % 2} for n in range(6)]
    path = write(tmp_path / "a.parquet", values)
    source = open_source(f"{path}?file=right&label=coarse")
    assert source.name == f"{path}?file=right&label=coarse"
    assert source.classes == ("0", "1")
    assert [source.read(index) for index in range(6)] == [b"r%d" % n for n in range(6)]
    assert [source.record(index).label for index in range(6)] == [0, 1] * 3
    assert open_source(f"{tmp_path}?file=left&label=fine").classes == ("0", "1", "2")
    assert refusal(Path(f"{path}?label=corse")) == (
        f"{path} has no column 'corse' for the label. Did you mean 'coarse'?\n"
        "Its columns are: left, right, fine, coarse."
    )
    assert refusal(Path(f"{path}?file=fine&label=coarse")) == (
        f"{path}: the column 'fine' holds int64, not images.\n"
        "Choose a column of encoded files (bytes, or a struct with bytes)."
    )
    assert refusal(Path(f"{path}?group=fine")) == (
        f"{path}: of Parquet files the file and label columns can be chosen, not those of a split or a group.\n"
        "Splits are told by file names, such as train.parquet and test.parquet."
    )


def named_labels(path: Path) -> list[tuple[str, ...]]:
    """The names of each image's labels."""
    source = open_source(str(path), several=True)
    records = [source.record(index) for index in range(len(source))]
    assert source.task.is_several
    assert {record.label for record in records} == {-1}
    return [tuple(source.classes[label] for label in record.labels or ()) for record in records]


def test_several_labels_an_image_are_read_from_lists_and_from_texts(tmp_path: Path):
    lists = write(tmp_path / "a.parquet", [{"image": b"x", "label": label} for label in ([0, 10], [2], [], None)])
    assert named_labels(lists) == [("0", "10"), ("2",), (), ()]
    assert open_source(str(lists), several=True).notes == (
        "labels are lists: an image may have several labels",
        "2 images have no label",
    )
    names = write(tmp_path / "n.parquet", [{"image": b"x", "label": label} for label in (["dog", "cat"], ["cat"])])
    assert named_labels(names) == [("cat", "dog"), ("cat",)]
    for labels in (("a", "b", "a|b"), ("a|b", "b|c", "a|c")):
        texts = write(tmp_path / "b.parquet", [{"image": b"x", "label": label} for label in labels])
        assert named_labels(texts) == [tuple(label.split("|")) for label in labels]
    assert open_source(f"{texts}?labels=one").classes == labels[:1] + ("a|c", "b|c")


def test_lists_of_class_numbers_are_named_as_the_schema_says(tmp_path: Path):
    feature = {"feature": {"names": ["ant", "bee", "cow"], "_type": "ClassLabel"}, "_type": "Sequence"}
    features = {"image": {"_type": "Image"}, "tags": feature}
    rows_of_lists = [{"image": b"x", "tags": [2, 0]}, {"image": b"y", "tags": [0]}]
    path = write(tmp_path / "a.parquet", rows_of_lists, features)
    assert named_labels(path) == [("ant", "cow"), ("ant",)]
    assert open_source(str(path), several=True).classes == ("ant", "bee", "cow")
    wrong = write(tmp_path / "b.parquet", [{"image": b"x", "tags": [3]}], features)
    assert refusal(wrong) == (
        f"{wrong} has the label 3, but names 3 classes, 0 to 2.\n"
        "The file or its data card is damaged: download it again."
    )


def test_labels_that_cannot_be_are_refused(tmp_path: Path):
    values = rows(6)
    assert refusal(write(tmp_path / "a.parquet", [row | {"label": 0.5} for row in values])) == (
        f"{tmp_path}/a.parquet: the column 'label' holds double, not class numbers or names.\n"
        "Write a class number or name for each image."
    )
    assert refusal(write(tmp_path / "b.parquet", [*values, values[0] | {"label": 7}], LABEL)) == (
        f"{tmp_path}/b.parquet has the label 7, but names 3 classes, 0 to 2.\n"
        "The file or its data card is damaged: download it again."
    )
    assert refusal(write(tmp_path / "c.parquet", [*values, values[0] | {"label": None}])) == (
        f"{tmp_path}/c.parquet: 1 of 7 rows have no label.\nFill them in, or leave the rows out."
    )
    assert refusal(write(tmp_path / "d.parquet", [row | {"label": -1} for row in values])) == (
        f"{tmp_path}/d.parquet has no labelled row.\nThere is nothing to learn from it."
    )
    assert refusal(write(tmp_path / "e.parquet", [row | {"label": "cat"} for row in values])) == (
        f"{tmp_path}/e.parquet has one class only, 'cat': there is nothing to tell apart.\n"
        "Give a set with images of at least one more class."
    )
    assert refusal(write(tmp_path / "f.parquet", [*values, values[0] | {"label": -3}])) == (
        f"{tmp_path}/f.parquet has the label -3: classes are numbered from 0, and -1 means that there is no label.\n"
        "Number the classes again."
    )


def test_several_sets_absent_shards_and_files_of_no_split_are_refused(tmp_path: Path):
    write(tmp_path / "a" / "small" / "train.parquet", rows(6))
    write(tmp_path / "a" / "large" / "train.parquet", rows(6))
    assert refusal(tmp_path / "a") == f"{tmp_path}/a holds 2 sets: large, small.\nGive the folder of one of them."
    write(tmp_path / "b" / "train-00001-of-00004.parquet", rows(6))
    assert refusal(tmp_path / "b") == (
        f"{tmp_path}/b has no train-00000-of-00004.parquet and 2 more.\nDownload the set again: it is not complete."
    )
    write(tmp_path / "c" / "train.parquet", rows(6))
    write(tmp_path / "c" / "extra.parquet", rows(6))
    assert refusal(tmp_path / "c") == (
        f"{tmp_path}/c: extra.parquet is of no split, but other files are.\n"
        "Begin its name with train, validation or test, or move it out of the folder."
    )
    write(tmp_path / "d" / "train.parquet", rows(6), LABEL)
    write(tmp_path / "d" / "test.parquet", rows(6))
    assert refusal(tmp_path / "d") == (
        f"{tmp_path}/d/train.parquet has other columns or classes than test.parquet.\n"
        "They are not one set: give one of them."
    )


@pytest.mark.parametrize("keep", [0, 3, 100, -1, -400])
def test_a_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int):
    path = write(tmp_path / "a.parquet", rows(50), LABEL)
    path.write_bytes(path.read_bytes()[:keep])
    text = refusal(path)
    assert text.startswith(f"{path} is cut off, damaged or no Parquet file (")
    assert text.endswith(").\nDownload it again.")


def test_a_row_without_bytes_is_named(tmp_path: Path):
    values = rows(6)
    values[2]["image"] = {"bytes": None, "path": "cat.jpg"}
    source = open_source(str(write(tmp_path / "a.parquet", values)))
    with pytest.raises(ImageError, match=r"^a\.parquet:2: the row holds no image bytes\.$"):
        source.read(2)


@pytest.mark.parametrize("compression", ["none", "snappy"])
@pytest.mark.parametrize("read_before", [True, False])
def test_a_file_that_changes_is_not_mixed_up(tmp_path: Path, compression: str, read_before: bool):
    path = write(tmp_path / "a.parquet", rows(6), compression=compression)
    source = open_source(str(path))
    if read_before and compression == "none":
        source.read(0)
    write(path, rows(6, 100), compression=compression)
    os.utime(path, (1, 1))
    with pytest.raises(ImageError, match=r"a\.parquet has changed since it was opened\. Start again\.$"):
        source.read(0)


def test_a_file_that_vanishes_is_named(tmp_path: Path):
    path = write(tmp_path / "a.parquet", rows(6))
    source = open_source(str(path))
    path.unlink()
    with pytest.raises(ImageError, match=r"^a\.parquet:0: the Parquet file cannot be read: .*No such file"):
        source.read(0)


def test_without_pyarrow_the_way_to_install_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = write(tmp_path / "a.parquet", rows(6))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refusal(path) == (
        "Parquet files need pyarrow, which is not installed.\nInstall it: pip install 'saccade-learn[data]'."
    )


def reader(path: Path, kept_bytes: int) -> ValueReader:
    status = path.stat()
    metadata = parquet.ParquetFile(path).metadata
    signature = (status.st_size, status.st_mtime_ns)
    return ValueReader(
        [ParquetPart(path=path, metadata=metadata, signature=signature, column="image.bytes")], kept_bytes
    )


def test_an_uncompressed_group_is_decoded_once_however_the_images_are_drawn(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loads = []
    load = ValueReader._load

    def counted(self: ValueReader, number: int) -> Group:
        loads.append(number)
        return load(self, number)

    monkeypatch.setattr(ValueReader, "_load", counted)
    values = rows(70)
    values_reader = reader(write(tmp_path / "a.parquet", values), kept_bytes=1)
    for index in np.random.default_rng(0).integers(0, 70, 500).tolist():
        assert values_reader.read(index, "key") == values[index]["image"]["bytes"]
    assert sorted(loads) == list(range(10))


def test_what_is_kept_stays_within_its_limit(tmp_path: Path):
    values = rows(70)
    path = write(tmp_path / "a.parquet", values, compression="snappy")
    one_group = KeptGroups(0)
    limit = 3 * reader(path, 1 << 20)._load(0).nbytes
    values_reader = reader(path, limit)
    for index in np.random.default_rng(0).permutation(70).tolist():
        assert values_reader.read(index, "key") == values[index]["image"]["bytes"]
        assert values_reader._groups.nbytes <= limit
    assert one_group.nbytes == 0


def test_threads_that_want_the_same_group_load_it_once():
    loads: list[int] = []
    gate = threading.Barrier(8)

    def load(number: int) -> Group:
        loads.append(number)
        threading.Event().wait(0.05)
        return Group([pa.array([b"x" * number])])

    kept = KeptGroups(1 << 20)

    def ask() -> None:
        gate.wait()
        assert kept.get(3, load).value(0) == b"xxx"

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loads == [3]


def test_a_forked_child_is_not_locked_out_by_a_thread_it_does_not_have(monkeypatch: pytest.MonkeyPatch):
    kept = KeptGroups(1 << 20)
    kept._lock.acquire()
    row_groups._reset_after_fork(row_groups.weakref.ref(kept))
    assert kept.get(1, lambda number: Group([pa.array([b"y"])])).value(0) == b"y"


@pytest.mark.parametrize("value_type", [pa.binary(), pa.large_binary()], ids=str)
def test_images_as_an_arrow_dictionary_are_named_as_that_and_the_advice_works(tmp_path: Path, value_type: pa.DataType):
    image = pa.DictionaryArray.from_arrays(pa.array([0, 1, 0], pa.int32()), pa.array([b"one", b"two"], value_type))
    table = pa.table({"image": image, "label": [0, 1, 0]})
    parquet.write_table(table, tmp_path / "set.parquet")
    assert refusal(tmp_path / "set.parquet") == (
        f"{tmp_path}/set.parquet: the column 'image' is an Arrow dictionary of bytes, in which rows name shared values "
        "by number; that is not read as images.\n"
        "Write it as plain bytes: table.set_column(i, 'image', table['image'].cast('binary'))."
    )
    parquet.write_table(table.set_column(0, "image", table["image"].cast("binary")), tmp_path / "set.parquet")
    source = open_source(str(tmp_path / "set.parquet"))
    assert [source.read(index) for index in range(3)] == [b"one", b"two", b"one"]
