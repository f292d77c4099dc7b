"""What the ladder says of its choice is about the comparison that it names, and groups are left out whole."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saccade import api
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.start_point import Rung
from saccade.transfer.freeze_depth import about, can_be_beaten, chance_better, explain
from saccade.transfer.probe import stratified_folds
from saccade.transfer.request import TransferRequest

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}


def rung(depth: str, num_correct: int, trained: str = "tail", p_better: float = 1.0) -> Rung:
    return Rung(
        depth=depth,
        trained=trained,
        num_images=400,
        num_judged=200,
        num_correct=num_correct,
        low=0,
        high=1,
        num_parameters=1,
        seconds=1,
        p_better=p_better,
    )


LAST = rung("all", 120, "linear")


def test_the_p_value_beside_the_last_layer_is_that_of_the_comparison_with_the_last_layer():
    tried = [rung("stage4", 140, p_better=0.001), rung("stage3", 150, p_better=0.04), rung("stage2", 149)]
    assert explain(tried[1], LAST, tried, 0.0002) == (
        "Frozen up to stage3: training everything after it gets 75.0 % of 200 training images left out of the fit "
        "right, a new last layer alone 60.0 % (p = 0.0002); freezing less (stage2: 74.5 %) is not better beyond chance."
    )
    assert explain(tried[1], LAST, tried[:2], 0.0002).endswith("(p = 0.0002); freezing less was not measured.")


def test_where_nothing_is_better_the_best_rival_is_named_with_its_p_value():
    tried = [rung("stage4", 125, p_better=0.2), rung("stage3", 122, p_better=0.4)]
    assert explain(LAST, LAST, tried, 1.0) == (
        "Only the last layer is trained: it gets 60.0 % of 200 training images left out of the fit right. Training "
        "everything after stage4 gets 62.5 %, not better beyond chance (one-sided p = 0.2)."
    )
    assert explain(LAST, LAST, [], 1.0) == (
        "Only the last layer is trained (60.0 % of 200 training images left out of the fit right): no depth to compare."
    )
    nearly = rung("all", 196, "linear")
    assert explain(nearly, nearly, [], 1.0) == (
        "Only the last layer is trained (98.0 % of 200 training images left out of the fit right): "
        "too few are wrong for more training to be shown better."
    )


def test_a_fit_with_four_mistakes_cannot_be_shown_to_be_beaten_and_one_with_five_can():
    for num_wrong, expected in ((0, False), (4, False), (5, True)):
        best = rung("all", 200 - num_wrong, "linear")
        perfect_M, best_M = np.ones(200, bool), np.arange(200) >= num_wrong
        assert can_be_beaten(best) is expected
        assert (chance_better(best_M, perfect_M) < 0.05) is expected


def test_an_estimate_is_said_in_round_figures():
    assert [about(seconds) for seconds in (3, 44, 58, 100, 3600, 9000)] == [
        "10 s", "40 s", "1 min", "2 min", "60 min", "2 h",
    ]  # fmt: skip


def test_a_p_value_is_the_binomial_tail_of_the_images_that_only_one_of_two_gets_right():
    before_M = np.array([True] * 10 + [False] * 10)
    now_M = np.array([True] * 9 + [False] + [True] * 7 + [False] * 3)
    assert chance_better(before_M, now_M) == pytest.approx((1 + 8) / 2**8)  # 7 or 8 of 8 by a fair coin
    assert chance_better(now_M, before_M) == 1.0


@pytest.fixture
def videos(tmp_path: Path) -> TransferRequest:
    """Two classes of eight videos with six frames each, listed in a CSV file; LeNet-5 with random weights."""
    draw, rows = np.random.default_rng(0), ["file,label,group"]
    for video in range(16):
        for frame in range(6):
            name = f"{video}-{frame}.png"
            image_HW = (90 * (video % 2) + draw.integers(0, 160, (32, 32))).astype(np.uint8)
            Image.fromarray(image_HW).save(tmp_path / name)
            rows.append(f"{name},{'ab'[video % 2]},video{video}")
    (tmp_path / "videos.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()}, tmp_path / "model.safetensors"
    )
    (tmp_path / "pixels.json").write_text(json.dumps(PIXELS))
    return TransferRequest(
        source=str(tmp_path / "videos.csv"),
        backbone="lenet5",
        weights=str(tmp_path / "model.safetensors"),
        epochs=1,
        out=tmp_path / "run",
        cache="none",
        preprocessing=tmp_path / "pixels.json",
        settings=["batch_size=16", "runtime.precision=float32", "runtime.num_threads=1"],
    )


def test_no_video_is_in_two_folds_of_any_fit(videos: TransferRequest, monkeypatch: pytest.MonkeyPatch):
    dealt: list[tuple[np.ndarray, np.ndarray]] = []

    def record(label_N: np.ndarray, group_N: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
        fold_N = stratified_folds(label_N, group_N, num_folds, seed)
        dealt.append((group_N, fold_N))
        return fold_N

    for module in ("freeze_depth", "evidence", "start_point"):
        monkeypatch.setattr(f"saccade.transfer.{module}.stratified_folds", record)
    start = api.transfer(videos).start
    assert not any("group" in note for note in start.notes)
    assert len(dealt) > 10  # the ladder's, the nested ones that choose penalties, and those of the last fit
    for group_N, fold_N in dealt:
        assert len(np.unique(group_N)) < len(group_N)
        assert len(np.unique(fold_N)) > 1
        for group in np.unique(group_N):
            assert len(np.unique(fold_N[group_N == group])) == 1


def test_classes_of_one_group_each_are_judged_on_single_images_and_that_is_said(videos: TransferRequest):
    listing = Path(videos.source)
    lines = listing.read_text().splitlines()
    listing.write_text("\n".join([lines[0], *(f"{line.rsplit(',', 1)[0]},{line.split(',')[1]}" for line in lines[1:])]))
    assert api.transfer(videos).start.notes[0] == (
        "a class has all its images in one group, so single images are left out to choose by, not groups: "
        "the accuracy on images left out flatters"
    )
