"""Grad-CAM: where in the image the evidence for a class lies. Selvaraju et al. 2017, arXiv:1610.02391, equations 1, 2.

The weight of a channel is the mean gradient of the class's logit over the map's positions; the evidence at a position
is the positive part of the weighted sum over channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from ..core.errors import printable
from .endpoints import as_map, best_endpoint, captured, endpoint_names

NEGLIGIBLE = 1e-12


@dataclass(frozen=True, kw_only=True)
class EvidenceMap:
    """`evidence_hw` (float64, not negative) as computed at the layer's own size; `map_HW` the same at the input's size,
    scaled so that its largest value is 1. Both are zero, and `message` says why, where there is nothing to show."""

    evidence_hw: np.ndarray
    map_HW: np.ndarray
    layer: str
    class_name: str
    message: str = ""


def grad_cam(
    model: nn.Module, input_1CHW: torch.Tensor, class_index: int, classes: Sequence[str], layer: str = ""
) -> EvidenceMap:
    """Grad-CAM of one normalised image for a class; `layer` empty: chosen for the person (docs/explaining.md).

    Raises UnknownNameError for a layer that is not there, ModelError for one that is no map.
    """
    return grad_cams(model, input_1CHW, [class_index], classes, layer)[0]


def grad_cams(
    model: nn.Module, input_BCHW: torch.Tensor, class_index_B: Sequence[int], classes: Sequence[str], layer: str = ""
) -> list[EvidenceMap]:
    """The same for several images at once, each for its own class: one pass forward and one back."""
    names = [layer] if layer else endpoint_names(model)
    was_training = model.training
    model.eval()  # normalisation by running statistics: no image changes another one's gradient
    with torch.enable_grad(), captured(model, names) as outputs:
        logits_BK = model(input_BCHW.detach().clone().requires_grad_(True))
        maps = {name: as_map(model, name, output, input_BCHW) for name, output in outputs.items()}
        chosen = layer or best_endpoint(maps)
        chosen_B = logits_BK[torch.arange(len(class_index_B)), torch.as_tensor(class_index_B)]
        (gradient,) = torch.autograd.grad(chosen_B.sum(), outputs[chosen])
    model.train(was_training)
    weight_BC = as_map(model, chosen, gradient, input_BCHW).double().mean(dim=(2, 3))
    sum_Bhw = torch.einsum("bc,bchw->bhw", weight_BC, maps[chosen].detach().double()).numpy()
    size_px = tuple(input_BCHW.shape[2:])
    return [evidence_map(sum_hw, size_px, chosen, classes[k]) for sum_hw, k in zip(sum_Bhw, class_index_B)]


def evidence_map(sum_hw: np.ndarray, size_px: tuple[int, ...], layer: str, class_name: str) -> EvidenceMap:
    """The positive part of `sum_hw` at the size (height, width) of the input, or the words for why there is none."""
    where = f"layer '{printable(layer)}'"
    message = ""
    if not np.isfinite(sum_hw).all():
        message = f"No map: the gradients in {where} are not finite numbers. The weights may be damaged."
        sum_hw = np.zeros_like(sum_hw)
    evidence_hw = np.maximum(sum_hw, 0.0)
    top = float(evidence_hw.max())
    if top <= NEGLIGIBLE:
        evidence_hw, top = np.zeros_like(evidence_hw), 1.0
        message = message or f"No positive evidence for '{printable(class_name)}' in {where}."
    return EvidenceMap(
        evidence_hw=evidence_hw,
        map_HW=enlarge(evidence_hw / top, size_px),
        layer=layer,
        class_name=class_name,
        message=message,
    )


def enlarge(map_hw: np.ndarray, size_px: tuple[int, ...]) -> np.ndarray:
    """Bilinear enlargement to (height, width): values keep their range, positions lie at the centres of their cells."""
    tensor = torch.from_numpy(np.ascontiguousarray(map_hw, dtype=np.float64))[None, None]
    return nn.functional.interpolate(tensor, size=size_px, mode="bilinear", align_corners=False)[0, 0].numpy()
