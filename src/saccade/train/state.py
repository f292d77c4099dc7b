"""Where a training is: the cursor, and everything a resumed run needs to go on to the same bits."""

import json
from typing import Annotated

import torch
from pydantic import ConfigDict, Field
from safetensors.torch import load as parse_tensors

from ..core.config import FrozenConfig
from ..core.errors import CheckpointError, printable
from ..runs.checkpoint import tensor_content
from .optimizers import optimizer_tensors, restore_optimizers
from .step import EpochTotals, TrainingStep

Count = Annotated[int, Field(ge=0, le=2**53)]
SHIPPED = "shipped."  # in front of the names of the weights that a checkpoint ships
MAX_SHOWN = 200  # characters of a name in a message


class Cursor(FrozenConfig):
    """The position of a training. `epoch` and `batch` are those to do next; `step` counts optimizer steps."""

    model_config = ConfigDict(strict=True)

    epoch: Count = Field(0, description="epoch to go on with")
    batch: Count = Field(0, description="batch of that epoch to go on with")
    step: Count = Field(0, description="steps taken")
    bad_steps: Count = Field(0, description="steps in a row, up to now, whose loss was not finite")
    best_value: float = Field(-1.0, description="best validation accuracy so far, -1 before the first")
    best_loss: float = Field(0.0, description="validation loss of the best epoch, which decides between equals")
    best_epoch: Count = Field(0, description="epoch kept, counted from 1; 0 before the first")
    finished: bool = Field(False, description="whether training is over")
    log_bytes: Count = Field(0, description="length of metrics.jsonl that belongs to these steps")
    num_micro_batches: int = Field(1, ge=1, le=65_536, description="parts a batch is computed in since memory ran out")
    training_s: float = Field(0.0, ge=0, description="seconds of training so far, over all starts")
    data_digest: str = Field("", description="digest of the training images and their labels")


def state_tensors(training: TrainingStep) -> dict[str, torch.Tensor]:
    """What `state.safetensors` holds: optimizers, the running average, the sums of the epoch under way.

    The weights are not in it where they are what the checkpoint ships; with a running average, the network that is
    trained goes in as `network.<name>` and the average is shipped.
    """
    tensors = optimizer_tensors(training.groups)
    totals = training.totals
    tensors |= {"totals.loss_sum": totals.loss_sum, "totals.num_correct": totals.num_correct}
    tensors |= {"totals.num_seen": totals.num_seen}
    if training.average:
        tensors |= {f"network.{name}": tensor for name, tensor in training.model.state_dict().items()}
    return tensors


def restore_training(
    training: TrainingStep, cursor: Cursor, weights: dict[str, torch.Tensor], tensors: dict[str, torch.Tensor]
) -> None:
    """Put `training` back where `state_tensors` and the shipped `weights` were taken. Raises CheckpointError."""
    _refuse_other_tensors(state_tensors(training), tensors)
    try:
        if training.average:
            training.average.model.load_state_dict(weights)
            own = {n.removeprefix("network."): t for n, t in tensors.items() if n.startswith("network.")}
            training.model.load_state_dict(own)
        else:
            training.model.load_state_dict(weights)
        restore_optimizers(training.groups, tensors)
        device = training.runtime.device
        training.totals = EpochTotals(
            loss_sum=tensors["totals.loss_sum"].to(device),
            num_correct=tensors["totals.num_correct"].to(device),
            num_seen=tensors["totals.num_seen"].to(device),
        )
    except (RuntimeError, KeyError, IndexError, ValueError) as error:
        first_line = str(error).splitlines()[0]
        raise CheckpointError(f"The saved training does not fit this network: {first_line}") from None
    training.num_micro_batches = cursor.num_micro_batches


def training_bytes(training: TrainingStep, cursor: Cursor | None) -> bytes:
    """Where a training is, for another process of its run; empty where it is at its beginning."""
    if cursor is None:
        return b""
    weights = {f"{SHIPPED}{name}": tensor for name, tensor in training.judged_model.state_dict().items()}
    return tensor_content(weights | state_tensors(training), {"cursor": cursor.model_dump_json()})


def take_training(training: TrainingStep, content: bytes) -> Cursor | None:
    """Put `training` where `training_bytes` was taken, and say where that is; None: at its beginning."""
    if not content:
        return None
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    cursor = Cursor.parse(json.loads(header["__metadata__"]["cursor"]), "the first process")
    tensors = parse_tensors(content)
    weights = {name.removeprefix(SHIPPED): tensors.pop(name) for name in list(tensors) if name.startswith(SHIPPED)}
    restore_training(training, cursor, weights, tensors)
    return cursor


def _refuse_other_tensors(expected: dict[str, torch.Tensor], found: dict[str, torch.Tensor]) -> None:
    """Raise CheckpointError where what was saved is not exactly what is put back: names, shapes, types of numbers."""
    reason = ""
    odd = sorted(set(expected) ^ set(found))
    if odd:
        reason = f"{len(odd)} tensors differ, '{printable(odd[0][:MAX_SHOWN])}' first"
    for name, own in expected.items():
        if reason:
            break
        saved = found[name]
        is_loss = name == "totals.loss_sum" and saved.dtype in (torch.float32, torch.float64)  # as the device has it
        if saved.shape != own.shape or (saved.dtype != own.dtype and not is_loss):
            kinds = [f"{str(t.dtype).removeprefix('torch.')} {tuple(t.shape)}" for t in (saved, own)]
            reason = f"'{name}' is {kinds[0]}, and must be {kinds[1]}"
    if reason:
        raise CheckpointError(
            f"The saved training does not fit this network: {reason}.\n"
            f"The checkpoint or the run's configuration was changed; start a new run with another --out."
        )
