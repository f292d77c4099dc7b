"""A Python that has imported Saccade and computed nothing; every program that a test asks for runs in a fork of it.

It is started by `tests/processes.py`. A process that starts anew imports torch and all the rest for two to three
seconds, which is most of what many tests took. Not for tests of imports, of the encodings of streams or of what the
environment says to Python or to OpenMP: these need an interpreter of their own.
"""

import atexit
import gc
import io
import json
import os
import pkgutil
import runpy
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from types import ModuleType
from typing import Any, NoReturn

# What Saccade imports where it is used; torch imports its compiler to trace a network. Not huggingface_hub, which reads
# the environment when it is imported, and not vl_convert, whose engine starts threads.
LATER = (
    *("altair", "cv2", "numpy", "PIL.Image", "pyarrow.parquet", "rich.console", "safetensors.torch", "simplejpeg"),
    *("sklearn.datasets", "sklearn.linear_model", "scipy.ndimage", "scipy.stats", "torch", "torch._dynamo"),
)
LEFT_OUT = ("saccade.__main__", "saccade.weights.convert_child", "saccade.weights.hub")


def main() -> None:
    """Import, then fork once for each order that comes through the socket of descriptor `argv[1]`, until it ends."""
    orders = socket.socket(fileno=int(sys.argv[1]))
    del sys.path[0]  # the folder of tests, whose names are no modules
    import saccade

    for name in LATER:
        import_module(name)
    for module in pkgutil.walk_packages(saccade.__path__, "saccade."):
        if module.name not in LEFT_OUT:
            import_module(module.name)
    from saccade.core import packages, runtime

    for name in (runtime.DISTRIBUTION, *runtime.PACKAGES):
        packages.installed_version(name)  # every run asks, and remembers
    gc.freeze()  # what is imported stays, and no program copies it to look through it
    while True:
        header, descriptors, _, _ = socket.recv_fds(orders, 8, 4)
        if not header:
            return
        content = b""
        while len(content) < int.from_bytes(header, "big"):
            content += orders.recv(1 << 16)
        if is_the_program(descriptors):
            orders.close()
            end(become, json.loads(content), descriptors[:3])
        for descriptor in descriptors:
            os.close(descriptor)
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def is_the_program(descriptors: list[int]) -> bool:
    """True in the process that is to run the order. One between it and this one waits for it, and tells its number
    and then how it ended through the last descriptor."""
    if os.fork():
        return False
    told = descriptors[3]
    program = os.fork()
    if not program:
        os.close(told)
        return True
    for descriptor in descriptors[:3]:
        os.close(descriptor)
    os.write(told, f"{program}\n".encode())
    _, status = os.waitpid(program, 0)
    os.write(told, f"{os.waitstatus_to_exitcode(status)}\n".encode())
    os._exit(0)


def end(work: Callable[..., None], *arguments: Any) -> NoReturn:
    """Do `work`, then end as an interpreter does, but for taking apart all that is imported: that takes a second."""
    status: Any = 0
    try:
        work(*arguments)
    except SystemExit as ending:
        status = ending.code
    except KeyboardInterrupt:
        raise  # the interpreter ends itself by the signal
    except BaseException:  # noqa: BLE001  what nobody caught
        sys.excepthook(*sys.exc_info())
        status = 1
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            status = 120
    os._exit((status or 0) & 0xFF)


def become(order: dict[str, Any], descriptors: list[int]) -> None:
    """Run `python ARGUMENTS` as an interpreter that has just been started does."""
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["environment"])
    encoding, _, errors = os.environ.get("PYTHONIOENCODING", "").partition(":")
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        stream = io.TextIOWrapper(
            open(number, "wb" if number else "rb", closefd=False),
            encoding=encoding or "utf-8",
            errors="backslashreplace" if number == 2 else errors or "strict",
            line_buffering=number == 2 or os.isatty(number),
        )
        setattr(sys, name, stream)
        setattr(sys, f"__{name}__", stream)
    kind, *rest = order["arguments"]
    first = os.path.dirname(os.path.abspath(kind)) if kind not in ("-m", "-c") else order["folder"]
    added = [first, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    sys.path[:] = [*filter(None, added), *(place for place in sys.path if place not in added)]
    sys.argv = [kind, *rest] if kind not in ("-m", "-c") else ["-c", *rest[1:]]
    sys.modules["__main__"] = ModuleType("__main__")
    if kind == "-m":
        sys.argv[0] = rest[0]
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif kind == "-c":
        exec(compile(rest[0], "<string>", "exec"), vars(sys.modules["__main__"]))
    else:
        runpy.run_path(kind, run_name="__main__")


if __name__ == "__main__":
    main()
