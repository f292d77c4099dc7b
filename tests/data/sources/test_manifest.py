"""A CSV file that lists images: every layout it may have, every slip in it named with its line."""

import os
import re
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.core.errors import DataError, ImageError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.split import split_source


def picture(number: int) -> bytes:
    """A PNG file of 8x8 pixels that no other number gives."""
    pixels = np.full((8, 8, 3), number % 200, np.uint8)
    pixels[number // 200 % 8, 0] = 255
    return cv2.imencode(".png", pixels)[1].tobytes()


def write(folder: Path, rows: str, files: str = "a.png b.png c.png d.png", name: str = "labels.csv") -> Path:
    for number, file in enumerate(files.split()):
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    path = folder / name
    path.write_text(rows, encoding="utf-8")
    return path


PLAIN = "file,label\na.png,cat\nb.png,dog\nc.png,cat\nd.png,dog\n"


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    return str(error.value)


def test_a_csv_file_beside_its_images(tmp_path: Path):
    source = open_source(str(write(tmp_path, PLAIN)))
    assert source.classes == ("cat", "dog")
    assert [source.record(i).key for i in range(len(source))] == ["a.png", "b.png", "c.png", "d.png"]
    assert [source.record(i).label for i in range(4)] == [0, 1, 0, 1]
    assert [source.read(i) for i in range(4)] == [picture(i) for i in range(4)]
    assert {source.record(i).split for i in range(4)} == {None}


@pytest.mark.parametrize("name", ["labels.csv", "labels.tsv"])
@pytest.mark.parametrize("sign", [";", "\t"])
def test_columns_may_stand_apart_as_spreadsheets_write_them(tmp_path: Path, name: str, sign: str):
    rows = [["file", "label"], ["a.png", "cat, old"], ["b.png", "dog"], ["c.png", "cat, old"], ["d.png", "dog"]]
    path = write(tmp_path, "\ufeff" + "\r\n".join(map(sign.join, rows)), name=name)
    for source in (open_source(str(path)), open_source(str(tmp_path))):
        assert source.classes == ("cat, old", "dog")
        assert [source.record(i).label for i in range(4)] == [0, 1, 0, 1]


def test_columns_of_true_and_false_are_classes_as_those_of_1_and_0(tmp_path: Path):
    rows = "file,cat,dog\na.png,True,False\nb.png,false,true\nc.png,TRUE,FALSE\nd.png,False,True\n"
    source = open_source(str(write(tmp_path, rows)))
    assert source.classes == ("cat", "dog")
    assert [source.record(i).label for i in range(4)] == [0, 1, 0, 1]


ODD_LABELS = {
    "file,label\na.png,cat\nb.png,NaN\nc.png,cat\nd.png,NaN\n": (
        "the class 'NaN' is learned as any other: where it means no label, remove its rows"
    ),
    "file,label\na.png,cat\nb.png,None\nc.png,cat\nd.png,None\n": (
        "the class 'None' is learned as any other: where it means no label, remove its rows"
    ),
    "file,label\na.png,cat\nb.png,-\nc.png,cat\nd.png,-\n": (
        "the class '-' is learned as any other: where it means no label, remove its rows"
    ),
    "file,label\na.png,cat\nb.png,?\nc.png,cat\nd.png,?\n": (
        "the class '?' is learned as any other: where it means no label, remove its rows"
    ),
    "file;label\na.png;red\nb.png;red, wool\nc.png;red\nd.png;red, wool\n": (
        "'red, wool' stands beside 'red', and each is read as one class; if several labels are meant: --labels ',', "
        "if not: --labels one"
    ),
    "file,label\na.png,0.25\nb.png,1.5\nc.png,0.75\nd.png,2.0\n": (
        "labels are numbers with decimals, each a class: to learn them as numbers, --target number"
    ),
    "file,age\na.png,0.0\nb.png,7.5\nc.png,12.25\nd.png,3.5\n": (
        "labels are numbers with decimals, each a class: to learn them as numbers, --target number"
    ),
    "file,label\ncat/a.png,cat\ncat/b.png,dog\ndog/c.png,cat\ndog/d.png,dog\n": (
        "2 images lie in the folder of another class than labels.csv says: labels.csv counts, not the folder"
    ),
}


@pytest.mark.parametrize("rows", ODD_LABELS)
def test_labels_that_may_not_be_meant_are_told(tmp_path: Path, rows: str):
    files = " ".join(re.split("[,;]", line)[0] for line in rows.splitlines()[1:])
    source = open_source(str(write(tmp_path, rows, files)))
    assert [note for note in source.notes if "not used" not in note] == [ODD_LABELS[rows]]
    plain = open_source(str(write(tmp_path / "plain", "file,label\na.png,1.0\nb.png,2.0\n", "a.png b.png")))
    assert plain.notes == ()  # class numbers as pandas writes them


def test_names_from_another_machine_are_told_with_what_they_are_here(tmp_path: Path):
    rows = "file,label\nC:\\Eva\\pics\\a.png,cat\nC:\\Eva\\pics\\b.png,dog\n"
    path = write(tmp_path, rows, "pics/a.png pics/b.png")
    assert refusal(path) == (
        f"{path} names its images by their place on another machine, such as C:/Eva/pics/a.png.\n"
        "Write the names without what is above labels.csv: pics/a.png."
    )


def test_an_object_is_no_class(tmp_path: Path):
    rows = '{"file_name": "a.png", "label": {"name": "cat"}}\n{"file_name": "b.png", "label": {"name": "dog"}}\n'
    path = write(tmp_path, rows, name="metadata.jsonl")
    assert refusal(path) == (
        f'{path}, line 1 has the object {{"name": "cat"}} as the label of a.png.\n'
        "Write the name of the class, or a list of names."
    )


@pytest.mark.parametrize("name", ["labels.xlsx", "labels.txt"])
def test_a_list_of_another_kind_is_told_how_to_become_one(tmp_path: Path, name: str):
    path = write(tmp_path, "x", name=name)
    assert refusal(path) == (
        f"'{path}' is not a list that is read.\n"
        "Save it as CSV with the columns file and label, beside or above the images, and give that."
    )


def test_a_csv_file_above_a_folder_of_images(tmp_path: Path):
    write(tmp_path / "photos", "", "a.png b.png")
    path = write(tmp_path, "file,label\na.png,cat\nb.png,dog\n", "")
    assert open_source(str(path)).read(1) == picture(1)


@pytest.mark.parametrize("name", ["manifest.csv", "labels.csv", "metadata.csv"])
def test_the_folder_itself_can_be_given(tmp_path: Path, name: str):
    write(tmp_path, PLAIN, name=name)
    assert len(open_source(str(tmp_path))) == 4


def test_a_csv_file_about_something_else_leaves_a_folder_a_folder(tmp_path: Path):
    write(tmp_path, "class,latin name\ncat,felis\n", "cat/a.png dog/b.png")
    assert open_source(str(tmp_path)).classes == ("cat", "dog")
    assert open_source(str(tmp_path)).record(0).key == "cat/a.png"


@pytest.mark.parametrize("header", ["file_name,class", "FileName, Label", "\ufeffpath,label", '"image","label"'])
def test_column_names_have_the_usual_spellings(tmp_path: Path, header: str):
    assert len(open_source(str(write(tmp_path, PLAIN.replace("file,label", header))))) == 4


def test_other_columns_blank_lines_quotes_and_windows_line_ends_are_no_trouble(tmp_path: Path):
    rows = 'age,file,label\r\n3,"a, b.png",cat\r\n\r\n4,sub\\c.png,dog\r\n'
    path = write(tmp_path, "", "sub/c.png")
    (tmp_path / "a, b.png").write_bytes(picture(7))
    path.write_bytes(rows.encode())
    source = open_source(str(path))
    assert [source.record(i).key for i in range(2)] == ["a, b.png", "sub/c.png"]
    assert [source.read(i) for i in range(2)] == [picture(7), picture(0)]


def test_classes_that_are_numbers_are_in_the_order_of_numbers(tmp_path: Path):
    assert open_source(str(write(tmp_path, "file,label\na.png,10\nb.png,9\n"))).classes == ("9", "10")


def test_splits_have_the_usual_names(tmp_path: Path):
    rows = "file,label,split\na.png,cat,train\nb.png,dog,TEST\nc.png,cat,val\nd.png,dog,training\n"
    source = open_source(str(write(tmp_path, rows)))
    assert [source.record(i).split for i in range(4)] == ["train", "test", "validation", "train"]


def test_composed_and_decomposed_names_are_one_file(tmp_path: Path):
    composed = unicodedata.normalize("NFC", "é.png")
    (tmp_path / unicodedata.normalize("NFD", composed)).write_bytes(picture(5))
    path = write(tmp_path, f"file,label\n{composed},cat\nb.png,dog\n")
    source = open_source(str(path))
    assert source.read(0) == picture(5)
    assert source.record(0).key == composed


@pytest.mark.parametrize("seed", range(5))
def test_no_group_is_on_two_sides(tmp_path: Path, seed: int):
    rng = np.random.default_rng(seed)
    rows, files = ["file,label,group"], []
    for number in range(120):
        group = rng.integers(25)
        rows.append(f"{number}.png,{['cat', 'dog', 'owl'][number % 3]},{f'patient {group}' if group else ''}")
        files.append(f"{number}.png")
    source = open_source(str(write(tmp_path, "\n".join(rows), " ".join(files))))
    split = split_source(source, scan_source(source, 2), seed)
    sides = [{source.record(int(i)).group for i in split.indices(name)} - {None} for name in ("train", "test")]
    sides.append({source.record(int(i)).group for i in split.validation_N} - {None})
    assert len(sides[0]) > 1
    assert len(sides[1]) > 1
    assert not sides[0] & sides[1]
    assert not sides[0] & sides[2]
    assert not sides[1] & sides[2]
    everything = np.concatenate([split.train_N, split.validation_N, split.test_N])
    assert sorted(everything.tolist()) == list(range(120))


def test_validation_cut_from_a_given_training_part_keeps_groups_whole(tmp_path: Path):
    rows = ["file,label,split,group"]
    for number in range(80):
        part = "test" if number % 8 > 5 else "train"
        rows.append(f"{number}.png,{['cat', 'dog'][number % 2]},{part},{part}{number // 8}")
    source = open_source(str(write(tmp_path, "\n".join(rows), " ".join(f"{n}.png" for n in range(80)))))
    split = split_source(source, scan_source(source, 2), 0)
    groups = [{source.record(int(i)).group for i in split.indices(name)} for name in ("train", "validation")]
    assert groups[1]
    assert not groups[0] & groups[1]


SLIPS = {
    "file,label\na.png,cat\nb.png,cat\n": (
        "{csv} has one class only, 'cat': there is nothing to tell apart.\nList images of at least one more class."
    ),
    "": "{csv} is empty.\nIts first line names the columns: file,label.",
    "file,label\n": "{csv} names its columns, but lists no image.\nAdd a row for each image.",
    "file,lable,age\na.png,cat,3\n": (
        "{csv} has no column 'label'; its first line is: file, lable, age.\n"
        "Name the columns file,label and, where you have them, split and group.\n"
        "Or say which one it is, as in --label-column lable or '{csv}?label=lable'."
    ),
    "file,label,label\na.png,cat,dog\n": (
        "{csv} has two columns for the label that are both called 'label'.\nRename one of them in the first line."
    ),
    "a.png;cat\nb.png;dog\n": (
        "{csv} begins with the row of a.png, not with the names of the columns.\n"
        "Put a line in front of it that names them: file,label."
    ),
    "a.png|cat\nb.png|dog\n": (
        "{csv} has no column 'file'; its first line is: a.png|cat.\n"
        "Name the columns file,label and, where you have them, split and group. Separate the columns by commas."
    ),
    "file,path,label\na.png,a.png,cat\n": (
        "{csv} has two columns for the file: 'file' and 'path'.\n"
        "Choose one, as in --file-column file or '{csv}?file=file'; or rename the other."
    ),
    "file,label\na.png,cat\nb.png\n": (
        "{csv}, line 3 has 1 values; the first line names 2 columns.\n"
        "Put names that contain a comma into double quotes."
    ),
    "file,label\na.png,\nb.png,dog\n": "{csv}, line 2 has no label for a.png.\nFill it in, or remove the row.",
    "file,label\na.png,\nb.png,dog;cat\n": (
        "{csv}, line 2 has no label for a.png.\nFill it in, or remove the row.\n"
        "Or, where an image may have several labels, or none: --labels several."
    ),
    "file,label\n ,cat\nb.png,dog\n": "{csv}, line 2 names no file.\nFill it in, or remove the row.",
    "file,label\na.png,cat\nb.png,dog\n./a.png,cat\n": (
        "{csv}, line 4 lists a.png again.\nKeep one row for each file."
    ),
    "file,label\na.png,cat\nb.png,dog\na.png,dog\n": (
        "{csv}, line 4 lists a.png as 'dog', and before as 'cat'.\nKeep one row for each file."
    ),
    "file,label\na.png,cat\nb.png,Cat\n": (
        "{csv} has two classes whose names differ only in letter case, accent encoding or spaces: 'Cat' and 'cat'.\n"
        "Write the label the same way in every row."
    ),
    "file,label,group\na.png,cat,patient X0\nb.png,dog,Patient X0\n": (
        "{csv} has two groups whose names differ only in letter case, accent encoding or spaces: 'patient X0' and "
        "'Patient X0'.\nWrite the group the same way in every row."
    ),
    "file,label,split,group\na.png,cat,train,anna  b\nb.png,dog,test,anna b\n": (
        "{csv} has two groups whose names differ only in letter case, accent encoding or spaces: 'anna  b' and "
        "'anna b'.\nWrite the group the same way in every row."
    ),
    "file,label,split\na.png,cat,train\nb.png,dog,tset\n": (
        "{csv}, line 3: 'tset' is not a split. Did you mean 'test'?\nUse train, validation or test."
    ),
    "file,label,split\na.png,cat,train\nb.png,dog,\n": (
        "{csv}, line 3 has no split.\nFill it in for every row, or remove the column."
    ),
    "file,label\n../a.png,cat\nb.png,dog\n": (
        "{csv}, line 2: ../a.png is not a name relative to the folder of the CSV file, inside that folder.\n"
        "Give such names, and put the CSV file beside or above the images."
    ),
    "file,label\n/etc/passwd,cat\nb.png,dog\n": (
        "{csv}, line 2: /etc/passwd is not a name relative to the folder of the CSV file, inside that folder.\n"
        "Give such names, and put the CSV file beside or above the images."
    ),
    'file,label\n"a.png"x,cat\n': ("{csv}, line 2 is not CSV: ',' expected after '\"'.\nCheck its quotes."),
    "file,label,split,group\na.png,cat,train,p1\nb.png,dog,train,p2\nc.png,cat,test,p1\n": (
        "{csv}: the group 'p1' is in train and in test, so that the one tells of the other.\n"
        "Give all its rows one split, or remove the split column."
    ),
    "file,label\nA.PNG,cat\nb.png,dog\n": (
        "{csv}: there is no A.PNG, but a.png: capitals count.\n"
        "Write the names in the table as the files have them, or rename the files."
    ),
    "file,label\nz,cat\nb.png,dog\n": (
        "{csv}: its first file, z, is neither in {folder} nor in a folder below it.\n"
        "Put labels.csv beside or above the images. Give the names with their endings, such as .jpg."
    ),
}


@pytest.mark.parametrize("rows", SLIPS, ids=range(len(SLIPS)))
def test_every_slip_is_named_with_its_line(tmp_path: Path, rows: str):
    path = write(tmp_path, rows)
    assert refusal(path) == SLIPS[rows].format(csv=path, folder=tmp_path)


def test_a_file_that_is_no_text_is_refused(tmp_path: Path):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"file,label\n\xff\xfe,cat\n")
    assert refusal(path) == f"{path} is not UTF-8 text.\nSave it as CSV in UTF-8."


def test_the_same_names_in_two_folders_are_refused(tmp_path: Path):
    path = write(tmp_path, "file,label\na.png,cat\nb.png,dog\n", "one/a.png two/a.png")
    assert refusal(path) == f"{path}: a.png is in one and in two.\nPut the folder in front of the file names."


def test_a_listed_file_that_is_missing_is_named_by_the_scan(tmp_path: Path):
    source = open_source(str(write(tmp_path, "file,label\na.png,cat\nb.png,dog\ngone.png,dog\n")))
    with pytest.raises(DataError) as error:
        scan_source(source, 1)
    assert str(error.value) == (
        f"{tmp_path}/labels.csv: 1 of 3 images cannot be decoded.\n"
        "gone.png: the file cannot be read: No such file or directory.\n"
        "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip."
    )


def test_a_fifo_does_not_hang_the_reader(tmp_path: Path):
    path = write(tmp_path, "file,label\na.png,cat\npipe.png,dog\n")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(ImageError, match=r"^pipe\.png: it is not a plain file, but a folder, a pipe or a device\.$"):
        open_source(str(path)).read(1)
