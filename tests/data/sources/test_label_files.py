"""Label files in a folder: which one is read, where its files lie, what is refused and what is said."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.core.errors import DataError, UsageError
from saccade.data.source import open_source
from saccade.data.source_text import ChosenColumns, split_source_text, with_columns


def plant(folder: Path, *files: str) -> None:
    """A picture for each of `files`."""
    for number, file in enumerate(files):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cv2.imencode(".png", np.full((8, 8, 3), number % 256, np.uint8))[1].tobytes())


def table(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def listing(source: str | Path) -> list[tuple[str, str, str | None]]:
    """(key, class, split) of every image, sorted; each can be read."""
    opened = open_source(str(source))
    records = [opened.record(index) for index in range(len(opened))]
    assert all(opened.read(index) for index in range(len(opened)))
    return sorted((record.key, opened.classes[record.label], record.split) for record in records)


def refusal(source: str | Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(source))
    return str(error.value)


CAT_AND_DOG = [("a.png", "cat", None), ("b.png", "dog", None)]


def test_imagefolder_metadata_in_csv_and_in_json_lines(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "metadata.csv", "file_name,label\na.png,cat\nb.png,dog\n")
    assert listing(tmp_path) == CAT_AND_DOG
    path.unlink()
    path = table(
        tmp_path / "metadata.jsonl", '{"file_name": "a.png", "label": "cat"}\n\n{"label":"dog", "file_name":"b.png"}'
    )
    assert listing(tmp_path) == CAT_AND_DOG == listing(path)


def test_metadata_in_each_part_makes_the_parts_splits(tmp_path: Path):
    plant(tmp_path, "train/a.png", "train/b.png", "test/a.png", "validation/c.png")
    for part, rows in {"train": "a.png,cat\nb.png,dog", "test": "a.png,dog", "validation": "c.png,cat"}.items():
        table(tmp_path / part / "metadata.csv", f"file_name,label\n{rows}\n")
    assert listing(tmp_path) == [
        ("test/a.png", "dog", "test"),
        ("train/a.png", "cat", "train"),
        ("train/b.png", "dog", "train"),
        ("validation/c.png", "cat", "validation"),
    ]
    assert open_source(str(tmp_path)).notes == ()


@pytest.mark.parametrize("where", ["labels.csv", "."])
def test_listed_images_in_the_folder_where_one_is_are_not_called_unlisted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
):
    plant(tmp_path, "in/a.png", "in/b.png", "in/c.png")
    table(tmp_path / "labels.csv", "file,label\nin/a.png,cat\nin/b.png,dog\n")
    monkeypatch.chdir(tmp_path)
    assert open_source(where).notes == ("1 image is not listed in labels.csv: not used",)


def test_names_that_begin_with_the_folder_of_the_table_count_from_above_it(tmp_path: Path):
    plant(tmp_path, "set/train/a.png", "set/train/b.png")
    path = table(tmp_path / "set" / "train.csv", "Path,label\nset/train/a.png,cat\nset/train/b.png,dog\n")
    assert [(key, label) for key, label, _ in listing(path)] == [("set/train/a.png", "cat"), ("set/train/b.png", "dog")]


@pytest.mark.parametrize(
    ("place", "files"),
    [
        ("t.csv", ("images_1/images/a.png", "images_2/images/b.png")),
        ("t.csv", ("img/img/a.png", "img/img/b.png")),
        ("labels/t.csv", ("images/all/a.png", "images/all/b.png")),
        ("meta/t.csv", ("pics/a.png", "pics/b.png")),
    ],
)
def test_images_that_lie_one_folder_deeper_as_archives_leave_them(tmp_path: Path, place: str, files: tuple[str, ...]):
    plant(tmp_path, *files)
    path = table(tmp_path / place, "file,label\na.png,cat\nb.png,dog\n")
    found = listing(path)
    assert [(key.rpartition("/")[2], label) for key, label, _ in found] == [("a.png", "cat"), ("b.png", "dog")]


def test_a_column_of_a_class_that_no_image_is_of_is_told(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "t.csv", "image,MEL,NV,UNK\na,1.0,0.0,0.0\nb,0.0,1.0,0.0\n")
    assert open_source(str(path)).notes == ("a class without an image: UNK",)


def test_a_list_inside_the_one_folder_is_named(tmp_path: Path):
    plant(tmp_path, "images/a.png", "images/b.png")
    path = table(tmp_path / "images" / "train_labels.csv", "filename,class\na.png,cat\nb.png,dog\n")
    assert refusal(tmp_path).splitlines()[1] == f"If {path} says it, give it in place of the folder: {path}."


FIRST_LINES = {
    "sep=;\nfile;label\na.png;cat\n": "{0} begins with 'sep=', not with the names of the columns.\n"
    "Remove that line, or the sign, so that the names come first: file,label.",
    "# by me\nfile,label\na.png,cat\n": "{0} begins with '# by me', not with the names of the columns.\n"
    "Remove that line, or the sign, so that the names come first: file,label.",
    "file,label\nhttps://x.org/a.png,cat\n": "{0} names its images by addresses, such as https:/x.org/a.png.\n"
    "Download the images, and give the names of the files; images are not fetched from a table.",
    "emotion,pixels\n1,3 3 3\n": "{0} has no column 'file'; its first line is: emotion, pixels.\n"
    "Name the columns file,label and, where you have them, split and group.\n"
    "No column holds names of files that lie beside or below it: put it there, or correct the names.",
}


@pytest.mark.parametrize("text", FIRST_LINES, ids=range(len(FIRST_LINES)))
def test_tables_that_other_programs_write_are_told_for_what_they_are(tmp_path: Path, text: str):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "t.csv", text)
    assert refusal(path) == FIRST_LINES[text].format(path)


def test_a_part_without_a_list_is_told_with_the_number_of_its_images(tmp_path: Path):
    plant(tmp_path, "train/a.png", "train/b.png", "train/c.png", "test/d.png", "test/e.png")
    table(tmp_path / "train" / "metadata.csv", "file_name,label\na.png,cat\nb.png,dog\n")
    assert open_source(str(tmp_path)).notes == (
        "'test' has no list of labels: its images are not used",
        "3 images are not listed in train/metadata.csv: not used",
    )


def test_a_second_list_of_the_images_is_told(tmp_path: Path):
    """Which of two lists is right cannot be known; that one is not read is said."""
    plant(tmp_path, "1.png", "2.png")
    used = table(tmp_path / "labels.csv", "file,label\n1.png,a\n2.png,b\n")
    other = table(tmp_path / "metadata.csv", "file,label\n1.png,b\n2.png,a\n")
    assert listing(tmp_path) == [("1.png", "a", None), ("2.png", "b", None)]
    assert open_source(str(tmp_path)).notes == (
        f"{used.name} says what the images are; metadata.csv beside it lists images, too, and is not read. To read "
        f"that instead, give it in place of the folder: {other}",
    )


def test_metadata_above_the_parts_makes_the_parts_splits(tmp_path: Path):
    plant(tmp_path, "train/a.png", "train/b.png", "test/c.png")
    table(tmp_path / "metadata.csv", "file_name,label\ntrain/a.png,cat\ntrain/b.png,dog\ntest/c.png,cat\n")
    assert [split for _, _, split in listing(tmp_path)] == ["test", "train", "train"]


@pytest.mark.parametrize("folders", [("",), ("train/", "valid/", "test/")])
def test_one_hot_classes_as_roboflow_exports_them(tmp_path: Path, folders: tuple[str, ...]):
    for folder in folders:
        plant(tmp_path, f"{folder}a.png", f"{folder}b.png")
        table(tmp_path / folder / "_classes.csv", "filename, cat, dog\na.png, 1, 0\nb.png, 0, 1\n")
    splits = {"": None, "train/": "train", "valid/": "validation", "test/": "test"}
    expected = [
        (f"{f}{name}", label, splits[f]) for f in folders for name, label in (("a.png", "cat"), ("b.png", "dog"))
    ]
    assert listing(tmp_path) == sorted(expected)


def named_labels(source: str | Path) -> list[tuple[str, ...]]:
    """The names of each image's labels, of a set that may have several."""
    opened = open_source(str(source), several=True)
    records = [opened.record(index) for index in range(len(opened))]
    assert opened.task.is_several
    assert {record.label for record in records} == {-1}  # nothing can take one of them for the label
    return [tuple(opened.classes[label] for label in record.all_labels) for record in records]


def test_a_row_of_no_class_among_rows_of_one_each_is_a_slip_unless_it_is_said_that_it_may_be(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "_classes.csv", "filename,cat,dog\na.png,1,0\nb.png,0,0\n")
    assert refusal(tmp_path) == (
        f"{path}, line 3: b.png is of no class.\n"
        "Write 1 in the column of its class, or remove the row; or let images have none: --labels several."
    )
    assert named_labels(f"{tmp_path}?labels=several") == [("cat",), ()]


def test_one_hot_columns_of_any_table_are_read_of_one_class_and_of_several(tmp_path: Path):
    plant(tmp_path, "photos/i1.jpg", "photos/i2.jpg", "photos/i3.jpg")
    path = table(tmp_path / "truth.csv", "image,MEL,NV,BCC\ni1,1.0,0.0,0.0\ni2,0.0,1.0,0.0\ni3,0.0,0.0,1.0\n")
    assert listing(tmp_path) == [("i1.jpg", "MEL", None), ("i2.jpg", "NV", None), ("i3.jpg", "BCC", None)]
    table(path, "image,MEL,NV,BCC\ni1,1.0,1.0,0.0\ni2,0.0,1.0,0.0\ni3,0,0,0\n")
    assert named_labels(tmp_path) == [("MEL", "NV"), ("NV",), ()]
    opened = open_source(str(tmp_path), several=True)
    assert opened.classes == ("MEL", "NV", "BCC")  # all columns, in their order
    assert opened.notes == ("labels are lists: an image may have several labels", "1 image has no label")
    assert refusal(f"{path}?labels=one") == (
        f"{path}, line 2: i1 is of 2 classes (MEL, NV).\nLeave out --labels one, or choose one label for each image."
    )


def test_several_labels_as_roboflow_exports_them(tmp_path: Path):
    for folder in ("train", "valid", "test"):
        plant(tmp_path, f"{folder}/a.png", f"{folder}/b.png")
        table(tmp_path / folder / "_classes.csv", "filename, cat, dog\na.png, 1, 1\nb.png, 0, 1\n")
    assert named_labels(tmp_path) == [("cat", "dog"), ("dog",)] * 3
    opened = open_source(str(tmp_path), several=True)
    assert {opened.record(index).split for index in range(6)} == {"train", "validation", "test"}


def test_a_verb_that_knows_one_label_refuses_several(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", "file,label\na.png,x;y\nb.png,y\nc.png,x\n")
    with pytest.raises(DataError) as error:
        open_source(str(path), verb="--label-errors")
    assert str(error.value) == (
        f"{path} has several labels an image, and --label-errors knows one label only.\n"
        "Choose one label for each image; 'saccade train', 'transfer', 'evaluate' and 'predict' know several."
    )


@pytest.mark.parametrize(
    "header", ["id,breed", "image_id,target", "Image Name,category", "filepath,species", "uid,what"]
)
@pytest.mark.parametrize("ending", ["", ".png"])
def test_the_one_table_of_a_flat_folder_is_read_by_names_or_ids(tmp_path: Path, header: str, ending: str):
    plant(tmp_path, "train/a1.png", "train/b2.png", "test/a1.png", "test/z9.png")
    table(tmp_path / "labels_of_all.csv", f"{header}\na1{ending},cat\nb2{ending},dog\n")
    (tmp_path / "labels_of_all.csv").rename(tmp_path / "train.csv")
    table(tmp_path / "sample_submission.csv", f"{header}\nz9{ending},cat\na1{ending},cat\n")
    table(tmp_path / "test.csv", f"{header.split(',')[0]}\nz9{ending}\na1{ending}\n")
    assert listing(tmp_path) == [("a1.png", "cat", None), ("b2.png", "dog", None)]
    assert open_source(str(tmp_path)).notes == ("2 images are not listed in train.csv: not used",)


def test_images_in_the_root_and_ids_with_dots_and_leading_zeros(tmp_path: Path):
    plant(tmp_path, "007.png", "0.5.jpg", "sub.1/x.jpeg")
    table(tmp_path / "any name.csv", "id,label\n007,cat\n0.5,dog\nsub.1/x,dog\n")
    assert listing(tmp_path) == [("0.5.jpg", "dog", None), ("007.png", "cat", None), ("sub.1/x.jpeg", "dog", None)]


def test_images_that_lie_in_numbered_folders_are_one_set(tmp_path: Path):
    plant(tmp_path, "pictures_part_1/a.jpg", "pictures_part_2/b.jpg", "pictures_part_2/c.jpg")
    path = table(tmp_path / "metadata_of_it.csv", "lesion_id,image_id,dx,age\nl1,a,nv,3\nl1,b,mel,4\nl2,c,nv,5\n")
    assert listing(tmp_path) == [
        ("pictures_part_1/a.jpg", "nv", None),
        ("pictures_part_2/b.jpg", "mel", None),
        ("pictures_part_2/c.jpg", "nv", None),
    ]
    assert open_source(str(tmp_path)).notes == (
        "metadata_of_it.csv: columns that are not used: lesion_id, age",
        "if images of one lesion_id belong together: --group lesion_id",
    )
    assert listing(path) == listing(tmp_path)


def test_numbered_folders_that_no_table_lists_stay_classes(tmp_path: Path):
    plant(tmp_path, "class1/a.png", "class2/b.png")
    table(tmp_path / "classes.csv", "class,meaning\nclass1,cat\nclass2,dog\n")
    assert open_source(str(tmp_path)).classes == ("class1", "class2")


def test_class_folders_are_read_before_a_table_beside_them(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png", "train/cat/c.png")
    (tmp_path / "train/cat/c.png").unlink()
    (tmp_path / "train/cat").rmdir()
    (tmp_path / "train").rmdir()
    table(tmp_path / "info.csv", "path,breed\ncat/a.png,tabby\ndog/b.png,boxer\n")
    assert open_source(str(tmp_path)).classes == ("cat", "dog")


def test_tables_of_the_parts_beside_each_other_are_splits(tmp_path: Path):
    plant(tmp_path, "images/a.png", "images/b.png", "images/c.png")
    table(tmp_path / "train.csv", "image,label\na.png,cat\nb.png,dog\n")
    table(tmp_path / "test.csv", "image,label\nc.png,dog\n")
    assert listing(tmp_path) == [
        ("images/a.png", "cat", "train"),
        ("images/b.png", "dog", "train"),
        ("images/c.png", "dog", "test"),
    ]


def test_several_tables_are_refused_with_the_command_that_reads_one(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    first = table(tmp_path / "by me.csv", "image,label\na.png,cat\nb.png,dog\n")
    table(tmp_path / "by you.csv", "image,label\na.png,dog\nb.png,cat\n")
    assert refusal(tmp_path) == (
        f"The folder {tmp_path} has several files that list its images: by me.csv, by you.csv.\n"
        f"Give the one that is meant in place of the folder, such as '{first}'."
    )


def test_unclear_columns_are_refused_with_the_command_that_reads_them(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "train.csv", "id,colour,size\na,red,big\nb,blue,small\n")
    assert refusal(tmp_path) == (
        f"{path} has no column 'label'; its first line is: id, colour, size.\n"
        "Name the columns file,label and, where you have them, split and group.\n"
        f"Or say which one it is, as in --label-column colour or '{path}?label=colour'."
    )
    assert listing(f"{tmp_path}?label=colour") == [("a.png", "red", None), ("b.png", "blue", None)]


def test_two_columns_that_may_be_the_label_are_refused(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "train.csv", "id,breed,species\na,tabby,cat\nb,boxer,dog\n")
    assert refusal(tmp_path) == (
        f"{path} has two columns for the label: 'breed' and 'species'.\n"
        f"Choose one, as in --label-column breed or '{path}?label=breed'; or rename the other."
    )


def test_the_label_chosen_as_the_group_is_told_and_no_taken_column_is_proposed(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "train.csv", "file,label,patient_id\na.png,cat,1\nb.png,dog,2\n")
    assert refusal(with_columns(str(path), ChosenColumns(group="label"))) == (
        f"{path}: the column 'label' is the label and the group.\nChoose a column for each."
    )
    path = table(tmp_path / "other.csv", "file,patient_id,one,two\na.png,1,x,y\nb.png,2,y,x\n")
    assert refusal(with_columns(str(path), ChosenColumns(group="patient_id"))).endswith(
        f" --label-column one or '{path}?label=one'."
    )


def test_a_first_line_that_is_a_row_is_not_lost(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png")
    path = table(tmp_path / "labels.csv", "a.png,cat\nb.png,dog\nc.png,cat\n")
    message = (
        f"{path} begins with the row of a.png, not with the names of the columns.\n"
        "Put a line in front of it that names them: file,label."
    )
    assert refusal(path) == message == refusal(tmp_path)


def test_an_id_of_two_files_is_refused(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "b.jpg")
    path = table(tmp_path / "labels.csv", "file,label\na,cat\nb,dog\n")
    assert refusal(path) in {
        f"{path}: b may be {first} or {second}.\nGive the names with their endings."
        for first, second in (("b.png", "b.jpg"), ("b.jpg", "b.png"))
    }


def test_a_file_and_its_id_are_one_image(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", "file,label\na.png,cat\nb.png,dog\na,cat\n")
    assert refusal(path) == f"{path}, line 4 lists a.png again.\nKeep one row for each file."


def test_no_row_costs_a_call_to_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    plant(tmp_path, *(f"train/{number}.png" for number in range(400)))
    path = table(tmp_path / "train.csv", "id,label\n" + "".join(f"{n},{n % 2}\n" for n in range(400)))
    calls: list[str] = []
    for name in ("scandir", "stat", "lstat"):
        original = getattr(os, name)
        monkeypatch.setattr(
            os, name, lambda *given, _o=original, **named: (calls.append(str(given)), _o(*given, **named))[1]
        )
    assert len(open_source(str(path))) == 400
    assert len(calls) < 60


JSON_SLIPS = {
    '{"file_name": "a.png", "label": "cat"}\n[1]': (
        "{0}, line 2 is not a JSON object: it is not an object.\n"
        'Write one for each image: {{"file_name": "a.jpg", "label": "cat"}}.'
    ),
    '{"file_name": "a.png", "label": "cat"}\n{"file_name": "b.png", "label": "dog", "label": "cat"}': (
        "{0}, line 2 is not a JSON object: it has the key 'label' twice.\n"
        'Write one for each image: {{"file_name": "a.jpg", "label": "cat"}}.'
    ),
    '{"file_name": "a.png", "label": "cat"}\n{"file_name": "b.png", "lable": "dog"}': (
        "{0}, line 2 has the key 'lable', which the first line has not.\n"
        "Give the first line every key, with null where it has no value."
    ),
    '{"file_name": "a.png", "label": "cat"}\n{"file_name": "b.png", "label": null}': (
        "{0}, line 2 has no label for b.png.\nFill it in, or remove the row."
    ),
    "": '{0} is empty.\nWrite a line for each image: {{"file_name": "a.jpg", "label": "cat"}}.',
}


@pytest.mark.parametrize("text", JSON_SLIPS, ids=range(len(JSON_SLIPS)))
def test_every_slip_in_json_lines_is_named_with_its_line(tmp_path: Path, text: str):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "metadata.jsonl", text)
    assert refusal(path) == JSON_SLIPS[text].format(path)


@pytest.mark.parametrize("sign", [";", "|", ","])
def test_lists_of_labels_are_known_by_labels_that_stand_alone(tmp_path: Path, sign: str):
    plant(tmp_path, "a.png", "b.png", "c.png")
    path = table(tmp_path / "labels.csv", f'file,label\na.png,x\nb.png,"y"\nc.png,"x{sign} y"\nd.png,\n')
    assert named_labels(path) == [("x",), ("y",), ("x", "y"), ()]
    assert open_source(str(path), several=True).notes[:2] == (
        f"labels are lists, told apart by '{sign}': an image may have several labels",
        "1 image has no label",
    )


@pytest.mark.parametrize("sign", [";", "|"])
def test_a_label_beside_one_of_its_parts_is_a_list(tmp_path: Path, sign: str):
    plant(tmp_path, "a.png", "b.png", "c.png", "d.png")
    path = table(tmp_path / "labels.csv", f"file,label\na.png,x\nb.png,x{sign}z\nc.png,y\nd.png,y{sign}z\n")
    assert named_labels(path) == [("x",), ("x", "z"), ("y",), ("y", "z")]
    assert open_source(f"{path}?labels=one").classes == ("x", f"x{sign}z", "y", f"y{sign}z")


def test_labels_are_read_as_they_are_chosen_to_be(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png")
    path = table(tmp_path / "labels.csv", "file,label\na.png,x\nb.png,y\nc.png,x;y\n")
    assert open_source(f"{path}?labels=one").classes == ("x", "x;y", "y")
    table(path, "file,label\na.png,cat+tabby\nb.png,dog\nc.png,dog+boxer\n")
    assert open_source(str(path)).classes == ("cat+tabby", "dog", "dog+boxer")
    assert named_labels(f"{path}?labels=%2B") == [("cat", "tabby"), ("dog",), ("boxer", "dog")]
    assert refusal(f"{path}?labels=many") == (
        "'many' does not say what the labels are.\n"
        "Say one, several, or the sign between several: --labels one, --labels several, --labels ';'."
    )
    table(path, "file,label\na.png,x;y\nb.png,y|z\nc.png,z\nd.png,y\ne.png,x\n")
    assert "two signs between them" in refusal(path)


JSON_LISTS = {
    "json": '{"file_name": "a.png", "label": ["cat", "big, red"]}\n{"file_name": "b.png", "label": ["cat"]}',
    "none": '{"file_name": "a.png", "label": ["cat", "big, red"]}\n{"file_name": "b.png", "label": []}',
}


@pytest.mark.parametrize("kind", JSON_LISTS)
def test_lists_in_the_metadata_of_an_image_folder_are_several_labels(tmp_path: Path, kind: str):
    plant(tmp_path, "a.png", "b.png")
    table(tmp_path / "metadata.jsonl", JSON_LISTS[kind])
    assert named_labels(tmp_path) == [("big, red", "cat"), ("cat",) if kind == "json" else ()]


@pytest.mark.parametrize("cell", ["['cat', 'it''s']", '["cat"]', "[cat, dog]", "[]"])
def test_lists_as_python_and_json_write_them_into_a_cell_are_lists(tmp_path: Path, cell: str):
    plant(tmp_path, "a.png", "b.png")
    quoted = cell.replace("it''s", "it is").replace('"', '""')
    path = table(tmp_path / "labels.csv", f"file,label\na.png,\"{quoted}\"\nb.png,\"['cat', 'cow']\"\n")
    expected = {"[": ("cat", "it is"), '["cat"]': ("cat",), "[cat, dog]": ("cat", "dog"), "[]": ()}
    assert named_labels(path) == [expected.get(cell, ("cat", "it is")), ("cat", "cow")]


LISTS_WITHOUT_SINGLES = {
    ";": ("x;y", "y;z", "x;z"),
    "|": ("Cardiomegaly|Effusion", "Effusion|Infiltration", "Effusion|Mass|Nodule", "Infiltration|Mass", "No Finding"),
    "; ": ("agriculture; clear", "clear; primary", "clear; haze; primary", "agriculture; clear; primary"),
}


@pytest.mark.parametrize("labels", LISTS_WITHOUT_SINGLES.values(), ids=LISTS_WITHOUT_SINGLES)
def test_lists_whose_classes_never_stand_alone_are_known_by_what_they_share(tmp_path: Path, labels: tuple[str, ...]):
    plant(tmp_path, *(f"{number}.png" for number in range(len(labels))))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    path = table(tmp_path / "labels.csv", f"file,label\n{rows}")
    sign = ";" if ";" in labels[0] else "|"
    assert named_labels(path) == [tuple(sorted(part.strip() for part in label.split(sign))) for label in labels]


@pytest.mark.parametrize(
    "labels",
    [
        ("animal|cat", "animal|dog", "plant|fern", "plant|oak"),  # steps of a path
        ("blue;round", "blue;square", "red;round", "red;square"),  # attributes, each in its place
        ("cat; tabby", "dog; boxer", "fox; red"),
        ("x;y", "y;z", "cat", "dog", "fox"),  # most labels have no sign
    ],
)
def test_signs_in_most_names_make_no_list_where_nothing_shared_changes_its_place(
    tmp_path: Path, labels: tuple[str, ...]
):
    plant(tmp_path, *(f"{number}.png" for number in range(len(labels))))
    rows = "".join(f"{number}.png,{label}\n" for number, label in enumerate(labels))
    path = table(tmp_path / "labels.csv", f"file,label\n{rows}")
    source = open_source(str(path))
    assert set(source.classes) == set(labels)
    sign = next((sign for sign in ";|" if sign in labels[-1]), "")
    told = f"most labels hold '{sign}', such as '{min(labels)}', and each is read as one class; if several labels are "
    assert source.notes == ((f"{told}meant: --labels '{sign}', if not: --labels one",) if sign else ())
    assert open_source(f"{path}?labels=one").notes == ()


def test_a_sign_in_a_name_makes_no_list(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", 'file,label\na.png,"cat, tabby"\nb.png,dog; boxer\n')
    assert open_source(str(path)).classes == ("cat, tabby", "dog; boxer")


def test_columns_are_chosen_behind_the_name(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png", "d.png")
    rows = "photo no,label,my breed,who,is_valid\na.png,x,cat,1,False\nb.png,y,dog,1,False\n"
    rows += "c.png,x,cat,2,True\nd.png,x,cat,,no\n"
    path = table(tmp_path / "labels.csv", rows)
    text = with_columns(str(path), ChosenColumns(file="photo no", label="my breed", split="is_valid", group="who"))
    assert text == f"{path}?file=photo%20no&label=my%20breed&split=is_valid&group=who"
    source = open_source(text)
    assert source.name == text
    assert source.classes == ("cat", "dog")
    records = [source.record(index) for index in range(4)]
    assert [record.group for record in records] == ["1", "1", "2", None]
    assert [record.split for record in records] == ["train", "train", "validation", "train"]
    assert source.notes == ("labels.csv: columns that are not used: label",)


@pytest.mark.parametrize(
    ("name", "splits"),
    [("is_test", ["test", "train"]), ("is_train", ["train", "test"]), ("valid", ["validation", "train"])],
)
def test_true_and_false_mean_what_the_column_says(tmp_path: Path, name: str, splits: list[str]):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", f"file,label,{name}\na.png,cat,TRUE\nb.png,dog,0\n")
    assert [split for _, _, split in listing(f"{path}?split={name}")] == splits
    assert f"'{name}' may say which part an image is of: --split-column {name}" in open_source(str(path)).notes


def test_folds_are_held_out_where_one_is_chosen(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png", "c.png")
    path = table(tmp_path / "labels.csv", "file,label,fold\na.png,cat,0\nb.png,dog,1\nc.png,cat,2\n")
    assert [split for _, _, split in listing(f"{path}?split=fold:1")] == ["train", "test", "train"]
    assert refusal(f"{path}?split=fold") == (
        f"{path}, line 2: '0' in the column 'fold' is a number, not a split.\n"
        "If it numbers folds, say which one is held out: --split-column fold:0.\nOr use train, validation or test."
    )
    assert refusal(f"{path}?split=fold:7") == (
        f"{path}: no row has 7 in the column 'fold', so nothing is held out.\nIts values begin: 0, 1, 2."
    )
    assert open_source(str(path)).notes == (
        "labels.csv: columns that are not used: fold",
        "'fold' may number the folds: --split-column fold:0",
    )


def test_a_group_in_two_folds_is_refused(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", "file,label,fold,who\na.png,cat,0,p\nb.png,dog,1,p\n")
    assert refusal(f"{path}?split=fold:1&group=who").startswith(f"{path}: the group 'p' is in train and in test, ")


WRONG_TEXTS = {
    "?lable=breed": (
        "'{0}?lable=breed' chooses 'lable' of a table. Did you mean 'label'?\n"
        "Behind the ? stand names of columns: file=NAME, label=NAME, split=NAME, group=NAME, "
        "labels=one or several, and target=number or grade, with & between."
    ),
    "?label": "'{0}?label': label names no column.\nWrite it once, with a name: {0}?label=NAME.",
    "?label=a&label=b": "'{0}?label=a&label=b': label is chosen twice.\nWrite it once, with a name: {0}?label=NAME.",
}


@pytest.mark.parametrize("rest", WRONG_TEXTS)
def test_what_is_no_choice_of_columns_is_refused(tmp_path: Path, rest: str):
    path = table(tmp_path / "labels.csv", "file,label\n")
    with pytest.raises(UsageError) as error:
        open_source(f"{path}{rest}")
    assert str(error.value) == WRONG_TEXTS[rest].format(path)


def test_a_column_that_is_not_there_is_named_with_the_nearest(tmp_path: Path):
    plant(tmp_path, "a.png", "b.png")
    path = table(tmp_path / "labels.csv", "file,breed\na.png,cat\nb.png,dog\n")
    assert refusal(f"{path}?label=bred") == (
        f"{path} has no column 'bred' for the label. Did you mean 'breed'?\nIts columns are: file, breed."
    )
    assert refusal(f"{path}?label=file") == (
        f"{path}: the column 'file' is the file and the label.\nChoose a column for each."
    )


def test_formats_without_columns_refuse_a_choice(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    assert refusal(f"{tmp_path}?label=x") == (
        f"'{tmp_path}' is read as folder, which has no columns to choose: ?label=x.\n"
        "Leave them out; or give the CSV or Parquet file that has them."
    )
    assert refusal("digits?label=x") == refusal(f"{tmp_path}?label=x").replace(
        f"'{tmp_path}' is read as folder", "'digits' is read as digits"
    )


def test_a_name_with_a_question_mark_is_a_name(tmp_path: Path):
    folder = tmp_path / "what is it?label=x"
    plant(folder, "cat/a.png", "dog/b.png")
    assert len(open_source(str(folder))) == 2
    assert split_source_text("https://host/a.tar?label=x") == ("https://host/a.tar?label=x", ChosenColumns())


def test_options_need_a_source_and_are_not_mixed_with_the_text(tmp_path: Path):
    path = table(tmp_path / "labels.csv", "file,label\n")
    with pytest.raises(UsageError, match=r"^Columns are chosen of a SOURCE, and none is named\."):
        with_columns("", ChosenColumns(label="a"))
    with pytest.raises(UsageError, match=r"names columns, and so do options\."):
        with_columns(f"{path}?label=a", ChosenColumns(label="a"))
    assert with_columns("", ChosenColumns()) == ""


def test_a_zip_is_told_to_be_unpacked(tmp_path: Path):
    (tmp_path / "photos.ZIP").write_bytes(b"PK")
    assert refusal(tmp_path / "photos.ZIP") == (
        f"'{tmp_path}/photos.ZIP' is an archive, which is not read as it is.\n"
        "Unpack it, and give the folder with the images or their labels.\n"
        f"For example: python -m zipfile -e {tmp_path}/photos.ZIP {tmp_path}/photos"
    )


def test_a_table_that_names_files_elsewhere_reads_none(tmp_path: Path):
    plant(tmp_path, "set/a.png", "b.png")
    path = table(tmp_path / "set" / "labels.csv", "file,label\na.png,cat\n../b,dog\n")
    assert refusal(path).startswith(
        f"{path}, line 3: ../b is not a name relative to the folder of the CSV file, inside"
    )


def test_more_columns_than_any_table_has_are_refused(tmp_path: Path):
    path = table(tmp_path / "labels.csv", ",".join(f"c{number}" for number in range(10_001)) + "\n")
    assert refusal(path) == (
        f"{path} has 10,001 columns; at most 10,000 are read.\nLeave out those that are neither file nor label."
    )
