"""Data sets of the hub, from a server on this machine that speaks its protocol; then without any server."""

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pyarrow as pa
import pytest
from pyarrow import parquet

from saccade.core.errors import DataError
from saccade.data.base import open_source

CARD = b"---\ndataset_info:\n  features:\n"
CARD += b"  - name: label\n    dtype:\n      class_label:\n        names: [cat, dog]\n---\n"


def photos(num: int) -> bytes:
    buffer = io.BytesIO()
    rows = [{"image": {"bytes": b"image %d" % n, "path": None}, "label": n % 2} for n in range(num)]
    parquet.write_table(pa.Table.from_pylist(rows), buffer)
    return buffer.getvalue()


PLAIN = {
    "README.md": CARD,
    "data/train-00000-of-00001.parquet": photos(6),
    "data/test-00000-of-00001.parquet": photos(2),
}
# {(data set, revision): files}; every other data set is unknown
SETS: dict[tuple[str, str], dict[str, bytes]] = {
    ("zoo/plain", "main"): {**PLAIN, "run_me.py": b"raise SystemExit('code of a data set was run')"},
    ("zoo/plain", "v1"): {"README.md": CARD, "train.parquet": photos(4)},
    ("zoo/converted", "main"): {"README.md": b"", "cat/1.jpg": b"x"},
    ("zoo/converted", "refs/convert/parquet"): {
        "default/train/0000.parquet": photos(5),
        "default/test/0000.parquet": photos(3),
    },
    ("zoo/two", "main"): {"a/train.parquet": photos(4), "b/train.parquet": photos(8)},
    ("zoo/part", "main"): {"a.zip": b"x"},
    ("zoo/part", "refs/convert/parquet"): {"default/partial-train/0000.parquet": photos(4)},
    ("zoo/text", "main"): {"a.txt": b"x"},
}


def commit(name: str, revision: str) -> str:
    return hashlib.sha1(f"{name} {revision}".encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """The calls that a download of a data set makes: the commit of a revision, the list of its files, the files."""

    asked: list[str] = []

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        parts = path.strip("/").split("/")
        name = "/".join(parts[2:4] if parts[0] == "api" else parts[1:3])
        if name == "zoo/gated":
            return self.send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if name not in {known for known, _ in SETS}:
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if parts[0] == "api":
            return self.send_info(name, parts[4], "/".join(parts[5:]) or "main")
        revision, file = self.find(name, parts[4]), "/".join(parts[5:])
        content = SETS[name, revision or "main"].get(file)
        if revision is None or content is None:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        return self.send(200, content, {"X-Repo-Commit": commit(name, revision), "ETag": tag})

    def send_info(self, name: str, call: str, asked: str) -> None:
        revision = self.find(name, asked)
        if revision is None:
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"})
        files = SETS[name, revision]
        if call == "tree":
            tree = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
            return self.send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        info = {"id": name, "sha": commit(name, revision), "siblings": [{"rfilename": path} for path in files]}
        return self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def find(self, name: str, asked: str) -> str | None:
        revisions = [revision for known, revision in SETS if known == name]
        return next((known for known in revisions if asked in (known, commit(name, known))), None)

    def send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


SCRIPT = """
import json, sys
from saccade.core.errors import DataError
from saccade.data.base import open_source
found = []
for text in json.loads(sys.argv[1]):
    try:
        source = open_source(text)
        splits = [source.record(index).split for index in range(len(source))]
        last = source.read(len(source) - 1).decode()
        found.append([source.name, len(source), source.classes, sorted(set(map(str, splits))), last, source.digest])
    except DataError as error:
        found.append(str(error))
print(json.dumps(found))
"""


def run(texts: list[str], endpoint: str, cache: Path, offline: bool = False) -> list[list[object] | str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HOME": str(cache)}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*", "HF_TOKEN": ""}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(texts)], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    found: list[list[object] | str] = json.loads(done.stdout)
    return found


@pytest.fixture
def hub() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


PAGE = "https://huggingface.co/datasets"


def test_sets_are_downloaded_once_with_their_revision_and_read_without_the_hub_afterwards(hub: str, tmp_path: Path):
    first, v1 = commit("zoo/plain", "main"), commit("zoo/plain", "v1")
    converted = commit("zoo/converted", "refs/convert/parquet")
    good = {
        "hub:zoo/plain": [f"hub:zoo/plain@{first}", 8, ["cat", "dog"], ["test", "train"], "image 5"],
        "hf://datasets/zoo/plain": [f"hub:zoo/plain@{first}", 8, ["cat", "dog"], ["test", "train"], "image 5"],
        "hf://zoo/plain@v1": [f"hub:zoo/plain@{v1}", 4, ["cat", "dog"], ["None"], "image 3"],
        f"hub:zoo/plain@{v1}": [f"hub:zoo/plain@{v1}", 4, ["cat", "dog"], ["None"], "image 3"],
        "hub:zoo/converted": [f"hub:zoo/converted@{converted}", 8, ["0", "1"], ["test", "train"], "image 4"],
        "hub:zoo/two:b": [f"hub:zoo/two@{commit('zoo/two', 'main')}:b", 8, ["0", "1"], ["None"], "image 7"],
    }
    bad = {
        "hub:zoo/two": f"hub:zoo/two@{commit('zoo/two', 'main')} holds 2 sets: a, b.\nGive the folder of one of them.",
        "hub:zoo/part": "Of hub:zoo/part the hub keeps only a part as Parquet files.\n"
        f"See {PAGE}/zoo/part; download its images, and give the folder.",
        "hub:zoo/text": "hub:zoo/text has no Parquet files.\n"
        f"See {PAGE}/zoo/text; download its images, and give the folder.",
        "hub:zoo/two:c": "hub:zoo/two has no Parquet files.\n"
        f"See {PAGE}/zoo/two; download its images, and give the folder.",
        "hub:zoo/gated": "hub:zoo/gated is only for people who accepted its terms.\n"
        f"Accept them at {PAGE}/zoo/gated, then log in: hf auth login.",
        "hub:zoo/absent": "The hub has no data set hub:zoo/absent, or keeps it private.\n"
        f"Check the name at {PAGE}/zoo/absent, or log in: hf auth login.",
        "hub:zoo/plain@v9": f"hub:zoo/plain has no revision 'v9'.\nSee {PAGE}/zoo/plain/commits/main.",
        "hub:plain": "'hub:plain' is no address of a data set on the hub.\n"
        "Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER behind it.",
    }
    found = run([*good, *bad], hub, tmp_path)
    assert [entry[:-1] if isinstance(entry, list) else entry for entry in found] == [*good.values(), *bad.values()]
    digests = [entry[-1] for entry in found if isinstance(entry, list)]
    assert digests[0] == digests[1] != digests[2] == digests[3]
    assert not any("run_me.py" in path and "resolve" in path for path in Hub.asked)

    again = ["hub:zoo/plain", f"hub:zoo/plain@{v1}", "hub:zoo/converted", "hub:zoo/absent"]
    offline = run(again, hub, tmp_path, offline=True)
    assert offline[:3] == [found[0], found[3], found[4]]
    assert offline[3] == (
        "hub:zoo/absent (main) is not complete on this machine, and HF_HUB_OFFLINE is set.\n"
        "Go online once, or give a folder of its Parquet files."
    )
    unreachable = run(["hub:zoo/plain", "hub:zoo/absent"], "http://127.0.0.1:9", tmp_path)
    assert unreachable[0] == found[0]
    assert str(unreachable[1]).startswith(
        "hub:zoo/absent (main) is not complete on this machine, and the hub does not answer ("
    )


@pytest.mark.parametrize("text", ["hub:", "hub:a", "hub:a/b/c", "hub:a/b@", "hub:a b/c", "hf://../x", "hub:a/../b"])
def test_what_is_no_address_is_refused_before_anything_is_asked(text: str):
    with pytest.raises(DataError) as error:
        open_source(text)
    assert str(error.value).splitlines()[-1] in (
        "Write hub:OWNER/NAME, and where needed @REVISION and :FOLDER behind it.",
        "Write hub:OWNER/NAME.",
    )
