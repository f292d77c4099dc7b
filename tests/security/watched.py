"""Commands in a process that notes and refuses every way out of it: other processes, connections, files of others.

`python watched.py ORDERS`: ORDERS is a JSON file with `commands` (lists of arguments), `forbidden` (paths that may not
be opened) and `libraries` (a folder put in front of all others, or ""). Prints one JSON object.
"""

import contextlib
import io
import json
import resource
import sys
from pathlib import Path
from typing import Any

WAYS_OUT = {
    *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "pty.spawn"),
    *("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.bind", "socket.sendto"),
    *("ftplib.connect", "urllib.Request", "http.client.connect", "ctypes.dlopen.stranger"),
}
MEMORY_BYTES = 8 << 30
SECONDS = 120


def main(orders: dict[str, Any]) -> None:
    """Run the commands of `orders` and print what came of each, and what was tried."""
    if orders["libraries"]:
        sys.path.insert(0, orders["libraries"])
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS))
    tried: list[str] = []
    is_watching = False

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if not is_watching:
            return
        is_file = event == "open" and str(arguments[0]) in orders["forbidden"]
        if event in WAYS_OUT or is_file:
            tried.append(f"{event} {arguments[:2]}"[:300])
            raise PermissionError(f"{event} is refused by the test")

    sys.addaudithook(watch)
    import fsspec
    import pyarrow.parquet  # noqa: F401  libraries look at the machine when they are loaded
    import torch  # noqa: F401

    from saccade import api  # noqa: F401
    from saccade.cli.main import main as saccade

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    finished = []
    is_watching = True
    for command in orders["commands"]:
        sys.argv, tried[:] = ["saccade", *command], []
        output, errors = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
            try:
                saccade()
                status: Any = 0
            except SystemExit as ending:
                status = ending.code
            except BaseException as error:  # noqa: BLE001  what a person would see as a traceback
                status = f"{type(error).__name__}: {error}"
        finished.append({"command": command, "status": status, "errors": errors.getvalue(), "tried": list(tried)})
    print(json.dumps({"fsspec": fsspec.__version__, "finished": finished}))


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
