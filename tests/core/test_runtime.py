"""The machine as it is: quotas, devices, seeds."""

from pathlib import Path

import pytest
import torch
from tests.processes import run_python

from saccade.core import processors, runtime
from saccade.core.errors import ConfigError, UsageError
from saccade.core.free_memory import free_memory_bytes
from saccade.core.host_process import scoped_runtime
from saccade.core.ranks import Ranks
from saccade.core.runtime import RuntimeConfig, own_device, start


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000"}, 1.5),
        ("0::/a/b\n", {"a/cpu.max": "50000 100000", "a/b/cpu.max": "max 100000"}, 0.5),
        ("0::/a\n", {"a/cpu.max": "max 100000"}, None),
        (
            "4:cpu,cpuacct:/box\n",
            {"cpu/box/cpu.cfs_quota_us": "200000", "cpu/box/cpu.cfs_period_us": "100000"},
            2.0,
        ),
        ("4:cpu:/\n2:memory:/\n", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {}, None),
    ],
)
def test_the_tightest_quota_of_both_control_group_versions_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None
):
    write(tmp_path / "cgroup", files)
    write(tmp_path, {"self": own})
    assert processors.cgroup_quota_cpus(tmp_path / "cgroup", tmp_path / "self") == quota


def test_threads_obey_affinity_and_quota(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(processors.os, "sched_getaffinity", lambda pid: set(range(8)), raising=False)
    monkeypatch.setattr(processors, "cgroup_quota_cpus", lambda: 2.5)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert processors.available_cpus() == 3
    monkeypatch.setattr(processors, "cgroup_quota_cpus", lambda: 0.2)
    assert processors.available_cpus() == 1
    monkeypatch.setattr(processors, "cgroup_quota_cpus", lambda: None)
    assert processors.available_cpus() == 8
    for said, expected in [("3", 3), ("2,4", 2), ("16", 8), ("0", 1), ("many", 8)]:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
        assert processors.available_cpus() == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"meminfo": "MemTotal: 9 kB\nMemAvailable:   4 kB\n"}, 4096),
        ({"meminfo": "MemAvailable: 4 kB\n", "self": "0::/a/b\n", "cgroup/a/memory.max": "9000\n"}, 4096),
        (
            {
                "meminfo": "MemAvailable: 400 kB\n",
                "self": "0::/a/b\n",
                "cgroup/a/memory.max": "9000\n",
                "cgroup/a/memory.current": "2000\n",
                "cgroup/a/b/memory.max": "max\n",
                "cgroup/a/b/memory.current": "1000\n",
            },
            7000,
        ),
        ({}, None),
    ],
)
def test_free_memory_is_that_of_the_machine_or_of_a_tighter_group(
    tmp_path: Path, files: dict[str, str], expected: int | None
):
    write(tmp_path, files)
    assert free_memory_bytes(tmp_path / "meminfo", tmp_path / "self", tmp_path / "cgroup") == expected


def test_a_device_that_is_not_there_is_named():
    with pytest.raises(ConfigError) as error:
        runtime.start(runtime.RuntimeConfig(device="cuda:99"))
    assert error.value.message == (
        f"The device 'cuda:99' is not on this machine ({torch.cuda.device_count()} CUDA devices are).\n"
        "Leave out --set runtime.device, or name one that is there."
    )


def test_a_device_that_does_not_exist_is_refused():
    with pytest.raises(ConfigError) as error:
        runtime.start(runtime.RuntimeConfig(device="toaster"))
    assert error.value.message == "'runtime.device' must be auto, cpu, cuda, cuda:N or mps; got 'toaster'."


def test_the_chosen_runtime_says_what_it_is():
    chosen = runtime.start(runtime.RuntimeConfig(device="cpu", precision="bfloat16", num_threads=1))
    assert chosen.describe() == "CPU, 1 thread, bfloat16, channels last"
    with chosen.arithmetic():
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.bfloat16
    with chosen.arithmetic(torch.float32):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32


def test_seeds_from_neighbouring_places_are_all_different():
    seeds = {runtime.mix_seeds(a, b, c) for a in range(12) for b in range(12) for c in range(12)}
    assert len(seeds) == 12**3
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert runtime.mix_seeds(1, 2) == runtime.mix_seeds(1, 2)
    assert runtime.mix_seeds(1, 2) != runtime.mix_seeds(2, 1)


def test_seeding_makes_torch_repeat_itself():
    runtime.seed_everything(3, 7)
    first = torch.rand(4)
    runtime.seed_everything(3, 8)
    other = torch.rand(4)
    runtime.seed_everything(3, 7)
    assert torch.equal(first, torch.rand(4))
    assert not torch.equal(first, other)


def test_each_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch: pytest.MonkeyPatch):
    chosen: list[int] = []
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    third = Ranks(rank=6, world_size=8, local_rank=2, local_world_size=4)
    assert own_device(torch.device("cuda"), third) == torch.device("cuda:2")
    assert chosen == [2]
    assert own_device(torch.device("cpu"), third) == torch.device("cpu")
    assert own_device(torch.device("cuda"), Ranks()) == torch.device("cuda")
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    with pytest.raises(ConfigError) as error:
        own_device(torch.device("cuda"), third)
    assert error.value.message == (
        "4 processes of this machine need a GPU each, and it has 3.\n"
        "Start so many (--processes auto), or compute without them: --set runtime.device=cpu"
    )


def test_a_child_that_was_forked_after_threads_have_computed_has_one_thread(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(runtime._Threads, "have_computed", True)
    monkeypatch.setattr(runtime._Threads, "are_lost", False)
    runtime._Threads.after_fork()
    with scoped_runtime():
        assert start(RuntimeConfig(device="cpu")).num_threads == 1
        with pytest.raises(UsageError) as error:
            start(RuntimeConfig(device="cpu", num_threads=2))
    assert error.value.message == (
        "This process was forked from one in which torch has computed on several threads: it has one.\n"
        "Ask for one (num_threads=1), or start the process by multiprocessing's 'spawn'."
    )


def test_a_forked_child_computes(tmp_path: Path):
    """Without the one thread it waits for ever for those of its parent."""
    code = """
import os, signal, torch
from saccade.core.host_process import scoped_runtime
from saccade.core.runtime import RuntimeConfig, start
layer, map_BCHW = torch.nn.Conv2d(8, 8, 3), torch.rand(32, 8, 64, 64)
with scoped_runtime():
    start(RuntimeConfig(device="cpu", num_threads=2))
    layer(map_BCHW)
child = os.fork()
if child == 0:
    signal.alarm(60)
    with scoped_runtime():
        start(RuntimeConfig(device="cpu"))
        layer(map_BCHW)
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
    done = run_python(["-c", code], tmp_path)
    assert done.returncode == 0, done.stderr
