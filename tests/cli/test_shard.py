"""`saccade shard` from the command line: what it prints, its JSON object, what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

KEYS = ["source", "out", "num_images", "num_bytes", "num_found", "splits", "shards"]


def test_shards_are_written_and_the_same_command_finds_them(saccade: Callable, tmp_path: Path):
    command = ["shard", "digits", "--out", str(tmp_path / "out"), "--images-per-shard", "1000"]
    first = saccade(*command)
    assert first.status == 0
    assert first.output == (
        f"1,797 images in 2 shards: 5.5 MB in {tmp_path / 'out'}.\nEvery shard was read back and compared.\n"
    )
    again = saccade(*command, "--json")
    assert again.status == 0
    answer = json.loads(again.output)
    assert list(answer) == KEYS
    assert (answer["num_images"], answer["num_found"], answer["splits"]) == (1797, 2, {"images": 1797})
    assert [list(shard) for shard in answer["shards"]] == [["name", "num_bytes", "num_images", "sha256"]] * 2
    assert sum(path.stat().st_size for path in (tmp_path / "out").glob("*.tar")) == answer["num_bytes"]
    other = saccade("shard", "digits", "--out", str(tmp_path / "out"))
    assert (other.status, other.output) == (2, "")
    assert other.errors.splitlines()[-2:] == [
        f"error: {tmp_path / 'out'} holds shards of another source, or with other settings.",
        "Choose another --out.",
    ]


@pytest.mark.parametrize(
    ("typed", "status", "message"),
    [
        (
            ["digits", "--out", "x", "--images-per-shard", "5", "--shard-bytes", "5"],
            2,
            "error: --images-per-shard and --shard-bytes say the same in two ways.\nLeave one of them out.\n",
        ),
        (
            ["digits", "--out", "https://example.org/set"],
            2,
            "error: 'https://example.org/set' is a web server, which takes no files.\n"
            "Give a folder, or s3://bucket/folder.\n",
        ),
        (
            ["digits", "--out", "ftp://example.org/set"],
            1,
            "error: 'ftp://example.org/set' is not an address that Saccade opens. Did you mean 'http'?\n"
            "Saccade opens files and folders on this machine, hub:OWNER/NAME, and https://, s3://, gs:// and az://.\n",
        ),
    ],
)
def test_what_cannot_be_written_is_refused(saccade: Callable, typed: list[str], status: int, message: str):
    finished = saccade("shard", *typed)
    assert (finished.status, finished.output) == (status, "")
    assert finished.errors.endswith(message)


@pytest.mark.parametrize("inside", ["", "cat", "new/folder"])
def test_shards_never_lie_among_the_images_they_are_made_of(saccade: Callable, tmp_path: Path, inside: str):
    source = tmp_path / "my photos"
    (source / "cat").mkdir(parents=True)
    finished = saccade("shard", str(source), "--out", str(source / inside))
    assert (finished.status, finished.output) == (2, "")
    assert finished.errors == (
        f"error: The shards {source / inside} would lie among the images of {source}, and change what it is.\n"
        f"Choose a place elsewhere: --out '{source}-shards'\n"
    )
    assert [path.name for path in source.rglob("*")] == ["cat"]
