"""The child process of `saccade convert`: shuts itself in, opens the pickle, leaves plain tensors behind.

    python -I convert_child.py REQUEST.json

Run as a file, so that nothing but this text and torch takes part. In order: no new privileges, a network of its own
without devices (both where Linux allows it); with memory and processor time limited, a zip must hold its entries
uncompressed, and an older file's pickles are counted; torch is imported, which takes two seconds that a refusal need
not wait for; memory, processor time, file size, open files and new processes are limited for good; then
`torch.load(weights_only=True)`, which builds nothing but tensors and plain containers.
"""

import ctypes
import errno
import json
import math
import os
import pickletools
import re
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

PR_SET_NO_NEW_PRIVS = 38  # linux/prctl.h
CLONE_NEWUSER, CLONE_NEWNET = 0x10000000, 0x40000000  # linux/sched.h
NESTED = ("state_dict", "model", "model_state_dict", "state_dict_ema", "model_ema", "ema", "net")
NO_NETWORK = "no network"
OPEN_FILES = 64
MAX_ZIP_ENTRIES = 100_000
MAX_PICKLE_BYTES = 16 << 20  # of the part that names the tensors; those of the largest networks take 1 MB
MAX_PICKLE_OPCODES = 2_000_000  # of the same; a tensor takes about 30
LEGACY_START = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # a pickle of torch's number 0x1950a86a20f9469cfc6c
LEGACY_PICKLES = (
    5  # in front of the tensors' bytes: this number, the version, the system, the object, the names of tensors
)
DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
NO_ROOM = 74  # the status where not even the result could be written; sysexits.h: EX_IOERR


def main() -> None:
    """Read the request, write tensors.safetensors and result.json into its folder; status 0, or NO_ROOM, or killed."""
    with open(sys.argv[1], encoding="utf-8") as file:
        request = json.load(file)
    sys.path[:] = request["import_path"]
    enforced = shut_in()
    result: dict[str, Any] = {"enforced": enforced}
    try:
        with limited_for_a_while(request):
            is_zip = can_map(request["path"])
            if is_zip:
                check_zip(request["path"])
            else:
                check_legacy(request["path"])
        import torch
        from safetensors.torch import save_file

        torch.set_num_threads(1)
        enforced += limit_resources(request)
        loaded = torch.load(request["path"], weights_only=True, map_location="cpu", mmap=is_zip)
        tensors = plain_tensors(loaded, torch, request["max_bytes"])
        save_file(tensors, os.path.join(request["folder"], "tensors.safetensors"))
    except Refused as refusal:
        result["refused"] = str(refusal)
    except MemoryError:
        result["failed"] = "MemoryError: it asks for more memory than the file can need"
    except OSError as error:
        result |= (
            {"errno": error.errno} if error.errno in DISK_ERRORS else {"failed": f"{type(error).__name__}: {error}"}
        )
    except Exception as error:  # noqa: BLE001 - whatever a stranger's file makes torch raise is told to the parent
        result["failed"] = f"{type(error).__name__}: {error}"[:2000]
        named = re.search(r"\(os error (\d+)\)", result["failed"])  # as safetensors tells what the system said
        if named and int(named[1]) in DISK_ERRORS:
            result["errno"] = int(named[1])
    try:
        with open(os.path.join(request["folder"], "result.json"), "w", encoding="utf-8") as file:
            json.dump(result, file)
    except OSError:
        sys.exit(NO_ROOM)


class Refused(Exception):
    """What the file holds is no state dict."""


def shut_in() -> list[str]:
    """Give up privileges and the network where the kernel lets us; what was given up, in words. Before any thread."""
    if sys.platform != "linux":
        return []
    library = ctypes.CDLL(None, use_errno=True)
    enforced = []
    if library.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0:
        enforced.append("no new privileges")
    if library.unshare(CLONE_NEWUSER | CLONE_NEWNET) == 0 or library.unshare(CLONE_NEWNET) == 0:
        enforced.append(NO_NETWORK)
    return enforced


@contextmanager
def limited_for_a_while(request: dict[str, Any]) -> Iterator[None]:
    """Processor time and memory of this process are limited in the block: their soft limits, which can be lifted."""
    if sys.platform == "win32":
        yield
        return
    import resource

    before = []
    for what, most in consumed(request).values():
        soft, hard = resource.getrlimit(what)
        try:
            resource.setrlimit(what, (most, hard))
        except (OSError, ValueError):
            continue  # it is smaller already, or the system does not have it
        before.append((what, (soft, hard)))
    try:
        yield
    finally:
        for what, limits in before:
            resource.setrlimit(what, limits)


def consumed(request: dict[str, Any]) -> dict[str, tuple[int, int]]:
    """The limits of what is used up, in words, counted from what this process has used already."""
    import resource

    used = resource.getrusage(resource.RUSAGE_SELF)
    processor_s = math.ceil(used.ru_utime + used.ru_stime) + request["processor_s"]
    limits = {"processor time": (resource.RLIMIT_CPU, processor_s)}
    if sys.platform == "linux":
        with open("/proc/self/statm", encoding="ascii") as file:
            mapped_bytes = int(file.read().split()[0]) * resource.getpagesize()
        limits["memory"] = (resource.RLIMIT_AS, mapped_bytes + request["max_memory_bytes"])
    return limits


def limit_resources(request: dict[str, Any]) -> list[str]:
    """Limits of this process, counted from what torch already uses; what is limited, in words."""
    if sys.platform == "win32":
        return []
    import resource

    limits = {
        **consumed(request),
        "file size": (resource.RLIMIT_FSIZE, request["max_bytes"]),
        "open files": (resource.RLIMIT_NOFILE, OPEN_FILES),
        "no new processes": (resource.RLIMIT_NPROC, 0),
        "no core file": (resource.RLIMIT_CORE, 0),
    }
    enforced = []
    for words, (what, most) in limits.items():
        try:
            # The soft limit on processor time names its cause (SIGXCPU); the hard one would only kill.
            resource.setrlimit(what, (most, most + 2 if what == resource.RLIMIT_CPU else most))
        except (OSError, ValueError):
            continue  # a system may allow less than it names; the list says what holds
        enforced.append(words)
    if "no new processes" in enforced and can_fork():  # Linux exempts root from this limit
        enforced.remove("no new processes")
    return enforced


def can_fork() -> bool:
    """Whether this process can start another one; the other one ends at once."""
    try:
        child = os.fork()
    except OSError:
        return False
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return True


def can_map(path: str) -> bool:
    """Whether the file is a zip, torch's format since 1.6, whose tensors can stay on the disk until they are read."""
    with open(path, "rb") as file:
        return file.read(4) == b"PK\x03\x04"


def check_zip(path: str) -> None:
    """Raise Refused for entries that would grow when they are read: torch.save stores all of them as they are."""
    try:
        with zipfile.ZipFile(path) as file:
            entries = file.infolist()
    except zipfile.BadZipFile:
        return  # torch says what it finds
    if len(entries) > MAX_ZIP_ENTRIES:
        raise Refused(f"it is a zip of {len(entries):,} entries; networks have at most {MAX_ZIP_ENTRIES:,} tensors")
    packed = next((entry for entry in entries if entry.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        raise Refused(f"its entry '{packed.filename[:80]}' is compressed, which torch.save never does")
    pickles = [entry for entry in entries if entry.filename.endswith(".pkl")]
    largest = max((entry.file_size for entry in pickles), default=0)
    if largest > MAX_PICKLE_BYTES:
        raise Refused(f"it names its tensors in {largest:,} bytes; at most {MAX_PICKLE_BYTES:,} are read")


class Bounded:
    """A file of which no more than MAX_PICKLE_BYTES are read. Raises Refused for more."""

    def __init__(self, file: Any) -> None:
        self.file, self.left_bytes = file, MAX_PICKLE_BYTES

    def read(self, num_bytes: int) -> bytes:
        self._take(num_bytes)
        return bytes(self.file.read(num_bytes))

    def readline(self) -> bytes:
        line = bytes(self.file.readline(self.left_bytes + 1))
        self._take(len(line))
        return line

    def _take(self, num_bytes: int) -> None:
        self.left_bytes -= num_bytes
        if self.left_bytes < 0:
            raise Refused(f"it names its tensors in more than {MAX_PICKLE_BYTES:,} bytes, the most that are read")


def check_legacy(path: str) -> None:
    """Raise Refused where the pickles of torch's format before 1.6 are longer than any network's: counted, not run."""
    num_opcodes = 0
    with open(path, "rb") as file:
        bounded: Any = Bounded(file)
        try:
            for _ in range(LEGACY_PICKLES):
                for _ in pickletools.genops(bounded):
                    num_opcodes += 1
                    if num_opcodes > MAX_PICKLE_OPCODES:
                        raise Refused(
                            f"its pickle has more than {MAX_PICKLE_OPCODES:,} instructions, the most that are read"
                        )
        except ValueError:
            return  # damaged: torch says what it finds


def plain_tensors(loaded: Any, torch: Any, max_bytes: int) -> dict[str, Any]:
    """The tensors by name, each with memory of its own. Raises Refused for what is no state dict."""
    for key in NESTED:
        if isinstance(loaded, dict) and isinstance(loaded.get(key), dict):
            loaded = loaded[key]
            break
    if not isinstance(loaded, dict):
        raise Refused(f"it holds {_article(type(loaded).__name__)}, no state dict")
    others = [(key, value) for key, value in loaded.items() if not isinstance(value, torch.Tensor)]
    if not loaded or others:
        if not others:
            raise Refused("it is empty")
        name, value = others[0]
        raise Refused(f"its entry '{str(name)[:80]}' is {_article(type(value).__name__)}, no tensor")
    dense = {str(key): value.detach() for key, value in loaded.items() if value.layout == torch.strided}
    if len(dense) < len(loaded) or any(value.is_quantized or value.is_meta for value in dense.values()):
        raise Refused("it holds sparse, quantised or absent tensors, not only plain ones")
    if sum(value.numel() * value.element_size() for value in dense.values()) > max_bytes:
        raise Refused("its tensors would be larger than the file")
    return {name: value.clone(memory_format=torch.contiguous_format) for name, value in dense.items()}


def _article(noun: str) -> str:
    return f"{'an' if noun[:1].lower() in 'aeiou' else 'a'} {noun}"


if __name__ == "__main__":
    main()
