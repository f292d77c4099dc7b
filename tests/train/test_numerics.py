"""Training steps against NumPy float64: every optimizer, loss, schedule and average, to 1e-10 over several steps."""

import math
from collections import OrderedDict
from typing import get_args

import numpy as np
import pytest
import torch
from torch import nn

from saccade.core.runtime import Runtime
from saccade.core.types import Batch, Preprocessing
from saccade.train.config import LossConfig, OptimizerConfig, RunConfig, ScheduleConfig
from saccade.train.schedule import learning_rate_factor
from saccade.train.step import TrainingStep, balanced_class_weights

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
    loss = reference.Loss(smoothing=loss_config.label_smoothing, class_weight_K=weight_K, auxiliary_weight=0.3)
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
def test_every_loss_in_any_number_of_parts(num_parts: int, mixed: bool, weights: list[float] | None, smoothing: float):
    weight_K = None if weights is None else np.array(weights)
    settings = [f"accumulate={num_parts}", f"loss.label_smoothing={smoothing}", "optimizer.clip_norm=0.5"]
    compare(settings, mixed, weight_K)


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
