"""The loss of classification: softmax cross-entropy or focal loss, smoothed targets, images weighted by their class.

An image counts as much as its label does, a mixed image as much as the mix of its labels, and the mean is over the sum
of those weights, as torch's is. Smoothing spreads the target evenly and leaves that weight alone: weighted by class, as
torch does it, the mass it moves to a rare class would outweigh the label of a common one (beyond 19:1 with 0.1).

Focal loss: Lin et al. 2017, arXiv:1708.02002, equation 4, with softmax for the sigmoid: each term of the cross-entropy
is multiplied by (1 - p_k)^gamma.
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..core.errors import ConfigError, did_you_mean, printable
from .config import BALANCED, LossConfig

MAX_NAMED = 20  # classes in a message


def image_losses(logits_BK: torch.Tensor, target: torch.Tensor, config: LossConfig) -> torch.Tensor:
    """loss_B of each image, before any weight. `target` is label_B int64 or target_BK, whose rows add up to 1."""
    target = target if target.ndim == 1 else target.to(logits_BK.dtype)
    if not config.focal_gamma:
        return functional.cross_entropy(logits_BK, target, label_smoothing=config.label_smoothing, reduction="none")
    num_classes = logits_BK.shape[1]
    given_BK = functional.one_hot(target, num_classes).to(logits_BK.dtype) if target.ndim == 1 else target
    target_BK = (1 - config.label_smoothing) * given_BK + config.label_smoothing / num_classes
    log_p_BK = functional.log_softmax(logits_BK, dim=1)
    rest_BK = (-torch.expm1(log_p_BK)).clamp_min(torch.finfo(logits_BK.dtype).tiny)  # a power's slope at 0 has no end
    return -(target_BK * rest_BK**config.focal_gamma * log_p_BK).sum(dim=1)


def image_weights(target: torch.Tensor, class_weight_K: torch.Tensor) -> torch.Tensor:
    """weight_B of each image: that of its label, or of its labels in the proportion they are mixed in."""
    if target.ndim == 1:
        return class_weight_K[target]
    return target.to(class_weight_K.dtype) @ class_weight_K


def loss_sum(
    logits_BK: torch.Tensor, target: torch.Tensor, config: LossConfig, class_weight_K: torch.Tensor | None
) -> torch.Tensor:
    """The images' losses, each times its weight, added up; None weighs all alike."""
    if class_weight_K is None and not config.focal_gamma:
        target = target if target.ndim == 1 else target.to(logits_BK.dtype)
        return functional.cross_entropy(logits_BK, target, label_smoothing=config.label_smoothing, reduction="sum")
    loss_B = image_losses(logits_BK, target, config)
    return (
        loss_B.sum()
        if class_weight_K is None
        else (image_weights(target, class_weight_K.to(loss_B.dtype)) * loss_B).sum()
    )


def loss_mean(
    logits_BK: torch.Tensor, target: torch.Tensor, config: LossConfig, class_weight_K: torch.Tensor | None
) -> torch.Tensor:
    """The mean over the images' weights, to the last bit torch's own where it has this loss."""
    if class_weight_K is None and not config.focal_gamma:
        return functional.cross_entropy(logits_BK, target, label_smoothing=config.label_smoothing)
    return loss_sum(logits_BK, target, config, class_weight_K) / total_weight(target, class_weight_K)


def total_weight(target: torch.Tensor, class_weight_K: torch.Tensor | None) -> torch.Tensor | float:
    """What `loss_sum` is divided by to be the mean: the sum of the images' weights."""
    if class_weight_K is None:
        return float(target.shape[0])
    return image_weights(target, class_weight_K).sum()


def class_weights(config: LossConfig, label_N: torch.Tensor, classes: Sequence[str]) -> torch.Tensor | None:
    """weight_K float32 that `config` asks for, given the training labels; None where all classes count alike.

    Raises ConfigError for a name that is none of `classes`."""
    if isinstance(config.class_weights, str):
        return balanced_class_weights(label_N, len(classes)) if config.class_weights == BALANCED else None
    check_class_names(config, classes)
    return torch.tensor([config.class_weights.get(name, 1.0) for name in classes], dtype=torch.float32)


def check_class_names(config: LossConfig, classes: Sequence[str]) -> None:
    """Raise ConfigError where a weight is for a class that the images do not have."""
    if isinstance(config.class_weights, str):
        return
    for name in config.class_weights:
        if name not in classes:
            shown = ", ".join(printable(known) for known in classes[:MAX_NAMED])
            more = f" and {len(classes) - MAX_NAMED:,} more" if len(classes) > MAX_NAMED else ""
            hint = did_you_mean(name, list(classes)) or f" Classes: {shown}{more}."
            raise ConfigError(
                f"loss.class_weights names a class that the images do not have: '{printable(name)}'.{hint}"
            )


def balanced_class_weights(label_N: torch.Tensor, num_classes: int) -> torch.Tensor:
    """weight_K float32, mean 1 over the images: N / (present classes * count); 0 for a class without images."""
    count_K = torch.bincount(label_N, minlength=num_classes).double()
    present_K = count_K > 0
    weight_K = torch.where(present_K, len(label_N) / (present_K.sum() * count_K.clamp(min=1)), 0.0)
    return weight_K.float()
