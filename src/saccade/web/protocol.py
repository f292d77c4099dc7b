"""uvicorn's protocol with limits on who sends slowly or without end: on headers, and on what a refusal leaves unread.

A refused request is answered before its body is there. The connection is not closed under it: a system that closes with
unread data resets the connection, and the client loses the answer. What still comes is read and forgotten, for a while.
"""

import asyncio

import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEADERS_S = 10.0  # from the first byte, or from the connection, to the end of the headers
LINGER_S = 15.0  # for the rest of a body that nobody reads
MAX_HEADER_BYTES = 32 << 10
MAX_CONNECTIONS = 4096


class WatchedProtocol(HttpToolsProtocol):  # type: ignore[misc]  # an extra, whose types are not read
    """Ends a connection whose headers do not come, or do not end."""

    _watch: asyncio.TimerHandle | None = None
    _header_bytes: int | None = 0  # that came until now; None behind the headers

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for headers."""
        super().connection_made(transport)
        if len(self.connections) > MAX_CONNECTIONS:
            transport.abort()
            return
        self._wait(HEADERS_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._wait(None)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Pass it on, and count it where it belongs to headers."""
        if self._header_bytes is not None:
            self._header_bytes += len(data)
        super().data_received(data)
        if self._header_bytes is not None and self._header_bytes > MAX_HEADER_BYTES:
            self.send_400_response("The headers are too long.")
        is_idle = self.cycle is None or self.cycle.response_complete
        if is_idle and self._watch is None and self.timeout_keep_alive_task is None:
            self._wait(HEADERS_S)

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        self._header_bytes = self._header_bytes or 0
        self._wait(HEADERS_S)

    def on_headers_complete(self) -> None:
        """Refuse what is no path of ours; hand on the others."""
        self._header_bytes = None
        self._wait(None)
        if not self.url.startswith(b"/"):
            raise ValueError("not a path")  # the parser makes it 400
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The end of a body, whether somebody read it or not."""
        self._wait(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Where the body has not all come, wait for its rest a while."""
        super().on_response_complete()
        if self.cycle.response_complete and self.cycle.more_body and not self.transport.is_closing():
            self._wait(LINGER_S)

    def _wait(self, seconds: float | None) -> None:
        """Close the connection after so long; None: do not."""
        if self._watch is not None:
            self._watch.cancel()
        self._watch = None if seconds is None else self.loop.call_later(seconds, self.transport.abort)


def configured(app: ASGIApp) -> uvicorn.Config:
    """`app` behind this protocol: no web sockets, no log, no header that says what serves."""
    return uvicorn.Config(
        app,
        http=WatchedProtocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=30,
        timeout_graceful_shutdown=1,
    )
