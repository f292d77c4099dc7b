"""What every source promises, looped over the registry: a new file is tested the day it has an example here."""

import contextlib
import dataclasses
import gc
import gzip
import hashlib
import io
import json
import os
import resource
import struct
import sys
import tarfile
import time
import tracemalloc
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet
from tests.processes import run_python

from saccade.core.errors import ContractError, DataError, ImageError
from saccade.core.types import Record
from saccade.data.source import SOURCES, DataSource, SourceFormat, open_source
from saccade.testing import check_architecture, check_augmentation, check_source
from saccade.testing.contract import place_of

CLASSES = ("ant", "bee", "cow")
MAX_LISTING_BYTES = 300  # a file


def pixels(number: int) -> np.ndarray:
    """8x8 RGB pixels that no other number gives, losslessly kept by PNG."""
    return np.random.default_rng(number).integers(0, 256, (8, 8, 3)).astype(np.uint8)


def picture(number: int) -> bytes:
    return cv2.imencode(".png", pixels(number)[:, :, ::-1])[1].tobytes()


def write_folder(folder: Path, num: int) -> str:
    for number in range(num):
        path = folder / "photos" / CLASSES[number % 3] / f"image {number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(number))
    return str(folder / "photos")


def write_manifest(folder: Path, num: int) -> str:
    write_flat(folder / "images", num)
    lines = [f"{number}.png,{CLASSES[number % 3]},patient {number % 5}" for number in range(num)]
    (folder / "labels.csv").write_text("\n".join(["file,label,group", *lines]))
    return str(folder / "labels.csv")


def write_flat(folder: Path, num: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(num):
        (folder / f"{number}.png").write_bytes(picture(number))


def write_idx(folder: Path, num: int) -> str:
    folder.mkdir(parents=True, exist_ok=True)
    images = np.stack([pixels(number)[:, :, 0] for number in range(num)])
    labels = np.arange(num, dtype=np.uint8) % 3
    with gzip.open(folder / "train-images-idx3-ubyte.gz", "wb") as file:
        file.write(struct.pack(">4I", 0x803, *images.shape) + images.tobytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(struct.pack(">2I", 0x801, num) + labels.tobytes())
    return str(folder)


def write_cifar(folder: Path, num: int) -> str:
    """CIFAR-10's binary version with three classes; what does not fit into five equal files is the test part."""
    rows = [bytes([n % 3]) + np.tile(pixels(n), (4, 4, 1)).transpose(2, 0, 1).tobytes() for n in range(num)]
    folder.mkdir(parents=True, exist_ok=True)
    for batch in range(5):
        (folder / f"data_batch_{batch + 1}.bin").write_bytes(b"".join(rows[4 * batch : 4 * batch + 4]))
    (folder / "test_batch.bin").write_bytes(b"".join(rows[20:]))
    (folder / "batches.meta.txt").write_text("\n".join(CLASSES) + "\n")
    return str(folder)


def write_parquet(folder: Path, num: int) -> str:
    """Two uncompressed shards and a compressed one, in row groups of 100."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(3):
        rows = [{"image": {"bytes": picture(n), "path": None}, "label": CLASSES[n % 3]} for n in range(shard, num, 3)]
        path = folder / f"train-0000{shard}-of-00003.parquet"
        parquet.write_table(pa.Table.from_pylist(rows), path, 100, compression="snappy" if shard else "none")
    return str(folder)


def write_hub(folder: Path, num: int) -> str:
    """What a download leaves in Hugging Face's cache; no network is needed to read it."""
    name = f"photos-{hashlib.sha1(str(folder).encode()).hexdigest()[:12]}"
    base = Path(os.environ["HF_HUB_CACHE"]) / f"datasets--zoo--{name}"
    commit = hashlib.sha1(str(num).encode()).hexdigest()
    write_parquet(base / "snapshots" / commit, num)
    (base / "refs").mkdir()
    (base / "refs" / "main").write_text(commit)
    return f"hub:zoo/{name}"


def write_tar(folder: Path, num: int) -> str:
    """Two shards: numbers as labels, and the classes' names beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard in range(2):
        with tarfile.open(folder / f"photos-{shard:04d}.tar", "w") as archive:
            for number in range(shard, num, 2):
                for ending, content in (("png", picture(number)), ("cls", str(number % 3).encode())):
                    member = tarfile.TarInfo(f"{number:06d}.{ending}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
    (folder / "classnames.txt").write_text("\n".join(CLASSES))
    return str(folder)


def write_fiftyone(folder: Path, num: int) -> str:
    write_flat(folder / "set" / "data", num)
    labels = {"classes": list(CLASSES), "labels": {str(number): number % 3 for number in range(num)}}
    (folder / "set" / "labels.json").write_text(json.dumps(labels))
    return str(folder / "set")


# How to write `num` images of three classes below a folder; returns what is typed as SOURCE. None: built in.
EXAMPLES: dict[str, Callable[[Path, int], str] | None] = {
    "cifar": write_cifar,
    "digits": None,
    "fiftyone": write_fiftyone,
    "folder": write_folder,
    "hub": write_hub,
    "idx": write_idx,
    "manifest": write_manifest,
    "parquet": write_parquet,
    "tar": write_tar,
}
IN_MEMORY = {"cifar", "digits", "idx"}  # all pixels are held as uint8: what a file takes is its pixels
WRITTEN = sorted(name for name, write in EXAMPLES.items() if write)


@pytest.fixture(autouse=True)
def _hub_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = tmp_path_factory.mktemp("hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


def example(name: str, folder: Path, num: int = 24) -> str:
    """The SOURCE text of an example of the format `name`."""
    write = EXAMPLES[name]
    return write(folder, num) if write else SOURCES.get(name).example


def digest_of(content: bytes | np.ndarray) -> str:
    return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).hexdigest()


def read_all(source: DataSource, order: np.ndarray, threads: int) -> list[str]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(lambda index: digest_of(source.read(int(index))), order))


def test_every_source_has_an_example_here():
    assert set(SOURCES) == set(EXAMPLES)


@pytest.mark.parametrize("name", EXAMPLES)
def test_it_keeps_the_contract_of_a_source(name: str, tmp_path: Path):
    """Recognised, records and reads agree, the same bytes from eight threads, no file kept open, a stable digest."""
    text = example(name, tmp_path)
    check_source(name, text)
    for index in (0, -1):
        source = open_source(text)
        image_HWC = source[range(len(source))[index]].image_HWC
        assert image_HWC.dtype == np.uint8
        assert image_HWC.shape[2:] == (3,)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_was_written_is_read_with_its_label(name: str, tmp_path: Path):
    source = open_source(example(name, tmp_path))
    assert len(source) == 24
    grey = source.read(0).ndim == 2 if isinstance(source.read(0), np.ndarray) else False  # type: ignore[union-attr]
    shape = source[0].image_HWC.shape
    written = {}
    for number in range(24):
        image_HWC = pixels(number)
        image_HWC = np.repeat(image_HWC[:, :, :1], 3, axis=2) if grey else image_HWC
        if shape != image_HWC.shape:
            image_HWC = np.tile(image_HWC, (shape[0] // 8, shape[1] // 8, 1))
        written[image_HWC.tobytes()] = number % 3
    read = {source[index].image_HWC.tobytes(): source.record(index).label for index in range(24)}
    assert read == written


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("wrong", ["\ud800x", "caf\udce9"])
def test_a_class_name_that_no_file_can_hold_is_refused(
    name: str, wrong: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    text, entry = example(name, tmp_path), SOURCES.get(name)

    def opened(given: str) -> DataSource:
        source = entry.open(given)
        monkeypatch.setattr(source, "classes", (wrong, *source.classes[1:]))
        return source

    monkeypatch.setitem(SOURCES._entries, name, dataclasses.replace(entry, open=opened))
    with pytest.raises(DataError) as caught:
        open_source(text)
    shown = wrong.encode("unicode_escape").decode()
    assert caught.value.message.endswith(
        f" has a class whose name is not valid text: '{shown}'.\nGive it another name."
    )


@pytest.mark.parametrize("name", EXAMPLES)
def test_few_file_descriptors_are_enough_and_none_is_kept(name: str, tmp_path: Path):
    source = open_source(example(name, tmp_path))
    open_before = len(os.listdir("/dev/fd"))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (open_before + 16, limits[1]))  # for eight threads
    try:
        read_all(source, np.arange(400) % len(source), 8)
        assert len(os.listdir("/dev/fd")) <= open_before
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


@pytest.mark.parametrize("name", ["folder", "manifest", "tar"])
def test_running_out_of_file_descriptors_makes_no_image_bad(name: str, tmp_path: Path):
    source = open_source(example(name, tmp_path))
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (3, limits[1]))
    try:
        with pytest.raises(DataError) as caught:
            source.read(0)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    assert not isinstance(caught.value, ImageError)
    assert caught.value.message == (
        f"{source.record(0).key}: too many files are open at once; the image itself may be sound.\n"
        "Allow more, as with 'ulimit -n 4096', or use fewer loader.threads; then run again with --resume."
    )


@pytest.mark.parametrize("name", WRITTEN)
def test_the_digest_changes_with_the_listing(name: str, tmp_path: Path):
    before = open_source(example(name, tmp_path / "before"))
    after = open_source(example(name, tmp_path / "after", 25))
    assert len(after) == len(before) + 1
    assert after.digest != before.digest


@pytest.mark.parametrize("name", sorted(set(EXAMPLES) - IN_MEMORY))
def test_a_listing_takes_at_most_300_bytes_a_file(name: str, tmp_path: Path):
    text = example(name, tmp_path, 1500)
    source = open_source(text)  # imports what it needs
    del source
    gc.collect()
    tracemalloc.start()
    try:
        source = open_source(text)
        gc.collect()
        taken = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert taken <= MAX_LISTING_BYTES * len(source)


IN_ANOTHER_PROCESS = """
import hashlib, json, os, sys
from concurrent.futures import ThreadPoolExecutor
from saccade.data.source import open_source

def digests(source):
    def one(index):
        content = source.read(index)
        return hashlib.sha256(content if isinstance(content, bytes) else content.tobytes()).hexdigest()
    with ThreadPoolExecutor(4) as pool:
        return list(pool.map(one, reversed(range(len(source)))))[::-1]

sources = {name: open_source(text) for name, text in json.loads(sys.argv[1]).items()}
spawned = {name: [source.digest, *digests(source)] for name, source in sources.items()}
read_end, write_end = os.pipe()
child = os.fork()
if not child:
    os.close(read_end)
    forked = {name: [source.digest, *digests(source)] for name, source in sources.items()}
    with open(write_end, "w") as pipe:
        json.dump(forked, pipe)
    os._exit(0)
os.close(write_end)
after = {name: [source.digest, *digests(source)] for name, source in sources.items()}
with open(read_end) as pipe:
    forked = json.load(pipe)
assert os.waitpid(child, 0)[1] == 0
json.dump([spawned, forked, after], sys.stdout)
"""


def test_spawned_and_forked_processes_read_the_same(tmp_path: Path):
    texts = {name: example(name, tmp_path / name) for name in EXAMPLES}
    here = {}
    for name, text in texts.items():
        source = open_source(text)
        here[name] = [source.digest, *(digest_of(source.read(index)) for index in range(len(source)))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = run_python(["-c", IN_ANOTHER_PROCESS, json.dumps(texts)], tmp_path, environment)
    assert done.returncode == 0, done.stderr
    for found in json.loads(done.stdout):
        assert found == here


@pytest.mark.parametrize("name", WRITTEN)
def test_a_read_only_source_is_read_and_left_as_it_is(name: str, tmp_path: Path):
    text = example(name, tmp_path)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    for path in tmp_path.rglob("*"):
        path.chmod(0o555 if path.is_dir() else 0o444)
    try:
        source = open_source(text)
        assert all(len(source.read(index)) for index in range(len(source)))
        assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before
    finally:
        for path in tmp_path.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)


def damaged(content: bytes, seed: int) -> bytes:
    """`content` cut off, with bytes put in, or with some bytes changed; mostly where headers and footers are."""
    rng = np.random.default_rng(seed)
    changed = bytearray(content)
    kind = seed % 8
    if kind == 0:
        return content[: rng.integers(len(content) + 1)]
    if kind == 1:
        place = int(rng.integers(len(content) + 1))
        return content[:place] + rng.bytes(int(rng.integers(1, 9))) + content[place:]
    for _ in range(int(rng.integers(1, 5))):
        first = max(0, len(content) - 600) if kind < 5 else 0
        changed[rng.integers(first, len(content) if kind < 7 else min(len(content), 600))] = rng.integers(256)
    return bytes(changed)


@pytest.mark.parametrize("name", sorted(set(WRITTEN) - {"hub"}))
def test_a_damaged_file_gives_its_images_or_one_clear_error(name: str, tmp_path: Path):
    text = example(name, tmp_path)
    files = sorted(path for path in tmp_path.rglob("*") if path.is_file())
    for seed in range(48):
        path = files[seed * 7 % len(files)]
        content = path.read_bytes()
        path.write_bytes(damaged(content, seed))
        try:
            source = open_source(text)
            for index in range(len(source)):
                assert source.record(index).label < len(source.classes)
                with contextlib.suppress(ImageError):
                    source.read(index)
        except DataError as error:
            lines = str(error).splitlines()
            assert 1 <= len(lines) <= 4, lines  # noqa: PT017  any message will do, none may be a traceback
            assert all(line.isprintable() for line in lines), lines  # noqa: PT017
        path.write_bytes(content)


# What the author of a plug-in is told.


class Drawer(DataSource):
    """Twelve images of one file, kept in it one after the other."""

    name = "drawer"
    classes = ("a", "b")
    digest = "0" * 64

    def __init__(self, text: str) -> None:
        self.path = Path(text)

    def __len__(self) -> int:
        return 12

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=index % 2)

    def read(self, index: int) -> np.ndarray:
        with self.path.open("rb") as file:
            file.seek(192 * index)
            return np.frombuffer(file.read(192), np.uint8).reshape(8, 8, 3)


LEFT_OPEN: list[int] = []  # file descriptors


class OneFile(Drawer):
    """The file stays open, and its position is shared."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        LEFT_OPEN.append(os.open(text, os.O_RDONLY))

    def read(self, index: int) -> np.ndarray:
        os.lseek(LEFT_OPEN[0], 192 * index, os.SEEK_SET)
        time.sleep(0.001)
        return np.frombuffer(os.read(LEFT_OPEN[0], 192).ljust(192), np.uint8).reshape(8, 8, 3)


class KeptOpen(Drawer):
    def read(self, index: int) -> np.ndarray:
        if len(LEFT_OPEN) < 30:  # the records are read before the open files are counted
            LEFT_OPEN.append(os.open(self.path, os.O_RDONLY))
        return super().read(index)


class Twins(Drawer):
    def record(self, index: int) -> Record:
        return Record(key=str(index // 2), label=index % 2)


class OneClass(Drawer):
    def record(self, index: int) -> Record:
        return Record(key=str(index), label=0)


class Fickle(Drawer):
    num = 0

    def __init__(self, text: str) -> None:
        super().__init__(text)
        Fickle.num += 1
        self.digest = f"{Fickle.num:064}"


class TooLong(Drawer):
    def __len__(self) -> int:
        return 14

    def record(self, index: int) -> Record:
        return Record(key="abcdefghijkl"[index], label=index % 2)


class NoRecords(Drawer):
    def record(self, index: int) -> Record:
        return ("0", 0)  # type: ignore[return-value]


class Texts(Drawer):
    def read(self, index: int) -> np.ndarray:
        return "0.png"  # type: ignore[return-value]


class NoPixels(Drawer):
    def read(self, index: int) -> np.ndarray:
        return np.zeros((8, 8), np.float32)


class Nameless(DataSource):
    def __init__(self, text: str) -> None:
        self.name, self.digest = "drawer", "0" * 64

    __len__, record, read = Drawer.__len__, Drawer.record, Drawer.read  # type: ignore[assignment]


DRAWER = SourceFormat(
    name="drawer",
    summary="images in one file",
    example="x.drawer",
    recognises=lambda text: text.endswith(".drawer") and Path(text).is_file(),
    open=Drawer,
)


def drawer(folder: Path) -> str:
    (folder / "x.drawer").write_bytes(b"".join(pixels(number).tobytes() for number in range(12)))
    return str(folder / "x.drawer")


def test_a_source_of_ones_own_that_keeps_its_promises_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ContractError, match="^source 'drawer': it is not registered under its name.\n"):
        check_source(DRAWER, drawer(tmp_path))
    monkeypatch.setitem(SOURCES._entries, "drawer", DRAWER)
    monkeypatch.setitem(SOURCES._origins, "drawer", __name__)
    check_source(DRAWER, drawer(tmp_path))


@pytest.mark.parametrize(
    ("changes", "told", "place"),
    [
        (
            {"open": OneFile},
            "reads from 8 threads give other bytes than reads from one",
            OneFile.read,
        ),
        ({"open": KeptOpen}, "it keeps files open after it has read", KeptOpen.read),
        ({"open": Twins}, "two images of one split have the same key", Twins.record),
        ({"open": OneClass}, "labels are not those of its classes", OneClass.record),
        ({"open": Fickle}, "its digest is not the same 64 characters each time it is opened", Fickle),
        ({"summary": ""}, "its summary is empty", None),
        ({"open": TooLong}, "it has 14 images by its length, and no record(12)", TooLong.__len__),
        ({"open": NoRecords}, "record(0) gives ('0', 0)", NoRecords.record),
        ({"open": Texts}, "read(0) gives a value of type str", Texts.read),
        (
            {"open": NoPixels},
            "read(0) gives what is no image: its pixels are 8x8 values of float32, not 1 to 50,000,000 bytes",
            NoPixels.read,
        ),
        ({"open": Nameless}, "it has no classes", Nameless),
        ({"open": Path}, "open gives a value of type PosixPath", Path),
    ],
)
def test_promises_that_a_source_breaks_are_told(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    told: str,
    place: Callable[..., Any] | None,
):
    broken = dataclasses.replace(DRAWER, **changes)
    monkeypatch.setitem(SOURCES._entries, "drawer", broken)
    monkeypatch.setitem(SOURCES._origins, "drawer", __name__)
    try:
        with pytest.raises(ContractError) as error:
            check_source(broken, drawer(tmp_path))
    finally:
        while LEFT_OPEN:
            os.close(LEFT_OPEN.pop())
    lines = str(error.value).splitlines()
    assert lines[0] == f"source 'drawer': {told}."
    assert place is None or lines[-1] == f"Where: {place_of(place)}."


def test_what_is_missing_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write = "Write check_source('mine', 'tests/mine'): the source, and the address of a small set that it opens."
    with pytest.raises(ContractError) as error:
        check_source("folder")
    assert error.value.message == f"source 'folder': its example is missing.\n{write}"
    with pytest.raises(ContractError) as error:
        check_source(Drawer)  # type: ignore[arg-type]
    assert error.value.message == (
        f"check_source: it takes a name that is registered, or its SourceFormat; got a value of type ABCMeta.\n{write}"
    )
    with pytest.raises(ContractError) as error:
        check_augmentation()
    assert error.value.message == (
        "check_augmentation: it takes a name that is registered, or its Augmentation; got nothing.\n"
        "Write check_augmentation('mine', reference=mine)."
    )
    for check, told in (
        (lambda: check_augmentation("cutout", strengths=1), "strengths are"),  # type: ignore[arg-type]
        (lambda: check_augmentation("cutout", reference=1), "reference is"),  # type: ignore[arg-type]
    ):
        with pytest.raises(ContractError, match=f"^augmentation 'cutout': its {told} a value of type int.\nPass "):
            check()
    with pytest.raises(ContractError) as error:
        check_source("folder", str(tmp_path / "nowhere"))
    assert error.value.message.splitlines()[:2] == [
        f"source 'folder': its example '{tmp_path}/nowhere' is taken by no source.",
        "Give the address of a small set that is there, and let recognises() see it.",
    ]
    with pytest.raises(ContractError) as error:
        check_architecture(3)  # type: ignore[arg-type]
    assert error.value.message == (
        "check_architecture: it takes a name that is registered, or its Architecture; got a value of type int.\n"
        "Write check_architecture('mine')."
    )


def test_an_error_of_a_source_is_told_with_its_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    class Fails(Drawer):
        def read(self, index: int) -> np.ndarray:
            return np.zeros(0)[index]  # type: ignore[no-any-return]

    fails = dataclasses.replace(DRAWER, open=Fails)
    monkeypatch.setitem(SOURCES._entries, "drawer", fails)
    monkeypatch.setitem(SOURCES._origins, "drawer", __name__)
    with pytest.raises(ContractError) as error:
        check_source(fails, drawer(tmp_path))
    assert error.value.message == (
        "source 'drawer': it ends in IndexError: index 0 is out of bounds for axis 0 with size 0.\n"
        "Correct what raises it, or raise an error of saccade.core.errors that says what to do.\n"
        f"Where: read in {__file__}, line {Fails.read.__code__.co_firstlineno + 1}."
    )


def test_a_source_that_another_one_takes_is_told_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    late = dataclasses.replace(DRAWER, recognises=lambda text: Path(text).is_dir(), priority=1000)
    monkeypatch.setitem(SOURCES._entries, "drawer", late)
    monkeypatch.setitem(SOURCES._origins, "drawer", __name__)
    text = write_folder(tmp_path, 6)
    with pytest.raises(ContractError) as error:
        check_source(late, text)
    assert str(error.value).splitlines()[0] == f"source 'drawer': its example '{text}' is taken by folder."
