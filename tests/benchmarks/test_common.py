"""What all benchmarks share: turns, ratios and their intervals, the header, the refusal of a busy machine."""

import importlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from scipy import stats


@pytest.fixture
def common(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent.parent))
    num_threads = torch.get_num_threads()
    yield importlib.import_module("benchmarks.common")
    torch.set_num_threads(num_threads)


def test_contestants_run_in_turns_and_the_first_round_does_not_count(common: ModuleType):
    calls: list[str] = []

    def contestant(name: str):
        return lambda: calls.append(name) or float(len(calls))

    results = common.interleave({"a": contestant("a"), "b": contestant("b")}, pairs=2)
    assert calls == ["a", "b"] * 3
    assert {name: values.tolist() for name, values in results.items()} == {"a": [3.0, 5.0], "b": [4.0, 6.0]}


def test_a_ratio_is_the_median_of_pairs_with_a_bootstrap_interval(common: ModuleType):
    ours = np.array([20.0, 24.0, 21.0, 30.0, 22.0, 26.0, 25.0])
    peer = np.array([10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0])
    ratio = common.paired_ratio(ours, peer)
    assert ratio.median == pytest.approx(2.4)
    expected = stats.bootstrap((ours / peer,), np.median, method="percentile", n_resamples=10_000, rng=1)
    assert ratio.low == pytest.approx(expected.confidence_interval.low, abs=0.11)  # a step between two of the ratios
    assert ratio.high == pytest.approx(expected.confidence_interval.high, abs=0.11)
    assert str(common.paired_ratio([3.0, 3.0], [2.0, 2.0])) == "1.50 (95 % interval 1.50 to 1.50, n = 2)"


def test_a_busy_machine_is_refused_unless_forced(common: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "getloadavg", lambda: (0.51, 0.0, 0.0))
    monkeypatch.setattr(common, "limits", lambda smoke: {})
    arguments = common.argument_parser("test").parse_args(["--threads", "1"])
    with pytest.raises(SystemExit) as stopped:
        common.start(arguments)
    assert stopped.value.code == (
        "The machine is busy: load average 0.51, at most 0.5 is allowed.\n"
        "Wait, or run with --force and do not quote the figures."
    )
    arguments.force = True
    assert common.start(arguments)["quotable"] is False
    monkeypatch.setattr(os, "getloadavg", lambda: (0.5, 0.0, 0.0))
    assert common.start(arguments)["quotable"] is True


def test_the_header_says_what_the_machine_can_do(common: ModuleType, capsys: pytest.CaptureFixture[str]):
    arguments = common.argument_parser("test").parse_args(["--smoke", "--threads", "1", "--json"])
    header = common.start(arguments)
    for key in ("processor", "flags", "onednn", "versions", "threads", "load_average"):
        assert key in header
    for key in ("matmul_float32_tflops", "matmul_bfloat16_tflops", "copy_gb_per_s"):
        assert header[key] > 0
    common.report(arguments, {"header": header, "ratio": common.paired_ratio([2.0], [1.0])}, "a table")
    printed = capsys.readouterr()
    assert json.loads(printed.out)["ratio"] == {"median": 2.0, "low": 2.0, "high": 2.0, "num_pairs": 1}
    assert "matmul_float32_tflops" in printed.err


def test_the_records_clock_is_read_from_its_last_row(common: ModuleType):
    gpu = importlib.import_module("benchmarks.speedrun_gpu")
    rule = "-" * 40
    printed = f"|     3  |  7     |     0.9912  |  0.9312  |              |        2.4012  |\n{rule}\n"
    printed += f"|        |  eval  |     0.9912  |  0.9312  |      0.9401  |        2.5931  |\n{rule}\n"
    assert gpu.last_time(printed) == 2.5931


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a card")
def test_without_a_card_the_comparison_on_one_says_what_it_needs(common: ModuleType, monkeypatch: pytest.MonkeyPatch):
    gpu = importlib.import_module("benchmarks.speedrun_gpu")
    monkeypatch.setattr("sys.argv", ["speedrun_gpu", "--record", "airbench94_muon.py", "--data", "digits"])
    with pytest.raises(SystemExit, match="^This benchmark needs an NVIDIA card and a CUDA build of torch"):
        gpu.main()
