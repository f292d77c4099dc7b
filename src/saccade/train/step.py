"""One optimizer step: normalise, forward, loss, backward, update. Metrics stay on the device until somebody asks."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from ..core import torch_private
from ..core.errors import TrainingError, printable
from ..core.runtime import Runtime, is_out_of_memory, seed_everything, send
from ..core.task import ONE_LABEL, Task
from ..core.types import Batch, Preprocessing
from ..data.images.normalize import normalize
from ..kernels.cuda_graph import CudaRecorder, GradientGraphs
from ..kernels.fused_inference import can_fuse, fuse_for_inference
from ..kernels.gradients import use_fast_gradients
from ..models.surgery import cut, freeze, hold_still, run, thaw
from .config import RunConfig
from .extra_loss import ExtraLoss
from .loss import loss_sum, num_right, total_weight
from .micro_batches import counted_as_one
from .optimizers import build_optimizers
from .schedule import input_size
from .weight_average import WeightAverage


@dataclass(kw_only=True)
class EpochTotals:
    """Sums over the images of the epoch so far, on the device: loss (float64; float32 where the device has none),
    correct and seen images (int64)."""

    loss_sum: torch.Tensor
    num_correct: torch.Tensor
    num_seen: torch.Tensor

    @classmethod
    def zero(cls, device: torch.device) -> "EpochTotals":
        """Nothing seen yet."""
        return cls(
            loss_sum=torch.zeros((), dtype=widest(device), device=device),
            num_correct=torch.zeros((), dtype=torch.int64, device=device),
            num_seen=torch.zeros((), dtype=torch.int64, device=device),
        )

    def means(self) -> tuple[float, float]:
        """(mean loss, fraction correct) of the images seen; waits for the device. Zeros before the first image."""
        num_seen = max(1, int(self.num_seen))
        return float(self.loss_sum) / num_seen, int(self.num_correct) / num_seen


class TrainingStep:
    """The network, its optimizers and its average, advanced one batch at a time.

    Every random draw of a step (dropout) derives from (seed, step), so a step repeated after a kill is the same step.
    """

    def __init__(
        self,
        model: nn.Module,
        config: RunConfig,
        preprocessing: Preprocessing,
        runtime: Runtime,
        task: Task = ONE_LABEL,
    ) -> None:
        self.config = config
        self.task = task
        self.preprocessing = preprocessing
        self.runtime = runtime
        self.model = model.to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
        self.frozen = freeze(self.model, config.transfer.frozen) if config.transfer.frozen else ()
        self._can_fuse = bool(self.frozen) and can_fuse(runtime.device, runtime.precision)
        self._fused: nn.Module | None = None
        self._live: tuple[nn.Module, ...] = ()
        use_fast_gradients(self.model, runtime)
        self.groups = build_optimizers(self.model, config.optimizer, runtime.precision)
        self.average = WeightAverage(self.model, config.average) if config.average.decay else None
        self.class_weight_K: torch.Tensor | None = None
        self.extra_loss: ExtraLoss | None = None
        self.num_micro_batches = config.accumulate
        self.input_HW = preprocessing.input_CHW[1:]
        self.totals = EpochTotals.zero(runtime.device)
        self._statistics = _by_type(self.model.buffers())  # of batch norm, which a forward pass alone changes
        self._statistics_before = [[buffer.clone() for buffer in buffers] for buffers in self._statistics]
        stem = getattr(self.model, "stem", None)
        self._stem_parameters = [p for p in stem.parameters() if p.requires_grad] if stem is not None else []
        self._waiting: tuple[nn.Module, ...] = ()
        self._parameters = list(self.model.parameters())
        if runtime.device.type == "cuda":
            torch.backends.cudnn.benchmark = True  # tries its kernels on each new shape and keeps the fastest
        self.graphs: GradientGraphs | None = None
        if runtime.cuda_graphs:
            self.graphs = GradientGraphs(self._gradients, self._parameters, CudaRecorder(runtime.device))
        self._set_modes()

    def set_epoch(self, epoch: int) -> None:
        """Adjust what depends on the epoch alone, counted from 0: the input size, and whether the stem is trained."""
        config = self.config
        self.input_HW = input_size(config.input, self.preprocessing.input_CHW[1:], epoch, config.epochs)
        for parameter in self._stem_parameters:
            parameter.requires_grad_(epoch < config.optimizer.stem_fraction * config.epochs)
        if config.transfer.frozen and config.transfer.thaw_fraction:
            self._waiting = thaw(
                self.model, config.transfer.frozen, epoch / (config.transfer.thaw_fraction * config.epochs)
            )
        self._set_modes()

    @property
    def is_transfer(self) -> bool:
        """Whether the network began with the weights of another, whose side branches say nothing of these classes."""
        return bool(self.config.transfer.frozen)

    @property
    def judged_model(self) -> nn.Module:
        """What is evaluated and shipped: the average of the weights where one is kept, else the network."""
        return self.average.model if self.average else self.model

    def told_means(self) -> tuple[float, float]:
        """(mean loss, accuracy) of the epoch so far; of a number, which has no accuracy, NaN."""
        loss, accuracy = self.totals.means()
        return loss, float("nan") if self.task.is_number else accuracy

    def run(self, batch: Batch, step: int, learning_rate_factor: float) -> bool:
        """Take one step on uint8 images. False, with nothing changed, where the loss is not finite (CPU: always seen;
        GPU: seen when the totals are read, since looking at every step would stall it)."""
        if not self.model.training:  # somebody has judged it
            self._set_modes()
        image_BCHW = send(batch.image_BCHW, self.runtime.device)
        target = send(self._standard(batch.target), self.runtime.device)
        _copy(self._statistics_before, self._statistics)
        loss, num_correct = self._gradients_within_memory(image_BCHW, target, step)
        if self.runtime.device.type == "cpu" and not bool(torch.isfinite(loss)):
            self._forget_step()
            return False
        self._update(step, learning_rate_factor)
        num_images = image_BCHW.shape[0]
        self.totals.loss_sum += loss * num_images
        self.totals.num_correct += num_correct
        self.totals.num_seen += num_images
        return True

    def _standard(self, target: torch.Tensor) -> torch.Tensor:
        """Targets as the loss takes them: numbers, float64, in standard deviations from their mean, float32."""
        return torch.from_numpy(self.task.standard(target.numpy())) if self.task.is_number else target

    def _gradients_within_memory(
        self, image_BCHW: torch.Tensor, target: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        seed_everything(self.config.seed, step)
        while True:
            try:
                if self.graphs:
                    return self.graphs.gradients(image_BCHW, target, self._kernels(), lambda: self._again(step))
                return self._gradients(image_BCHW, target)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                self._again(step)
                if not (self.graphs and self.graphs.make_room()):
                    self._cut_smaller(image_BCHW, str(error))

    def _set_modes(self) -> None:
        """Train all that is not frozen. It walks over every module, which takes as long as a small network's step."""
        self.model.train()
        hold_still((*self.frozen, *self._waiting))

    def _again(self, step: int) -> None:
        """Everything as it stands in front of the gradients of `step`, whatever was tried before."""
        self._forget_step()
        seed_everything(self.config.seed, step)

    def _kernels(self) -> tuple[object, ...]:
        """What decides, besides the shape of a batch, which kernels a step launches."""
        is_trained = tuple(parameter.requires_grad for parameter in self._parameters)
        return self.input_HW, self.num_micro_batches, is_trained, len(self._waiting)

    def _cut_smaller(self, image_BCHW: torch.Tensor, reason: str) -> None:
        """Compute this and later steps in twice as many parts: the effective batch stays what it was."""
        smaller = 2 * self.num_micro_batches
        if smaller > image_BCHW.shape[0] // 2:
            height_px, width_px = self.input_HW
            halves = [max(32, side_px // 2) for side_px in self.input_HW]
            smaller_input = f"--input {halves[0]}x{halves[1]}" if height_px != width_px else ""
            raise TrainingError(
                f"Memory ran out in a step of 2 to 3 images of {height_px}x{width_px} pixels at a time: "
                f"{printable(reason.splitlines()[0]) if reason else 'no reason was given'}.\n"
                f"What was saved is intact. Free memory and run again with --resume, or start a new run with a smaller "
                f"network or {smaller_input or f'--set input.size_px={halves[0]}'}."
            )
        self.num_micro_batches = smaller

    def _gradients(self, image_BCHW: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        num_parts = max(1, min(self.num_micro_batches, image_BCHW.shape[0] // 2))  # batch norm needs two images
        num_weighted = total_weight(target, self.class_weight_K, self.task)
        loss = torch.zeros((), dtype=widest(image_BCHW.device), device=image_BCHW.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=image_BCHW.device)
        parts = zip(image_BCHW.tensor_split(num_parts), target.tensor_split(num_parts), strict=True)
        with counted_as_one(self.model, num_parts):
            for image, part in parts:
                part_loss, part_correct = self._loss(image, part, num_weighted, len(target))
                part_loss.backward()
                loss += part_loss.detach()
                num_correct += part_correct
        return loss, num_correct

    def _loss(
        self, image_BCHW: torch.Tensor, target: torch.Tensor, num_weighted: torch.Tensor | float, num_images: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """This part's share of the mean loss over `num_images`, auxiliary heads included; how many it gets right."""
        input_BCHW = self._inputs(image_BCHW)
        with self.runtime.arithmetic():
            forward_train = None if self.is_transfer else getattr(self.model, "forward_train", None)
            logits_BK, auxiliary = forward_train(input_BCHW) if forward_train else (self._logits(input_BCHW), [])
        loss = self._loss_sum(logits_BK, target)
        for weight, auxiliary_BK in auxiliary:
            loss = loss + weight * self._loss_sum(auxiliary_BK, target)
        loss = loss / num_weighted
        if self.extra_loss:
            extra = self.extra_loss.of_step(image_BCHW, logits_BK) * (image_BCHW.shape[0] / num_images)
            loss = (1 - self.extra_loss.weight) * loss + self.extra_loss.weight * extra
        return loss, num_right(logits_BK.detach(), target, self.task)

    def _logits(self, input_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK. What is frozen runs as for features, where this machine has the fused kernels."""
        if not self._can_fuse:
            logits_BK: torch.Tensor = self.model(input_BCHW)
            return logits_BK
        if self._fused is None:  # only now: a run that goes on has loaded its weights
            self._fused = fuse_for_inference(self.frozen, self.runtime.precision)
            self._live = cut(self.model, self.config.transfer.frozen).live
        with torch.no_grad():
            map_BCHW = self._fused(input_BCHW)
        return run(self._live, map_BCHW)

    def _inputs(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        if image_BCHW.shape[2:] == self.input_HW:
            return normalize(image_BCHW, self.preprocessing, self.runtime.precision)
        wide_BCHW = normalize(image_BCHW, self.preprocessing, torch.float32)
        small_BCHW = functional.interpolate(wide_BCHW, self.input_HW, mode="bilinear", antialias=True)
        return small_BCHW.to(self.runtime.precision).contiguous(memory_format=torch.channels_last)

    def _loss_sum(self, logits_BK: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        logits_BK = logits_BK.float() if logits_BK.dtype == torch.bfloat16 else logits_BK
        return loss_sum(logits_BK, target, self.config.loss, self.class_weight_K, self.task)

    def _update(self, step: int, learning_rate_factor: float) -> None:
        if self.config.optimizer.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.clip_norm)
        for group in self.groups:
            group.step(learning_rate_factor)
        self._forget_gradients()
        if self.average:
            self.average.update(step)

    def _forget_step(self) -> None:
        """Leave everything as it was before the step: what its forward passes put into statistics too."""
        self._forget_gradients()
        _copy(self._statistics, self._statistics_before)

    def _forget_gradients(self) -> None:
        for group in self.groups:
            group.forget_gradients()


def widest(device: torch.device) -> torch.dtype:
    """The floating type that sums are kept in: Apple's GPUs have no float64."""
    return torch.float32 if device.type == "mps" else torch.float64


def _by_type(tensors: Iterable[torch.Tensor]) -> list[list[torch.Tensor]]:
    """The tensors of each dtype together: a GPU copies those in one launch."""
    groups: dict[torch.dtype, list[torch.Tensor]] = {}
    for tensor in tensors:
        groups.setdefault(tensor.dtype, []).append(tensor)
    return list(groups.values())


@torch.no_grad()
def _copy(targets: list[list[torch.Tensor]], sources: list[list[torch.Tensor]]) -> None:
    for some_targets, some_sources in zip(targets, sources, strict=True):
        torch_private.foreach_copy_(some_targets, some_sources)
