"""How much a request may bring, and how long it may take. Nothing here needs a package."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class BodyLimits:
    """`max_bytes` of one body and `memory_bytes` of all that are inside; how long a sender may be silent, and take."""

    max_bytes: int = 10 << 20
    memory_bytes: int = 256 << 20
    silent_s: float = 10.0
    whole_s: float = 60.0
