"""How many processors are ours. torch is not imported: the server of models asks, too."""

import math
import os
from pathlib import Path


def available_cpus() -> int:
    """Processors this process may use, at least 1: the smallest of its affinity, its control group's quota, and the
    OMP_NUM_THREADS by which schedulers of shared machines say how many are ours."""
    limits = [len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1)]
    quota = cgroup_quota_cpus()
    if quota:
        limits.append(math.ceil(quota))
    wanted = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # a list says one number a nesting level
    if wanted.isdecimal():
        limits.append(int(wanted))
    return max(1, min(limits))


def cgroup_quota_cpus(root: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> float | None:
    """The tightest CPU quota of this process's control groups in processors, None where there is none."""
    try:
        lines = own.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None  # not Linux, or /proc is hidden: no quota to obey
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        base = root if not controllers else root / "cpu"
        if controllers and "cpu" not in controllers.split(","):
            continue
        folder = base / path.lstrip("/")
        for place in [folder, *folder.parents]:
            quotas += _read_quota(place)
            if place == base:
                break
    return min(quotas, default=None)


def _read_quota(folder: Path) -> list[float]:
    try:
        if (folder / "cpu.max").exists():
            quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        elif (folder / "cpu.cfs_quota_us").exists():
            quota = (folder / "cpu.cfs_quota_us").read_text(encoding="ascii").strip()
            period = (folder / "cpu.cfs_period_us").read_text(encoding="ascii").strip()
        else:
            return []
    except OSError:
        return []  # a control group we may not read does not bind what we may know
    return [] if quota in ("max", "-1") else [int(quota) / int(period)]
