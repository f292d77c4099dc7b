"""Lets torchvision's Python parts run beside a CPU build of torch. For peers in benchmarks only, never in the product.

torchvision's compiled operators do not load there, and its import fails because it describes operators that do not
exist. Declaring empty operators of those names first is enough for transforms, models and everything built on them;
image decoding and the detection operators stay missing. `import_torchvision` does that only where it is needed.
"""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import torch

_libraries: list[torch.library.Library] = []  # a Library object undeclares its operators when it is deleted


def import_torchvision() -> ModuleType:
    """torchvision as it is, or with empty operators. Raises ImportError where it is not installed."""
    try:
        return importlib.import_module("torchvision")
    except RuntimeError:
        declare_operators()
        return importlib.import_module("torchvision")


def declare_operators() -> int:
    """Declare every operator that torchvision describes; returns how many."""
    if _libraries:
        return 0
    spec = importlib.util.find_spec("torchvision")
    if spec is None or spec.origin is None:
        return 0
    text = (Path(spec.origin).parent / "_meta_registrations.py").read_text(encoding="utf-8")
    names = sorted(set(re.findall(r"register_meta\(\"(\w+)\"\)", text)) | set(re.findall(r"torchvision::(\w+)", text)))
    library = torch.library.Library("torchvision", "DEF")
    for name in names:
        library.define(f"{name}(Tensor a) -> Tensor")
    _libraries.append(library)
    return len(names)
