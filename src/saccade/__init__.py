"""Saccade: from a folder of images to a convolutional classifier a person can trust.

`load` opens a trained classifier; `SaccadeClassifier` and `SaccadeFeatures` are for scikit-learn; `api` holds one
function per verb of the command line. Each is imported when it is first asked for, since torch comes with it.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:  # so that a type checker knows what `__getattr__` brings
    from . import api
    from .estimators import SaccadeClassifier, SaccadeFeatures
    from .loaded import Model, load

__all__ = ["__version__", "api", "load", "Model", "SaccadeClassifier", "SaccadeFeatures"]
__version__ = "0.2.0"

_HOMES = {"load": ".loaded", "Model": ".loaded", "SaccadeClassifier": ".estimators", "SaccadeFeatures": ".estimators"}


def __getattr__(name: str) -> object:
    from importlib import import_module

    if name == "api":
        return import_module(".api", __name__)
    if name in _HOMES:
        return getattr(import_module(_HOMES[name], __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
