"""The benchmark that waits for a card: its contestants do the same work, seen here on the processor."""

import argparse
import importlib
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch

REPOSITORY = Path(__file__).parent.parent.parent


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(REPOSITORY))
    return importlib.import_module("benchmarks.train_throughput_gpu")


def test_contestants_start_from_one_loss_and_are_timed_in_turns(benchmark: ModuleType):
    arguments = argparse.Namespace(compiled=False, smoke=True, steps=3, pairs=1)
    threads = torch.get_num_threads()
    result = benchmark.measure("resnet20", 32, 8, torch.device("cpu"), arguments)
    torch.set_num_threads(threads)
    kinds = ["recorded", "launched", "plain", "by hand"]
    assert list(result["images_per_second"]) == kinds
    assert all(rate > 0 for rate in result["images_per_second"].values())
    losses = result["first_loss"]
    assert losses["launched"] == losses["recorded"]
    assert losses["plain"] == pytest.approx(
        losses["recorded"], abs=1e-5 if losses["by hand"] == losses["plain"] else 0.05
    )
    assert (result["recordings"], result["refusal"]) == (0, "")  # there is nothing to record on a processor
    row = benchmark.table_row("resnet20", result | {"of_matmul_peak": 0.5, "refusal": "why not"})
    assert row.startswith("resnet20: images/s recorded ")
    assert row.endswith("; not recorded: why not")


@pytest.mark.parametrize(
    ("text", "parsed"), [("resnet18", ("resnet18", 224, 32)), ("speedrun@32x512", ("speedrun", 32, 512))]
)
def test_a_network_may_name_its_own_size(benchmark: ModuleType, text: str, parsed: tuple[str, int, int]):
    assert benchmark.parse_network(text, 224, 32) == parsed


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a card")
def test_without_a_card_it_says_what_it_needs(benchmark: ModuleType, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sys, "argv", ["train_throughput_gpu"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == (
        "This benchmark needs an NVIDIA card and a CUDA build of torch; neither is here.\n"
        "On a processor: python -m benchmarks.train_throughput"
    )
