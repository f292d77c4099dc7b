"""Files that are either whole or not there: temporary name, fsync, rename, fsync of the folder."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import StorageError, printable, shell_word

TEMPORARY_SUFFIX = ".saccade-tmp"
SYSTEM_PLACES = ("/proc/", "/sys/")


def write_bytes(path: Path, content: bytes) -> None:
    """Replace `path` by `content`, durably. Raises StorageError; the previous file is then untouched."""

    def fill(temporary: Path) -> None:
        with open(temporary, "wb") as file:
            file.write(content)

    write_with(path, fill, needed_bytes=len(content))


def write_text(path: Path, text: str) -> None:
    """Replace `path` by UTF-8 `text`, durably. Raises StorageError; the previous file is then untouched."""
    write_bytes(path, text.encode("utf-8"))


def write_with(path: Path, fill: Callable[[Path], None], needed_bytes: int = 0) -> None:
    """Replace `path` by the file that `fill(temporary_path)` writes, durably. Raises StorageError."""
    # a number of its own, too: in containers that share a folder, every process may be number 1
    temporary = path.with_name(f"{path.name}.{os.getpid()}-{os.urandom(4).hex()}{TEMPORARY_SUFFIX}")
    with storage_errors(path, needed_bytes):
        try:
            temporary.unlink(missing_ok=True)  # what stands there may be a link, which must not be written through
            fill(temporary)
            sync_file(temporary)
            os.replace(temporary, path)
            sync_folder(path.parent)
        finally:
            with suppress(OSError):  # where the disk fails, the first error is the one to tell
                temporary.unlink(missing_ok=True)


def replace_folder(
    path: Path,
    fill: Callable[[Path], None],
    marker: str,
    keep_previous: bool,
    needed_bytes: int = 0,
    aside: Path | None = None,
) -> None:
    """Replace the folder `path` by the one that `fill(temporary_path)` writes, durably. Raises StorageError.

    At every moment a complete folder stands at `path`, at `previous_folder(path)` or under the temporary name; with
    `keep_previous` the one that was replaced stays. `fill` writes the file `marker`, which says that a folder is
    complete, last and through `write_bytes`. `aside` is a place for the previous one, where others may use that name.
    """
    temporary = temporary_folder(path)
    with storage_errors(path, needed_bytes):
        if not path.exists() and (temporary / marker).exists():
            os.rename(temporary, path)  # killed between the two renames: this is the newest, and stays so
            sync_folder(path.parent)
        _remove_folder(temporary, marker)
        try:
            temporary.mkdir(parents=True)
            fill(temporary)
            sync_folder(temporary)
        except BaseException:
            with suppress(OSError):
                _remove_folder(temporary, marker)
            raise
        _swap_in(path, marker, keep_previous, aside)


def settle_folder(path: Path, newest: Path | None, marker: str, keep_previous: bool) -> None:
    """Tidy up behind a killed `replace_folder`, given which of its places holds the newest whole folder: what was
    written completely takes its name, what was not goes. Raises StorageError."""
    with storage_errors(path):
        if newest == temporary_folder(path):
            _swap_in(path, marker, keep_previous)
            return
        _remove_folder(temporary_folder(path), marker)
        if newest == path and not keep_previous:
            _remove_folder(previous_folder(path), marker)


def _swap_in(path: Path, marker: str, keep_previous: bool, aside: Path | None = None) -> None:
    """Put the complete `temporary_folder(path)` in the place of `path`."""
    temporary, previous = temporary_folder(path), aside or previous_folder(path)
    if path.exists():
        _remove_folder(previous, marker)
        sync_folder(path.parent)
        os.rename(path, previous)
        sync_folder(path.parent)  # before the next rename: never two names for nothing
    os.rename(temporary, path)
    sync_folder(path.parent)
    if not keep_previous:
        _remove_folder(previous, marker)


def temporary_folder(path: Path) -> Path:
    """Where `replace_folder` builds the next `path`."""
    return path.with_name(path.name + TEMPORARY_SUFFIX)


def previous_folder(path: Path) -> Path:
    """Where `replace_folder` keeps the one before `path`."""
    return path.with_name(path.name + ".previous")


def aside_folder(path: Path) -> Path:
    """Where a folder among a person's own goes that `path` replaces: a name that nobody else uses."""
    return path.with_name(path.name + ".previous" + TEMPORARY_SUFFIX)


def _remove_folder(path: Path, marker: str) -> None:
    if path.is_symlink():  # what it points to is nobody's to remove
        path.unlink()
    elif path.exists():
        (path / marker).unlink(missing_ok=True)  # first: half a folder must not look whole
        shutil.rmtree(path)


def make_folder(path: Path) -> None:
    """Create `path` and its parents, durably. Raises StorageError where the disk or the permissions do not allow it."""
    missing = [folder for folder in [path, *path.parents] if not folder.exists()]
    with storage_errors(path):
        path.mkdir(parents=True, exist_ok=True)
        for folder in missing:
            sync_folder(folder.parent)


def check_file(path: Path) -> None:
    """Raise StorageError where no file could be written at `path`, before long work for it. Its folder is made."""
    make_folder(path.parent)
    with storage_errors(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not os.access(path.parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def remove_temporaries(folder: Path) -> list[Path]:
    """Delete the files that killed processes left directly in `folder` under temporary names; returns the paths.

    Folders under temporary names stay: `replace_folder` clears its own, and it may hold the newest checkpoint.
    """
    leftovers = sorted(path for path in folder.glob(f"*{TEMPORARY_SUFFIX}") if path.is_file())
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def sync_file(path: Path) -> None:
    """Push the content of `path` to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Push the names in the folder `path` to the disk, so that a rename survives power loss."""
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def storage_errors(path: Path, needed_bytes: int = 0) -> Iterator[None]:
    """Turn the operating system's errors about the disk into StorageError; others pass unchanged.

    The outermost names the path and the bytes: a checkpoint is what a person knows, not the file in it."""
    try:
        yield
    except StorageError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        raise StorageError(_explain(error.__cause__, path, needed_bytes)) from error.__cause__
    except OSError as error:
        raise StorageError(_explain(error, path, needed_bytes)) from error


def _explain(error: OSError, path: Path, needed_bytes: int) -> str:
    where = printable(str(path))
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "The disk is full" if error.errno == errno.ENOSPC else "Your disk quota is used up"
        needed = f"{needed_bytes:,} bytes are needed" if needed_bytes else "More space is needed"
        return (
            f"{what}: cannot write {where}.\n"
            f"{needed}, {free_bytes(path):,} are free. What was saved before is intact.\n"
            f"Free some space, or choose another place."
        )
    if f"{os.path.realpath(path)}/".startswith(SYSTEM_PLACES):
        return f"Cannot write {where}: no files are kept there, it shows the system.\nChoose another place."
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "is on a read-only file system" if error.errno == errno.EROFS else "may not be written by you"
        return f"Cannot write {where}: it {what}.\nChoose another place, or change the permissions."
    link = next((place for place in (path, *path.parents) if place.is_symlink() and not place.exists()), None)
    if link is not None:
        leads = f"{printable(str(link))} is a link that leads nowhere"
        return f"Cannot write {where}: {leads}.\nRemove the link, or choose another place."
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return f"Cannot write {where}: a file stands where a folder is needed.\nChoose another place."
    if error.errno == errno.EISDIR:
        return f"Cannot write {where}: it is a folder.\nGive the name of a file."
    if error.errno == errno.ENOENT and not path.parent.exists():
        folder = printable(str(path.parent))
        return f"Cannot write {where}: the folder {folder} is not there.\nMake it: mkdir -p {shell_word(path.parent)}"
    reason = error.strerror or str(error)
    return f"Cannot write {where}: {reason}.\nWhat was saved before is intact; check the disk."


def free_bytes(path: Path) -> int:
    """Bytes free on the disk that `path` lies on, or would lie on."""
    existing = next((folder for folder in [path, *path.parents] if folder.exists()), Path("/"))
    return shutil.disk_usage(existing).free
