"""The loss of classification: softmax cross-entropy or focal loss, smoothed targets, images weighted by their class.

An image counts as much as its label does, a mixed image as much as the mix of its labels, and the mean is over the sum
of those weights, as torch's is. Smoothing spreads the target evenly and leaves that weight alone: weighted by class, as
torch does it, the mass it moves to a rare class would outweigh the label of a common one (beyond 19:1 with 0.1).

Focal loss: Lin et al. 2017, arXiv:1708.02002, equation 4, with softmax for the sigmoid: each term of the cross-entropy
is multiplied by (1 - p_k)^gamma.

Where an image may have several labels, the loss is that of `label_losses`: binary cross-entropy of every class, added
up over the classes, so that each logit's gradient is as large as with softmax, and learning rates stay what they are.
There a class's weight counts for the images that have it.

Of a number the loss is Huber's (1964, Annals of Mathematical Statistics 35, 73-101) of the error in standard deviations
of the training numbers, with its corner at 1: squares near the truth, and no more pull than a straight line from an
image whose number may be a slip. Targets are numbers less their mean, over their deviation (`Task.standard`).
"""

from collections.abc import Sequence

import torch
from torch.nn import functional

from ..core.errors import ConfigError, did_you_mean, printable
from ..core.task import NEAR, ONE_LABEL, Task
from ..data.augmentation import Mixing
from .config import BALANCED, UNWEIGHTED, LabelsConfig, LossConfig, RunConfig
from .label_loss import balanced_label_weights, label_losses
from .recipes import all_recipes

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
    logits_BK: torch.Tensor,
    target: torch.Tensor,
    config: LossConfig,
    class_weight_K: torch.Tensor | None,
    task: Task = ONE_LABEL,
) -> torch.Tensor:
    """The images' losses, each times its weight, added up; None weighs all alike."""
    if task.is_several:
        return label_losses(logits_BK, target, config, class_weight_K).sum()
    if task.is_number:
        return functional.huber_loss(logits_BK[:, 0], target.to(logits_BK.dtype), reduction="sum")
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
    logits_BK: torch.Tensor,
    target: torch.Tensor,
    config: LossConfig,
    class_weight_K: torch.Tensor | None,
    task: Task = ONE_LABEL,
) -> torch.Tensor:
    """The mean over the images' weights, to the last bit torch's own where it has this loss."""
    if task.is_several:
        return label_losses(logits_BK, target, config, class_weight_K).mean()
    if task.is_number:
        return functional.huber_loss(logits_BK[:, 0], target.to(logits_BK.dtype))
    if class_weight_K is None and not config.focal_gamma:
        return functional.cross_entropy(logits_BK, target, label_smoothing=config.label_smoothing)
    return loss_sum(logits_BK, target, config, class_weight_K) / total_weight(target, class_weight_K)


def total_weight(
    target: torch.Tensor, class_weight_K: torch.Tensor | None, task: Task = ONE_LABEL
) -> torch.Tensor | float:
    """What `loss_sum` is divided by to be the mean: the sum of the images' weights; of several labels, of images."""
    if class_weight_K is None or not task.is_one:
        return float(target.shape[0])
    return image_weights(target, class_weight_K).sum()


def right_images(logits_BK: torch.Tensor, target: torch.Tensor, task: Task = ONE_LABEL) -> torch.Tensor:
    """bool (B,): whether an image is answered rightly: of several labels, every label at 0.5; of a number, whether the
    answer is near, half a standard deviation from the truth at most.

    Of images that are mixed, the larger part counts."""
    if task.is_number:
        return (logits_BK[:, 0] - target).abs() < NEAR
    if task.is_several:
        return ((logits_BK >= 0) == (target >= 0.5)).all(dim=1)
    label_B = target if target.ndim == 1 else target.argmax(1)
    if task.is_grade:
        return (logits_BK.float().softmax(dim=1).cumsum(dim=1) >= 0.5).int().argmax(dim=1) == label_B
    return logits_BK.argmax(1) == label_B


def num_right(logits_BK: torch.Tensor, target: torch.Tensor, task: Task = ONE_LABEL) -> torch.Tensor:
    """How many images are answered rightly, int64."""
    return right_images(logits_BK, target, task).sum()


def class_weights(config: LossConfig, label_N: torch.Tensor, classes: Sequence[str]) -> torch.Tensor | None:
    """weight_K float32 that `config` asks for, given the training labels; None where all classes count alike.

    Raises ConfigError for a name that is none of `classes`."""
    if isinstance(config.class_weights, str):
        if config.class_weights != BALANCED:
            return None
        if label_N.ndim == 2:
            return balanced_label_weights(label_N)
        return balanced_class_weights(label_N, len(classes))
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


def check_task(config: RunConfig, task: Task) -> None:
    """Raise ConfigError where the configuration has what the images' kind of labels does not know."""
    loss = config.loss
    if task.is_number:
        _refuse_for_numbers(config)
        return
    if not task.is_several:
        for name, is_set in (
            ("negative_gamma", loss.negative_gamma >= 0),
            ("negative_margin", loss.negative_margin > 0),
        ):
            if is_set:
                raise ConfigError(
                    f"loss.{name} is for several labels an image, and these images have one each.\n"
                    f"Leave it out; loss.focal_gamma is for both."
                )
        return
    if config.loader.sampling == "balanced":
        raise ConfigError(
            "loader.sampling=balanced deals places evenly to the classes, and an image here may be of several.\n"
            "Use loss.class_weights=balanced instead."
        )
    if config.distill.teachers:
        raise ConfigError(
            "Teachers are for one label an image, and these images may have several.\nLeave out --teacher."
        )


def _refuse_for_numbers(config: RunConfig) -> None:
    """Raise ConfigError for what only classes have."""
    loss, recipe = config.loss, all_recipes().get(config.recipe)
    brought = recipe.values.get("loss", {}).get("label_smoothing", 0.0) if recipe else 0.0
    asked = {
        "loss.class_weights": loss.class_weights != UNWEIGHTED,
        "loss.label_smoothing": loss.label_smoothing not in (0, brought),
        "loss.focal_gamma": loss.focal_gamma > 0,
        "loss.negative_gamma": loss.negative_gamma >= 0,
        "loss.negative_margin": loss.negative_margin > 0,
        "loader.sampling": config.loader.sampling == "balanced",
        "--teacher": bool(config.distill.teachers),
        "labels": config.labels != LabelsConfig(),
        **{f"augment.{entry.name}": isinstance(entry, Mixing) for entry in config.augment.active()},
    }
    name = next((name for name, is_asked in asked.items() if is_asked), None)
    if name is None:
        return
    why = "mixes classes" if name.startswith("augment.") else "is for classes"
    raise ConfigError(f"{name} {why}, and a number is asked for.\nLeave it out.")


def balanced_class_weights(label_N: torch.Tensor, num_classes: int) -> torch.Tensor:
    """weight_K float32, mean 1 over the images: N / (present classes * count); 0 for a class without images."""
    count_K = torch.bincount(label_N, minlength=num_classes).double()
    present_K = count_K > 0
    weight_K = torch.where(present_K, len(label_N) / (present_K.sum() * count_K.clamp(min=1)), 0.0)
    return weight_K.float()
