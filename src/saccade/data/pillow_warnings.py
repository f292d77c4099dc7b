"""What Pillow warns of while an image is decoded, kept with that image; the process's warning filters stay as they are.

Pillow says through Python's `warnings` that an EXIF block is damaged or an image is very large: on standard error,
without the file's name, and once for many files. `warnings.catch_warnings` would change the filters of all threads at
once. So the modules of Pillow that decode get a `warnings` of our own. In a thread that decodes here it keeps the texts
for that image; everywhere else it passes them on to Python's.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

MODULES: tuple[ModuleType, ...] = (
    *(BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin),
    *(MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin),
)

_thread = threading.local()


class _KeptWarnings:
    """Python's `warnings` for everyone but a thread inside `kept_warnings`."""

    def warn(
        self,
        message: Warning | str,
        category: type[Warning] | None = None,
        stacklevel: int = 1,
        source: object | None = None,
    ) -> None:
        kept: list[str] | None = getattr(_thread, "kept", None)
        if kept is None:
            warnings.warn(message, category, stacklevel + 1, source)
            return
        kind = type(message) if isinstance(message, Warning) else category or UserWarning
        if issubclass(kind, Image.DecompressionBombWarning):
            raise Image.DecompressionBombError(str(message))
        kept.append(str(message))

    def __getattr__(self, name: str) -> Any:
        return getattr(warnings, name)


@contextmanager
def kept_warnings() -> Iterator[list[str]]:
    """The texts of what Pillow warns of in this thread; its alarm at very large images is an error."""
    before = getattr(_thread, "kept", None)
    kept: list[str] = []
    _thread.kept = kept
    try:
        yield kept
    finally:
        _thread.kept = before


def _stand_between() -> None:
    ours = _KeptWarnings()
    for module in MODULES:
        if getattr(module, "warnings", None) is warnings:
            module.warnings = ours  # type: ignore[attr-defined]


_stand_between()
