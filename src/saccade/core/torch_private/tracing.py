"""torch's tensors without memory, and the hook that sees every kernel called: what the design desk is built on.

Kept apart from the rest of this folder, because the import takes longer; only what traces a network pays for it.
"""

from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

FAKE_TENSOR_LOGGER = "torch._subclasses.fake_tensor"

__all__ = [
    "FAKE_TENSOR_LOGGER",
    "DataDependentOutputException",
    "DynamicOutputShapeException",
    "FakeTensorMode",
    "TorchDispatchMode",
    "tree_leaves",
]
