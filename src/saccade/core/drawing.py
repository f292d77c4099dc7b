"""The engine that turns charts into pictures, started only where it can be: elsewhere it ends the whole process."""

import resource
from types import ModuleType

from .errors import SaccadeError

RESERVED_BYTES = 72 * 2**30  # of addresses, not of memory: V8, inside vl-convert, sets aside 64 GiB and some


def drawing_engine() -> ModuleType:
    """The module vl_convert. Raises SaccadeError where this process may not have the addresses that it reserves."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit != resource.RLIM_INFINITY and limit < RESERVED_BYTES:
        raise SaccadeError(
            f"Pictures cannot be drawn here: this process may use {limit / 2**30:.3g} GiB of addresses (ulimit -v), "
            f"and the drawing engine reserves {RESERVED_BYTES / 2**30:.0f}.\n"
            f"Draw where that is not limited; numbers, weights and tables are not concerned."
        )
    import vl_convert

    engine: ModuleType = vl_convert
    return engine
