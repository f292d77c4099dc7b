"""Damage the files of data sets and weights at random and read them: each is a sane result, or one error that names it.

    python -m campaigns.mutate_files --mutations 10000 --seed 0
    python -m campaigns.mutate_files --mutations 200 --kinds tar csv

Kinds: a tar shard, a Parquet file, an IDX file (plain and gzipped), a pickle of CIFAR, a CSV manifest, a weight file,
its card, a data card. Half of the mutations change bytes; the others know the format: they write strange numbers into
the fields of tar headers and repair their checksums, into the header of a weight file, and so on. What counts as a
failure stands in mutations.py.
"""

import argparse
import functools
import gzip
import io
import json
import pickle
import random
import struct
import sys
import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow
import torch
from pyarrow import parquet
from safetensors.torch import save

from .mutations import EXTREMES, LARGE_EXTREMES, Kind, mutate, mutate_value, run_campaign

CIFAR_FOLDER = "cifar-10-batches-py"
MODEL = "lenet5"
TAR_FIELDS = {
    "mode": (100, 8),
    "size": (124, 12),
    "time": (136, 12),
    "kind": (156, 1),
    "magic": (257, 8),
    "prefix": (345, 155),
}


def main() -> None:
    """Run the mutations and print the result as JSON; exit status 1 where any of them fails."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutations", type=int, default=200, help="how many of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="the number of the first mutation")
    parser.add_argument("--kinds", nargs="*", choices=list(KINDS), default=list(KINDS))
    arguments = parser.parse_args()
    kinds = {name: KINDS[name] for name in arguments.kinds}
    result = run_campaign(
        kinds, "campaigns.mutate_files:check", arguments.mutations, arguments.seed, first=arguments.first
    )
    print(json.dumps(result, indent=1))
    sys.exit(1 if result["failures"] else 0)


# --- what the child does ---


def check(kind: str, folder: str) -> str:
    """Read what lies in `folder` as people would. Raises SaccadeError, or AssertionError for what is not sane."""
    return _read_weights(Path(folder)) if kind in ("weights", "weight card") else _read_source(kind, Path(folder))


def prepare() -> None:
    """Import every source before the first file is read, so that its time is that of the others."""
    from saccade.data.source import open_source

    open_source("digits")


def _read_source(kind: str, folder: Path) -> str:
    from saccade.core.errors import ImageError
    from saccade.data.source import open_source

    source = open_source(str(folder / FILES[kind]))
    assert 0 < len(source) <= 5000, f"{len(source)} images"
    assert 2 <= len(source.classes) <= 1000, f"{len(source.classes)} classes"
    assert len(set(source.classes)) == len(source.classes)
    assert len(source.digest) == 64
    bad: list[str] = []
    for index in range(len(source)):
        record = source.record(index)
        assert 0 <= record.label < len(source.classes), record
        try:
            image_HWC = source[index].image_HWC
        except ImageError as error:
            bad.append(error.message)
            continue
        assert image_HWC.dtype == np.uint8, image_HWC.dtype
        assert image_HWC.ndim == 3, image_HWC.shape
        assert image_HWC.size > 0, image_HWC.shape
    assert all(text.isprintable() and text.endswith(".") for text in bad), bad
    return f"{len(source)} images, {len(bad)} bad"


def _read_weights(folder: Path) -> str:
    from saccade.models.architecture import ModelSpec, build_model
    from saccade.weights.card import card_beside, card_in_file
    from saccade.weights.tensors import load_weights, parse_header, parse_metadata, read_file

    path = folder / "w.safetensors"
    content = read_file(path)
    parse_header(content, path)
    card = card_in_file(parse_metadata(content), str(path))
    beside = card_beside(folder)
    model = build_model(MODEL, ModelSpec(num_classes=3, input_CHW=(1, 28, 28)))
    load_weights(model, path)
    assert all(bool(torch.isfinite(tensor).all()) for tensor in model.state_dict().values())
    for found in (card, beside):
        assert len(set(found.classes)) == len(found.classes), "twice the same class"
        assert all(isinstance(name, str) for name in found.classes)
        if found.preprocessing is not None:
            values = np.array([*found.preprocessing.mean, *found.preprocessing.std])
            assert np.isfinite(values).all(), values
    return f"{len(card.classes)} and {len(beside.classes)} classes"


# --- valid files ---


@functools.cache
def image(number: int) -> bytes:
    """A small PNG or JPEG."""
    pixels = np.random.default_rng(number).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    return bytes(cv2.imencode(".png" if number % 2 else ".jpg", pixels)[1])


@functools.cache
def tar_shards() -> tuple[bytes, ...]:
    """Shards in the three formats of tar: plain, GNU with a long name, pax with a long name."""
    shards = []
    for style in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w", format=style) as archive:
            for number in range(4):
                name = f"{'long' * 40}é/{number}" if style != tarfile.USTAR_FORMAT and number == 2 else f"{number:04d}"
                label = {"cls": f"{number % 3}".encode()} if number < 3 else {"json": b'{"label": "2"}'}
                for ending, content in {"png" if number % 2 else "jpg": image(number), **label}.items():
                    member = tarfile.TarInfo(f"{name}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        content = buffer.getvalue().rstrip(b"\0")
        shards.append(content + bytes(-len(content) % 512 + 1024))
    return tuple(shards)


@functools.cache
def parquet_files() -> tuple[bytes, ...]:
    """Uncompressed and compressed, with and without dictionaries, both page versions, labels in numbers and words."""
    files = []
    contents = [image(number % 5) for number in range(12)]
    for compression in ("none", "snappy", "zstd"):
        for has_dictionary in (False, True):
            for version in ("1.0", "2.0"):
                structs = [{"bytes": content, "path": "x.jpg"} for content in contents]
                structs[3] = {"bytes": None, "path": None}
                names = [("cat", "dog", "owl")[number % 3] for number in range(12)]
                label = names if version == "2.0" else [number % 3 for number in range(12)]
                table = pyarrow.table({"image": structs, "label": label})
                features = {"label": {"_type": "ClassLabel", "names": ["cat", "dog", "owl"]}}
                text = json.dumps({"info": {"features": features}})
                buffer = io.BytesIO()
                parquet.write_table(
                    table.replace_schema_metadata({"huggingface": text}) if has_dictionary else table,
                    buffer,
                    compression=compression,
                    use_dictionary=has_dictionary,
                    data_page_version=version,
                    row_group_size=7,
                )
                files.append(buffer.getvalue())
    return tuple(files)


def idx(values: np.ndarray) -> bytes:
    """An array of bytes in MNIST's format."""
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.astype(np.uint8).tobytes()


IDX_IMAGES = idx(np.arange(9 * 5 * 4).reshape(9, 5, 4))
IDX_LABELS = idx(np.arange(9) % 3)


@functools.cache
def cifar_batches() -> tuple[bytes, ...]:
    """A batch of 4 images in each protocol, and with the texts of Python 2."""
    image_ND = np.random.default_rng(0).integers(0, 256, (4, 3072), dtype=np.uint8)
    batch = {"batch_label": "testing\n'\"\\", "labels": [0, 1, 2, 1], "data": image_ND, "filenames": ["a.png", "b"]}
    batches = [pickle.dumps(batch, protocol) for protocol in range(6)]
    by_python_2 = b"(dp0\nS'batch_label'\np1\nS'testing \\x41\\n\\\\'\np2\nsS'labels'\np3\n(lp4\nI0\naI1\naI2\naI1\nas"
    array = pickle.dumps(image_ND, 0)[:-1]
    return (*batches, by_python_2 + b"S'data'\np90\n" + array + b"s.")


CIFAR_NAMES = pickle.dumps({"label_names": ["cat", "dog", "owl"]}, 2)
CSV = b"file,label,split,group\n" + b"".join(
    b"%d.%s,%s,%s,%s\n"
    % (number, b"png" if number % 2 else b"jpg", (b"cat", b'"dog, big"', b"owl")[number % 3], split, b"g%d" % number)
    for number, split in enumerate((b"train", b"train", b"train", b"test", b"test", b"test"))
)
CARD = (
    b"---\nlicense: mit\ndataset_info:\n  features:\n  - name: image\n    dtype: image\n  - name: label\n    dtype:\n"
    b"      class_label:\n        names:\n          '0': cat\n          '1': dog\n          '2': owl\n---\n# Animals\n"
)
TIMM_CARD = {
    "architecture": "lenet5",
    "license": "mit",
    "label_names": ["cat", "dog", "owl"],
    "pretrained_cfg": {
        **{"input_size": [3, 28, 28], "crop_pct": 0.875, "interpolation": "bilinear", "crop_mode": "center"},
        **{"mean": [0.5, 0.5, 0.5], "std": [0.25, 0.25, 0.25]},
    },
}


@functools.cache
def weight_file() -> bytes:
    """The tensors of a small network, with a card in the header."""
    from saccade.core.types import Preprocessing
    from saccade.models.architecture import ModelSpec, build_model

    torch.manual_seed(0)
    model = build_model(MODEL, ModelSpec(num_classes=3, input_CHW=(1, 28, 28)))
    values = Preprocessing(
        channels="grey", resize_px=None, input_height_px=28, input_width_px=28, mean=(0.5,), std=(0.2,)
    )
    metadata = {"saccade.preprocessing": values.model_dump_json(), "saccade.classes": '["cat", "dog", "owl"]'}
    return save(model.state_dict(), metadata=metadata)


# --- mutations that know the format ---


def strange_number(draw: random.Random) -> int:
    return draw.choice((*EXTREMES, *LARGE_EXTREMES, -1, -512, -(2**31), -(2**63)))


def damage_tar(content: bytes, draw: random.Random) -> bytes:
    """Strange values in the fields of a header, whose checksum is repaired; or headers put in front of a member."""
    archive = bytearray(content)
    starts = [place for place in range(0, len(archive) - 511, 512) if archive[place + 257 : place + 262] == b"ustar"]
    start = draw.choice(starts)
    action = draw.random()
    if action < 0.3:
        archive[start:start] = _ahead(draw) * draw.choice((1, 1, 2, 3, 40))
        return bytes(archive)
    if action < 0.4:
        end = draw.choice([*starts, len(archive)])
        return bytes(
            archive[:start] + archive[min(start, end) : max(start, end)] * draw.choice((1, 2, 3)) + archive[end:]
        )
    offset, length = TAR_FIELDS[draw.choice(list(TAR_FIELDS))] if action < 0.8 else (0, 100)
    archive[start + offset : start + offset + length] = _tar_value(draw, length)
    repair_tar_checksum(archive, start)
    return bytes(archive)


def _tar_value(draw: random.Random, length: int) -> bytes:
    number = strange_number(draw)
    values = [
        draw.randbytes(length),
        bytes(length),
        b"\xff" * length,
        b"%0*o" % (length - 1, abs(number))
        if length > 1
        else draw.choice((b"0", b"1", b"2", b"5", b"L", b"K", b"x", b"g", b"S")),
        (number % 256**length).to_bytes(length, "big"),
        b"\x80" + (abs(number) % 256 ** max(1, length - 1)).to_bytes(max(1, length - 1), "big"),
        draw.choice(
            (
                b"../../x.png",
                b"/etc/x.png",
                b"a/../b.cls",
                b".",
                b"",
                b"__x/1.jpg",
                b"\xff\xfe.png",
                b"0001.cls",
                b"1.json",
            )
        ),
        draw.choice((b"-1", b"+7", b"0x10", b"1_0", b"9" * length, b"7" * length, b" ")),
    ]
    return draw.choice(values)[:length].ljust(length, b"\0")


def _ahead(draw: random.Random) -> bytes:
    """A header in front of a member: a long name, or pax records, and what it announces."""
    kind = draw.choice((b"L", b"K", b"x", b"g"))
    records = [
        *(
            b"size=-1",
            b"size=%d" % abs(strange_number(draw)),
            b"size=1e3",
            b"path=../x.png",
            b"path=a\0b.png",
            b"path=",
        ),
        *(b"GNU.sparse.major=1", b"GNU.sparse.realsize=%d" % 2**60, b"comment=" + b"x" * 5000, b"hdrcharset=BINARY"),
    ]
    chosen = draw.sample(records, draw.choice((1, 1, 2, 4)))
    content = b"name/1.png\0" if kind in b"LK" else b"".join(_record(text, draw) for text in chosen)
    header = tarfile.TarInfo("././@LongLink")
    header.size, header.type = len(content), kind
    block = bytearray(header.tobuf(tarfile.USTAR_FORMAT))
    if draw.random() < 0.3:
        block[124:136] = _tar_value(draw, 12)
        repair_tar_checksum(block, 0)
    return bytes(block) + content.ljust(-(-len(content) // 512) * 512, b"\0")


def _record(text: bytes, draw: random.Random) -> bytes:
    length = next(size for size in range(len(text), len(text) + 12) if len(b"%d %s\n" % (size, text)) == size)
    return b"%d %s\n" % (length if draw.random() < 0.8 else draw.choice((0, 1, length + 1, 10**9)), text)


def repair_tar_checksum(archive: bytearray, start: int) -> None:
    """Give the header at `start` the checksum of what is in it."""
    header = archive[start : start + 512]
    if len(header) == 512:
        archive[start + 148 : start + 156] = b"%06o\0 " % (256 + sum(header[:148]) + sum(header[156:]))


def damage_parquet(content: bytes, draw: random.Random) -> bytes:
    """Bytes of the footer or of a page's header changed; a varint replaced by a larger one."""
    file = bytearray(content)
    (footer_bytes,) = struct.unpack("<I", content[-8:-4])
    start = len(content) - 8 - footer_bytes
    region = (start, len(content) - 8) if draw.random() < 0.7 else (4, min(start, 4 + draw.choice((40, 400))))
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(*region)
        action = draw.random()
        if action < 0.4:
            file[place] = draw.choice((0, 1, 2, 0x15, 0x16, 0x18, 0x19, 0x1C, 0x7F, 0x80, 0xFF, draw.randrange(256)))
        elif action < 0.7:
            size = draw.choice((2, 4, 5, 9))
            file[place : place + size] = b"\xff" * (size - 1) + draw.choice((b"\x0f", b"\x7f", b"\x01"))
        elif action < 0.85:
            file[place] ^= 1 << draw.randrange(8)
        else:
            size = draw.choice((1, 2, 8))
            file[place : place + size] = b""
            file[-8:-4] = struct.pack("<I", max(0, footer_bytes - size))
    if draw.random() < 0.1:
        file[-8:-4] = struct.pack("<I", abs(strange_number(draw)) % 2**32)
    return bytes(file)


def damage_idx(content: bytes, draw: random.Random) -> bytes:
    """Strange sizes in the header."""
    file = bytearray(content)
    for _ in range(draw.choice((1, 2, 3))):
        place = draw.choice((0, 2, 3, 4, 8, 12))
        if place < 4:
            file[place] = draw.choice((0, 1, 2, 3, 4, 8, 9, 13, 255))
        else:
            file[place : place + 4] = struct.pack(">I", draw.choice((0, 1, 9, 5, 20, 180, *EXTREMES)))
    return bytes(file)


def damage_pickle(content: bytes, draw: random.Random) -> bytes:
    """Opcodes put anywhere, most of them with arguments that fit."""
    file = bytearray(content)
    for _ in range(draw.choice((1, 1, 3, 10))):
        place = draw.randrange(len(file))
        code = draw.choice(
            (
                *(
                    b"\x85",
                    b"\x85" * 3000,
                    b"]",
                    b"}",
                    b"(",
                    b"t",
                    b"l",
                    b"d",
                    b"0",
                    b"1",
                    b"2",
                    b"u",
                    b"e",
                    b"a",
                    b"s",
                ),
                *(b"R", b"b", b"\x93", b"\x94", b"h\0", b"h\1", b"j\xff\xff\xff\xff", b"q\0", b"K\xff", b"M\xff\xff"),
                *(
                    b"S'\\u'\n",
                    b"S'\\'\n",
                    b"I99999999999\n",
                    b"I" + b"9" * 5000 + b"\n",
                    b"L1L\n",
                    b"F1e999\n",
                    b"Vx\\ud800\n",
                ),
                *(
                    b"\x8a\x08" + b"\xff" * 8,
                    b"\x8d" + b"\xff" * 8,
                    b"\x8e" + b"\xff" * 8,
                    b"T\xff\xff\xff\x7f",
                    b"X\xff\xff\xff\xff",
                ),
                *(
                    b"cos\nsystem\n",
                    b"cnumpy\nndarray\n",
                    b"cnumpy\ndtype\n",
                    b"ios\nsystem\n",
                    b"P1\n",
                    b"\x80\xff",
                    b"\x95" + b"\xff" * 8,
                ),
            )
        )
        end = place + (0 if draw.random() < 0.5 else len(code))
        file[place:end] = code
    return bytes(file)


def damage_csv(content: bytes, draw: random.Random) -> bytes:
    """Values replaced in a row, or lines moved, repeated, made huge."""
    lines = content.split(b"\n")
    for _ in range(draw.choice((1, 1, 2, 5))):
        number = draw.randrange(len(lines))
        fields = lines[number].split(b",")
        value = draw.choice(
            (
                *(
                    b"",
                    b"../x.png",
                    b"/etc/hosts",
                    b"a\0b",
                    b"\xff\xfe",
                    b'"',
                    b'"a""',
                    b"\x1b[31m",
                    "\u202e".encode(),
                    b"CON",
                ),
                *(
                    b"x" * 300,
                    b"x" * 200_000,
                    b"9" * 5000,
                    b"0.jpg",
                    b"1.png",
                    b"train",
                    b"test",
                    b"-1",
                    b"\r",
                    b"\t",
                    b"file",
                ),
                *(b"." * 300, b"a/" * 3000 + b"b", b"\xef\xbb\xbf", b"dog", b"DOG", "dog\u0301".encode()),
            )
        )
        action = draw.random()
        if action < 0.6:
            fields[draw.randrange(len(fields))] = value
            lines[number] = b",".join(fields)
        elif action < 0.7:
            lines[number:number] = [lines[number]] * draw.choice((1, 3))
        elif action < 0.8:
            lines[number] = value
        else:
            other = draw.randrange(len(lines))
            lines[number], lines[other] = lines[other], lines[number]
    return b"\n".join(lines)


def damage_weights(content: bytes, draw: random.Random) -> bytes:
    """A place in the JSON header changed, with its length repaired most of the time."""
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header = json.loads(content[8 : 8 + header_bytes])
    for _ in range(draw.choice((1, 1, 2))):
        header = mutate_value(header, draw)
    text = json.dumps(header).encode()
    length = len(text) if draw.random() < 0.9 else abs(strange_number(draw)) % 2**64
    return struct.pack("<Q", length) + text + content[8 + header_bytes :]


def damage_json(content: bytes, draw: random.Random) -> bytes:
    """A place in a JSON file changed."""
    value = json.loads(content)
    for _ in range(draw.choice((1, 1, 2, 4))):
        value = mutate_value(value, draw)
    return json.dumps(value).encode()


def damage_yaml(content: bytes, draw: random.Random) -> bytes:
    """YAML's own means put into the head of a data card."""
    lines = content.split(b"\n")
    number = draw.randrange(1, len(lines))
    piece = draw.choice(
        (
            *(
                b"a: &a [x]",
                b"b: *a",
                b"<<: *a",
                b"- " * 500,
                b"[" * 2000,
                b"!!python/object/apply:os.system [ls]",
                b"? [a]",
            ),
            *(
                b"'0': 2024-13-45",
                b"x: !!binary ====",
                b"y: 0x" + b"f" * 6000,
                b"\t",
                b"---",
                b"...",
                b"%YAML 9.9",
                b"\xff",
            ),
            *(
                b"          '3': cat",
                b"          '1': 7",
                b"          x: y",
                b"        names: []",
                b"        names: [a, [b]]",
            ),
        )
    )
    lines[number : number + draw.choice((0, 1))] = [piece]
    return b"\n".join(lines)


# --- the kinds ---

Damage = Callable[[bytes, random.Random], bytes]


def damaged(files: Sequence[bytes], knowing: Damage, draw: random.Random) -> bytes:
    """One of `files` damaged: half of the time by its bytes, else by its format, now and then by both."""
    content = draw.choice(files)
    if draw.random() < 0.55:
        content = knowing(content, draw)
    return content if draw.random() < 0.45 else mutate(content, draw, files)


def _write_tar(folder: Path, draw: random.Random) -> None:
    (folder / "a.tar").write_bytes(damaged(tar_shards(), damage_tar, draw))


def _write_parquet(folder: Path, draw: random.Random) -> None:
    (folder / "a.parquet").write_bytes(damaged(parquet_files(), damage_parquet, draw))


def _write_idx(folder: Path, draw: random.Random, is_gzip: bool) -> None:
    images, labels = IDX_IMAGES, IDX_LABELS
    if draw.random() < 0.7:
        images = damaged([images], damage_idx, draw)
    else:
        labels = damaged([labels], damage_idx, draw)
    for name, content in {"train-images-idx3-ubyte": images, "train-labels-idx1-ubyte": labels}.items():
        if not is_gzip:
            (folder / name).write_bytes(content)
            continue
        packed = gzip.compress(content, mtime=0)
        (folder / f"{name}.gz").write_bytes(mutate(packed, draw) if draw.random() < 0.4 else packed)


def _write_cifar(folder: Path, draw: random.Random) -> None:
    batches, names = cifar_batches(), CIFAR_NAMES
    place = folder / CIFAR_FOLDER
    place.mkdir()
    which = draw.choice([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch", "batches.meta"])
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        content = batches[2] if name != which else damaged(batches, damage_pickle, draw)
        (place / name).write_bytes(content)
    (place / "batches.meta").write_bytes(damaged([names], damage_pickle, draw) if which == "batches.meta" else names)


def _write_csv(folder: Path, draw: random.Random) -> None:
    for number in range(6):
        (folder / f"{number}.{'png' if number % 2 else 'jpg'}").write_bytes(image(number))
    (folder / "labels.csv").write_bytes(damaged([CSV], damage_csv, draw))


def _write_weights(folder: Path, draw: random.Random) -> None:
    (folder / "w.safetensors").write_bytes(damaged([weight_file()], damage_weights, draw))


def _write_weight_card(folder: Path, draw: random.Random) -> None:
    """The card beside a weight file, or the one in its header."""
    content = weight_file()
    if draw.random() < 0.5:
        (folder / "w.safetensors").write_bytes(content)
        card = damaged([json.dumps(TIMM_CARD).encode()], damage_json, draw)
        (folder / "config.json").write_bytes(card)
        if draw.random() < 0.3:
            (folder / "my-classes.json").write_bytes(damaged([b'["cat", "dog", "owl"]'], damage_json, draw))
        return
    (header_bytes,) = struct.unpack("<Q", content[:8])
    header: dict[str, Any] = json.loads(content[8 : 8 + header_bytes])
    key = draw.choice(("saccade.preprocessing", "saccade.classes"))
    card = damaged([header["__metadata__"][key].encode()], damage_json, draw)
    header["__metadata__"][key] = card.decode("utf-8", "replace")
    text = json.dumps(header).encode()
    (folder / "w.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + content[8 + header_bytes :])


def _write_data_card(folder: Path, draw: random.Random) -> None:
    (folder / "a.parquet").write_bytes(parquet_files()[0])
    (folder / "README.md").write_bytes(damaged([CARD], damage_yaml, draw))


FILES = {
    **{"tar": "a.tar", "parquet": "a.parquet", "idx": "", "idx gz": "", "cifar": CIFAR_FOLDER},
    **{"csv": "labels.csv", "data card": "a.parquet"},
}
KINDS = {
    "tar": Kind(_write_tar, ("a.tar",)),
    "parquet": Kind(_write_parquet, ("a.parquet",)),
    "idx": Kind(functools.partial(_write_idx, is_gzip=False), ("train-images", "train-labels")),
    "idx gz": Kind(functools.partial(_write_idx, is_gzip=True), ("train-images", "train-labels")),
    "cifar": Kind(_write_cifar),
    "csv": Kind(_write_csv, ("labels.csv",)),
    "weights": Kind(_write_weights, ("w.safetensors",)),
    "weight card": Kind(_write_weight_card, ("w.safetensors", "config.json", "classes.json")),
    "data card": Kind(_write_data_card, ("README.md",)),
}


if __name__ == "__main__":
    main()
