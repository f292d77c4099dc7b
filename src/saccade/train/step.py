"""One optimizer step: normalise, forward, loss, backward, update. Metrics stay on the device until somebody asks.

A run of one lane takes its step on the whole batch. One of several takes each lane by itself, in this process or in
others, and adds them up along one tree (`lane_sums.py`, `exchange.py`): the bits are those of the lanes, whoever
computed them.
"""

import math
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import NoReturn

import torch
from torch import nn
from torch.nn import functional

from ..core import torch_private
from ..core.errors import ConfigError, NoAnswerError, TrainingError, printable
from ..core.runtime import Runtime, compute_exactly, is_out_of_memory, seed_everything, seeded, send
from ..core.task import ONE_LABEL, Task
from ..core.types import Batch, Preprocessing
from ..data.images.normalize import normalize
from ..data.loading.loader import lane_share
from ..kernels.cuda_graph import CudaRecorder, GradientGraphs
from ..kernels.fused_inference import AT_ONCE, can_fuse, fuse_for_inference
from ..kernels.gradients import use_fast_gradients
from ..kernels.one_core_each import one_core_each
from ..models.surgery import cut, freeze, hold_still, run, thaw
from .config import RunConfig
from .core_by_core import can_part, gradients_of_parts, num_parts
from .extra_loss import ExtraLoss
from .lane_sums import LaneSums
from .loss import loss_sum, num_right, total_weight
from .micro_batches import counted_as_one
from .optimizers import build_optimizers
from .reduce import (
    SIGNALS,
    Agreed,
    LaneVector,
    Reduction,
    Verdict,
    learning_norms,
    own_statistics,
    refuse_for_lanes,
)
from .scale import refuse_more_processes
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

    Every random draw of a step (dropout) derives from (seed, step), of several lanes from (seed, step, lane), so a step
    repeated after a kill is the same step. `signals` are what the loops of all processes tell each other: set them
    before a step, and read the largest of each behind it.
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
        self._can_part = False
        if config.transfer.frozen:
            self._live = cut(self.model, config.transfer.frozen).live
            self._can_part = can_part(self._live, runtime)
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
        self.signals = (0,) * SIGNALS
        self.reduction: Reduction | None = None
        refuse_more_processes(config, runtime.ranks)
        if config.num_lanes > 1:
            refuse_for_lanes(self.model, config, runtime)
            self.reduction = Reduction(runtime.ranks, config.num_lanes, config.scale.exact)
        self._vector: LaneVector | None = None
        self._has_looked = False  # whether the network changes more than batch statistics
        if runtime.device.type == "cuda" and self.reduction and config.scale.exact:
            compute_exactly()
        elif runtime.device.type == "cuda":
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
        if self.reduction:
            return self._run_in_lanes(self.reduction, batch, step, learning_rate_factor)
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

    def give_up(self, error: Exception) -> NoReturn:
        """Raise `error`, for which this process cannot take its next step, and in the others, which wait for it there,
        GroupError that says so."""
        if self.reduction:
            self._sums_of(self.reduction).finish()
            self.reduction.agree(None, Verdict.FAILED, self.signals)
            self.reduction.raise_first(error)
        raise error

    def _run_in_lanes(self, reduction: Reduction, batch: Batch, step: int, learning_rate_factor: float) -> bool:
        """`run`, with every process computing its lanes; all take the same step, or none does."""
        _copy(self._statistics_before, self._statistics)
        agreed, sums = self._agreed_lanes(reduction, batch, step)
        self.signals = agreed.signals
        loss = agreed.loss_sum / agreed.total_weight if agreed.total_weight else math.nan
        if not math.isfinite(loss):
            self._forget_step()
            sums.forget()
            return False
        self._lane_vector().give(sums.total, agreed.total_weight, reduction.num_lanes)
        self._update(step, learning_rate_factor)
        sums.forget()
        self.totals.loss_sum += loss * agreed.num_seen
        self.totals.num_correct += agreed.num_correct
        self.totals.num_seen += agreed.num_seen
        return True

    def _agreed_lanes(self, reduction: Reduction, batch: Batch, step: int) -> tuple[Agreed, LaneSums]:
        """What all lanes come to, once every process has computed its own, in parts where memory ran out in one."""
        while True:
            sums = self._sums_of(reduction)
            row_L4, verdict, error = None, Verdict.DONE, None
            try:
                row_L4 = self._compute_lanes(reduction, batch, step, sums)
            except NoAnswerError:
                raise
            except Exception as found:  # noqa: BLE001  it is raised behind the agreement, here and in the others
                verdict, error = self._verdict(found, reduction, batch)
            sums.finish()
            agreed = reduction.agree(row_L4, verdict, self.signals)
            if agreed.verdict == Verdict.DONE:
                return agreed, sums
            sums.forget()
            self._forget_step()
            if agreed.verdict == Verdict.FAILED:
                reduction.raise_first(error)
            self.num_micro_batches = 2 * self._parts_of_lane(reduction) * reduction.num_lanes

    def _sums_of(self, reduction: Reduction) -> LaneSums:
        return LaneSums(self._lane_vector(), reduction.lanes, reduction.num_lanes, reduction.exchange)

    def _verdict(self, found: Exception, reduction: Reduction, batch: Batch) -> tuple[Verdict, Exception | None]:
        """How this process fares after `found`, and what it says if it fails."""
        if not is_out_of_memory(found):
            return Verdict.FAILED, found
        num_parts = 2 * self._parts_of_lane(reduction)
        try:
            self._refuse_smaller(num_parts, max(self._lane_sizes(reduction, batch)), str(found))
        except TrainingError as error:
            return Verdict.FAILED, error
        return Verdict.NO_MEMORY, None

    def _compute_lanes(self, reduction: Reduction, batch: Batch, step: int, sums: LaneSums) -> torch.Tensor:
        """row_L4 float64 of the lanes of this process, whose gradients and statistics are given to `sums`."""
        self._refuse_two_divisors()
        image_BCHW = send(batch.image_BCHW, self.runtime.device)
        target = send(self._standard(batch.target), self.runtime.device)
        sizes = self._lane_sizes(reduction, batch)
        num_parts, rows = self._parts_of_lane(reduction), []
        with own_statistics(self._lane_vector().norms) as begin_part:
            lanes = zip(reduction.lanes, image_BCHW.split(sizes), target.split(sizes), strict=True)
            for lane, lane_BCHW, lane_target in lanes:
                _copy(self._statistics, self._statistics_before)
                watched = partial(sums.watched, lane)
                with seeded(self.config.seed, step, lane):
                    rows.append(self._compute_lane(lane_BCHW, lane_target, num_parts, begin_part, watched))
                self._refuse_other_changes()
                sums.take(lane)
        _copy(self._statistics, self._statistics_before)
        return torch.stack(rows).to("cpu", torch.float64)

    def _compute_lane(
        self,
        image_BCHW: torch.Tensor,
        target: torch.Tensor,
        num_parts: int,
        begin_part: Callable[[int], None],
        watched: Callable[[bool], AbstractContextManager[None]],
    ) -> torch.Tensor:
        """The row of a lane, on the device; the gradients of the sum of its losses, not of their mean, are left in the
        network."""
        num_parts = max(1, min(num_parts, len(target) // 2))  # batch norm needs two images
        wide = widest(image_BCHW.device)
        row_4 = torch.zeros(4, dtype=wide, device=image_BCHW.device)
        parts = zip(image_BCHW.tensor_split(num_parts), target.tensor_split(num_parts), strict=True)
        for number, (image, part) in enumerate(parts, start=1):
            begin_part(number)
            loss, num_correct = self._loss(image, part, 1.0, 1)
            with watched(number == num_parts):
                loss.backward()
            row_4[0] += loss.detach()
            row_4[1] += num_correct
        row_4[2] = len(target)
        row_4[3] = total_weight(target, self.class_weight_K, self.task)
        return row_4

    def _lane_vector(self) -> LaneVector:
        if self._vector is None:
            self._vector = LaneVector(self._parameters, learning_norms(self.model))
        return self._vector

    def _refuse_two_divisors(self) -> None:
        if self.extra_loss and self.class_weight_K is not None:
            raise ConfigError(
                "Teachers and loss.class_weights divide by different sums, and with scale.lanes above 1 a step "
                "divides once.\nLeave one of them out, or train in one process with --set scale.lanes=1."
            )

    def _lane_sizes(self, reduction: Reduction, batch: Batch) -> list[int]:
        """How many images of the batch are each lane's; one that no loader has cut is cut as a loader would."""
        if batch.lane_sizes or not reduction.ranks.is_alone:
            return list(batch.lane_sizes)
        shares = [lane_share(len(batch.target), lane, reduction.num_lanes) for lane in reduction.lanes]
        return [stop - start for start, stop in shares]

    def _parts_of_lane(self, reduction: Reduction) -> int:
        """In how many parts a lane is computed, so that the batch is in as many as it must be."""
        return -(-self.num_micro_batches // reduction.num_lanes)

    def _refuse_other_changes(self) -> None:
        """Raise ConfigError where a forward pass changes more than the statistics of batch normalisation, which lanes
        that are computed apart could not agree on. Looks once: behind the first lane of all."""
        if self._has_looked:
            return
        self._has_looked = True
        norms = [module for module in self.model.modules() if isinstance(module, torch_private.BatchNorm)]
        known = {id(buffer) for norm in norms for buffer in norm.buffers(recurse=False)}
        names = {id(buffer): name for name, buffer in self.model.named_buffers()}
        pairs = zip(chain(*self._statistics), chain(*self._statistics_before), strict=True)
        for buffer, before in pairs:
            if id(buffer) not in known and not torch.equal(buffer, before):
                raise ConfigError(
                    f"The network changes '{printable(names[id(buffer)])}' while it computes, which is not batch "
                    f"normalisation, and lanes that are computed apart could not agree on it.\n"
                    f"Train it in one process with --set scale.lanes=1."
                )

    def _standard(self, target: torch.Tensor) -> torch.Tensor:
        """Targets as the loss takes them: numbers, float64, in standard deviations from their mean, float32."""
        return torch.from_numpy(self.task.standard(target.numpy())) if self.task.is_number else target

    def _gradients_within_memory(
        self, image_BCHW: torch.Tensor, target: torch.Tensor, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        with seeded(self.config.seed, step):
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
        self._vector = None

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
        self._refuse_smaller(smaller, image_BCHW.shape[0], reason)
        self.num_micro_batches = smaller

    def _refuse_smaller(self, num_parts: int, num_images: int, reason: str) -> None:
        """Raise TrainingError where so many images cannot be computed in so many parts."""
        if num_parts > num_images // 2:
            height_px, width_px = self.input_HW
            halves = [max(32, side_px // 2) for side_px in self.input_HW]
            smaller_input = f"--input {halves[0]}x{halves[1]}" if height_px != width_px else ""
            raise TrainingError(
                f"Memory ran out in a step of 2 to 3 images of {height_px}x{width_px} pixels at a time: "
                f"{printable(reason.splitlines()[0]) if reason else 'no reason was given'}.\n"
                f"What was saved is intact. Free memory and run again with --resume, or start a new run with a smaller "
                f"network or {smaller_input or f'--set input.size_px={halves[0]}'}."
            )

    def _gradients(self, image_BCHW: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self._can_part and self.num_micro_batches == 1 and num_parts(len(target), self.runtime) > 1:
            return self._gradients_core_by_core(image_BCHW, target)
        return self._gradients_in_turn(image_BCHW, target)

    def _gradients_core_by_core(
        self, image_BCHW: torch.Tensor, target: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Every core takes a share of the images through the whole network and back."""
        num_weighted = total_weight(target, self.class_weight_K, self.task)
        self._fuse()  # once, not in every thread

        def part(place: slice) -> tuple[torch.Tensor, torch.Tensor]:
            loss, num_correct = self._loss(image_BCHW[place], target[place], num_weighted, len(target))
            return loss.to(widest(self.runtime.device)), num_correct

        return gradients_of_parts(part, len(target), self._parameters, self.runtime)

    def _gradients_in_turn(self, image_BCHW: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        number = max(1, min(self.num_micro_batches, image_BCHW.shape[0] // 2))  # batch norm needs two images
        num_weighted = total_weight(target, self.class_weight_K, self.task)
        loss = torch.zeros((), dtype=widest(image_BCHW.device), device=image_BCHW.device)
        num_correct = torch.zeros((), dtype=torch.int64, device=image_BCHW.device)
        parts = zip(image_BCHW.tensor_split(number), target.tensor_split(number), strict=True)
        with counted_as_one(self.model, number):
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
        fused = self._fuse()
        if fused is None:
            logits_BK: torch.Tensor = self.model(input_BCHW)
            return logits_BK
        return run(self._live, self._frozen_maps(fused, input_BCHW))

    def _fuse(self) -> nn.Module | None:
        """The frozen part, fused; None where it is not. Only now: a run that goes on has loaded its weights."""
        if self._fused is None and self._can_fuse:
            self._fused = fuse_for_inference(self.frozen, self.runtime.precision)
        return self._fused

    def _frozen_maps(self, fused: nn.Module, input_BCHW: torch.Tensor) -> torch.Tensor:
        """What the frozen part gives, in small groups, by one core each where this thread has several."""

        def maps(group_BCHW: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                found: torch.Tensor = fused(group_BCHW)
                return found

        groups = input_BCHW.split(AT_ONCE[self.runtime.precision])
        if torch.get_num_threads() == 1:
            return torch.cat([maps(group_BCHW) for group_BCHW in groups])
        with one_core_each(self.runtime) as pool:
            return torch.cat(list(pool.map(maps, groups)))

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
