"""A server on this machine that speaks the hub's protocol, for data sets and models, and a process that asks it."""

import base64
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

GOOD, READER = "hf_writes", "hf_reads"  # tokens that the server knows

# {(repository, revision): {path: content}}; every other repository is unknown
Repositories = dict[tuple[str, str], dict[str, bytes]]


def commit(name: str, revision: str, number: int = 0) -> str:
    """The commit of a revision after `number` pushes."""
    return hashlib.sha1(f"{name} {revision}{f' {number}' if number else ''}".encode()).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """The calls that a download makes: the commit of a revision, the list of its files, the files. And those that an
    upload makes: the check of a card, a new repository, how each file is to be sent, large files, the commit.

    The files in `cut` break off in the middle, as many times as it says. A repository named `zoo/STEP-STATUS` fails
    with that status at this step of an upload (info, create, preupload, batch, put, commit), `zoo/STEP-cut` by
    closing the connection, and `zoo/STEP-silent` by never answering."""

    repositories: Repositories = {}
    asked: list[str] = []
    resumed_at: list[int] = []  # the first byte of every request that goes on in the middle
    cut: dict[str, int] = {}
    private: dict[str, bool] = {}  # of repositories that were made by an upload
    large: dict[str, bytes] = {}  # files that were sent in front of a commit, by digest
    commits: dict[str, list[list[str]]] = {}  # by repository the paths of each commit
    ending = threading.Event()  # until which a silent step says nothing

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        path = unquote(urlsplit(self.path).path)
        content = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.asked.append(f"POST {path}")
        parts = path.strip("/").split("/")
        if parts[:2] == ["api", "validate-yaml"]:
            return self.check_card(json.loads(content)["content"])
        if parts[:3] == ["api", "repos", "create"]:
            values = json.loads(content)
            return self.create(f"{values['organization']}/{values['name']}", values)
        if parts[-4:] == ["info", "lfs", "objects", "batch"]:
            name = "/".join(parts[:2]).removesuffix(".git")
            return None if self.fails(name, "batch") else self.send_places(name, json.loads(content))
        name, call = "/".join(parts[2:4]), parts[4]
        if self.fails(name, call):
            return None
        return self.send_modes(name, json.loads(content)) if call == "preupload" else self.take(name, content)

    def do_PUT(self) -> None:
        name, digest = unquote(urlsplit(self.path).path).strip("/").removeprefix("large/").rsplit("/", 1)
        self.asked.append(f"PUT {digest}")
        if self.fails(name, "put"):
            return None
        content = self.rfile.read(int(self.headers["Content-Length"]))
        if hashlib.sha256(content).hexdigest() != digest:
            return self.send(400, b"", {})
        self.large[digest] = content
        return self.send(200, b"", {})

    def fails(self, name: str, step: str) -> bool:
        """Whether this step of an upload to `name` has failed: as the name says, or for want of a token."""
        owner, _, kind = name.partition("/")
        where, _, how = kind.rpartition("-")
        if owner == "zoo" and where == step and how in ("cut", "silent"):
            if how == "silent":
                self.ending.wait()
            self.close_connection = True
            return True
        if owner == "zoo" and where == step:
            self.send(int(how), b"", {"X-Error-Message": "It does not work today"})
            return True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token == GOOD or step == "put" or (step == "info" and token in ("", READER)):
            return False  # the place of a large file is known to those alone who asked with a token
        said = "You have no right to this" if token == READER else "Invalid credentials in Authorization header"
        self.send(403 if token == READER else 401, b"", {"X-Error-Message": said})
        return True

    def check_card(self, text: str) -> None:
        """The front matter by the hub's rules, as far as documentation says them."""
        import yaml

        values = yaml.safe_load(text.split("---")[1]) if text.startswith("---\n") else {}
        wrong = [] if isinstance(values.get("tags", []), list) else ["tags"]
        wrong += [] if isinstance(values.get("license", ""), str) else ["license"]
        told = [] if values else [{"message": "empty or missing yaml metadata in repo card"}]
        errors = [{"message": f'"{key}" is of another type'} for key in wrong]
        self.send_json({"errors": errors, "warnings": told}, 400 if errors else 200)

    def create(self, name: str, values: dict[str, Any]) -> None:
        if self.fails(name, "create"):
            return None
        if (name, "main") in self.repositories:
            return self.send_json({"url": self.page(name)}, 409)
        self.repositories[name, "main"] = {}
        self.private[name] = bool(values.get("private")) or values.get("visibility") == "private"
        return self.send_json({"url": self.page(name)})

    def send_modes(self, name: str, values: dict[str, Any]) -> None:
        there = self.repositories[name, "main"]
        ignored = there.get(".gitignore", b"").decode().split()
        files = [
            {
                "path": file["path"],
                "uploadMode": "lfs" if file["path"].endswith(".safetensors") else "regular",
                "shouldIgnore": f"*.{file['path'].rpartition('.')[2]}" in ignored,
                "oid": None,
            }
            for file in values["files"]
        ]
        self.send_json({"files": files})

    def send_places(self, name: str, values: dict[str, Any]) -> None:
        places = [
            {
                "oid": each["oid"],
                "size": each["size"],
                "actions": {"upload": {"href": f"{self.page('large')}/{name}/{each['oid']}"}},
            }
            for each in values["objects"]
        ]
        self.send_json({"transfer": "basic", "objects": places})

    def take(self, name: str, content: bytes) -> None:
        """A commit: all of it, or none."""
        lines = [json.loads(line) for line in content.splitlines()]
        new = {
            each["value"]["path"]: base64.b64decode(each["value"]["content"]) for each in lines if each["key"] == "file"
        }
        new |= {each["value"]["path"]: self.large[each["value"]["oid"]] for each in lines if each["key"] == "lfsFile"}
        self.repositories[name, "main"] |= new
        self.commits.setdefault(name, []).append(sorted(new))
        found = self.commit_of(name, "main")
        self.send_json({"commitUrl": f"{self.page(name)}/commit/{found}", "commitOid": found})

    def page(self, name: str) -> str:
        return f"http://{self.headers['Host']}/{name}"

    def send_json(self, values: dict[str, Any], status: int = 200) -> None:
        self.send(status, json.dumps(values).encode(), {"Content-Type": "application/json"})

    def commit_of(self, name: str, revision: str) -> str:
        return commit(name, revision, len(self.commits.get(name, [])))

    def answer(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.asked.append(path)
        parts = path.strip("/").split("/")
        is_call = parts[0] == "api"
        first = 2 if is_call else int(parts[0] == "datasets")
        name, rest = "/".join(parts[first : first + 2]), parts[first + 2 :]
        if name == "zoo/gated":
            return self.send(403, b"", {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access is restricted"})
        if is_call and rest == [] and self.fails(name, "info"):
            return None
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
        return self.send(200, content, {"X-Repo-Commit": self.commit_of(name, revision), "ETag": tag}, cut)

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
        info = {"id": name, "sha": self.commit_of(name, revision), "siblings": [{"rfilename": path} for path in files]}
        info |= {"private": self.private.get(name, False)}
        return self.send(200, json.dumps(info).encode(), {"Content-Type": "application/json"})

    def find(self, name: str, asked: str) -> str | None:
        revisions = [revision for known, revision in self.repositories if known == name]
        return next((known for known in revisions if asked in (known, self.commit_of(name, known))), None)

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
    Hub.private, Hub.large, Hub.commits, Hub.ending = {}, {}, {}, threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        Hub.ending.set()
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
