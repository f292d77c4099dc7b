"""Shards in a bucket, by s3fs from a server of moto on this machine: read, written, and every refusal by name."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.data.sources.tar.test_store import SHARD_BYTES, listing, tar_bytes
from tests.far_server import FarServer, far_server

from saccade.core.errors import DataError, UsageError
from saccade.data.sharding.write import ShardSettings, write_shards
from saccade.data.source import open_source
from saccade.data.sources.tar import remote, store
from saccade.data.store_place import store_at

s3fs = pytest.importorskip("s3fs", reason="pip install 'saccade-learn[s3]' brings s3fs")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of aiobotocore, moto and werkzeug
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # of the sockets that aiobotocore keeps
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
BUCKET = "s3://photos/set"


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in [name for name in os.environ if name.startswith(("AWS_", "FSSPEC_"))]:
        monkeypatch.delenv(name)
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setattr(remote, "PAUSES_S", (0.0, 0.0, 0.0))
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    s3fs.S3FileSystem.clear_instance_cache()
    yield
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture(scope="module")
def moto_host() -> Iterator[str]:
    moto = pytest.importorskip("moto.server", reason="'pip install moto[server]' brings the S3 server of this test")
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        yield ":".join(str(part) for part in server.get_host_and_port())
    finally:
        server.stop()


@pytest.fixture
def bucket(moto_host: str, monkeypatch: pytest.MonkeyPatch) -> "s3fs.S3FileSystem":
    """The files of an empty bucket, found as a person tells it: by the environment."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{moto_host}")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    files = s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)
    if files.exists("photos"):
        files.rm("photos", recursive=True)
    files.mkdir("photos")
    return files


def fill(bucket: "s3fs.S3FileSystem", num: int = 3) -> None:
    for number in range(num):
        bucket.pipe_file(f"photos/set/a-{number}.tar", tar_bytes(number))


def refusal(text: str) -> str:
    with pytest.raises(DataError) as error:
        open_source(text)
    assert len(error.value.message.splitlines()) <= 4
    return error.value.message


@pytest.mark.parametrize("text", [f"{BUCKET}/a-{{0..2}}.tar", f"{BUCKET}/*.tar", f"{BUCKET}/"])
def test_shards_of_a_bucket_give_the_images_of_shards_on_disk(tmp_path: Path, bucket: "s3fs.S3FileSystem", text: str):
    fill(bucket)
    here = tmp_path / "here"
    here.mkdir()
    for number in range(3):
        (here / f"a-{number}.tar").write_bytes(tar_bytes(number))
    source, expected = open_source(text), open_source(str(here))
    assert (source.digest, listing(source)) == (expected.digest, listing(expected))
    kept = tmp_path / "cache" / "saccade" / "store"
    assert sorted(path.stat().st_size for path in kept.glob("*.tar")) == [SHARD_BYTES] * 3


def test_parts_of_a_bucket_are_read_where_there_is_no_store(bucket: "s3fs.S3FileSystem"):
    fill(bucket)
    with store_at("", 0):
        source = open_source(f"{BUCKET}/")
    assert listing(source) == listing(open_source(f"{BUCKET}/"))


def test_an_object_that_is_replaced_is_noticed_within_a_process(tmp_path: Path, bucket: "s3fs.S3FileSystem"):
    fill(bucket, 1)
    source = open_source(f"{BUCKET}/a-0.tar")
    for path in store.default_folder().glob("*.tar"):
        path.unlink()
    bucket.pipe_file("photos/set/a-0.tar", tar_bytes(77))
    with pytest.raises(DataError, match=r"^a-0\.tar/0\.jpg: a-0\.tar has changed since it was opened\. Start again\.$"):
        source.read(0)
    assert listing(open_source(f"{BUCKET}/a-0.tar"))[0][2] == tar_bytes(77)[512:3512]


def test_an_object_or_a_bucket_that_is_not_there_is_named_with_its_host(bucket: "s3fs.S3FileSystem", moto_host: str):
    assert refusal(f"{BUCKET}/b.tar") == (
        f"s3://photos/set/b.tar cannot be read: {moto_host} has no such file (404).\nCheck its name."
    )
    assert refusal("s3://nobodys/b.tar") == (
        f"s3://nobodys/b.tar cannot be read: {moto_host} has no such file (404).\nCheck its name."
    )


def test_missing_credentials_are_told(bucket: "s3fs.S3FileSystem", moto_host: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    assert refusal(f"{BUCKET}/a-0.tar") == (
        f"s3://photos/set/a-0.tar cannot be read: there are no credentials for {moto_host}.\n"
        f"Log in, or say that it is public (docs/sources.md)."
    )


def test_a_public_bucket_needs_no_credentials(
    bucket: "s3fs.S3FileSystem", moto_host: str, monkeypatch: pytest.MonkeyPatch
):
    bucket.pipe_file("photos/set/a-0.tar", tar_bytes(0), ACL="public-read")
    bucket.pipe_file("photos/set/a-1.tar", tar_bytes(1))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.setitem(remote.fsspec_settings(), "s3", {"anon": True})
    assert len(open_source(f"{BUCKET}/a-0.tar")) == 4
    assert refusal(f"{BUCKET}/a-1.tar") == (
        f"s3://photos/set/a-1.tar cannot be read: {moto_host} refuses it (403).\n"
        f"Use credentials by which it may be read (docs/sources.md)."
    )


def test_an_endpoint_where_nobody_listens_is_named(monkeypatch: pytest.MonkeyPatch):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{taken.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        first, second = refusal(f"{BUCKET}/a-0.tar").splitlines()
    assert first.startswith(f"s3://photos/set/a-0.tar cannot be read: {host} cannot be reached (")
    assert second == "Check AWS_ENDPOINT_URL and the network."


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (403, "refuses it (403)"),
        (503, "is out of order or overloaded (503), also when asked again"),
        (500, "is out of order or overloaded (500), also when asked again"),
    ],
)
def test_an_endpoint_that_refuses_is_named(monkeypatch: pytest.MonkeyPatch, status: int, reason: str):
    with far_server() as server:
        server.always = status
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        message = refusal(f"{BUCKET}/a-0.tar")
        assert message.splitlines()[0] == f"s3://photos/set/a-0.tar cannot be read: {server.host} {reason}."


@pytest.fixture
def far(monkeypatch: pytest.MonkeyPatch) -> Iterator[FarServer]:
    """A server that answers as S3 does where it is asked for objects, and misbehaves as it is told."""
    with far_server() as server:
        for number in range(3):
            server.files[f"/photos/set/a-{number}.tar"] = tar_bytes(number)
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{server.host}")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "somebody")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        yield server


def test_objects_are_fetched_once_each(far: FarServer):
    source = open_source(f"{BUCKET}/a-{{0..2}}.tar")
    assert [len(content) for _, _, content in listing(source)] == [3000] * 12
    assert sorted(far.sent) == [(f"/photos/set/a-{number}.tar", 0, SHARD_BYTES - 1) for number in range(3)]


def test_an_object_whose_answer_is_cut_once_is_asked_for_again(far: FarServer):
    far.faults["/photos/set/a-0.tar"] = ["cut", ""]
    assert len(open_source(f"{BUCKET}/a-0.tar")) == 4


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("cut", " ends the connection in the middle ("),
        ("silent", " is too slow: "),
        ("trickle", " is too slow: less than 100 kB a second comes."),
        (403, " refuses it (403)."),
        (503, " is out of order or overloaded (503), also when asked again."),
    ],
)
def test_an_object_that_does_not_come_is_named_with_its_host(
    far: FarServer, monkeypatch: pytest.MonkeyPatch, fault: int | str, reason: str
):
    monkeypatch.setattr(remote, "S3_PATIENCE", remote.S3_PATIENCE | {"read_timeout": 0.2})
    if fault == "trickle":
        monkeypatch.setattr(remote, "time_limit_s", lambda num_bytes: 0.4)
    far.faults["/photos/set/a-0.tar"] = [fault]
    message = refusal(f"{BUCKET}/a-0.tar")
    assert message.startswith(f"s3://photos/set/a-0.tar cannot be read: {far.host}{reason}"), message
    assert not list(store.default_folder().glob("*.[tp]ar*"))


def test_a_missing_package_is_named_with_what_brings_it(monkeypatch: pytest.MonkeyPatch):
    from fsspec.registry import _registry

    _registry.pop("s3", None)
    monkeypatch.setitem(sys.modules, "s3fs", None)
    assert refusal(f"{BUCKET}/a-0.tar").splitlines()[1] == "Install it: pip install 'saccade-learn[s3]'"


def test_shards_are_written_to_a_bucket_and_read_from_it(tmp_path: Path, bucket: "s3fs.S3FileSystem"):
    source = open_source("digits")
    settings = ShardSettings(images_per_shard=700)
    written = write_shards(source, f"{BUCKET}/digits", settings)
    here = write_shards(source, str(tmp_path / "digits"), settings)
    assert [shard["sha256"] for shard in written.shards] == [shard["sha256"] for shard in here.shards]
    assert open_source(f"{BUCKET}/digits/").digest == open_source(str(tmp_path / "digits")).digest
    assert write_shards(source, f"{BUCKET}/digits", settings).num_found == 3


def test_a_bucket_that_cannot_be_written_is_named(bucket: "s3fs.S3FileSystem", moto_host: str):
    with pytest.raises(DataError) as error:
        write_shards(open_source("digits"), "s3://nobodys/digits", ShardSettings())
    assert error.value.message == (
        f"s3://nobodys/digits/plan.json cannot be written: {moto_host} has no such place (404).\nCheck its name."
    )


def test_a_web_server_takes_no_shards():
    with pytest.raises(UsageError, match=r"^'https://example.org/set' is a web server, which takes no files\."):
        write_shards(open_source("digits"), "https://example.org/set", ShardSettings())
