"""Which process listens at a port, as Linux tells it of the processes that we may look at."""

import os
from collections.abc import Iterator
from pathlib import Path

from ..core.errors import brief
from ..core.plain_files import open_plain_file

LISTENS = b"0A"  # the state, in /proc/net/tcp


def port_holder(port: int, root: Path = Path("/proc")) -> str:
    """`process 4711 (python3)`; "" where it cannot be found out."""
    wanted = {f"socket:[{inode}]" for inode in _listening_inodes(port, root)}
    if not wanted:
        return ""
    for process in root.iterdir():
        if process.name.isdecimal() and wanted & set(_open_files(process / "fd")):
            return (
                f"process {process.name} ({brief(_content(process / 'comm').decode('utf-8', 'replace').strip(), 40)})"
            )
    return ""


def _listening_inodes(port: int, root: Path) -> Iterator[str]:
    for name in ("tcp", "tcp6"):
        for line in _content(root / "net" / name).splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == LISTENS and int(fields[1].rpartition(b":")[2], 16) == port:
                yield fields[9].decode()


def _open_files(folder: Path) -> Iterator[str]:
    try:
        names = os.listdir(folder)
    except OSError:
        return  # somebody else's process, or it has ended
    for name in names:
        try:
            yield os.readlink(folder / name)
        except OSError:
            continue


def _content(path: Path) -> bytes:
    try:
        with open_plain_file(path) as file:
            return file.read()
    except OSError:
        return b""
