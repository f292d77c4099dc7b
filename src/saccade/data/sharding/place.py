"""Where shards are written to: a folder of this machine, or a bucket."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any, Protocol

from ...core import atomic
from ...core.addresses import WEB, check_address, is_address, shown
from ...core.errors import DataError, StorageError, UsageError, printable, shell_word
from ...core.plain_files import open_plain_file
from ..source_text import split_source_text
from ..sources.tar.remote import remote, trouble

MAX_SMALL_BYTES = 1 << 30


def refuse_among_images(source: str, out: str) -> None:
    """Raise UsageError where shards at `out` would lie in the folder of the images that they are made of."""
    folder = split_source_text(source)[0]
    if is_address(out) or not os.path.isdir(folder):
        return
    whole, place = Path(folder).resolve(), Path(out).resolve()
    if place == whole or whole in place.parents:
        elsewhere = shell_word(whole.parent / f"{whole.name}-shards")
        raise UsageError(
            f"The shards {printable(out)} would lie among the images of {printable(folder)}, and change what it is.\n"
            f"Choose a place elsewhere: --out {elsewhere}"
        )


class Place(Protocol):
    """Files by their name. Each is whole or not there. Raises StorageError or DataError."""

    def held(self) -> AbstractContextManager[None]:
        """Keep other processes of this machine from writing there, where that is known."""

    def size(self, name: str) -> int | None:
        """Bytes of a file; None where there is none."""

    def read(self, name: str) -> bytes:
        """A small file."""

    def write(self, name: str, content: bytes) -> None:
        """A small file."""

    def working_file(self, name: str) -> AbstractContextManager[Path]:
        """A path on this machine to write a large file at; it is sent when the block ends without an error."""

    def opened(self, name: str) -> AbstractContextManager[IO[bytes]]:
        """A large file, to be read again."""


class Folder:
    """A folder of this machine."""

    def __init__(self, path: Path) -> None:
        self.path = path
        atomic.make_folder(path)

    @contextmanager
    def held(self) -> Iterator[None]:
        with atomic.storage_errors(self.path):
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError:
            raise StorageError(
                f"Another process is writing shards to {printable(str(self.path))}.\n"
                f"Wait until it ends, or choose another --out."
            ) from None
        finally:
            os.close(descriptor)

    def size(self, name: str) -> int | None:
        place = self.path / name
        return place.stat().st_size if place.is_file() else None

    def read(self, name: str) -> bytes:
        with open_plain_file(self.path / name) as file:
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        atomic.write_bytes(self.path / name, content)

    @contextmanager
    def working_file(self, name: str) -> Iterator[Path]:
        temporary = self.path / f"{name}{atomic.TEMPORARY_SUFFIX}"
        with atomic.storage_errors(self.path / name):
            try:
                yield temporary
                atomic.sync_file(temporary)
                os.replace(temporary, self.path / name)
                atomic.sync_folder(self.path)
            finally:
                temporary.unlink(missing_ok=True)

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        with open_plain_file(self.path / name) as file:
            yield file


class Bucket:
    """What lies below an address; a file is made on this machine, and sent when it is whole."""

    def __init__(self, address: str) -> None:
        self.address = address.rstrip("/")
        self._files, _ = remote(self.address)

    def held(self) -> AbstractContextManager[None]:
        return nullcontext()  # a bucket knows no locks; two that write the same bytes do no harm

    def size(self, name: str) -> int | None:
        try:
            return int(self._files.info(self._path(name))["size"])
        except FileNotFoundError:
            return None
        except Exception as error:  # noqa: BLE001  each remote file system has its own errors
            raise trouble(f"{self.address}/{name}", error) from None

    def read(self, name: str) -> bytes:
        with self.opened(name) as file:
            return file.read(MAX_SMALL_BYTES)

    def write(self, name: str, content: bytes) -> None:
        with self._told(name, "written"):
            self._files.pipe_file(self._path(name), content)

    @contextmanager
    def working_file(self, name: str) -> Iterator[Path]:
        with TemporaryDirectory(prefix="saccade-shard-") as folder:
            path = Path(folder) / name
            with atomic.storage_errors(path):
                yield path
            with self._told(name, "written"):
                self._files.put_file(str(path), self._path(name))

    @contextmanager
    def opened(self, name: str) -> Iterator[IO[bytes]]:
        with self._told(name):
            file = self._files.open(self._path(name), "rb")
        try:
            yield file
        finally:
            file.close()

    @contextmanager
    def _told(self, name: str, done: str = "read") -> Iterator[None]:
        try:
            yield
        except DataError:
            raise
        except Exception as error:  # noqa: BLE001  each remote file system has its own errors
            raise trouble(f"{self.address}/{name}", error, done) from None

    def _path(self, name: str) -> Any:
        return self._files._strip_protocol(f"{self.address}/{name}")


def check_out(out: str) -> None:
    """Raise UsageError or DataError where nothing can be written to `out`, before long work for it."""
    if is_address(out) and check_address(out) in WEB:
        raise UsageError(
            f"'{shown(out)}' is a web server, which takes no files.\nGive a folder, or s3://bucket/folder."
        )


def open_place(out: str) -> Place:
    """The place that `out` names. Raises as `check_out`."""
    check_out(out)
    return Bucket(out) if is_address(out) else Folder(Path(out))


def shown_place(out: str) -> str:
    """For a message."""
    return shown(out) if is_address(out) else printable(out)
