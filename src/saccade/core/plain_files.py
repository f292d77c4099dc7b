"""The one way to open a file that somebody else may have written: nothing is waited for, and only a plain file is read.

`open` waits for ever where a stranger has put a pipe, and fills the memory from a device that never ends: the size of
either is 0, so a limit on sizes does not see it.
"""

import errno
import os
import stat
from io import BufferedReader

from .errors import TOO_LONG_NAME, CheckpointError, UsageError, brief, printable, shell_word
from .types import AnyPath


class NotPlainFile(OSError):
    """A folder, a pipe, a socket or a device where a file was meant; or a name that no file can have."""

    def __init__(self, reason: str) -> None:
        super().__init__(errno.EINVAL, reason)

    def __str__(self) -> str:
        return str(self.strerror)


def open_plain_file(path: AnyPath | bytes, may_be_link: bool = True) -> BufferedReader:
    """The plain file at `path`, opened for reading. Raises OSError as `open` does, and for whatever else lies there."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags if may_be_link else flags | getattr(os, "O_NOFOLLOW", 0))
    except ValueError as error:  # a null character, or half of a surrogate pair
        is_text = isinstance(error, UnicodeError)
        raise NotPlainFile("its name is not valid text" if is_text else "its name holds a null character") from None
    if stat.S_ISREG(os.fstat(descriptor).st_mode):
        return open(descriptor, "rb")
    os.close(descriptor)
    raise NotPlainFile("it is not a plain file, but a folder, a pipe or a device")


def is_denied(folder: AnyPath) -> bool:
    """Whether `folder` is one that this user may not list or look into."""
    return os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK)


def refuse_denied_run(folder: AnyPath) -> None:
    """Raise CheckpointError where a run may not be read: nothing in it can be told from nothing."""
    if is_denied(folder):
        raise CheckpointError(
            f"The run {printable(os.fspath(folder))} may not be read: Permission denied.\n"
            f"Its owner can allow it: chmod -R a+rX {shell_word(folder)}"
        )


def refuse_long_name(path: AnyPath) -> None:
    """Raise UsageError where no file can be called so: `os.path.exists` says only that there is none."""
    try:
        os.lstat(path)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise UsageError(TOO_LONG_NAME.format(name=brief(os.fspath(path), 80))) from None
    except ValueError:  # a null character: `open_plain_file` says it
        return
