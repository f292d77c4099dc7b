"""Shards that are written: the same images, labels and splits, the same bytes every time, and never half a set."""

import fcntl
import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.processes import PATIENCE_S

from saccade.core.errors import DataError, ImageError, StorageError, UsageError
from saccade.data.images.decode import decode_image
from saccade.data.sharding import write as sharding
from saccade.data.sharding.write import ShardSettings, write_shards
from saccade.data.source import DataSource, open_source

TEN = ShardSettings(images_per_shard=10)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with its own splits, of JPEG, PNG and TIFF."""
    root, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for split, num in (("train", 12), ("test", 5)):
        for name in ("old cat", "dog"):
            (root / split / name).mkdir(parents=True)
            for number in range(num):
                ending = ("jpg", "png", "tif")[number % 3]
                pixels = rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.{ending}")
    return root


def described(source: DataSource) -> dict[str, tuple[str, str | None, bytes]]:
    """Class, split and digest of the pixels of each image by its key; in shards that of the source."""
    found = {}
    for index in range(len(source)):
        record = source.record(index)
        pixels = decode_image(source.read(index), record.key).image_HWC
        digest = hashlib.sha256(repr(pixels.shape).encode() + pixels.tobytes()).digest()
        found[record.key] = (source.classes[record.label], record.split, digest)
    return found


def keys_of(folder: Path) -> dict[str, str]:
    """The key that each image of the shards had, by the key that it has."""
    keys = {}
    for path in folder.glob("*.tar"):
        with tarfile.open(path) as archive:
            for member in archive:
                if not member.name.endswith((".cls", ".json")):
                    about = archive.extractfile(member.name.split(".")[0] + ".json")
                    assert about is not None
                    keys[f"{path.name}/{member.name}"] = json.load(about)["key"]
    return keys


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_the_pixels_labels_and_splits_of_their_source(tmp_path: Path, photos: Path):
    source = open_source(str(photos))
    written = write_shards(source, str(tmp_path / "out"), TEN)
    assert written.splits == {"train": 24, "test": 10}
    names = ["train-000000.tar", "train-000001.tar", "train-000002.tar", "test-000000.tar"]
    assert [(shard["name"], shard["num_images"]) for shard in written.shards] == list(zip(names, [10, 10, 4, 10]))
    shards = open_source(str(tmp_path / "out"))
    assert shards.classes == source.classes
    keys = keys_of(tmp_path / "out")
    assert {keys[key]: what for key, what in described(shards).items()} == described(source)


def test_files_of_usual_formats_are_kept_to_the_byte(tmp_path: Path, photos: Path):
    source = open_source(str(photos))
    write_shards(source, str(tmp_path / "out"), TEN)
    given = {source.record(index).key: source.read(index) for index in range(len(source))}
    shards, keys = open_source(str(tmp_path / "out")), keys_of(tmp_path / "out")
    for index in range(len(shards)):
        was = keys[shards.record(index).key]
        assert was.endswith(".tif") or shards.read(index) == given[was]


def test_images_of_one_class_are_not_left_together(tmp_path: Path, photos: Path):
    write_shards(open_source(str(photos)), str(tmp_path / "out"), TEN)
    shards = open_source(str(tmp_path / "out"))
    labels = [shards.record(index).label for index in range(len(shards)) if "train-000000" in shards.record(index).key]
    assert 2 <= sum(labels) <= 8


def test_the_same_source_gives_the_same_bytes(tmp_path: Path, photos: Path):
    for name in ("one", "two"):
        write_shards(open_source(str(photos)), str(tmp_path / name), TEN)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_the_index_says_what_lies_where(tmp_path: Path, photos: Path):
    write_shards(open_source(str(photos)), str(tmp_path / "out"), TEN)
    path = tmp_path / "out" / "train-000001.tar"
    index = json.loads(path.with_name("train-000001.tar.index.json").read_text())
    content = path.read_bytes()
    assert (index["num_bytes"], index["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    with tarfile.open(path) as archive:
        expected = [[member.name, member.offset_data, member.size] for member in archive]
    assert [member[:3] for member in index["members"]] == expected
    for name, offset, num_bytes, text in index["members"]:
        assert text is None or content[offset : offset + num_bytes] == text.encode(), name


def test_a_shard_is_full_by_its_bytes(tmp_path: Path, photos: Path):
    written = write_shards(open_source(str(photos)), str(tmp_path / "out"), ShardSettings(shard_bytes=20_000))
    assert sum(shard["num_images"] for shard in written.shards) == 34
    assert len(written.shards) > 4
    sizes = [shard["num_bytes"] for shard in written.shards if not shard["name"].startswith("test")]
    assert all(20_000 <= size < 40_000 for size in sizes[:-1])


def test_larger_pictures_are_shrunk_to_the_short_side(tmp_path: Path):
    rng = np.random.default_rng(1)
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        waves = np.sin(np.arange(80)[:, None, None] / 9 + np.arange(120)[:, None] / 13 + np.arange(3) + ord(name))
        Image.fromarray((127 + 120 * waves).astype(np.uint8)).save(tmp_path / "in" / name / "large.png")
        Image.fromarray(rng.integers(0, 256, (30, 40), np.uint8)).save(tmp_path / "in" / name / "small.png")
    source = open_source(str(tmp_path / "in"))
    write_shards(source, str(tmp_path / "out"), ShardSettings(short_side_px=40))
    given = {source.record(index).key: source.read(index) for index in range(len(source))}
    shards, keys = open_source(str(tmp_path / "out")), keys_of(tmp_path / "out")
    for index in range(len(shards)):
        key, content = shards.record(index).key, shards.read(index)
        was = given[keys[key]]
        assert isinstance(was, bytes)
        if "small" in keys[key]:
            assert content == was
            continue
        shrunk = Image.open(io.BytesIO(bytes(content)))
        assert (shrunk.format, shrunk.size) == ("JPEG", (60, 40))
        reference = np.asarray(Image.open(io.BytesIO(was)).resize((60, 40), Image.Resampling.BICUBIC), float)
        assert np.abs(np.asarray(shrunk, float) - reference).mean() < 4  # of colours JPEG keeps half as many


def test_arrays_become_files_that_lose_nothing(tmp_path: Path):
    source = open_source("digits")
    write_shards(source, str(tmp_path / "out"), ShardSettings())
    keys = keys_of(tmp_path / "out")
    found = described(open_source(str(tmp_path / "out")))
    assert {keys[key]: what for key, what in found.items()} == described(source)


CHILD = """
import os, sys
from saccade.data.sharding import write as sharding
from saccade.data.source import open_source
left = int(sys.argv[3])
add = sharding._Work._add
def count(self, archive, place, index):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), 9)
    return add(self, archive, place, index)
sharding._Work._add = count
sharding.write_shards(open_source(sys.argv[1]), sys.argv[2], sharding.ShardSettings(images_per_shard=10))
"""


def test_what_was_killed_goes_on_and_ends_in_the_same_bytes(tmp_path: Path, photos: Path):
    expected = tmp_path / "whole"
    write_shards(open_source(str(photos)), str(expected), TEN)
    out = tmp_path / "out"
    command = [sys.executable, "-c", CHILD, str(photos), str(out), "15"]
    assert subprocess.run(command, timeout=PATIENCE_S).returncode == -9
    first = out / "train-000000.tar"
    before = first.stat().st_mtime_ns
    assert not (out / "shards.json").exists()
    written = write_shards(open_source(str(photos)), str(out), TEN)
    assert written.num_found == 1
    assert first.stat().st_mtime_ns == before
    assert contents(out) == contents(expected)


@pytest.mark.parametrize("lost", ["train-000000.tar", "train-000000.tar.index.json", "shards.json"])
def test_what_is_missing_is_written_again(tmp_path: Path, photos: Path, lost: str):
    write_shards(open_source(str(photos)), str(tmp_path), TEN)
    before = contents(tmp_path)
    (tmp_path / lost).unlink()
    assert write_shards(open_source(str(photos)), str(tmp_path), TEN).num_found == (4 if lost == "shards.json" else 3)
    assert contents(tmp_path) == before


def test_a_shard_that_was_cut_is_written_again(tmp_path: Path, photos: Path):
    write_shards(open_source(str(photos)), str(tmp_path), TEN)
    before = contents(tmp_path)
    os.truncate(tmp_path / "test-000000.tar", 1000)
    assert write_shards(open_source(str(photos)), str(tmp_path), TEN).num_found == 3
    assert contents(tmp_path) == before


def test_other_settings_and_other_sets_are_refused(tmp_path: Path, photos: Path):
    write_shards(open_source(str(photos)), str(tmp_path / "out"), TEN)
    for source, settings in ((str(photos), ShardSettings(images_per_shard=11)), ("digits", TEN)):
        with pytest.raises(UsageError) as error:
            write_shards(open_source(source), str(tmp_path / "out"), settings)
        assert error.value.message == (
            f"{tmp_path / 'out'} holds shards of another source, or with other settings.\nChoose another --out."
        )


def test_a_folder_that_another_process_writes_to_is_left_alone(tmp_path: Path, photos: Path):
    descriptor = os.open(tmp_path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with pytest.raises(StorageError) as error:
            write_shards(open_source(str(photos)), str(tmp_path), TEN)
    finally:
        os.close(descriptor)
    assert error.value.message == (
        f"Another process is writing shards to {tmp_path}.\nWait until it ends, or choose another --out."
    )
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_gives_back_other_bytes_is_noticed(tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch):
    read_back = sharding._Work._read_back

    def damaged(self: sharding._Work, name: str, digests: list[bytes]) -> object:
        path = tmp_path / "out" / name
        content = bytearray(path.read_bytes())
        content[600] ^= 1
        path.write_bytes(content)
        return read_back(self, name, digests)

    monkeypatch.setattr(sharding._Work, "_read_back", damaged)
    with pytest.raises(StorageError) as error:
        write_shards(open_source(str(photos)), str(tmp_path / "out"), TEN)
    assert error.value.message == (
        "train-000000.tar was written, but other bytes are read from it.\n"
        "The disk or the connection may be failing: check it, then give the same command again."
    )
    assert not (tmp_path / "out" / "train-000000.tar.index.json").exists()


def test_groups_are_refused_since_shards_would_lose_them(tmp_path: Path):
    lines = ["file,label,group"]
    for number in range(4):
        Image.new("RGB", (8, 8), (number * 60, 0, 0)).save(tmp_path / f"{number}.png")
        lines.append(f"{number}.png,{'ab'[number % 2]},p{number}")
    (tmp_path / "labels.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"has groups, which shards cannot hold"):
        write_shards(open_source(str(tmp_path / "labels.csv")), str(tmp_path / "out"), TEN)


def test_bands_are_refused_by_name(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / "in" / name).mkdir(parents=True)
        np.save(tmp_path / "in" / name / "1.npy", np.zeros((8, 8, 5), np.uint8))
    with pytest.raises(ImageError, match=r"it has bands that are not colours, which would be lost in a shard"):
        write_shards(open_source(str(tmp_path / "in")), str(tmp_path / "out"), TEN)


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_webdataset_library_reads_the_same_samples(tmp_path: Path, photos: Path):
    webdataset = pytest.importorskip("webdataset", reason="the library whose convention this is, is not installed")
    source = open_source(str(photos))
    write_shards(source, str(tmp_path / "out"), TEN)
    paths = [str(path) for path in sorted((tmp_path / "out").glob("*.tar"))]
    found = {}
    for sample in webdataset.WebDataset(paths, shardshuffle=False):
        (ending,) = set(sample) & {"jpg", "png"}
        key = json.loads(sample["json"])["key"]
        found[key] = (int(sample["cls"]), decode_image(sample[ending], key).image_HWC.tobytes())
    records = [source.record(index) for index in range(len(source))]
    assert found == {
        record.key: (record.label, decode_image(source.read(index), record.key).image_HWC.tobytes())
        for index, record in enumerate(records)
    }
