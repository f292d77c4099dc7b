"""Saccade: from a folder of images to a convolutional classifier a person can trust.

`saccade.api` holds one function per verb of the command line. It is imported when it is first asked for, since torch
comes with it.
"""

from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a type checker knows what `__getattr__` brings
    from . import api

__all__ = ["__version__", "api"]
__version__ = "0.1.0"


def __getattr__(name: str) -> ModuleType:
    if name == "api":
        from importlib import import_module

        return import_module(".api", __name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
