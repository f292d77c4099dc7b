"""CIFAR in each published version, compared with what was written; cut files, wrong labels and code are refused."""

import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from saccade.core.errors import DataError
from saccade.data.source import open_source

NAMES = ["airplane", "automobile", "bird"]
IMAGE_NHWC = np.random.default_rng(0).integers(0, 256, (24, 32, 32, 3)).astype(np.uint8)
LABELS = [number % 3 for number in range(24)]
ROW_ND = IMAGE_NHWC.transpose(0, 3, 1, 2).reshape(24, 3072)


def cifar10_python() -> dict[str, bytes]:
    files = {}
    for number in range(6):
        rows = slice(4 * number, 4 * number + 4)
        name = f"data_batch_{number + 1}" if number < 5 else "test_batch"
        batch = {b"batch_label": b"x", b"labels": LABELS[rows], b"data": ROW_ND[rows], b"filenames": [b"a.png"] * 4}
        files[name] = pickle.dumps(batch, 2)
    return files | {"batches.meta": pickle.dumps({b"label_names": [name.encode() for name in NAMES]}, 2)}


def cifar10_binary() -> dict[str, bytes]:
    rows = [bytes([label]) + row.tobytes() for label, row in zip(LABELS, ROW_ND)]
    files = {f"data_batch_{number + 1}.bin": b"".join(rows[4 * number : 4 * number + 4]) for number in range(5)}
    return files | {
        "test_batch.bin": b"".join(rows[20:]),
        "batches.meta.txt": b"\n".join(map(str.encode, NAMES)) + b"\n\n",
    }


def cifar100_python() -> dict[str, bytes]:
    files = {"meta": pickle.dumps({"fine_label_names": NAMES, "coarse_label_names": ["vehicle", "animal"]}, 4)}
    for name, rows in {"train": slice(0, 20), "test": slice(20, 24)}.items():
        coarse = [label // 2 for label in LABELS[rows]]
        files[name] = pickle.dumps({"data": ROW_ND[rows], "fine_labels": LABELS[rows], "coarse_labels": coarse}, 4)
    return files


def cifar100_binary() -> dict[str, bytes]:
    rows = [bytes([label // 2, label]) + row.tobytes() for label, row in zip(LABELS, ROW_ND)]
    names = "\n".join(NAMES).encode()
    return {"train.bin": b"".join(rows[:20]), "test.bin": b"".join(rows[20:]), "fine_label_names.txt": names}


VERSIONS: dict[str, Callable[[], dict[str, bytes]]] = {
    "cifar-10-batches-py": cifar10_python,
    "cifar-10-batches-bin": cifar10_binary,
    "cifar-100-python": cifar100_python,
    "cifar-100-binary": cifar100_binary,
}
ARCHIVES = {
    "cifar-10-batches-py": "cifar-10-python.tar.gz",
    "cifar-10-batches-bin": "cifar-10-binary.tar.gz",
    "cifar-100-python": "cifar-100-python.tgz",
    "cifar-100-binary": "cifar-100-binary.tar",
}


def unpack(folder: Path, files: dict[str, bytes]) -> Path:
    folder.mkdir(parents=True)
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def pack(path: Path, inner: str, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w" if path.suffix == ".tar" else "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"{inner}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("place", ["inside", "above", "archive", "folder of the archive"])
def test_every_version_gives_the_pixels_labels_and_splits_that_were_written(tmp_path: Path, version: str, place: str):
    if place in ("inside", "above"):
        folder = unpack(tmp_path / version, VERSIONS[version]())
        text = str(folder if place == "inside" else tmp_path)
    else:
        path = pack(tmp_path / ARCHIVES[version], version, VERSIONS[version]())
        text = str(path if place == "archive" else tmp_path)
    source = open_source(text)
    assert source.classes == tuple(NAMES)
    assert np.array_equal(np.stack([source[index].image_HWC for index in range(24)]), IMAGE_NHWC)
    assert [source.record(index).label for index in range(24)] == LABELS
    assert [source.record(index).split for index in range(24)] == ["train"] * 20 + ["test"] * 4
    test_file = "test" if "100" in version else "test_batch"
    assert source.record(20).key.replace(".bin", "") == f"{test_file}/0"
    assert source.record(5).key.endswith("/5" if "100" in version else "/1")


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    return str(error.value)


PYTHON_SLIPS: dict[str, tuple[object, str]] = {
    "no data": ({"labels": [0]}, "has no 'data': it is not a file of CIFAR's python version.\nDownload it again."),
    "no dictionary": ([1], "has no 'data': it is not a file of CIFAR's python version.\nDownload it again."),
    "narrow": (
        {"data": np.zeros((4, 100), np.uint8), "labels": [0] * 4},
        "'data' is 4x100, not images of 3,072 bytes a row.\nDownload it again.",
    ),
    "text": (
        {"data": "pixels", "labels": [0] * 4},
        "'data' is something else, not images of 3,072 bytes a row.\nDownload it again.",
    ),
    "words": (
        {"data": ROW_ND[:4], "labels": ["cat"] * 4},
        "'labels' is not a list of whole numbers.\nDownload it again.",
    ),
    "short": ({"data": ROW_ND[:4], "labels": [0]}, "has 4 images, but 1 labels.\nDownload it again."),
    "label": (
        {"data": ROW_ND[:4], "labels": [0, 1, 2, 3]},
        "has the label 3, but batches.meta names 3 classes, 0 to 2.\n"
        "The two do not belong together: download both again.",
    ),
}


@pytest.mark.parametrize("slip", PYTHON_SLIPS)
def test_a_batch_of_the_wrong_content_is_refused(tmp_path: Path, slip: str):
    content, message = PYTHON_SLIPS[slip]
    folder = unpack(tmp_path / "set", cifar10_python() | {"data_batch_2": pickle.dumps(content, 2)})
    assert refusal(folder) in (f"{folder}/data_batch_2 {message}", f"{folder}/data_batch_2: {message}")


def test_arrays_of_other_types_are_refused(tmp_path: Path):
    content = pickle.dumps({"data": ROW_ND[:4].astype(np.float32), "labels": [0] * 4}, 2)
    folder = unpack(tmp_path / "set", cifar10_python() | {"data_batch_2": content})
    assert refusal(folder).startswith(
        f"{folder}/data_batch_2 is a pickle that holds more than plain data: an array of type 'f4'."
    )


@pytest.mark.parametrize("keep", [0, 1, 500, 12_000])
def test_a_batch_that_is_cut_off_is_refused(tmp_path: Path, keep: int):
    files = cifar10_python()
    folder = unpack(tmp_path / "set", files | {"data_batch_3": files["data_batch_3"][:keep]})
    text = refusal(folder)
    assert text.startswith(f"{folder}/data_batch_3 is damaged, or is not a pickle (")
    assert text.endswith(").\nDownload it again.")


def test_a_binary_file_that_is_cut_off_is_refused(tmp_path: Path):
    files = cifar10_binary()
    folder = unpack(tmp_path / "inside a row", files | {"data_batch_3.bin": files["data_batch_3.bin"][:-1]})
    assert refusal(folder) == (
        f"{folder}/data_batch_3.bin has 12,291 bytes; whole images are a multiple of 3,073.\n"
        "It is cut off: download it again."
    )
    folder = unpack(tmp_path / "between rows", files | {"data_batch_3.bin": files["data_batch_3.bin"][:3073]})
    assert refusal(folder) == (
        f"{folder}: its training files have 4, 4, 1, 4, 4 images, which should be the same number.\n"
        "The shorter ones are cut off: download it again."
    )


def test_files_that_are_missing_are_named(tmp_path: Path):
    files = cifar10_binary()
    del files["data_batch_2.bin"], files["batches.meta.txt"]
    folder = unpack(tmp_path / "set", files)
    assert refusal(folder) == (
        f"{folder} looks like CIFAR-10 (binary), but has no data_batch_2.bin, batches.meta.txt.\n"
        "Download it again: all of data_batch_1.bin, data_batch_2.bin, data_batch_3.bin, data_batch_4.bin, "
        "data_batch_5.bin, test_batch.bin, batches.meta.txt are needed."
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (b"", "does not hold the names of the classes, each once.\nDownload it again."),
        (b"cat\ncat\ndog\n", "does not hold the names of the classes, each once.\nDownload it again."),
        (b"cat\n", "has one class only, 'cat': there is nothing to tell apart.\nDownload it again."),
    ],
)
def test_class_names_that_are_none_are_refused(tmp_path: Path, names: bytes, message: str):
    folder = unpack(tmp_path / "set", cifar100_binary() | {"fine_label_names.txt": names})
    assert refusal(folder) == f"{folder}/fine_label_names.txt {message}"


@pytest.mark.parametrize("keep", [0, 9, 1000, -9])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, keep: int):
    path = pack(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", cifar10_binary())
    path.write_bytes(path.read_bytes()[:keep])
    text = refusal(path)
    assert text.startswith(f"{path} is cut off or damaged (")
    assert text.endswith(").\nDownload it again.")


def test_an_archive_with_a_changed_checksum_is_refused(tmp_path: Path):
    path = pack(tmp_path / "cifar-10-binary.tar.gz", "cifar-10-batches-bin", cifar10_binary())
    content = bytearray(path.read_bytes())
    content[-6] ^= 1
    path.write_bytes(content)
    assert refusal(path).startswith(f"{path} is cut off or damaged (CRC check failed")


def test_an_archive_of_something_else_is_refused(tmp_path: Path):
    path = pack(tmp_path / "cifar-10.tar.gz", "photos", {"cat.png": b"x"})
    assert refusal(path) == (
        f"{path} is named like CIFAR, but has none of its files.\nDownload it again, or rename it."
    )


def test_links_in_an_archive_are_not_followed(tmp_path: Path):
    path = tmp_path / "cifar-10-binary.tar"
    (tmp_path / "secret").write_bytes(b"\0" * 3073)
    with tarfile.open(path, "w") as archive:
        for name in cifar10_binary():
            member = tarfile.TarInfo(name)
            member.type, member.linkname = tarfile.SYMTYPE, str(tmp_path / "secret")
            archive.addfile(member)
    assert refusal(path).startswith(f"{path} is named like CIFAR, but has none of its files.")


def test_a_folder_with_classes_called_train_and_test_is_no_cifar(tmp_path: Path):
    for name in ("train/cat", "train/dog", "test/cat", "meta"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("train/cat/a.png", "train/dog/b.png", "test/cat/c.png"):
        (tmp_path / name).write_bytes(b"x")
    assert open_source(str(tmp_path)).classes == ("cat", "dog")
