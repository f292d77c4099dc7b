"""The studio from its start to its end: the socket, what it prints, the browser."""

import os
import socket
import sys
import threading
import webbrowser
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import uvicorn

from ...core.drawing import drawing_engine
from ...core.errors import PortInUse, SaccadeError, printable
from ..guard import host_text, rules_for
from ..listening import find_token, from_others, listen, listening_socket, opened_host, shown_token
from ..protocol import configured
from .app import build_app
from .options import NEXT_PORTS, PORT, StudioOptions


def run_studio(folder: Path, options: StudioOptions, opens_browser: bool, tell: Callable[[str], None]) -> None:
    """Show `folder` until SIGTERM or Ctrl-C, which are raised again at the end. `tell` gets the lines on where it
    listens. Raises SaccadeError."""
    token = find_token(options.host)
    with _listener(options) as listener:
        port = listener.getsockname()[1]
        ending = threading.Event()
        app = build_app(folder, rules_for(options.host, port, token, options.allowed_hosts), ending=ending)
        listen(listener, options.host)
        threading.Thread(target=_start_engine, daemon=True).start()
        for line in opening_lines(folder, options, port, token):
            tell(line)
        if opens_browser and has_display():
            webbrowser.open(
                f"http://{host_text(opened_host(options.host))}:{port}/{f'?token={token}' if token else ''}"
            )
        try:
            uvicorn.Server(configured(app)).run([listener])
        finally:
            ending.set()


def opening_lines(folder: Path, options: StudioOptions, port: int, token: str) -> list[str]:
    """What is shown and where in the first line, then how to reach it."""
    root = f"http://{host_text(opened_host(options.host))}:{port}"
    lines = [f"Serving the studio of {printable(str(folder))} at {root}"]
    if options.port is None and port != PORT:
        lines.append(f"Port {PORT} is in use; this is the next one that is free.")
    if token:
        lines.append(f"Open it: {root}/?token={shown_token(token)}")
    lines += from_others(options.host, port, shown_token(token))
    if "SSH_CONNECTION" in os.environ and not options.needs_token:
        host = socket.gethostname()
        lines.append(f"From your own machine: ssh -N -L {port}:127.0.0.1:{port} {host}, then open {root}")
    return [*lines, "Ctrl-C ends it; trainings go on."]


def has_display() -> bool:
    """Whether a browser can be seen by who started this: a screen, a terminal, and no connection from elsewhere."""
    if "SSH_CONNECTION" in os.environ or not sys.stdout.isatty():
        return False
    return sys.platform in ("darwin", "win32") or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _start_engine() -> None:
    """The engine that draws takes a second to start; the first page with curves need not wait for it."""
    with suppress(SaccadeError, ValueError):  # where it does not start, the page says so
        drawing_engine().vegalite_to_svg({"mark": "point", "data": {"values": []}})


def _listener(options: StudioOptions) -> socket.socket:
    """A bound socket at the port that was asked for; unasked at the first that is free."""
    if options.port is not None:
        return listening_socket(options.host, options.port)
    for port in range(PORT, PORT + NEXT_PORTS):
        try:
            return listening_socket(options.host, port)
        except PortInUse:
            continue
    return listening_socket(options.host, 0)
