"""Tar shards from a real web server on this machine: by parts, by https, and never led away to another protocol."""

import io
import shutil
import socket
import ssl
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from saccade.core.addresses import http_allowed
from saccade.core.errors import DataError, ImageError
from saccade.data.source import open_source
from saccade.data.sources.tar import remote, web_files
from saccade.data.store_place import store_at


def tar_bytes(num_samples: int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for number in range(num_samples):
            for name, content in ((f"{number}.jpg", b"%d" % number * 3000), (f"{number}.cls", b"%d" % (number % 2))):
                member = tarfile.TarInfo(name)
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


class Server(ThreadingHTTPServer):
    """Files by their path; `redirects` lead away, `asked` are (path, Range) of every request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.redirects: dict[str, str] = {}
        self.asked: list[tuple[str, str]] = []
        self.moved = 0  # what Content-Range says too much
        self.whole = False  # answer with all of a file, whatever was asked for
        self.connections: set[tuple[str, int]] = set()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def do_GET(self) -> None:
        server, wanted = self.server, self.headers.get("Range", "")
        server.asked.append((self.path, wanted))
        server.connections.add(self.client_address)
        if self.path in server.redirects:
            return self.answer(302, b"elsewhere", {"Location": server.redirects[self.path]})
        if self.path not in server.files:
            return self.answer(404, b"nothing here", {})
        content = server.files[self.path]
        if not wanted or server.whole:
            return self.answer(200, content, {})
        first, last = wanted.removeprefix("bytes=").split("-")
        part = content[int(first) : int(last) + 1]
        total = f"bytes {int(first) + server.moved}-{int(first) + len(part) - 1}/{len(content)}"
        self.answer(206, part, {"Content-Range": total, "ETag": f'"{hash(content)}"'})

    def answer(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    web_files._web_files.cache_clear()
    with store_at("", 0):  # parts of files are what is looked at here
        yield
    web_files.web_files().close()
    web_files._web_files.cache_clear()


@pytest.fixture
def server() -> Iterator[Server]:
    with running(Server()) as started:
        started.files["/set/a-0.tar"] = tar_bytes(4)
        started.files["/set/a-1.tar"] = tar_bytes(6)
        yield started


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate of this machine, with its key, made for this test."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("the command openssl, which makes a certificate, is not here")
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    words = "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run([openssl, *words.split(), "-keyout", path, "-out", f"{path}.crt"], check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def secure(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("SSL_CERT_FILE", f"{certificate}.crt")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    server = Server()
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server) as started:
        started.files["/set/a-0.tar"] = tar_bytes(4)
        yield started


def at(server: Server, path: str, protocol: str = "http") -> str:
    host = "localhost" if protocol == "https" else "127.0.0.1"
    return f"{protocol}://{host}:{server.server_port}{path}"


def refusal(text: str) -> str:
    with pytest.raises(DataError) as error:
        open_source(text)
    assert len(error.value.message.splitlines()) <= 4
    return error.value.message


def test_a_set_is_read_by_parts(server: Server):
    server.files["/set/classes.txt"] = b"even\nodd\n"
    with http_allowed():
        source = open_source(at(server, "/set/a-{0..1}.tar"))
        assert (len(source), source.classes) == (10, ("even", "odd"))
        assert [source.record(9).key, source.read(9)] == ["a-1.tar/5.jpg", b"5" * 3000]
    assert server.asked[-1][1].startswith("bytes=")
    assert all(wanted for path, wanted in server.asked if path.endswith(".tar"))
    assert len(server.connections) == 2  # a file that is not there closes the first


def test_a_set_is_read_by_https_without_a_flag(secure: Server):
    source = open_source(at(secure, "/set/a-0.tar", "https"))
    assert [source.read(index) for index in range(4)] == [b"%d" % number * 3000 for number in range(4)]


def test_a_certificate_that_nobody_vouches_for_is_refused(secure: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    message = refusal(at(secure, "/set/a-0.tar", "https"))
    assert "CERTIFICATE_VERIFY_FAILED" in message
    assert message.endswith("\nCheck its name, and the connection.")
    assert secure.asked == []


def test_http_needs_its_flag(server: Server):
    assert "is not encrypted" in refusal(at(server, "/set/a-0.tar"))
    assert server.asked == []


@pytest.mark.parametrize(
    "target", ["http://127.0.0.1:{port}/x.tar", "ftp://127.0.0.1:{port}/x.tar", "file:///etc/hosts"]
)
def test_https_never_leads_to_another_protocol(secure: Server, target: str):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.01)
        secure.redirects["/set/b.tar"] = target.format(port=trap.getsockname()[1])
        address = at(secure, "/set/b.tar", "https")
        for allowed in (False, True):
            with http_allowed(allowed):
                assert refusal(address) == (
                    f"'{address}' is redirected to {target.partition(':')[0]}:, which is not followed.\n"
                    "Ask who keeps the files for an address that leads to them by https."
                )
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize("target", ["ftp://127.0.0.1/x.tar", "file:///etc/hosts", "gopher://x", "FILE:/etc/hosts"])
def test_http_never_leads_to_another_protocol(server: Server, target: str):
    server.redirects["/set/b.tar"] = target
    with http_allowed():
        assert "which is not followed" in refusal(at(server, "/set/b.tar"))


def test_http_never_leads_to_another_host(server: Server):
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.01)
        port = trap.getsockname()[1]
        targets = [f"http://localhost:{port}/x.tar", f"//localhost:{port}/x.tar", f"https://localhost:{port}/x.tar"]
        for target in targets:
            server.redirects["/set/b.tar"] = target
            address = at(server, "/set/b.tar")
            led = target if ":/" in target[:7] else f"http:{target}"
            with http_allowed():
                assert refusal(address) == (
                    f"'{address}' is redirected to another host, '{led}', which is not followed.\n"
                    "What comes by http can be changed on the way.\n"
                    "Give that address itself, if you trust it, or one that begins with https."
                )
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("http://user:word@127.0.0.1:{port}/set/a-0.tar", "one with a name or a password in it"),
        ("https:///set/a-0.tar", "one without a host"),
    ],
)
def test_a_redirect_to_an_address_that_would_not_be_opened_is_refused(server: Server, target: str, reason: str):
    server.redirects["/b.tar"] = target.format(port=server.server_address[1])
    with http_allowed():
        address = at(server, "/b.tar")
        assert refusal(address) == (
            f"'{address}' is redirected to another address, {reason}, which is not followed.\n"
            "Ask who keeps the files for an address that leads to them by https."
        )
    assert {path for path, _ in server.asked} == {"/b.tar"}


@pytest.mark.parametrize("target", ["/caf\u00e9.tar", "/a b.tar", "http://[bad", ""])
def test_a_redirect_to_no_address_is_told_in_words(server: Server, target: str):
    server.redirects["/b.tar"] = target
    with http_allowed():
        address = at(server, "/b.tar")
        assert refusal(address) == (
            f"'{address}' is redirected to a text that is not an address: '{target}'.\n"
            "Ask who keeps the files for the address that it should lead to."
        )


def test_redirects_are_followed_five_times(server: Server):
    for number in range(5):
        server.redirects[f"/{number}.tar"] = f"/{number + 1}.tar"
    server.files["/5.tar"] = tar_bytes(4)
    server.redirects["/round.tar"] = "/round.tar"
    with http_allowed():
        assert len(open_source(at(server, "/0.tar"))) == 4
        address = at(server, "/round.tar")
        assert refusal(address) == (
            f"{address} cannot be read: it is redirected more than 5 times.\nCheck its name, and the connection."
        )


def test_a_redirect_keeps_to_https(secure: Server):
    secure.redirects["/b.tar"] = "/set/a-0.tar"
    assert len(open_source(at(secure, "/b.tar", "https"))) == 4


def test_trouble_on_the_way_is_named(server: Server):
    end = "\nCheck its name, and the connection."
    with http_allowed():
        address = at(server, "/set/none.tar")
        host = f"127.0.0.1:{server.server_address[1]}"
        assert refusal(address) == f"{address} cannot be read: {host} has no such file (404).\nCheck its name."
        server.whole = True
        address = at(server, "/set/a-0.tar")
        assert refusal(address) == f"{address} cannot be read: the server gives no parts of files (status 200).{end}"
        assert refusal("http://127.0.0.1:9/a.tar") == (
            "http://127.0.0.1:9/a.tar cannot be read: 127.0.0.1:9 cannot be reached (Connection refused).\n"
            "Check the address and the network."
        )
        assert refusal("http://127.0.0.1:99999/a.tar").splitlines()[0].endswith("has a port that is not a number.")
        assert refusal(at(server, "/set/a-*.tar")).splitlines()[0].endswith("a web server has no list of its files.")


def test_a_file_that_shrinks_is_named_with_the_image(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(remote, "PAUSES_S", (0.0,))
    with http_allowed():
        source = open_source(at(server, "/set/a-0.tar"))
        server.files["/set/a-0.tar"] = b"x" * 100
        with pytest.raises(ImageError, match=r"^a-0\.tar/0\.jpg: a-0\.tar has changed since it was opened"):
            source.read(0)


def test_a_list_of_class_names_that_is_too_long_is_not_read(server: Server, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(web_files, "MAX_WHOLE_BYTES", 1000)
    server.files["/set/classnames.txt"] = b"x\n" * 1000
    with http_allowed():
        message = refusal(at(server, "/set/a-0.tar"))
    assert "the server sends more than 1,000 bytes" in message


def test_another_part_than_the_one_that_was_asked_for_is_never_taken(server: Server):
    url = f"http://127.0.0.1:{server.server_port}/set/a-0.tar"
    with http_allowed(True):
        files = web_files.web_files()
        assert files.cat_file(url, 512, 1024) == server.files["/set/a-0.tar"][512:1024]
        server.moved = 7
        with pytest.raises(
            OSError, match="^the server sends another part of the file than the one that was asked for$"
        ):
            files.cat_file(url, 512, 1024)
