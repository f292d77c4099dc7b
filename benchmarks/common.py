"""What every benchmark shares: the header that says what the machine can do, interleaved runs, honest ratios.

Rules: contestants run in turns A B A B in one process tree; a result is the median of the paired ratios with its
bootstrap 95 % interval; absolute numbers are context. A busy machine is refused.
"""

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch

from saccade.core.runtime import available_cpus

MAX_LOAD_AVERAGE = 0.25 * max(2, available_cpus())
REPOSITORY = Path(__file__).parent.parent
INTERESTING_FLAGS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_tile", "amx_bf16", "amx_int8")
PACKAGES = (
    "torch",
    "torchvision",
    "albumentations",
    "cleanvision",
    "numpy",
    "opencv-python-headless",
    "pillow",
    "simplejpeg",
    "safetensors",
    "scikit-learn",
)


def argument_parser(description: str) -> argparse.ArgumentParser:
    """The options that every benchmark has."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--pairs", type=int, default=7, help="runs of each contestant, in turns (default 7)")
    parser.add_argument("--threads", type=int, default=available_cpus(), help="threads or worker processes")
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    parser.add_argument("--force", action="store_true", help="run on a busy machine too; the figures are not quotable")
    parser.add_argument("--smoke", action="store_true", help="one tiny run of everything, to see that it works")
    return parser


def start(arguments: argparse.Namespace) -> dict[str, Any]:
    """Refuse a busy machine, set the threads, measure the machine, print the header on stderr and return it."""
    busy = os.getloadavg()[0]
    if busy > MAX_LOAD_AVERAGE and not (arguments.force or arguments.smoke):
        sys.exit(
            f"The machine is busy: load average {busy:.2f}, at most {MAX_LOAD_AVERAGE} is allowed.\n"
            f"Wait, or run with --force and do not quote the figures."
        )
    torch.set_num_threads(arguments.threads)
    header = {**machine(), "threads": arguments.threads, "load_average": round(busy, 2), **limits(arguments.smoke)}
    header["quotable"] = not (arguments.smoke or busy > MAX_LOAD_AVERAGE)
    for key, value in header.items():
        print(f"{key:>24}: {value}", file=sys.stderr)
    return header


def machine() -> dict[str, Any]:
    """Processor, its flags that matter here, versions."""
    flags, model = "", platform.processor()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        text = cpuinfo.read_text(encoding="utf-8")
        model = next(iter(re.findall(r"^model name\s*: (.*)$", text, re.M)), model)
        flags = next(iter(re.findall(r"^flags\s*: (.*)$", text, re.M)), "")
    onednn = re.search(r"MKL-DNN v([\d.]+)", torch.__config__.show())
    return {
        "processor": model,
        "processors": available_cpus(),
        "flags": " ".join(flag for flag in INTERESTING_FLAGS if flag in flags.split()),
        "python": platform.python_version(),
        "onednn": onednn.group(1) if onednn else "none",
        "versions": {name: installed for name in PACKAGES if (installed := installed_version(name))},
    }


def limits(smoke: bool = False) -> dict[str, float]:
    """What the machine can do at best, measured now with torch's threads: matrix products and copies."""
    size, repeats = (256, 1) if smoke else (2048, 5)
    measured = {}
    for name, dtype in (("float32", torch.float32), ("bfloat16", torch.bfloat16)):
        seconds = product_seconds(256, dtype, 1)
        if 512 * seconds > 5:  # no bfloat16 units: the large product would take a minute and say the same
            flops = 2 * 256**3 / seconds
        else:
            flops = 2 * size**3 / product_seconds(size, dtype, repeats)
        measured[f"matmul_{name}_tflops"] = float(f"{flops / 1e12:.3g}")
    source = torch.empty(2**20 if smoke else 2**28, dtype=torch.uint8).fill_(1)
    target = torch.empty_like(source).fill_(0)
    seconds = best_seconds(lambda: target.copy_(source), repeats)
    measured["copy_gb_per_s"] = round(2 * source.numel() / seconds / 1e9, 2)  # read and written
    return measured


def product_seconds(size: int, dtype: torch.dtype, repeats: int) -> float:
    """The shortest time of a product of two square matrices."""
    left, right = torch.randn(size, size).to(dtype), torch.randn(size, size).to(dtype)
    return best_seconds(lambda: left @ right, repeats)


def best_seconds(function: Callable[[], object], repeats: int) -> float:
    """The shortest of `repeats` runs after one that warms up."""
    function()
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - started)
    return max(min(seconds), 1e-9)


def interleave(
    contestants: Mapping[str, Callable[[], float]], pairs: int, warms_up: bool = True
) -> dict[str, np.ndarray]:
    """Run every contestant once to warm up, then all in turns `pairs` times; what each returns, (pairs,) by name.
    Contestants that warm up by themselves need no such round."""
    results: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(0 if warms_up else 1, pairs + 1):
        for name, contestant in contestants.items():
            result = contestant()
            if number:
                results[name].append(result)
                print(f"  {name}: {result:.4g} (round {number} of {pairs})", file=sys.stderr)
    return {name: np.asarray(values) for name, values in results.items()}


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """Median of paired ratios, and the interval that holds it with 95 % (percentile bootstrap over the pairs)."""

    median: float
    low: float
    high: float
    num_pairs: int

    def __str__(self) -> str:
        return f"{self.median:.2f} (95 % interval {self.low:.2f} to {self.high:.2f}, n = {self.num_pairs})"


def paired_ratio(ours: Sequence[float] | np.ndarray, peer: Sequence[float] | np.ndarray, seed: int = 0) -> Ratio:
    """`ours / peer`, run by run. Above 1 is better for rates; for seconds give the peer's first."""
    ratio_N = np.asarray(ours, dtype=np.float64) / np.asarray(peer, dtype=np.float64)
    chosen = np.random.default_rng(seed).integers(0, len(ratio_N), (10_000, len(ratio_N)))
    low, high = np.percentile(np.median(ratio_N[chosen], axis=1), [2.5, 97.5])
    return Ratio(median=float(np.median(ratio_N)), low=float(low), high=float(high), num_pairs=len(ratio_N))


def report(arguments: argparse.Namespace, result: dict[str, Any], table: str) -> None:
    """Print the result: one JSON object with --json, else the table."""
    print(json.dumps(result, default=_plain) if arguments.json else table)


def installed_version(distribution: str) -> str | None:
    """The version of an installed distribution, None where it is not installed."""
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def shared_folder(relative: str) -> Path:
    """A folder of the real data beside the checkout (or below SACCADE_SHARED); ends the program without it."""
    folder = Path(os.environ.get("SACCADE_SHARED", REPOSITORY.parent / "shared")) / relative
    if not folder.exists():
        sys.exit(f"The real data '{relative}' is not at {folder}; set SACCADE_SHARED to the folder that has it.")
    return folder


def _plain(value: Any) -> Any:
    if isinstance(value, Ratio):
        return {"median": value.median, "low": value.low, "high": value.high, "num_pairs": value.num_pairs}
    if isinstance(value, np.ndarray):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} has no JSON form")
