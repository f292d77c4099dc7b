"""A refused set of Parquet, tar, CIFAR or IDX files is a finding, and what can be read of it is inspected."""

import gzip
import io
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from PIL import Image

from saccade.core.errors import DataError
from saccade.data.checkup.inspection import Inspection, inspect_source
from saccade.data.checkup.text import inspection_text
from saccade.data.source import open_source


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))


def png(seed: int) -> bytes:
    content = io.BytesIO()
    small_HWC = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    Image.fromarray(small_HWC).resize((40, 30), Image.Resampling.BICUBIC).save(content, "PNG")
    return content.getvalue()


def inspected(source: Path) -> Inspection:
    """The check-up of a source that `open_source` refuses, whose refusal is the first finding."""
    with pytest.raises(DataError) as refusal:
        open_source(str(source))
    inspection = inspect_source(str(source), threads=1)
    assert [finding.kind for finding in inspection.findings][0] == "refused"
    assert inspection.findings[0].notes == (refusal.value.message,)
    assert inspection_text(inspection).splitlines()[2] == "training refuses this set:"
    assert inspection.num_unreadable == 0
    return inspection


def parquet(path: Path, labels: list[int | None], first: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": png(first + row)} for row in range(len(labels))]
    pyarrow.parquet.write_table(pyarrow.table({"image": images, "label": labels}), path)
    return path


def test_of_two_parquet_files_of_which_one_is_cut_off_the_other_is_inspected(tmp_path: Path):
    cut = parquet(tmp_path / "test.parquet", [0, 1])
    cut.write_bytes(cut.read_bytes()[:-20])
    parquet(tmp_path / "train.parquet", [0, 1, 1], first=10)
    inspection = inspected(tmp_path)
    assert inspection.classes == ("0", "1")
    assert inspection.counts == {"train": (1, 2)}
    assert len(inspection.notes) == 1
    assert inspection.notes[0].startswith(f"{cut} is cut off, damaged or no Parquet file")


def test_parquet_rows_without_a_label_are_inspected_without_classes(tmp_path: Path):
    path = parquet(tmp_path / "set.parquet", [0, None, 1, 1])
    inspection = inspected(path)
    assert inspection.counts == {"all": (4,)}
    assert inspection.classes == ("(no class)",)
    assert inspection.notes == (f"{path}: 1 of 4 rows have no label.",)


def test_parquet_images_without_a_column_of_labels_are_inspected(tmp_path: Path):
    pyarrow.parquet.write_table(pyarrow.table({"image": [png(1), png(2), png(1)]}), tmp_path / "set.parquet")
    inspection = inspected(tmp_path / "set.parquet")
    assert inspection.findings[1].kind == "same_image"
    assert inspection.findings[1].groups == (("set.parquet:0", "set.parquet:2"),)


def tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def test_images_in_front_of_the_place_where_a_shard_is_cut_off_are_inspected(tmp_path: Path):
    files = {
        f"{n}.{ending}": content for n in range(4) for ending, content in (("png", png(n)), ("cls", b"%d" % (n % 2)))
    }
    tar(tmp_path / "train-0.tar", files)
    path = tar(tmp_path / "train-1.tar", {f"9{name}": content for name, content in files.items()})
    with tarfile.open(path) as archive:
        third = archive.getmember("92.png").offset
    path.write_bytes(path.read_bytes()[: third + 200])
    inspection = inspected(tmp_path)
    assert inspection.counts == {"train": (3, 3)}
    assert inspection.notes[0].startswith(f"{path} is cut off, damaged or no tar file")


def test_a_sample_without_a_label_is_inspected_without_a_class(tmp_path: Path):
    path = tar(
        tmp_path / "set.tar", {"1.png": png(1), "1.cls": b"cat", "2.png": png(2), "2.cls": b"dog", "3.png": png(3)}
    )
    inspection = inspected(path)
    assert inspection.counts == {"all": (1, 1, 1)}
    assert inspection.classes == ("(no class)", "cat", "dog")


def idx(path: Path, values: np.ndarray) -> Path:
    path.write_bytes(
        bytes([0, 0, 8, values.ndim]) + b"".join(n.to_bytes(4, "big") for n in values.shape) + values.tobytes()
    )
    return path


@pytest.mark.parametrize("fault", ["no labels", "too few labels", "cut off images"])
def test_what_is_sound_of_an_idx_folder_is_inspected(tmp_path: Path, fault: str):
    draw = np.random.default_rng(0)
    train_NHW, test_NHW = (draw.integers(0, 256, (number, 20, 20), dtype=np.uint8) for number in (6, 4))
    idx(tmp_path / "train-images-idx3-ubyte", train_NHW)
    idx(tmp_path / "train-labels-idx1-ubyte", np.array([0, 1, 2, 0, 1, 2], np.uint8))
    images = idx(tmp_path / "t10k-images-idx3-ubyte", test_NHW)
    if fault != "no labels":
        idx(tmp_path / "t10k-labels-idx1-ubyte", np.arange(3 if fault == "too few labels" else 4, dtype=np.uint8) % 3)
    if fault == "cut off images":
        images.write_bytes(images.read_bytes()[:-1])
    inspection = inspected(tmp_path)
    if fault == "cut off images":
        assert inspection.classes == ("0", "1", "2")
        assert inspection.counts == {"train": (2, 2, 2)}
    else:
        assert inspection.classes == ("0", "1", "2", "(no class)")
        assert inspection.counts == {"train": (2, 2, 2, 0), "test": (0, 0, 0, 4)}
    assert len(inspection.notes) == 1
    assert str(tmp_path) in inspection.notes[0] or "t10k-images-idx3-ubyte has 4 images" in inspection.notes[0]


def cifar_files() -> dict[str, bytes]:
    draw = np.random.default_rng(0)
    names = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    files = {
        name: pickle.dumps({b"data": draw.integers(0, 256, (4, 3072), dtype=np.uint8), b"labels": [0, 1, 0, 1]})
        for name in names
    }
    return files | {"batches.meta": pickle.dumps({b"label_names": [b"cat", b"dog"]})}


def cifar_folder(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return folder


def cut_archive(folder: Path, files: dict[str, bytes]) -> Path:
    content = tar(folder / "plain", files).read_bytes()
    (folder / "plain").unlink()
    path = folder / "cifar-10-python.tar.gz"
    path.write_bytes(gzip.compress(content, 0)[: int(0.75 * len(content))])
    return path


@pytest.mark.parametrize("make", [cifar_folder, cut_archive])
def test_the_whole_files_of_cifar_are_inspected(tmp_path: Path, make: Callable[[Path, dict[str, bytes]], Path]):
    files = cifar_files()
    if make is cifar_folder:
        files["data_batch_3"] = files["data_batch_3"][:-50]
        del files["data_batch_5"]
    files = {"batches.meta": files.pop("batches.meta"), **files}
    inspection = inspected(make(tmp_path, files))
    assert inspection.classes == ("cat", "dog")
    if make is cifar_folder:
        assert inspection.counts == {"train": (6, 6), "test": (2, 2)}
        assert inspection.notes[0].startswith(f"{tmp_path}/data_batch_3")
        assert inspection.notes[1] == f"{tmp_path} has no whole data_batch_5."
    else:
        assert inspection.counts == {"train": (8, 8)}


def test_a_file_of_which_nothing_can_be_read_ends_the_check_up_with_the_reason(tmp_path: Path):
    (tmp_path / "set.parquet").write_bytes(b"PAR1 and nothing")
    with pytest.raises(DataError, match="cut off, damaged or no Parquet file"):
        inspect_source(str(tmp_path / "set.parquet"), threads=1)
