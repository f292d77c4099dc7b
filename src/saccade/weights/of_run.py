"""A run of one's own as a backbone: its kept weights, with preprocessing, classes and licence as it says them."""

from pathlib import Path

from ..core.addresses import is_address
from ..core.errors import WeightsError, printable
from ..models.architecture import MODELS
from ..models.new_head import has_new_head
from ..runs.at_path import holds_checkpoint
from ..runs.checkpoint import Checkpoint, find_checkpoint
from ..runs.names import CONFIG, MANIFEST, WEIGHTS
from .hub import HUB_PREFIX


def checkpoint_of(text: str) -> Checkpoint | None:
    """The checkpoint that a person means by `text`: a run, a checkpoint folder, or a file of one of them; None where it
    is something else. Raises CheckpointError for one that is incomplete or damaged."""
    if text.startswith(HUB_PREFIX) or is_address(text) or not text:
        return None
    path = Path(text)
    if path.is_dir():
        return find_checkpoint(path) if holds_checkpoint(path) or (path / CONFIG).is_file() else None
    folder = path.parent
    if path.name in (WEIGHTS, MANIFEST) and (folder / MANIFEST).is_file():
        return find_checkpoint(folder)
    is_of_run = path.is_file() and path.suffix != ".safetensors" and (folder / CONFIG).is_file()
    return find_checkpoint(folder) if is_of_run and holds_checkpoint(folder) else None


def network_of(text: str) -> str:
    """The registered network whose weights the run `text` holds; "" where `text` is no run. Raises CheckpointError."""
    found = checkpoint_of(text)
    return found.manifest.model.partition("+")[0] if found else ""


def check_network(checkpoint: Checkpoint, model: str) -> None:
    """Raise WeightsError where the checkpoint is not of the registered network `model`."""
    where, own = printable(str(checkpoint.folder)), checkpoint.manifest.model
    if own not in MODELS and not has_new_head(own):
        raise WeightsError(
            f"{where} holds a network that was written as a line or given from Python: '{printable(own[:100])}'.\n"
            f"A backbone is a registered network; 'saccade models' lists them."
        )
    if model not in (own, own.partition("+")[0]):
        raise WeightsError(
            f"{where} holds the weights of {printable(own)}, not of {printable(model)}.\n"
            f"Give --backbone {printable(own.partition('+')[0])}, or leave --backbone out."
        )
