"""JSON and TOML that somebody else may have written: limited in size and depth before a parser sees them.

A parser's memory and time can grow with the square of what it reads (a dotted TOML key of 100 KB took 5.6 GB), and its
stack with the depth. So brackets and dots are counted first, in one pass that keeps nothing.
"""

import json
import math
import os
import re
import tomllib
from pathlib import Path
from typing import Any

from .plain_files import NotPlainFile, open_plain_file

MAX_DEPTH = 32  # brackets inside brackets, of either kind; a run's own files have 5
MAX_KEY_PARTS = 16  # of a dotted TOML key; a configuration's own have 4
MAX_CONTAINERS = 1_000_000  # objects and lists of one document: 64 MB of empty ones
MAX_NUMBER_CHARACTERS = 400  # of one number: the longest float64 has 326

_JSON_TOKEN = re.compile(r'"(?:[^"\\]++|\\.)*+"|[\[{]|[\]}]|[^"\[\]{}]++', re.DOTALL)
_TOML_TOKEN = re.compile(
    r'"""(?:[^"\\]++|\\.|"(?!""))*+"""|\'\'\'(?:[^\']++|\'(?!\'\'))*+\'\'\''
    r'|"(?:[^"\\\n]++|\\.)*+"|\'[^\'\n]*+\'|#[^\n]*+|[\[{]|[\]}]|[^"\'#\[\]{}]++',
    re.DOTALL,
)
_LONG_WORD = re.compile(rf"[\w.+-]{{{MAX_NUMBER_CHARACTERS + 1}}}")


class DocumentError(ValueError):
    """What is wrong with a document, in words that follow the file's name and 'is damaged: '."""


class DeniedError(DocumentError):
    """The file may not be read by this user; it may well be sound."""


def read_plain_file(path: Path, limit_bytes: int, may_be_link: bool = False) -> bytes:
    """The content of a plain file of at most `limit_bytes`.

    Nothing is waited for: a pipe, a device, a folder or a link (unless `may_be_link`) is refused as it is opened.
    Raises FileNotFoundError or NotADirectoryError where nothing is there, DocumentError otherwise.
    """
    if not may_be_link and os.path.islink(path):  # told before the system refuses it, which it does without a word
        raise DocumentError("it is a link, and a run's files are plain ones")
    try:
        with open_plain_file(path, may_be_link) as file:
            num_bytes = os.fstat(file.fileno()).st_size
            if num_bytes > limit_bytes:
                raise DocumentError(f"it has {num_bytes:,} bytes, and at most {limit_bytes:,} are read")
            content = file.read(num_bytes + 1)  # what is asked for is allocated
    except (FileNotFoundError, NotADirectoryError):
        raise
    except NotPlainFile as error:
        raise DocumentError(str(error)) from None
    except PermissionError as error:
        raise DeniedError(f"it may not be read ({error.strerror})") from None
    except OSError as error:
        raise DocumentError(f"it cannot be read ({error.strerror or error})") from None
    if len(content) > num_bytes:
        raise DocumentError("it grows as it is read")
    return content


def decode_text(content: bytes) -> str:
    """UTF-8 as text. Raises DocumentError naming the byte."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DocumentError(f"byte {error.start + 1:,} is not UTF-8 text") from None


def parse_json(content: bytes) -> Any:
    """The value of a JSON document: no key twice, no NaN, nothing deeper than 32. Raises DocumentError."""
    text = decode_text(content)
    _count(_JSON_TOKEN, text)
    try:
        return json.loads(
            text, object_pairs_hook=_object, parse_constant=_refuse_constant, parse_float=_float, parse_int=_int
        )
    except json.JSONDecodeError as error:
        raise DocumentError(f"line {error.lineno}, column {error.colno} is not JSON ({error.msg})") from None


def parse_object(content: bytes) -> dict[str, Any]:
    """`parse_json` of a document that is one object. Raises DocumentError."""
    values = parse_json(content)
    if not isinstance(values, dict):
        raise DocumentError("it holds no JSON object")
    return values


def parse_toml(content: bytes) -> dict[str, Any]:
    """The values of a TOML document, nothing deeper than 32. Raises DocumentError.

    Some editors of Windows begin a text with a mark of its encoding, which is passed over.
    """
    text = decode_text(content).removeprefix("\ufeff").replace("\r\n", "\n")
    plain = _count(_TOML_TOKEN, text)
    for word in re.findall(r"[^\n=,\[\]{}]+", plain.replace(" ", "").replace("\t", "")):
        if word.count(".") >= MAX_KEY_PARTS:
            raise DocumentError(f"a key has more than {MAX_KEY_PARTS} parts")
    if _LONG_WORD.search(plain):
        raise DocumentError(f"a number or a key has more than {MAX_NUMBER_CHARACTERS} characters")
    try:
        return tomllib.loads(text)
    except (ValueError, OverflowError) as error:  # of tomllib, and of what it makes numbers and dates with
        raise DocumentError(f"it is not TOML ({str(error)[:200]})") from None


def _count(token: re.Pattern[str], text: str) -> str:
    """`text` without its strings and comments. Raises DocumentError where it is too deep or has too many parts.

    Tokens follow each other, so no part is looked at twice; where none fits, the parser will say what is wrong.
    """
    depth, num_containers, position, plain = 0, 0, 0, []
    while found := token.match(text, position):
        position = found.end()
        first = text[found.start()]
        if first in "[{":
            depth, num_containers = depth + 1, num_containers + 1
            if depth > MAX_DEPTH:
                raise DocumentError(f"its brackets are deeper than {MAX_DEPTH}")
            if num_containers > MAX_CONTAINERS:
                raise DocumentError(f"it has more than {MAX_CONTAINERS:,} objects and lists")
        elif first in "]}":
            depth -= 1
        plain.append("s" if first in "\"'" else "" if first == "#" else found[0])
    return "".join(plain)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DocumentError(f"it has the key '{twice[:80]}' twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise DocumentError(f"it holds {name}, which is not a JSON number")


def _float(text: str) -> float:
    value = float(text) if len(text) <= MAX_NUMBER_CHARACTERS else math.inf
    if not math.isfinite(value):
        raise DocumentError(f"the number {text[:20]}{'...' * (len(text) > 20)} is too large")
    return value


def _int(text: str) -> int:
    if len(text) > MAX_NUMBER_CHARACTERS:
        raise DocumentError(f"a number has more than {MAX_NUMBER_CHARACTERS} characters")
    return int(text)
