"""Which names from outside are opened, and how far: the one place that decides, before any library sees the text.

SOURCE is a path on this machine, the name of a set on the Hugging Face hub, or an address with one of five protocols.
A library such as fsspec knows forty more, and chains of them (`reference::file://...`) that run templates, unpack
archives or connect wherever a file says. None of them is reached: an address has to be on the list, whole and plain.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from .errors import DataError, did_you_mean, printable

PROTOCOLS = ("https", "http", "s3", "gs", "az")
WEB = ("https", "http")
SYNONYMS = {"gcs": "gs", "s3a": "s3", "s3n": "s3", "abfs": "az", "abfss": "az", "adl": "az"}
HUB_PREFIXES = ("hub:", "hf://datasets/", "hf://")
HUB_NAME = re.compile(
    r"(?P<name>[\w.-]+/[\w.-]+)(@(?P<revision>[\w.-]+(/[\w.-]+)*?))?(:(?P<folder>[\w./-]+))?", re.ASCII
)
MAX_CHARACTERS = 4096
OPENED = "Saccade opens files and folders on this machine, hub:OWNER/NAME, and https://, s3://, gs:// and az://."
WHOLE_DISK = ("/", "/proc", "/sys", "/dev")

_http_is_allowed = False


@dataclass(frozen=True, kw_only=True)
class HubName:
    """A repository of the hub: `owner/name`, a revision or "", and a folder in it or ""."""

    name: str
    revision: str
    folder: str


@contextmanager
def http_allowed(allowed: bool = True) -> Iterator[None]:
    """Whether `http://`, whose content anybody on the way can change, is opened in the enclosed code (--allow-http)."""
    global _http_is_allowed
    before, _http_is_allowed = _http_is_allowed, allowed
    try:
        yield
    finally:
        _http_is_allowed = before


def is_address(text: str) -> bool:
    """Whether `text` is meant as an address rather than a path."""
    return "://" in text


def is_hub(text: str) -> bool:
    """Whether `text` names something on the Hugging Face hub."""
    return text.startswith(HUB_PREFIXES)


def shown(text: str) -> str:
    """`text` for a message: cut where it is long, without the names, passwords and options that an address carries."""
    text = re.sub(r"(?<=://)[^/\s]*@", "...@", text)
    if is_address(text):
        text = re.sub(r"[?#].*", "?...", text, flags=re.DOTALL)
    return printable(text if len(text) <= 200 else f"{text[:200]}...")


def check_address(text: str) -> str:
    """The protocol of an address that may be opened. Raises DataError for any other text."""
    where = shown(text)
    protocol, mark, rest = text.partition("://")
    if "::" in text or "://" in rest:
        raise DataError(
            f"'{where}' is an address inside another, which is never opened.\n{OPENED}\n"
            f"Give the address of the tar files themselves."
        )
    if not mark or protocol not in PROTOCOLS:
        raise DataError(f"'{where}' is not an address that Saccade opens.{_meant(protocol)}\n{OPENED}")
    _refuse_odd_text(text, where)
    if "@" in rest.partition("/")[0]:
        raise DataError(
            f"'{where}' carries a user name or a password, which the run would keep.\n"
            f"Leave it out, and log in the way of {protocol}:// (docs/sources.md)."
        )
    if "?" in rest or "#" in rest:
        raise DataError(
            f"'{where}' carries options after ? or #, which the run would keep and which change what is opened.\n"
            f"Leave them out."
        )
    if protocol == "http" and not _http_is_allowed:
        raise DataError(
            f"'{where}' is not encrypted: anybody on the way can change the images.\n"
            f"Give its https:// address, or add --allow-http if you trust the way."
        )
    return protocol


def _meant(protocol: str) -> str:
    if protocol == "file":
        return " Give the path alone, without file://."
    plain = protocol.strip().lower()
    known = SYNONYMS.get(plain, plain if plain in PROTOCOLS else "")
    return f" Did you mean '{known}://'?" if known else did_you_mean(plain[:20], PROTOCOLS)


def _refuse_odd_text(text: str, where: str) -> None:
    if len(text) > MAX_CHARACTERS:
        raise DataError(f"'{where}' has {len(text):,} characters; an address has at most {MAX_CHARACTERS:,}.")
    if not text.isprintable() or any(letter.isspace() or letter in "\\[]" for letter in text):
        raise DataError(
            f"'{where}' holds spaces, backslashes, brackets or characters that cannot be seen; an address has none.\n"
            f"Type it again, with %20 for a space."
        )
    try:
        host = urlsplit(text).hostname
    except ValueError:
        host = None
    if not host or set(host) & set("*{}"):
        raise DataError(
            f"'{where}' names no host or bucket.\nWrite it after ://, without * or braces: s3://bucket/train-*.tar."
        )


def hub_name(text: str) -> HubName | None:
    """What `hub:OWNER/NAME[@REVISION][:FOLDER]` names; None where it is no such text."""
    rest = next((text.removeprefix(prefix) for prefix in HUB_PREFIXES if text.startswith(prefix)), "")
    match = HUB_NAME.fullmatch(rest) if len(rest) <= MAX_CHARACTERS else None
    if match is None or any(set(part) <= {"."} for part in re.split(r"[/@:]+", rest.strip("/"))):
        return None
    return HubName(name=match["name"], revision=match["revision"] or "", folder=(match["folder"] or "").strip("/"))


def is_plain_path(text: str) -> bool:
    """Whether `text` is one path on this machine and nothing else: no address, no name on the hub, no pattern."""
    return bool(text) and not is_address(text) and not is_hub(text) and not set(text) & set("*{}\0")


def refuse_whole_disk(text: str) -> None:
    """Raise DataError where a folder is the root of the disk, or of what the system shows of itself as files."""
    try:
        place = str(Path(text).resolve())
    except (OSError, ValueError, RuntimeError):
        return  # it cannot be looked at: the source that opens it says so
    if any(place == folder or (folder != "/" and place.startswith(f"{folder}/")) for folder in WHOLE_DISK):
        if Path(text).is_dir():
            raise DataError(
                f"'{shown(text)}' is {'the whole disk' if place == '/' else 'a folder of the system itself'}, "
                f"not a set of images.\nGive the folder with the images."
            )
