"""Memory for tensors in large pages, where the system has them.

glibc takes every block of more than 32 MB from the system anew and gives it back when it is freed. The system maps such
memory at first touch, a page of 4 KiB at a time: for activations, which every training step frees and needs again,
a quarter of a million faults a step (ResNet-18, 32 images of 224 px). Pages of 2 MiB need a tenth of them.

The switch holds for every tensor of the process and cannot be taken back, so only the command line sets it; who trains
from Python sets the variable before the first tensor.
"""

import os

SWITCH = "THP_MEM_ALLOC_ENABLE"  # torch reads it once, at its first large tensor: c10/core/impl/alloc_cpu.cpp


def use_large_pages() -> None:
    """Ask torch's CPU allocator for large pages; what a person has set stays."""
    os.environ.setdefault(SWITCH, "1")
