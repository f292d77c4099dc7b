"""A trained classifier, ready to answer: one run, or several that answer together, over one look at an image or more.

Everything that asks a finished run for an answer opens it here: prediction, evaluation, explanation, the report, the
label check and distillation. Probabilities are averaged (`mean_probability.py`), never weights.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..core.errors import CheckpointError, DataError, UnknownNameError, UsageError, did_you_mean, printable
from ..core.runtime import Runtime, RuntimeConfig, start
from ..core.task import ONE_LABEL, Task
from ..core.types import Preprocessing
from ..data.images.normalize import normalize
from ..evaluate.forward import forward, require_finite
from ..evaluate.novelty import Novelty, agreed, is_beyond
from ..models.penultimate import MAX_KEPT, LogitsAndFeatures, split_outputs, with_features
from ..runs.checkpoint import Checkpoint, find_checkpoint
from ..runs.ensemble_folder import MAX_MEMBERS, expand_runs
from ..runs.files import MAX_TEXT
from ..runs.names import NOVELTY, UNLIKE_UNKNOWN
from ..runs.novelty_file import read_known_features
from .crops import CENTRE, Look
from .mean_probability import MeanProbability

Prepared = Mapping[Preprocessing, np.ndarray]  # image_BVHWC uint8 for each distinct preprocessing


@dataclass(frozen=True, kw_only=True)
class Member:
    """One trained network with what belongs to it. `temperature` divides its logits before the softmax, and `task` says
    what else makes answers of them; `novelty` tells images that are unlike those of training, None where nothing is
    kept for that, and `unlike_unknown` says why."""

    name: str
    model: nn.Module
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    runtime: Runtime
    architecture: str = ""
    seed: int = 0
    task: Task = ONE_LABEL
    novelty: Novelty | None = None
    unlike_unknown: str = ""

    @torch.inference_mode()
    def logits(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """logits_BK float32 on the CPU, of prepared uint8 images.

        The arithmetic is float32 in every verb, so that every verb gives the same answer. Raises ModelError where the
        network gives values that are not finite.
        """
        logits_BK = forward(self.model, image_BCHW, self.preprocessing, self.runtime, torch.float32).cpu()
        return require_finite(logits_BK, self.name)

    @cached_property
    def _with_features(self) -> LogitsAndFeatures | None:
        return with_features(self.model, MAX_KEPT)

    def logits_and_unlike(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, np.ndarray | None]:
        """`logits`, to the same bits, and bool (B,): which images are unlike those of training; None where nothing
        tells."""
        logits_BK, distance_B = self.logits_and_distance(image_BCHW)
        if self.novelty is None or distance_B is None:
            return logits_BK, None
        return logits_BK, is_beyond(distance_B, self.novelty.threshold)

    @torch.inference_mode()
    def logits_and_distance(self, image_BCHW: torch.Tensor) -> tuple[torch.Tensor, np.ndarray | None]:
        """`logits`, to the same bits, and float32 (B,): how far images lie from those of training; None where nothing
        tells."""
        if self.novelty is None or self._with_features is None:
            return self.logits(image_BCHW), None
        both_BX = forward(self._with_features, image_BCHW, self.preprocessing, self.runtime, torch.float32).cpu()
        logits_BK, feature_BD = split_outputs(both_BX, len(self.classes))
        if feature_BD.shape[1] != self.novelty.num_features:
            raise CheckpointError(
                f"{self.name}: {NOVELTY} holds features of {self.novelty.num_features:,} numbers, and the network "
                f"gives {feature_BD.shape[1]:,}.\n"
                f"The checkpoint was changed. Put the file back from a copy, or train again."
            )
        return require_finite(logits_BK, self.name), self.novelty.distance(feature_BD.numpy())

    def normalized(self, prepared_BHWC: np.ndarray) -> torch.Tensor:
        """input_BCHW float32 of prepared uint8 images."""
        return normalize(torch.from_numpy(prepared_BHWC).permute(0, 3, 1, 2), self.preprocessing, torch.float32)

    def class_index(self, name: str) -> int:
        """Where the class `name` stands. Raises UnknownNameError with the nearest one."""
        if name not in self.classes:
            raise UnknownNameError(
                f"The run does not know a class '{printable(name)}'.{did_you_mean(name, self.classes)} "
                f"It knows {len(self.classes)}: {printable(', '.join(self.classes[:8]))}"
                f"{', ...' if len(self.classes) > 8 else '.'}"
            )
        return self.classes.index(name)


@dataclass(frozen=True, kw_only=True)
class Classifier:
    """`members` that know the same `classes` and answer together, each over all `looks` at an image.

    `order_MK[m, k]` is where class k stands among the outputs of member m.
    """

    members: tuple[Member, ...]
    classes: tuple[str, ...]
    order_MK: np.ndarray
    looks: tuple[Look, ...] = (CENTRE,)

    @property
    def runtime(self) -> Runtime:
        return self.members[0].runtime

    @cached_property
    def task(self) -> Task:
        """What makes answers of the mean probability: of several labels the mean of the members' thresholds."""
        first = self.members[0].task
        if first.is_number and (len(self.members) > 1 or self.looks != (CENTRE,)):
            return first.model_copy(
                update={"half_width": 0.0, "half_width_images": 0}
            )  # it is of one look by one network
        if len(self.members) == 1 or not first.is_several:
            return first
        threshold_MK = np.stack(
            [
                member.task.threshold_K(len(self.classes))[order_K]
                for member, order_K in zip(self.members, self.order_MK, strict=True)
            ]
        )
        goals = {member.task.thresholds_for for member in self.members}
        goal = goals.pop() if len(goals) == 1 else ""
        return Task(kind=first.kind, thresholds=tuple(threshold_MK.mean(axis=0).tolist()), thresholds_for=goal)

    def task_of(self, number: int) -> Task:
        """The task of one member, in the order of `classes`."""
        return in_order(self.members[number].task, self.order_MK[number])

    @property
    def unlike_unknown(self) -> str:
        """Why no image is told to be unlike those of training; empty where some member can tell, or none says why."""
        if any(member.novelty for member in self.members):
            return ""
        return next((member.unlike_unknown for member in self.members if member.unlike_unknown), "")

    @property
    def is_plain(self) -> bool:
        """Whether one network answers by one look at the centre, so that its logits are the answer."""
        return len(self.members) == 1 and self.looks == (CENTRE,)

    @property
    def views(self) -> tuple[Look, ...]:
        """The looks that images are prepared for: with the centre, by which alone an image is told to be unlike those
        of training, where a member can tell."""
        can_tell = any(member.novelty for member in self.members)
        return (CENTRE, *self.looks) if can_tell and CENTRE not in self.looks else self.looks

    @property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """The distinct ways in which the members see an image."""
        return tuple(dict.fromkeys(member.preprocessing for member in self.members))

    def logits(self, number: int, image_BHWC: np.ndarray) -> torch.Tensor:
        """logits_BK float32 on the CPU, by member `number`, in the order of `classes`; image_BHWC is prepared uint8."""
        image_BCHW = torch.from_numpy(np.ascontiguousarray(image_BHWC)).permute(0, 3, 1, 2)
        return self.members[number].logits(image_BCHW)[:, self.order_MK[number]]

    def answer(self, prepared: Prepared) -> "Answers":
        """What is said of images that were prepared for all `views`, one after the other."""
        mean = MeanProbability(len(next(iter(prepared.values()))), len(self.classes))
        unlike: list[np.ndarray] = []
        for number, member in enumerate(self.members):
            image_BVHWC = prepared[member.preprocessing]
            for view, look in enumerate(self.views):
                logits_BK, unlike_B = self.look_at(number, image_BVHWC[:, view], look)
                if unlike_B is not None:
                    unlike.append(unlike_B)
                if look in self.looks:
                    mean.add(logits_BK, member.temperature, self.task_of(number))
        probability_BK = mean.value()
        return Answers(
            probability_BK=probability_BK,
            logits_BK=logits_BK.numpy() if self.is_plain else self.task.logits_of(probability_BK),
            unlike_B=agreed(unlike),
        )

    def look_at(self, number: int, image_BHWC: np.ndarray, look: Look) -> tuple[torch.Tensor, np.ndarray | None]:
        """logits_BK as `logits` gives them; with the look at the centre, which images the member tells to be unlike
        those of training, bool (B,), None where it cannot tell."""
        if look != CENTRE:
            return self.logits(number, image_BHWC), None
        image_BCHW = torch.from_numpy(np.ascontiguousarray(image_BHWC)).permute(0, 3, 1, 2)
        logits_BK, unlike_B = self.members[number].logits_and_unlike(image_BCHW)
        return logits_BK[:, self.order_MK[number]], unlike_B


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a classifier says of B images: probability_BK float64, logits_BK, and `unlike_B` (bool), which of them are
    unlike anything seen in training, None where nothing tells.

    The logits are those of the network where the classifier is plain, else those of the mean probability.
    """

    probability_BK: np.ndarray
    logits_BK: np.ndarray
    unlike_B: np.ndarray | None


def in_order(task: Task, order_K: np.ndarray) -> Task:
    """`task` with its values for each class in the order `order_K` of its classes."""
    found = {
        name: tuple(getattr(task, name)[k] for k in order_K.tolist())
        for name in ("slopes", "shifts", "thresholds")
        if getattr(task, name)
    }
    return task.model_copy(update=found) if found else task


def open_classifier(
    runs: Path | Sequence[Path], runtime_config: RuntimeConfig | None = None, looks: Sequence[Look] = (CENTRE,)
) -> Classifier:
    """The classifier of a run or checkpoint folder, or of several together; the folder of an ensemble is its members.

    Raises CheckpointError where one cannot be read, UsageError or DataError where they do not fit together.
    """
    folders = expand_runs([runs] if isinstance(runs, Path) else runs)
    _check_number(len(folders))  # before any of them is read
    return join_members([open_member(run, runtime_config) for run in folders], looks)


def open_member(run: Path, runtime_config: RuntimeConfig | None = None) -> Member:
    """The network of one run or checkpoint folder. Raises CheckpointError."""
    checkpoint = find_checkpoint(run)
    return member_of(checkpoint, start(runtime_config or RuntimeConfig()), printable(str(run)))


def member_of(checkpoint: Checkpoint, runtime: Runtime, name: str) -> Member:
    """The network of `checkpoint` with what belongs to it, on the device of `runtime`. Raises CheckpointError."""
    manifest = checkpoint.manifest
    model = checkpoint.load_model().to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
    known = read_known_features(checkpoint)
    return Member(
        name=name,
        model=model,
        classes=manifest.classes,
        preprocessing=manifest.preprocessing,
        temperature=manifest.temperature,
        runtime=runtime,
        architecture=manifest.model,
        seed=manifest.origin.seed,
        task=manifest.task,
        novelty=Novelty(unit_MD=known.unit_MD, distance_V=known.distance_V) if known else None,
        unlike_unknown="" if known else printable(str(manifest.metrics.get(UNLIKE_UNKNOWN, ""))[:MAX_TEXT]),
    )


def join_members(members: Sequence[Member], looks: Sequence[Look] = (CENTRE,)) -> Classifier:
    """`members` as one classifier, in the order of the first one's classes.

    Raises DataError where they know others, UsageError for more than 15.
    """
    _check_number(len(members))
    classes = members[0].classes
    for member in members[1:]:
        if member.task.kind != members[0].task.kind:
            raise DataError(
                f"An ensemble needs one kind of labels: {printable(members[0].name)} knows {_kind(members[0])} an "
                f"image, {printable(member.name)} {_kind(member)}.\nTrain its members on the same set."
            )
        only_first = [name for name in classes if name not in member.classes]
        only_other = [name for name in member.classes if name not in classes]
        if only_first or only_other:
            name, known, other = (
                (only_first[0], members[0], member) if only_first else (only_other[0], member, members[0])
            )
            raise DataError(
                f"An ensemble needs the same classes in every run: {printable(known.name)} knows '{printable(name)}', "
                f"{printable(other.name)} does not.\nTrain its members on the same set of classes."
            )
    order_MK = np.array([[member.classes.index(name) for name in classes] for member in members], dtype=np.int64)
    return Classifier(members=tuple(members), classes=classes, order_MK=order_MK, looks=tuple(looks))


def _kind(member: Member) -> str:
    return f"a {member.task.kind}" if member.task.target else member.task.kind


def same_weights(members: Sequence[Member]) -> list[tuple[Member, Member]]:
    """Pairs of members that have the same weights, so that together they say what one says; each later one once."""
    states = [member.model.state_dict() for member in members]
    pairs = ((first, second) for second in range(len(members)) for first in range(second))
    found: dict[int, int] = {}
    for first, second in pairs:
        if second not in found and _are_equal(states[first], states[second]):
            found[second] = first
    return [(members[first], members[second]) for second, first in found.items()]


def _are_equal(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(
        one[name].shape == other[name].shape and torch.equal(one[name], other[name]) for name in one
    )


def _check_number(num_members: int) -> None:
    if not 1 <= num_members <= MAX_MEMBERS:
        raise UsageError(f"An ensemble has 2 to {MAX_MEMBERS} runs, got {num_members}.")
