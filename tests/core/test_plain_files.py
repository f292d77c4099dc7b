"""The one opener of files: pipes, devices and impossible names are refused at once, wherever they lie."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import pytest
from torch import nn

from saccade.classify.stream import read_file
from saccade.core.errors import DataError, ImageError, SaccadeError
from saccade.core.plain_files import NotPlainFile, open_plain_file
from saccade.data.source import open_source
from saccade.data.sources.idx import read_idx
from saccade.data.sources.manifest.tables import open_table
from saccade.data.sources.tar.shards import Shard, walk_shard
from saccade.weights.card import read_json
from saccade.weights.tensors import load_weights

REASON = "it is not a plain file, but a folder, a pipe or a device"


def fifo(path: Path) -> None:
    os.mkfifo(path)


def endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def folder(path: Path) -> None:
    path.mkdir()


def listening(path: Path) -> None:
    place = os.open(path.parent, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as opened:
        opened.bind(f"/proc/self/fd/{place}/{path.name}")  # the name of a socket has 108 bytes at most
    os.close(place)


@pytest.mark.parametrize("make", [fifo, endless, folder])
def test_what_is_no_plain_file_is_refused_without_waiting(tmp_path: Path, make: Callable[[Path], None]):
    make(tmp_path / "x")
    with pytest.raises(NotPlainFile) as caught:
        open_plain_file(tmp_path / "x")
    assert str(caught.value) == caught.value.strerror == REASON


def test_a_socket_is_refused_as_the_system_does(tmp_path: Path):
    listening(tmp_path / "x")
    with pytest.raises(OSError, match="No such device or address"):
        open_plain_file(tmp_path / "x")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a\0b", "its name holds a null character"), ("\ud800.png", "its name is not valid text")],
)
def test_a_name_that_no_file_can_have_is_refused_in_words(name: str, reason: str):
    with pytest.raises(NotPlainFile) as caught:
        open_plain_file(name)
    assert str(caught.value) == reason


def test_a_link_is_followed_only_where_it_may_be(tmp_path: Path):
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    with open_plain_file(tmp_path / "link") as file:
        assert file.read() == b"content"
    with pytest.raises(OSError, match="Too many levels of symbolic links"):
        open_plain_file(tmp_path / "link", may_be_link=False)


READERS: dict[str, Callable[[Path], object]] = {
    "weights": lambda path: load_weights(nn.Linear(1, 1), path),
    "the card of weights": lambda path: read_json(path, "card"),
    "IDX": read_idx,
    "CSV": open_table,
    "tar": lambda path: list(walk_shard(Shard(str(path), path.name, (0, 0)), (), 0)),
    "an image": read_file,
}


@pytest.fixture
def _bell() -> Iterator[None]:
    """Ends a test that waits for a writer."""

    def ring(number: int, frame: FrameType | None) -> None:
        raise AssertionError("the reader waits")

    before = signal.signal(signal.SIGALRM, ring)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.mark.usefixtures("_bell")
@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_told_by_its_reader(tmp_path: Path, name: str):
    fifo(tmp_path / "x")
    with pytest.raises(SaccadeError) as caught:
        READERS[name](tmp_path / "x")
    assert caught.value.message.startswith(
        f"{'card ' * (name == 'the card of weights')}{tmp_path / 'x'}{':' * (name == 'an image')} "
        f"cannot be read: {REASON}."
    )


@pytest.mark.usefixtures("_bell")
def test_a_folder_of_idx_files_with_a_pipe_is_told(tmp_path: Path):
    fifo(tmp_path / "train-images-idx3-ubyte")
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(b"\0\0\x08\x01\0\0\0\0")
    with pytest.raises(DataError) as caught:
        open_source(str(tmp_path))
    assert caught.value.message == (f"{tmp_path}/train-images-idx3-ubyte cannot be read: {REASON}.\nDownload it again.")


@pytest.mark.parametrize(
    ("name", "reason"),
    [("a\0b", r"a\x00b: cannot be read: its name holds a null character."), ("\ud800.png", r"\ud800.png: ...")],
)
def test_an_image_of_an_impossible_name_is_an_image_error(name: str, reason: str):
    with pytest.raises(ImageError) as caught:
        read_file(Path(name))
    assert caught.value.message == reason.replace("...", "cannot be read: its name is not valid text.")
