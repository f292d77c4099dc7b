"""Threads that compute side by side, one core each, instead of all cores inside one layer.

Small maps leave several cores that share one layer waiting for each other; and where other threads decode images, the
one that waits in a spin holds the core of the one that works. Groups of images on one core each do neither.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import torch

from ..core.runtime import Runtime


@contextmanager
def one_core_each(runtime: Runtime) -> Iterator[ThreadPoolExecutor]:
    """On a CPU as many threads as the runtime has, each on one core: what they compute has the same bits on any number
    of cores. One thread for any other device."""
    on_cpu = runtime.device.type == "cpu"
    num_threads = torch.get_num_threads()
    pool = ThreadPoolExecutor(runtime.num_threads if on_cpu else 1, initializer=_use_one_core if on_cpu else None)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
        torch.set_num_threads(num_threads)  # threads begin with the number that was set last anywhere


def _use_one_core() -> None:
    torch.set_num_threads(1)
