"""What a person may choose of the studio, and what has to be installed for it. Nothing here needs it."""

import os
from dataclasses import dataclass
from pathlib import Path

from ...core.errors import UsageError, printable
from ...core.given import settle_fields
from ...core.packages import first_missing
from ..listening import is_loopback

DEFAULT_FOLDER = Path("runs")
PORT = 8790
NEXT_PORTS = 20  # how many ports after it are tried where it is taken
PACKAGES = ("starlette", "uvicorn", "httptools", "jinja2", "python_multipart")
MISSING = (
    "The studio needs starlette, uvicorn, httptools, jinja2 and python-multipart, of which '{name}' is not installed.\n"
    "Install them: pip install 'saccade-learn[studio]'."
)


@dataclass(frozen=True, kw_only=True)
class StudioOptions:
    """What a person may choose. Port None: 8790, or the next one that is free."""

    host: str = "127.0.0.1"
    port: int | None = None
    allowed_hosts: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle_fields(self)

    @property
    def needs_token(self) -> bool:
        """Whether others than this machine can ask."""
        return not is_loopback(self.host)

    def as_arguments(self) -> list[str]:
        """The same as arguments of `saccade studio`."""
        arguments = ["--host", self.host, *([] if self.port is None else ["--port", str(self.port)])]
        for name in self.allowed_hosts:
            arguments += ["--allow-host", name]
        return arguments


def require_packages() -> None:
    """Raise UsageError where a package of the extra 'studio' is missing."""
    if missing := first_missing(PACKAGES):
        raise UsageError(MISSING.format(name=missing.replace("_", "-")))


def check_folder(folder: Path) -> None:
    """Raise UsageError where `folder` is none; the folder that runs are put into may not be there yet."""
    if os.path.isdir(folder) or (folder == DEFAULT_FOLDER and not os.path.exists(folder)):
        return
    raise UsageError(
        f"{printable(str(folder))} is not a folder.\n"
        f"Name the folder that your runs are in, such as: saccade studio runs"
    )
