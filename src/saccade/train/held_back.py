"""What kept weights give for the validation images, and what is stored of it: outputs to choose a confidence threshold
by, and features of training images by which others are told to be unlike them.

It costs one pass over 1,000 training images, or ten of each class; the validation images pass for the temperature
anyway. Where a transfer froze everything but the last layer, what that sees of all these images is known already.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core.runtime import Runtime
from ..data.augmentation_policy import AugmentConfig
from ..data.loading.loader import build_loader
from ..data.random_numbers import permutation
from ..evaluate.forward import Outputs, collect_outputs, untold
from ..evaluate.novelty import MIN_VALIDATION, Novelty, kept_rows, measure_novelty, rarest_label, untold_sentence
from ..models.penultimate import MAX_KEPT, LogitsAndFeatures, split_outputs, with_features
from ..runs import novelty_file
from ..runs.judging_work import MAX_TRAIN, OF_EACH_CLASS
from ..runs.names import NOVELTY, VALIDATION
from ..runs.novelty_file import KnownFeatures, novelty_bytes
from ..runs.validation_file import ValidationOutputs, max_images, validation_bytes
from .config import RunConfig
from .prepare import Images

MAX_VALIDATION = 2000  # validation images whose distances are kept


@dataclass(frozen=True, kw_only=True)
class KeptFeatures:
    """What the last layer of a network sees, known without a pass through it: `of` gives feature_ND of the images with
    these indices, and `last` is that layer. `as_head_sees` makes of them what the head sees, which may have layers
    before its last one; None where that is lost. `is_exact`: computed and kept in float32, so they give the logits of a
    pass but for the order of sums."""

    of: Callable[[np.ndarray], torch.Tensor]
    last: nn.Linear
    as_head_sees: Callable[[torch.Tensor], torch.Tensor] | None
    is_exact: bool


@dataclass(frozen=True, kw_only=True)
class Passes:
    """Passes of a network over images of its run, in float32, without augmentation. `check` may end them; `kept` is
    what is known without one, and `passed` hears how many images passed."""

    model: nn.Module
    images: Images
    config: RunConfig
    runtime: Runtime
    check: Callable[[], None]
    kept: KeptFeatures | None = None
    passed: Callable[[int], None] = untold

    @property
    def features_are_known(self) -> bool:
        """Whether features cost no pass."""
        return self.kept is not None and self.kept.as_head_sees is not None

    def outputs(self, index_N: np.ndarray) -> Outputs:
        """The logits of the images `index_N`, by a pass."""
        return self._pass(self.model, index_N)

    def known_outputs(self, index_N: np.ndarray) -> Outputs:
        """The logits of the images `index_N`, by a pass only where they are not known exactly."""
        if self.kept is None or not self.kept.is_exact:
            return self.outputs(index_N)
        return self._from_kept(self.kept, self.kept.of(index_N).float(), index_N)

    @torch.inference_mode()
    def _from_kept(self, kept: KeptFeatures, feature_ND: torch.Tensor, index_N: np.ndarray) -> Outputs:
        logits_NK = functional.linear(feature_ND, kept.last.weight.cpu(), kept.last.bias.cpu())
        label_N = self.images.labels(index_N).numpy()
        return Outputs(logits_NK=logits_NK.numpy(), label_N=label_N, index_N=index_N)

    def outputs_and_features(self, index_N: np.ndarray) -> tuple[Outputs, np.ndarray | None]:
        """The logits and feature_ND float32 of the images `index_N`, by a pass only where they are not known; None
        where the network does not name its parts."""
        if self.kept is not None and self.kept.as_head_sees is not None:
            feature_ND = self.kept.of(index_N).float()
            return self._from_kept(self.kept, feature_ND, index_N), self.kept.as_head_sees(feature_ND).numpy()
        model = with_features(self.model, MAX_KEPT)
        if model is None:
            return self.outputs(index_N), None
        both = self._pass(model, index_N)
        num_classes = len(self.images.classes)
        outputs = Outputs(
            logits_NK=np.ascontiguousarray(both.logits_NK[:, :num_classes]), label_N=both.label_N, index_N=both.index_N
        )
        return outputs, both.logits_NK[:, num_classes:]

    def outputs_and_unlike(self, index_N: np.ndarray, novelty: Novelty | None) -> tuple[Outputs, np.ndarray | None]:
        """The logits of the images `index_N`, and bool (N,): which of them are unlike those of training; None where
        nothing tells. Features are held for one batch at a time."""
        model = with_features(self.model, MAX_KEPT)
        if model is None or novelty is None:
            return self.outputs(index_N), None
        num_classes = len(self.images.classes)
        both = self._pass(LogitsAndUnlike(model, novelty, num_classes), index_N)
        logits_NK = np.ascontiguousarray(both.logits_NK[:, :num_classes])
        outputs = Outputs(logits_NK=logits_NK, label_N=both.label_N, index_N=both.index_N)
        return outputs, both.logits_NK[:, num_classes] > 0

    def _pass(self, model: nn.Module, index_N: np.ndarray) -> Outputs:
        images, config = self.images, self.config
        loader = build_loader(
            images.source,
            index_N,
            images.preprocessing,
            AugmentConfig(),
            config.loader.model_copy(update={"batch_size": min(256, config.batch_size)}),
            config.seed,
        )
        try:
            return collect_outputs(
                model, loader, images.preprocessing, self.runtime, torch.float32, self.check, self.passed
            )
        finally:
            loader.close()


class LogitsAndUnlike(nn.Module):
    """logits_BK, and behind them a column of 1 for images that are unlike those of training, else 0."""

    def __init__(self, model: LogitsAndFeatures, novelty: Novelty, num_classes: int) -> None:
        super().__init__()
        self.model, self.novelty, self.num_classes = model, novelty, num_classes

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """(B, K + 1) float32."""
        logits_BK, feature_BD = split_outputs(self.model(image_BCHW), self.num_classes)
        unlike_B = torch.from_numpy(self.novelty.is_unlike(feature_BD.cpu().numpy()))
        return torch.cat([logits_BK, unlike_B.to(logits_BK)[:, None]], dim=1)


@dataclass(frozen=True, kw_only=True)
class HeldBack:
    """`outputs` for the validation images, and feature_VD of the first of them, None where the network gives none."""

    outputs: Outputs
    feature_VD: np.ndarray | None


def validation_outputs(passes: Passes, tells_strangers: bool = True) -> HeldBack | None:
    """What the network gives for the validation images that are no copies of what training saw; None without any.
    Features only where it `tells_strangers`."""
    index_N = passes.images.split.without_copies("validation")  # all of them where every one is a copy
    if not len(index_N):
        return None
    if not tells_strangers:
        return HeldBack(outputs=passes.known_outputs(index_N), feature_VD=None)
    row_V = np.arange(len(index_N))
    if len(row_V) > MAX_VALIDATION:
        row_V = np.sort(permutation(passes.config.seed, 0, len(index_N))[:MAX_VALIDATION])
    if len(row_V) < len(index_N) and not passes.features_are_known:
        return HeldBack(outputs=passes.outputs(index_N), feature_VD=passes.outputs_and_features(index_N[row_V])[1])
    outputs, feature_ND = passes.outputs_and_features(index_N)
    return HeldBack(outputs=outputs, feature_VD=None if feature_ND is None else feature_ND[row_V])


def measured_files(held_back: HeldBack | None, novelty: Novelty | None, passes: Passes) -> dict[str, bytes]:
    """Content by name of what is stored beside the weights; nothing without validation images."""
    if held_back is None:
        return {}
    images = passes.images
    files = {VALIDATION: _validation(held_back.outputs, passes)} if images.task.is_one else {}
    if novelty is not None:
        files[NOVELTY] = novelty_bytes(KnownFeatures(unit_MD=novelty.unit_MD, distance_V=novelty.distance_V))
    return files


def _validation(outputs: Outputs, passes: Passes) -> bytes:
    images, row_N = passes.images, np.arange(len(outputs.label_N))
    most = max_images(len(images.classes))
    if len(row_N) > most:
        row_N = np.sort(permutation(passes.config.seed, 0, len(row_N))[:most])
    kept = ValidationOutputs(
        logits_NK=outputs.logits_NK[row_N],
        label_N=outputs.label_N[row_N],
        pixels_NB=images.scan.pixel_digest_N[outputs.index_N[row_N]],
    )
    return validation_bytes(kept)


def why_untold(held_back: HeldBack | None) -> str:
    """Why `known_features` gives nothing, in a sentence."""
    if held_back is None:
        return untold_sentence(0, False)
    return untold_sentence(len(held_back.outputs.label_N), held_back.feature_VD is not None)


def known_features(held_back: HeldBack | None, passes: Passes) -> Novelty | None:
    """By what images are told that are unlike those of training; None where nothing can."""
    if held_back is None or held_back.feature_VD is None or len(held_back.feature_VD) < MIN_VALIDATION:
        return None
    feature_VD, train_N = held_back.feature_VD, passes.images.split.train_N
    wanted = max(MAX_TRAIN, OF_EACH_CLASS * len(passes.images.classes))
    num_kept = min(wanted, novelty_file.MAX_BYTES // (2 * feature_VD.shape[1]))
    order_N = np.argsort(permutation(passes.config.seed, 0, len(train_N)))
    label_N = rarest_label(passes.images.labels(train_N).numpy())
    index_M = train_N[kept_rows(label_N, order_N, num_kept)]
    train_MD = passes.outputs_and_features(index_M)[1]
    return None if train_MD is None else measure_novelty(train_MD, feature_VD)
