"""What a person may choose of a server, and what has to be installed for one. Nothing here needs it."""

import ipaddress
from dataclasses import dataclass, field

from ...core.errors import ExportError

TOKEN = "SACCADE_TOKEN"  # of the environment: a token that stays the same over restarts
PACKAGES = ("openvino", "starlette", "uvicorn", "httptools", "python_multipart")
MISSING = (
    "A server needs openvino, starlette, uvicorn, httptools and python-multipart, of which '{name}' is not installed.\n"
    "Install them: pip install 'saccade-learn[serve]'."
)


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """`max_bytes` of one body and `memory_bytes` of all that are inside; how long a sender may be silent, and take."""

    max_bytes: int = 10 << 20
    memory_bytes: int = 256 << 20
    silent_s: float = 10.0
    whole_s: float = 60.0


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What a person may choose. 0 threads: as many as affinity and quota allow; 0 queue: 8 for each of them."""

    host: str = "127.0.0.1"
    port: int = 8000
    threads: int = 0
    queue: int = 0
    deadline_s: float = 2.0
    together: bool = False
    allowed_hosts: tuple[str, ...] = ()
    limits: BodyLimits = field(default_factory=BodyLimits)

    @property
    def needs_token(self) -> bool:
        """Whether others than this machine can ask."""
        return not is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether only this machine can ask at `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def require_packages() -> None:
    """Raise ExportError where a package of the extra 'serve' is missing."""
    for name in PACKAGES:
        try:
            __import__(name)
        except ImportError:
            raise ExportError(MISSING.format(name=name.replace("_", "-"))) from None
