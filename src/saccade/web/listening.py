"""Where a server listens, and the token of one that others than this machine can ask. Nothing here needs a package."""

import errno
import ipaddress
import os
import resource
import secrets
import socket

from ..core.errors import PortInUse, SaccadeError, UsageError, brief
from .port_holder import port_holder

TOKEN = "SACCADE_TOKEN"  # of the environment: a token that stays the same over restarts
FEWEST_CHARACTERS = 16  # of a token
BACKLOG = 2048  # connections that wait to be accepted
MOST_FILES = 8192  # connections take one each
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # hosts that mean every address, and what opens them here


def is_loopback(host: str) -> bool:
    """Whether only this machine can ask at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def opened_host(host: str) -> str:
    """What a browser of this machine opens where a server listens at `host`."""
    return EVERYWHERE.get(host, host)


def from_others(host: str, port: int, token: str) -> list[str]:
    """The line with the address of this machine that others can open; none where there is no such one."""
    if host not in EVERYWHERE:
        return []
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


def shown_token(token: str) -> str:
    """`token` as it is printed: one of the environment stays out of logs."""
    return f"${TOKEN}" if token and token == os.environ.get(TOKEN) else token


def listening_socket(host: str, port: int) -> socket.socket:
    """A bound socket; nobody can connect to it before `listen`. Raises UsageError, SaccadeError; PortInUse where it is
    taken."""
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


def listen(listener: socket.socket, host: str) -> None:
    """Let others connect from now on. Raises PortInUse where somebody else was there first, SaccadeError."""
    allow_many_files()
    try:
        listener.listen(BACKLOG)
    except OSError as error:
        raise _cannot_listen(host, listener.getsockname()[1], error) from None


def allow_many_files() -> None:
    """Slow senders hold a connection each: allow as many files as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cannot_listen(host: str, port: int, error: OSError) -> SaccadeError:
    if error.errno == errno.EADDRINUSE:
        holder = port_holder(port)
        return PortInUse(
            f"Port {port} is in use{f' by {holder}' if holder else ''}.\n"
            f"Choose another with --port, or let --port 0 take a free one."
        )
    if error.errno == errno.EACCES:
        return SaccadeError(f"Port {port} needs the rights of an administrator.\nChoose one from 1024 on with --port.")
    return UsageError(
        f"'{brief(host, 80)}' is not an address of this machine ({error.strerror}).\n"
        f"Leave --host out to serve this machine alone, or give 0.0.0.0 for all of its addresses."
    )
