"""Files with strange headers, types and values: each is one error that says which file and where, never a traceback."""

import io
import json
import pickle
import struct
import tarfile
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.processes import run_python

from saccade.core.errors import DataError, ImageError, SaccadeError, WeightsError
from saccade.data.images.decode import decode_image
from saccade.data.source import open_source
from saccade.data.sources.cifar.plain_pickle import read_plain_pickle
from saccade.data.sources.parquet.pages import read_footer
from saccade.weights.card import card_beside, card_in_file
from saccade.weights.tensors import parse_header, read_file


def refusal(path: Path) -> str:
    with pytest.raises(SaccadeError) as error:
        open_source(str(path))
    lines = error.value.message.split("\n")
    assert 1 <= len(lines) <= 4
    assert all(line.isprintable() for line in lines)
    return error.value.message


def picture() -> bytes:
    return bytes(cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1])


# --- tar ---


def header(name: str, num_bytes: int = 0, kind: bytes = b"0", size_field: bytes | None = None) -> bytes:
    """A header of GNU tar with a right checksum, whatever its fields say."""
    block = bytearray(tarfile.TarInfo(name).tobuf(tarfile.GNU_FORMAT))
    block[124:136] = b"%011o\0" % num_bytes if size_field is None else size_field
    block[156:157] = kind
    block[148:156] = b"%06o\0 " % (256 + sum(block[:148]) + sum(block[156:]))
    return bytes(block)


def padded(content: bytes) -> bytes:
    return content.ljust(-(-len(content) // 512) * 512, b"\0")


def pax(*records: bytes, kind: bytes = b"x") -> bytes:
    content = b"".join(records)
    return header("pax", len(content), kind) + padded(content)


def base_256(number: int) -> bytes:
    return (number % 256**12).to_bytes(12, "big") if number < 0 else b"\x80" + number.to_bytes(11, "big")


MEMBER = header("1.png", 3) + padded(b"png") + header("1.cls", 1) + padded(b"1")
LONG = header("././@LongLink", 6, b"L") + padded(b"a.png\0")
IS_NO_TAR = "is cut off, damaged or no tar file ({}).\nDownload it again."
TOO_MANY = "more than 16 headers for one member, at byte 16,896"
TARS: dict[str, tuple[bytes, str]] = {
    "a negative size in base 256": (
        header("1.png", size_field=base_256(-512)) + MEMBER,
        IS_NO_TAR.format("an impossible size at byte 0"),
    ),
    "a huge size in base 256": (
        header("1.png", size_field=base_256(1 << 80)) + MEMBER,
        IS_NO_TAR.format("an impossible size at byte 0"),
    ),
    "a size beyond the end": (
        header("1.png", size_field=base_256(1 << 40)) + MEMBER,
        IS_NO_TAR.format("no end after 1,099,511,628,288 bytes"),
    ),
    "a negative size in pax": (
        pax(b"11 size=-1\n") + MEMBER,
        IS_NO_TAR.format("an impossible size at byte 512"),
    ),
    "a long name of negative length": (
        header("././@LongLink", 0, b"L", base_256(-1)) + MEMBER,
        IS_NO_TAR.format("an impossible size at byte 0"),
    ),
    "a long name of a gigabyte": (
        header("././@LongLink", 1 << 30, b"L") + MEMBER,
        IS_NO_TAR.format("a name or record of 1,073,741,824 bytes at byte 512"),
    ),
    "20,000 long names": (
        LONG * 20_000 + MEMBER,
        IS_NO_TAR.format(TOO_MANY),
    ),
    "20,000 pax headers": (
        pax(b"12 path=a.b\n") * 20_000 + MEMBER,
        IS_NO_TAR.format(TOO_MANY),
    ),
    "a pax record that is longer than it is": (
        pax(b"99 path=a\n") + MEMBER,
        IS_NO_TAR.format("a damaged pax record at byte 512"),
    ),
    "a pax record of no length": (pax(b"0 path=a\n") + MEMBER, IS_NO_TAR.format("a damaged pax record at byte 512")),
    "a name for all members": (
        pax(b"12 path=a.b\n", kind=b"g") + MEMBER,
        IS_NO_TAR.format("one name or size for all members, at byte 512"),
    ),
    "a sparse file of version 1.0": (
        pax(b"22 GNU.sparse.major=1\n", b"22 GNU.sparse.minor=0\n") + MEMBER,
        "1.png is a link or a special file, not an image.\n"
        "Write the shard with the files themselves: tar --dereference --hard-dereference.",
    ),
    "a device": (
        header("null.png", kind=b"3") + MEMBER,
        "null.png is a link or a special file, not an image.\n"
        "Write the shard with the files themselves: tar --dereference --hard-dereference.",
    ),
    "a hard link": (
        header("2.png", 3, kind=b"1") + MEMBER,
        "2.png is a link or a special file, not an image.\n"
        "Write the shard with the files themselves: tar --dereference --hard-dereference.",
    ),
    "a name that leads out of the shard": (
        header("../../etc/1.png", 3) + padded(b"png"),
        "'../../etc/1.png' is not a name of a file inside the shard.\n"
        "Write the shard again, with names relative to its folder.",
    ),
    "a name with a zero": (
        pax(b"16 path=a\x00b.png\n") + MEMBER,
        "'a\\x00b.png' is not a name of a file inside the shard.\n"
        "Write the shard again, with names relative to its folder.",
    ),
}


@pytest.mark.parametrize("what", TARS)
def test_a_tar_header_that_lies_is_named_with_its_place(tmp_path: Path, what: str):
    content, message = TARS[what]
    path = tmp_path / "a.tar"
    path.write_bytes(content + bytes(1024))
    joint = " " if message.startswith("is ") else ": "
    assert refusal(path) == f"{path}{joint}{message}"


@pytest.mark.parametrize("what", [what for what in TARS if "name with" not in what and "leads" not in what])
def test_the_archive_of_cifar_is_read_by_the_same_rules(tmp_path: Path, what: str):
    path = tmp_path / "cifar-10-python.tar"
    path.write_bytes(TARS[what][0] + bytes(1024))
    message = refusal(path)
    is_damaged = f"{path} is cut off or damaged (" in message
    assert is_damaged or message.startswith(f"{path} is named like CIFAR") or f"{path} has " in message


@pytest.mark.parametrize("style", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_members_are_those_that_python_s_tarfile_finds(style: int):
    from saccade.data.sources.shared.tar_members import tar_members

    buffer = io.BytesIO()
    draw = np.random.default_rng(0)
    with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
        for number in range(60):
            member = tarfile.TarInfo(f"{'f' * (number % 50)}/{'n' * (number * 5 % 95)}é{number}.png")
            member.size, member.mtime = int(draw.integers(0, 3000)), 1.5 if style == tarfile.PAX_FORMAT else 1
            member.type = tarfile.DIRTYPE if number % 10 == 3 else tarfile.REGTYPE
            if member.isdir():
                member.size = 0
            archive.addfile(member, io.BytesIO(draw.bytes(member.size)))
    found = [(m.name, m.offset, m.num_bytes) for m in tar_members(buffer) if m.kind == "file"]
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as archive:
        assert found == [(m.name, m.offset_data, m.size) for m in archive if m.isreg()]


# --- Parquet ---


def table_with_two_images() -> pa.Table:
    columns = [pa.array([picture()] * 3), pa.array([picture()] * 3), pa.array([0, 1, 2])]
    return pa.Table.from_arrays(columns, names=["image", "image", "label"])


TABLES: dict[str, tuple[Callable[[], pa.Table], str]] = {
    "two columns of one name": (
        table_with_two_images,
        " has two columns that are called 'image'.\nRename one of them, or leave it out.",
    ),
    "labels above any signed number": (
        lambda: pa.table({"image": [picture()] * 2, "label": pa.array([1, (1 << 64) - 1], pa.uint64())}),
        ": the column 'label' has a label above 9,223,372,036,854,775,807, which is not a class number.\n"
        "Number the classes from 0.",
    ),
    "lists of lists of labels": (
        lambda: pa.table({"image": [picture()] * 2, "label": [[[1]], [[2]]]}),
        ": the column 'label' holds list<element: int64>, not class numbers or names.\n"
        "Write a class number or name for each image.",
    ),
    "labels in a structure": (
        lambda: pa.table({"image": [picture()] * 2, "label": [{"a": 1}, {"a": 2}]}),
        ": the column 'label' holds struct<a: int64>, not class numbers or names.\n"
        "Write a class number or name for each image.",
    ),
    "labels that are not there": (
        lambda: pa.table({"image": [picture()] * 2, "label": pa.array([None, None], pa.int64())}),
        " has no labelled row.\nThere is nothing to learn from it.",
    ),
    "no rows at all": (
        lambda: pa.table({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}),
        " has no labelled row.\nThere is nothing to learn from it.",
    ),
    "lists of images": (
        lambda: pa.table({"image": [[picture()]] * 2, "label": [0, 1]}),
        " has no column that can be the image; its columns are: image, label.\n"
        "Name the image column image (bytes of an encoded file) and the class column label; "
        "or choose: --file-column NAME.",
    ),
}


@pytest.mark.parametrize("what", TABLES)
def test_a_strange_table_is_refused_by_what_is_strange(tmp_path: Path, what: str):
    build, message = TABLES[what]
    path = tmp_path / "a.parquet"
    parquet.write_table(build(), path)
    assert refusal(path) == f"{path}{message}"


def test_a_codec_that_nobody_knows_is_an_error_and_does_not_end_the_process(tmp_path: Path):
    """pyarrow's view of such a column calls `terminate`: the source is opened in a child."""
    path, names = tmp_path / "a.parquet", ["image", "label"]
    parquet.write_table(pa.table({"image": [picture()] * 2, "label": [0, 1]}), path, compression="snappy")
    content = path.read_bytes()
    start = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    changed = []
    for place in range(start, len(content) - 8):
        path.write_bytes(content[:place] + b"\x1c" + content[place + 1 :])  # 14, zigzag
        try:
            stored = read_footer(path, "x", names)
        except DataError:
            continue
        if stored and any(column.codec == 14 for column in stored[0].values()):
            changed.append(path.rename(tmp_path / f"{place}.parquet"))
    assert len(changed) == 2, "one of each column"
    program = "import sys; from saccade.data.source import open_source; open_source(sys.argv[1])[0]"
    for file in changed:
        done = run_python(["-c", program, file], tmp_path)
        assert done.returncode == 1
        last = done.stderr.strip().split("\nsaccade.core.errors.")[-1]
        assert last.startswith(
            (f"DataError: {file} is cut off, damaged", f"ImageError: {file.name}:0: the Parquet file")
        )


def test_labels_of_every_width_are_read(tmp_path: Path):
    for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint16(), pa.int32(), pa.uint32(), pa.int64(), pa.uint64()):
        path = tmp_path / f"{kind}.parquet"
        parquet.write_table(pa.table({"image": [picture()] * 3, "label": pa.array([0, 2, 1], kind)}), path)
        source = open_source(str(path))
        assert [source.record(index).label for index in range(3)] == [0, 2, 1]


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (
            b"---\nlicense: mit\nname: caf\xe9\n---\n",
            ", line 3: the head of the data card is not UTF-8 text.\nSave it as",
        ),
        (b"---\n" + b"a: b\n" * 300_000, ": the head of the data card has more than 1,048,576 bytes.\nShorten it,"),
    ],
)
def test_a_data_card_that_cannot_be_read_is_named_with_its_line(tmp_path: Path, head: bytes, reason: str):
    parquet.write_table(pa.table({"image": [picture()] * 2, "label": [0, 1]}), tmp_path / "a.parquet")
    (tmp_path / "README.md").write_bytes(head)
    end = " or move the file away: the numbers then serve as names of the classes."
    message = refusal(tmp_path)
    assert message.startswith(f"{tmp_path}/README.md{reason}")
    assert message.endswith(end)


BOMB = "x0: &x0 [a, a]\n" + "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 30))
MERGES = "m0: &m0 {k: v}\n" + "".join(f"m{n}: &m{n}\n  <<: [{', '.join([f'*m{n - 1}'] * 9)}]\n" for n in range(1, 30))


@pytest.mark.parametrize("bomb", [BOMB, MERGES, "x: 2024-13-45\n", f"x: 0x{'f' * 6000}\n", "- " * 3000 + "\n"])
def test_yaml_that_would_grow_or_fail_does_neither(tmp_path: Path, bomb: str):
    parquet.write_table(pa.table({"image": [picture()] * 2, "label": [0, 1]}), tmp_path / "a.parquet")
    names = "dataset_info:\n  features:\n  - name: label\n    dtype:\n      class_label:\n        names: [cat, dog]\n"
    (tmp_path / "README.md").write_text(f"---\n{names}{bomb}---\n")
    assert open_source(str(tmp_path)).classes in (("cat", "dog"), ("0", "1"))


# --- arrays ---


def idx(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


@pytest.mark.parametrize("shape", [(20, 0, 0), (20, 0, 9), (20, 9, 0)])
def test_idx_images_without_pixels_are_refused(tmp_path: Path, shape: tuple[int, int, int]):
    (tmp_path / "train-images-idx3-ubyte").write_bytes(idx(np.zeros(shape)))
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(idx(np.arange(20) % 2))
    assert refusal(tmp_path) == (
        f"{tmp_path}/train-images-idx3-ubyte says that its images have {shape[1]}x{shape[2]} pixels; "
        "1 to 50,000,000 are read.\nDownload it again."
    )


@pytest.mark.parametrize(
    ("pixels", "shape"),
    [
        (np.zeros((0, 0), np.uint8), "0x0 values of uint8"),
        (np.zeros((4, 0, 3), np.uint8), "4x0x3 values of uint8"),
        (np.zeros((4, 4, 65), np.uint8), "4x4x65 values of uint8"),
        (np.zeros((4, 4), np.float32), "4x4 values of float32"),
        (np.zeros((), np.uint8), "no values of uint8"),
    ],
)
def test_arrays_that_are_no_images_are_refused(pixels: np.ndarray, shape: str):
    with pytest.raises(ImageError) as error:
        decode_image(pixels, "a/1")
    assert error.value.message == f"a/1: its pixels are {shape}, not 1 to 50,000,000 bytes."


EMPTY_IMAGES = {
    "PNG": picture()[:16] + bytes(8) + picture()[24:],
    "GIF": b"GIF89a" + bytes(4) + b"\x80\0\0" + bytes(6) + b",\0\0\0\0\0\0\0\0\0\2\1\0\0;",
    "BMP": b"BM" + struct.pack("<IHHI", 54, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 0, 0, 1, 24, 0, 0, 0, 0, 0, 0),
}


@pytest.mark.parametrize("kind", EMPTY_IMAGES)
def test_one_image_of_no_size_is_refused_in_every_format(kind: str):
    with pytest.raises(ImageError, match=r"^a\.png: [^\n]+\.$"):
        decode_image(EMPTY_IMAGES[kind], "a.png")


# --- pickles ---

U1 = b"cnumpy\ndtype\n(Vu1\nK\0K\1tR"
PICKLES = {
    "tuples in tuples as a key": b")" + b"\x85" * 200_000 + b"0}" + b")" + b"\x85" * 200_000 + b"K\1s.",
    "a list in itself": b"]q\0h\0a.",
    "deep tuples as the name of an encoding": b"c_codecs\nencode\n(Vx\n)" + b"\x85" * 100_000 + b"tR.",
    "deep tuples as a type": b"cnumpy\ndtype\n()" + b"\x85" * 100_000 + b"K\0K\1tR.",
    "deep tuples as a name": b")" + b"\x85" * 100_000 + b"Vx\n\x93.",
    "sizes that are tuples": b"cnumpy.core.numeric\n_frombuffer\n(C\1xcnumpy\ndtype\n(Vu1\nK\0K\1tR)"
    + b"\x85" * 9
    + b"VC\ntR.",
    "a negative size": b"cnumpy.core.numeric\n_frombuffer\n(C\1x" + U1 + b"J\xff\xff\xff\xff\x85VC\ntR.",
}


@pytest.mark.parametrize("what", PICKLES)
def test_a_strange_pickle_gives_a_value_or_one_error(what: str):
    try:
        read_plain_pickle(PICKLES[what], "x")
    except DataError as error:
        assert error.message.startswith("x is ")  # noqa: PT017
        assert len(error.message.splitlines()) == 2  # noqa: PT017


@pytest.mark.parametrize("text", [rb"S'\u'", rb"S'\400'", rb"S'\q'", b"S'\\'", b"S'"])
def test_texts_that_python_warns_of_are_damage(text: bytes):
    with pytest.raises(DataError, match=r"^x is damaged, or is not a pickle \(.+\)\.\nDownload it again\.$"):
        read_plain_pickle(text + b"\n.", "x")


def test_texts_of_python_2_keep_their_escapes():
    assert read_plain_pickle(rb"S'a\\b\'c\"d\ne\x41\xe9'" + b"\n.", "x") == "a\\b'c\"d\ne\x41\xe9"
    assert read_plain_pickle(b'S"it\'s"\n.', "x") == "it's"


def test_class_names_that_are_no_list_and_batches_of_no_rows_are_refused(tmp_path: Path):
    names = [f"data_batch_{number}" for number in range(1, 6)]
    batch = {"data": np.zeros((0, 3072), np.uint8), "labels": []}
    for name in [*names, "test_batch"]:
        (tmp_path / name).write_bytes(pickle.dumps(batch, 4))
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": 3}, 2))
    assert refusal(tmp_path) == (
        f"{tmp_path}/batches.meta does not hold the names of the classes, each once.\nDownload it again."
    )
    (tmp_path / "batches.meta").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}, 2))
    assert refusal(tmp_path) == f"{tmp_path}/data_batch_1 has 0 images, but 0 labels.\nDownload it again."


# --- CSV ---


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b"a\0.png,cat", " names no file.\nFill it in, or remove the row."),
        (b"x" * 2000 + b".png,cat", " names no file.\nFill it in, or remove the row."),
        (
            b"1.png," + b"c" * 300,
            " has a label of 300 characters; at most 256 are read.\nGive the class a shorter name.",
        ),
        (b'1.png,"' + b"c" * 200_000 + b'"', " is not CSV: field larger than field limit (131072).\nCheck its quotes."),
    ],
)
def test_a_strange_row_is_named_with_its_line(tmp_path: Path, row: bytes, reason: str):
    path = tmp_path / "labels.csv"
    path.write_bytes(b"file,label\n0.png,dog\n" + row + b"\n")
    assert refusal(path) == f"{path}, line 3{reason}"


def test_numbers_of_any_length_serve_as_names(tmp_path: Path):
    path = tmp_path / "labels.csv"
    (tmp_path / "0.png").write_bytes(picture())
    path.write_text(f"file,label\n0.png,{'9' * 200}\n1.png,{'1' * 200}\n2.png,7\n")
    assert open_source(str(path)).classes == ("7", "1" * 200, "9" * 200)


# --- weights and their cards ---


def safetensors(entries: object, data: bytes = b"") -> bytes:
    text = json.dumps(entries).encode()
    return struct.pack("<Q", len(text)) + text + data


HEADERS = {
    "a header of exabytes": struct.pack("<Q", 1 << 63) + b"{}",
    "a list": safetensors([]),
    "a shape of a million numbers": safetensors(
        {"a": {"dtype": "F32", "shape": [1] * 100_000, "data_offsets": [0, 4]}}, bytes(4)
    ),
    "a negative shape": safetensors({"a": {"dtype": "F32", "shape": [-1, -1], "data_offsets": [0, 4]}}, bytes(4)),
    "offsets that are texts": safetensors({"a": {"dtype": "F32", "shape": [1], "data_offsets": ["x", "y"]}}, bytes(4)),
    "a number of 5,000 digits": b"%b" % struct.pack("<Q", 5002) + b"[" + b"9" * 5000 + b"]",
}


@pytest.mark.parametrize("what", HEADERS)
def test_a_strange_header_of_weights_is_refused(tmp_path: Path, what: str):
    path = tmp_path / "w.safetensors"
    path.write_bytes(HEADERS[what])
    with pytest.raises(WeightsError) as error:
        parse_header(read_file(path), path)
    assert error.value.message.startswith(f"{path} ")
    assert error.value.message.endswith("Download it again.")


def test_a_weight_file_of_a_terabyte_is_not_read(tmp_path: Path):
    path = tmp_path / "w.safetensors"
    with open(path, "wb") as file:
        file.truncate(1 << 40)  # takes no room on the disk
    with pytest.raises(WeightsError, match=r"has 1,099,511,627,776 bytes; at most 4,294,967,296 are read"):
        read_file(path)


def test_class_names_that_stand_twice_in_a_card_are_told_apart_by_their_output(tmp_path: Path):
    (tmp_path / "x-classes.json").write_text(json.dumps(["crane", "tench", "crane"]))
    assert card_beside(tmp_path).classes == ("crane (0)", "tench", "crane (2)")


@pytest.mark.parametrize(
    ("names", "reason"),
    [
        (["a", "b" * 300], "has 2 classes, the longest name with 300 characters; at most 100,000 and 256 are read."),
        (["a", 1], "must hold one JSON list of class names, in the order of the network's outputs."),
    ],
)
def test_class_names_of_a_card_are_checked(tmp_path: Path, names: list[object], reason: str):
    (tmp_path / "x-classes.json").write_text(json.dumps(names))
    with pytest.raises(WeightsError) as error:
        card_beside(tmp_path)
    assert error.value.message == f"{tmp_path}/x-classes.json {reason}"
    with pytest.raises(WeightsError) as error:
        card_in_file({"saccade.classes": json.dumps(names)}, "w.safetensors")
    assert error.value.message == f"w.safetensors, saccade.classes {reason}"


def test_a_long_name_of_a_column_is_not_repeated_in_a_command(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((8, 8), np.uint8))
    table = tmp_path / "t.csv"
    table.write_text(f"file,{'x' * 4000},zz\na.png,cat,dog\n")
    assert refusal(table) == (
        f"{table} has no column 'label'; its first line is: file, {'x' * 40}, zz.\n"
        "Name the columns file,label and, where you have them, split and group.\n"
        f"Or say which one it is, as in --label-column NAME or '{table}?label=NAME'."
    )
