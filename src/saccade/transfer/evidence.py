"""What training at one depth is worth: heads and tails fitted on cached features, judged on images left out.

A tail is everything behind the frozen part, with its pretrained weights, behind it a last layer fitted to the features
of the whole network (Kumar et al. 2022, arXiv:2202.10054): what fine-tuning from that depth would train, but fed from
the cache, so that the frozen part is never run again.
"""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from ..core.runtime import Runtime, seeded, send, wait_for
from ..core.task import ONE_LABEL, SEVERAL_LABELS, Task
from ..data.loading.order import balanced
from ..data.random_numbers import permutation
from ..models.new_head import new_head
from ..train.config import RunConfig
from ..train.core_by_core import can_part, gradients_of_parts
from ..train.loss import loss_mean, loss_sum, right_images, total_weight
from ..train.optimizers import build_optimizers
from ..train.schedule import learning_rate_factor
from .probe import LinearProbe, fit_probe, stratified_folds

HIDDEN_UNITS = 256
HEAD_EPOCHS, HEAD_RATE = 30, 1e-3
TAIL_EPOCHS = 3
MANY = 1000  # images that a tail learns from, from which on it is trained for fewer epochs
MANY_EPOCHS = 2  # as right as after three: 84.4 % of 1,024 photographs, 81.1 % of 1,534 by half as many to learn from
MIN_PASSES = 600  # images that pass in a fit at least: few images are seen more often


@dataclass(frozen=True, kw_only=True)
class Trial:
    """Images by fold: `label_N` and `fold_N` int64 (label_NK float32 of several labels); those of one number in
    `group_N` int64 stay together. A fit answers for the images of one of `judged_folds` and learns from those of the
    others that are kept (`is_kept_N` bool)."""

    label_N: torch.Tensor
    fold_N: np.ndarray
    group_N: np.ndarray
    is_kept_N: np.ndarray
    judged_folds: tuple[int, ...]
    num_classes: int
    seed: int

    def used_M(self, fold: int) -> np.ndarray:
        """Positions of the images that the fit for `fold` learns from."""
        return np.flatnonzero((self.fold_N != fold) & self.is_kept_N)

    @property
    def task(self) -> Task:
        """One label an image or several, as the labels are."""
        return SEVERAL_LABELS if self.label_N.ndim == 2 else ONE_LABEL

    @property
    def num_used(self) -> int:
        """How many images the first fit learns from."""
        return len(self.used_M(self.judged_folds[0]))

    @property
    def num_fewest(self) -> int:
        """How many images the fit with the fewest learns from."""
        return min(len(self.used_M(fold)) for fold in self.judged_folds)

    @property
    def judged_N(self) -> np.ndarray:
        """Positions of the images that are answered for."""
        return np.flatnonzero(np.isin(self.fold_N, self.judged_folds))

    def probe(self, feature_ND: torch.Tensor, used_M: np.ndarray) -> LinearProbe:
        """A linear classifier of the images at `used_M`, its penalty chosen among them alone."""
        label_M = self.label_N[torch.from_numpy(used_M)]
        fold_M = stratified_folds(label_M.numpy(), self.group_N[used_M], 3, self.seed)
        return fit_probe(feature_ND[torch.from_numpy(used_M)], label_M, self.num_classes, fold_M)


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Whether each judged image was right, bool in the order of `Trial.judged_N`, and what finding out took."""

    right_M: np.ndarray
    seconds: float
    num_parameters: int


@dataclass(frozen=True, kw_only=True)
class Fits:
    """How modules are trained: by the optimizer and schedule of `config`, on `runtime`; `check` may stop them.
    `class_weight_K` are the weights of the classes in the loss, None for equal ones. `task` is what is learned."""

    config: RunConfig
    runtime: Runtime
    check: Callable[[], None]
    class_weight_K: torch.Tensor | None = None
    task: Task = ONE_LABEL


def judge_probe(feature_ND: torch.Tensor, trial: Trial) -> Answers:
    """A linear classifier of means, by L-BFGS."""
    started_s = time.monotonic()
    right_N = np.zeros(len(trial.fold_N), bool)
    for fold in trial.judged_folds:
        probe = trial.probe(feature_ND, trial.used_M(fold))
        out_M = torch.from_numpy(np.flatnonzero(trial.fold_N == fold))
        logits_MK = functional.linear(feature_ND[out_M].float(), probe.weight_KD, probe.bias_K)
        right_N[out_M.numpy()] = right_images(logits_MK, trial.label_N[out_M], trial.task).numpy()
    seconds = time.monotonic() - started_s
    num_parameters = probe.weight_KD.numel() + probe.bias_K.numel()
    return Answers(right_M=right_N[trial.judged_N], seconds=seconds, num_parameters=num_parameters)


def judge_hidden(feature_ND: torch.Tensor, trial: Trial, fits: Fits) -> Answers:
    """One hidden layer of 256 units on means, standardised by the images it learns from, trained with AdamW."""
    feature_ND = feature_ND.float()

    def build(used_M: np.ndarray) -> tuple[nn.Module, torch.Tensor]:
        used_MD = feature_ND[torch.from_numpy(used_M)]
        scaled_ND = (feature_ND - used_MD.mean(0)) / used_MD.std(0, correction=0).clamp_min(1e-6)
        return new_head(scaled_ND.shape[1], trial.num_classes, HIDDEN_UNITS), scaled_ND

    alone = {"name": "adamw", "learning_rate": HEAD_RATE, "layer_rate_factor": 1.0}  # its two layers are new
    rule = fits.config.optimizer.model_copy(update=alone)
    own = replace(fits, config=fits.config.model_copy(update={"optimizer": rule}))
    return _judge_trained(build, trial, own, lambda num_used: HEAD_EPOCHS)


def judge_tail(
    live: tuple[nn.Module, ...], map_N: torch.Tensor, feature_ND: torch.Tensor, trial: Trial, fits: Fits
) -> Answers:
    """`live`, the layers behind the frozen part, trained on what that part gave, `map_N` (N, ...). `feature_ND` is
    what the last layer of the whole network sees."""

    def build(used_M: np.ndarray) -> tuple[nn.Module, torch.Tensor]:
        tail = copy.deepcopy(nn.Sequential(*live)).requires_grad_(True)
        probe = trial.probe(feature_ND, used_M)
        tail[-1].load_state_dict({"weight": probe.weight_KD, "bias": probe.bias_K})
        return tail, map_N

    return _judge_trained(build, trial, fits, tail_epochs)


def step_seconds(live: tuple[nn.Module, ...], value_B: torch.Tensor, label_B: torch.Tensor, fits: Fits) -> float:
    """Seconds of one training step of `live` on what the frozen part gave of B images: the second of two."""
    tail = copy.deepcopy(nn.Sequential(*live)).requires_grad_(True)
    tail.to(device=fits.runtime.device, memory_format=fits.runtime.memory_format).train()  # type: ignore[call-overload]
    seconds = 0.0
    for _ in range(2):
        fits.check()
        started_s = time.monotonic()
        _gradients(tail, value_B, label_B, np.arange(len(label_B)), fits)
        wait_for(fits.runtime.device)
        seconds = time.monotonic() - started_s
    return seconds


def _batch_size(config: RunConfig, num_used: int) -> int:
    return max(2, min(config.batch_size, num_used // 2))


def tail_epochs(num_used: int) -> int:
    """How often a tail that learns from `num_used` images sees them."""
    return TAIL_EPOCHS if num_used < MANY else MANY_EPOCHS


def epochs_seen(num_used: int, epochs: int) -> int:
    """`epochs`, or more where the `num_used` images of a fit are few."""
    return max(epochs, -(-MIN_PASSES // num_used))


def num_steps(config: RunConfig, num_used: int, epochs: int) -> int:
    """Of one fit that learns from `num_used` images."""
    return epochs_seen(num_used, epochs) * max(1, num_used // _batch_size(config, num_used))


def _loss(
    module: nn.Module, value_N: torch.Tensor, label_N: torch.Tensor, index_B: np.ndarray, fits: Fits
) -> torch.Tensor:
    runtime, position_B = fits.runtime, torch.from_numpy(index_B)
    with runtime.arithmetic():
        logits_BK = module(send(value_N[position_B], runtime.device).to(runtime.precision))
    target_B = send(label_N[position_B], runtime.device)
    return loss_mean(logits_BK.float(), target_B, fits.config.loss, fits.class_weight_K, fits.task)


def _gradients(
    module: nn.Module, value_N: torch.Tensor, label_N: torch.Tensor, index_B: np.ndarray, fits: Fits
) -> None:
    """Those of a batch, into the parameters of `module`; by one core each where that comes to the same."""
    if not fits.task.is_one or not can_part([module], fits.runtime):
        _loss(module, value_N, label_N, index_B, fits).backward()
        return
    rules, weight_K = fits.config.loss, fits.class_weight_K
    num_weighted = total_weight(label_N[torch.from_numpy(index_B)], weight_K)

    def part(place: slice) -> tuple[torch.Tensor, torch.Tensor]:
        position_B = torch.from_numpy(index_B[place])
        with fits.runtime.arithmetic():
            logits_BK = module(value_N[position_B].to(fits.runtime.precision)).float()
        label_B = label_N[position_B]
        return loss_sum(logits_BK, label_B, rules, weight_K) / num_weighted, right_images(logits_BK, label_B).sum()

    gradients_of_parts(part, len(index_B), list(module.parameters()), fits.runtime)


def _judge_trained(
    build: Callable[[np.ndarray], tuple[nn.Module, torch.Tensor]],
    trial: Trial,
    fits: Fits,
    epochs: Callable[[int], int],
) -> Answers:
    """`build` gives, for the positions of images to learn from, a module and what it sees of all images (N, ...);
    `epochs`, how often so many images are seen."""
    started_s = time.monotonic()
    right_N = np.zeros(len(trial.fold_N), bool)
    for fold in trial.judged_folds:
        used_M, out_M = trial.used_M(fold), torch.from_numpy(np.flatnonzero(trial.fold_N == fold))
        with seeded(trial.seed, fold):
            module, value_N = build(used_M)
            _train(module, value_N, trial.label_N, used_M, fits, epochs(len(used_M)))
        logits_MK = _answers(module, value_N, out_M, fits)
        right_N[out_M.numpy()] = right_images(logits_MK, trial.label_N[out_M], trial.task).numpy()
    num_parameters = sum(parameter.numel() for parameter in module.parameters())
    seconds = time.monotonic() - started_s
    return Answers(right_M=right_N[trial.judged_N], seconds=seconds, num_parameters=num_parameters)


def _train(
    module: nn.Module, value_N: torch.Tensor, label_N: torch.Tensor, used_M: np.ndarray, fits: Fits, epochs: int
) -> None:
    config, runtime = fits.config, fits.runtime
    module.to(device=runtime.device, memory_format=runtime.memory_format).train()  # type: ignore[call-overload]
    groups = build_optimizers(module, config.optimizer, runtime.precision, parts=module.children())
    batch_size = _batch_size(config, len(used_M))
    per_epoch = max(1, len(used_M) // batch_size)  # a rest of fewer images comes in another epoch's order
    total = num_steps(config, len(used_M), epochs)
    for step in range(total):
        fits.check()
        if step % per_epoch == 0:
            order_M = used_M[_order(config, label_N[used_M].numpy(), step // per_epoch)]
        first = step % per_epoch * batch_size
        _gradients(module, value_N, label_N, order_M[first : first + batch_size], fits)
        factor = learning_rate_factor(config.schedule, step, total)
        for group in groups:
            group.step(factor)
            group.forget_gradients()


def _order(config: RunConfig, label_M: np.ndarray, epoch: int) -> np.ndarray:
    """Which image stands at each place of an epoch, as in training."""
    if config.loader.sampling == "balanced":
        return balanced(label_M, config.seed, epoch).position_N
    return permutation(config.seed, epoch, len(label_M))


@torch.inference_mode()
def _answers(module: nn.Module, value_N: torch.Tensor, index_M: torch.Tensor, fits: Fits) -> torch.Tensor:
    module.eval()
    answers = []
    for index_B in index_M.split(64):
        fits.check()
        with fits.runtime.arithmetic():
            logits_BK = module(value_N[index_B].to(fits.runtime.device, fits.runtime.precision))
        answers.append(logits_BK.cpu())
    return torch.cat(answers)
