"""Folders of photos as people have them: accents, links, hidden files, splits; every muddle is refused by name."""

import os
import unicodedata
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.core.errors import DataError, ImageError, UsageError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.sources.folder.source import ImageFolder
from saccade.data.sources.shared import image_files
from saccade.data.sources.shared.image_files import ENDINGS_SHOWN

PICTURE = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()


def plant(folder: Path, *files: str) -> Path:
    for file in files:
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(PICTURE)
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    return str(error.value)


def listing(path: Path) -> list[tuple[str, str, str | None]]:
    source = open_source(str(path))
    records = [source.record(index) for index in range(len(source))]
    return [(record.key, source.classes[record.label], record.split) for record in records]


def test_sub_folders_are_classes_and_nested_folders_belong_to_theirs(tmp_path: Path):
    plant(tmp_path, "dog/b.png", "cat/a.png", "cat/indoors/sofa/c.PNG")
    assert listing(tmp_path) == [
        ("cat/a.png", "cat", None),
        ("cat/indoors/sofa/c.PNG", "cat", None),
        ("dog/b.png", "dog", None),
    ]


@pytest.mark.parametrize("name", ["val", "valid", "validation", "Validation", "dev"])
def test_splits_above_the_classes_have_the_usual_names(tmp_path: Path, name: str):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", f"{name}/cat/c.png", "test/dog/d.png")
    assert {(key.split("/")[-1], split) for key, _, split in listing(tmp_path)} == {
        ("a.png", "train"),
        ("b.png", "train"),
        ("c.png", "validation"),
        ("d.png", "test"),
    }


def test_classes_that_happen_to_have_a_split_s_name_stay_classes_inside_a_split(tmp_path: Path):
    plant(tmp_path, "train/test/a.png", "train/train/b.png", "test/train/c.png", "test/test/d.png")
    assert listing(tmp_path) == [
        ("test/test/d.png", "test", "test"),
        ("test/train/c.png", "train", "test"),
        ("train/test/a.png", "test", "train"),
        ("train/train/b.png", "train", "train"),
    ]


def test_a_class_that_one_split_lacks_keeps_the_labels_of_the_others(tmp_path: Path):
    plant(tmp_path, "train/ant/a.png", "train/bee/b.png", "train/cow/c.png", "test/cow/d.png")
    assert ("test/cow/d.png", "cow", "test") in listing(tmp_path)


def test_hidden_files_and_what_systems_leave_behind_are_not_images(tmp_path: Path):
    plant(
        tmp_path,
        *("cat/a.png", "dog/b.png", ".git/x.png", ".hidden/x.png", "__MACOSX/cat/x.png"),
        *("cat/._a.png", "cat/.DS_Store", "cat/Thumbs.db", "cat/notes.txt", "cat/.cache/x.png"),
    )
    assert [key for key, _, _ in listing(tmp_path)] == ["cat/a.png", "dog/b.png"]


def test_names_of_any_bytes_are_read(tmp_path: Path):
    names = [b"new\nline.png", b"latin-\xe9.png", "日本.png".encode(), b"x" * 251 + b".png", b" .png", b"a'b\".png"]
    plant(tmp_path, "cat/a.png", "dog/b.png")
    for name in names:
        with open(os.path.join(os.fsencode(tmp_path), b"cat", name), "wb") as file:
            file.write(PICTURE)
    source = open_source(str(tmp_path))
    keys = {os.fsencode(source.record(index).key) for index in range(len(source))}
    assert keys == {b"cat/" + name for name in names} | {b"cat/a.png", b"dog/b.png"}
    assert all(source.read(index) == PICTURE for index in range(len(source)))


def test_files_with_composed_and_decomposed_names_are_two_files(tmp_path: Path):
    names = {unicodedata.normalize(form, "é.png") for form in ("NFC", "NFD")}
    plant(tmp_path, "dog/b.png", *(f"cat/{name}" for name in names))
    assert len(listing(tmp_path)) == len(os.listdir(tmp_path / "cat")) + 1


@pytest.mark.parametrize(
    ("first", "second"), [("Cat", "cat"), ("\u00e9", "e\u0301"), ("STRASSE", "straße")], ids=["case", "accent", "fold"]
)
def test_classes_that_look_alike_are_refused(tmp_path: Path, first: str, second: str):
    plant(tmp_path, f"{first}/a.png", f"{second}/b.png")
    if len(os.listdir(tmp_path)) == 1:
        pytest.skip("this file system takes the two names for one")
    one, two = sorted([first, second])
    assert refusal(tmp_path) == (
        f"The folder {tmp_path} has two classes whose names differ only in letter case, accent encoding or spaces: "
        f"{one!a} and {two!a}.\nMerge the two folders, or rename one."
    )


def test_case_twins_in_two_splits_are_refused_too(tmp_path: Path):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/Cat/c.png")
    assert "'Cat' and 'cat'" in refusal(tmp_path)


def test_linked_files_and_folders_are_read(tmp_path: Path):
    plant(tmp_path / "elsewhere", "a.png", "b.png")
    photos = plant(tmp_path / "photos", "cat/c.png")
    (photos / "dog").symlink_to(tmp_path / "elsewhere")
    (photos / "cat" / "link.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert [key for key, _, _ in listing(photos)] == ["cat/c.png", "cat/link.png", "dog/a.png", "dog/b.png"]


@pytest.mark.parametrize("target", [".", "..", "../..", "../cat"])
def test_a_link_that_leads_back_is_not_followed(tmp_path: Path, target: str):
    photos = plant(tmp_path / "photos", "cat/a.png", "dog/b.png")
    (photos / "cat" / "loop").symlink_to(target)
    assert [key for key, _, _ in listing(photos)] == ["cat/a.png", "dog/b.png"]


def test_a_link_to_itself_is_no_class_and_a_linked_file_that_leads_to_itself_is_named(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "cat" / "z.png").symlink_to("z.png")
    source = open_source(str(tmp_path))
    assert source.classes == ("cat", "dog")
    with pytest.raises(ImageError, match=r"^cat/z\.png: the file cannot be read: Too many levels of symbolic links\.$"):
        source.read(1)


def test_a_class_that_is_a_link_to_the_folder_above_has_no_image(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "loop").symlink_to(".")
    assert refusal(tmp_path) == (
        f"The folder {tmp_path} has classes without a single image: 'loop'.\n"
        "Add images to them, or remove the empty folders."
    )


def test_a_dangling_link_is_named_by_the_scan_and_a_fifo_is_no_image(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    (tmp_path / "cat" / "gone.png").symlink_to("nowhere")
    os.mkfifo(tmp_path / "dog" / "pipe.png")
    with pytest.raises(DataError) as error:
        scan_source(open_source(str(tmp_path)), 1)
    assert str(error.value).splitlines()[1] == "cat/gone.png: the file cannot be read: No such file or directory."
    assert [key for key, _, _ in listing(tmp_path)] == ["cat/a.png", "cat/gone.png", "dog/b.png"]


def test_a_file_that_vanishes_or_becomes_a_fifo_is_named(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png")
    source = open_source(str(tmp_path))
    (tmp_path / "cat" / "a.png").unlink()
    (tmp_path / "dog" / "b.png").unlink()
    os.mkfifo(tmp_path / "dog" / "b.png")
    with pytest.raises(ImageError, match=r"^cat/a\.png: the file cannot be read: No such file or directory\.$"):
        source.read(0)
    with pytest.raises(ImageError, match=r"^dog/b\.png: it is not a plain file, but a folder, a pipe or a device\.$"):
        source.read(1)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PermissionError(13, "Permission denied"), "may not be read by you.\nChange its permissions."),
        (
            OSError(5, "Input/output error"),
            "cannot be listed: Input/output error.\nCheck the disk, or whether something is changing the folder.",
        ),
    ],
)
def test_a_folder_that_cannot_be_listed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: OSError, message: str
):
    plant(tmp_path, "cat/a.png", "dog/b.png")

    def fail(path: object) -> None:
        raise error

    monkeypatch.setattr(image_files.os, "scandir", fail)
    with pytest.raises(DataError) as refused:
        ImageFolder(tmp_path)
    assert str(refused.value) == f"The folder {tmp_path} {message}"


MUDDLES = {
    (): "The folder {0} holds no images.\n"
    "Put the images of each class into a sub-folder named after it, such as {0}/cat and {0}/dog.",
    ("a.png", "b.png"): "The folder {0} holds images but no sub-folders.\n"
    "Put the images of each class into a sub-folder named after it, such as {0}/cat and {0}/dog.",
    ("cat/a.png",): "The folder {0} has one class only, 'cat': there is nothing to tell apart.\n"
    "Add a sub-folder of images for at least one more class.",
    ("cat/a.png", "dog/notes.txt", "owl/readme.md"): "The folder {0} has classes without a single image: 'dog', 'owl'."
    f"\nIn these: 1 file passed over: 1 .txt. Read are {ENDINGS_SHOWN}: convert the files, or remove the folders.",
    ("cat/a.psd", "dog/b.PSD", "dog/c"): "The folder {0} has 2 sub-folders but no image in them.\n"
    "In these: 3 files passed over: 2 .psd, 1 without an ending. "
    f"Read are {ENDINGS_SHOWN}: convert the files, or remove the folders.",
    ("cat/readme.md", "dog/.hidden"): "The folder {0} has 2 sub-folders but no image in them.\n"
    f"Check the path and the endings: read are {ENDINGS_SHOWN}.",
    ("train/cat/a.png", "train/dog/b.png", "cow/c.png"): "{0} has the folder 'train' beside 'cow': "
    "are the sub-folders splits or classes?\nMove everything that is not a split out of it.",
    ("train/cat/a.png", "val/cat/b.png", "valid/cat/c.png"): "{0} has two folders for validation: val and valid.\n"
    "Keep one of them.",
}


@pytest.mark.parametrize("files", MUDDLES, ids=range(len(MUDDLES)))
def test_a_muddle_is_refused_with_what_to_do(tmp_path: Path, files: tuple[str, ...]):
    assert refusal(plant(tmp_path, *files)) == MUDDLES[files].format(tmp_path)


def test_more_empty_classes_than_fit_are_counted(tmp_path: Path):
    plant(tmp_path, "zebra/a.png", *(f"{number}/.x" for number in range(8)))
    assert refusal(tmp_path) == (
        f"The folder {tmp_path} has classes without a single image: '0', '1', '2', '3', '4' and 3 more.\n"
        "Add images to them, or remove the empty folders."
    )


def test_what_is_not_there_or_no_set_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert refusal(Path("absent")) == (
        f"There is no file or folder 'absent' (looked in {tmp_path}).\n"
        "Give a folder with one sub-folder of images per class, or a built-in set: digits."
    )
    (tmp_path / "notes.doc").write_text("x")
    assert refusal(Path("notes.doc")).startswith("'notes.doc' is not a set of labelled images that Saccade knows.\n")


def test_a_name_that_no_file_can_have_is_told():
    with pytest.raises(UsageError) as error:
        open_source("x" * 5000)
    assert error.value.message == (
        f"The name '{'x' * 80}...' is longer than a name on this disk can be.\nGive the path of a file or a folder."
    )


@pytest.mark.parametrize("text", ["a\0b", "\udcff", "/dev/null/x", "*.csv", "nosuch:/a"])
def test_what_cannot_be_a_path_is_not_there(text: str):
    with pytest.raises(DataError, match=r"^There is no file or folder '.{3,220}' \(looked in "):
        open_source(text)


def test_no_name_at_all_is_said_to_be_none():
    with pytest.raises(DataError) as error:
        open_source("")
    assert str(error.value) == ("No source of images was named.\nGive a folder, or a built-in set such as digits.")


def parts(path: Path) -> dict[str, set[str | None]]:
    """{class: splits of its images}."""
    found: dict[str, set[str | None]] = {}
    for _, name, split in listing(path):
        found.setdefault(name, set()).add(split)
    return found


@pytest.mark.parametrize(
    ("train", "test"),
    [
        *[("training_set", "test_set"), ("seg_train", "seg_test"), ("train_images", "test_images")],
        *[("Train_data", "Test_data"), ("dataset_train", "dataset_test"), ("trainData", "testData")],
        *[("TRAIN", "TEST"), ("train", "test1"), ("training", "Testing"), ("train-set", "test-set")],
        *[("chest xray train", "chest xray test"), ("trainset", "testset"), ("trn", "tst")],
        *[("training", "evaluation"), ("train", "hold-out"), ("Train", "HeldOut"), ("train_data", "eval_data")],
        *[("Trainingsdaten", "Testdaten"), ("entraînement", "test"), ("entrainement", "Test")],
        *[("Entrenamiento", "Prueba"), ("treino", "teste"), ("обучение", "тест")],
        *[("训练集", "测试集"), ("訓練", "テスト"), ("훈련", "테스트")],
    ],
)
def test_parts_of_a_set_are_known_by_the_words_of_their_names(tmp_path: Path, train: str, test: str):
    plant(tmp_path, f"{train}/cat/a.png", f"{train}/dog/b.png", f"{test}/cat/c.png", f"{test}/dog/d.png")
    assert parts(tmp_path) == {"cat": {"train", "test"}, "dog": {"train", "test"}}


def test_parts_that_lie_in_folders_of_the_same_name_are_found(tmp_path: Path):
    plant(tmp_path, "seg_train/seg_train/a/1.png", "seg_train/seg_train/b/2.png", "seg_test/seg_test/a/3.png")
    plant(tmp_path, "seg_test/seg_test/b/4.png", "seg_pred/seg_pred/5.png", "annotations/a.xml")
    assert parts(tmp_path) == {"a": {"train", "test"}, "b": {"train", "test"}}
    assert open_source(str(tmp_path)).notes == (
        "'annotations' is not a part of the set: it holds no images",
        "'seg_pred' is not a part of the set: its 1 image is not used",
    )


def test_a_list_beside_class_folders_is_told_and_not_read(tmp_path: Path):
    plant(tmp_path, "cat/1.png", "dog/2.png")
    (tmp_path / "scores.csv").write_text("name,score\nx,1\n")
    assert open_source(str(tmp_path)).notes == (
        "1 file passed over: 1 .csv",
        "scores.csv is not read: the folders say what the images are. "
        f"To read a list instead, give it in place of the folder: {tmp_path}/scores.csv",
    )


def test_images_and_masks_in_every_class_are_not_learned_together(tmp_path: Path):
    plant(tmp_path, "flu/images/1.png", "flu/masks/1.png", "well/images/2.png", "well/masks/2.png")
    with pytest.raises(DataError) as error:
        open_source(str(tmp_path))
    assert error.value.message == (
        f"The folder {tmp_path}: each of flu, well holds the folders images, masks, and all of these would be learned "
        "as its images.\nMove what is no image of a class, such as masks, out of the folder; or list the images in a "
        "CSV file with the columns file and label."
    )


def test_classes_that_lie_deeper_are_named(tmp_path: Path):
    plant(tmp_path, "archive/data/cat/1.png", "archive/data/dog/2.png")
    with pytest.raises(DataError) as error:
        open_source(str(tmp_path))
    assert error.value.message == (
        f"The folder {tmp_path} has one class only, 'archive': there is nothing to tell apart.\n"
        f"Did you mean {tmp_path}/archive/data, which has several sub-folders?"
    )


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("train/_annotations.csv", "If {0} says it, give it in place of the folder: {0}."),
        ("labels.xlsx", "If {0} says it, save it as CSV with the columns file and label, and give that."),
        (
            "readme.txt",
            "List the images in a CSV file with the columns file and label, such as {folder}/labels.csv.",
        ),
    ],
)
def test_parts_without_classes_name_the_file_that_may_say_them(tmp_path: Path, name: str, hint: str):
    plant(tmp_path, "train/1.png", "test/2.png")
    (tmp_path / name).write_text("x,y\n1,2\n")
    with pytest.raises(DataError) as error:
        open_source(str(tmp_path))
    assert error.value.message.splitlines()[1] == hint.format(tmp_path / name, folder=tmp_path)


def test_a_part_is_told_by_its_path(tmp_path: Path):
    plant(tmp_path, "train/a/1.png", "train/b/2.png", "val/images/3.png")
    assert open_source(str(tmp_path)).notes == ("'val/images' has no class folders: its 1 image is not used",)


def test_a_file_of_many_images_is_told_how_they_get_out(tmp_path: Path):
    path = tmp_path / "set.npz"
    path.write_bytes(b"x")
    assert refusal(path) == (
        f"'{path}' holds images in a form that is not read.\nWrite its images as files, one sub-folder for each class; "
        "or give the arrays from Python (docs/python.md)."
    )


def test_a_folder_of_images_inside_a_part_is_no_class(tmp_path: Path):
    plant(tmp_path, "train/images/a/1.png", "train/images/b/2.png", "test/images/a/3.png", "test/images/b/4.png")
    assert parts(tmp_path) == {"a": {"train", "test"}, "b": {"train", "test"}}


@pytest.mark.parametrize(
    "names", [("test tube", "flask"), ("training shoe", "boot"), ("development", "office"), ("train", "bus")]
)
def test_a_class_with_the_word_in_its_name_stays_a_class_or_is_asked_about(tmp_path: Path, names: tuple[str, str]):
    plant(tmp_path, *(f"{name}/{number}.png" for name in names for number in range(2)))
    if names[0] != "train":
        assert set(parts(tmp_path)) == set(names)
        return
    assert refusal(tmp_path) == (
        f"{tmp_path} has the folder 'train' beside 'bus': are the sub-folders splits or classes?\n"
        "Move everything that is not a split out of it."
    )


REFUSED = {
    (
        "train/a.png",
        "train/b.png",
        "test/c.png",
    ): "The folder {0} holds parts of a set (train and test) without class "
    "folders: nothing says which image is what.\nList the images in a CSV file with the columns file and label, "
    "such as {0}/labels.csv.\nOr put the images of each class into a sub-folder, such as {0}/train/cat.",
    ("cat/a.png", "dog/b.png", "test/c.png"): "The folder {0} has 'test', which is called like a part of a set, beside "
    "cat, dog: is it a class?\nMove it out of the folder; or, if it is a class, give it another name.",
    ("val/cat/a.png", "test/cat/b.png"): "The folder {0} has test and val, but no train: are they splits or classes?\n"
    "Add the folder train, or give one part alone, such as {0}/test.",
    ("Dataset/cat/a.png", "Dataset/dog/b.png", "Examples/c.png"): "The folder {0} holds Dataset, Examples, which are "
    "called like folders of files, not like classes.\nGive the one with the class folders, such as "
    "{0}/Dataset; or rename the folders after their classes.",
    (
        "first/cat/a.png",
        "first/dog/b.png",
        "second/cat/c.png",
        "second/dog/d.png",
    ): "The folder {0}: each of first, second "
    "holds the same sub-folders (cat, dog), so either may be the classes.\n"
    "If cat, dog are the classes, give one folder: {0}/first.\n"
    "If first, second are, list the images in a CSV file with the columns file and label.",
    ("originals/cat/a.png", "originals/dog/b.png", "more/bird/c.png", "more/cat/d.png", "more/dog/e.png"): "The folder "
    "{0}: each of more, originals holds the same sub-folders (cat, dog), so either may be the classes.\n"
    "If cat, dog are the classes, give one folder: {0}/more.\n"
    "If more, originals are, list the images in a CSV file with the columns file and label.",
    (
        "cat/train/a.png",
        "dog/train/b.png",
        "dog/val/c.png",
    ): "The folder {0} has parts of a set inside its sub-folders, "
    "such as cat/train and dog/val: they would be learned as one.\n"
    "Put the parts above the classes, as in train/cat and test/cat; or, if they are no parts, rename them.",
    ("images/train/a.png", "images/val/b.png", "labels/train/a.txt", "labels/val/b.txt"): "The folder {0} has pictures "
    "in 'images' and a text for each in 'labels', as boxes are marked for a detector: no class of a whole image stands "
    "there.\nList the images in a CSV file with the columns file and label, and give that.",
    ("development/cat/a.png", "development/dog/b.png", "holdout/cat/c.png"): "The folder {0} has development and "
    "holdout, but no train: are they splits or classes?\n"
    "Add the folder train, or give one part alone, such as {0}/development.",
    (
        "car_train/a.png",
        "car_test/b.png",
        "dog_train/c.png",
        "dog_test/d.png",
    ): "The folder {0} names a class and a part "
    "of the set in one (car_test, car_train, dog_test, dog_train).\n"
    "Put the parts above the classes, such as car_test as test/car.",
    ("images/a.png", "images/b.png", "labels.json"): "The folder {0} has one class only, 'images': there is nothing to "
    "tell apart.\nIf {0}/labels.json says it, save it as CSV with the columns file and label, and give that.",
    ("images/cat/a.png", "images/dog/b.png", "parts/c.txt"): "The folder {0} has images in 'images' alone: its "
    "sub-folders are no classes.\nDid you mean {0}/images, which has several sub-folders?",
    ("train/images/a.png", "train/labels/a.txt", "data.yaml"): "The folder {0} has images in 'images' alone: its "
    "sub-folders are no classes.\nIf {0}/data.yaml says it, save it as CSV with the columns file and label, and give "
    "that.",
    (
        "patient01/a.png",
        "patient02/b.png",
        "train.jsonl",
    ): "The folder {0} would be learned by who or what is shown: its "
    "classes are patient01, patient02 and so on.\nIf {0}/train.jsonl says it, give it in place of the folder: "
    "{0}/train.jsonl.\nOr, if these are the classes, move that file out of the folder.",
    ("images/a.png", "annotations/masks/a.png", "annotations/list.txt"): "The folder {0} holds annotations, images, "
    "which are called like folders of files, not like classes, and have no class folders.\nIf {0}/annotations/list.txt "
    "says it, save it as CSV with the columns file and label, and give that.",
    ("train/a.png", "test1/b.png", "sampleSubmission.csv"): "The folder {0} holds parts of a set (train and test1) "
    "without class folders: nothing says which image is what.\nList the images in a CSV file with the columns file and "
    "label, such as {0}/labels.csv.\nOr put the images of each class into a sub-folder, such as {0}/train/cat.",
    ("data.arrow",): "The folder {0} holds no image files, but data.arrow.\nWrite it as Parquet: "
    "datasets.load_from_disk(FOLDER)['train'].to_parquet('train.parquet').",
    ("train.mat",): "The folder {0} holds no image files, but train.mat.\nWrite its images as files, one sub-folder "
    "for each class; or give the arrays from Python (docs/python.md).",
    ("a.png", "labels.txt"): "The folder {0} holds images but no sub-folders.\n"
    "If {0}/labels.txt says it, save it as CSV with the columns file and label, and give that. Or put the images of "
    "each class into a sub-folder named after it, such as {0}/cat and {0}/dog.",
    ("train/notes.txt", "test/cat/a.png"): "The folder {0}: 'train' is the training part, but it is empty.\n"
    "Put one sub-folder of images per class into it, such as {0}/train/cat.",
}


@pytest.mark.parametrize("files", REFUSED, ids=range(len(REFUSED)))
def test_what_could_be_parts_or_classes_is_never_learned_the_wrong_way(tmp_path: Path, files: tuple[str, ...]):
    assert refusal(plant(tmp_path, *files)) == REFUSED[files].format(tmp_path)


def test_a_single_shared_sub_folder_is_no_muddle(tmp_path: Path):
    plant(tmp_path, "n01/images/a.png", "n02/images/b.png")
    assert set(parts(tmp_path)) == {"n01", "n02"}


def test_a_kind_of_thing_called_like_a_part_stays_inside_its_class(tmp_path: Path):
    plant(tmp_path, "vehicle/train/a.png", "vehicle/bus/b.png", "animal/cat/c.png")
    assert set(parts(tmp_path)) == {"vehicle", "animal"}


def test_a_part_without_class_folders_is_not_used_and_said(tmp_path: Path):
    plant(tmp_path, "train/cat/a.png", "train/dog/b.png", "test/c.png", "test/d.png", "val/.keep")
    assert parts(tmp_path) == {"cat": {"train"}, "dog": {"train"}}
    assert open_source(str(tmp_path)).notes == (
        "'test' has no class folders: its 2 images are not used",
        "'val' has no class folders: it is empty",
    )


def test_files_that_are_passed_over_are_counted_by_ending(tmp_path: Path):
    plant(tmp_path, "cat/a.png", "dog/b.png", *(f"cat/{number}.CR2" for number in range(9)), "dog/list.docx")
    plant(tmp_path, "stray.jpg", "cat/._a.png", "cat/Thumbs.db", "README.md", ".git/x.png", "notes")
    assert open_source(str(tmp_path)).notes == (
        "13 files passed over: 9 .cr2, 1 .docx, 1 without an ending, 1 image beside the class folders, 1 hidden image",
    )


def test_numbers_in_class_names_count_as_numbers(tmp_path: Path):
    plant(tmp_path, *(f"{name}/a.png" for name in ("grade 10", "grade 9", "grade 1", "10", "9", "2")))
    assert open_source(str(tmp_path)).classes == ("2", "9", "10", "grade 1", "grade 9", "grade 10")
