"""The process belongs to its host: what a verb sets in it holds while the verb computes, and is put back behind it.

What is put back: deterministic algorithms, `fill_uninitialized_memory`, TF32 and the precision of products, cuDNN's
choice of kernels, the usual type and device, whether gradients are kept, autocast, the number of threads, the
environment, warning filters, NumPy's `errstate`, and the random states of torch, NumPy and Python. Verbs may be nested
and may run on several threads at once: what the first of them found is put back when the last of them ends.
"""

import errno
import os
import random
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, Generic, TypeVar

import numpy as np
import torch

from . import torch_private
from .errors import TOO_LONG_NAME, UsageError, brief
from .own_process import refuse_image_bombs

Item = TypeVar("Item")
PutBack = Callable[[], None]

# Where torch may be told to round the factors of float32 products: `torch.set_float32_matmul_precision` tells the first
# two. cuDNN's convolutions are told by `allow_tf32`.
_onednn = torch.backends.mkldnn
FLOAT32_PRODUCTS: tuple[Any, ...] = (torch.backends.cuda.matmul, _onednn.matmul, _onednn.conv, _onednn.rnn)  # type: ignore[attr-defined]


class _Found:
    """What one verb found in the process, as steps that put it back."""

    def __init__(self) -> None:
        self.thread = threading.get_ident()
        self.has_gpu = torch.cuda.is_initialized()
        self.steps: list[PutBack] = [*_settings(), _environment(), _warning_filters()]
        self.random: list[PutBack] = _random_states(self.has_gpu)


_lock = threading.RLock()
_open: list[_Found] = []


@contextmanager
def scoped_runtime() -> Iterator[None]:
    """Put the process back as it was found, whatever the enclosed work sets and however it ends.

    It also decorates a function. The enclosed work sees what it needs whatever the host has chosen: float32 as the
    usual type, the CPU as the usual device, gradients, no autocast, NumPy's usual answer to rounding and overflow, and
    Pillow's alarm about huge images as an error. Raises UsageError for a path longer than a name can be.
    """
    num_threads = torch.get_num_threads()  # of this thread: each has its own number
    with _lock:
        found = _Found()
        _open.append(found)
    try:
        with _without_modes():
            torch.set_default_dtype(torch.float32)
            yield
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        raise UsageError(TOO_LONG_NAME.format(name=brief(error.filename or "", 80))) from None
    finally:
        with _lock:
            _put_back(found)
        _use_threads(num_threads)


@contextmanager
def _without_modes() -> Iterator[None]:
    """The enclosed work is in none of the modes that a host may have entered around its call."""
    with ExitStack() as entered:
        entered.enter_context(torch.inference_mode(False))
        entered.enter_context(torch.enable_grad())
        entered.enter_context(np.errstate(divide="warn", over="warn", under="ignore", invalid="warn"))  # NumPy's usual
        if torch.get_default_device() != torch.device("cpu"):  # only then: it costs time at every call of torch
            entered.enter_context(torch.device("cpu"))
        for kind in ("cpu", "cuda", "mps"):
            if torch.is_autocast_enabled(kind):
                entered.enter_context(torch.autocast(kind, enabled=False))
        yield


class ScopedIterator(Generic[Item]):
    """Items that are computed one at a time, each in the scope of a verb; between them the process is its host's.

    Made inside the scope of that verb, whose settings hold again for every item.
    """

    def __init__(self, items: Iterator[Item]) -> None:
        self._items = items
        self._num_threads = torch.get_num_threads()
        self._settings = _settings()

    def __iter__(self) -> "ScopedIterator[Item]":
        return self

    def __next__(self) -> Item:
        with scoped_runtime():
            _use_threads(self._num_threads)
            for setting in self._settings:
                setting()
            return next(self._items)


def remember_gpu() -> None:
    """Keep the random state of NVIDIA's GPUs, which are started for it, before a verb seeds them."""
    if not torch.cuda.is_available():
        return
    torch.cuda.init()
    with _lock:
        if _open and not _open[-1].has_gpu:
            _open[-1].has_gpu = True
            _open[-1].random.append(_gpu_states())


def _put_back(found: _Found) -> None:
    """Undo what was set since; where a verb that began later still runs, leave it to that one.

    The random states of before are not for a verb of another thread, which may be in the middle of its draws: it puts
    back, at its end, what it found itself.
    """
    place = _open.index(found)
    _open.remove(found)
    if place < len(_open):
        _open[place].steps += found.steps
        _open[place].random += found.random
        return
    is_drawing = any(other.thread != found.thread for other in _open)
    for step in found.steps if is_drawing else found.steps + found.random:
        step()


def _use_threads(number: int) -> None:
    if torch.get_num_threads() != number:
        torch.set_num_threads(number)


def _settings() -> list[PutBack]:
    """Steps that set again what is set now."""
    is_deterministic = torch.are_deterministic_algorithms_enabled()
    warns_only = torch.is_deterministic_algorithms_warn_only_enabled()
    fills_memory = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    usual_type = torch.get_default_dtype()
    tries_kernels, fixes_kernels = torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic

    def put_back() -> None:
        # What torch.use_deterministic_algorithms calls, without the second that its import of the compiler takes.
        torch_private.set_deterministic(is_deterministic, warn_only=warns_only)
        torch.utils.deterministic.fill_uninitialized_memory = fills_memory  # type: ignore[attr-defined]
        torch.set_default_dtype(usual_type)
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = tries_kernels, fixes_kernels

    return [put_back, _tf32(), _products()]


def _tf32() -> PutBack:
    """torch has two ways to say it, and refuses to answer in the older one where somebody has used the newer."""
    cudnn = torch.backends.cudnn
    try:
        is_allowed = cudnn.allow_tf32
    except RuntimeError:
        convolutions, recurrent = cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision  # type: ignore[attr-defined]

        def put_back_each() -> None:
            cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = convolutions, recurrent  # type: ignore[attr-defined]

        return put_back_each

    def put_back() -> None:
        cudnn.allow_tf32 = is_allowed

    return put_back


def _products() -> PutBack:
    """The precision of float32 matrix products, and of what oneDNN computes."""
    kept = [products.fp32_precision for products in FLOAT32_PRODUCTS]

    def put_back() -> None:
        for products, precision in zip(FLOAT32_PRODUCTS, kept, strict=True):
            products.fp32_precision = precision

    return put_back


def _random_states(has_gpu: bool) -> list[PutBack]:
    """Of Python and NumPy too: what is imported on the way draws from them (joblib)."""
    state, own_state, array_state = torch.default_generator.get_state(), random.getstate(), np.random.get_state()

    def put_back() -> None:
        torch.default_generator.set_state(state)
        random.setstate(own_state)
        np.random.set_state(array_state)

    steps: list[PutBack] = [put_back]
    if has_gpu:
        steps.append(_gpu_states())
    if torch.backends.mps.is_available():
        mps_state = torch.mps.get_rng_state()
        steps.append(lambda: torch.mps.set_rng_state(mps_state))
    return steps


def _gpu_states() -> PutBack:
    states = torch.cuda.get_rng_state_all()
    return lambda: torch.cuda.set_rng_state_all(states)


def _environment() -> PutBack:
    """Libraries that are imported on the way set variables (scikit-learn: KMP_...)."""
    before = dict(os.environ)

    def put_back() -> None:
        for name in set(os.environ) - set(before):
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    return put_back


def _warning_filters() -> PutBack:
    kept = warnings.catch_warnings()
    kept.__enter__()
    refuse_image_bombs()
    return lambda: kept.__exit__(None, None, None)
