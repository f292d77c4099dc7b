"""A server from its start to its end: the socket, the models, what it prints, and how it drains.

On SIGTERM or Ctrl-C it still listens for a moment, answering 503, so that who watches /readyz goes elsewhere; it ends
when nothing is inside, or after ten seconds.
"""

import errno
import os
import resource
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType

import uvicorn

from ...core.errors import SaccadeError, UsageError, brief, counted, printable
from ...core.processors import available_cpus
from ...ship.engine import ServedModel
from .app import build_app
from .guard import host_text, rules_for
from .opening import open_models
from .options import TOKEN, ServeOptions, is_loopback
from .port_holder import port_holder
from .protocol import WatchedProtocol
from .service import Service
from .workers import Workers

FEWEST_CHARACTERS = 16  # of a token
QUEUE_A_THREAD = 8
LINGER_S = 1.0  # how long a server that drains still listens
DRAIN_S = 9.0  # how long it waits for what is inside
BACKLOG = 2048  # connections that wait to be accepted
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # hosts that mean every address, and what opens them here
MOST_FILES = 8192  # connections take one each


def serve(
    given: Sequence[Path], options: ServeOptions, tell: Callable[[str], None], note: Callable[[str], None]
) -> None:
    """Serve until SIGTERM or Ctrl-C, which are raised again at the end. `tell` gets the lines on where it listens and
    what it serves, `note` what is done before. Raises SaccadeError."""
    num_threads = options.threads or available_cpus()
    token = find_token(options.host)
    with listening_socket(options.host, options.port) as listener:
        models = open_models(given, options.together, num_threads, note)
        workers = Workers(num_threads, options.queue or QUEUE_A_THREAD * num_threads, options.deadline_s)
        service = Service(models=models, workers=workers, limits=options.limits)
        port = listener.getsockname()[1]
        app = build_app(service, rules_for(options.host, port, token, options.allowed_hosts))
        _allow_many_files()
        config = uvicorn.Config(
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
        try:
            listener.listen(BACKLOG)
        except OSError as error:  # somebody else was there first, while the models were opened
            raise _cannot_listen(options.host, port, error) from None
        for line in opening_lines(models, options.host, port, token, workers):
            tell(line)
        try:
            DrainingServer(config, workers).run([listener])
        finally:
            workers.close()


class DrainingServer(uvicorn.Server):  # type: ignore[misc]  # an extra, whose types are not read
    """uvicorn's, which closes its socket at the first signal; this one drains before."""

    def __init__(self, config: uvicorn.Config, workers: Workers) -> None:
        super().__init__(config)
        self._workers = workers
        self._asked_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first signal begins to drain, the second ends it at once."""
        self._captured_signals.append(sig)
        if self._asked_s is not None:
            self.should_exit = self.force_exit = True
            return
        self._asked_s = time.monotonic()
        self._workers.is_draining = True

    async def on_tick(self, counter: int) -> bool:
        """Whether to end; asked ten times a second."""
        if self._asked_s is not None:
            drained_s = time.monotonic() - self._asked_s
            is_empty = not self.server_state.tasks and drained_s >= LINGER_S
            self.should_exit = self.should_exit or is_empty or drained_s >= DRAIN_S
        ends: bool = await super().on_tick(counter)
        return ends


def opening_lines(models: dict[str, ServedModel], host: str, port: int, token: str, workers: Workers) -> list[str]:
    """Where it listens and what it serves in the first line, then how to ask."""
    root = f"http://{host_text(EVERYWHERE.get(host, host))}:{port}"
    served = "; ".join(
        f"{name} ({len(model.classes):,} classes"
        f"{'' if len(model.networks) == 1 else f', {len(model.networks)} networks'})"
        for name, model in models.items()
    )
    named = "" if len(models) == 1 else f"?model={next(iter(models))}"
    is_secret = bool(token) and token == os.environ.get(TOKEN)  # it stays out of logs
    shown = f"${TOKEN}" if is_secret else token
    authorization = f' -H "Authorization: Bearer {shown}"' if token else ""
    return [
        f"Serving {printable(served)} at {root}",
        f"Try it: {root}/{f'?token={shown}' if token else ''}",
        *(_from_others(port, shown if token else "") if host in EVERYWHERE else []),
        f"Ask it: curl{authorization} -F image=@photo.jpg '{root}/api/v1/predict{named}'",
        f"{counted(workers.num_threads, 'thread')}, at most {workers.limit} requests inside, each waits up to "
        f"{workers.deadline_s:g} s. Ctrl-C ends it.",
    ]


def _from_others(port: int, token: str) -> list[str]:
    """The line with the address of this machine that others can open; none where it has only its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asked:
        try:
            asked.connect(("192.0.2.1", 9))  # an address of documentation: nothing is sent, a way there is chosen
            own = str(asked.getsockname()[0])
        except OSError:
            return []
    query = f"?token={token}" if token else ""
    return [] if is_loopback(own) else [f"From other machines: http://{own}:{port}/{query}"]


def find_token(host: str) -> str:
    """The token of a server that others than this machine can ask; "" where none is needed. Raises UsageError."""
    given = os.environ.get(TOKEN, "")
    if given and not (len(given) >= FEWEST_CHARACTERS and given.isascii() and given.isprintable() and " " not in given):
        raise UsageError(
            f"{TOKEN} has to have {FEWEST_CHARACTERS} plain characters or more, without blanks.\n"
            f"Make one: python -c 'import secrets; print(secrets.token_urlsafe(24))'"
        )
    return given or ("" if is_loopback(host) else secrets.token_urlsafe(24))


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; nobody can connect to it before the models are there. Raises UsageError, SaccadeError."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port takes 0 to 65535, got {port}.")
    try:
        family, *_, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
    except (OSError, UnicodeError):
        raise UsageError(
            f"--host: '{brief(host, 80)}' is not an address of a network.\nLeave it out to serve this machine alone."
        ) from None
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(address)
    except OSError as error:
        listener.close()
        raise _cannot_listen(host, port, error) from None
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> SaccadeError:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        return SaccadeError(
            f"Port {port} is in use{f' by {holder}' if holder else ''}.\n"
            f"Choose another with --port, or let --port 0 take a free one."
        )
    if error.errno == errno.EACCES:
        return SaccadeError(f"Port {port} needs the rights of an administrator.\nChoose one from 1024 on with --port.")
    return UsageError(
        f"'{brief(host, 80)}' is not an address of this machine ({error.strerror}).\n"
        f"Leave --host out to serve this machine alone, or give 0.0.0.0 for all of its addresses."
    )


def _allow_many_files() -> None:
    """Slow senders hold a connection each: allow as many files as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
