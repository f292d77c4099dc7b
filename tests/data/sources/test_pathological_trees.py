"""Folder trees as nobody would draw them: each is read as a person means it, or refused with its whole message.

A tree is written as a line per entry: `cat/a.png` a picture, `cat/` a folder, `a => b` a link at a to b, and `fifo`,
`socket`, `empty` or `text` in front of a name for what is not a picture.
"""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from saccade.core.errors import DataError
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.sources.folder.source import ImageFolder
from saccade.data.sources.shared import image_files
from saccade.data.sources.shared.image_files import ENDINGS_SHOWN

PICTURE = cv2.imencode(".png", np.zeros((4, 4, 3), np.uint8))[1].tobytes()
PAIR = ("cat/a.png", "dog/b.png")


def grow(folder: Path, entries: tuple[str, ...]) -> Path:
    folder.mkdir(exist_ok=True)
    for entry in entries:
        kind, _, name = entry.rpartition(": ") if entry.split(": ")[0] in MAKERS else ("picture", "", entry)
        link, arrow, target = name.partition(" => ")
        path = folder / link
        path.parent.mkdir(parents=True, exist_ok=True)
        if arrow:
            path.symlink_to(target)
        elif name.endswith("/"):
            path.mkdir(exist_ok=True)
        else:
            MAKERS[kind](path)
    return folder


MAKERS: dict[str, Callable[[Path], object]] = {
    "picture": lambda path: path.write_bytes(PICTURE),
    "empty": lambda path: path.write_bytes(b""),
    "text": lambda path: path.write_bytes(b"hello, world"),
    "fifo": os.mkfifo,
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
}

NO_IMAGES = (
    "The folder {0} holds no images.\n"
    "Put the images of each class into a sub-folder named after it, such as {0}/cat and {0}/dog."
)
NO_FOLDERS = NO_IMAGES.replace("no images.", "images but no sub-folders.")
ONE_CLASS = (
    "The folder {0} has one class only, '%s': there is nothing to tell apart.\n"
    "Add a sub-folder of images for at least one more class."
)
WRAPPED = (
    "The folder {0} has one class only, '%s': there is nothing to tell apart.\n"
    "Did you mean {0}/%s, which has several sub-folders?"
)
EMPTY = "The folder {0} has classes without a single image: %s.\nAdd images to them, or remove the empty folders."
NOTHING = (
    "The folder {0} has %d sub-folders but no image in them.\n"
    f"Check the path and the endings: read are {ENDINGS_SHOWN}."
)
OTHERS = f"\nIn these: %s. Read are {ENDINGS_SHOWN}: convert the files, or remove the folders."
NO_OWL = "The folder {0} has classes without a single image: 'owl'." + OTHERS
CALLED = (
    "The folder {0} has '%s', which is called like a part of a set, beside %s: is it a class?\n"
    "Move it out of the folder; or, if it is a class, give it another name."
)
TWINS = (
    "The folder {0} has two classes whose names differ only in letter case, accent encoding or spaces: %s and %s.\n"
    "Merge the two folders, or rename one."
)
NO_TRAIN = (
    "The folder {0} has %s, but no train: are they splits or classes?\n"
    "Add the folder train, or give one part alone, such as {0}/%s."
)
MIXED = (
    "{0} has the folder 'train' beside '%s': are the sub-folders splits or classes?\n"
    "Move everything that is not a split out of it."
)
TWICE = "The folder {0} has one sub-folder under two names, through a link: %s and %s.\nRemove one of the two."
ARCHIVE = (
    "The folder {0} holds no images, but the archive %s.\n"
    "Unpack it, and give the folder with one sub-folder of images per class."
)

REFUSED: dict[str, tuple[tuple[str, ...], str]] = {
    "an empty folder": ((), NO_IMAGES),
    "hidden folders only": ((".cat/a.png", ".dog/b.png"), NO_IMAGES),
    "what a system leaves only": (("__MACOSX/cat/a.png", "text: Thumbs.db", "text: .DS_Store"), NO_IMAGES),
    "loose images only": (("a.png", "b.JPG"), NO_FOLDERS),
    "an archive only": (("text: photos.zip",), ARCHIVE % "photos.zip"),
    "an archive with line ends and escapes": (("text: a\n\x1b[31m.tar.gz",), ARCHIVE % r"a\n\x1b[31m.tar.gz"),
    "archives in the classes": (
        ("text: cat/a.zip", "text: dog/b.zip"),
        "The folder {0} has 2 sub-folders but no image in them." + OTHERS % "2 files passed over: 2 .zip",
    ),
    "one class": (("cat/a.png",), ONE_CLASS % "cat"),
    "one class and loose images": (("cat/a.png", "b.png"), ONE_CLASS % "cat"),
    "one class with a line end and a direction mark": (("a\nb\u202e/a.png",), ONE_CLASS % r"a\nb\u202e"),
    "one class with bytes that are no text": (("caf\udce9/a.png",), ONE_CLASS % r"caf\udce9"),
    "one class of 255 bytes": (("x" * 255 + "/a.png",), ONE_CLASS % ("x" * 255)),
    "the folder unpacked into itself": (("photos/cat/a.png", "photos/dog/b.png"), WRAPPED % ("photos", "photos")),
    "one class beside hidden ones": (("cat/a.png", ".dog/b.png", "@eaDir/x.png"), ONE_CLASS % "cat"),
    "an empty class": ((*PAIR, "owl/"), EMPTY % "'owl'"),
    "a class of empty folders": ((*PAIR, "owl/x/y/z/"), EMPTY % "'owl'"),
    "a class of hidden files": ((*PAIR, "owl/.a.png", "owl/._b.png"), NO_OWL % "2 files passed over: 2 hidden images"),
    "a class of texts": (
        (*PAIR, "text: owl/a.txt", "text: owl/b"),
        NO_OWL % "2 files passed over: 1 .txt, 1 without an ending",
    ),
    "a class of formats that are not read": (
        (*PAIR, "owl/a.psd", "owl/b.xcf", "owl/c.svg"),
        NO_OWL % "3 files passed over: 1 .psd, 1 .svg, 1 .xcf",
    ),
    "a class of endings twice": (
        (*PAIR, "owl/a.png.bak", "owl/b.jpg~"),
        NO_OWL % "2 files passed over: 1 .bak, 1 .jpg~",
    ),
    "a class of a pipe and a socket": (
        (*PAIR, "fifo: owl/a.png", "socket: owl/b.png"),
        NO_OWL % "2 files passed over: 2 that are not files",
    ),
    "a class that is a link to the folder": ((*PAIR, "loop => ."), EMPTY % "'loop'"),
    "a class that is a link further up": ((*PAIR, "loop => .."), EMPTY % "'loop'"),
    "a class of a link to another": ((*PAIR, "owl/", "owl/more => ../dog"), EMPTY % "'owl'"),
    "an empty class whose name is an escape": ((*PAIR, "\x1b[2J/"), EMPTY % r"'\x1b[2J'"),
    "empty classes only": (("cat/", "dog/"), NOTHING % 2),
    "ten thousand empty classes": (
        (*PAIR, *(f"{number:04}/" for number in range(10_000))),
        EMPTY % "'0000', '0001', '0002', '0003', '0004' and 9,995 more",
    ),
    "a class of bytes that are no text": (
        (*PAIR, "caf\udce9/c.png"),
        "The folder {0} has a class whose name is not valid text: 'caf\\udce9'.\nGive it another name.",
    ),
    "twins in letter case": (("Cat/a.png", "cat/b.png"), TWINS % ("'Cat'", "'cat'")),
    "twins in accents": (("caf\u00e9/a.png", "cafe\u0301/b.png"), TWINS % (r"'cafe\u0301'", r"'caf\xe9'")),
    "twins in a space at the end": (("cat/a.png", "cat /b.png"), TWINS % ("'cat'", "'cat '")),
    "twins in a doubled space": (("big cat/a.png", "big  cat/b.png"), TWINS % ("'big  cat'", "'big cat'")),
    "twins in a hard space": (("big cat/a.png", "big\u00a0cat/b.png"), TWINS % ("'big cat'", r"'big\xa0cat'")),
    "twins in what is invisible": (("cat/a.png", "cat\u200b/b.png"), TWINS % ("'cat'", r"'cat\u200b'")),
    "twins in two splits": (
        ("train/cat/a.png", "train/dog/b.png", "test/CAT/c.png"),
        TWINS % ("'CAT'", "'cat'"),
    ),
    "one folder under two names": (("cat/a.png", "dog => cat"), TWICE % ("cat", "dog")),
    "a test part that is the training part": (
        ("train/cat/a.png", "train/dog/b.png", "test => train"),
        TWICE % ("test/cat", "train/cat"),
    ),
    "splits beside a class": (("train/cat/a.png", "train/dog/b.png", "owl/c.png"), MIXED % "owl"),
    "split names as classes": (("train/a.png", "cat/b.png"), MIXED % "cat"),
    "a class named test beside others": (("test/a.png", "test/x/b.png", "cat/c.png"), CALLED % ("test", "cat")),
    "a class named dev beside others": (("CON/nul.png", "dev/null.png"), CALLED % ("dev", "CON")),
    "test without train": (("test/cat/a.png", "test/dog/b.png"), NO_TRAIN % ("test", "test")),
    "validation and test without train": (
        ("val/cat/a.png", "val/dog/b.png", "test/cat/c.png"),
        NO_TRAIN % ("test and val", "test"),
    ),
    "two names for validation": (
        ("train/cat/a.png", "val/cat/b.png", "dev/cat/c.png"),
        "{0} has two folders for validation: dev and val.\nKeep one of them.",
    ),
    "two cases of train": (
        ("train/cat/a.png", "Train/dog/b.png"),
        "{0} has two folders for train: Train and train.\nKeep one of them.",
    ),
    "splits with one class": (("train/cat/a.png", "test/cat/b.png"), ONE_CLASS % "cat"),
    "a class that only test has": (("train/cat/a.png", "test/dog/b.png", "train/owl/"), EMPTY % "'owl'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_tree_that_cannot_be_meant_is_refused_with_its_whole_message(tmp_path: Path, name: str):
    entries, message = REFUSED[name]
    folder = grow(tmp_path / "tree", entries)
    with pytest.raises(DataError) as error:
        open_source(str(folder))
    assert str(error.value) == message.format(folder)
    assert len(str(error.value).splitlines()) <= 4


READ: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "what systems leave": (
        (*PAIR, "__MACOSX/cat/._a.png", "text: cat/Thumbs.db", "text: .DS_Store", "text: dog/desktop.ini"),
        PAIR,
    ),
    "what network drives leave": (
        (*PAIR, "cat/@eaDir/a.png/THUMB_XL.jpg", "$RECYCLE.BIN/x.png", "System Volume Information/x.png"),
        PAIR,
    ),
    "a lost and found, hidden tools": ((*PAIR, "lost+found/", ".git/x.png", "cat/.thumbnails/a.png"), PAIR),
    "loose images beside the classes": ((*PAIR, "cover.png", "text: README.md"), PAIR),
    "archives beside the classes": ((*PAIR, "text: photos.zip", "text: cat/more.zip"), PAIR),
    "flat and nested in one class": (
        (*PAIR, "cat/indoors/b.png", "cat/a/b/c/d/e.png"),
        ("cat/a.png", "cat/a/b/c/d/e.png", "cat/indoors/b.png", "dog/b.png"),
    ),
    "names that look like options": (
        ("--help/a.png", "-rf/-v.png", "--json=1/$(id).png"),
        ("--help/a.png", "--json=1/$(id).png", "-rf/-v.png"),
    ),
    "names of devices": (
        ("CON/nul.png", "aux/com1.jpg", "prn/null.png"),
        ("CON/nul.png", "aux/com1.jpg", "prn/null.png"),
    ),
    "names with line ends, tabs and quotes": (
        ("a\nb/c\nd.png", "q\"u'o/t\te.png"),
        ("a\nb/c\nd.png", "q\"u'o/t\te.png"),
    ),
    "names with glob, percent and backslash": (
        ("*/?.png", "%2e%2e/[a].png", "back\\slash/c\\d.png"),
        ("%2e%2e/[a].png", "*/?.png", "back\\slash/c\\d.png"),
    ),
    "names of many scripts": (
        ("猫/写真.png", "собака/б.png", "🐈/🐾.png"),
        ("собака/б.png", "猫/写真.png", "🐈/🐾.png"),
    ),
    "bytes that are no text": (
        ("cat/\udcff.png", "dog/b.png"),
        ("cat/\udcff.png", "dog/b.png"),
    ),
    "numbers are in the order of their values": (
        ("10/a.png", "9/b.png", "010/c.png"),
        ("9/b.png", "010/c.png", "10/a.png"),
    ),
    "a folder with an image's ending": (
        (*PAIR, "cat/album.png/c.png"),
        ("cat/a.png", "cat/album.png/c.png", "dog/b.png"),
    ),
    "endings in any case": (("cat/a.PNG", "dog/b.JpEg", "dog/c.JPE"), ("cat/a.PNG", "dog/b.JpEg", "dog/c.JPE")),
    "a file without an ending beside": ((*PAIR, "text: owl", "text: cat/none"), PAIR),
    "links that lead back": ((*PAIR, "cat/up => ..", "cat/here => .", "dog/cats => ../cat", "dog/x => x"), PAIR),
    "links that lead to each other": ((*PAIR, "cat/x => y", "cat/y => x", "a => b", "b => a"), PAIR),
    "a dangling link to a folder": ((*PAIR, "owl => nowhere", "cat/more => nowhere"), PAIR),
    "a pipe and a socket beside the images": (
        (*PAIR, "fifo: cat/p.png", "socket: dog/s.png", "fifo: owl", "fifo: labels"),
        PAIR,
    ),
    "splits beside a folder of notes": (
        ("train/cat/a.png", "train/dog/b.png", "text: notes/x.txt"),
        ("train/cat/a.png", "train/dog/b.png"),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_a_strange_tree_that_is_clear_is_read_without_what_does_not_belong(tmp_path: Path, name: str):
    entries, keys = READ[name]
    source = open_source(str(grow(tmp_path / "tree", entries)))
    assert tuple(source.record(index).key for index in range(len(source))) == keys
    assert all(source.classes[source.record(i).label] in keys[i].split("/")[:2] for i in range(len(source)))
    assert all(source.read(index) == PICTURE for index in range(len(source)))


def test_images_that_cannot_be_read_are_named_by_the_scan(tmp_path: Path):
    entries = (*PAIR, "empty: cat/zero.png", "text: dog/text.jpg", "cat/gone.png => nowhere", "dog/me.png => me.png")
    with pytest.raises(DataError) as error:
        scan_source(open_source(str(grow(tmp_path / "tree", entries))), threads=2)
    assert str(error.value) == (
        f"{tmp_path}/tree: 4 of 6 images cannot be decoded.\n"
        "cat/gone.png: the file cannot be read: No such file or directory; "
        "cat/zero.png: the file is empty (0 bytes); and 2 more.\n"
        "4 of 6 (66.7 %) is above the 1 % that may be left out: repair or remove them.\n"
        f"All of them are named by: saccade inspect {tmp_path}/tree"
    )


@pytest.mark.parametrize("name", ["cat", "cat/inside", ""])
def test_a_folder_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    folder = grow(tmp_path / "tree", (*PAIR, "cat/inside/c.png"))
    locked = os.fsencode(folder / name)
    scandir = os.scandir

    def guarded(path: bytes) -> object:  # the permission bits do not stop a superuser, who may run the tests
        if os.fsencode(path) == locked:
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(image_files.os, "scandir", guarded)
    with pytest.raises(DataError) as error:
        ImageFolder(folder)
    assert str(error.value) == f"The folder {folder / name} may not be read by you.\nChange its permissions."


def test_a_tree_deeper_than_a_path_may_be_is_named_in_short(tmp_path: Path):
    folder = grow(tmp_path / "tree", PAIR)
    here = os.open(folder / "cat", os.O_RDONLY)
    for _ in range(20):
        os.mkdir("d" * 250, dir_fd=here)
        inner = os.open("d" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(DataError) as error:
        open_source(str(folder))
    shown = f"{folder}/cat/{'d' * 250}"[:200]
    assert str(error.value) == f"The folder {shown}... cannot be listed: File name too long.\nShorten the names."


def test_four_hundred_folders_deep_is_read(tmp_path: Path):
    deep = "cat/" + "d/" * 400 + "a.png"
    assert len(open_source(str(grow(tmp_path / "tree", ("dog/b.png", "cat/a.png", deep))))) == 3


@pytest.mark.parametrize("path", ["tree/", "./tree", "tree/../tree", "link", "tree/cat/.."])
def test_every_way_to_write_the_folder_s_path_gives_the_same_images(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
):
    grow(tmp_path / "tree", PAIR)
    (tmp_path / "link").symlink_to("tree")
    monkeypatch.chdir(tmp_path)
    source = open_source(path)
    assert [source.record(index).key for index in range(2)] == list(PAIR)
    assert source.read(1) == PICTURE


@pytest.mark.parametrize("name", ["pipe", "pipe.csv", "pipe.tar", "pipe.parquet", "pipe.npz", "pipe.gz", "pipe.json"])
def test_a_pipe_in_place_of_a_source_is_refused_and_not_waited_for(tmp_path: Path, name: str):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError) as error:
        open_source(str(tmp_path / name))
    assert str(tmp_path / name) in str(error.value)
    assert len(str(error.value).splitlines()) <= 4


@pytest.mark.parametrize("text", ["/dev/null", "/dev/zero"])
def test_a_device_in_place_of_a_source_is_refused(text: str):
    with pytest.raises(DataError) as error:
        open_source(text)
    assert str(error.value).splitlines()[0] == f"'{text}' is not a set of labelled images that Saccade knows."


def test_strange_class_names_train_judge_and_predict(
    saccade: Callable, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    for label, name in enumerate(["--help", "new\nline \x1b[31m", "<script>", "=1+1"]):
        for number in range(8):
            path = tmp_path / "tree" / name / f"{number}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(cv2.imencode(".png", np.full((12, 12, 3), 40 * label + number, np.uint8))[1].tobytes())
    finished = saccade("train", "tree", "--epochs", "1", "--out", "run", "--set", "runtime.num_threads=1", "--quiet")
    assert (finished.status, "Traceback" in finished.errors) == (0, False), finished.errors
    assert "\x1b" not in finished.output + finished.errors
    judged = saccade("evaluate", "run", "tree", "--json")
    assert judged.status == 0, judged.errors
    predicted = saccade("predict", "run", "tree")
    assert predicted.status == 0, predicted.errors
    assert "\x1b" not in predicted.output
