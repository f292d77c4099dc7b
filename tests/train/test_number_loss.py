"""Learning a number: the loss is torch's and NumPy's, what is for classes is refused, splits and folds are even."""

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.angles import write_angles

from saccade.core.errors import ConfigError
from saccade.core.task import NUMBER, Task
from saccade.data.scan import scan_source
from saccade.data.source import open_source
from saccade.data.split import split_source, strata
from saccade.train.config import LossConfig, RunConfig
from saccade.train.loop import Validation
from saccade.train.loss import check_task, loss_mean, loss_sum, right_images, total_weight


def test_the_loss_is_huber_of_standard_deviations():
    generator = np.random.default_rng(0)
    logits_B1, target_B = generator.normal(0, 2, (50, 1)), generator.normal(0, 1, 50)
    error_B = np.abs(logits_B1[:, 0] - target_B)
    expected_B = np.where(error_B < 1, error_B**2 / 2, error_B - 0.5)
    logits, target = torch.from_numpy(logits_B1), torch.from_numpy(target_B)
    config = LossConfig()
    assert float(loss_mean(logits, target, config, None, NUMBER)) == pytest.approx(expected_B.mean())
    assert float(loss_sum(logits, target, config, None, NUMBER)) == pytest.approx(expected_B.sum())
    assert total_weight(target, None, NUMBER) == 50
    np.testing.assert_array_equal(right_images(logits, target, NUMBER).numpy(), error_B < 0.5)


def test_numbers_go_to_standard_deviations_and_back():
    value_N = np.array([1e9, 1e9 + 1, 1e9 + 4])
    task = NUMBER.of_numbers(value_N)
    assert task.mean == value_N.mean()
    assert task.deviation == pytest.approx(value_N.std())
    standard_N = task.standard(value_N)
    assert standard_N.dtype == np.float32
    np.testing.assert_allclose(task.probabilities_of(standard_N[:, None])[:, 0], value_N, atol=1e-5)
    np.testing.assert_allclose(task.logits_of(value_N[:, None])[:, 0], standard_N, rtol=1e-6)
    assert NUMBER.of_numbers(np.array([2.0, 2.0])).deviation == 1  # nothing to divide by


def test_a_task_refuses_what_is_not_its_own():
    with pytest.raises(ConfigError, match=r"^Task: mean, deviation and half_width are for a number\.$"):
        Task(mean=1.0)
    with pytest.raises(ValueError, match="a number has one output, and there are 2 classes"):
        NUMBER.refuse_other_classes(2)


@pytest.mark.parametrize(
    ("setting", "name", "why"),
    [
        ("loss.class_weights=balanced", "loss.class_weights", "is for classes"),
        ("loss.label_smoothing=0.3", "loss.label_smoothing", "is for classes"),
        ("loss.focal_gamma=2", "loss.focal_gamma", "is for classes"),
        ("loss.negative_gamma=2", "loss.negative_gamma", "is for classes"),
        ("loss.negative_margin=0.1", "loss.negative_margin", "is for classes"),
        ("loader.sampling=balanced", "loader.sampling", "is for classes"),
        ("labels.threshold_for=recall", "labels", "is for classes"),
        ("augment.mixup.alpha=0.4", "augment.mixup", "mixes classes"),
        ("augment.cutmix.alpha=1", "augment.cutmix", "mixes classes"),
    ],
)
def test_what_is_for_classes_is_refused(setting: str, name: str, why: str):
    config = RunConfig().with_overrides([setting])
    with pytest.raises(ConfigError) as caught:
        check_task(config, NUMBER)
    assert caught.value.message == f"{name} {why}, and a number is asked for.\nLeave it out."


def test_the_label_smoothing_of_a_recipe_is_no_reason_to_refuse():
    check_task(RunConfig().with_overrides(["loss.label_smoothing=0.1"]), NUMBER)


def test_parts_of_a_split_have_the_range_of_the_whole(tmp_path: Path):
    source = open_source(f"{write_angles(tmp_path, 200)}?target=number", several=True)
    split = split_source(source, scan_source(source, threads=1), seed=0)
    label_N = strata(source, source.table(), np.arange(200))
    assert np.bincount(label_N).tolist() == [20] * 10
    for name, share in (("test", 0.2), ("validation", 0.08)):
        counts = np.bincount(label_N[split.indices(name)], minlength=10)
        assert np.abs(counts - share * 20).max() <= 1


def test_the_kept_epoch_is_the_one_with_the_smallest_error():
    values = [Validation(accuracy=0.0, loss=0.0, mae=mae, deviation=2.0).value for mae in (0.0, 0.5, 4.0, 1e9)]
    assert values == sorted(values, reverse=True)
    assert all(0 <= value <= 1 for value in values)
