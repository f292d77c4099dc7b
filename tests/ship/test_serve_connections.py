"""What a connection may do: send its headers in time, leave a refused body behind, and go on."""

import asyncio
import socket
from collections.abc import Awaitable, Callable

import pytest

for package in ("starlette", "python_multipart", "uvicorn", "httptools"):
    pytest.importorskip(package, reason="the extra 'serve' is not installed")

import uvicorn  # noqa: E402
from tests.ship.asked import app_of, service_of  # noqa: E402
from tests.ship.test_serve_requests import png  # noqa: E402

from saccade.web import protocol  # noqa: E402
from saccade.web.guard import rules_for  # noqa: E402
from saccade.web.limits import BodyLimits  # noqa: E402

Play = Callable[[asyncio.StreamReader, asyncio.StreamWriter, str], Awaitable[None]]


def played(play: Play) -> None:
    """Run `play` with a connection to a server that takes bodies of 100 KB, and the Host header of the server."""

    async def run() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        app = app_of(service_of(limits=BodyLimits(max_bytes=100_000)), rules_for("127.0.0.1", port, ""))
        config = uvicorn.Config(app, http=protocol.WatchedProtocol, ws="none", lifespan="off", log_config=None)
        server = uvicorn.Server(config)
        serving = asyncio.ensure_future(server.serve([listener]))
        while not server.started:
            await asyncio.sleep(0.001)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            await play(reader, writer, f"Host: 127.0.0.1:{port}\r\n")
        finally:
            writer.close()
            server.should_exit = True
            await serving

    asyncio.run(run())


async def reply(reader: asyncio.StreamReader) -> bytes:
    """The status line of the next answer, all of which is read."""
    head = await reader.readuntil(b"\r\n\r\n")
    (length,) = [int(line.partition(b":")[2]) for line in head.split(b"\r\n") if line.startswith(b"content-length")]
    await reader.readexactly(length)
    return head.partition(b"\r\n")[0]


def predict(host: str, content: bytes) -> bytes:
    head = f"POST /api/v1/predict HTTP/1.1\r\n{host}Content-Type: image/png\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


def test_the_answer_to_a_refused_body_arrives_and_the_connection_goes_on():
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        for content, status in [(bytes(3_000_000), b"413"), (png(), b"200"), (bytes(200_000), b"413"), (png(), b"200")]:
            writer.write(predict(host, content))
            await writer.drain()
            assert (await reply(reader)).split()[1] == status

    played(play)


def test_pipelined_requests_are_answered_in_order():
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        ready = f"GET /readyz HTTP/1.1\r\n{host}\r\n".encode()
        missing = f"GET /none HTTP/1.1\r\n{host}\r\n".encode()
        writer.write((ready + missing + predict(host, png())) * 10)
        assert [(await reply(reader)).split()[1] for _ in range(30)] == [b"200", b"404", b"200"] * 10

    played(play)


@pytest.mark.parametrize("sent", [b"", b"POST /api", b"GET / HTTP/1.1\r\nHost: ", b"\r\n\r\n"])
def test_headers_that_do_not_come_end_the_connection(sent: bytes, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "HEADERS_S", 0.05)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        writer.write(sent)
        assert await ended(reader)

    played(play)


def test_headers_that_do_not_come_behind_an_answer_end_the_connection(monkeypatch: pytest.MonkeyPatch):
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        writer.write(f"GET /readyz HTTP/1.1\r\n{host}\r\n".encode())
        assert (await reply(reader)).split()[1] == b"200"
        monkeypatch.setattr(protocol, "HEADERS_S", 0.05)
        writer.write(b"GET /rea")
        assert await ended(reader)

    played(play)


def test_the_rest_of_a_refused_body_that_does_not_come_ends_the_connection(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(protocol, "LINGER_S", 0.05)

    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        writer.write(predict(host, bytes(500_000))[:1000])
        assert (await reply(reader)).split()[1] == b"413"
        assert await ended(reader)

    played(play)


@pytest.mark.parametrize("start", [b"GET / HTTP/1.1\r\nX: ", b"GET /"])
def test_headers_without_end_are_refused(start: bytes):
    async def play(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str) -> None:
        writer.write(start + b"y" * 40_000)
        assert (await reader.readline()).split()[1] == b"400"

    played(play)


async def ended(reader: asyncio.StreamReader) -> bool:
    """Wait until the server ends the connection, by a close or a reset."""
    try:
        return await reader.read() == b""
    except ConnectionResetError:
        return True
