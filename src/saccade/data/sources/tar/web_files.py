"""Files of a web server by parts, over https (RFC 9110, section 14): no more of a shard is fetched than is read.

A redirect is followed by hand, five times at most, and only to https (from `http://`, where that was allowed, to http
or https on the same host): a server must not lead to another protocol, nor, where anybody on the way can write the
answer, to another machine. What answers without parts, or with more than was asked for, is refused.
"""

import atexit
import http.client
import io
import os
import re
import socket
import threading
import time
import urllib.request
from contextlib import suppress
from functools import cache
from typing import IO, Any
from urllib.parse import SplitResult, quote, urljoin, urlsplit

from ....core.addresses import shown
from ....core.errors import DataError, printable

REDIRECTS = (301, 302, 303, 307, 308)
MAX_REDIRECTS = 5
TIMEOUT_S = 30.0
LEAST_BYTES_A_SECOND = 100_000
BUFFER_BYTES = 1 << 18
MAX_WHOLE_BYTES = 16 << 20  # of a file that is read whole: a list of class names
MAX_WAITING = 16  # connections to a host that are kept open
SAFE_IN_PATH = "/%!$&'()*+,;=:@~-._"


class StatusError(OSError):
    """The server answers with something else than the file."""

    def __init__(self, status: int) -> None:
        super().__init__(f"the server answers with status {status}")
        self.status = status


class CutAnswer(OSError):
    """Fewer bytes came than were announced."""


class WebFiles:
    """Reads files by their address. Raises OSError or DataError; thread-safe; connections are kept."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._asking: http.client.HTTPConnection | None = None
        self._waiting: dict[tuple[str, str], list[http.client.HTTPConnection]] = {}

    def info(self, url: str) -> dict[str, Any]:
        """Size in bytes, and what the server says of the version."""
        status, headers, _ = self._get(url, 0, 1)
        total = re.fullmatch(r"bytes (?:\d+-\d+|\*)/(\d{1,18})", headers.get("content-range", ""))
        if status == 416 and total and int(total[1]) == 0:
            return {"size": 0}
        if status != 206 or not total:
            raise OSError(f"the server gives no parts of files (status {status})")
        versions = {"ETag": headers.get("etag"), "Last-Modified": headers.get("last-modified")}
        return {"size": int(total[1]), **{key: value for key, value in versions.items() if value}}

    def cat_file(self, url: str, start: int = 0, end: int | None = None) -> bytes:
        """The bytes from `start` up to `end`; without `end` a whole file of at most 16 MiB."""
        status, headers, content = self._get(url, start, end)
        if status == 416:
            return b""
        if end is not None and status != 206:
            raise OSError(f"the server gives no parts of files (status {status})")
        if status == 206 and not re.match(rf"bytes {start}-", headers.get("content-range", "")):
            raise OSError("the server sends another part of the file than the one that was asked for")
        return content

    def exists(self, url: str) -> bool:
        """Whether the server has the file. Raises OSError where it does not say."""
        try:
            self._get(url, 0, 1)
        except FileNotFoundError:
            return False
        return True

    def open(self, url: str, mode: str = "rb") -> IO[bytes]:
        """The file as a stream that can be read from any place."""
        return io.BufferedReader(_Parts(self, url, int(self.info(url)["size"])), BUFFER_BYTES)

    def _get(self, url: str, start: int, end: int | None) -> tuple[int, dict[str, str], bytes]:
        """(status, headers, content) of the last of the answers."""
        asked = url
        for _ in range(MAX_REDIRECTS + 1):
            answer = self._answer(asked, start, end)
            if answer[0] not in REDIRECTS:
                return self._checked(answer)
            asked = _next(url, asked, answer[1].get("location", ""))
        raise OSError(f"it is redirected more than {MAX_REDIRECTS} times")

    def _answer(self, url: str, start: int, end: int | None) -> tuple[int, dict[str, str], bytes]:
        limit_bytes = MAX_WHOLE_BYTES if end is None else end - start
        headers = {"Accept-Encoding": "identity"}
        if start or end is not None:
            headers["Range"] = f"bytes={start}-{'' if end is None else end - 1}"
        target = urlsplit(url)
        is_whole = False
        try:
            connection, response = self._ask(target, headers)
            try:
                found = {key.lower(): value for key, value in response.getheaders()}
                if response.status not in (200, 206) or (end is not None and response.status == 200):
                    return response.status, found, b""  # without its content, which is none of ours
                content = _read(response, limit_bytes + 1)
                if len(content) > limit_bytes:
                    raise OSError(f"the server sends more than {limit_bytes:,} bytes")
                is_whole = response.isclosed()
                return response.status, found, content
            finally:
                self._put_back(target, connection, is_whole)
        except (http.client.IncompleteRead, http.client.RemoteDisconnected):
            raise CutAnswer("the end is missing") from None
        except http.client.HTTPException as error:
            raise OSError(f"the server's answer is not HTTP ({type(error).__name__})") from None

    def _ask(
        self, target: SplitResult, headers: dict[str, str]
    ) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        """(connection, answer), once more where a connection that was kept has been closed meanwhile."""
        proxy = _proxy(target)
        path = quote(target.path or "/", safe=SAFE_IN_PATH) + (f"?{target.query}" if target.query else "")
        asked = f"http://{target.netloc}{path}" if proxy and target.scheme == "http" else path
        while True:
            kept = self._take(target)
            connection = kept or _connection(target, proxy)
            self._asking = connection
            try:
                connection.request("GET", asked, headers=headers)
                return connection, connection.getresponse()
            except (OSError, http.client.HTTPException):
                connection.close()
                if kept is None:
                    raise

    def _take(self, target: SplitResult) -> http.client.HTTPConnection | None:
        """A connection to the host that waits for its next use."""
        with self._lock:
            waiting = self._waiting.get((target.scheme, target.netloc))
            return waiting.pop() if waiting else None

    def _put_back(self, target: SplitResult, connection: http.client.HTTPConnection, is_whole: bool) -> None:
        """Keep a connection whose answer was read to its end; close any other."""
        with self._lock:
            waiting = self._waiting.setdefault((target.scheme, target.netloc), [])
            if is_whole and connection.sock is not None and len(waiting) < MAX_WAITING:
                waiting.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close the connections that wait; the next read opens new ones."""
        with self._lock:
            for connection in (each for waiting in self._waiting.values() for each in waiting):
                connection.close()
            self._waiting.clear()

    def abort(self) -> None:
        """End the request that is under way; what waits for it gets an error, or less than the whole."""
        connection = self._asking
        if connection is not None and connection.sock is not None:
            with suppress(OSError):  # it has just been closed
                connection.sock.shutdown(socket.SHUT_RDWR)

    def _checked(self, answer: tuple[int, dict[str, str], bytes]) -> tuple[int, dict[str, str], bytes]:
        status = answer[0]
        if status in (404, 410):
            raise FileNotFoundError(f"the server has no such file (status {status})")
        if status not in (200, 206, 416):
            raise StatusError(status)
        return answer


class _Parts(io.RawIOBase):
    """A file of `num_bytes` at a distance; each read asks the server for that part."""

    def __init__(self, files: WebFiles, url: str, num_bytes: int) -> None:
        self._files, self._url, self._num_bytes, self._place = files, url, num_bytes, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._num_bytes}[whence]
        self._place = base + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        end = min(self._place + len(buffer), self._num_bytes)
        if end <= self._place:
            return 0
        content = self._files.cat_file(self._url, self._place, end)
        buffer[: len(content)] = content
        self._place += len(content)
        return len(content)


def _read(response: http.client.HTTPResponse, most_bytes: int) -> bytes:
    """What is announced, up to `most_bytes`. Raises CutAnswer, and TimeoutError where it trickles."""
    latest_s = time.monotonic() + TIMEOUT_S + most_bytes / LEAST_BYTES_A_SECOND
    content = bytearray()
    while len(content) < most_bytes:
        part = response.read1(most_bytes - len(content))
        if not part:
            break
        content += part
        if time.monotonic() > latest_s and len(content) < most_bytes:
            raise TimeoutError(f"{len(content):,} bytes in {TIMEOUT_S + most_bytes / LEAST_BYTES_A_SECOND:.0f} s")
    if response.length and len(content) < most_bytes:
        raise CutAnswer(f"{len(content):,} of {len(content) + response.length:,} bytes came")
    if response.length == 0:
        response.close()  # it is read to its end: the connection serves again
    return bytes(content)


def _proxy(target: SplitResult) -> str:
    """Host and port of the proxy that the environment (HTTPS_PROXY, NO_PROXY) names for it; "" for none."""
    address = urllib.request.getproxies().get(target.scheme, "")
    if not address or urllib.request.proxy_bypass(target.hostname or ""):
        return ""
    return urlsplit(address if "://" in address else f"http://{address}").netloc.rpartition("@")[2]


def _connection(target: SplitResult, proxy: str) -> http.client.HTTPConnection:
    """A connection that opens itself at the first request."""
    try:
        host, port = target.hostname or "", target.port
    except ValueError:
        raise DataError(f"'{shown(target.geturl())}' has a port that is not a number.\nWrite a number.") from None
    kind = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    if not proxy:
        return kind(host, port, timeout=TIMEOUT_S)
    connection = kind(proxy, timeout=TIMEOUT_S)
    if target.scheme == "https":
        connection.set_tunnel(host, port)
    return connection


def _next(url: str, asked: str, location: str) -> str:
    """Where a redirect leads. Raises DataError where that is not followed."""
    try:
        target = urljoin(asked, location)
        host, is_named = urlsplit(target).hostname, "@" in urlsplit(target).netloc
    except ValueError:
        target, host, is_named = "", "", False
    if not location or not target or not target.isascii() or not target.isprintable() or set(target) & set(' \\"<>'):
        raise DataError(
            f"'{shown(url)}' is redirected to a text that is not an address: '{shown(location)}'.\n"
            f"Ask who keeps the files for the address that it should lead to."
        )
    protocol = target.partition(":")[0].lower()
    if protocol not in (("https",) if asked.startswith("https:") else ("https", "http")):
        raise DataError(
            f"'{shown(url)}' is redirected to {printable(protocol[:20])}:, which is not followed.\n"
            f"Ask who keeps the files for an address that leads to them by https."
        )
    if is_named or not host:
        what = "one with a name or a password in it" if is_named else "one without a host"
        raise DataError(
            f"'{shown(url)}' is redirected to another address, {what}, which is not followed.\n"
            f"Ask who keeps the files for an address that leads to them by https."
        )
    if asked.startswith("http:") and host != urlsplit(asked).hostname:
        raise DataError(
            f"'{shown(url)}' is redirected to another host, '{shown(target)}', which is not followed.\n"
            f"What comes by http can be changed on the way.\n"
            f"Give that address itself, if you trust it, or one that begins with https."
        )
    return target


def read_whole(url: str, time_limit_s: float) -> bytes:
    """A file of at most 16 MiB, redirects followed, within `time_limit_s`. Raises OSError or DataError."""
    files = WebFiles()  # one request at a time, so that the one that takes too long can be ended
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        files.abort()

    timer = threading.Timer(time_limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        content = files.cat_file(url)
    except OSError:
        if not is_late.is_set():
            raise
        content = b""
    finally:
        timer.cancel()
        files.close()
    if is_late.is_set():
        raise OSError(f"it has not come within {time_limit_s:g} s")
    return content


def web_files() -> WebFiles:
    """The reader of this process: connections are not shared with a process that forked from it."""
    return _web_files(os.getpid())


@cache
def _web_files(process: int) -> WebFiles:
    files = WebFiles()
    atexit.register(files.close)
    return files
