"""A linear classifier on frozen features: softmax regression by L-BFGS, its penalty chosen by cross-validation.

Where an image may have several labels (label_NK in place of label_N), it is a logistic regression of each class, with
one penalty for all of them. Of numbers (label_N float32, in standard deviations from their mean) it is a ridge
regression (Hoerl and Kennard 1970, Technometrics 12, 55-67).

The loss is convex, so there is one answer and no learning rate. Features are scaled for the fit over all images,
whatever their fold since labels play no part in it, and that is folded into the weights, so that what comes out is a
dense layer. Each is divided by the root of its standard deviation (Pareto scaling: van den Berg et al. 2006, BMC
Genomics 7, 142), halfway between features as they are and standardised ones: standardising lifts those that hardly vary
to the height of those that do (figures: docs/decisions.md).

All folds are fitted at once, since their losses simply add: one large
matrix product instead of several small ones.

The search runs in the principal directions of the features, each stretched by how strongly the loss can curve along
it (bounded by the covariance: Boehning 1992, Annals of the Institute of Statistical Mathematics 44), which takes
fewer steps. A rotation does not change the penalty, so the minimum is the same.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch

from ..data.random_numbers import permutation
from ..data.stratify import stratified_parts

PENALTIES = (
    3.0,
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
STRONG_PENALTIES = (100.0, 30.0, 10.0)  # of numbers, whose loss curves up to 20 times as much
MAX_ITERATIONS = 500
CHOICE_TOLERANCE, FIT_TOLERANCE = 1e-5, 1e-9  # relative change of the loss at which the minimum is found
MANY, FEW_FOLDS, MORE_FOLDS = 1000, 3, 5  # with many images fewer folds choose the penalty as well
SMALLEST_DEVIATION = 1e-6
CURVATURE = 0.05  # of the loss, over the variance of a feature: p (1 - p) of a fairly sure answer
HISTORY = 10  # steps that L-BFGS remembers


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
    directions = Directions(feature_ND)
    folds = Problem(directions, label_N, num_classes, fold_N)
    scores = []
    start: torch.Tensor | None = None
    for penalty in (
        (*STRONG_PENALTIES, *PENALTIES) if are_numbers(label_N) else PENALTIES
    ):  # from strong to weak: each answer begins at the one before
        start = folds.minimise(penalty, CHOICE_TOLERANCE, start)
        held_out_NK = _held_out(feature_ND, [directions.layer(part) for part in start], fold_N, num_classes)
        loss = float(probe_loss(held_out_NK, label_N))
        scores.append((loss, penalty, held_out_NK))
        if loss > min(scores)[0]:
            break  # weaker penalties fit the folds only more closely
    _, penalty, held_out_NK = min(scores, key=lambda score: score[0])
    weight_KD, bias_K = fit_softmax(directions, label_N, num_classes, penalty)
    return LinearProbe(weight_KD=weight_KD, bias_K=bias_K, penalty=penalty, held_out_NK=held_out_NK)


def probe_loss(logits_NK: torch.Tensor, label_N: torch.Tensor) -> torch.Tensor:
    """The mean loss of an image: cross-entropy; of several labels binary cross-entropy, added up over the classes; of
    numbers half the squared error."""
    if are_numbers(label_N):
        return (logits_NK[:, 0] - label_N).square().mean() / 2
    if label_N.ndim == 1:
        return torch.nn.functional.cross_entropy(logits_NK, label_N)
    total = torch.nn.functional.binary_cross_entropy_with_logits(logits_NK, label_N, reduction="sum")
    return total / len(label_N)


def are_numbers(label_N: torch.Tensor) -> bool:
    """Whether labels are numbers, and no classes."""
    return label_N.ndim == 1 and label_N.is_floating_point()


def fit_softmax(
    directions: "Directions", label_N: torch.Tensor, num_classes: int, penalty: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """weight_KD and bias_K, float32, of features as they are: the minimum of mean cross-entropy plus
    penalty / 2 * |weights of scaled features|^2."""
    everyone_N = np.full(len(label_N), -1)  # no fold is number 0, so nobody is left out of it
    found_FKR = Problem(directions, label_N, num_classes, everyone_N).minimise(penalty, FIT_TOLERANCE, None)
    return directions.layer(found_FKR[0])


def folds_of_layer(num_images: int) -> int:
    """How many folds choose the penalty of the last layer of a run."""
    return max(2, min(FEW_FOLDS if num_images > MANY else MORE_FOLDS, num_images))


def stratified_folds(label_N: np.ndarray, group_N: np.ndarray, num_folds: int, seed: int) -> np.ndarray:
    """Fold numbers int64 (N,): every class is dealt out evenly, images of one group (int64, N) go into one fold."""
    order_N = permutation(seed, 0, len(label_N))
    if label_N.ndim == 2:
        return stratified_parts(label_N, group_N, (1 / num_folds,) * num_folds, order_N)
    fold_of_group: dict[int, int] = {}
    dealt: dict[int, int] = {}
    for position in order_N.tolist():
        group, label = int(group_N[position]), int(label_N[position])
        if group not in fold_of_group:
            fold_of_group[group] = (dealt.get(label, label)) % num_folds  # classes begin at different folds
            dealt[label] = dealt.get(label, label) + 1
    return np.array([fold_of_group[int(group)] for group in group_N], dtype=np.int64)


class Directions:
    """Scaled features (N, D) turned into their R = min(N, D) principal directions: `turned_NR`, with their variances
    `variance_R`. A common factor of all features changes nothing."""

    def __init__(self, feature_ND: torch.Tensor) -> None:
        self.mean_D = feature_ND.mean(0)
        std_D = feature_ND.std(0, correction=0).clamp_min(SMALLEST_DEVIATION)
        varies_D = std_D > SMALLEST_DEVIATION
        usual = std_D[varies_D].median() if bool(varies_D.any()) else std_D[0]
        self.scale_D = (std_D * usual).sqrt()
        scaled_ND = (feature_ND - self.mean_D) / self.scale_D
        num_images, num_features = scaled_ND.shape
        if num_images >= num_features:
            variance_R, turn_DR = torch.linalg.eigh((scaled_ND.T @ scaled_ND).double() / num_images)
            self.turn_DR = turn_DR.float()
        else:  # as many directions as images; the others do not change any answer, and the penalty keeps them at 0
            self.turn_DR = torch.linalg.qr(scaled_ND.T.double())[0].float()
            variance_R = (scaled_ND @ self.turn_DR).double().square().mean(0)
        self.turned_NR = scaled_ND @ self.turn_DR
        self.variance_R = variance_R.float().clamp_min(0)

    def layer(self, parameter_KP: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """weight_KD and bias_K, float32, for features as they are; P are the R directions and the bias behind them."""
        weight_KD = parameter_KP[:, :-1] @ self.turn_DR.double().T / self.scale_D.double()
        return weight_KD.float(), (parameter_KP[:, -1] - weight_KD @ self.mean_D.double()).float()


class Problem:
    """Regressions, one for each fold left out of it; for one on everyone, `fold_N` is -1."""

    def __init__(self, directions: Directions, label_N: torch.Tensor, num_classes: int, fold_N: np.ndarray) -> None:
        self.directions = directions
        self.label_N = label_N
        self.is_several, self.are_numbers = label_N.ndim == 2, are_numbers(label_N)
        if self.are_numbers:
            self.one_hot_NK = label_N[:, None]
        else:
            self.one_hot_NK = label_N if self.is_several else torch.nn.functional.one_hot(label_N, num_classes).float()
        num_folds = max(1, int(fold_N.max()) + 1)
        is_used_FN = torch.from_numpy(fold_N[None, :] != np.arange(num_folds)[:, None])
        self.share_FN = is_used_FN / is_used_FN.sum(1, keepdim=True).clamp_min(1)
        self.shape = (num_folds, num_classes, directions.turned_NR.shape[1] + 1)

    def minimise(self, penalty: float, tolerance: float, start: torch.Tensor | None) -> torch.Tensor:
        """parameter_FKP float64, one layer in the turned directions a fold, from `start` (of the same kind) on."""
        stretch_R = (CURVATURE * self.directions.variance_R + penalty).rsqrt()
        stretch_P = torch.cat([stretch_R, torch.full((1,), CURVATURE**-0.5)])
        stretched_NP = torch.cat([self.directions.turned_NR, torch.ones(len(self.label_N), 1)], dim=1) * stretch_P
        weight_P = penalty * torch.cat([stretch_R.square(), torch.zeros(1)])  # of the squared parameters; bias: free
        begin_FKP = torch.zeros(self.shape, dtype=torch.float64) if start is None else start / stretch_P.double()
        parameter_FKP = torch.nn.Parameter(begin_FKP)
        search = torch.optim.LBFGS(
            [parameter_FKP],
            max_iter=MAX_ITERATIONS,
            tolerance_grad=tolerance,
            tolerance_change=tolerance,
            history_size=HISTORY,
            line_search_fn="strong_wolfe",
        )

        @torch.no_grad()
        def loss() -> float:
            value, parameter_FKP.grad = self.loss_and_gradient(parameter_FKP.detach(), stretched_NP, weight_P)
            return value

        search.step(loss)
        return parameter_FKP.detach() * stretch_P.double()

    def loss_and_gradient(
        self, parameter_FKP: torch.Tensor, stretched_NP: torch.Tensor, weight_P: torch.Tensor
    ) -> tuple[float, torch.Tensor]:
        """Sum over the folds of mean cross-entropy and penalty; products in float32, sums of the loss in float64."""
        num_images = len(self.label_N)
        narrow_FKP = parameter_FKP.float()
        logits_NX = stretched_NP @ narrow_FKP.reshape(-1, self.shape[2]).T
        logits_NFK = logits_NX.reshape(num_images, *self.shape[:2])
        if self.are_numbers:
            chosen_FN = -(logits_NFK - self.one_hot_NK[:, None]).square().sum(-1).T / 2
            probability_NFK = logits_NFK
        elif self.is_several:
            label_NFK = self.one_hot_NK[:, None]
            chosen_FN = (label_NFK * logits_NFK - torch.nn.functional.softplus(logits_NFK)).sum(-1).T
            probability_NFK = logits_NFK.sigmoid()
        else:
            logarithm_NFK = logits_NFK.log_softmax(-1)
            chosen_FN = logarithm_NFK[torch.arange(num_images), :, self.label_N].T
            probability_NFK = logarithm_NFK.exp()
        loss = -(chosen_FN * self.share_FN).sum(dtype=torch.float64)
        loss = loss + (parameter_FKP.square() * weight_P).sum() / 2
        error_NFK = (probability_NFK - self.one_hot_NK[:, None]) * self.share_FN.T[..., None]
        slope_FKP = (error_NFK.reshape(num_images, -1).T @ stretched_NP).reshape(self.shape)
        return float(loss), (slope_FKP + weight_P * narrow_FKP).double()


def _held_out(
    feature_ND: torch.Tensor, folds: list[tuple[torch.Tensor, torch.Tensor]], fold_N: np.ndarray, num_classes: int
) -> torch.Tensor:
    """logits_NK of every image by the layer that was fitted without its fold."""
    logits_NK = torch.empty(len(feature_ND), num_classes)
    for number, (weight_KD, bias_K) in enumerate(folds):
        of_fold_N = torch.from_numpy(fold_N == number)
        logits_NK[of_fold_N] = torch.nn.functional.linear(feature_ND[of_fold_N], weight_KD, bias_K)
    return logits_NK
