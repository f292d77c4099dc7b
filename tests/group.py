"""Groups of processes in tests, as torchrun starts them: on loopback, each on one thread, none of which outlives it."""

import os
import socket
from collections.abc import Sequence
from pathlib import Path

from tests.processes import Program


def start_group(
    arguments: Sequence[object], world_size: int, folder: Path, settings: dict[str, str] | None = None
) -> list[Program]:
    """`python ARGUMENTS` as each of so many processes, with `settings` in their environment."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "LOCAL_WORLD_SIZE": str(world_size),
        "GLOO_SOCKET_IFNAME": "lo",
        "OMP_NUM_THREADS": "1",
        **(settings or {}),
    }
    each = int(shared["LOCAL_WORLD_SIZE"])
    return [
        Program(arguments, folder, {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank % each)})
        for rank in range(world_size)
    ]


def run_group(
    arguments: Sequence[object], world_size: int, folder: Path, settings: dict[str, str] | None = None
) -> list[str]:
    """What each of them said, by rank; every one must have ended well."""
    done = [program.communicate() for program in start_group(arguments, world_size, folder, settings)]
    assert [each.returncode for each in done] == [0] * world_size, "\n".join(each.stderr for each in done)
    return [each.stdout for each in done]
