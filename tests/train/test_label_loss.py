"""The loss of several labels: held to torch's own where torch has it, and to the papers' formulas in float64 numpy."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from saccade.core.errors import ConfigError
from saccade.core.task import ONE_LABEL, SEVERAL_LABELS
from saccade.train.config import RunConfig
from saccade.train.label_loss import balanced_label_weights, label_losses
from saccade.train.loss import check_task, class_weights, loss_mean, loss_sum, num_right, total_weight

LOGITS_BK = torch.tensor(np.random.default_rng(0).normal(0, 3, (40, 5)))
TARGET_BK = torch.tensor((np.random.default_rng(1).random((40, 5)) < 0.4).astype(np.float64))
MIXED_BK = torch.tensor(np.random.default_rng(2).random((40, 5)))
WEIGHT_K = torch.tensor([1.0, 0.5, 3.0, 20.0, 1.0], dtype=torch.float64)
SETTINGS = {
    "plain": [],
    "smoothed": ["loss.label_smoothing=0.2"],
    "focal": ["loss.focal_gamma=2"],
    "asymmetric": ["loss.negative_gamma=4", "loss.negative_margin=0.05"],
    "both": ["loss.focal_gamma=1", "loss.negative_gamma=4", "loss.negative_margin=0.05"],
    "margin alone": ["loss.negative_margin=0.2"],
}


def config_of(settings: list[str]) -> RunConfig:
    return RunConfig().with_overrides(settings)


def formula(logits_BK: np.ndarray, target_BK: np.ndarray, settings: list[str], weight_K: np.ndarray) -> np.ndarray:
    """Ridnik et al. 2021, equations 5 to 7, with weights and smoothing, word by word."""
    loss = config_of(settings).loss
    target_BK = (1 - loss.label_smoothing) * target_BK + loss.label_smoothing / 2
    p_BK = 1 / (1 + np.exp(-logits_BK))
    q_BK = np.maximum(p_BK - loss.negative_margin, 0)
    negative_gamma = loss.focal_gamma if loss.negative_gamma == -1 else loss.negative_gamma
    positive_BK = weight_K * target_BK * (1 - p_BK) ** loss.focal_gamma * np.log(p_BK)
    negative_BK = (1 - target_BK) * q_BK**negative_gamma * np.log(1 - q_BK)
    return -(positive_BK + negative_BK).sum(axis=1)


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("target_BK", [TARGET_BK, MIXED_BK], ids=["labels", "mixed"])
def test_every_loss_is_the_formula_of_its_paper(name: str, target_BK: torch.Tensor):
    expected_B = formula(LOGITS_BK.numpy(), target_BK.numpy(), SETTINGS[name], WEIGHT_K.numpy())
    found_B = label_losses(LOGITS_BK, target_BK, config_of(SETTINGS[name]).loss, WEIGHT_K)
    np.testing.assert_allclose(found_B.numpy(), expected_B, rtol=1e-10)


@pytest.mark.parametrize("weight_K", [None, WEIGHT_K])
def test_without_softening_it_is_torchs_binary_cross_entropy(weight_K: torch.Tensor | None):
    own = config_of([]).loss
    expected = functional.binary_cross_entropy_with_logits(LOGITS_BK, MIXED_BK, pos_weight=weight_K, reduction="sum")
    assert float(loss_sum(LOGITS_BK, MIXED_BK, own, weight_K, SEVERAL_LABELS)) == pytest.approx(float(expected))
    mean = float(loss_mean(LOGITS_BK, MIXED_BK, own, weight_K, SEVERAL_LABELS))
    assert mean == pytest.approx(float(expected) / len(LOGITS_BK))  # over images, not over labels
    assert total_weight(MIXED_BK, weight_K, SEVERAL_LABELS) == len(LOGITS_BK)


@pytest.mark.parametrize("name", SETTINGS)
def test_gradients_are_right_and_finite_however_sure_the_network_is(name: str):
    loss = config_of(SETTINGS[name]).loss
    logits_BK = LOGITS_BK[:6].clone().requires_grad_(True)
    assert torch.autograd.gradcheck(lambda x: label_losses(x, MIXED_BK[:6], loss, WEIGHT_K), logits_BK)
    sure_BK = torch.tensor([[-300.0, 300.0], [300.0, -300.0]], requires_grad=True)
    losses_B = label_losses(sure_BK, torch.tensor([[1.0, 0.0], [1.0, 0.0]]), loss, None)
    losses_B.sum().backward()
    assert torch.isfinite(losses_B).all()
    assert torch.isfinite(sure_BK.grad).all()


def test_an_image_is_right_where_every_label_is():
    logits_BK = torch.tensor([[1.0, -1.0], [1.0, 1.0], [-1.0, -1.0]])
    target_BK = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]])
    assert int(num_right(logits_BK, target_BK, SEVERAL_LABELS)) == 2


def test_class_weights_are_given_by_name_or_by_how_rare_a_class_is():
    label_NK = torch.tensor([[1.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0, 0]])
    assert balanced_label_weights(label_NK).tolist() == pytest.approx([1 / 3, 3.0, 1.0])
    by_name = config_of(["loss.class_weights={b = 5}"]).loss
    assert class_weights(by_name, label_NK, ("a", "b", "c")).tolist() == [1, 5, 1]
    balanced = class_weights(config_of(["loss.class_weights=balanced"]).loss, label_NK, ("a", "b", "c"))
    assert torch.equal(balanced, balanced_label_weights(label_NK))
    assert class_weights(config_of([]).loss, label_NK, ("a", "b", "c")) is None


@pytest.mark.parametrize(
    ("settings", "task", "message"),
    [
        (
            ["loss.negative_gamma=4"],
            ONE_LABEL,
            "loss.negative_gamma is for several labels an image, and these images have one each.\n"
            "Leave it out; loss.focal_gamma is for both.",
        ),
        (
            ["loader.sampling=balanced"],
            SEVERAL_LABELS,
            "loader.sampling=balanced deals places evenly to the classes, and an image here may be of several.\n"
            "Use loss.class_weights=balanced instead.",
        ),
        (
            ['distill.teachers=["a"]', "distill.weight=0.5"],
            SEVERAL_LABELS,
            "Teachers are for one label an image, and these images may have several.\nLeave out --teacher.",
        ),
    ],
)
def test_what_the_kind_of_labels_does_not_know_is_refused(settings: list[str], task, message: str):
    with pytest.raises(ConfigError) as error:
        check_task(config_of(settings), task)
    assert str(error.value) == message
    check_task(config_of([]), task)
