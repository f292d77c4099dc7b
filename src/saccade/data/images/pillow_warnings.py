"""What Pillow warns of while an image is decoded, kept with that image; the process's warning filters stay as they are.

Pillow says through Python's `warnings` that an EXIF block is damaged or an image is very large: on standard error,
without the file's name, and once for many files. `warnings.catch_warnings` would change the filters of all threads at
once. So the modules of Pillow that decode get a `warnings` of our own. In a thread that decodes here it keeps the texts
for that image; everywhere else it passes them on to Python's.
"""

import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import Any

from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageFile,
    Jpeg2KImagePlugin,
    JpegImagePlugin,
    MpoImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

MODULES: tuple[ModuleType, ...] = (
    *(BmpImagePlugin, GifImagePlugin, Image, ImageFile, JpegImagePlugin),
    *(Jpeg2KImagePlugin, MpoImagePlugin, PngImagePlugin, TiffImagePlugin, WebPImagePlugin),
)
with suppress(ImportError):  # before Pillow 11.3; to import it is to make it known to Pillow
    from PIL import AvifImagePlugin

    MODULES += (AvifImagePlugin,)

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


def stand_between(modules: tuple[ModuleType, ...]) -> None:
    """Give `modules`, which decode and warn, a `warnings` that keeps what they warn of with the image."""
    for module in modules:
        if getattr(module, "warnings", None) is warnings:
            module.warnings = _OURS  # type: ignore[attr-defined]


_OURS = _KeptWarnings()
stand_between(MODULES)
