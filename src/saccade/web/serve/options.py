"""What a person may choose of a server, and what has to be installed for one. Nothing here needs it."""

from dataclasses import dataclass, field

from ...core.errors import ExportError
from ...core.given import settle_fields
from ...core.packages import first_missing
from ..limits import BodyLimits
from ..listening import is_loopback

PACKAGES = ("openvino", "starlette", "uvicorn", "httptools", "python_multipart")
MISSING = (
    "A server needs openvino, starlette, uvicorn, httptools and python-multipart, of which '{name}' is not installed.\n"
    "Install them: pip install 'saccade-learn[serve]'."
)


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

    def __post_init__(self) -> None:
        settle_fields(self)

    @property
    def needs_token(self) -> bool:
        """Whether others than this machine can ask."""
        return not is_loopback(self.host)

    def as_arguments(self) -> list[str]:
        """The same as arguments of `saccade serve`."""
        arguments = ["--host", self.host, "--port", str(self.port), "--deadline", repr(self.deadline_s)]
        for name, number in (("--threads", self.threads), ("--queue", self.queue)):
            arguments += [name, str(number)] if number else []
        for name in self.allowed_hosts:
            arguments += ["--allow-host", name]
        return [*arguments, *(["--together"] if self.together else [])]


def require_packages() -> None:
    """Raise ExportError where a package of the extra 'serve' is missing."""
    if missing := first_missing(PACKAGES):
        raise ExportError(MISSING.format(name=missing.replace("_", "-")))
