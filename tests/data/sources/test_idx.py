"""IDX folders, MNIST's and its relatives': compared with what was written; files that do not fit are refused."""

import gzip
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.core.errors import DataError
from saccade.data.source import open_source
from saccade.data.sources.idx import read_idx

IMAGE_NHW = np.random.default_rng(0).integers(0, 256, (6, 5, 4)).astype(np.uint8)
LABEL_N = np.array([0, 1, 2, 0, 1, 2], np.uint8)


def idx(array: np.ndarray) -> bytes:
    """The format as its author's page has it: two zeros, type 8, dimensions, sizes in big-endian order, values."""
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write(folder: Path, part: str = "train", images: bytes | None = None, labels: bytes | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{part}-images-idx3-ubyte").write_bytes(idx(IMAGE_NHW) if images is None else images)
    (folder / f"{part}-labels-idx1-ubyte").write_bytes(idx(LABEL_N) if labels is None else labels)
    return folder


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    return str(error.value)


def test_pixels_labels_and_splits_are_those_of_the_files(tmp_path: Path):
    write(tmp_path)
    write(tmp_path, "t10k", images=idx(IMAGE_NHW[:2]), labels=idx(LABEL_N[:2]))
    source = open_source(str(tmp_path))
    assert source.classes == ("0", "1", "2")
    assert np.array_equal(np.stack([source.read(index) for index in range(6)]), IMAGE_NHW)
    assert np.array_equal(source[3].image_HWC, np.repeat(IMAGE_NHW[3][:, :, None], 3, axis=2))
    assert [source.record(index).label for index in range(8)] == [*LABEL_N, 0, 1]
    assert [source.record(index).split for index in range(8)] == ["train"] * 6 + ["test"] * 2


def test_classes_are_the_numbers_that_occur(tmp_path: Path):
    """EMNIST's letters are numbered from 1; a set of three classes may call them 0, 7 and 200."""
    write(tmp_path / "some", labels=idx(np.array([7, 0, 200, 7, 0, 200], np.uint8)))
    write(tmp_path / "some", "t10k", images=idx(IMAGE_NHW[:2]), labels=idx(np.array([200, 9], np.uint8)))
    source = open_source(str(tmp_path / "some"))
    assert source.classes == ("0", "7", "9", "200")
    assert [source.record(index).label for index in range(8)] == [1, 0, 3, 1, 0, 3, 3, 2]
    write(tmp_path / "fashion", labels=idx(np.array([9, 1, 9, 1, 4, 4], np.uint8)))
    assert open_source(str(tmp_path / "fashion")).classes == ("Trouser", "Coat", "Ankle boot")


@pytest.mark.parametrize("infix", ["-idx3", ".idx3"])
@pytest.mark.parametrize("packed", [(True, True), (True, False), (False, True)])
def test_either_file_may_be_gzipped_and_named_with_a_dot(tmp_path: Path, infix: str, packed: tuple[bool, bool]):
    for array, kind, dimensions, is_packed in ((IMAGE_NHW, "images", 3, packed[0]), (LABEL_N, "labels", 1, packed[1])):
        name = f"train-{kind}{infix.replace('3', str(dimensions))}-ubyte"
        content = gzip.compress(idx(array)) if is_packed else idx(array)
        (tmp_path / f"{name}{'.gz' if is_packed else ''}").write_bytes(content)
    assert np.array_equal(open_source(str(tmp_path)).read(4), IMAGE_NHW[4])


def test_a_file_that_is_there_raw_and_gzipped_counts_once(tmp_path: Path):
    write(tmp_path)
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGE_NHW)))
    assert len(open_source(str(tmp_path))) == 6


def test_fashion_mnist_has_its_class_names_and_official_split(shared: Callable[[str], Path]):
    source = open_source(str(shared("data/fashion-mnist")))
    assert (len(source), source.classes[0], source.classes[9]) == (70_000, "T-shirt/top", "Ankle boot")
    labels = np.array([source.record(index).label for index in range(0, 70_000)])
    assert np.bincount(labels[:60_000]).tolist() == [6_000] * 10
    assert np.bincount(labels[60_000:]).tolist() == [1_000] * 10
    assert {source.record(index).split for index in (0, 59_999)} == {"train"}
    assert source.record(60_000).split == "test"


def test_names_with_the_set_in_front_have_their_split(tmp_path: Path):
    write(tmp_path, "emnist-letters-train")
    write(tmp_path, "emnist-letters-test")
    source = open_source(str(tmp_path))
    assert sorted(str(source.record(index).split) for index in range(12)) == ["test"] * 6 + ["train"] * 6


def test_two_sets_in_one_folder_are_refused(tmp_path: Path):
    write(tmp_path, "emnist-letters-train")
    write(tmp_path, "emnist-digits-train")
    assert refusal(tmp_path) == (
        f"{tmp_path} holds several sets: emnist-digits, emnist-letters.\n"
        "Move the files of each into a folder of its own."
    )


IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
SLIPS: list[tuple[dict[str, bytes], str]] = [
    ({"images": b""}, f"/{IMAGES} is not an IDX file of bytes (it begins with ).\nDownload it again."),
    ({"images": b"<htm"}, f"/{IMAGES} is not an IDX file of bytes (it begins with 3c68746d).\nDownload it again."),
    (
        {"images": b"\0\0\x0d\3" + bytes(12)},
        f"/{IMAGES} is not an IDX file of bytes (it begins with 00000d03).\nDownload it again.",
    ),
    ({"images": b"\0\0\x08\3\0\0"}, f"/{IMAGES} ends inside its header.\nDownload it again."),
    ({"images": idx(IMAGE_NHW)[:-1]}, f"/{IMAGES} has 135 bytes; its header says 136.\nDownload it again."),
    ({"images": idx(IMAGE_NHW) + b"x"}, f"/{IMAGES} has 137 bytes; its header says 136.\nDownload it again."),
    (
        {"images": b"\0\0\x08\3" + b"\xff" * 12},
        f"/{IMAGES} says it has 79,228,162,458,924,105,385,300,197,391 bytes; at most 8,589,934,592 are read.",
    ),
    ({"images": idx(LABEL_N)}, f": {IMAGES} and {LABELS} are not images and labels."),
    (
        {"labels": idx(LABEL_N[:4])},
        f": {IMAGES} has 6 images, but {LABELS} 4 labels: they do not belong together.\nDownload both again.",
    ),
    ({"images": idx(IMAGE_NHW[:0]), "labels": idx(LABEL_N[:0])}, f"/{IMAGES} has no images."),
    (
        {"labels": idx(LABEL_N * 0)},
        " has one class only, '0': there is nothing to tell apart.\nCheck its label files.",
    ),
]


@pytest.mark.parametrize(("contents", "message"), SLIPS, ids=range(len(SLIPS)))
def test_files_that_do_not_fit_are_refused(tmp_path: Path, contents: dict[str, bytes], message: str):
    folder = write(tmp_path, images=contents.get("images"), labels=contents.get("labels"))
    prefix = "" if message.startswith(": ") else str(folder)
    assert refusal(folder) == prefix + message.removeprefix(": ")


@pytest.mark.parametrize("keep", [5, 40, -4, -9])
def test_a_gzipped_file_that_is_cut_off_is_refused(tmp_path: Path, keep: int):
    write(tmp_path)
    (tmp_path / IMAGES).unlink()
    (tmp_path / f"{IMAGES}.gz").write_bytes(gzip.compress(idx(IMAGE_NHW))[:keep])
    assert refusal(tmp_path) == (
        f"{tmp_path}/{IMAGES}.gz cannot be read: Compressed file ended before the end-of-stream marker was reached.\n"
        "Download it again."
    )


def test_images_without_labels_and_of_two_sizes_are_refused(tmp_path: Path):
    write(tmp_path / "a")
    (tmp_path / "a" / LABELS).unlink()
    assert refusal(tmp_path / "a") == (
        f"{tmp_path}/a/{IMAGES} has no labels: neither {LABELS} nor {LABELS}.gz is beside it.\n"
        "Download the label file too."
    )
    write(tmp_path / "b")
    write(tmp_path / "b", "t10k", images=idx(IMAGE_NHW[:, :2]))
    assert refusal(tmp_path / "b") == (f"{tmp_path}/b: its image files have different sizes; they are not one set.")


def test_a_gzip_bomb_is_not_unpacked(tmp_path: Path):
    write(tmp_path)
    bomb = tmp_path / f"{IMAGES}.gz"
    bomb.write_bytes(gzip.compress(idx(IMAGE_NHW) + bytes(100_000_000), 1))
    tracemalloc.start()
    try:
        with pytest.raises(
            DataError, match=r"has more than 16,777,352 bytes; its header says 136\.\nDownload it again\.$"
        ):
            read_idx(bomb)
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("second", [False, True])
def test_a_gzip_header_with_an_endless_name_is_refused(tmp_path: Path, second: bool):
    packed = gzip.compress(idx(IMAGE_NHW), mtime=0)
    assert packed[3] == 0
    named = packed[:3] + b"\x08" + packed[4:10] + b"n" * (2 << 20) + b"\0" + packed[10:]
    folder = write(tmp_path)
    (folder / "train-images-idx3-ubyte").unlink()
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(packed + named if second else named)
    assert refusal(folder) == (
        f"{path} cannot be read: the names in its header have more than 1,048,576 bytes.\nDownload it again."
    )
    path.write_bytes(packed[:3] + b"\x08" + packed[4:10] + b"honest-name\0" + packed[10:])
    assert np.array_equal(read_idx(path), IMAGE_NHW)
