"""A server on this machine that speaks the hub's protocol, for data sets and models, and a process that asks it."""

import hashlib
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tests.processes import run_python

# {(repository, revision): {path: content}}; every other repository is unknown
Repositories = dict[tuple[str, str], dict[str, bytes]]


def commit(name: str, revision: str) -> str:
    return hashlib.sha1(f"{name} {revision}".encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """The calls that a download makes: the commit of a revision, the list of its files, the files.

    The files in `cut` break off in the middle, as many times as it says."""

    repositories: Repositories = {}
    asked: list[str] = []
    resumed_at: list[int] = []  # the first byte of every request that goes on in the middle
    cut: dict[str, int] = {}

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
        is_call = parts[0] == "api"
        first = 2 if is_call else int(parts[0] == "datasets")
        name, rest = "/".join(parts[first : first + 2]), parts[first + 2 :]
        if name == "zoo/gated":
            return self.send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if name not in {known for known, _ in self.repositories}:
            return self.send(404, b"", {"X-Error-Code": "RepoNotFound", "X-Error-Message": "Repository not found"})
        if is_call:
            return self.send_info(name, rest[0] if rest else "", "/".join(rest[1:]) or "main")
        revision, file = self.find(name, rest[1]), "/".join(rest[2:])
        content = self.repositories[name, revision or "main"].get(file)
        if revision is None or content is None:
            return self.send(404, b"", {"X-Error-Code": "EntryNotFound", "X-Error-Message": "Entry not found"})
        tag = f'"{hashlib.sha1(content).hexdigest()}"'
        cut = self.command == "GET" and self.cut.get(file, 0) > 0
        self.cut[file] = self.cut.get(file, 0) - cut
        return self.send(200, content, {"X-Repo-Commit": commit(name, revision), "ETag": tag}, cut)

    def send_info(self, name: str, call: str, asked: str) -> None:
        revision = self.find(name, asked)
        if revision is None:
            return self.send(404, b"", {"X-Error-Code": "RevisionNotFound", "X-Error-Message": "Revision not found"})
        files = self.repositories[name, revision]
        if call == "tree":
            tree = [
                {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
                for path, content in files.items()
            ]
            return self.send(200, json.dumps(tree).encode(), {"Content-Type": "application/json"})
        info = {"id": name, "sha": commit(name, revision), "siblings": [{"rfilename": path} for path in files]}
        return self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def find(self, name: str, asked: str) -> str | None:
        revisions = [revision for known, revision in self.repositories if known == name]
        return next((known for known in revisions if asked in (known, commit(name, known))), None)

    def send(self, status: int, content: bytes, headers: dict[str, str], cut: bool = False) -> None:
        total, wanted = len(content), self.headers.get("Range", "")
        if status == 200 and wanted.startswith("bytes=") and wanted.endswith("-"):
            first = int(wanted.removeprefix("bytes=").removesuffix("-"))
            self.resumed_at.append(first)
            status, content = 206, content[first:]
            headers = {**headers, "Content-Range": f"bytes {first}-{total - 1}/{total}"}
        self.send_response(status)
        for key, value in headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if cut else content)
        self.close_connection = cut or self.close_connection


@contextmanager
def serve(repositories: Repositories) -> Iterator[str]:
    """The address of a hub that has `repositories`."""
    Hub.repositories, Hub.asked, Hub.resumed_at, Hub.cut = repositories, [], [], {}
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(script: str, texts: list[str], endpoint: str, cache: Path, offline: bool = False) -> list[Any]:
    """What `script`, run in a process of its own with `texts` as JSON, prints as JSON."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "HF_HOME": str(cache)}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HUB_OFFLINE": str(int(offline)), "HF_HUB_DISABLE_TELEMETRY": "1"}
    environment |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "NO_PROXY": "*", "HF_TOKEN": ""}
    done = run_python(["-c", script, json.dumps(texts)], Path.cwd(), environment)
    assert done.returncode == 0, done.stderr
    found: list[Any] = json.loads(done.stdout)
    return found
