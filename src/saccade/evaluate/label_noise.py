"""Which classes stand in for which in wrong labels: a matrix by pairs of classes, where the labels ask for one.

A label is taken to be drawn from what the classifier says of its image, and then changed by chances that depend on the
true class and the given one (Dawid and Skene 1979, "Maximum likelihood estimation of observer error-rates using the EM
algorithm", Applied Statistics 28, 20-28, here with one observer and a classifier's probabilities in place of class
shares). A Dirichlet prior holds the matrix to one share of wrong labels that fall on the other classes alike. How
strongly is decided by the log loss of labels that the matrix was not fitted to: where wrong labels fall alike, a
matrix of its own predicts no label better, and none is used.
"""

import math

import numpy as np

STRENGTHS = (1280.0, 320.0, 80.0, 20.0, 5.0)  # of the prior, in images of each class; above them there is it alone
NUM_FOLDS = 5
LEAST_SHARE = 0.001  # of the prior, which with 0 would allow no wrong label
MAX_ROUNDS, SMALL_CHANGE = 100, 1e-4
FLOOR = 1e-300


def noise_matrix(
    probability_MK: np.ndarray, label_M: np.ndarray, share: float, group_M: np.ndarray | None = None
) -> np.ndarray:
    """float64 (K, K): the probability of each given label (row) for each true class (column).

    `probability_MK` are those of the true classes; `share` of the labels is wrong. Images of one number in `group_M`
    (int64; None: each its own) are left out together. The prior is the strongest whose log loss on labels left out is
    within a standard error of the least.
    """
    prior_KK = even_matrix(probability_MK.shape[1], max(share, LEAST_SHARE))
    fold_M = _folds(np.arange(len(label_M)) if group_M is None else group_M)
    losses = [_label_loss(probability_MK, label_M, prior_KK)]
    for strength in STRENGTHS:
        losses.append(_left_out_loss(probability_MK, label_M, fold_M, prior_KK, strength))
        if losses[-1].sum() > losses[-2].sum():
            break  # weaker priors fit the other labels only more closely
    least_M = min(losses, key=lambda loss_M: float(loss_M.sum()))
    spare = [loss_M - least_M for loss_M in losses]
    chosen = next(i for i, more_M in enumerate(spare) if more_M.sum() <= more_M.std() * math.sqrt(len(more_M)))
    if chosen == 0:
        return even_matrix(probability_MK.shape[1], share)
    return _fit(probability_MK, label_M, prior_KK, STRENGTHS[chosen - 1])


def even_matrix(num_classes: int, share: float) -> np.ndarray:
    """The matrix of a `share` of wrong labels that fall on the other classes alike."""
    matrix_KK = np.full((num_classes, num_classes), share / (num_classes - 1))
    np.fill_diagonal(matrix_KK, 1 - share)
    return matrix_KK


def true_classes(probability_MK: np.ndarray, label_M: np.ndarray, matrix_KK: np.ndarray) -> np.ndarray:
    """float64 (M, K): the probabilities of the true classes, now that the labels are known."""
    joint_MK: np.ndarray = probability_MK * matrix_KK[label_M]
    joint_MK /= np.maximum(joint_MK.sum(axis=1, keepdims=True), FLOOR)
    return joint_MK


def _fit(probability_MK: np.ndarray, label_M: np.ndarray, prior_KK: np.ndarray, strength: float) -> np.ndarray:
    """The most likely matrix with `strength` images of each true class that are as the prior says."""
    from scipy.sparse import csr_matrix  # here: it takes a while, and adds a warning filter

    num, num_classes = probability_MK.shape
    given_KM = csr_matrix((np.ones(num), (label_M, np.arange(num))), shape=(num_classes, num))
    matrix_KK = prior_KK
    for _ in range(MAX_ROUNDS):
        count_KK = given_KM @ true_classes(probability_MK, label_M, matrix_KK) + strength * prior_KK
        before_KK, matrix_KK = matrix_KK, count_KK / count_KK.sum(axis=0, keepdims=True)
        if np.abs(matrix_KK - before_KK).max() < SMALL_CHANGE:
            break
    return matrix_KK


def _label_loss(probability_MK: np.ndarray, label_M: np.ndarray, matrix_KK: np.ndarray) -> np.ndarray:
    """float64 (M,): the negative logarithm of the probability of each given label."""
    likely_M = (probability_MK * matrix_KK[label_M]).sum(axis=1)
    loss_M: np.ndarray = -np.log(np.maximum(likely_M, FLOOR))
    return loss_M


def _left_out_loss(
    probability_MK: np.ndarray, label_M: np.ndarray, fold_M: np.ndarray, prior_KK: np.ndarray, strength: float
) -> np.ndarray:
    loss_M = np.zeros(len(label_M))
    for fold in np.unique(fold_M):
        inside, outside = fold_M == fold, fold_M != fold
        matrix_KK = _fit(probability_MK[outside], label_M[outside], prior_KK, strength)
        loss_M[inside] = _label_loss(probability_MK[inside], label_M[inside], matrix_KK)
    return loss_M


def _folds(group_M: np.ndarray) -> np.ndarray:
    """Fold numbers int64 (M,): whole groups, in an order that is always the same."""
    _, number_M = np.unique(group_M, return_inverse=True)
    number_M = number_M.reshape(-1)
    order_G = np.random.default_rng(0).permutation(int(number_M.max(initial=-1)) + 1)
    fold_M: np.ndarray = order_G[number_M] % NUM_FOLDS
    return fold_M
