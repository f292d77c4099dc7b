"""What the ladder says of its choice is about the comparison that it names, and groups are left out whole."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saccade import api
from saccade.models.architecture import ModelSpec, build_model
from saccade.train.progress import Silent
from saccade.transfer.freeze_depth import (
    FineTuning,
    Tried,
    can_be_beaten,
    climb,
    explain,
    explain_trial,
    worth_a_trial,
)
from saccade.transfer.ladder import Measured
from saccade.transfer.looks import Comparison, chance_better, compare
from saccade.transfer.probe import stratified_folds
from saccade.transfer.request import TransferRequest
from saccade.transfer.time_plan import NOTHING_KNOWN, TimePlan

PIXELS = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}


def measured(depth: str, num_correct: int, trained: str = "tail") -> Measured:
    return Measured(
        depth=depth,
        trained=trained,
        num_images=400,
        num_parameters=1,
        right_by_look=(np.arange(200) < num_correct,),
        seconds=1.0,
    )


def tried(depth: str, num_correct: int, p_better: float = 1.0, num_judged: int = 200, num_before: int = 140) -> Tried:
    comparison = Comparison(num_judged=num_judged, num_right=num_correct, num_before=num_before, p_better=p_better)
    return Tried(tail=measured(depth, num_correct), comparison=comparison, is_better=p_better < 0.05)


LAST = measured("all", 120, "linear")


def test_the_p_value_beside_the_last_layer_is_that_of_the_comparison_with_the_last_layer():
    others = [tried("stage4", 140, 0.001), tried("stage3", 150, 0.04), tried("stage2", 149)]
    against = Comparison(num_judged=200, num_right=150, num_before=120, p_better=0.0002)
    best = others[1].tail
    assert explain(best, others, against) == (
        "Frozen up to stage3: training everything after it gets 75.0 % of 200 training images left out of the fit "
        "right, a new last layer alone 60.0 % (p = 0.0002); freezing less (stage2: 74.5 %) is not better beyond chance."
    )
    assert explain(best, others[:2], against).endswith("(p = 0.0002); freezing less was not measured.")
    late = "; stage2 was not measured: --minutes 5 leaves no time"
    assert explain(best, others[:2], against, late).endswith(
        "(p = 0.0002); stage2 was not measured: --minutes 5 leaves no time."
    )
    fewer = [*others[:2], tried("stage2", 70, num_judged=100, num_before=71)]
    assert explain(best, fewer, against).endswith(
        "; freezing less (stage2: 70.0 % against 71.0 % of 100) is not better beyond chance."
    )


def test_where_nothing_is_better_the_best_rival_is_named_with_its_p_value():
    others = [tried("stage4", 125, 0.2, num_before=120), tried("stage3", 122, 0.4, num_before=120)]
    assert explain(LAST, others, None) == (
        "Only the last layer is trained: it gets 60.0 % of 200 training images left out of the fit right. Training "
        "everything after stage4 gets 62.5 %, not better beyond chance (p = 0.2)."
    )
    assert explain(LAST, [], None) == (
        "Only the last layer is trained (60.0 % of 200 training images left out of the fit right): no depth to compare."
    )
    assert explain(LAST, [], None, "; stage4 was not measured: --minutes 1 leaves no time") == (
        "Only the last layer is trained (60.0 % of 200 training images left out of the fit right): stage4 was not "
        "measured: --minutes 1 leaves no time."
    )
    assert explain(measured("all", 196, "linear"), [], None) == (
        "Only the last layer is trained (98.0 % of 200 training images left out of the fit right): "
        "so few are wrong that training more layers could not be shown to be better."
    )


def test_a_fit_with_four_mistakes_cannot_be_shown_to_be_beaten_and_one_with_five_can():
    for num_wrong, expected in ((0, False), (4, False), (5, True)):
        best = measured("all", 200 - num_wrong, "linear")
        assert can_be_beaten(best) is expected
        assert (chance_better(best.right_M, np.ones(200, bool)) < 0.05) is expected


EIGHT_EPOCHS = FineTuning(num_epochs=8, num_validation=40)


def test_short_tails_miss_a_tenth_of_the_wrong_images_at_three_of_eight_epochs_and_none_at_as_many():
    assert EIGHT_EPOCHS.missed(num_wrong=100, num_used=400) == pytest.approx(10)
    assert FineTuning(num_epochs=3, num_validation=40).missed(100, 400) == 0
    assert FineTuning(num_epochs=3, num_validation=40).missed(100, 2000) == pytest.approx(16 / 3)  # two epochs of three
    assert EIGHT_EPOCHS.missed(100, 60) == 0  # so few images are seen ten times in a tail
    assert EIGHT_EPOCHS.missed(0, 400) == 0


def test_the_depth_that_is_nearest_is_tried_where_short_tails_explain_its_gap():
    """Of 200 images the last layer gets 60 wrong; eight epochs are worth six of them more than three."""
    far, near, nearer = tried("stage4", 134), tried("stage3", 135), tried("stage2", 137)
    assert worth_a_trial([far], EIGHT_EPOCHS) is None
    assert worth_a_trial([far, near], EIGHT_EPOCHS) is near
    assert worth_a_trial([far, nearer, near], EIGHT_EPOCHS) is nearer
    assert worth_a_trial([near], FineTuning(num_epochs=3, num_validation=40)) is None
    assert worth_a_trial([tried("stage2", 141, 0.4)], FineTuning(num_epochs=3, num_validation=40)) is not None
    assert worth_a_trial([], EIGHT_EPOCHS) is None
    fewer = tried("stage1", 64, num_judged=100, num_before=66)  # given up at the first of two looks
    assert worth_a_trial([far, fewer], EIGHT_EPOCHS) is fewer


def test_a_trial_says_that_nothing_was_shown_and_what_it_is_kept_for():
    assert explain_trial(tried("stage3", 137), EIGHT_EPOCHS) == (
        "Frozen up to stage3 as a trial: training everything after it gets 68.5 % of 200 training images left out of "
        "the fit right after 3 epochs without augmentation, a new last layer alone 70.0 %, too near to tell. The "
        "fine-tuning is kept if it does better on 40 validation images."
    )


class MeasuredBefore:
    """A ladder of two depths whose fits are all known: of 200 images the last layer gets 140 right, the tails 136 and
    137, each others than the last layer."""

    depths = tail_depths = ("stage1", "stage2")
    looks = ((0, 1, 2),)
    work = SimpleNamespace(
        progress=Silent(), index_N=np.arange(200), config=SimpleNamespace(transfer=SimpleNamespace(ladder_panels=False))
    )

    def has_enough(self, part: int) -> bool:
        return True

    def collect(self) -> None:
        pass

    def measure(self, depth: str, trained: str, part: int = 1) -> Measured:
        return measured(depth, 140, trained)

    def duel(self, depth: str, best: Measured) -> tuple[Measured, Comparison, bool]:
        num_right = {"stage1": 137, "stage2": 136}[depth]
        right_M = np.roll(np.arange(200) < num_right, 30)
        return measured(depth, num_right), compare(right_M, best.right_M), False


@pytest.mark.parametrize("num_validation", [99, 100])
def test_a_trial_takes_a_hundred_validation_images_to_judge_it(num_validation: int):
    chosen = climb(
        MeasuredBefore(), TimePlan(forecast=NOTHING_KNOWN), FineTuning(num_epochs=8, num_validation=num_validation)
    )
    if num_validation == 100:
        assert (chosen.depth, chosen.is_trial) == ("stage1", True)
        assert chosen.sentence.startswith("Frozen up to stage1 as a trial: training everything after it gets 68.5 %")
        assert chosen.sentence.endswith("The fine-tuning is kept if it does better on 100 validation images.")
    else:
        assert (chosen.depth, chosen.is_trial) == ("all", False)
        assert chosen.sentence == (
            "Only the last layer is trained: it gets 70.0 % of 200 training images left out of the fit right. Training "
            "everything after stage1 gets 68.5 %, no better; 99 validation images are too few to try it out."
        )


@pytest.mark.parametrize("minutes", [0.0, 60.0])
def test_what_only_the_picture_shows_is_left_out_where_minutes_are_limited(minutes: float):
    plan = TimePlan(forecast=NOTHING_KNOWN, minutes=minutes)
    rungs = climb(MeasuredBefore(), plan, FineTuning(num_epochs=8, num_validation=100)).rungs
    heads = [(depth, trained) for depth in MeasuredBefore.depths for trained in ("linear", "hidden")]
    tails = [("stage2", "tail"), ("stage1", "tail")]
    assert [(rung.depth, rung.trained) for rung in rungs] == ([("all", "linear")] if minutes else heads) + tails


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

    for module in ("ladder", "evidence", "start_point"):
        monkeypatch.setattr(f"saccade.transfer.{module}.stratified_folds", record)
    start = api.transfer(videos).start
    assert not any("group" in note for note in start.notes)
    assert len(dealt) >= 7  # the ladder's, five nested ones that choose penalties, and that of the last fit
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
