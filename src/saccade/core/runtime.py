"""Where the work runs: device, precision, memory layout, threads and ranks, found once and printed."""

import os
import platform
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import torch
from pydantic import Field, field_validator

from . import torch_private
from .config import FrozenConfig
from .errors import ConfigError, UsageError, brief
from .given import check_kind
from .host_process import FLOAT32_PRODUCTS, remember_gpu
from .packages import installed_version
from .processors import available_cpus
from .ranks import ALONE, Ranks, current_ranks

DISTRIBUTION = "saccade-learn"  # the name on the package index; what is imported is saccade
PACKAGES = ("torch", "numpy", "safetensors", "pillow", "simplejpeg", "opencv-python-headless", "scikit-learn")


DRAWS = threading.RLock()  # held by who draws: torch has one generator for all threads of a process


class RuntimeConfig(FrozenConfig):
    """What a person may choose of the machine; the defaults find it out."""

    device: str = Field(
        "auto", description="auto, cpu, cuda, cuda:N or mps; auto takes an NVIDIA GPU where there is one"
    )
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        "auto", description="arithmetic of training; auto: bfloat16 where the processor or GPU has matrix units for it"
    )
    num_threads: int = Field(0, ge=0, le=1024, description="CPU threads; 0: as many as affinity and quota allow")
    cuda_graphs: bool = Field(
        False, description="NVIDIA: record the gradients of a step once and launch them as one piece (docs/training.md)"
    )

    @field_validator("device", mode="before")
    @classmethod
    def _device_of_torch(cls, value: object) -> object:
        """A torch.device is its name."""
        return str(value) if isinstance(value, torch.device) else value


class _Threads:
    """torch's threads do not come along when a process forks, and OpenMP waits for them for ever."""

    have_computed = False
    are_lost = False

    @classmethod
    def refuse_lost(cls) -> None:
        """Raise UsageError in a child of a process whose threads have computed; else they do from now on."""
        if cls.are_lost:
            raise UsageError(
                "This process was forked from one in which torch has computed on several threads: it has one.\n"
                "Ask for one (num_threads=1), or start the process by multiprocessing's 'spawn'."
            )
        cls.have_computed = True

    @classmethod
    def after_fork(cls) -> None:
        """What holds in a child."""
        cls.are_lost = cls.are_lost or cls.have_computed


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_Threads.after_fork)


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """The machine as this process uses it. `precision` is that of the training arithmetic; weights stay float32."""

    device: torch.device
    precision: torch.dtype
    num_threads: int
    cuda_graphs: bool = False
    ranks: Ranks = ALONE

    @property
    def memory_format(self) -> torch.memory_format:
        """Channels last: what matrix units read without a reordering copy."""
        return torch.channels_last

    @property
    def computes_in_avx2(self) -> bool:
        """Whether training computes in float32 on a processor with AVX2 and nothing wider."""
        is_plain = self.device.type == "cpu" and self.precision == torch.float32
        return is_plain and torch.backends.cpu.get_cpu_capability() == "AVX2"

    @property
    def computes_in_matrix_units(self) -> bool:
        """Whether training computes in bfloat16 on a processor with AMX."""
        is_mixed = self.device.type == "cpu" and self.precision == torch.bfloat16
        return is_mixed and torch_private.has_amx()

    @contextmanager
    def arithmetic(self, precision: torch.dtype | None = None) -> Iterator[None]:
        """Run the enclosed forward pass in `precision` (default: this runtime's)."""
        chosen = precision or self.precision
        with torch.autocast(self.device.type, torch.bfloat16, enabled=chosen == torch.bfloat16):
            yield

    def describe(self) -> str:
        """`CPU, 2 threads, bfloat16`: one line for a person."""
        name = torch.cuda.get_device_name(self.device) if self.device.type == "cuda" else self.device.type.upper()
        threads = f"{self.num_threads} thread{'s' if self.num_threads != 1 else ''}"
        return f"{name}, {threads}, {str(self.precision).removeprefix('torch.')}, channels last"


def start(config: RuntimeConfig) -> Runtime:
    """Settle device, precision and threads for this process, or for as long as the verb's scope around it holds.

    A child that was forked from a process whose threads have computed has one thread. Raises ConfigError where the
    device is not there, UsageError where such a child asks for more.
    """
    check_kind(config, RuntimeConfig, 'api.RuntimeConfig(device="cpu", num_threads=2)')
    num_threads = config.num_threads or (1 if _Threads.are_lost else available_cpus())
    if num_threads > 1:
        _Threads.refuse_lost()
    torch.set_num_threads(num_threads)
    ranks = current_ranks()
    device = own_device(find_device(config.device), ranks)
    precision = {"float32": torch.float32, "bfloat16": torch.bfloat16}.get(config.precision) or _best_precision(device)
    if device.type == "cuda":
        remember_gpu()
    make_deterministic(device)
    return Runtime(
        device=device,
        precision=precision,
        num_threads=num_threads,
        cuda_graphs=config.cuda_graphs and device.type == "cuda",
        ranks=ranks,
    )


def make_deterministic(device: torch.device) -> None:
    """Same seed, same bits, on the CPU. GPUs keep their fastest kernels: their sums vary in the last digits."""
    # What torch.use_deterministic_algorithms calls, without the second that its import of the compiler takes.
    torch_private.set_deterministic(device.type == "cpu", warn_only=False)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.allow_tf32 = (
        False  # float32 is float32: cuDNN's convolutions would round its inputs to 10 bits
    )
    for products in FLOAT32_PRODUCTS:
        products.fp32_precision = "ieee"


def compute_exactly() -> None:
    """Same seed, same bits, on a GPU too: kernels that add up in one order, and the same kernels in every process."""
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS does not promise one order
    torch_private.set_deterministic(True, warn_only=False)
    torch.backends.cudnn.benchmark = False


def send(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """`tensor` on `device`, without waiting for what runs there: NVIDIA's GPUs fetch only from pinned memory so."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)


def wait_for(device: torch.device) -> None:
    """Until a GPU has computed what was launched on it; the CPU always has."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# What allocators and the libraries under torch say: they have no exception of their own. oneDNN's "primitive" is a
# convolution it could not make ready, for which it has no other reason on shapes that have worked before.
OUT_OF_MEMORY = (
    "can't allocate memory",
    "could not create a primitive",
    "could not create a memory object",
    "std::bad_alloc",
    "ALLOC_FAILED",  # of cuDNN and cuBLAS
)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, on a GPU or on the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(text in str(error) for text in OUT_OF_MEMORY)


def seed_everything(seed: int, *place: int) -> None:
    """Seed torch from (seed, place...), such as (seed, step): what follows is a pure function of these numbers."""
    mixed = mix_seeds(seed, *place)
    torch.default_generator.manual_seed(mixed)  # torch.manual_seed also writes down a traceback: 2 ms a step
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(mixed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(mixed)


@contextmanager
def seeded(seed: int, *place: int) -> Iterator[None]:
    """`seed_everything`, and of all threads the enclosed work alone draws."""
    with DRAWS:
        seed_everything(seed, *place)
        yield


def mix_seeds(*numbers: int) -> int:
    """One 63-bit seed from several non-negative integers (SplitMix64, Steele et al. 2014, section 5)."""
    mask = (1 << 64) - 1
    state = 0x9E3779B97F4A7C15
    for number in numbers:
        state = (state + (number & mask) * 0xBF58476D1CE4E5B9 + 0x9E3779B97F4A7C15) & mask
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
        state ^= state >> 31
    return state >> 1


def environment(runtime: Runtime) -> dict[str, object]:
    """Versions and machine facts for environment.json, so that a run can be repeated and explained."""
    return {
        "saccade": installed_version(DISTRIBUTION) or "source tree",
        "python": platform.python_version(),
        "platform": platform.platform(),
        "packages": {name: version for name in PACKAGES if (version := installed_version(name))},
        "device": runtime.describe(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }


def find_device(wanted: str) -> torch.device:
    if wanted == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")  # Apple's GPUs: never measured here
    try:
        device = torch.device(wanted)
    except RuntimeError:
        raise ConfigError(
            f"'runtime.device' must be auto, cpu, cuda, cuda:N or mps; got '{brief(wanted, 80)}'."
        ) from None
    present = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if (device.index or 0) >= present.get(device.type, 0):
        raise ConfigError(
            f"The device '{brief(wanted, 80)}' is not on this machine ({torch.cuda.device_count()} CUDA devices are).\n"
            f"Leave out --set runtime.device, or name one that is there."
        )
    return device


def own_device(device: torch.device, ranks: Ranks) -> torch.device:
    """`device`, of several processes on NVIDIA's GPUs this one's own. Raises ConfigError where there are too few."""
    if ranks.is_alone or device.type != "cuda" or device.index is not None:
        return device
    if ranks.local_world_size > torch.cuda.device_count():
        raise ConfigError(
            f"{ranks.local_world_size} processes of this machine need a GPU each, and it has "
            f"{torch.cuda.device_count()}.\n"
            f"Start so many (--processes auto), or compute without them: --set runtime.device=cpu"
        )
    torch.cuda.set_device(ranks.local_rank)
    return torch.device("cuda", ranks.local_rank)


def _best_precision(device: torch.device) -> torch.dtype:
    if device.type == "cuda":
        has_bfloat16 = torch.version.hip or torch.cuda.get_device_capability(device)[0] >= 8  # older ones emulate it
        return torch.bfloat16 if has_bfloat16 else torch.float32
    has_units = torch_private.has_amx() or torch_private.has_avx512_bfloat16()
    return torch.bfloat16 if device.type == "cpu" and has_units else torch.float32
