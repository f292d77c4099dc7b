"""The linear classifier of features against scikit-learn's, and its folds."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from saccade.transfer.probe import Directions, fit_probe, fit_softmax, probe_loss, stratified_folds


def features(num_images: int, num_features: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Three noisy classes; the first feature is constant, the second a thousand times as large as the rest."""
    generator = torch.Generator().manual_seed(0)
    label_N = torch.arange(num_images) % 3
    centre_KD = torch.randn(3, num_features, generator=generator)
    feature_ND = centre_KD[label_N] + 2 * torch.randn(num_images, num_features, generator=generator)
    feature_ND[:, 0] = 5.0
    feature_ND[:, 1] *= 1000
    return feature_ND, label_N


def pareto_scaled(feature_ND: torch.Tensor) -> np.ndarray:
    """Over the root of each feature's deviation, and over one factor by which the median deviation comes to 1."""
    values_ND = feature_ND.double().numpy()
    std_D = np.maximum(values_ND.std(axis=0), 1e-6)
    return (values_ND - values_ND.mean(axis=0)) / np.sqrt(
        std_D * np.sort(std_D[std_D > 1e-6])[(np.sum(std_D > 1e-6) - 1) // 2]
    )


@pytest.mark.parametrize(("num_images", "num_features"), [(200, 12), (30, 60)])
@pytest.mark.parametrize("penalty", [1.0, 0.03, 0.001])
def test_the_fit_is_scikit_learns_on_scaled_features(num_images: int, num_features: int, penalty: float):
    feature_ND, label_N = features(num_images, num_features)
    weight_KD, bias_K = fit_softmax(Directions(feature_ND), label_N, 3, penalty)
    assert weight_KD.dtype == bias_K.dtype == torch.float32
    scaled_ND = pareto_scaled(feature_ND)
    theirs = LogisticRegression(C=1 / (penalty * num_images), tol=1e-9, max_iter=10_000).fit(scaled_ND, label_N.numpy())
    logits_NK = feature_ND.double() @ weight_KD.double().T + bias_K.double()
    ours_NK = (logits_NK - logits_NK.mean(1, keepdim=True)).numpy()
    theirs_NK = theirs.decision_function(scaled_ND)
    np.testing.assert_allclose(ours_NK, theirs_NK - theirs_NK.mean(1, keepdims=True), rtol=0.02, atol=0.02)


@pytest.mark.parametrize("factor", [1e-3, 50.0])
def test_a_common_factor_of_all_features_changes_no_answer(factor: float):
    feature_ND, label_N = features(90, 12)
    fold_N = stratified_folds(label_N.numpy(), np.arange(90), 3, seed=0)
    plain, scaled = (fit_probe(values, label_N, 3, fold_N) for values in (feature_ND, factor * feature_ND))
    assert scaled.penalty == plain.penalty
    torch.testing.assert_close(scaled.held_out_NK, plain.held_out_NK, rtol=0.01, atol=0.01)


def test_the_penalty_is_the_one_with_the_smallest_loss_on_folds_left_out():
    feature_ND, label_N = features(150, 40)
    fold_N = stratified_folds(label_N.numpy(), np.arange(150), 3, seed=0)
    probe = fit_probe(feature_ND, label_N, 3, fold_N)

    def held_out_loss(penalty: float) -> float:
        loss = 0.0
        for fold in range(3):
            out_N = torch.from_numpy(fold_N == fold)
            scaled_ND = pareto_scaled(feature_ND)
            used = LogisticRegression(C=1 / (penalty * int((~out_N).sum())), tol=1e-9, max_iter=10_000)
            used.fit(scaled_ND[~out_N.numpy()], label_N[~out_N].numpy())
            chances_NK = used.predict_log_proba(scaled_ND[out_N.numpy()])
            loss -= chances_NK[np.arange(len(chances_NK)), label_N[out_N].numpy()].sum()
        return loss / 150

    expected = held_out_loss(probe.penalty)
    assert float(torch.nn.functional.cross_entropy(probe.held_out_NK, label_N)) == pytest.approx(expected, abs=0.002)
    assert all(expected <= held_out_loss(penalty) + 0.002 for penalty in (probe.penalty * 3, probe.penalty / 3))


def test_folds_hold_every_class_evenly_and_groups_together():
    label_N, group_N = np.arange(90) % 3, np.arange(90)
    group_N[[30, 61]] = group_N[0]
    fold_N = stratified_folds(label_N, group_N, 3, seed=0)
    assert fold_N[0] == fold_N[30] == fold_N[61]
    counts = [np.bincount(label_N[fold_N == fold], minlength=3) for fold in range(3)]
    assert np.abs(np.array(counts) - 10).max() <= 1


@pytest.mark.parametrize("penalty", [1.0, 0.03, 0.001])
def test_of_several_labels_each_class_is_fitted_as_scikit_learn_fits_it_alone(penalty: float):
    feature_ND, label_N = features(200, 12)
    label_NK = torch.stack([label_N == 0, label_N >= 1, label_N % 2 == 0], dim=1).float()
    weight_KD, bias_K = fit_softmax(Directions(feature_ND), label_NK, 3, penalty)
    scaled_ND = pareto_scaled(feature_ND)
    logits_NK = (feature_ND.double() @ weight_KD.double().T + bias_K.double()).numpy()
    for k in range(3):
        theirs = LogisticRegression(C=1 / (penalty * 200), tol=1e-9, max_iter=10_000)
        theirs.fit(scaled_ND, label_NK[:, k].numpy())
        np.testing.assert_allclose(logits_NK[:, k], theirs.decision_function(scaled_ND), rtol=0.02, atol=0.02)


def test_several_labels_are_dealt_out_to_the_folds_evenly_and_answered_while_left_out():
    feature_ND, label_N = features(150, 12)
    label_NK = torch.stack([label_N == 0, label_N >= 1, torch.arange(150) < 9], dim=1).float()
    fold_N = stratified_folds(label_NK.numpy(), np.arange(150) // 2, 3, seed=0)
    for fold in range(3):
        assert abs(label_NK[fold_N == fold].sum(0) - label_NK.sum(0) / 3).max() <= 2
        assert len(set(fold_N[::2] == fold_N[1::2])) == 1  # pairs stay together
    probe = fit_probe(feature_ND, label_NK, 3, fold_N)
    share_K = label_NK.mean(0)
    guess_NK = torch.log(share_K / (1 - share_K)).expand(150, 3)
    assert probe.held_out_NK.shape == (150, 3)
    assert probe_loss(probe.held_out_NK, label_NK) < 0.9 * probe_loss(guess_NK, label_NK)
