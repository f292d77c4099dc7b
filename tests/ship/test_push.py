"""A run on the hub: the real client against a server on this machine, and the same folder fetched again."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.hub_server import GOOD, READER, Hub, ask, commit, serve
from tests.ship.untrained import untrained_run

from saccade import api
from saccade.core.errors import UsageError
from saccade.ship import hub as ship_hub
from saccade.ship.bundle import read_bundle

SCRIPT = """
import json, os, sys, time
import huggingface_hub.constants
from pathlib import Path
from saccade import api
from saccade.core.errors import SaccadeError
from saccade.ship import hub, push
from saccade.weights.public import find_weights, load_backbone
time.sleep = lambda seconds: None
push.PATIENCE_S = 0.3 if os.environ.get("IMPATIENT") else push.PATIENCE_S
hub._timm = lambda: (None, "timm is not installed")
huggingface_hub.constants.HF_HUB_DISABLE_XET = True
found = []
for what, token, *given in json.loads(sys.argv[1]):
    os.environ["HF_TOKEN"] = token
    try:
        if what == "push":
            pushed = api.push(*given)
            found.append([pushed.commit, pushed.is_new, pushed.notes])
        else:
            weights = find_weights(*given)
            found.append([weights.source, weights.path.parent.name, str(weights.path.parent), weights.num_classes])
    except SaccadeError as error:
        found.append(error.message)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return untrained_run(tmp_path_factory.mktemp("pushed") / "run")


@pytest.fixture
def server() -> Iterator[str]:
    repositories = {("zoo/theirs", "main"): {"notes.txt": b"kept"}, ("zoo/public", "main"): {}}
    repositories |= {("zoo/ignoring", "main"): {".gitignore": b"*.png\n"}}
    repositories |= {(f"zoo/{step}", "main"): {} for step in ("preupload-500", "batch-503", "put-cut", "commit-500")}
    repositories |= {(f"zoo/{step}-silent", "main"): {} for step in ("info", "preupload", "commit")}
    with serve(repositories) as address:
        yield address


def folder_of(run: Path, out: Path) -> dict[str, bytes]:
    folder = api.export(run, out, formats=["hub"]).folder
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_lies_on_the_hub_is_the_folder_and_is_read_again(
    run: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ship_hub, "_timm", lambda: (None, "timm is not installed"))
    wanted = folder_of(run, tmp_path / "out")
    calls = [
        ["push", GOOD, str(run), "zoo/mine"],
        ["push", GOOD, str(run), "hub:zoo/hidden", True],
        ["push", GOOD, str(run), "zoo/theirs"],
        ["read", GOOD, "hub:zoo/mine", "mobilenetv3-small"],
    ]
    new, hidden, theirs, read = ask(SCRIPT, calls, server, tmp_path / "cache")
    assert new == [commit("zoo/mine", "main", 1), True, []]
    assert Hub.repositories["zoo/mine", "main"] == wanted
    assert hidden == [commit("zoo/hidden", "main", 1), True, []]
    assert Hub.private == {"zoo/mine": False, "zoo/hidden": True}
    assert theirs == [commit("zoo/theirs", "main", 1), False, []]
    assert Hub.repositories["zoo/theirs", "main"] == wanted | {"notes.txt": b"kept"}
    assert Hub.commits == {name: [sorted(wanted)] for name in ("zoo/mine", "zoo/hidden", "zoo/theirs")}
    assert [hashlib.sha256(content).hexdigest() for content in Hub.large.values()] == list(Hub.large)

    source, name, folder, num_classes = read
    assert (source, name, num_classes) == (f"hub:zoo/mine@{new[0]}", new[0], 4)
    fetched = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    assert fetched == {file: wanted[file] for file in ("model.safetensors", "config.json", "README.md")}


def test_what_the_hub_refuses_is_told_and_no_commit_is_made(run: Path, server: str, tmp_path: Path):
    no_half = "has no half of a commit: it is as it was, or new and empty. Run the command again later."
    cases = {
        ("", "zoo/mine"): "There is no token for the hub: HF_TOKEN is not set, and nobody is logged in.\n"
        "Make one that may write at https://huggingface.co/settings/tokens, then log in: hf auth login.",
        ("hf_wrong", "zoo/theirs"): "The hub does not know the token (401): Invalid credentials in Authorization "
        "header.\nMake a new one at https://huggingface.co/settings/tokens, then log in: hf auth login. Nothing was "
        "committed.",
        (READER, "zoo/theirs"): "The token may not write to hub:zoo/theirs (403): You have no right to this.\n"
        "Take one that may write, of somebody who belongs to zoo. Nothing was committed.",
        (GOOD, "zoo/create-404"): "hub:zoo/create-404 cannot be found or made (404): It does not work today.\n"
        "Check that zoo is your name or that of your organisation. Nothing was committed.",
        (GOOD, "zoo/info-500"): f"The hub fails at present (500): It does not work today.\nhub:zoo/info-500 {no_half}",
        (GOOD, "zoo/preupload-500"): "The hub fails at present (500): It does not work today.\n"
        f"hub:zoo/preupload-500 {no_half}",
        (
            GOOD,
            "zoo/batch-503",
        ): f"The hub fails at present (503): It does not work today.\nhub:zoo/batch-503 {no_half}",
        (GOOD, "zoo/commit-500"): "The hub fails at present (500): It does not work today.\n"
        f"hub:zoo/commit-500 {no_half}",
        (GOOD, "zoo/ignoring"): "hub:zoo/ignoring left out 3 of 7 files, check/image-1.png first; its .gitignore does "
        "so.\nRemove that from https://huggingface.co/zoo/ignoring, then run the command again.",
    }
    calls = [["push", token, str(run), name] for token, name in cases]
    calls += [["push", GOOD, str(run), "zoo/put-cut"], ["push", GOOD, str(run), "zoo/public", True]]
    *told, cut, public = ask(SCRIPT, calls, server, tmp_path / "cache")
    assert dict(zip(cases, told)) == cases
    first, second, third = cut.splitlines()
    assert first.startswith("The connection to the hub broke off (")
    assert second == (
        "hub:zoo/put-cut has no half of a commit: it is as it was, or new and empty, unless the last answer alone was "
        "lost."
    )
    assert third == "Look at https://huggingface.co/zoo/put-cut, then run the command again."
    assert public == (
        "hub:zoo/public is there and public, and --private is for a new repository. Nothing was sent.\n"
        "Make it private at https://huggingface.co/zoo/public/settings, or leave --private out."
    )
    assert list(Hub.commits) == ["zoo/ignoring"]
    assert Hub.repositories["zoo/put-cut", "main"] == Hub.repositories["zoo/public", "main"] == {}


def test_a_hub_that_says_nothing_is_not_waited_for_without_end(
    run: Path, server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("IMPATIENT", "1")
    names = [f"zoo/{step}-silent" for step in ("info", "preupload", "commit")]
    told = ask(SCRIPT, [["push", GOOD, str(run), name] for name in names], server, tmp_path / "cache")
    for name, message in zip(names, told, strict=True):
        first, *others = message.splitlines()
        assert first.startswith("The connection to the hub broke off (")
        assert first.endswith("timed out).")
        assert others == [
            f"hub:{name} has no half of a commit: it is as it was, or new and empty, unless the last answer alone was "
            "lost.",
            f"Look at https://huggingface.co/{name}, then run the command again.",
        ]
    assert Hub.commits == {}


def test_a_dry_run_lists_files_with_sizes_and_digests_and_asks_nobody(
    run: Path, tmp_path: Path, saccade, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(ship_hub, "_timm", lambda: (None, "timm is not installed"))
    wanted = folder_of(run, tmp_path / "out")
    done = saccade("push", run, "somebody/clothes", "--dry-run", "--json")
    said = json.loads(done.output)
    assert said["files"] == {
        name: {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in sorted(wanted.items())
    }
    assert (said["commit"], said["page"], said["is_new"]) == ("", "", False)
    assert set(read_bundle(tmp_path / "out").files) | {"saccade.json"} == set(said["files"])
    lines = saccade("push", run, "somebody/clothes", "--dry-run").output.splitlines()
    assert len(lines) == len(wanted) + 1
    assert lines[-1] == (
        "Nothing was sent. Without --dry-run these files go to https://huggingface.co/somebody/clothes"
    )


@pytest.mark.parametrize("name", ["clothes", "a/b/c", "a/b@main", "../secret", "a/b:folder", "a b/c"])
def test_what_is_no_name_on_the_hub_is_refused_before_any_work(tmp_path: Path, name: str):
    with pytest.raises(UsageError) as caught:
        api.push(tmp_path / "absent", name)
    assert caught.value.message == (
        f"'{name}' is not a name on the hub.\nWrite OWNER/NAME: whose it is, and what it is."
    )
