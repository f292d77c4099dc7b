"""Several networks compared on the training images: who is dropped, who is chosen, what a budget refuses."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import binomtest
from torch import nn

from saccade import api
from saccade.core.errors import SaccadeError, UsageError
from saccade.models.architecture import MODELS, ModelSpec, build_model
from saccade.train import prepare
from saccade.train.config import RunConfig
from saccade.transfer import backbone_search
from saccade.transfer.backbone_search import _against, _choice, _not_worse, _Runner
from saccade.transfer.request import TransferRequest

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
SMALL = ["runtime.precision=float32", "runtime.num_threads=1", "loader.threads=1"]


def write_weights(folder: Path, network: str, scale: float) -> Path:
    """Random weights of `network` for seven other classes, times `scale`, with a card of their own."""
    torch.manual_seed(3)
    model = build_model(network, ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    tensors = {name: (tensor * scale).contiguous() for name, tensor in model.state_dict().items()}
    folder.mkdir()
    card = {"saccade.preprocessing": json.dumps(PIXELS), "saccade.licence": "mit"}
    save_file(tensors, folder / "model.safetensors", metadata=card)
    return folder


def asked(out: Path, *weights: Path, **more: float) -> TransferRequest:
    return TransferRequest(
        source="digits", weights=[str(path) for path in weights], freeze="all", out=out, cache="none", settings=SMALL,
        budget_ms=more.get("ms", 0), budget_mb=more.get("mb", 0),
    )  # fmt: skip


def test_the_network_that_sees_something_is_chosen_and_no_judged_image_is_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    good, blind = write_weights(tmp_path / "a", "lenet5", 1.0), write_weights(tmp_path / "b", "convnet-b", 0.0)
    looked_at: list[np.ndarray] = []
    collect = backbone_search.collect_features

    def spied(plan, taps, index_N, work, to_all):  # noqa: ANN001, ANN202
        looked_at.append(index_N)
        return collect(plan, taps, index_N, work, to_all=to_all)

    monkeypatch.setattr(backbone_search, "collect_features", spied)
    scan, scans = prepare.scan_source, []
    monkeypatch.setattr(prepare, "scan_source", lambda *given: scans.append(given) or scan(*given))
    result = api.transfer(asked(tmp_path / "run", blind, good))
    assert len(scans) == 1  # the transfer that follows looks at no image again
    first, second = result.start.backbones
    assert (first.name, first.chosen, second.name, second.chosen) == ("convnet-b", False, "lenet5", True)
    assert first.num_judged == 300  # dropped in the first round
    assert second.num_judged == 300
    assert first.accuracy < 0.2 < 0.8 < second.accuracy
    assert first.low < first.accuracy < first.high
    assert second.megabytes == pytest.approx((good / "model.safetensors").stat().st_size / 1e6, abs=1e-3)
    assert result.start.backbone_sentence.startswith(
        f"lenet5: {100 * second.accuracy:.1f} % of 300 training images left"
    )
    assert result.run.config.transfer.backbone == "lenet5"
    scan_size, held_out = 1797, result.run.judgement.metrics.num_samples
    seen_N = np.unique(np.concatenate(looked_at))
    assert len(seen_N) <= scan_size - held_out
    from sklearn.datasets import load_digits

    assert len(load_digits().target) == scan_size


def test_networks_are_compared_at_the_size_of_the_run_and_their_features_are_found_again(tmp_path: Path):
    good, blind = (
        write_weights(tmp_path / "a", "mobilenetv3-small", 1.0),
        write_weights(tmp_path / "b", "mobilenetv3-small", 0.0),
    )
    request = TransferRequest(
        source="digits",
        weights=[str(good), str(blind)],
        freeze="all",
        out=tmp_path / "run",
        cache=str(tmp_path / "cache"),
        settings=[*SMALL, "input.size_px=48"],
    )
    result = api.transfer(request)
    assert [backbone.chosen for backbone in result.start.backbones] == [True, False]
    assert result.start.backbone_sentence.startswith(f"mobilenetv3-small ({good}): ")
    assert result.run.config.transfer.preprocessing.input_CHW == (1, 48, 48)
    assert (result.start.num_found, result.start.num_computed) == (300, 1438 - 300)


def runner(name: str, ms: float, **rounds: list[int]) -> _Runner:
    """`rounds`: n8=[1, 0, ...] for the round of eight images."""
    config = RunConfig.parse({"transfer": {"backbone": name, "weights": "w"}}, "test")
    right = {int(key[1:]): np.array(values, bool) for key, values in rounds.items()}
    return _Runner(config=config, label=name, name=name, model=nn.Identity(), ms=ms, megabytes=1.0, rounds=right)


def test_who_is_worse_beyond_chance_is_dropped_by_the_exact_test():
    best = runner("best", 2.0, n10=[1] * 10)
    for num_wrong in range(11):
        other = runner("other", 1.0, n10=[0] * num_wrong + [1] * (10 - num_wrong))
        p_value = binomtest(num_wrong, num_wrong).pvalue if num_wrong else 1.0
        assert (other in _not_worse([best, other])) == (p_value >= 0.05), num_wrong


def test_a_slower_network_is_chosen_only_where_it_is_shown_to_be_better():
    fast = runner("fast", 1.0, n20=[1] * 10 + [0] * 10)
    alike = runner("alike", 2.0, n20=[1] * 12 + [0] * 8)
    better = runner("better", 3.0, n20=[1] * 20)
    assert _choice([fast, alike], [fast, alike]).chosen.name == "fast"
    found = _choice([fast, alike, better], [fast, alike, better])
    assert found.chosen.name == "better"
    p_value = binomtest(0, 8).pvalue
    assert found.sentence == (
        "better: 100.0 % of 20 training images left out of the fit (83.9 to 100.0), "
        f"40.0 points above alike (p = {p_value:.2g}), and an answer takes 1.5 times as long."
    )


def test_a_network_that_was_dropped_is_compared_in_the_round_both_were_in():
    chosen = runner("chosen", 2.0, n10=[1] * 10, n30=[1] * 15 + [0] * 15)
    dropped = runner("dropped", 1.0, n10=[0] * 10)
    p_value = binomtest(0, 10).pvalue
    assert _against(chosen, dropped) == (
        f"100.0 points above dropped on 10 of them (p = {p_value:.2g}), and an answer takes 2.0 times as long"
    )


def refused(request: TransferRequest) -> str:
    with pytest.raises(SaccadeError) as error:
        api.transfer(request)
    return error.value.message


def test_what_cannot_be_compared_is_refused(tmp_path: Path):
    lenet, convnet = write_weights(tmp_path / "a", "lenet5", 1.0), write_weights(tmp_path / "b", "convnet-b", 1.0)
    message = refused(asked(tmp_path / "run", lenet, convnet, mb=0.001))
    assert message.startswith("No network is within the budget: the fastest, ")
    assert message.endswith("\nRaise --budget-ms or --budget-mb, or name smaller networks with --backbone.")
    request = TransferRequest(source="digits", backbone="lenet5,resnet20", weights=[lenet, convnet])
    assert refused(request) == (
        f"--weights {convnet} is of convnet-b, which --backbone does not name.\n"
        "Add it there, or leave --backbone out to compare the networks of all --weights."
    )
    request = TransferRequest(source="digits", weights=[lenet, convnet], preprocessing=tmp_path / "p.json")
    assert refused(request) == (
        "--preprocessing is for one network, and several are compared.\n"
        "Give each its own: a config.json beside its weights, or saccade convert --preprocessing."
    )
    run = api.transfer(asked(tmp_path / "run", lenet)).run.run_dir
    with pytest.raises(UsageError) as error:
        api.transfer(TransferRequest(out=run, resume=True, backbone="lenet5,resnet20"))
    assert error.value.message == (
        "A resumed transfer goes on with the network that it chose.\n"
        "Leave --backbone and --weights out, or start a new run with another --out."
    )


def test_networks_of_the_comparison_are_registered():
    assert {"lenet5", "convnet-b"} <= set(MODELS.names())
