"""Files at a distance: the file system of an address, the version of a file, its bytes, and what went wrong in words.

Every error names the host: of five machines on the way it is the one that a person can ask about. What may pass (a
server out of order, a connection that was cut) is tried again; what may not (no such file, no permission) is told.
"""

import errno
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

from ....core.addresses import WEB, check_address, shown
from ....core.errors import DataError, printable
from .web_files import LEAST_BYTES_A_SECOND, TIMEOUT_S, CutAnswer, web_files

VERSION_KEYS = (
    *("ETag", "etag", "Content-MD5", "Digest", "md5Hash", "checksum", "generation", "version_id"),
    *("Last-Modified", "LastModified", "last_modified", "updated", "mtime", "created"),
)
PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "az": "adlfs"}
HOSTS = {"s3": "s3.amazonaws.com", "gs": "storage.googleapis.com", "az": "blob.core.windows.net"}
PAUSES_S = (0.3, 1.0, 3.0)
SLOW_PAUSES_S = (0.3,)  # each try has taken its time already
# s3fs would try a server that is silent 25 times, for a minute each.
S3_PATIENCE = {"connect_timeout": 10, "read_timeout": TIMEOUT_S, "retries": {"total_max_attempts": 2}}
CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError", "TokenRetrievalError")
CUT = ("IncompleteRead", "ClientPayloadError", "RemoteDisconnected", "ServerDisconnectedError", "CutAnswer")
UNREACHABLE = ("EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ProxyConnectionError")
PASSING = ("busy", "cut", "slow")
NUM_CONNECTIONS = 4

Result = TypeVar("Result")


@dataclass(frozen=True)
class RemoteFile:
    """A file at `address` as it was when it was looked up; `version` is what its server says of it, () for nothing."""

    address: str
    num_bytes: int
    version: tuple[tuple[str, str], ...]
    sha256: str = ""  # where an index said it: of all its bytes
    opening: str = ""  # sets apart what was looked up at different times, where there is no version to tell


class ChangedFile(Exception):
    """Another version of a file lies at its address."""


def remote(url: str) -> tuple[Any, str]:
    """(file system, path in it) of an address. Raises DataError where it may not be opened, or a package is missing."""
    protocol = check_address(url)
    if protocol in WEB:
        return web_files(), url
    try:
        import fsspec

        files = fsspec.filesystem(protocol, **_options(fsspec_settings(), protocol))
        # never url_to_fs, which takes chains and options out of the text
        return files, files._strip_protocol(url)
    except ImportError as error:
        raise DataError(
            f"{shown(url)} needs a package that is not installed ({printable(str(error)[:100])}).\n"
            f"Install it: pip install {_install(protocol)}"
        ) from None
    except ValueError as error:
        raise DataError(f"{shown(url)} is not an address that fsspec knows: {printable(str(error)[:100])}.") from None


def fsspec_settings() -> dict[str, Any]:
    """What fsspec was configured with, by its files or its environment."""
    import fsspec

    settings: dict[str, Any] = fsspec.config.conf
    return settings


def _install(protocol: str) -> str:
    return "'saccade-learn[s3]'" if protocol == "s3" else f"'saccade-learn[data]' {PACKAGES[protocol]}"


def _options(configured: dict[str, Any], protocol: str) -> dict[str, Any]:
    """What a file system is made with: no listing is kept, since it would hide that a file has changed."""
    options: dict[str, Any] = {"use_listings_cache": False}
    if protocol == "s3":
        options["config_kwargs"] = S3_PATIENCE | dict(configured.get("s3", {}).get("config_kwargs", {}))
    return options


def look_up(address: str) -> RemoteFile:
    """The file at `address` as it is now. Raises DataError."""
    files, path = remote(address)
    try:
        info = _tried(lambda: files.info(path))
        version = tuple((key, str(info[key])) for key in VERSION_KEYS if info.get(key))
        return RemoteFile(address, int(info["size"] or 0), version, opening="" if version else os.urandom(16).hex())
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        raise trouble(address, error) from None


def read_part(file: RemoteFile, start: int, end: int) -> bytes:
    """The bytes from `start` up to `end`, tried again where that may help. Raises DataError naming the host."""
    files, path = remote(file.address)
    options = {"timeout": time_limit_s(end - start)} if getattr(files, "async_impl", False) else {}

    def once() -> bytes:
        content = bytes(files.cat_file(path, start=start, end=end, **options))
        if len(content) != end - start:
            raise CutAnswer(f"{len(content):,} of {end - start:,} bytes came")
        return content

    try:
        return _tried(once)
    except DataError:
        raise
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        raise trouble(file.address, error) from None


def refuse_changed(file: RemoteFile) -> None:
    """Raise ChangedFile where another version lies at its address now; DataError where nobody can say."""
    now = look_up(file.address)
    if (now.num_bytes, now.version) != (file.num_bytes, file.version):
        raise ChangedFile(file.address)


def time_limit_s(num_bytes: int) -> float:
    """How long so many bytes may take."""
    return TIMEOUT_S + num_bytes / LEAST_BYTES_A_SECOND


def connection() -> AbstractContextManager[Any]:
    """Held while a shard is fetched: there are at most four connections from a process."""
    return _connections(os.getpid())


@cache
def _connections(process: int) -> threading.BoundedSemaphore:
    return threading.BoundedSemaphore(NUM_CONNECTIONS)  # of a process alone: one that forked would keep what was held


def _tried(read: Callable[[], Result]) -> Result:
    """What `read` gives, at the second to fourth try where an error may pass."""
    tries = 0
    while True:
        try:
            return read()
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001  each remote file system has its own errors; the last is raised
            kind = _kind(error)
            pauses_s = SLOW_PAUSES_S if kind == "slow" else PAUSES_S
            if kind not in PASSING or tries >= len(pauses_s):
                raise
            time.sleep(pauses_s[tries])
            tries += 1


def host_of(address: str) -> str:
    """The host (and port) that is asked for `address`."""
    protocol = address.partition("://")[0]
    if protocol in WEB:
        return printable(urlsplit(address).netloc[:200])
    endpoint = _endpoint(address) if protocol == "s3" else ""
    return printable((urlsplit(endpoint).netloc or HOSTS.get(protocol, protocol))[:200])


def _endpoint(address: str) -> str:
    """The endpoint that s3fs was told: by the environment, its own configuration, or fsspec's; "" for Amazon's."""
    try:
        files, _ = remote(address)
        told = getattr(files, "endpoint_url", None) or getattr(files, "client_kwargs", {}).get("endpoint_url")
        client = getattr(files, "_s3", None)
        used = getattr(getattr(client, "meta", None), "endpoint_url", None)
    except Exception:  # noqa: BLE001  whatever is wrong with it is what is being told
        return ""
    given = (os.environ.get(name) for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"))
    return str(told or used or next(filter(None, given), ""))


def trouble(address: str, error: BaseException, done: str = "read") -> DataError:
    """What to raise where a file at a distance cannot be read, or `done`: what, which host, why, the next step."""
    where, host, kind = shown(address), host_of(address), _kind(error)
    text = printable(str(getattr(error, "strerror", None) or error)[:100]).rstrip(".") or type(error).__name__
    text = text.partition(': "http')[0]  # the address stands in front already
    if isinstance(error, TimeoutError) and not str(error):
        text = f"less than {LEAST_BYTES_A_SECOND // 1000} kB a second comes"
    is_web, is_s3 = address.partition("://")[0] in WEB, address.startswith("s3://")
    log_in = f"Use credentials by which it may be {done} (docs/sources.md)."
    again = "Wait a while, then give the same command again; what was fetched is kept."
    reason, advice = {
        "credentials": (f"there are no credentials for {host}", "Log in, or say that it is public (docs/sources.md)."),
        "denied": (f"{host} refuses it ({_status(error) or 403})", log_in),
        "absent": (
            f"{host} has no such {'file' if done == 'read' else 'place'} ({_status(error) or 404})",
            "Check its name.",
        ),
        "busy": (f"{host} is out of order or overloaded ({_status(error) or 503}), also when asked again", again),
        "slow": (f"{host} is too slow: {text}", again),
        "cut": (f"{host} ends the connection in the middle ({text}), also when asked again", again),
        "unreachable": (
            f"{host} cannot be reached ({text})",
            f"Check {'AWS_ENDPOINT_URL and ' if is_s3 else 'the address and '}the network.",
        ),
        "unsafe": (f"{host} cannot be trusted ({text})", "Check its name, and the connection."),
        "other": (text if is_web else f"{host}: {text}", "Check its name, and the connection."),
    }[kind]
    return DataError(f"{where} cannot be {done}: {reason}.\n{advice}")


def _kind(error: BaseException) -> str:
    """What sort of trouble it is, by the error and those that it came from."""
    chain = list(_chain(error))
    names = {type(each).__name__ for each in chain}
    status = _status(error)
    if names & set(CREDENTIALS):
        return "credentials"
    if status in (401, 403) or any(isinstance(each, PermissionError) for each in chain):
        return "denied"
    if status in (404, 410) or any(isinstance(each, FileNotFoundError) for each in chain):
        return "absent"
    if (status is not None and (status == 429 or status >= 500)) or getattr(error, "errno", None) == errno.EBUSY:
        return "busy"
    if any(isinstance(each, ssl.SSLCertVerificationError) for each in chain):
        return "unsafe"
    refused = (ConnectionRefusedError, socket.gaierror)
    no_way = (errno.ENETUNREACH, errno.EHOSTUNREACH)
    if names & set(UNREACHABLE) or any(isinstance(e, refused) or getattr(e, "errno", None) in no_way for e in chain):
        return "unreachable"
    if any(isinstance(each, TimeoutError) for each in chain) or any("Timeout" in name for name in names):
        return "slow"
    if names & set(CUT) or any(isinstance(each, ConnectionError) for each in chain):
        return "cut"
    return "other"


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _status(error: BaseException) -> int | None:
    """The HTTP status in an error of any of the libraries; None where it has none."""
    for each in _chain(error):
        response = getattr(each, "response", None)
        if isinstance(response, dict):
            value = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
            if isinstance(value, int):
                return value
        for name in ("status", "status_code", "code"):
            value = getattr(each, name, None)
            if isinstance(value, int) and 100 <= value < 600:
                return value
    return None
