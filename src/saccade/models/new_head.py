"""A registered network with a new head: `squeezenet1.1+linear`, `resnet18+loglinear`, `resnet18+hidden256`.

SqueezeNet and Network in Network end in a convolution, a ReLU and a mean, which no linear classifier of their features
can be written as; a new head takes the mean of the last map instead. `loglinear` is a dense layer on log(1 + x) of
these means: a few channels answer to one thing in a photo ten times as loudly as to all else, and would drown the rest
(with a square root: Perronnin et al. 2010, ECCV, section 3.1). `hiddenN` is one hidden layer of N units with ReLU
and dropout 0.5. Networks that end in a dense layer need no new head for `linear`: theirs is one.
"""

from collections import OrderedDict

import torch
from torch import nn

from ..core.errors import ModelError, printable
from ..core.head_name import WORD
from .architecture import MODELS, ImageClassifier, ModelSpec, build_model
from .layers import GlobalAveragePool

LINEAR, LOGLINEAR = "linear", "loglinear"


class SignedLog(nn.Module):
    """sign(x) log(1 + |x|), of any shape."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The same shape and dtype; the slope at 0 is 1."""
        return value.sign() * value.abs().log1p()


def signed_exp(value: torch.Tensor) -> torch.Tensor:
    """sign(y) (exp(|y|) - 1), of any shape: what `SignedLog` made `value` of, to the rounding of float32."""
    return value.sign() * value.abs().expm1()


def is_loglinear(model: nn.Module) -> bool:
    """Whether the head of `model` is one dense layer on the logarithm of what it sees."""
    head = getattr(model, "head", None)
    kinds = [type(layer) for layer in head.children()] if isinstance(head, nn.Sequential) else []
    return kinds == [SignedLog, nn.Linear]


def has_new_head(text: str) -> bool:
    """Whether `text` is NAME+HEAD of a registered network."""
    return text.count("+") == 1 and text.partition("+")[0] in MODELS


def network_words(text: str) -> str:
    """The name of a network for a person: of NAME+HEAD the name, and that its last layer is new."""
    name, _, word = text.partition("+")
    if not has_new_head(text):
        return text
    match = WORD.fullmatch(word)
    hidden = f" behind {match[1]} hidden units" if match and match[1] else ""
    return f"{name} with a new last layer{hidden}"


def build_with_new_head(text: str, spec: ModelSpec) -> ImageClassifier:
    """The network that `NAME+HEAD` stands for, freshly initialised. Raises ModelError."""
    name, _, word = text.partition("+")
    match = WORD.fullmatch(word)
    if match is None:
        raise ModelError(
            f"'{printable(word)}' is not a head; write {name}+linear, {name}+loglinear, or {name}+hidden256."
        )
    model = build_model(name, spec)
    if not isinstance(model, ImageClassifier):
        raise ModelError(f"{name} has no parts of its own (stem, stages, neck, head), so its head cannot be replaced.")
    num_features, is_map = _told_by_head(model.head) or _measured(model, spec)
    if is_map:
        model.neck = nn.Sequential(OrderedDict(body=model.neck, pool=GlobalAveragePool()))
    head = new_head(num_features, spec.num_classes, int(match[1]) if match[1] else 0)
    model.head = nn.Sequential(OrderedDict(log=SignedLog(), output=head)) if word == LOGLINEAR else head
    return model


def new_head(num_features: int, num_classes: int, num_hidden: int = 0) -> nn.Module:
    """logits_BK of feature_BD: one dense layer, or one behind a hidden layer. The last one starts near 0 (0.01)."""
    last = nn.Linear(num_hidden or num_features, num_classes)
    nn.init.normal_(last.weight, std=0.01)
    nn.init.zeros_(last.bias)
    if not num_hidden:
        return last
    hidden = nn.Linear(num_features, num_hidden)
    nn.init.kaiming_normal_(hidden.weight, nonlinearity="relu")
    nn.init.zeros_(hidden.bias)
    return nn.Sequential(OrderedDict(hidden=hidden, relu=nn.ReLU(), dropout=nn.Dropout(0.5), output=last))


def _told_by_head(head: nn.Module) -> tuple[int, bool] | None:
    """(features, whether they are those of a map) that the first layer with weights of `head` takes; None where layers
    of another kind stand in front of it, which may change their number."""
    for layer in head.modules():
        if isinstance(layer, nn.Linear):
            return layer.in_features, False
        if isinstance(layer, nn.Conv2d):
            return layer.in_channels, True
        if not isinstance(layer, nn.Sequential | nn.Dropout):
            return None
    return None


def _measured(model: ImageClassifier, spec: ModelSpec) -> tuple[int, bool]:
    """The same by a pass of one image through what is in front of the head, which takes a second where weights have no
    memory; looking draws nothing and counts nothing."""
    parameter = next(model.parameters())
    was_training = model.training
    with torch.no_grad():
        feature = model.eval().forward_features(torch.zeros(1, *spec.input_CHW, device=parameter.device))
    model.train(was_training)
    return feature.shape[1], feature.ndim == 4
