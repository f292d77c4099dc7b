"""The tar files that a person means: a file, a folder, a pattern with `*` or braces, here or at an address.

What a pattern comes to is counted before it is built, and no pattern walks a disk or a bucket: a name of 20 characters
could stand for 10 billion files.
"""

import fnmatch
import itertools
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

from ....core.addresses import WEB, check_address, is_address, shown
from ....core.errors import DataError, printable
from ....core.plain_files import open_plain_file
from .remote import remote, trouble
from .shards import Shard

BRACES = re.compile(r"\{([^{}]*)\}")
COMPRESSED = (".gz", ".tgz", ".bz2", ".xz", ".zst")
GZIP = b"\x1f\x8b"
MAX_EXPANDED_CHARACTERS = 64 << 20
MAX_LOOKED_AT = 1_000_000
MAX_SHARDS = 100_000
MAX_STARRED_PARTS = 2
NUMBERS = re.compile(r"([0-9]{1,12})\.\.([0-9]{1,12})")


def expand_braces(pattern: str) -> list[str]:
    """`a-{08..11}.tar` and `{a,b}.tar` as a shell expands them; numbers keep the width of the first.

    What it would come to is counted first. Raises DataError for more than 100,000 names, or braces inside braces.
    """
    parts = BRACES.split(pattern)
    if len(parts) == 1:
        return [pattern]
    if any(set(part) & {"{", "}"} for part in parts[::2]):
        raise DataError(f"'{shown(pattern)}' has braces inside braces.\nWrite one list: {{a,b,c}}.")
    total = math.prod(_count(inside) for inside in parts[1::2])
    if total > MAX_SHARDS:
        many = f"{total:,}" if total <= 10**12 else "over 1,000,000,000,000"
        raise DataError(
            f"'{shown(pattern)}' stands for {many} names; at most {MAX_SHARDS:,} are taken.\n"
            f"Give a folder of the files, or fewer of them."
        )
    if total * len(pattern) > MAX_EXPANDED_CHARACTERS:
        raise DataError(
            f"'{shown(pattern)}' stands for {total:,} names of {len(pattern):,} characters, which is too much text.\n"
            f"Give a folder of the files, or shorter names."
        )
    choices = [[part] if number % 2 == 0 else _alternatives(part) for number, part in enumerate(parts)]
    return ["".join(choice) for choice in itertools.product(*choices)]


def _count(inside: str) -> int:
    """How many texts `_alternatives` of it would be."""
    numbers = NUMBERS.fullmatch(inside)
    if not numbers:
        return inside.count(",") + 1
    first, last = int(numbers[1]), int(numbers[2])
    if last < first:
        raise DataError(f"The range {{{inside}}} has no number in it.\nWrite {{000..011}}.")
    return last - first + 1


def _alternatives(inside: str) -> list[str]:
    numbers = NUMBERS.fullmatch(inside)
    if not numbers:
        return inside.split(",")
    width = len(numbers[1])
    return [str(number).zfill(width) for number in range(int(numbers[1]), int(numbers[2]) + 1)]


def find_shards(text: str, left_out: list[str] | None = None) -> list[Shard]:
    """The shards that `text` means: a tar file, a folder of them, a pattern with * or braces. Raises DataError.

    With `left_out`, shards that cannot be read are named there, in a sentence each, and the others given.
    """
    where = shown(text)
    if is_address(text):
        check_address(text)
    paths: list[str] = []
    for pattern in expand_braces(text):
        paths += _matches(pattern)
        if len(paths) > MAX_SHARDS:
            raise DataError(f"{where} means more than {MAX_SHARDS:,} tar files.\nGive fewer of them.")
    if not paths:
        raise DataError(
            f"{where} means no tar file.\nGive a folder of .tar files, or a pattern such as a-{{00..07}}.tar."
        )
    base = os.path.commonprefix([os.path.dirname(path) + "/" for path in paths]).rpartition("/")[0]
    if Path(text).is_dir():
        base = str(Path(text))
    shards = []
    for path in paths:
        try:
            shards.append(_shard(path, base))
        except DataError as error:
            if left_out is None:
                raise
            left_out.append(error.message.splitlines()[0])
    return shards


def _shard(path: str, base: str) -> Shard:
    if path.lower().endswith(COMPRESSED) or _is_gzip(path):
        raise DataError(
            f"{printable(path)} is compressed, so that its images cannot be read in any order.\n"
            f"Unpack it to a plain .tar: gunzip, or the like. Images are compressed already."
        )
    return Shard(path, path[len(base) :].lstrip("/"), None if is_address(path) else _signature(path))


def _is_gzip(path: str) -> bool:
    """Whether a file here is gzipped, whatever its ending."""
    if is_address(path):
        return False
    try:
        with open_plain_file(path) as file:
            return file.read(2) == GZIP
    except OSError:
        return False  # reading it says why


def _matches(pattern: str) -> list[str]:
    if is_address(pattern):
        return _matches_there(pattern)
    path_here = Path(pattern)
    if path_here.is_dir():
        return [str(path) for path in sorted([*path_here.glob("*.tar"), *path_here.glob("*/*.tar")]) if _is_plain(path)]
    if "*" in pattern and not path_here.exists():
        return _matches_here(path_here)
    return [pattern]


def _matches_here(pattern: Path) -> list[str]:
    """The paths that fit; `*` may stand in two parts of a name, so that no pattern walks a disk. Raises DataError."""
    where = shown(str(pattern))
    if "**" in str(pattern) or sum("*" in part for part in pattern.parts) > MAX_STARRED_PARTS:
        raise DataError(
            f"'{where}' looks through folders in folders.\n"
            f"Write * in at most {MAX_STARRED_PARTS} parts of the path, and never **, such as shards/*/train-*.tar."
        )
    found, looked_at = [Path(pattern.anchor)], 0
    for part in pattern.parts[bool(pattern.anchor) :]:
        if "*" not in part:
            found = [folder / part for folder in found]
            continue
        inside = []
        for folder in found:
            for name in _names_in(folder):
                looked_at += 1
                if looked_at > MAX_LOOKED_AT:
                    raise DataError(f"'{where}' looks through more than {MAX_LOOKED_AT:,} names.\nGive fewer folders.")
                if fnmatch.fnmatchcase(name, part):
                    inside.append(folder / name)
        found = inside
    return [str(path) for path in sorted(found) if path.exists()]


def _names_in(folder: Path) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            yield from (entry.name for entry in entries)
    except (NotADirectoryError, FileNotFoundError):
        return  # a file among the folders of a pattern
    except OSError as error:
        raise DataError(
            f"The folder {printable(str(folder))} cannot be listed: {error.strerror or error}.\nCheck its permissions."
        ) from None


def _matches_there(pattern: str) -> list[str]:
    """The addresses that fit a pattern, or those of the tar files in a folder. Raises DataError."""
    where = shown(pattern)
    protocol = check_address(pattern)
    if "*" not in pattern and not pattern.endswith("/"):
        return [pattern]
    if protocol in WEB:
        raise DataError(
            f"'{where}': a web server has no list of its files.\n"
            f"Number them in the address, such as a-{{000..011}}.tar."
        )
    pattern = pattern if "*" in pattern else f"{pattern.rstrip('/')}/*.tar"
    folder, _, last = pattern.rpartition("/")
    if "*" in folder or "**" in last:
        raise DataError(f"'{where}' looks through folders in folders.\nWrite * only after the last /.")
    files, path = remote(pattern)
    try:
        names = files.glob(path)
    except Exception as error:  # noqa: BLE001  each remote file system has its own errors
        raise trouble(pattern, error) from None
    found = [f"{protocol}://{name.lstrip('/')}" for name in sorted(names)]
    for address in found:  # what the other side says is checked like what a person types
        if not address.startswith(f"{folder}/") or check_address(address) != protocol:
            raise DataError(f"{where} is said to hold {shown(address)}, which is not in it.\nGive the files by name.")
    return found


def _is_plain(path: Path) -> bool:
    return path.is_file() and not any(part.startswith(".") for part in path.parts[-2:])


def _signature(path: str) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise DataError(f"{printable(path)} cannot be read: {error.strerror or error}.\nCheck its name.") from None
    return status.st_size, status.st_mtime_ns
