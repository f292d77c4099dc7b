"""A linear classifier on frozen features: softmax regression by L-BFGS, its penalty chosen by cross-validation.

The loss is convex, so there is one answer and no learning rate. Features are standardised for the fit (Hastie et al.
2009, section 4.4.4) and the standardisation is folded into the weights, so that what comes out is a dense layer. All
folds are fitted at once, since their losses simply add: one large matrix product instead of several small ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..data.draws import permutation

PENALTIES = (
    1.0,
    0.3,
    0.1,
    0.03,
    0.01,
    0.003,
    0.001,
    0.0003,
    0.0001,
)  # factor of half the squared weights, beside the mean loss
MAX_ITERATIONS = 500
CHOICE_TOLERANCE, FIT_TOLERANCE = 1e-5, 1e-7  # relative change of the loss at which the minimum is found
SMALLEST_DEVIATION = 1e-6


@dataclass(frozen=True, kw_only=True)
class LinearProbe:
    """A fitted dense layer: `weight_KD`, `bias_K` float32, its `penalty`, and what it gave every training image while
    that image's fold was held out, `held_out_NK` float32 logits."""

    weight_KD: torch.Tensor
    bias_K: torch.Tensor
    penalty: float
    held_out_NK: torch.Tensor


def fit_probe(feature_ND: torch.Tensor, label_N: torch.Tensor, num_classes: int, fold_N: np.ndarray) -> LinearProbe:
    """Choose the penalty by the log loss over the folds (int64 numbers, N), then fit on all images."""
    with one_thread():
        return _fit_probe(feature_ND.float(), label_N, num_classes, fold_N)


@contextmanager
def one_thread() -> Iterator[None]:
    """Products as small as these take twice as long on two threads: each waits for the other more than it works."""
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(num_threads)


def _fit_probe(feature_ND: torch.Tensor, label_N: torch.Tensor, num_classes: int, fold_N: np.ndarray) -> LinearProbe:
    scores = []
    start: Folds | None = None
    for penalty in PENALTIES:  # from strong to weak: each answer begins at the one before
        start = _minimise(feature_ND, label_N, num_classes, fold_N, penalty, start)
        held_out_NK = _held_out(feature_ND, start, fold_N, num_classes)
        loss = float(torch.nn.functional.cross_entropy(held_out_NK, label_N))
        scores.append((loss, penalty, held_out_NK))
        if loss > min(scores)[0]:
            break  # weaker penalties fit the folds only more closely
    _, penalty, held_out_NK = min(scores, key=lambda score: score[0])
    weight_KD, bias_K = fit_softmax(feature_ND, label_N, num_classes, penalty)
    return LinearProbe(weight_KD=weight_KD, bias_K=bias_K, penalty=penalty, held_out_NK=held_out_NK)


def fit_softmax(
    feature_ND: torch.Tensor, label_N: torch.Tensor, num_classes: int, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """weight_KD and bias_K, float32, of features as they are: the minimum of mean cross-entropy plus
    penalty / 2 * |standardised weights|^2."""
    everyone_N = np.full(len(label_N), -1)  # no fold is number 0, so nobody is left out of it
    folds = _minimise(feature_ND.float(), label_N, num_classes, everyone_N, penalty, None)
    return folds[0]


def stratified_folds(label_N: np.ndarray, digest_NB: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Fold numbers int64 (N,): every class is dealt out evenly, images of equal content go into one fold."""
    _, group_N = np.unique(digest_NB, axis=0, return_inverse=True)
    group_N = group_N.reshape(-1)
    order_N = permutation(seed, 0, len(label_N))
    fold_of_group: dict[int, int] = {}
    dealt: dict[int, int] = {}
    for position in order_N.tolist():
        group, label = int(group_N[position]), int(label_N[position])
        if group not in fold_of_group:
            fold_of_group[group] = (dealt.get(label, label)) % num_folds  # classes begin at different folds
            dealt[label] = dealt.get(label, label) + 1
    return np.array([fold_of_group[int(group)] for group in group_N], dtype=np.int64)


Folds = list[tuple[torch.Tensor, torch.Tensor]]


def _minimise(
    feature_ND: torch.Tensor,
    label_N: torch.Tensor,
    num_classes: int,
    fold_N: np.ndarray,
    penalty: float,
    start: Folds | None,
) -> Folds:
    """(weight_KD, bias_K) for each fold left out; for one fit on everyone, `fold_N` is -1."""
    num_folds = max(1, int(fold_N.max()) + 1)
    mean_D, std_D = feature_ND.mean(0), feature_ND.std(0, correction=0).clamp_min(SMALLEST_DEVIATION)
    scaled_ND = (feature_ND - mean_D) / std_D
    is_used_FN = torch.from_numpy(fold_N[None, :] != np.arange(num_folds)[:, None])
    share_FN = is_used_FN / is_used_FN.sum(1, keepdim=True).clamp_min(1)
    num_features = feature_ND.shape[1]
    one_hot_NK = torch.nn.functional.one_hot(label_N, num_classes).float()

    def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
        parameter_FKD = torch.from_numpy(flat).float().reshape(num_folds, num_classes, num_features + 1)
        weight_FKD, bias_FK = parameter_FKD[..., :-1], parameter_FKD[..., -1]
        logits_NFK = (scaled_ND @ weight_FKD.reshape(-1, num_features).T).reshape(-1, num_folds, num_classes) + bias_FK
        logarithm_NFK = logits_NFK.log_softmax(-1)
        chosen_FN = logarithm_NFK[torch.arange(len(label_N)), :, label_N].T
        loss = -(chosen_FN * share_FN).sum(dtype=torch.float64) + penalty / 2 * weight_FKD.double().square().sum()
        error_NFK = (logarithm_NFK.exp() - one_hot_NK[:, None]) * share_FN.T[..., None]
        slope_FKD = (error_NFK.reshape(len(label_N), -1).T @ scaled_ND).reshape(weight_FKD.shape) + penalty * weight_FKD
        gradient_FKD = torch.cat([slope_FKD, error_NFK.sum(0)[..., None]], dim=-1)
        return float(loss), gradient_FKD.double().numpy().ravel()

    from scipy.optimize import minimize  # here: `train` without a backbone starts without it

    flat = np.zeros(num_folds * num_classes * (num_features + 1))
    if start:
        flat = torch.stack([_scale(weight, bias, mean_D, std_D) for weight, bias in start]).double().numpy().ravel()
    tolerance = CHOICE_TOLERANCE if num_folds > 1 else FIT_TOLERANCE
    options = {"maxiter": MAX_ITERATIONS, "ftol": tolerance, "gtol": tolerance}
    found = minimize(loss_and_gradient, flat, jac=True, method="L-BFGS-B", options=options)
    parameter_FKD = torch.from_numpy(found.x).reshape(num_folds, num_classes, num_features + 1)
    return [_unscale(parameter_KD, mean_D, std_D) for parameter_KD in parameter_FKD]


def _unscale(
    parameter_KD: torch.Tensor, mean_D: torch.Tensor, std_D: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The layer for features as they are, from that for standardised ones."""
    weight_KD = parameter_KD[:, :-1] / std_D.double()
    return weight_KD.float(), (parameter_KD[:, -1] - weight_KD @ mean_D.double()).float()


def _scale(weight_KD: torch.Tensor, bias_K: torch.Tensor, mean_D: torch.Tensor, std_D: torch.Tensor) -> torch.Tensor:
    bias_K = bias_K.double() + weight_KD.double() @ mean_D.double()
    return torch.cat([weight_KD.double() * std_D.double(), bias_K[:, None]], dim=1)


def _held_out(feature_ND: torch.Tensor, folds: Folds, fold_N: np.ndarray, num_classes: int) -> torch.Tensor:
    """logits_NK of every image by the layer that was fitted without its fold."""
    logits_NK = torch.empty(len(feature_ND), num_classes)
    for number, (weight_KD, bias_K) in enumerate(folds):
        of_fold_N = torch.from_numpy(fold_N == number)
        logits_NK[of_fold_N] = torch.nn.functional.linear(feature_ND[of_fold_N], weight_KD, bias_K)
    return logits_NK
