"""What a depth is worth: fits that judge it follow the losses of the run."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from saccade.core.runtime import Runtime
from saccade.train.config import RunConfig
from saccade.train.loss import balanced_class_weights
from saccade.transfer.evidence import Fits, Trial, judge_hidden

CPU = Runtime(device=torch.device("cpu"), precision=torch.float32, num_threads=1)


@pytest.fixture
def uneven() -> tuple[torch.Tensor, Trial]:
    """Two overlapping clouds in the plane, 180 of one and 20 of the other, dealt into two folds."""
    draw = np.random.default_rng(5)
    label_N = np.repeat([0, 1], [180, 20])
    feature_ND = draw.normal(size=(200, 2)) + 1.5 * label_N[:, None]
    trial = Trial(
        label_N=torch.from_numpy(label_N),
        fold_N=np.arange(200) % 2,
        group_N=np.arange(200),
        is_kept_N=np.ones(200, bool),
        judged_folds=(0, 1),
        num_classes=2,
        seed=0,
    )
    return torch.from_numpy(feature_ND).float(), trial


def test_balanced_class_weights_find_more_of_the_rare_class(uneven: tuple[torch.Tensor, Trial]):
    feature_ND, trial = uneven
    num_found = []
    for weight_K in (None, balanced_class_weights(trial.label_N, 2)):
        fits = Fits(config=RunConfig(), runtime=CPU, check=lambda: None, class_weight_K=weight_K)
        right_N = judge_hidden(feature_ND, trial, fits).right_M
        num_found.append(int(right_N[trial.label_N.numpy() == 1].sum()))
    assert num_found[1] >= num_found[0] + 4


def test_balanced_weights_and_smoothing_together_answer_the_common_class_too():
    """480 images of one class and 8 of another, far apart: weighted by class, the smoothing mass turned all answers."""
    draw = np.random.default_rng(5)
    label_N = np.repeat([0, 1], [480, 8])
    trial = Trial(
        label_N=torch.from_numpy(label_N),
        fold_N=np.arange(488) % 2,
        group_N=np.arange(488),
        is_kept_N=np.ones(488, bool),
        judged_folds=(0, 1),
        num_classes=2,
        seed=0,
    )
    fits = Fits(
        config=RunConfig().with_overrides(["loss.label_smoothing=0.1"]),
        runtime=CPU,
        check=lambda: None,
        class_weight_K=balanced_class_weights(trial.label_N, 2),
    )
    feature_ND = torch.from_numpy(draw.normal(size=(488, 2)) + 8.0 * label_N[:, None]).float()
    right_N = judge_hidden(feature_ND, trial, fits).right_M
    assert right_N[:480].mean() > 0.8  # none was right before
    assert right_N[480:].all()


def test_balanced_sampling_finds_more_of_the_rare_class(uneven: tuple[torch.Tensor, Trial]):
    feature_ND, trial = uneven
    num_found = []
    for settings in ([], ["loader.sampling=balanced"]):
        fits = Fits(config=RunConfig().with_overrides(settings), runtime=CPU, check=lambda: None)
        right_N = judge_hidden(feature_ND, trial, fits).right_M
        num_found.append(int(right_N[trial.label_N.numpy() == 1].sum()))
    assert num_found[1] >= num_found[0] + 4


def test_a_hidden_layer_is_fed_by_the_statistics_of_the_images_it_learns_from(uneven: tuple[torch.Tensor, Trial]):
    """What lies in the fold that is left out, however far away, changes no answer for it but its own."""
    feature_ND, trial = uneven
    alone = replace(trial, judged_folds=(0,))
    out_N = torch.from_numpy(np.flatnonzero(trial.fold_N == 0))
    changed_ND = feature_ND.clone()
    changed_ND[out_N[0]] = 1e6
    fits = Fits(config=RunConfig(), runtime=CPU, check=lambda: None)
    right, changed = (judge_hidden(features, alone, fits).right_M for features in (feature_ND, changed_ND))
    np.testing.assert_array_equal(right[1:], changed[1:])
