"""Tar shards of samples: labels in every usual place, splits, damage; the same from a remote file system."""

import io
import os
import tarfile
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import numpy as np
import pytest
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry

from saccade.core.errors import DataError, ImageError
from saccade.data.source import open_source
from saccade.data.sources.tar import index as shard_index
from saccade.data.sources.tar import remote as remote_files
from saccade.data.sources.tar.names import expand_braces, find_shards
from saccade.data.sources.tar.shards import Member, Shard, sample_name, walk_shard
from saccade.data.store_place import store_at

Files = dict[str, bytes]


def tar_bytes(files: Files, style: int = tarfile.GNU_FORMAT) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def write(path: Path, files: Files, style: int = tarfile.GNU_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(tar_bytes(files, style))
    return path


def listing(text: object) -> list[tuple[str, str, str | None, bytes]]:
    source = open_source(str(text))
    records = [source.record(index) for index in range(len(source))]
    return [(r.key, source.classes[r.label], r.split, source.read(i)) for i, r in enumerate(records)]


def refusal(text: object) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(text))
    return str(error.value)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


PAIR = {"1.jpg": b"one", "1.cls": b"cat", "2.jpg": b"two", "2.cls": b"dog\n"}


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_images_have_the_label_beside_them(tmp_path: Path, style: int):
    path = write(tmp_path / "a.tar", PAIR, style)
    assert listing(path) == [("a.tar/1.jpg", "cat", None, b"one"), ("a.tar/2.jpg", "dog", None, b"two")]


@pytest.mark.parametrize("style", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_long_and_foreign_names_are_read(tmp_path: Path, style: int):
    long = "日本/" + "x" * 120 + "/" + "y" * 150
    path = write(
        tmp_path / "a.tar", {f"{long}.jpg": b"one", f"{long}.cls": b"cat", "2.jpg": b"2", "2.cls": b"dog"}, style
    )
    assert listing(path)[0] == (f"a.tar/{long}.jpg", "cat", None, b"one")


def test_what_the_shell_s_tar_writes_is_read(tmp_path: Path):
    for name in ("cat/a.png", "dog/b.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(name.encode())
    assert os.system(f"tar -C '{tmp_path}' -cf '{tmp_path}/a.tar' ./cat ./dog") == 0
    found = [entry[1:] for entry in listing(tmp_path / "a.tar")]
    assert found == [("cat", None, b"cat/a.png"), ("dog", None, b"dog/b.png")]


@pytest.mark.parametrize(
    "files",
    [
        {"1.png": b"one", "1.json": b'{"label": "cat", "size": 3}', "2.png": b"two", "2.json": b'{"label": "dog"}'},
        {"1.json": b'{"class": "cat"}', "1.png": b"one", "2.json": b'{"cls": "dog"}', "2.png": b"two"},
        {"1.png": b"one", "1.cls": b"cat", "1.json": b'{"label": "felis"}', "2.png": b"two", "2.cls": b"dog"},
        {"1.png": b"one", "1.cls": b"cat", "1.txt": b"a caption", "2.png": b"two", "2.cls": b"dog", "2.json": b"{}"},
        {"cat/1.png": b"one", "dog/2.png": b"two", "README": b"of 2019", "__info__.json": b"[", ".x.png": b"x"},
        {"x/1.png": b"one", "x/1.cls": b"cat", "x/2.png": b"two", "x/2.cls": b"dog", "x/notes.txt": b"x"},
        {"1.left.png": b"one", "1.cls": b"cat", "2.left.png": b"two", "2.cls": b"dog"},
    ],
)
def test_a_label_may_stand_in_any_usual_place(tmp_path: Path, files: Files):
    assert [entry[1:] for entry in listing(write(tmp_path / "a.tar", files))] == [
        ("cat", None, b"one"),
        ("dog", None, b"two"),
    ]


@pytest.mark.parametrize("place", ["classnames.txt", "train/classnames.txt", "classes.txt"])
def test_numbers_take_their_names_from_the_list_beside_the_shards(tmp_path: Path, place: str):
    write(tmp_path / "train" / "0.tar", {"1.jpg": b"one", "1.cls": b"2", "2.jpg": b"two", "2.cls": b"0"})
    write(tmp_path / "test" / "0.tar", {"1.jpg": b"three", "1.cls": b"1"})
    (tmp_path / place).write_text("ant\nbee\ncow\n")
    if place.startswith("train"):
        (tmp_path / "test" / "classnames.txt").write_text("ant\nbee\ncow\n")
    assert sorted(listing(tmp_path)) == [
        ("test/0.tar/1.jpg", "bee", "test", b"three"),
        ("train/0.tar/1.jpg", "cow", "train", b"one"),
        ("train/0.tar/2.jpg", "ant", "train", b"two"),
    ]


def test_numbers_without_names_are_in_the_order_of_numbers(tmp_path: Path):
    files = {f"{number}.{end}": str(number).encode() for number in (10, 9, 100) for end in ("jpg", "cls")}
    assert open_source(str(write(tmp_path / "a.tar", files))).classes == ("9", "10", "100")


@pytest.mark.parametrize("text", ["", "{train,val}-{00..01}.tar", "*.tar"])
def test_folders_and_patterns_mean_their_shards_and_names_their_splits(tmp_path: Path, text: str):
    for number, name in enumerate(("train-00", "train-01", "val-00", "val-01")):
        write(tmp_path / f"{name}.tar", {f"{number}.jpg": b"x", f"{number}.cls": [b"cat", b"dog"][number % 2]})
    source = open_source(f"{tmp_path}/{text}")
    assert [source.record(index).split for index in range(4)] == ["train", "train", "validation", "validation"]


def test_braces_expand_as_in_a_shell():
    assert expand_braces("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expand_braces("{x,y}/{0..1}.tar") == ["x/0.tar", "x/1.tar", "y/0.tar", "y/1.tar"]
    assert expand_braces("plain.tar") == ["plain.tar"]
    with pytest.raises(DataError) as error:
        expand_braces("{0..9999999999}.tar")
    assert str(error.value) == (
        "'{0..9999999999}.tar' stands for 10,000,000,000 names; at most 100,000 are taken.\n"
        "Give a folder of the files, or fewer of them."
    )


def test_names_are_cut_at_the_first_dot_of_the_last_part():
    assert sample_name("a.b/c.d.jpg") == ("a.b/c", "d.jpg")
    assert sample_name("./c.JPG") == ("c", "jpg")
    assert sample_name("c") == ("c", "")
    assert sample_name(".hidden.jpg") == (".hidden.jpg", "hidden.jpg")


def test_a_folder_of_classes_with_an_archive_beside_them_stays_a_folder(tmp_path: Path):
    write(tmp_path / "backup.tar", PAIR)
    for name in ("cat/1.png", "dog/2.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"x")
    assert open_source(str(tmp_path)).record(0).key == "cat/1.png"


SLIPS: list[tuple[Files, str]] = [
    ({"1.jpg": b"1"}, ": the sample 1 has no label.\nAdd 1.cls beside it, with its class."),
    (
        PAIR | {"3.cls": b"cat"},
        ": the sample 3 has a label, but no image.\nFiles of one sample stand next to each other.",
    ),
    (PAIR | {"2.png": b"x"}, ": 2.png is the second image of its sample.\nLeave one image in each sample."),
    (PAIR | {"2.label": b"cow"}, ": 2.label says 'cow', another file of its sample 'dog'.\nRemove one."),
    (PAIR | {"2.json": b"{"}, ": 2.json is not JSON.\nWrite it again."),
    (PAIR | {"3.jpg": b"3", "3.cls": b"\xff"}, ": 3.cls is not UTF-8 text.\nWrite it again."),
    (
        PAIR | {"3.jpg": b"3", "3.cls": b" \n"},
        ": 3.cls holds no class: neither a number nor a name.\nWrite the class into it.",
    ),
    (
        PAIR | {"3.jpg": b"3", "3.json": b'{"label": [1]}'},
        ": 3.json holds a list of classes; several labels an image are not read from tar files.\n"
        "List the images in a CSV or Parquet file.",
    ),
    (PAIR | {"3.jpg": b"3", "3.cls": b"x" * (1 << 20) + b"y"}, ": 3.cls has 1,048,577 bytes, which is not a label."),
    (
        {"1.jpg": b"1", "1.cls": b"cat"},
        " has one class only, 'cat': there is nothing to tell apart.\n"
        "Give shards with images of at least one more class.",
    ),
    (
        PAIR | {"3.jpg": b"3", "3.cls": b"Dog"},
        " has two classes whose names differ only in letter case, accent encoding or spaces: 'Dog' and 'dog'.\n"
        "Write the label the same way in every sample.",
    ),
    (
        PAIR | {"3.jpg": b"3", "3.json": b'{"label": "\\ud800x"}'},
        " has a class whose name is not valid text: '\\ud800x'.\nGive it another name.",
    ),
    (
        {"cat/1.jpg": b"1", "dog/2.jpg": b"2", "\udcff\udcfecls/3.jpg": b"3"},
        " has a class whose name is not valid text: '\\udcff\\udcfecls'.\nGive it another name.",
    ),
    ({"notes.txt": b"x"}, " has no image in its 1 tar files.\nCheck what is in them."),
]


@pytest.mark.parametrize(("files", "message"), SLIPS, ids=range(len(SLIPS)))
def test_a_slip_is_named_with_its_file(tmp_path: Path, files: Files, message: str):
    path = write(tmp_path / "a.tar", files)
    assert refusal(path) == f"{path}{message}"


def test_a_label_above_the_list_of_names_is_refused(tmp_path: Path):
    write(tmp_path / "a.tar", {"1.jpg": b"1", "1.cls": b"0", "2.jpg": b"2", "2.cls": b"2"})
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    assert refusal(tmp_path) == (
        f"{tmp_path} has the label 2, but its file of class names has 2 lines.\n"
        "Number the classes from 0, one line each."
    )


@pytest.mark.parametrize("keep", [100, 512, 513, 1024, 1600, 3584, 4096])
def test_a_shard_that_is_cut_off_is_refused(tmp_path: Path, keep: int):
    path = write(tmp_path / "a.tar", PAIR)
    path.write_bytes(path.read_bytes()[:keep])
    text = refusal(path)
    assert text.startswith(f"{path} is cut off, damaged or no tar file (")
    assert text.endswith(").\nDownload it again.")


def test_a_damaged_header_does_not_hide_the_rest(tmp_path: Path):
    content = bytearray(tar_bytes(PAIR))
    content[2 * 1024 + 100] ^= 0x55  # in the header of the third member
    (tmp_path / "a.tar").write_bytes(content)
    assert refusal(tmp_path / "a.tar").startswith(f"{tmp_path}/a.tar is cut off, damaged or no tar file (")


def test_links_are_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "a.tar", "w") as archive:
        member = tarfile.TarInfo("1.jpg")
        member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(member)
    assert refusal(tmp_path / "a.tar") == (
        f"{tmp_path}/a.tar: 1.jpg is a link or a special file, not an image.\n"
        "Write the shard with the files themselves: tar --dereference --hard-dereference."
    )


@pytest.mark.parametrize("above", ["", "set/", "a/set/"])
def test_folders_inside_a_shard_that_are_parts_of_the_set_are_splits(tmp_path: Path, above: str):
    names = ("train/cat/1.jpg", "train/dog/2.jpg", "test/cat/3.jpg", "test/dog/4.jpg")
    path = write(tmp_path / "x.tar", {f"{above}{name}": b"x" for name in names})
    assert [(label, split) for _, label, split, _ in listing(path)] == [
        ("cat", "train"),
        ("dog", "train"),
        ("cat", "test"),
        ("dog", "test"),
    ]
    source = open_source(str(path))
    assert source.table().split_N.tolist() == [0, 0, 2, 2]


def test_parts_inside_a_shard_are_never_learned_as_classes(tmp_path: Path):
    path = write(tmp_path / "x.tar", {"train/1.jpg": b"1", "train/2.jpg": b"2", "test/3.jpg": b"3"})
    assert refusal(path) == (
        f"{path} holds parts of a set (test and train) without class folders: nothing says which image is what.\n"
        "Write the class of each sample beside it, as 0001.cls, or above it, as train/cat/0001.jpg."
    )


def test_a_name_that_is_in_a_shard_twice_is_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name in ("./cat/1.jpg", "./dog/2.jpg", "./cat/1.jpg"):
            member = tarfile.TarInfo(name)
            member.size = 1
            archive.addfile(member, io.BytesIO(b"x"))
    assert refusal(tmp_path / "x.tar") == (
        f"{tmp_path}/x.tar holds cat/1.jpg twice.\nWrite the shard again, with each name once."
    )


def test_keys_are_the_names_of_the_members(tmp_path: Path):
    path = write(tmp_path / "x.tar", {"./cat/1.jpg": b"1", "./dog/2.a.jpg": b"2"})
    assert [key for key, *_ in listing(path)] == ["x.tar/cat/1.jpg", "x.tar/dog/2.a.jpg"]


def test_compressed_shards_are_refused(tmp_path: Path):
    with tarfile.open(tmp_path / "b.tar", "w:gz"):
        pass
    assert refusal(tmp_path / "b.tar").startswith(f"{tmp_path}/b.tar is compressed, so that its images cannot be read")
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz"):
        pass
    assert refusal(tmp_path / "a.tar.gz") == (
        f"{tmp_path}/a.tar.gz is compressed, so that its images cannot be read in any order.\n"
        "Unpack it to a plain .tar: gunzip, or the like. Images are compressed already."
    )


def test_a_pattern_that_means_nothing_and_a_shard_that_is_missing_are_named(tmp_path: Path):
    write(tmp_path / "a-0.tar", PAIR)
    assert refusal(tmp_path / "b-*.tar") == (
        f"{tmp_path}/b-*.tar means no tar file.\nGive a folder of .tar files, or a pattern such as a-{{00..07}}.tar."
    )
    assert refusal(tmp_path / "a-{0..1}.tar") == (
        f"{tmp_path}/a-1.tar cannot be read: No such file or directory.\nCheck its name."
    )


def test_a_shard_that_changes_or_vanishes_is_named(tmp_path: Path):
    path = write(tmp_path / "a.tar", PAIR)
    source = open_source(str(path))
    write(path, {"1.jpg": b"ONE"} | PAIR | {"3.jpg": b"3"})
    with pytest.raises(ImageError, match=r"^a\.tar/1\.jpg: a\.tar has changed since it was opened\. Start again\.$"):
        source.read(0)
    path.unlink()
    with pytest.raises(ImageError, match=r"^a\.tar/1\.jpg: the shard cannot be read: No such file or directory\.$"):
        source.read(0)


class Bucket(MemoryFileSystem):
    """What stands for s3 here: the real one needs a service."""

    protocol = "s3"
    store: ClassVar[dict[str, Any]] = {}
    pseudo_dirs: ClassVar[list[str]] = [""]

    @classmethod
    def _strip_protocol(cls, path: str) -> str:
        return "/" + path.removeprefix("s3://").strip("/")


@pytest.fixture
def memory() -> Iterator[fsspec.AbstractFileSystem]:
    before = fsspec.registry.get("s3")
    fsspec.register_implementation("s3", Bucket, clobber=True)
    yield fsspec.filesystem("s3")
    Bucket.store.clear()
    Bucket.pseudo_dirs[:] = [""]
    Bucket.clear_instance_cache()
    _registry.pop("s3")
    if before is not None:
        fsspec.register_implementation("s3", before)


@pytest.mark.parametrize("text", ["s3://set/train-{0..1}.tar", "s3://set/*.tar", "s3://set/"])
def test_a_remote_file_system_gives_the_same(tmp_path: Path, memory: fsspec.AbstractFileSystem, text: str):
    rng = np.random.default_rng(0)
    for number in range(2):
        files = {
            f"{n}.{end}": rng.bytes(3000) if end == "jpg" else b"%d" % (n % 3)
            for n in range(9)
            for end in ("jpg", "cls")
        }
        write(tmp_path / f"train-{number}.tar", files)
        memory.pipe_file(f"/set/train-{number}.tar", (tmp_path / f"train-{number}.tar").read_bytes())
    (tmp_path / "classes.txt").write_text("ant\nbee\ncow")
    memory.pipe_file("/set/classes.txt", b"ant\nbee\ncow")
    assert listing(text) == listing(tmp_path)
    assert open_source(text).digest == open_source(str(tmp_path)).digest


def test_remote_trouble_is_named(memory: fsspec.AbstractFileSystem):
    assert refusal("s3://set/a.tar") == (
        "s3://set/a.tar cannot be read: s3.amazonaws.com has no such file (404).\nCheck its name."
    )
    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    with store_at("", 0):
        source = open_source("s3://set/a.tar")
    memory.pipe_file("/set/a.tar", b"short")
    with pytest.raises(ImageError, match=r"^a\.tar/1\.jpg: a\.tar has changed since it was opened\. Start again\.$"):
        source.read(0)
    memory.rm_file("/set/a.tar")
    with pytest.raises(DataError, match=r"^s3://set/a\.tar cannot be read: s3\.amazonaws\.com has no such file"):
        source.read(0)


def test_an_error_that_only_one_file_system_has_is_named(
    memory: fsspec.AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
):
    def fail(self: object, path: str, start: int, end: int) -> None:
        raise RuntimeError("the bucket is on holiday")

    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    monkeypatch.setattr(type(memory), "cat_file", fail)
    assert refusal("s3://set/a.tar") == (
        "s3://set/a.tar cannot be read: s3.amazonaws.com: the bucket is on holiday.\n"
        "Check its name, and the connection."
    )


def test_walking_a_shard_keeps_no_list_of_members(tmp_path: Path):
    path = write(tmp_path / "a.tar", {f"{number}.jpg": b"x" for number in range(4000)})
    shard = find_shards(str(path))[0]
    tracemalloc.start()
    try:
        assert sum(1 for _ in walk_shard(shard, (".cls",), 10)) == 4000
        assert tracemalloc.get_traced_memory()[1] < 400_000
    finally:
        tracemalloc.stop()


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The shards that were walked, in order."""
    walked: list[str] = []

    def walk(shard: Shard, wanted: tuple[str, ...], max_content_bytes: int) -> Iterator[Member]:
        walked.append(shard.path)
        yield from walk_shard(shard, wanted, max_content_bytes)

    monkeypatch.setattr(shard_index, "walk_shard", walk)
    return walked


def test_a_remote_shard_is_walked_once_and_again_only_when_it_changes(
    memory: fsspec.AbstractFileSystem, walks: list[str]
):
    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    first = listing("s3://set/a.tar")
    assert listing("s3://set/a.tar") == first
    assert len(walks) == 1
    other = dict(list(PAIR.items())[2:] + list(PAIR.items())[:2])
    memory.pipe_file("/set/a.tar", tar_bytes(other))
    assert [entry[3] for entry in listing("s3://set/a.tar")] == [b"two", b"one"]
    assert len(walks) == 2


@pytest.mark.parametrize("damage", [b"", b"x", b"[]", None])
def test_a_damaged_index_is_made_again(memory: fsspec.AbstractFileSystem, walks: list[str], damage: bytes | None):
    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    first = listing("s3://set/a.tar")
    (kept,) = shard_index.index_folder().iterdir()
    content = kept.read_bytes()
    kept.write_bytes(content.replace(b"512", b"513") if damage is None else damage)
    assert listing("s3://set/a.tar") == first
    assert len(walks) == 2
    assert kept.read_bytes() == content


def test_where_no_index_can_be_kept_the_shard_is_walked(
    tmp_path: Path, memory: fsspec.AbstractFileSystem, walks: list[str], monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    assert listing("s3://set/a.tar") == listing("s3://set/a.tar")
    assert len(walks) == 2


def test_a_shard_of_no_known_version_is_walked_every_time(
    memory: fsspec.AbstractFileSystem, walks: list[str], monkeypatch: pytest.MonkeyPatch
):
    memory.pipe_file("/set/a.tar", tar_bytes(PAIR))
    monkeypatch.setattr(remote_files, "VERSION_KEYS", ())
    assert len(listing("s3://set/a.tar")) == len(listing("s3://set/a.tar")) == 2
    assert len(walks) == 2
