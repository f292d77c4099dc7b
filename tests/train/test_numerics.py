"""Training steps against NumPy float64: every optimizer, loss, schedule and average, to 1e-10 over several steps."""

import math
import tomllib
from collections import OrderedDict
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from saccade import api
from saccade.core.config import toml_text
from saccade.core.errors import ConfigError, SaccadeError
from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.train.config import LossConfig, OptimizerConfig, RunConfig, ScheduleConfig
from saccade.train.loss import (
    balanced_class_weights,
    check_class_names,
    class_weights,
    image_losses,
    image_weights,
    loss_mean,
    loss_sum,
)
from saccade.train.schedule import learning_rate_factor
from saccade.train.step import TrainingStep

from . import numpy_training as reference

NUM_STEPS, NUM_IMAGES, NUM_CLASSES, SIDE_PX = 8, 9, 4, 6
OPTIMIZERS = get_args(OptimizerConfig.model_fields["name"].annotation)
SCHEDULES = get_args(ScheduleConfig.model_fields["name"].annotation)
PIXELS = Preprocessing(  # pixel / 256 - 1/2: exact in float32
    channels="grey", input_height_px=SIDE_PX, input_width_px=SIDE_PX, mean=(128 / 255,), std=(256 / 255,)
)


class Toy(nn.Module):
    """A filter bank, a head, and an auxiliary head that counts 0.3."""

    def __init__(self) -> None:
        super().__init__()
        num_features = 3 * (SIDE_PX - 2) ** 2
        self.stem = nn.Conv2d(1, 3, 3)
        self.stages = nn.Sequential(OrderedDict())
        self.head = nn.Linear(num_features, NUM_CLASSES)
        self.auxiliary = nn.Linear(num_features, NUM_CLASSES)

    def forward_train(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, list[tuple[float, torch.Tensor]]]:
        feature_BD = torch.relu(self.stem(image_BCHW)).flatten(1)
        return self.head(feature_BD), [(0.3, self.auxiliary(feature_BD))]


def batches(mixed: bool) -> list[tuple[np.ndarray, np.ndarray]]:
    """(image_BHW uint8, targets) of each step; mixed targets are eighths, exact in float32."""
    draw = np.random.default_rng(7)
    found = []
    for _ in range(NUM_STEPS):
        image_BHW = draw.integers(0, 256, (NUM_IMAGES, SIDE_PX, SIDE_PX), dtype=np.uint8)
        label_B = draw.integers(0, NUM_CLASSES, NUM_IMAGES)
        share_B = draw.integers(0, 9, (NUM_IMAGES, 1)) / 8
        one_hot_BK = np.eye(NUM_CLASSES)[label_B]
        found.append((image_BHW, share_B * one_hot_BK + (1 - share_B) * one_hot_BK[::-1] if mixed else label_B))
    return found


def config_of(settings: list[str]) -> RunConfig:
    return RunConfig().with_overrides(["batch_size=9", "optimizer.weight_decay=0.05", *settings])


def compare(settings: list[str], mixed: bool = False, weight_K: np.ndarray | None = None) -> None:
    """Train both for NUM_STEPS steps; every parameter, the average and every loss must agree to 1e-10."""
    config = config_of(settings)
    torch.manual_seed(3)
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float64, num_threads=1)
    training = TrainingStep(Toy().double(), config, PIXELS, runtime)
    if weight_K is not None:
        training.class_weight_K = torch.tensor(weight_K, dtype=torch.float32)
    optimizer, loss_config = config.optimizer, config.loss
    rule = reference.Rule(
        name=optimizer.name,
        rate=optimizer.learning_rate,
        beta=optimizer.momentum,
        second=optimizer.rmsprop_decay if optimizer.name == "rmsprop" else optimizer.second_momentum,
        decay=optimizer.weight_decay,
        other_rate=optimizer.other_learning_rate,
        other_beta=optimizer.other_momentum,
        other_decay=optimizer.other_weight_decay,
        iterations=optimizer.muon_iterations,
        unit_filters=optimizer.unit_filters,
    )
    loss = reference.Loss(
        smoothing=loss_config.label_smoothing,
        class_weight_K=weight_K,
        auxiliary_weight=0.3,
        gamma=loss_config.focal_gamma,
    )
    p = {name: tensor.detach().numpy().copy() for name, tensor in training.model.named_parameters()}
    average = dict(p)
    for step, (image_BHW, target) in enumerate(batches(mixed)):
        scale = reference.factor(config.schedule.name, step, NUM_STEPS, config.schedule.warmup_fraction, 0.0)
        value, g = reference.gradients(p, image_BHW / 256 - 0.5, target, loss)
        rule.step(p, reference.clip(g, optimizer.clip_norm), scale)
        if config.average.decay and (step + 1) % config.average.every_steps == 0:
            updates = (step + 1) // config.average.every_steps
            decay = min(config.average.decay, (1 + updates) / (10 + updates))
            average = {name: decay * average[name] + (1 - decay) * p[name] for name in p}
            p = dict(average) if config.average.lookahead else p
        elif step + 1 < config.average.every_steps:
            average = dict(p)
        before = float(training.totals.loss_sum)
        batch = Batch(
            image_BCHW=torch.from_numpy(image_BHW)[:, None],
            target=torch.from_numpy(target.astype(np.float32) if mixed else target),
            index_B=np.arange(NUM_IMAGES),
        )
        assert training.run(batch, step, learning_rate_factor(config.schedule, step, NUM_STEPS))
        assert (float(training.totals.loss_sum) - before) / NUM_IMAGES == pytest.approx(value, rel=1e-10, abs=0)
    agree(training.model, p)
    if training.average:
        agree(training.average.model, average)


def agree(model: nn.Module, expected: dict[str, np.ndarray]) -> None:
    for name, tensor in model.named_parameters():
        np.testing.assert_allclose(tensor.detach().numpy(), expected[name], rtol=1e-10, atol=1e-12, err_msg=name)


@pytest.mark.parametrize("clip_norm", [0.0, 0.2])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_steps_as_its_paper_says_with_decay_on_matrices_only(name: str, clip_norm: float):
    compare([f"optimizer.name={name}", "optimizer.learning_rate=0.02", f"optimizer.clip_norm={clip_norm}"])


def test_muon_as_the_speedrun_uses_it():
    values = [
        "muon_iterations=3",
        "unit_filters=true",
        "momentum=0.6",
        "other_momentum=0.85",
        "other_weight_decay=0.01",
    ]
    compare(["optimizer.name=muon", *(f"optimizer.{value}" for value in values)])


@pytest.mark.parametrize("warmup", [0.0, 0.4])
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_scales_the_steps(schedule: str, warmup: float):
    compare([f"schedule.name={schedule}", f"schedule.warmup_fraction={warmup}", "optimizer.name=adamw"])


@pytest.mark.parametrize("num_parts", [1, 2, 4])
@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("weights", [None, [0.5, 2.0, 0.25, 1.0]])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("gamma", [0.0, 0.5, 2.0])
def test_every_loss_in_any_number_of_parts(
    num_parts: int, mixed: bool, weights: list[float] | None, smoothing: float, gamma: float
):
    weight_K = None if weights is None else np.array(weights)
    softening = [f"loss.label_smoothing={smoothing}", f"loss.focal_gamma={gamma}"]
    compare([f"accumulate={num_parts}", *softening, "optimizer.clip_norm=0.5"], mixed, weight_K)


@pytest.mark.parametrize("common", [1, 9, 1000])
def test_class_weights_do_not_move_the_best_answer_to_a_smoothed_target(common: int):
    """An image's loss is least at its smoothed target, so its class is the answer, however rare the other one is.

    torch weighs the smoothing mass by class too: beyond 19:1 with smoothing 0.1 the best answer to a common image is
    then the rare class. This test and the reference held that form before."""
    label_N = torch.tensor([0] * common + [1])
    weight_K = balanced_class_weights(label_N, 2).double()
    best_BK = torch.tensor([[0.95, 0.05], [0.05, 0.95]], dtype=torch.float64).log().requires_grad_()
    config = LossConfig(label_smoothing=0.1)
    (gradient_BK,) = torch.autograd.grad(loss_sum(best_BK, torch.tensor([0, 1]), config, weight_K), best_BK)
    np.testing.assert_allclose(gradient_BK.numpy(), 0, atol=1e-9)
    torchs = nn.functional.cross_entropy(best_BK, torch.tensor([0, 1]), weight_K, label_smoothing=0.1)
    assert (float(torch.autograd.grad(torchs, best_BK)[0].abs().max()) > 1e-3) == (common > 1)


def test_weighted_losses_without_smoothing_are_torchs():
    draw = torch.Generator().manual_seed(0)
    logits_BK = torch.randn(7, NUM_CLASSES, dtype=torch.float64, generator=draw)
    label_B = torch.tensor([0, 3, 1, 1, 2, 0, 0])
    weight_K = torch.tensor([0.5, 2.0, 7.0, 1.0], dtype=torch.float64)
    expected = nn.functional.cross_entropy(logits_BK, label_B, weight_K)
    assert float(loss_mean(logits_BK, label_B, LossConfig(), weight_K)) == pytest.approx(float(expected), rel=1e-12)


def test_a_mixed_image_counts_as_the_mix_of_its_labels():
    """By hand: a quarter of class 0 (weight 4) and three of class 1 (weight 2) weigh 2.5; even logits cost ln 2."""
    target_BK, weight_K = torch.tensor([[0.25, 0.75], [1.0, 0.0]]), torch.tensor([4.0, 2.0])
    assert image_weights(target_BK, weight_K).tolist() == [2.5, 4.0]
    assert image_weights(torch.tensor([1, 0]), weight_K).tolist() == [2.0, 4.0]
    value = loss_sum(torch.zeros(2, 2, dtype=torch.float64), target_BK, LossConfig(), weight_K)
    assert float(value) == pytest.approx(6.5 * math.log(2), rel=1e-12)


def test_focal_loss_by_hand_and_where_the_answer_is_certain():
    """p = 1/2, gamma = 2: (1/2)^2 ln 2. A right answer that is certain costs nothing and pushes nowhere."""
    even_BK = torch.zeros(1, 2, dtype=torch.float64)
    value = image_losses(even_BK, torch.tensor([0]), LossConfig(focal_gamma=2))
    assert value.tolist() == pytest.approx([math.log(2) / 4], rel=1e-12)
    for gamma in (0.5, 2.0):
        certain_BK = torch.tensor([[200.0, 0.0]], requires_grad=True)
        loss = image_losses(certain_BK, torch.tensor([0]), LossConfig(focal_gamma=gamma)).sum()
        assert float(loss.detach()) == 0
        assert torch.autograd.grad(loss, certain_BK)[0].tolist() == [[0, 0]]


def test_class_weights_by_name_are_one_for_the_others():
    config = LossConfig(class_weights={"crack": 5, "a.b": 0.5})
    weight_K = class_weights(config, torch.tensor([0, 1, 2]), ("a.b", "crack", "whole"))
    assert weight_K is not None
    assert weight_K.tolist() == [0.5, 5.0, 1.0]


def test_a_weight_for_a_class_that_is_not_there_is_refused_before_training(tmp_path: Path):
    def refused(setting: str) -> str:
        with pytest.raises(SaccadeError) as error:
            api.train(api.TrainRequest(source="digits", out=tmp_path / "run", settings=[setting]))
        assert not (tmp_path / "run").exists()
        return error.value.message

    start = "loss.class_weights names a class that the images do not have: "
    assert refused("loss.class_weights={crack = 5}") == f"{start}'crack'. Classes: 0, 1, 2, 3, 4, 5, 6, 7, 8, 9."
    with pytest.raises(ConfigError) as error:
        check_class_names(LossConfig(class_weights={"crak": 5}), ("crack", "whole"))
    assert error.value.message == f"{start}'crak'. Did you mean 'crack'?"


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            "loss.class_weights={crack: 5}",
            "it must be none, balanced, or a table of weights by class name, such as {crack = 5}",
        ),
        (
            "loss.class_weights={crack = 0}",
            "the weight of 'crack' is a number above 0, at most 1,000,000",
        ),
        (
            "loss.class_weights.crack=true",
            "the weight of 'crack' is a number above 0, at most 1,000,000",
        ),
    ],
)
def test_a_class_weight_that_is_none_is_told(setting: str, message: str):
    with pytest.raises(ConfigError) as error:
        RunConfig().with_overrides([setting])
    assert error.value.message == f"settings: 'loss.class_weights': {message}."


def test_class_weights_can_be_set_one_by_one_and_read_back_from_toml():
    asked = RunConfig().with_overrides(["loss.class_weights.crack=5", "loss.class_weights.a b.c=2"])
    assert asked.loss.class_weights == {"crack": 5.0, "a b.c": 2.0}
    assert asked == RunConfig().with_overrides({"loss": {"class_weights": {"crack": 5, "a b.c": 2}}})
    text = toml_text(asked.differences())
    assert RunConfig.parse(tomllib.loads(text)) == asked


def test_balancing_twice_is_refused():
    with pytest.raises(ConfigError) as error:
        RunConfig().with_overrides(["loss.class_weights=balanced", "loader.sampling=balanced"])
    assert error.value.message == (
        "settings: loader.sampling=balanced and loss.class_weights=balanced each make rare classes count as much as "
        "common ones, and both together make them count for more: leave one out."
    )


@pytest.mark.parametrize("lookahead", ["false", "true"])
@pytest.mark.parametrize(("decay", "every"), [(0.1, 1), (0.99, 1), (0.5, 3)])
def test_averages_and_lookahead(lookahead: str, decay: float, every: int):
    average = [f"average.decay={decay}", f"average.every_steps={every}", f"average.lookahead={lookahead}"]
    compare([*average, "optimizer.name=nesterov"])


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_over_a_long_run(name: str):
    config = ScheduleConfig.parse({"name": name, "warmup_fraction": 0.07, "final_factor": 0.1})
    for step in range(1000):
        expected = reference.factor(name, step, 1000, 0.07, 0.1)
        assert math.isclose(learning_rate_factor(config, step, 1000), expected, rel_tol=1e-12, abs_tol=1e-15)


def test_balanced_weights_are_scikit_learns_and_leave_absent_classes_out():
    from sklearn.utils.class_weight import compute_class_weight

    label_N = np.array([0] * 10 + [1] * 3 + [3] * 5)
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=label_N)
    weight_K = balanced_class_weights(torch.from_numpy(label_N), 5).numpy()
    np.testing.assert_allclose(weight_K[[0, 1, 3]], expected, rtol=1e-6)
    assert weight_K[[2, 4]].tolist() == [0, 0]


def test_a_run_shorter_than_the_averages_first_turn_ships_its_own_weights():
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float64, num_threads=1)
    training = TrainingStep(Toy().double(), config_of(["average.decay=0.9", "average.every_steps=5"]), PIXELS, runtime)
    for step, (image_BHW, target) in enumerate(batches(mixed=False)[:4]):
        image_BCHW = torch.from_numpy(image_BHW)[:, None]
        batch = Batch(image_BCHW=image_BCHW, target=torch.from_numpy(target), index_B=np.arange(NUM_IMAGES))
        assert training.run(batch, step, 1.0)
        shipped, own = training.judged_model.state_dict(), training.model.state_dict()
        assert all(torch.equal(shipped[name], own[name]) for name in own)


def test_a_loss_that_is_not_finite_changes_nothing():
    runtime = Runtime(device=torch.device("cpu"), precision=torch.float64, num_threads=1)
    training = TrainingStep(Toy().double(), config_of(["average.decay=0.5"]), PIXELS, runtime)
    before = {name: tensor.clone() for name, tensor in training.model.state_dict().items()}
    training.class_weight_K = torch.full((NUM_CLASSES,), float("inf"))
    image_BHW, target = batches(mixed=False)[0]
    batch = Batch(
        image_BCHW=torch.from_numpy(image_BHW)[:, None], target=torch.from_numpy(target), index_B=np.arange(NUM_IMAGES)
    )
    assert not training.run(batch, 0, 1.0)
    assert all(torch.equal(before[name], tensor) for name, tensor in training.model.state_dict().items())
    assert int(training.totals.num_seen) == 0


def test_label_smoothing_is_torchs_too():
    logits_BK = torch.randn(5, NUM_CLASSES, dtype=torch.float64)
    label_B = torch.tensor([0, 3, 1, 1, 2])
    value, _ = reference.Loss(smoothing=LossConfig(label_smoothing=0.1).label_smoothing).head(
        logits_BK.numpy(), label_B.numpy(), 5.0
    )
    expected = nn.functional.cross_entropy(logits_BK, label_B, label_smoothing=0.1)
    assert value == pytest.approx(float(expected), rel=1e-12)
