"""Distillation: one network learns what several say, so that the ensemble need not be shipped.

Hinton, Vinyals and Dean 2015, arXiv:1503.02531, section 2: both sides' logits are divided by a temperature, and the
gradient of the soft part is multiplied by its square, so that the two parts keep their proportion. Teachers look at the
very images the student learns from, augmented as they are (Beyer et al. 2022, arXiv:2106.05237, section 3.1); nothing
about them is stored in a checkpoint but their digest, and a step repeated after a kill is the same step.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from ..classify.classifier import Classifier, open_classifier
from ..core.errors import CheckpointError, DataError, UsageError, printable
from ..core.runtime import Runtime
from ..core.types import Preprocessing
from ..evaluate.forward import forward
from ..runs.ensemble_folder import expand_runs
from ..runs.seen import Seen, look_up_seen, unknown_note
from ..train.config import RunConfig
from ..train.prepare import Images
from ..train.seen_before import refuse_seen


@dataclass(frozen=True, kw_only=True)
class Teachers:
    """Networks that answer together; `order_MK` is where the student's classes stand among each one's outputs."""

    ensemble: Classifier
    order_MK: torch.Tensor
    temperature: float
    weight: float
    runtime: Runtime
    seen: tuple[tuple[str, Seen | str], ...]  # "the teacher runs/a was", and what it was trained on

    def of_step(self, image_BCHW: torch.Tensor, logits_BK: torch.Tensor) -> torch.Tensor:
        """Mean over the images of the student's soft loss, times the squared temperature; image_BCHW is uint8."""
        return soft_loss(logits_BK, self.probabilities(image_BCHW), self.temperature)

    @torch.no_grad()
    def probabilities(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        """probability_BK float32: the mean over the teachers of softmax(logits / temperature)."""
        total_BK = torch.zeros(image_BCHW.shape[0], self.order_MK.shape[1], device=image_BCHW.device)
        for member, order_K in zip(self.ensemble.members, self.order_MK):
            logits_BK = forward(member.model, image_BCHW, member.preprocessing, self.runtime, self.runtime.precision)
            total_BK += torch.softmax(logits_BK[:, order_K] / self.temperature, dim=1)
        return total_BK / len(self.ensemble.members)


def soft_loss(logits_BK: torch.Tensor, probability_BK: torch.Tensor, temperature: float) -> torch.Tensor:
    """temperature^2 times the mean Kullback-Leibler divergence of softmax(logits / temperature) from probability_BK.

    Unlike the cross-entropy, whose gradient is the same, it is zero where the student says what the teachers say.
    """
    log_said_BK = functional.log_softmax(logits_BK.float() / temperature, dim=1)
    return temperature**2 * functional.kl_div(log_said_BK, probability_BK, reduction="batchmean")


def load_teachers(config: RunConfig, images: Images, runtime: Runtime) -> tuple[RunConfig, Teachers | None]:
    """The teachers of `config`, None where it names none, and the configuration with their digest.

    Raises DataError where they do not fit the images, CheckpointError where they are not those the run began with.
    """
    if not config.distill.teachers:
        return config, None
    runs = expand_runs([Path(text) for text in config.distill.teachers])
    ensemble = open_classifier(runs, config.runtime)
    if ensemble.task.kind != images.task.kind:
        raise DataError(
            f"The teacher {printable(ensemble.members[0].name)} knows {ensemble.task.kind} an image, and the images "
            f"have {images.task.kind}.\nTake a teacher that was trained on one label an image."
        )
    _refuse_other_classes(ensemble, images)
    _refuse_other_inputs(ensemble, images)
    seen = _seen_by(runs)
    for run, (_, found) in zip(runs, seen, strict=True):
        # It would tell the student the answers of the images that it is judged on.
        refuse_seen(found, f"the teacher {printable(str(run))}", images)
    digest = _digest(ensemble)
    if config.distill.teacher_digest not in ("", digest):
        raise CheckpointError(
            f"The teachers in {printable(', '.join(config.distill.teachers))} are not those this run began with.\n"
            f"Put them back as they were, or start a new run with another --out."
        )
    to_student_K = [ensemble.classes.index(name) for name in images.classes]
    teachers = Teachers(
        ensemble=ensemble,
        order_MK=torch.from_numpy(ensemble.order_MK[:, to_student_K]).to(runtime.device),
        temperature=config.distill.temperature,
        weight=config.distill.weight,
        runtime=runtime,
        seen=seen,
    )
    return config.model_copy(update={"distill": config.distill.model_copy(update={"teacher_digest": digest})}), teachers


def _refuse_other_classes(ensemble: Classifier, images: Images) -> None:
    if set(ensemble.classes) != set(images.classes):
        odd = sorted(set(ensemble.classes) ^ set(images.classes))[0]
        knower = "The teacher knows" if odd in ensemble.classes else "The images have"
        raise DataError(
            f"{knower} a class '{printable(odd)}' that the other side does not.\n"
            f"A student learns from teachers of its own classes: train them on the same set."
        )


def _refuse_other_inputs(ensemble: Classifier, images: Images) -> None:
    own = images.preprocessing
    for member in ensemble.members:
        other = member.preprocessing
        if other.input_CHW != own.input_CHW:
            _, height_px, width_px = other.input_CHW
            width = f" and input.width_px={width_px}" if width_px != height_px else ""
            raise UsageError(
                f"The teacher {printable(member.name)} takes inputs of {_size(other.input_CHW)}, the student of "
                f"{_size(own.input_CHW)}: they must see the same image.\n"
                f"Set input.size_px={height_px}{width} for the student, or take another teacher."
            )
        if _values_kept(other) != _values_kept(own):
            raise UsageError(
                f"The teacher {printable(member.name)} takes {_values_kept(other)}, the student {_values_kept(own)}: "
                f"they must see the same image.\nTrain both on the same set, or take another teacher."
            )
        if _shape_kept(other) != _shape_kept(own):
            raise UsageError(
                f"The teacher {printable(member.name)} sees pictures with fit {_shape_kept(other)}, the student with "
                f"fit {_shape_kept(own)}: they must see the same image.\n"
                f"Set input.fit={_shape_kept(other)} for the student, or take another teacher."
            )


def _values_kept(seen: Preprocessing) -> str:
    """What a prepared pixel means: of bands its bits and what is white, else eight bits of grey or colours."""
    return f"bands of {seen.depth_bits} bits, 0 to {seen.full_scale:,}" if seen.has_bands else "grey or colours"


def _shape_kept(seen: Preprocessing) -> str:
    """crop, pad or squash; images of one small size, which are used whole, were never asked for another than crop."""
    return "crop" if seen.fit == "cover" else seen.fit


def unknown_teachers(config: RunConfig) -> tuple[str, ...]:
    """What qualifies every figure of the students of `config`: teachers of which nothing says what they have seen."""
    runs = expand_runs([Path(text) for text in config.distill.teachers])
    return tuple(note for note in (unknown_note(who, found) for who, found in _seen_by(runs)) if note)


def _seen_by(runs: Sequence[Path]) -> tuple[tuple[str, Seen | str], ...]:
    return tuple((f"the teacher {printable(str(run))} was", look_up_seen(run)) for run in runs)


def _size(input_CHW: tuple[int, int, int]) -> str:
    return f"{input_CHW[2]}x{input_CHW[1]}x{input_CHW[0]}"


def _digest(ensemble: Classifier) -> str:
    digest = hashlib.sha256()
    for member in ensemble.members:
        digest.update(member.preprocessing.digest().encode())
        for name, tensor in member.model.state_dict().items():
            digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().numpy()).tobytes())
    return digest.hexdigest()
