"""What Linux's kernel says of a process; elsewhere nothing is known."""

from pathlib import Path

STATE, START_TIME = 0, 19  # places in /proc/PID/stat behind the name (proc(5), fields 3 and 22)
HALTED = "T"


def is_halted(pid: int) -> bool:
    """Whether a process was halted (SIGSTOP), and does nothing until SIGCONT."""
    return _fact(pid, STATE) == HALTED


def began_at(pid: int) -> str:
    """When a process began, in ticks since the system did: with its number it names one process and no later one."""
    return _fact(pid, START_TIME)


def _fact(pid: int, place: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[place]
    except (OSError, IndexError, UnicodeDecodeError):
        return ""
