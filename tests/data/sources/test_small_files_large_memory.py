"""Small files that declare gigabytes are refused before anything of that size is allocated, whatever their format."""

import gzip
import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.processes import run_python

from saccade.core.errors import DataError
from saccade.data.source import open_source
from saccade.data.sources.cifar.plain_pickle import read_plain_pickle

REPOSITORY = Path(__file__).parents[3]

CHILD = """
import json, resource, sys
import pyarrow.parquet
from saccade.core.errors import SaccadeError
from saccade.data.source import open_source
with open("/proc/self/statm") as file:
    mapped = int(file.read().split()[0]) * resource.getpagesize()
most = mapped + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_AS, (most, most))
try:
    source = open_source(sys.argv[1])
    for index in range(min(len(source), 20)):
        source[index]
    print(json.dumps({"images": len(source), "classes": len(source.classes)}))
except SaccadeError as error:
    print(json.dumps({"error": error.message}))
"""


def opened_in_little_memory(path: Path, memory_bytes: int = 400 << 20) -> dict[str, object]:
    """{"images", "classes"} or {"error": message} of the source `path`, opened with `memory_bytes` to spare."""
    done = run_python(["-c", CHILD, path, memory_bytes], path.parent)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as error:
        open_source(str(path))
    assert 1 <= len(error.value.message.splitlines()) <= 4
    return error.value.message


def parquet_of_zeros(folder: Path) -> Path:
    """An image of 300 MB of zeros, which zstd makes 10 KB."""
    path = folder / "zeros.parquet"
    image = pa.array([bytes(300 << 20), b"x"], pa.large_binary())
    table = pa.table({"image": image, "label": [0, 1]})
    parquet.write_table(table, path, compression="zstd", use_dictionary=False)
    return path


def parquet_of_one_large_dictionary_entry(folder: Path) -> Path:
    """One image of 300 KB, 20,000 times over: as an array without a dictionary it would take 6 GB."""
    path = folder / "dictionary.parquet"
    indices = pa.array([0] * 20_000 + [1], pa.int32())
    image = pa.DictionaryArray.from_arrays(indices, pa.array([bytes(300_000), b"x"], pa.binary()))
    table = pa.table({"image": image, "label": np.arange(20_001) % 2})
    parquet.write_table(table, path, compression="zstd", store_schema=False)
    return path


def parquet_of_one_long_label(folder: Path) -> Path:
    """A label of 100 KB in every one of 50,000 rows."""
    path = folder / "labels.parquet"
    label = pa.DictionaryArray.from_arrays(pa.array([0] * 50_000 + [1], pa.int32()), pa.array(["a" * 100_000, "b"]))
    table = pa.table({"image": pa.array([b"x"] * 50_001), "label": label})
    parquet.write_table(table, path, compression="zstd", store_schema=False)
    return path


def parquet_with_two_large_labels(folder: Path) -> Path:
    path = folder / "numbers.parquet"
    image = pa.array([picture(0), picture(1)], pa.binary())
    parquet.write_table(pa.table({"image": image, "label": [20_000_001, 20_000_002]}), path)
    return path


def parquet_of_many_rows(folder: Path) -> Path:
    """Run-length coding makes 30 million rows 100 KB."""
    path = folder / "rows.parquet"
    label = np.zeros(30_000_000, np.int8)
    label[1] = 1
    image = pa.DictionaryArray.from_arrays(pa.array(label, pa.int8()), pa.array([b"x", b"y"]))
    parquet.write_table(pa.table({"image": image, "label": label}), path, compression="zstd", store_schema=False)
    return path


def idx_of_zeros(folder: Path) -> Path:
    path = folder / "idx"
    path.mkdir()
    with gzip.open(path / "train-images-idx3-ubyte.gz", "wb", 9) as file:
        file.write(struct.pack(">HBBIII", 0, 8, 3, 120_000, 50, 50))
        for _ in range(30):
            file.write(bytes(10_000_000))
    with gzip.open(path / "train-labels-idx1-ubyte.gz", "wb", 9) as file:
        file.write(struct.pack(">HBBI", 0, 8, 1, 120_000) + bytes(range(10)) * 12_000)
    return path


def cifar_archive_of_zeros(folder: Path) -> Path:
    import tarfile

    path = folder / "cifar-10-python.tar.gz"
    with gzip.open(path, "wb", 9) as stream, tarfile.open(fileobj=stream, mode="w") as archive:
        for number in range(1, 3):
            member = tarfile.TarInfo(f"cifar-10-batches-py/data_batch_{number}")
            member.size = 190_000_000
            archive.addfile(member, _Zeros())
    return path


class _Zeros:
    def read(self, num_bytes: int = -1) -> bytes:
        return bytes(num_bytes)


def csv_of_one_line(folder: Path) -> Path:
    path = folder / "labels.csv"
    with open(path, "wb") as file:
        file.write(b"file,label\n")
        file.truncate(900 << 20)  # a sparse file: zeros that take no room on the disk
    return path


def picture(label: int) -> bytes:
    import cv2

    return cv2.imencode(".png", np.full((8, 8, 3), 40 * label, np.uint8))[1].tobytes()


UNPACK = "The file is damaged or made to fill the memory; take another one."
REFUSED = {
    parquet_of_zeros: "zeros.parquet, row group 0, column image has",
    parquet_of_many_rows: "rows.parquet has",
    idx_of_zeros: "idx/train-images-idx3-ubyte.gz has",
    cifar_archive_of_zeros: "cifar-10-python.tar.gz has",
}


@pytest.mark.parametrize("build", REFUSED)
def test_a_small_file_that_unpacks_to_gigabytes_is_refused(tmp_path: Path, build: Callable[[Path], Path]):
    path = build(tmp_path)
    size = path.stat().st_size if path.is_file() else (path / "train-images-idx3-ubyte.gz").stat().st_size
    assert size < 2_000_000
    message = str(opened_in_little_memory(path)["error"])
    assert message.startswith(f"{tmp_path}/{REFUSED[build]} ")
    assert message.endswith(UNPACK)


def test_a_large_entry_of_a_dictionary_is_held_once_however_many_rows_show_it(tmp_path: Path):
    answer = opened_in_little_memory(parquet_of_one_large_dictionary_entry(tmp_path))
    assert str(answer["error"]).startswith("dictionary.parquet:0: not an image that can be read")


def test_a_label_of_a_hundred_thousand_characters_is_refused(tmp_path: Path):
    answer = opened_in_little_memory(parquet_of_one_long_label(tmp_path))
    assert answer == {
        "error": f"{tmp_path}/labels.parquet has a class whose name has 100,000 characters, '{'a' * 40}...'; "
        "at most 256 are read.\nGive it a shorter name."
    }


def test_classes_are_the_labels_that_occur_not_all_numbers_up_to_them(tmp_path: Path):
    assert opened_in_little_memory(parquet_with_two_large_labels(tmp_path)) == {"images": 2, "classes": 2}
    source = open_source(str(tmp_path / "numbers.parquet"))
    assert source.classes == ("20000001", "20000002")
    assert [source.record(index).label for index in range(2)] == [0, 1]


@pytest.mark.parametrize("kind", ["parquet", "parquet texts", "csv"])
def test_more_classes_than_any_network_has_are_refused(tmp_path: Path, kind: str):
    label = np.arange(100_001)
    if kind == "csv":
        path = tmp_path / "a.csv"
        path.write_text("file,label\n" + "".join(f"{number}.png,{number}\n" for number in label))
        (tmp_path / "0.png").write_bytes(picture(0))
    else:
        path = tmp_path / "a.parquet"
        labels = pa.array(label) if kind == "parquet" else pa.array([f"n{number}" for number in label])
        parquet.write_table(pa.table({"image": pa.array([b"x"] * len(label)), "label": labels}), path)
    assert refusal(path) == (
        f"{path} has 100,001 different labels; at most 100,000 classes are told apart.\n"
        "Check that its labels are classes, and not numbers of images."
    )


def test_a_line_of_csv_that_never_ends_is_not_read_into_memory(tmp_path: Path):
    path = csv_of_one_line(tmp_path)
    assert "error" in opened_in_little_memory(path, 200 << 20)
    from saccade.data.sources.manifest.source import Manifest

    with pytest.raises(DataError) as error:
        Manifest(path)
    assert error.value.message == (f"{path}, line 2 has more than 1,048,576 characters.\nWrite one row for each image.")


def test_a_page_that_says_more_than_the_footer_is_refused_by_what_it_says(tmp_path: Path):
    path = tmp_path / "a.parquet"
    table = pa.table({"image": pa.array([bytes(60 << 20), b"x"]), "label": [0, 1]})
    parquet.write_table(table, path, compression="zstd", use_dictionary=False, write_statistics=False)
    content, at = bytearray(path.read_bytes()), 4
    assert parquet.read_metadata(path).row_group(0).column(0).data_page_offset == at
    assert content[at : at + 3] == b"\x15\x00\x15", "a data page, and its size: a number of four bytes"
    assert content[at + 6] < 0x80 <= content[at + 5]
    content[at + 3 : at + 7] = b"\xfe\xff\xff\x7f"
    path.write_bytes(content)
    message = str(opened_in_little_memory(path)["error"])
    assert message.startswith(f"{path}, row group 0, column image has ")
    assert " and says that they unpack to 134,217,727; more than 100 times as many are not read.\n" in message


def test_a_pickle_of_many_steps_is_refused(monkeypatch: pytest.MonkeyPatch):
    from saccade.data.sources.cifar import plain_pickle

    monkeypatch.setattr(plain_pickle, "MAX_PICKLE_OPCODES", 1000)
    with pytest.raises(DataError, match=r"^x is a pickle that holds more than plain data: more than 1,000 steps\. "):
        read_plain_pickle(pickle.dumps([[] for _ in range(2000)], 2), "x")


@pytest.mark.parametrize("compression", ["none", "zstd"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_honest_files_are_read_value_for_value(tmp_path: Path, compression: str, version: str):
    draw = np.random.default_rng(0)
    contents = [draw.bytes(int(size)) if size % 7 else None for size in draw.integers(0, 40_000, 400)]
    path = tmp_path / "a.parquet"
    struct_array = pa.array([{"bytes": content, "path": "x"} for content in contents])
    table = pa.table({"image": struct_array, "label": np.arange(400) % 3})
    options = {"compression": compression, "use_dictionary": ["label"], "data_page_version": version}
    parquet.write_table(table, path, row_group_size=150, data_page_size=100_000, **options)
    source = open_source(str(path))
    from saccade.core.errors import ImageError

    for index in draw.permutation(400).tolist():
        if contents[index] is None:
            with pytest.raises(ImageError, match=r"the row holds no image bytes\."):
                source.read(index)
        else:
            assert source.read(index) == contents[index]


def test_a_large_row_group_is_read_value_by_value(tmp_path: Path):
    """300 MB in one row group of values that are stored as they are, with 150 MB to spare."""
    path = tmp_path / "large.parquet"
    value, other = picture(0) + bytes(3_000_000), picture(1)
    image = pa.array([value] * 100 + [other], pa.large_binary())
    table = pa.table({"image": image, "label": [0] * 100 + [1]})
    parquet.write_table(table, path, compression="none", use_dictionary=False, write_statistics=False)
    assert parquet.read_metadata(path).num_row_groups == 1
    assert opened_in_little_memory(path, 150 << 20) == {"images": 101, "classes": 2}


def test_a_file_of_a_terabyte_is_no_image_wherever_images_are_read(tmp_path: Path):
    from saccade.classify import stream
    from saccade.core.errors import ImageError
    from saccade.filters import photo as filter_image

    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        with open(tmp_path / name, "wb") as file:
            file.truncate(1 << 40)  # takes no room on the disk
    source, path = open_source(str(tmp_path)), tmp_path / "cat" / "1.png"
    for read in (
        lambda: source.read(0),
        lambda: stream.read_file(path),
        lambda: filter_image.read_file(path, "image"),
    ):
        with pytest.raises(ImageError, match=r"has 1,099,511,627,776 bytes; at most 268,435,456 are read\.$"):
            read()
