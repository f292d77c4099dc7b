"""Files are whole or not there: errors in words, leftovers of kills, folders that are replaced in one step."""

import errno
import os
from pathlib import Path

import pytest

from saccade.core import atomic
from saccade.core.errors import StorageError


def failing(number: int):
    def fill(temporary: Path) -> None:
        temporary.write_bytes(b"half")
        raise OSError(number, os.strerror(number))

    return fill


def test_a_file_is_replaced_and_no_temporary_is_left(tmp_path: Path):
    path = tmp_path / "a.json"
    atomic.write_text(path, "one")
    atomic.write_text(path, "two é")
    assert path.read_text(encoding="utf-8") == "two é"
    assert os.listdir(tmp_path) == ["a.json"]


def test_two_who_write_one_file_at_once_do_not_write_into_each_other(tmp_path: Path):
    """With one process number, as two containers may have: the later whole file stays."""
    path = tmp_path / "a.json"

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(b"first half")
            file.flush()
            atomic.write_bytes(path, b"of another")
            assert path.read_bytes() == b"of another"
            file.write(b", second half")

    atomic.write_with(path, fill)
    assert path.read_bytes() == b"first half, second half"
    assert os.listdir(tmp_path) == ["a.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
def test_a_failed_write_leaves_the_previous_file(tmp_path: Path, number: int):
    path = tmp_path / "weights"
    atomic.write_bytes(path, b"before")
    with pytest.raises(StorageError):
        atomic.write_with(path, failing(number))
    assert path.read_bytes() == b"before"
    assert os.listdir(tmp_path) == ["weights"]


def test_a_full_disk_is_explained_with_path_needed_and_free_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(atomic, "free_bytes", lambda path: 4096)
    path = tmp_path / "weights"
    with pytest.raises(StorageError) as error:
        atomic.write_with(path, failing(errno.ENOSPC), needed_bytes=1_000_000)
    assert error.value.message == (
        f"The disk is full: cannot write {path}.\n"
        "1,000,000 bytes are needed, 4,096 are free. What was saved before is intact.\n"
        "Free some space, or choose another place."
    )


@pytest.mark.parametrize(
    ("number", "what"),
    [(errno.EROFS, "is on a read-only file system"), (errno.EACCES, "may not be written by you")],
)
def test_a_place_that_cannot_be_written_is_explained(tmp_path: Path, number: int, what: str):
    path = tmp_path / "weights"
    with pytest.raises(StorageError) as error:
        atomic.write_with(path, failing(number))
    assert error.value.message == (f"Cannot write {path}: it {what}.\nChoose another place, or change the permissions.")


def test_a_file_in_the_way_of_a_folder_is_explained(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError) as error:
        atomic.make_folder(tmp_path / "file" / "run")
    assert error.value.message == (
        f"Cannot write {tmp_path / 'file' / 'run'}: a file stands where a folder is needed.\nChoose another place."
    )


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="Linux shows the system there")
def test_a_place_of_the_system_is_explained():
    with pytest.raises(StorageError) as error:
        atomic.make_folder(Path("/proc/saccade/run"))
    assert error.value.message == (
        "Cannot write /proc/saccade/run: no files are kept there, it shows the system.\nChoose another place."
    )


@pytest.mark.parametrize("below", ["", "run"])
def test_a_link_that_leads_nowhere_is_explained(tmp_path: Path, below: str):
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "gone" / "there")
    with pytest.raises(StorageError) as error:
        atomic.make_folder(link / below)
    assert error.value.message == (
        f"Cannot write {link / below}: {link} is a link that leads nowhere.\nRemove the link, or choose another place."
    )


def test_a_file_that_cannot_be_written_is_told_before_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    atomic.check_file(tmp_path / "new" / "answers.csv")
    assert os.listdir(tmp_path) == ["new"]
    assert not os.listdir(tmp_path / "new")
    with pytest.raises(StorageError) as error:
        atomic.check_file(tmp_path / "new")
    assert error.value.message == f"Cannot write {tmp_path / 'new'}: it is a folder.\nGive the name of a file."
    with pytest.raises(StorageError) as error:
        atomic.write_bytes(tmp_path / "new", b"x")
    assert error.value.message == f"Cannot write {tmp_path / 'new'}: it is a folder.\nGive the name of a file."
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(StorageError) as error:
        atomic.check_file(tmp_path / "answers.csv")
    assert error.value.message == (
        f"Cannot write {tmp_path / 'answers.csv'}: it may not be written by you.\n"
        "Choose another place, or change the permissions."
    )


def fill_with(text: str):
    def fill(folder: Path) -> None:
        atomic.write_text(folder / "weights", text)
        atomic.write_text(folder / "whole", text)

    return fill


def test_a_folder_is_replaced_and_the_one_before_is_kept_when_asked(tmp_path: Path):
    path = tmp_path / "checkpoint"
    for text in ("one", "two", "three"):
        atomic.replace_folder(path, fill_with(text), "whole", keep_previous=True)
    assert (path / "weights").read_text() == "three"
    assert (atomic.previous_folder(path) / "weights").read_text() == "two"
    atomic.replace_folder(path, fill_with("four"), "whole", keep_previous=False)
    assert sorted(os.listdir(tmp_path)) == ["checkpoint"]


def test_a_folder_that_somebody_called_previous_stays_where_another_place_is_given(tmp_path: Path):
    path, theirs = tmp_path / "out", tmp_path / "out.previous"
    fill_with("theirs")(make(theirs))
    for text in ("one", "two"):
        atomic.replace_folder(path, fill_with(text), "whole", keep_previous=False, aside=atomic.aside_folder(path))
    assert (path / "weights").read_text() == "two"
    assert (theirs / "weights").read_text() == "theirs"
    assert sorted(os.listdir(tmp_path)) == ["out", "out.previous"]


def make(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_a_folder_goes_with_its_marker_first_and_one_with_the_marker_alone_is_the_newest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path / "checkpoint"
    atomic.temporary_folder(path).mkdir()
    fill_with("newest")(atomic.temporary_folder(path))  # as a process leaves it that was killed between the two renames
    removed: list[list[str]] = []
    monkeypatch.setattr(atomic.shutil, "rmtree", lambda folder: removed.append(os.listdir(folder)))
    atomic.replace_folder(path, fill_with("later"), "whole", keep_previous=False)
    assert (path / "whole").read_text() == "later"
    assert (atomic.previous_folder(path) / "weights").read_text() == "newest"
    assert removed == [["weights"]]


def test_a_folder_whose_filling_fails_is_as_it_was(tmp_path: Path):
    path = tmp_path / "checkpoint"
    atomic.replace_folder(path, fill_with("one"), "whole", keep_previous=True)

    def fill(folder: Path) -> None:
        atomic.write_text(folder / "weights", "half")
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(StorageError):
        atomic.replace_folder(path, fill, "whole", keep_previous=True)
    assert (path / "weights").read_text() == "one"
    assert os.listdir(tmp_path) == ["checkpoint"]


def test_leftover_files_of_killed_processes_are_removed_and_nothing_else(tmp_path: Path):
    keep = tmp_path / "config.toml"
    keep.write_text("x")
    leftover = tmp_path / f"config.toml.1234{atomic.TEMPORARY_SUFFIX}"
    leftover.write_text("half")
    assert atomic.remove_temporaries(tmp_path) == [leftover]
    assert os.listdir(tmp_path) == ["config.toml"]
