"""How much memory this process may still take, as Linux tells it; torch is not imported."""

from pathlib import Path

from .plain_files import open_plain_file


def free_memory_bytes(
    meminfo: Path = Path("/proc/meminfo"), own: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")
) -> int | None:
    """The smallest of what the machine has and what the control groups (version 2) of this process leave; None where
    nothing tells."""
    found = [
        int(line.split()[1]) * 1024
        for line in _lines(meminfo)
        if line.startswith("MemAvailable:") and line[-2:] == "kB"
    ]
    for line in _lines(own):
        if line.startswith("0::"):
            folder = root / line.removeprefix("0::").lstrip("/")
            for place in [folder, *folder.parents]:
                found += _left_in(place)
                if place == root:
                    break
    return min(found, default=None)


def _left_in(group: Path) -> list[int]:
    limit, used = (next(iter(_lines(group / name)), "") for name in ("memory.max", "memory.current"))
    return [max(0, int(limit) - int(used))] if limit.isdecimal() and used.isdecimal() else []


def _lines(path: Path) -> list[str]:
    try:
        with open_plain_file(path) as file:
            return file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []  # not Linux, or hidden: nothing tells
