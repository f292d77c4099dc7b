"""Names from outside: what is opened, what is refused in which words, and that nothing is built or walked for it."""

import os
from pathlib import Path

import pytest

from saccade.core.addresses import check_address, http_allowed, hub_name, is_plain_path, shown
from saccade.core.errors import DataError, WeightsError
from saccade.data.source import open_source
from saccade.data.sources.tar.names import expand_braces, find_shards
from saccade.weights.public import find_weights

OPENED = "Saccade opens files and folders on this machine, hub:OWNER/NAME, and https://, s3://, gs:// and az://."
ODD = (
    "holds spaces, backslashes, brackets or characters that cannot be seen; an address has none.\n"
    "Type it again, with %20 for a space."
)


def refusal(text: str) -> str:
    with pytest.raises(DataError) as error:
        open_source(text)
    message = error.value.message
    assert 1 <= len(message.splitlines()) <= 4
    assert message.replace("\n", "").isprintable()
    return message


@pytest.mark.parametrize("text", ["https://h/a.tar", "s3://b/a-{0..3}.tar", "gs://b/a-*.tar", "az://c/d/", "s3://b/"])
def test_an_address_on_the_list_is_one(text: str):
    assert check_address(text) == text.partition("://")[0]


@pytest.mark.parametrize(
    ("protocol", "meant"),
    [
        *[("ftp", ""), ("sftp", ""), ("memory", ""), ("reference", ""), ("filecache", ""), ("simplecache", "")],
        *[("tar", ""), ("zip", ""), ("jar", ""), ("data", ""), ("git", ""), ("github", ""), ("dir", ""), ("hdfs", "")],
        *[("smb", ""), ("webhdfs", ""), ("cached", ""), ("blockcache", ""), ("local", ""), ("generic", ""), ("", "")],
        *[("file", " Give the path alone, without file://."), ("HTTPS", " Did you mean 'https://'?")],
        *[("S3", " Did you mean 's3://'?"), ("gcs", " Did you mean 'gs://'?"), ("abfs", " Did you mean 'az://'?")],
        *[
            (" s3", " Did you mean 's3://'?"),
            ("s3 ", " Did you mean 's3://'?"),
            ("https+file", " Did you mean 'https'?"),
        ],
        *[("Reference", ""), ("MEMORY", ""), ("\N{FULLWIDTH LATIN SMALL LETTER S}3", " Did you mean 's3'?")],
    ],
)
def test_no_other_protocol_is_opened(protocol: str, meant: str):
    message = refusal(f"{protocol}://host/a.tar")
    known = f" Did you mean '{meant}'?" if meant and not meant.startswith(" ") else meant
    first, second = message.splitlines()
    assert first.startswith(f"'{protocol}://host/a.tar' is not an address that Saccade opens.")
    assert second == OPENED
    if known:
        assert first == f"'{protocol}://host/a.tar' is not an address that Saccade opens.{known}"


@pytest.mark.parametrize(
    "text",
    [
        "reference::file:///tmp/x.tar.json",
        "tar://x.tar::file:///etc/hosts",
        "filecache::https://host/a.tar",
        "simplecache::s3://b/a.tar",
        "s3::https://host/a.tar",
        "https://host/a.tar::file:///etc/hosts",
        "https://https://host/a.tar",
        "s3://b/file://etc/a.tar",
        "https://[::1]/a.tar",
    ],
)
def test_addresses_inside_addresses_are_never_opened(text: str):
    assert refusal(text) == (
        f"'{text}' is an address inside another, which is never opened.\n{OPENED}\n"
        "Give the address of the tar files themselves."
    )


@pytest.mark.parametrize(
    "odd", [" ", "\t", "\n", "\r\n", "\x00", "\x1b[31m", "\u202e", "\u00a0", "\u200b", "\\", "[0-9]"]
)
def test_an_address_is_plain_text(odd: str):
    text = f"s3://bucket/a{odd}b.tar"
    assert refusal(text) == f"'{shown(text)}' {ODD}"


def test_what_an_address_carries_is_refused_and_not_repeated():
    for secret in ("https://anna:hunter2@host/a.tar", "s3://AKIA:hunter2@bucket/a.tar", "https://hunter2@host/a.tar"):
        message = refusal(secret)
        assert "hunter2" not in message
        assert "carries a user name or a password, which the run would keep." in message
    for secret in ("https://host/a.tar?token=hunter2", "s3://b/a.tar?versionId=hunter2", "https://host/a.tar#hunter2"):
        message = refusal(secret)
        assert "hunter2" not in message
        assert "carries options after ? or #" in message
    assert "hunter2" not in refusal("ftp://anna:hunter2@host/a.tar")
    assert "hunter2" not in refusal("reference::ftp://anna:hunter2@host/a.tar?hunter2")


def test_http_is_opened_only_where_it_is_allowed():
    assert refusal("http://127.0.0.1:9/a.tar") == (
        "'http://127.0.0.1:9/a.tar' is not encrypted: anybody on the way can change the images.\n"
        "Give its https:// address, or add --allow-http if you trust the way."
    )
    with http_allowed():
        assert check_address("http://host/a.tar") == "http"
        with http_allowed(False), pytest.raises(DataError, match="is not encrypted"):
            check_address("http://host/a.tar")
        with pytest.raises(DataError, match="is not an address that Saccade opens"):
            check_address("ftp://host/a.tar")
    with pytest.raises(DataError, match="is not encrypted"):
        check_address("http://host/a.tar")


@pytest.mark.parametrize(
    "text", ["s3://", "https:///a.tar", "s3://*/a.tar", "s3://{a,b}/c.tar", "https://{a,b}.host/c.tar"]
)
def test_an_address_names_a_host(text: str):
    assert refusal(text if text.endswith(".tar") else f"{text}/").splitlines()[0].endswith("names no host or bucket.")


def test_an_address_without_tar_files_is_told_so():
    assert refusal("https://host/photos").splitlines() == [
        "'https://host/photos' names no tar file, and Saccade reads nothing else from an address.",
        "Give the .tar files, or a folder of them with / at its end; or download the set, and give its folder.",
    ]


def test_weights_come_from_no_address():
    for text in ("https://host/a.safetensors", "reference::file:///x.safetensors", "ftp://host/a.safetensors"):
        if "://" not in text:
            continue
        with pytest.raises(WeightsError) as error:
            find_weights(text, "resnet18")
        assert error.value.message == (
            f"'{text}' is an address; weights are a file on this machine, or on the hub.\n"
            "Download the .safetensors file and give it, or write hub:OWNER/NAME."
        )


@pytest.mark.parametrize(
    "text",
    ["hub:../..", "hub:a/..", "hub:a/b@..", "hub:a/b@x/../y", "hub:a/b:../../etc", "hub:a/b:x/../../y", "hub:a/b:."]
    + [
        "hub:a",
        "hub:/a/b",
        "hub:a/b c",
        "hub:a/b\n",
        "hub:a/b::x",
        "hub:https://h/a",
        "hf://../..",
        "hub:" + "a/" * 9999,
    ],
)
def test_a_name_on_the_hub_leads_nowhere_else(text: str):
    assert hub_name(text) is None
    assert refusal(text).splitlines()[0].endswith("is not an address of a data set on the hub.")


def test_names_on_the_hub():
    for text in ("hub:a/b@v1.0:data/x", "hf://datasets/a/b@v1.0:data/x", "hf://a/b@v1.0:data/x"):
        found = hub_name(text)
        assert found is not None
        assert (found.name, found.revision, found.folder) == ("a/b", "v1.0", "data/x")


@pytest.mark.parametrize(
    ("pattern", "count"),
    [
        ("{0..99999}{0..99999}.tar", "10,000,000,000"),
        ("{0..99999}{a,b}.tar", "200,000"),
        ("{a,b}" * 17 + ".tar", "131,072"),
        ("{a,b}" * 20_000 + ".tar", "over 1,000,000,000,000"),
        ("{0..999999999999}" * 3 + ".tar", "over 1,000,000,000,000"),
        ("s3://b/{0..99999}{0..99999}.tar", "10,000,000,000"),
        ("{" + "," * 100_000 + "}.tar", "100,001"),
    ],
)
def test_braces_are_counted_before_anything_is_built(pattern: str, count: str):
    with pytest.raises(DataError) as error:
        find_shards(pattern)
    assert error.value.message == (
        f"'{shown(pattern)}' stands for {count} names; at most 100,000 are taken.\n"
        "Give a folder of the files, or fewer of them."
    )


def test_braces_inside_braces_and_long_names_are_refused():
    assert refusal("{a,{0..99999}}.tar") == ("'{a,{0..99999}}.tar' has braces inside braces.\nWrite one list: {a,b,c}.")
    long = "x" * 10_000 + "{0..99999}.tar"
    with pytest.raises(DataError, match=r"stands for 100,000 names of 10,014 characters, which is too much text\."):
        find_shards(long)
    assert expand_braces("a{b.tar") == ["a{b.tar"]
    assert len(expand_braces("{0..999}{0..99}.tar")) == 100_000


@pytest.fixture
def looked_at(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The folders that are listed from here on."""
    listed: list[str] = []
    scandir = os.scandir

    def listing(path: object = ".") -> object:
        listed.append(os.fsdecode(os.fspath(path)))  # type: ignore[call-overload]
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", listing)
    return listed


@pytest.mark.parametrize("text", ["/", "//", "/.", "/tmp/..", "/proc", "/proc/self/root", "/sys", "/sys/class", "/dev"])
def test_the_whole_disk_is_no_source(text: str, looked_at: list[str]):
    if not Path(text).is_dir():
        pytest.skip(f"no {text} here")
    first, second = refusal(text).splitlines()
    assert first.startswith(f"'{text}' is ")
    assert first.endswith(
        ("the whole disk, not a set of images.", "a folder of the system itself, not a set of images.")
    )
    assert second == "Give the folder with the images."
    assert looked_at == []


@pytest.mark.parametrize("text", ["/**/*.tar", "/*/*/*.tar", "/**.tar", "/*/*/*/x.tar", "**/*.tar"])
def test_no_pattern_walks_the_disk(text: str, looked_at: list[str]):
    assert refusal(text) == (
        f"'{text}' looks through folders in folders.\n"
        "Write * in at most 2 parts of the path, and never **, such as shards/*/train-*.tar."
    )
    assert looked_at == []


@pytest.mark.parametrize("text", ["/*/*", "/**", "*", "/*"])
def test_a_pattern_of_anything_is_no_source(text: str, looked_at: list[str]):
    assert refusal(text).startswith(f"There is no file or folder '{text}'")
    assert looked_at == []


def test_a_pattern_looks_at_no_more_names_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(20):
        (tmp_path / f"{number}.tar").write_bytes(b"")
    assert len(find_shards(f"{tmp_path}/1*.tar")) == 11
    monkeypatch.setattr("saccade.data.sources.tar.names.MAX_LOOKED_AT", 19)
    with pytest.raises(DataError, match=r"^'.*1\*\.tar' looks through more than 19 names\.\nGive fewer folders\.$"):
        find_shards(f"{tmp_path}/1*.tar")


def test_patterns_here_find_what_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name in ("train/a-0.tar", "train/a-1.tar", "test/a-0.tar", "test/b.txt", "a-0.tar"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert [shard.path for shard in find_shards("*/a-*.tar")] == ["test/a-0.tar", "train/a-0.tar", "train/a-1.tar"]
    assert [shard.path for shard in find_shards("t*/a-0.tar")] == ["test/a-0.tar", "train/a-0.tar"]
    assert [shard.name for shard in find_shards(f"{tmp_path}/*.tar")] == ["a-0.tar"]


def test_a_plain_path_is_no_pattern_and_no_address():
    assert all(is_plain_path(text) for text in ("photos", "/data/photos", "a.tar"))
    for text in ("", "hub:a/b", "hf://a/b", "s3://b/a.tar", "a-*.tar", "a-{0..3}.tar", "a\0b"):
        assert not is_plain_path(text)


def test_names_from_a_bucket_stay_in_it(monkeypatch: pytest.MonkeyPatch):
    answers: list[str] = []

    class Lying:
        def glob(self, path: str) -> list[str]:
            return answers

    monkeypatch.setattr("saccade.data.sources.tar.names.remote", lambda url: (Lying(), "/b/x/*.tar"))
    for answer in (
        "other/x/a.tar",
        "b/a.tar",
        "reference::file:///etc/a.tar",
        "b/x/a.tar?versionId=1",
        "b/x/a\x1b.tar",
    ):
        answers[:] = [answer]
        with pytest.raises(DataError):
            find_shards("s3://b/x/*.tar")
    answers[:] = ["b/x/a.tar"]
    assert [shard.path for shard in find_shards("s3://b/x/*.tar")] == ["s3://b/x/a.tar"]
