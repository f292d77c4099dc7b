"""Whole shards from a server on this machine into the store: once, bounded, never half, and every fault by name."""

import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.far_server import FarServer, far_server
from tests.processes import PATIENCE_S

from saccade.core.addresses import http_allowed
from saccade.core.errors import ConfigError, DataError, ImageError, StorageError
from saccade.core.types import Preprocessing
from saccade.data.augmentation_policy import get_policy
from saccade.data.loading.loader import LoaderConfig, build_loader, check_order, takes_blocks
from saccade.data.sharding.write import ShardSettings, write_shards
from saccade.data.source import DataSource, open_source
from saccade.data.sources.tar import remote, store, web_files
from saccade.data.store_place import DEFAULT_LIMIT_BYTES, store_at

NUM_SHARDS = 5
SHARD_BYTES = 10240 * 2
CHANGED = r"^a-0\.tar/0\.jpg: a-0\.tar has changed since it was opened\. Start again\.$"


def tar_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def tar_bytes(seed: int) -> bytes:
    rng, files = np.random.default_rng(seed), {}
    for number in range(4):
        files |= {f"{number}.jpg": rng.bytes(3000), f"{number}.cls": b"%d" % (number % 2)}
    return tar_of(files)


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(remote, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(remote, "SLOW_PAUSES_S", (0.0,))
    web_files._web_files.cache_clear()
    with http_allowed():
        yield
    web_files.web_files().close()
    web_files._web_files.cache_clear()


@pytest.fixture
def server() -> Iterator[FarServer]:
    with far_server() as started:
        for number in range(NUM_SHARDS):
            started.files[f"/set/a-{number}.tar"] = tar_bytes(number)
        yield started


def text_of(server: FarServer) -> str:
    return server.address(f"/set/a-{{0..{NUM_SHARDS - 1}}}.tar")


def listing(source: DataSource) -> list[tuple[str, int, bytes | np.ndarray]]:
    return [(r.key, r.label, source.read(i)) for i in range(len(source)) for r in [source.record(i)]]


def stored(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar"))


def default_store(tmp_path: Path) -> Path:
    return tmp_path / "cache" / "saccade" / "store"


def forget_indices(tmp_path: Path) -> None:
    for path in (tmp_path / "cache" / "saccade" / "shards").glob("*"):
        path.unlink()


def refusal(text: str) -> str:
    with pytest.raises(DataError) as error:
        open_source(text)
    return error.value.message


def test_each_shard_is_fetched_whole_and_once_and_gives_the_images_of_a_set_on_disk(tmp_path: Path, server: FarServer):
    here = tmp_path / "here"
    here.mkdir()
    for path, content in server.files.items():
        (here / Path(path).name).write_bytes(content)
    source = open_source(text_of(server))
    assert listing(source) == listing(open_source(str(here)))
    assert sorted(server.sent) == [(path, 0, SHARD_BYTES - 1) for path in sorted(server.files)]
    assert [path.read_bytes() for path in stored(default_store(tmp_path))] != []
    assert {path.read_bytes() for path in stored(default_store(tmp_path))} == set(server.files.values())
    server.sent.clear()
    assert listing(open_source(text_of(server))) == listing(source)
    assert server.sent == []


def test_a_note_says_where_the_shards_are_kept(tmp_path: Path, server: FarServer):
    assert open_source(text_of(server)).notes == (
        f"shards are fetched whole into {default_store(tmp_path)}: 0.1 MB, of which at most 100,000.0 MB are kept",
    )


def test_the_web_needs_no_further_package(server: FarServer, monkeypatch: pytest.MonkeyPatch):
    for name in ("fsspec", "aiohttp", "requests"):
        monkeypatch.setitem(sys.modules, name, None)
    assert len(listing(open_source(text_of(server)))) == 4 * NUM_SHARDS


def test_a_large_shard_comes_in_pieces(tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(store, "PIECE_BYTES", 8000)
    source = open_source(server.address("/set/a-0.tar"))
    assert [sent[1:] for sent in server.sent] == [(0, 7999), (8000, 15999), (16000, SHARD_BYTES - 1)]
    assert stored(default_store(tmp_path))[0].read_bytes() == server.files["/set/a-0.tar"]
    assert len(listing(source)) == 4


def test_at_most_four_connections_fetch(server: FarServer):
    server.pause_s = 0.05
    open_source(text_of(server))
    assert 2 <= server.most_at_once <= 4


def test_the_store_never_holds_more_than_its_limit_and_every_image_is_right(tmp_path: Path, server: FarServer):
    folder = tmp_path / "store"
    with store_at(str(folder), 2 * SHARD_BYTES):
        source = open_source(text_of(server))
    assert source.far_bytes == NUM_SHARDS * SHARD_BYTES
    with store_at("", DEFAULT_LIMIT_BYTES):
        expected = listing(open_source(text_of(server)))
    rng = np.random.default_rng(0)
    for index in rng.permutation(len(source)).tolist():
        assert source.read(index) == expected[index][2]
        held = sum(path.stat().st_size for end in ("*.tar", "*.part") for path in folder.glob(end))
        assert held <= 2 * SHARD_BYTES


def test_the_shard_that_was_not_used_for_the_longest_time_goes_first(tmp_path: Path, server: FarServer):
    files = [remote.look_up(server.address(f"/set/a-{number}.tar")) for number in range(3)]
    kept = store.ShardStore(tmp_path, 2 * SHARD_BYTES)
    for number, file in enumerate(files[:2]):
        kept.open(file).close()
        os.utime(kept._path(file), (1000 - number, 1000 - number))
    kept.open(files[2]).close()
    assert [kept.has(file) for file in files] == [True, False, True]


def test_what_is_open_can_be_read_after_it_was_removed(tmp_path: Path, server: FarServer):
    kept = store.ShardStore(tmp_path, SHARD_BYTES)
    with kept.open(remote.look_up(server.address("/set/a-0.tar"))) as first:
        kept.open(remote.look_up(server.address("/set/a-1.tar"))).close()
        assert first.read() == server.files["/set/a-0.tar"]
    assert len(stored(tmp_path)) == 1


def test_a_stored_shard_that_was_cut_is_fetched_again(tmp_path: Path, server: FarServer):
    expected = listing(open_source(text_of(server)))
    os.truncate(stored(default_store(tmp_path))[0], 5000)
    assert listing(open_source(text_of(server))) == expected


def test_another_version_is_another_file(tmp_path: Path, server: FarServer):
    open_source(server.address("/set/a-0.tar"))
    server.files["/set/a-0.tar"] = tar_bytes(77)
    assert listing(open_source(server.address("/set/a-0.tar")))[0][2] == tar_bytes(77)[512:3512]
    assert len(stored(default_store(tmp_path))) == 2


def test_a_shard_of_no_known_version_is_fetched_at_every_opening(tmp_path: Path, server: FarServer):
    server.has_versions = False
    open_source(server.address("/set/a-0.tar"))
    server.files["/set/a-0.tar"] = tar_bytes(77)
    assert listing(open_source(server.address("/set/a-0.tar")))[0][2] == tar_bytes(77)[512:3512]


def test_a_shard_that_changed_since_it_was_opened_is_told(tmp_path: Path, server: FarServer):
    source = open_source(text_of(server))
    for path in stored(default_store(tmp_path)):
        path.unlink()
    server.files["/set/a-0.tar"] = tar_bytes(77)
    with pytest.raises(ImageError, match=CHANGED):
        source.read(0)
    server.files["/set/a-0.tar"] = tar_bytes(0)[:9000]
    with pytest.raises(ImageError, match=CHANGED):
        source.read(0)


def test_a_shard_that_changes_while_it_is_fetched_is_not_kept(
    tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch
):
    read_part = store.read_part

    def change_after(file: remote.RemoteFile, start: int, end: int) -> bytes:
        content = read_part(file, start, end)
        server.files["/set/a-0.tar"] = tar_bytes(77)
        return content

    monkeypatch.setattr(store, "read_part", change_after)
    address = server.address("/set/a-0.tar")
    assert refusal(address) == (f"{address} has changed while it was read.\nWait until it is whole, then start again.")
    assert list(default_store(tmp_path).glob("*.[tp]ar*")) == []


@pytest.mark.parametrize("fault", [503, 429, "cut"])
def test_what_passes_is_tried_again(server: FarServer, fault: int | str):
    server.faults["/set/a-0.tar"] = [fault, fault, ""]
    assert len(listing(open_source(server.address("/set/a-0.tar")))) == 4
    assert len(server.sent) == 3


@pytest.mark.parametrize(
    ("fault", "reason", "advice", "num_tries"),
    [
        (503, "HOST is out of order or overloaded (503), also when asked again", "again", 4),
        (403, "HOST refuses it (403)", "Use credentials by which it may be read (docs/sources.md).", 1),
        (404, "HOST has no such file (404)", "Check its name.", 1),
        (
            "cut",
            "HOST ends the connection in the middle (10,240 of 20,480 bytes came), also when asked again",
            "again",
            4,
        ),
        ("silent", "HOST is too slow: timed out", "again", 2),
        ("trickle", "HOST is too slow: ", "again", 2),
    ],
)
def test_a_server_that_misbehaves_is_named_with_what_to_do(
    tmp_path: Path,
    server: FarServer,
    monkeypatch: pytest.MonkeyPatch,
    fault: int | str,
    reason: str,
    advice: str,
    num_tries: int,
):
    monkeypatch.setattr(web_files, "TIMEOUT_S", 0.2)
    monkeypatch.setattr(web_files, "LEAST_BYTES_A_SECOND", 10**6)
    server.faults["/set/a-0.tar"] = [fault]
    address = server.address("/set/a-0.tar")
    again = "Wait a while, then give the same command again; what was fetched is kept."
    first, second = refusal(address).splitlines()
    assert first.startswith(f"{address} cannot be read: {reason.replace('HOST', server.host)}")
    assert second == (again if advice == "again" else advice)
    assert len(server.sent) == num_tries
    assert list(default_store(tmp_path).glob("*.[tp]ar*")) == []


def test_a_server_that_is_not_there_is_named(server: FarServer):
    host, address = server.host, server.address("/set/a-0.tar")
    server.shutdown()
    server.server_close()
    assert refusal(address) == (
        f"{address} cannot be read: {host} cannot be reached (Connection refused).\nCheck the address and the network."
    )


def test_a_fault_in_the_middle_of_a_run_is_none_of_the_image(tmp_path: Path, server: FarServer):
    source = open_source(text_of(server))
    for path in stored(default_store(tmp_path)):
        path.unlink()
    server.faults["/set/a-0.tar"] = [503]
    with pytest.raises(DataError, match=r"out of order or overloaded \(503\)") as error:
        source.read(0)
    assert not isinstance(error.value, ImageError)


def full_disk(descriptor: int, offset: int, num_bytes: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_full_disk_is_told_and_leaves_nothing_behind(
    tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "posix_fallocate", full_disk)
    monkeypatch.setattr(store.atomic, "free_bytes", lambda path: 77)
    address = server.address("/set/a-0.tar")
    with pytest.raises(StorageError) as error, store_at(str(tmp_path / "store"), 10**6):
        open_source(address)
    assert error.value.message == (
        f"The disk of the store of shards {tmp_path / 'store'} is full: {address} has 20,480 bytes, 77 are free.\n"
        f"Free some space, or choose a folder on another disk: --set loader.store=DIR, or XDG_CACHE_HOME."
    )
    assert list((tmp_path / "store").glob("*.[tp]ar*")) == []


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read and write everything")
def test_a_store_that_turns_unreadable_is_no_fault_of_an_image(tmp_path: Path, server: FarServer):
    with store_at(str(tmp_path / "store"), 10**6):
        source = open_source(server.address("/set/a-0.tar"))
    stored(tmp_path / "store")[0].chmod(0)
    with pytest.raises(StorageError, match=r"^The store of shards .* cannot be used: Permission denied\."):
        source.read(0)


def test_a_store_that_somebody_removes_is_made_again(tmp_path: Path, server: FarServer):
    with store_at(str(tmp_path / "store"), 10**6):
        source = open_source(server.address("/set/a-0.tar"))
    expected = source.read(0)
    shutil.rmtree(tmp_path / "store")
    assert source.read(0) == expected


def test_a_folder_in_the_place_of_a_shard_is_told(tmp_path: Path, server: FarServer):
    with store_at(str(tmp_path / "store"), 10**6):
        source = open_source(server.address("/set/a-0.tar"))
    (path,) = stored(tmp_path / "store")
    path.unlink()
    path.mkdir()
    with pytest.raises(StorageError) as error:
        source.read(0)
    assert error.value.message == (
        f"The store of shards {tmp_path / 'store'} cannot be used: it is not a plain file, but a folder, a pipe or a "
        f"device.\nChoose a folder on another disk: --set loader.store=DIR"
    )


def test_on_a_full_disk_old_shards_make_room(tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch):
    files = [remote.look_up(server.address(f"/set/a-{number}.tar")) for number in range(2)]
    kept = store.ShardStore(tmp_path, 10**9)
    kept.open(files[0]).close()
    reserve = os.posix_fallocate

    def one_fits(descriptor: int, offset: int, num_bytes: int) -> None:
        (full_disk if kept.has(files[0]) else reserve)(descriptor, offset, num_bytes)

    monkeypatch.setattr(os, "posix_fallocate", one_fits)
    with kept.open(files[1]) as opened:
        assert opened.read() == server.files["/set/a-1.tar"]
    assert [kept.has(file) for file in files] == [False, True]


def test_a_store_that_was_named_and_cannot_be_used_is_refused(tmp_path: Path, server: FarServer):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError) as error, store_at(str(tmp_path / "file"), 10**6):
        open_source(text_of(server))
    assert error.value.message.splitlines()[::2] == [
        f"Shards cannot be kept in {tmp_path / 'file'}.",
        "Choose a folder on a disk of this machine: --set loader.store=DIR",
    ]


@pytest.mark.parametrize("limit_bytes", [0, 1000, DEFAULT_LIMIT_BYTES])
def test_without_a_store_images_are_fetched_by_themselves_and_a_note_says_so(
    tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch, limit_bytes: int
):
    expected = listing(open_source(text_of(server)))
    if limit_bytes == DEFAULT_LIMIT_BYTES:
        (tmp_path / "file").write_text("in the way")
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    with store_at("", limit_bytes):
        source = open_source(text_of(server))
    server.sent.clear()
    assert listing(source) == expected
    assert server.sent[:2] == [("/set/a-0.tar", 512, 3511), ("/set/a-0.tar", 5120, 8119)]
    (note,) = source.notes
    assert note.endswith("which is slow") or note.endswith("which is slow; choose a folder with --set loader.store=DIR")


CHILD = """
import sys, time
from saccade.core.addresses import http_allowed
from saccade.data.source import open_source
from saccade.data.sources.tar import remote, store
if sys.argv[2] == "slow":
    read_part = store.read_part
    def slowly(file, start, end):
        content = read_part(file, start, end)
        print("one piece", flush=True)
        time.sleep(600)
        return content
    store.PIECE_BYTES = 1000
    store.read_part = slowly
with http_allowed():
    source = open_source(sys.argv[1])
    print(len(source), flush=True)
"""


def child(address: str, how: str) -> "subprocess.Popen[str]":
    return subprocess.Popen([sys.executable, "-c", CHILD, address, how], stdout=subprocess.PIPE, text=True)


def test_a_download_that_was_killed_leaves_nothing_that_counts(tmp_path: Path, server: FarServer):
    address = server.address("/set/a-0.tar")
    process = child(address, "slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "one piece\n"
    assert len(list(default_store(tmp_path).glob("*.part"))) == 1
    process.send_signal(signal.SIGKILL)
    process.wait(PATIENCE_S)
    process.stdout.close()
    assert stored(default_store(tmp_path)) == []
    with store_at(str(default_store(tmp_path)), SHARD_BYTES):  # what was left takes no room
        assert len(listing(open_source(server.address("/set/a-1.tar")))) == 4
    assert list(default_store(tmp_path).glob("*.part")) == []
    assert len(listing(open_source(address))) == 4


def test_two_processes_fetch_a_shard_once(tmp_path: Path, server: FarServer):
    server.pause_s = 0.2
    processes = [child(text_of(server), "plain") for _ in range(2)]
    assert [process.communicate(timeout=PATIENCE_S)[0] for process in processes] == ["20\n", "20\n"]
    assert sorted(server.sent) == [(path, 0, SHARD_BYTES - 1) for path in sorted(server.files)]


def test_a_process_that_stops_in_its_download_is_not_waited_for_without_end(
    tmp_path: Path, server: FarServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(store, "PATIENCE_S", 0.3)
    address = server.address("/set/a-0.tar")
    process = child(address, "slow")
    assert process.stdout is not None
    assert process.stdout.readline() == "one piece\n"
    try:
        assert refusal(address) == (
            f"{address} waits for another process that fetches shards into {default_store(tmp_path)}, and has stopped "
            f"for 0 s.\nEnd that process, or choose another folder: --set loader.store=DIR"
        )
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()


def test_the_next_shards_are_fetched_before_they_are_read(tmp_path: Path, server: FarServer):
    with store_at(str(tmp_path / "store"), 10**6):
        source = open_source(text_of(server))
    for path in stored(tmp_path / "store"):
        path.unlink()
    server.sent.clear()
    source.expect(np.array([16, 17, 0, 1, 8]))  # of the shards 4, 0 and 2
    source.read(16)
    deadline_s = time.monotonic() + PATIENCE_S
    while len(server.sent) < 3 and time.monotonic() < deadline_s:
        time.sleep(0.01)
    assert {path for path, _, _ in server.sent} == {"/set/a-4.tar", "/set/a-0.tar", "/set/a-2.tar"}


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits as three shards."""
    folder = tmp_path_factory.mktemp("digits")
    write_shards(open_source("digits"), str(folder), ShardSettings(images_per_shard=700))
    return folder


def put_shards(server: FarServer, folder: Path) -> str:
    """Lay shards and their indices onto the server; returns their address."""
    for path in folder.iterdir():
        server.files[f"/digits/{path.name}"] = path.read_bytes()
    return server.address("/digits/images-{000000..000002}.tar")


def test_an_index_beside_a_shard_spares_the_walk(digits: Path, server: FarServer):
    text = put_shards(server, digits)
    source = open_source(text)
    assert {path for path, _, _ in server.sent} == {f"/digits/images-00000{n}.tar.index.json" for n in range(3)}
    expected = open_source(str(digits))
    assert (source.digest, source.read(700)) == (expected.digest, expected.read(700))


@pytest.mark.parametrize("how", ["other bytes", "other size", "no JSON", "a member outside", "a name above"])
def test_an_index_of_another_shard_gives_no_wrong_image(digits: Path, server: FarServer, how: str):
    text = put_shards(server, digits)
    index = json.loads(server.files["/digits/images-000001.tar.index.json"])
    if how == "other bytes":
        content = bytearray(server.files["/digits/images-000001.tar"])
        content[600] ^= 1
        server.files["/digits/images-000001.tar"] = bytes(content)
    elif how == "other size":
        index["num_bytes"] += 512
    elif how == "a member outside":
        index["members"][-1][1] = index["num_bytes"]
    elif how == "a name above":
        index["members"][0][0] = "../1.png"
    changed = b"no JSON" if how == "no JSON" else json.dumps(index).encode()
    server.files["/digits/images-000001.tar.index.json"] = changed
    source = open_source(text)
    if how == "other bytes":
        with pytest.raises(DataError, match=r"images-000001\.tar has other bytes than the index beside it says"):
            source.read(700)
    else:
        assert "/digits/images-000001.tar" in {path for path, _, _ in server.sent}
        assert listing(source) == listing(open_source(str(digits)))


def test_training_by_blocks_reads_every_image_with_room_for_some_shards_only(tmp_path: Path, server: FarServer):
    """24 shards where 20 fit: an epoch is that of the same shards on disk, to the bit."""
    (tmp_path / "here").mkdir()
    for number in range(24):
        content = io.BytesIO()
        Image.fromarray(np.full((8, 8), 10 * number, np.uint8)).save(content, "PNG")
        files = {}
        for n in range(4):
            files |= {f"{n}.png": content.getvalue(), f"{n}.cls": b"%d" % (n % 2)}
        server.files[f"/blocks/{number:02}.tar"] = tar_of(files)
        (tmp_path / "here" / f"{number:02}.tar").write_bytes(tar_of(files))
    limit = 20 * len(server.files["/blocks/00.tar"])
    with store_at(str(tmp_path / "store"), limit):
        far = open_source(server.address("/blocks/{00..23}.tar"))
    config = LoaderConfig(batch_size=8, memory_limit_bytes=0, store_limit_bytes=limit, threads=2)
    check_order(config, far)
    assert takes_blocks(config, far)
    preprocessing = Preprocessing(channels="grey", input_height_px=8, input_width_px=8, mean=(0.3,), std=(0.3,))
    epochs = []
    for source, order in ((far, "auto"), (open_source(str(tmp_path / "here")), "blocks")):
        asked = config.model_copy(update={"order": order})
        index_N = np.arange(len(source))
        with build_loader(source, index_N, preprocessing, get_policy("none").config, asked, seed=1) as loader:
            epochs.append(np.concatenate([batch.image_BCHW.numpy()[:, 0, 0, 0] for batch in loader.epoch(1)]))
    assert np.bincount(epochs[0])[::10].tolist() == [4] * 24
    np.testing.assert_array_equal(epochs[0], epochs[1])
    assert sum(path.stat().st_size for path in stored(tmp_path / "store")) <= limit


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (
            {"order": "full"},
            "{larger}, and loader.order=full needs all of them at any time.\n"
            "Allow more, as with --set loader.store_limit_bytes=102400, or leave loader.order=full out.",
        ),
        (
            {"sampling": "balanced"},
            "{larger}, and loader.sampling=balanced needs all of them at any time.\n"
            "Allow more, as with --set loader.store_limit_bytes=102400, or leave loader.sampling=balanced out.",
        ),
        (
            {},
            "{larger}; to go through them by blocks, 5 shards must fit.\n"
            "Allow more, as with --set loader.store_limit_bytes=102400, or write smaller shards: 'saccade shard'.",
        ),
    ],
)
def test_an_order_that_the_store_has_no_room_for_is_refused(server: FarServer, asked: dict, message: str):
    source, text = open_source(text_of(server)), text_of(server)
    larger = f"The shards of {text} have 102,400 bytes, more than loader.store_limit_bytes, 60,000"
    with pytest.raises(ConfigError) as error:
        check_order(LoaderConfig(store_limit_bytes=60_000, **asked), source)
    assert error.value.message == message.format(larger=larger)


def test_blocks_are_for_shards():
    with pytest.raises(ConfigError, match=r"^loader\.order=blocks is for tar shards, and digits has none\."):
        check_order(LoaderConfig(order="blocks"), open_source("digits"))
