"""What the campaigns that damage files share: mutations of bytes, and a child process behind walls that reads them.

A campaign gives `run_campaign` its kinds of files: how to write a damaged one into an empty folder, and the name of the
function that reads it, `check(kind, folder) -> str`. That function runs in a child process. It returns a few words on a
sane result, or raises; what is no SaccadeError of one to four printable lines is a failure. So are: a death of the
child, more than `Limits` of time or memory, anything on standard error, a message that names none of the files, and
whatever an audit hook sees of sockets, of other processes, of writing or deleting outside the folder, and of reading
outside the folder, Python and this repository. Needs Linux.
"""

import contextlib
import json
import os
import random
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parent.parent
HEADER_BYTES = 64
EXTREMES = (0, 1, 2, 7, 127, 128, 255, 256, 4096, 7071, 32767, 32768, 65535, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
LARGE_EXTREMES = (2**32, 2**40, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
MAX_LINES = 4
MAX_LINE_CHARACTERS = 1200
SHOWN_FAILURES = 200

Mutator = Callable[[bytearray, random.Random, Sequence[bytes]], None]


# --- mutations of bytes ---


def mutate(content: bytes, draw: random.Random, others: Sequence[bytes] = ()) -> bytes:
    """`content` with one to eight mutations; `others` are what may be spliced in."""
    damaged = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        draw.choice(MUTATORS)(damaged, draw, others or (content,))
    return bytes(damaged)


def place(content: bytearray, draw: random.Random) -> int:
    """Anywhere, half of the time near the beginning."""
    end = len(content) if draw.random() < 0.5 else min(len(content), HEADER_BYTES)
    return draw.randrange(max(1, end))


def flip_bits(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    for _ in range(draw.choice((1, 2, 16))):
        if content:
            content[place(content, draw)] ^= 1 << draw.randrange(8)


def change_bytes(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    start = place(content, draw)
    length = min(draw.choice((1, 2, 4, 64)), len(content) - start)
    content[start : start + length] = draw.randbytes(length)


def delete_bytes(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    start = place(content, draw)
    del content[start : start + draw.choice((1, 2, 16, 256))]


def insert_bytes(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    start = place(content, draw)
    content[start:start] = draw.choice((draw.randbytes(draw.choice((1, 4, 100))), bytes(draw.choice((1, 4, 1000)))))


def repeat_bytes(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    start = place(content, draw)
    content[start:start] = content[start : start + draw.choice((1, 8, 128))] * draw.choice((1, 2, 20))


def truncate(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    del content[place(content, draw) :]


def splice(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    other = bytearray(draw.choice(others))
    content[place(content, draw) :] = other[place(other, draw) :]


def write_number(content: bytearray, draw: random.Random, others: Sequence[bytes]) -> None:
    """An extreme number of 1, 2, 4 or 8 bytes, in either order, most often in the header."""
    code = draw.choice(("B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    size = struct.calcsize(code)
    number = draw.choice(EXTREMES + LARGE_EXTREMES if size == 8 else EXTREMES) % (1 << 8 * size)
    start = place(content, draw)
    content[start : start + size] = struct.pack(code, number)


MUTATORS: tuple[Mutator, ...] = (
    *(flip_bits, change_bytes, delete_bytes, insert_bytes),
    *(repeat_bytes, truncate, splice, write_number),
)

# Values of every type and size that JSON and TOML can hold; a campaign puts them where others belong.
STRANGE_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63), 10**30, 0.5, -0.0, 1e308, -1e308, 1e-308),
    *("", "abc", "0", "-1", "nan", "../x", "/etc/hosts", "a\0b", "\x1b[31m", "\u202e", "\ud800", "x" * 5000, "é" * 300),
    *([], {}, [[]], [None], [1, 2, 3], ["a"], {"a": 1}, {"": None}, [[[[[[]]]]]], list(range(3000))),
)


def mutate_value(value: Any, draw: random.Random) -> Any:
    """A JSON value with one place in it changed: replaced, removed, repeated or renamed."""
    if isinstance(value, dict) and value and draw.random() < 0.85:
        key = draw.choice(list(value))
        action = draw.random()
        rest = {other: item for other, item in value.items() if other != key}
        if action < 0.1:
            return rest
        if action < 0.2:
            return {**value, draw.choice(("", "x", "__class__", f"{key} ", key.upper())): value[key]}
        return {other: mutate_value(item, draw) if other == key else item for other, item in value.items()}
    if isinstance(value, list) and value and draw.random() < 0.7:
        where = draw.randrange(len(value))
        action = draw.random()
        if action < 0.15:
            return value[:where] + value[where + 1 :]
        if action < 0.3:
            return value[:where] + value[where : where + 1] * draw.choice((2, 3, 50)) + value[where + 1 :]
        return value[:where] + [mutate_value(value[where], draw)] + value[where + 1 :]
    if type(value) is int and draw.random() < 0.5:
        return draw.choice((value + 1, value - 1, -value, value * 1000, float(value), str(value)))
    return draw.choice(STRANGE_VALUES)


# --- the campaign ---


@dataclass(frozen=True)
class Limits:
    """What reading one damaged file may take. Memory is counted beyond what the child has after its imports."""

    max_seconds: float = 5.0
    hang_seconds: float = 60.0
    max_memory_bytes: int = 600 << 20
    address_space_bytes: int = 2 << 30


@dataclass(frozen=True)
class Kind:
    """A kind of file: `write(folder, draw)` leaves a damaged one in an empty folder.

    A message names one of `names`; the folder's own path is always among them.
    """

    write: Callable[[Path, random.Random], None]
    names: tuple[str, ...] = ()


@dataclass
class Tally:
    """What became of the mutations of one kind, and everything found wrong."""

    outcomes: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    slowest_s: float = 0.0
    largest_bytes: int = 0

    def add(self, label: str, answer: dict[str, Any], found: list[str]) -> None:
        """Count one answer, of which `found` is wrong."""
        self.outcomes[answer["outcome"]] += 1
        self.failures += [f"{label}: {text}" for text in found]
        self.slowest_s = max(self.slowest_s, answer.get("seconds", 0.0))
        self.largest_bytes = max(self.largest_bytes, answer.get("memory_bytes", 0))


def run_campaign(
    kinds: Mapping[str, Kind],
    check: str,
    num_mutations: int,
    seed: int,
    limits: Limits | None = None,
    first: int = 0,
) -> dict[str, Any]:
    """Read `num_mutations` damaged files of each kind by `check` ("module:function"); what came of it, for JSON.

    Mutation number i of a kind is a function of (seed, kind, i) alone; `first` is the number to begin with.
    """
    limits = limits or Limits()
    tallies = {name: Tally() for name in kinds}
    with tempfile.TemporaryDirectory(prefix="saccade-campaign-") as base, Reader(check, limits) as reader:
        for name, kind in kinds.items():
            for number in range(first, first + num_mutations):
                folder = Path(base) / f"mutation-{name.replace(' ', '-')}-{number}"  # no name of a folder of labels
                write_mutation(kind, name, seed, number, folder)
                answer = reader.read(name, folder)
                label = f"{name}/{number}"
                tallies[name].add(label, answer, wrong(answer, limits, (str(folder), *kind.names)))
                shutil.rmtree(folder, ignore_errors=True)
    failures = [text for tally in tallies.values() for text in tally.failures]
    return {
        "mutations of each kind": num_mutations,
        "seed": seed,
        "outcomes": {name: dict(sorted(tally.outcomes.items())) for name, tally in tallies.items()},
        "slowest s": {name: round(tally.slowest_s, 2) for name, tally in tallies.items()},
        "largest memory MB": {name: round(tally.largest_bytes / 1e6) for name, tally in tallies.items()},
        "failures": failures[:SHOWN_FAILURES],
        "num failures": len(failures),
    }


def write_mutation(kind: Kind, name: str, seed: int, number: int, folder: Path) -> None:
    """Mutation `number` of a kind, in a new folder."""
    folder.mkdir()
    kind.write(folder, random.Random(f"{seed}/{name}/{number}"))


def wrong(answer: dict[str, Any], limits: Limits, names: Sequence[str]) -> list[str]:
    """What is wrong with how a file was answered."""
    outcome, message = answer["outcome"], answer["message"]
    found = [f"forbidden: {event}" for event in answer.get("forbidden", [])]
    if outcome not in ("result", "error"):
        found.append(f"{outcome}: {message}")
    if outcome == "error":
        lines = message.split("\n")
        if not 1 <= len(lines) <= MAX_LINES:
            found.append(f"message of {len(lines)} lines: {message!r}")
        if not all(line and line.isprintable() for line in lines):
            found.append(f"message with an empty line or characters that are not printable: {message!r}")
        if max(map(len, lines)) > MAX_LINE_CHARACTERS:
            found.append(f"message of {len(message):,} characters: {message[:200]!r}")
        if names and not any(name in message for name in names):
            found.append(f"message that names no file: {message!r}")
    if answer.get("stderr"):
        found.append(f"on standard error: {answer['stderr'][-500:]!r}")
    if answer.get("seconds", 0.0) > limits.max_seconds:
        found.append(f"took {answer['seconds']:.1f} s")
    if answer.get("memory_bytes", 0) > limits.max_memory_bytes:
        found.append(f"took {answer['memory_bytes'] / 1e6:.0f} MB")
    return found


# --- the child that reads ---

CHILD = r"""
import importlib, json, os, resource, sys, time, traceback
answers = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
module, _, function = sys.argv[1].partition(":")
check = getattr(importlib.import_module(module), function)
from saccade.core.errors import SaccadeError
from campaigns.mutations import Walls, memory_bytes, forget_the_peak, limit_resources
getattr(sys.modules[module], "prepare", lambda: None)()  # imports that the first file need not wait for
limit_resources(int(sys.argv[2]))
walls = Walls()
sys.addaudithook(walls.see)
print("ready", file=answers, flush=True)
for line in sys.stdin:
    job = json.loads(line)
    forget_the_peak()
    before_bytes, start = memory_bytes("VmRSS"), time.perf_counter()
    walls.raise_around(job["folder"])
    try:
        answer = {"outcome": "result", "message": str(check(job["kind"], job["folder"]))[:500]}
    except SaccadeError as error:
        answer = {"outcome": "error", "message": error.message, "class": type(error).__name__}
    except BaseException as error:
        frames = [f"{os.path.basename(f.filename)}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)]
        answer = {"outcome": type(error).__name__, "message": f"{str(error)[:300]} ({' '.join(frames[-6:])})"}
        del error
    answer["forbidden"] = walls.lower()
    answer["seconds"] = time.perf_counter() - start
    answer["memory_bytes"] = max(0, memory_bytes("VmHWM") - before_bytes)
    print(json.dumps(answer), file=answers, flush=True)
"""


class Forbidden(RuntimeError):
    """What the audit hook raises where a file makes its reader do what no file may."""


class Walls:
    """An audit hook (PEP 578) that refuses the network, other processes, and files outside a folder."""

    FORBIDDEN = (
        *("socket.connect", "socket.bind", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto"),
        *("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"),
        *(
            "pty.spawn",
            "ftplib.connect",
            "urllib.Request",
            "http.client.connect",
            "smtplib.connect",
            "pickle.find_class",
        ),
    )
    CHANGES = (
        *("os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod"),
        *("os.chown", "os.utime", "os.setxattr", "shutil.rmtree", "shutil.move"),
    )
    LISTINGS = ("os.listdir", "os.scandir")
    WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

    def __init__(self) -> None:
        python = (sys.prefix, sys.base_prefix, *sys.path, "/proc", "/sys", "/usr", "/lib", "/etc/localtime", "/dev")
        self._readable = tuple(os.path.realpath(path) for path in python if path)
        self._folder: str | None = None
        self._seen: list[str] = []

    def raise_around(self, folder: str) -> None:
        """From now on only `folder` may be written to."""
        self._seen, self._folder = [], os.path.realpath(folder)

    def lower(self) -> list[str]:
        """No walls until the next folder; what was tried."""
        self._folder = None
        return self._seen

    def see(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The hook itself."""
        if self._folder is None:
            return
        if event in self.FORBIDDEN:
            self._refuse(event, arguments)
        elif event == "open":
            path, _, flags = arguments
            is_writing = bool((flags or 0) & self.WRITING) and path != os.devnull
            if isinstance(path, str | bytes | os.PathLike) and not self._is_inside(path, is_writing):
                self._refuse("writing" if is_writing else "reading", (path,))
        elif event in self.CHANGES:
            if not all(self._is_inside(path, True, event in ENTRIES) for path in _paths(event, arguments)):
                self._refuse(event, arguments)
        elif event in self.LISTINGS and not all(self._is_inside(path, False) for path in _paths(event, arguments)):
            self._refuse(event, arguments)

    def _is_inside(self, path: Any, is_writing: bool, is_entry: bool = False) -> bool:
        text = _itself(path) if is_entry else os.path.realpath(os.fsdecode(path))
        roots = (self._folder,) if is_writing else (self._folder, *self._readable)
        return any(text == root or text.startswith(f"{root}{os.sep}") for root in roots if root)

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        text = f"{event} {arguments!r}"[:300]
        self._seen.append(text)
        raise Forbidden(text)


# What changes the entry of a folder and not what it links to.
ENTRIES = {"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink"}


def _itself(path: Any) -> str:
    """`path` with every link before its last name followed."""
    folder, name = os.path.split(os.fsdecode(path).rstrip(os.sep))
    return os.path.join(os.path.realpath(folder or os.curdir), name)


def _paths(event: str, arguments: tuple[Any, ...]) -> list[Any]:
    """The paths among the arguments of an audit event; one may be left out (the working folder) or a descriptor."""
    number = 2 if event in ("os.rename", "os.link", "shutil.move") else 1
    if event == "os.symlink":
        return list(arguments[1:2])
    return [path for path in arguments[:number] if isinstance(path, str | bytes | os.PathLike)]


def memory_bytes(name: str) -> int:
    """`VmRSS`, `VmHWM` (the peak) or `VmSize` of this process."""
    with open("/proc/self/status", encoding="ascii") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def forget_the_peak() -> None:
    """Let VmHWM begin again at VmRSS."""
    with open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def limit_resources(address_space_bytes: int) -> None:
    """Memory beyond what this process has mapped, open files, sizes of files, no core."""
    import resource

    for what, most in (
        (resource.RLIMIT_AS, memory_bytes("VmSize") + address_space_bytes),
        (resource.RLIMIT_NOFILE, 256),
        (resource.RLIMIT_FSIZE, 1 << 30),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(what, (most, most))


class Reader:
    """A child process that reads one damaged file after the other and is replaced when it dies or hangs."""

    def __init__(self, check: str, limits: Limits | None = None) -> None:
        self._check = check
        self._limits = limits or Limits()
        self._child: subprocess.Popen[str] | None = None
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`

    def __enter__(self) -> "Reader":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
        self._errors.close()

    def read(self, kind: str, folder: Path) -> dict[str, Any]:
        """The child's answer on what lies in `folder`: outcome, message, seconds, memory_bytes, forbidden, stderr."""
        child = self._child or self._start()
        start = self._errors.seek(0, os.SEEK_END)
        is_late = threading.Event()
        watch = threading.Timer(self._limits.hang_seconds, lambda: (is_late.set(), child.kill()))
        watch.start()
        line = ""
        try:
            with contextlib.suppress(BrokenPipeError):
                child.stdin.write(json.dumps({"kind": kind, "folder": str(folder)}) + "\n")  # type: ignore[union-attr]
                child.stdin.flush()  # type: ignore[union-attr]
                line = child.stdout.readline()  # type: ignore[union-attr]
        finally:
            watch.cancel()
        answer = json.loads(line) if line else self._bury(child, is_late.is_set())
        self._errors.seek(start)
        answer["stderr"] = self._errors.read(1 << 16).decode("utf-8", "replace")
        return answer

    def close(self) -> None:
        """End the child."""
        if self._child is not None:
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()  # type: ignore[union-attr]
            self._child.wait()
            self._child.stdout.close()  # type: ignore[union-attr]
            self._child = None

    def _bury(self, child: "subprocess.Popen[str]", is_late: bool) -> dict[str, Any]:
        status = child.wait()
        self.close()
        if is_late:
            return {"outcome": "hang", "message": f"no answer in {self._limits.hang_seconds:.0f} s"}
        return {"outcome": "crash", "message": f"the process ended with {status}"}

    def _start(self) -> "subprocess.Popen[str]":
        paths = [str(REPOSITORY), str(REPOSITORY / "src"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        calm = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
        child = subprocess.Popen(
            [sys.executable, "-B", "-W", "always", "-c", CHILD, self._check, str(self._limits.address_space_bytes)],
            cwd=REPOSITORY,
            env={**os.environ, **calm, "PYTHONPATH": os.pathsep.join(path for path in paths if path)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )
        if child.stdout.readline() != "ready\n":  # type: ignore[union-attr]
            self._errors.seek(0)
            raise RuntimeError(f"the reading process does not start: {self._errors.read().decode()[-2000:]}")
        self._child = child
        return child
