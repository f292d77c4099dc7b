"""The loss of several labels an image: binary cross-entropy of every class, focal or asymmetric.

Focal loss: Lin et al. 2017, arXiv:1708.02002, equation 4. Asymmetric loss: Ridnik et al. 2021, arXiv:2009.14119,
equations 5 to 7: labels that an image has not get an exponent of their own, and their probability is shifted down.
With p the probability of a class and y whether the image has it (or in what part, where images are mixed):

    - w y (1 - p)^gamma log(p) - (1 - y) q^negative_gamma log(1 - q),    q = max(p - margin, 0)

The weight w of a class counts for the images that have it, as torch's `pos_weight`; smoothing moves y towards 1/2.
"""

import torch
from torch.nn import functional

from .config import LossConfig

MAX_BALANCE = 1000.0


def label_losses(
    logits_BK: torch.Tensor, target_BK: torch.Tensor, config: LossConfig, class_weight_K: torch.Tensor | None
) -> torch.Tensor:
    """loss_B of each image, the losses of its classes added up. `target_BK` lies in 0 to 1."""
    target_BK = target_BK.to(logits_BK.dtype)
    target_BK = (1 - config.label_smoothing) * target_BK + config.label_smoothing / 2
    positive_BK = target_BK if class_weight_K is None else target_BK * class_weight_K.to(logits_BK.dtype)
    gamma = config.focal_gamma
    negative_gamma = gamma if config.negative_gamma < 0 else config.negative_gamma
    log_p_BK, log_q_BK = functional.logsigmoid(logits_BK), functional.logsigmoid(-logits_BK)
    has_BK, has_not_BK = log_p_BK, log_q_BK
    if config.negative_margin:
        shifted_BK = (log_p_BK.exp() - config.negative_margin).clamp_min(0)
        has_not_BK = torch.log1p(-shifted_BK)
    if gamma:
        has_BK = has_BK * _power(log_q_BK.exp(), gamma)
    if negative_gamma:
        said_BK = shifted_BK if config.negative_margin else log_p_BK.exp()
        has_not_BK = has_not_BK * _power(said_BK, negative_gamma)
    return -(positive_BK * has_BK + (1 - target_BK) * has_not_BK).sum(dim=1)


def balanced_label_weights(label_NK: torch.Tensor) -> torch.Tensor:
    """weight_K float32: images without the class over those with it, 1000 at most; 1 for a class without images."""
    count_K = label_NK.double().sum(dim=0)
    weight_K = torch.where(count_K > 0, (len(label_NK) - count_K) / count_K.clamp(min=1), 1.0)
    return weight_K.clamp(1 / MAX_BALANCE, MAX_BALANCE).float()


def _power(value_BK: torch.Tensor, exponent: float) -> torch.Tensor:
    return value_BK.clamp_min(torch.finfo(value_BK.dtype).tiny) ** exponent  # a power's slope at 0 has no end
