"""`saccade shard` from the command line: what it prints, its JSON object, what it refuses."""

import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

KEYS = ["source", "out", "num_images", "num_bytes", "num_found", "splits", "shards", "left_out"]


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


def test_an_image_that_cannot_be_decoded_never_lies_in_a_shard(saccade: Callable, tmp_path: Path):
    source, out = tmp_path / "photos", tmp_path / "out"
    for name in ("cat", "dog"):
        (source / name).mkdir(parents=True)
        for number in range(3):
            pixels = np.full((4, 4), 40 * number + 20 * (name == "dog"), np.uint8)
            Image.fromarray(pixels).save(source / name / f"{number}.png")
    bad = source / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:50])
    finished = saccade("shard", str(source), "--out", str(out))
    reason = "the image data end too early: the file is truncated"
    assert (finished.status, finished.output) == (1, "")
    assert finished.errors.splitlines()[-3:] == [
        f"error: {source}: 1 of 6 images cannot be decoded.",
        f"cat/1.png: {reason}.",
        "Repair or remove them; train, transfer, evaluate and shard leave them out with --on-bad-image skip.",
    ]
    assert not out.exists()
    finished = saccade("shard", str(source), "--out", str(out), "--on-bad-image", "skip")
    assert finished.status == 0
    assert finished.output.splitlines()[0].startswith("5 images in 1 shard: ")
    assert finished.output.splitlines()[2] == f"1 image could not be decoded and was left out: cat/1.png: {reason}."
    again = json.loads(saccade("shard", str(source), "--out", str(out), "--on-bad-image", "skip", "--json").output)
    assert (again["num_images"], again["num_found"]) == (5, 1)
    assert again["left_out"] == [{"file": "cat/1.png", "reason": f"{reason}."}]
    assert json.loads((out / "plan.json").read_text())["left_out"] == ["cat/1.png"]
    with tarfile.open(out / "images-000000.tar") as archive:
        assert sum(name.endswith(".png") for name in archive.getnames()) == 5
    assert saccade("shard", "digits", "--out", "x", "--on-bad-image", "drop").errors == (
        "error: --on-bad-image must be error or skip, got 'drop'.\n"
    )
