"""OpenVINO and NNCF report to their maker when they are imported, unless the package that sends is not there."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

SENDER = "openvino_telemetry"


@contextmanager
def without_reports() -> Iterator[None]:
    """What is imported inside finds no package to report by: nothing is sent, and no identity is kept at home."""
    known = sys.modules.get(SENDER)
    sys.modules[SENDER] = None  # type: ignore[assignment]  # as if it were not installed
    try:
        yield
    finally:
        if known is None:
            del sys.modules[SENDER]
        else:
            sys.modules[SENDER] = known
