"""What the head of a network sees, together with what it says, from one pass."""

from collections.abc import Callable

import torch
from torch import nn

from .architecture import ImageClassifier
from .new_head import is_loglinear, signed_exp
from .surgery import last_is_head, last_layer, mean_over_positions

MAX_KEPT = 8192  # features of one image that are worth keeping of a thousand


class LogitsAndFeatures(nn.Module):
    """logits_BK and feature_BD of normalised images side by side, (B, K + D); `split_outputs` takes them apart.

    The feature is what the head sees, maps and tokens averaged over positions; where that is more than `max_features`
    numbers, as in VGG, the means of the last map. The logits are those of `model`, to the same bits.
    """

    def __init__(self, model: ImageClassifier, max_features: int | None = None) -> None:
        super().__init__()
        self.model = model
        self.max_features = max_features

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, K + D) float32."""
        last_map = self.model.stages(self.model.stem(image_BCHW))
        feature = self.model.neck(last_map)
        logits_BK = self.model.head(feature)
        feature_BD = mean_over_positions(feature)
        if self.max_features is not None and feature_BD.shape[1] > self.max_features:
            feature_BD = mean_over_positions(last_map)
        return torch.cat([logits_BK.float(), feature_BD.float()], dim=1)


def split_outputs(both_BX: torch.Tensor, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(logits_BK, feature_BD) of what `LogitsAndFeatures` gives."""
    return both_BX[:, :num_classes], both_BX[:, num_classes:]


def with_features(model: nn.Module, max_features: int | None = None) -> LogitsAndFeatures | None:
    """`model`, giving its features too; None where it does not name its parts, or computes its logits otherwise."""
    if not isinstance(model, ImageClassifier):
        return None
    own, usual = type(model), ImageClassifier
    if own.forward is not usual.forward or own.forward_features is not usual.forward_features:
        return None
    return LogitsAndFeatures(model, max_features).eval()


def as_head_sees(model: nn.Module) -> Callable[[torch.Tensor], torch.Tensor] | None:
    """What makes of the input of the last dense layer, float32 of any shape, the features of `with_features`.

    They are the same where the head is that layer alone, and its logarithm is undone where it is `loglinear`. None
    where other layers lie between, or the features are the means of the last map instead.
    Raises ModelError where the last layer is not a dense one.
    """
    if with_features(model) is None or last_layer(model).in_features > MAX_KEPT:
        return None
    if last_is_head(model):
        return torch.Tensor.float
    return signed_exp if is_loglinear(model) else None
