"""A run directory and a SOURCE from somebody else: nothing of them runs a program, opens a connection, fills the
memory or reads other people's files; with the fsspec of today, and with those that ran what a template said."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.processes import PATIENCE_S, run_python

from saccade import api
from saccade.core import lock
from saccade.core.errors import StorageError
from saccade.train.run_directory import RunFolder

WATCHED = Path(__file__).with_name("watched.py")
OLD_VERSIONS = ("2024.10.0", "2025.12.0")  # their templates run code; SACCADE_OLD_FSSPEC has a folder of each
NEVER_OPENED = [
    "reference::file://{folder}/x.tar.json",
    "reference::{folder}/x.tar.json",
    "reference://x.tar::file://{folder}/x.tar.json",
    "tar://x.tar::file:///etc/hosts",
    "file:///etc/hosts.tar",
    "local:///etc/hosts.tar",
    "ftp://127.0.0.1:9/x.tar",
    "http://127.0.0.1:9/x.tar",
    "filecache::https://127.0.0.1:9/x.tar",
    "simplecache::ftp://127.0.0.1:9/x.tar",
    "https://127.0.0.1:9/x.tar::ftp://127.0.0.1:9/x.tar",
    "memory://x.tar",
    "github://a:b@main/x.tar",
    "{{0..99999}}{{0..99999}}.tar",
    "{{0..99999}}{{0..99999}}{{0..99999}}.tar",
    "/",
    "/**/*.tar",
    "/*/*/*.tar",
    "hub:../../etc",
]
OPENED_WHEN_NAMED = [
    "https://127.0.0.1:9/x.tar",
    "https://127.0.0.1:9/x-{{0..3}}.tar",
    "s3://bucket/x.tar",
    "gs://bucket/x-*.tar",
    "hub:owner/name",
    "hf://datasets/owner/name",
    "/etc/*.tar",
]


def with_values(run: Path, place: Path, old: str, new: str) -> Path:
    """A copy of `run` at `place`, in whose configuration a line is another one."""
    subprocess.run(["cp", "-r", run, place], check=True)
    config = place / "config.toml"
    assert old in config.read_text()
    config.write_text(config.read_text().replace(old, new))
    RunFolder(path=place).load_config()
    return place


def watched(folder: Path, commands: list[list[str]], libraries: str = "") -> dict[str, Any]:
    orders = {"commands": commands, "libraries": libraries, "forbidden": ["/etc/hosts", "/etc/hosts.tar"]}
    (folder / "orders.json").write_text(json.dumps(orders))
    environment = {key: value for key, value in os.environ.items() if key != "HF_HUB_OFFLINE"}
    environment |= {"XDG_CACHE_HOME": str(folder / "cache"), "HF_HOME": str(folder / "hub"), "PYTHONWARNINGS": "ignore"}
    command = [WATCHED, folder / "orders.json"]
    if libraries:  # they must stand in front of those that a ready Python has imported
        python = [sys.executable, *command]
        done = subprocess.run(python, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE_S)
    else:
        done = run_python(command, folder, environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def payload(folder: Path) -> Path:
    """A reference file whose template makes a file, where templates run code; the file that would be made."""
    mark = folder / "it-ran"
    code = "{{ cycler.__init__.__globals__.os.system('touch " + str(mark) + "') }}"
    entry = {"key": code, "url": "x", "offset": "0", "length": "1", "dimensions": {"i": {"stop": 1}}}
    (folder / "x.tar.json").write_text(json.dumps({"version": 1, "templates": {}, "gen": [entry], "refs": {}}))
    return mark


def check(finished: dict[str, Any], message: str = "") -> None:
    assert finished["tried"] == [], finished
    assert finished["status"] in (1, 2), finished
    assert finished["errors"].count("error: ") == 1, finished
    told = finished["errors"].partition("error: ")[2].rstrip("\n").splitlines()
    assert 1 <= len(told) <= 4, finished
    assert message in finished["errors"]


def more_of(folder: Path) -> str:
    """A folder with an image of a class that the run does not know."""
    place = folder / "eleven"
    place.mkdir(exist_ok=True)
    (place / "1.png").write_bytes((Path(__file__).parents[2] / "docs" / "images" / "report.png").read_bytes())
    return str(place)


def libraries_of(version: str) -> str:
    if version == "installed":
        return ""
    place = Path(os.environ.get("SACCADE_OLD_FSSPEC", "nowhere")) / version
    if not place.is_dir():
        pytest.skip(f"fsspec {version} is not here: scripts/test-oldest fetches it and sets SACCADE_OLD_FSSPEC")
    return str(place)


@pytest.mark.parametrize("version", ["installed", *OLD_VERSIONS])
def test_a_source_of_a_stranger_runs_nothing_and_connects_nowhere(run: Path, tmp_path: Path, version: str):
    libraries = libraries_of(version)
    mark = payload(tmp_path)
    photo = tmp_path / "photo.png"
    photo.write_bytes(b"no picture")
    commands = []
    for number, pattern in enumerate(NEVER_OPENED):
        source = pattern.format(folder=tmp_path)
        line = 'source = "digits"', f"source = {json.dumps(source)}"
        theirs = str(with_values(run, tmp_path / f"run-{number}", *line))
        commands += [["train", "--resume", "--out", theirs], ["train", source, "--resume", "--out", theirs]]
        commands += [["drift", theirs, str(photo)], ["drift", str(run), str(photo), "--source", source]]
        commands += [["add-class", theirs, more_of(tmp_path), "--out", str(tmp_path / "new")]]
        commands += [["train", source, "--out", str(tmp_path / "new")], ["inspect", source]]
        commands += [["evaluate", str(run), source], ["preview", source, "--out", str(tmp_path / "p.png")]]
    done = watched(tmp_path, commands, libraries)
    assert done["fsspec"] == version or version == "installed"
    for finished in done["finished"]:
        check(finished)
    assert not mark.exists()


def test_resuming_a_run_of_a_stranger_opens_nothing_that_was_not_named(run: Path, tmp_path: Path):
    commands, expected = [], []
    for number, pattern in enumerate(OPENED_WHEN_NAMED):
        source = pattern.format()
        theirs = tmp_path / f"run-{number}"
        with_values(run, theirs, 'source = "digits"', f"source = {json.dumps(source)}")
        commands.append(["train", "--resume", "--out", str(theirs)])
        word = f"'{source}'" if set(source) & set("*{") else source
        expected.append(
            f"error: The run {theirs} reads its images from '{source}'.\n"
            "A run from somebody else may name any place, so --resume opens only paths on this machine unasked.\n"
            f"If you want that one, name it again: saccade train {word} --resume --out {theirs}\n"
        )
    for finished, message in zip(watched(tmp_path, commands)["finished"], expected, strict=True):
        check(finished)
        assert finished["errors"] == message


def test_what_looks_at_the_images_of_a_run_opens_nothing_that_was_not_named(run: Path, tmp_path: Path):
    commands, expected = [], []
    for number, pattern in enumerate(OPENED_WHEN_NAMED):
        source, theirs = pattern.format(), tmp_path / f"run-{number}"
        with_values(run, theirs, 'source = "digits"', f"source = {json.dumps(source)}")
        more = more_of(tmp_path)
        commands += [["drift", str(theirs), more], ["add-class", str(theirs), more, "--out", str(tmp_path / "new")]]
        expected += 2 * [
            f"error: The run {theirs} reads its images from '{source}'.\n"
            "A run from somebody else may name any place, so only paths on this machine are opened unasked.\n"
            "If you want that one, name it: --source SOURCE.\n"
        ]
    for finished, message in zip(watched(tmp_path, commands)["finished"], expected, strict=True):
        check(finished)
        assert finished["errors"] == message
    assert not (tmp_path / "new").exists()


def test_a_run_is_resumed_from_the_address_that_was_named_again(run: Path, tmp_path: Path):
    source = "https://127.0.0.1:9/x.tar"
    theirs = with_values(run, tmp_path / "theirs", 'source = "digits"', f"source = {json.dumps(source)}")
    again = ["train", source, "--resume", "--out", str(theirs)]
    other = ["train", "https://127.0.0.1:9/y.tar", "--resume", "--out", str(theirs)]
    connected, refused = watched(tmp_path, [again, other])["finished"]
    assert connected["tried"][0].startswith(("socket.", "http.client.connect"))
    check(refused, "source was https://127.0.0.1:9/x.tar, now https://127.0.0.1:9/y.tar.")


def test_weights_and_teachers_of_a_stranger_are_not_fetched(run: Path, tmp_path: Path):
    named = 'transfer.backbone = "resnet18"\ntransfer.weights = "hub:owner/name@0123"'
    weights = "format = 3\n", f"format = 3\n{named}\n"
    transfer = with_values(run, tmp_path / "transfer", *weights)
    commands = [["transfer", "--resume", "--out", str(transfer)]]
    for number, teacher in enumerate(["hub:owner/name", "https://127.0.0.1:9/run", "reference::file:///x.tar.json"]):
        named = f"distill.teachers = [{json.dumps(teacher)}]\ndistill.weight = 0.5"
        taught = "format = 3\n", f"format = 3\n{named}\n"
        theirs = with_values(run, tmp_path / f"taught-{number}", *taught)
        commands.append(["train", "--resume", "--out", str(theirs)])
    first, *others = watched(tmp_path, commands)["finished"]
    check(first)
    assert first["errors"] == (
        f"error: The run {transfer} has not read its weights yet: 'hub:owner/name@0123'.\n"
        "A run from somebody else may name any, so --resume downloads nothing unasked.\n"
        "If you want those, name them again: "
        f"saccade transfer --resume --out {transfer} --weights hub:owner/name@0123\n"
    )
    for finished in others:
        check(finished)


def test_an_ensemble_of_a_stranger_opens_nothing_that_was_not_named(run: Path, tmp_path: Path):
    text = (run / "config.toml").read_text().replace('source = "digits"', 'source = "hub:owner/name"')
    text = text.removeprefix("format = 3\n")
    head, _, tables = text.partition("\n[")
    (tmp_path / "five").mkdir()
    (tmp_path / "five" / "ensemble.toml").write_text(
        'num_members = 2\ndata_digest = ""\n\n[run]\n' + head + "\n[run." + tables.replace("\n[", "\n[run.")
    )
    [finished] = watched(tmp_path, [["train", "--resume", "--out", str(tmp_path / "five")]])["finished"]
    check(finished, f"name it again: saccade train hub:owner/name --resume --out {tmp_path / 'five'}\n")


def test_a_resumed_run_writes_through_no_link(run: Path, tmp_path: Path):
    theirs = Path(shutil.copytree(run, tmp_path / "theirs"))
    mine = tmp_path / "mine"
    (mine / "folder").mkdir(parents=True)
    for name in ("log", "lock", "other"):
        (mine / name).write_text("mine")
    (mine / "folder" / "manifest.json").write_text("mine")
    for name, target in (
        ("checkpoint-last.saccade-tmp", "folder"),
        ("report.html", "other"),
        ("seen.safetensors", "other"),
    ):
        (theirs / name).unlink(missing_ok=True)
        (theirs / name).symlink_to(mine / target)
    for name, target in (("metrics.jsonl", "log"), (lock.LOCK_NAME, "lock")):
        kept = (theirs / name).read_bytes() if (theirs / name).exists() else b""
        (theirs / name).unlink(missing_ok=True)
        (theirs / name).symlink_to(mine / target)
        with pytest.raises(StorageError) as error:
            api.train(api.TrainRequest(resume=True, out=theirs))
        assert error.value.message.startswith(f"Cannot write {theirs / name}: ")
        (theirs / name).unlink()
        (theirs / name).write_bytes(kept)
    api.train(api.TrainRequest(resume=True, out=theirs))
    api.report(theirs)
    assert {path.read_text() for path in mine.rglob("*") if path.is_file()} == {"mine"}
