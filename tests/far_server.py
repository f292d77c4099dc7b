"""A web server on this machine whose files can change, and which misbehaves as it is told."""

import hashlib
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODIFIED = "Mon, 30 Nov 2026 12:00:00 GMT"


class FarServer(ThreadingHTTPServer):
    """Files by their path. `faults` says of a path what is wrong with the next answers that hold content: a status, or
    "cut", "silent" or "trickle"; the last of a list stays. `sent` are (path, first, last) of the content asked for."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[int | str]] = {}
        self.sent: list[tuple[str, int, int]] = []
        self.pause_s = 0.0
        self.has_versions = True
        self.always = 0  # the status of every answer
        self.at_once = self.most_at_once = 0
        self.lock = threading.Lock()

    @property
    def host(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def address(self, path: str) -> str:
        return f"http://{self.host}{path}"

    def fault(self, path: str) -> int | str:
        with self.lock:
            left = self.faults.get(path, [])
            return (left.pop(0) if len(left) > 1 else left[0]) if left else ""

    @contextmanager
    def counting(self) -> Iterator[None]:
        with self.lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            yield
        finally:
            with self.lock:
                self.at_once -= 1


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: FarServer

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_HEAD(self) -> None:
        content = self.server.files.get(self.path)
        if self.server.always or content is None:
            return self.answer(self.server.always or 404, b"", {})
        version = f'"{hashlib.sha1(content).hexdigest()}"'
        self.answer(200, b"", {"Content-Length": str(len(content)), "ETag": version, "Last-Modified": MODIFIED})

    def do_GET(self) -> None:
        if self.server.always:
            return self.answer(self.server.always, b"", {})
        content = self.server.files.get(self.path)
        if content is None:
            return self.answer(404, b"", {})
        if "Range" not in self.headers:
            return self.answer(200, content, {})
        first, last = (int(text) for text in self.headers["Range"].removeprefix("bytes=").split("-"))
        part = content[first : last + 1]
        headers = {"Content-Range": f"bytes {first}-{first + len(part) - 1}/{len(content)}"}
        if self.server.has_versions:
            headers["ETag"] = f'"{hashlib.sha1(content).hexdigest()}"'
        if (first, last) == (0, 0):  # only the size and the version are asked for
            return self.answer(206, part, headers)
        fault = self.server.fault(self.path)
        with self.server.lock:
            self.server.sent.append((self.path, first, last))
        if isinstance(fault, int):
            return self.answer(fault, b"", {})
        with self.server.counting():
            time.sleep(self.server.pause_s)
            self.answer(206, part, headers, fault)

    def answer(self, status: int, content: bytes, headers: dict[str, str], fault: str = "") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if fault == "cut":
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        elif fault == "silent":
            self.close_connection = True
            time.sleep(2.0)
        elif fault == "trickle":
            self.close_connection = True
            for number in range(20):
                self.wfile.write(content[number : number + 1])
                time.sleep(0.05)
        else:
            self.wfile.write(content)


@contextmanager
def far_server() -> Iterator[FarServer]:
    """A server that listens until the block ends."""
    server = FarServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
