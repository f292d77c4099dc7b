"""Which network a person wants to see, and for what: read from an address, never as a path."""

from collections.abc import Mapping
from dataclasses import dataclass

from ....core.errors import UsageError
from ....core.plain_numbers import whole_number
from ....design.memory import StepPlan
from ....design.table import layer_table
from ....design.target import from_run, from_words, parse_input
from ....design.text import DesignTable
from ..runs.index import RunIndex

MAX_TEXT = 4000  # characters of a network
MAX_NUMBER = 1_000_000


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """A network by name, as a line of notation, or a run's by id; "" and 0 take its own input and classes."""

    network: str = "resnet18"
    run: str = ""
    input: str = ""
    classes: int = 0
    batch: int = 32
    optimizer: str = "nesterov"
    precision: str = "float32"
    is_unfolded: bool = False


def read_wanted(given: Mapping[str, str]) -> Wanted:
    """What an address asks for. Raises UsageError."""
    usual = Wanted()
    network = " ".join(given.get("network", usual.network).split())
    if len(network) > MAX_TEXT:
        raise UsageError(f"A network has at most {MAX_TEXT:,} characters here, got {len(network):,}.")
    return Wanted(
        network=network or usual.network,
        run=given.get("run", ""),
        input=given.get("input", "").strip(),
        classes=_number(given, "classes", usual.classes),
        batch=_number(given, "batch", usual.batch),
        optimizer=given.get("optimizer", usual.optimizer),
        precision=given.get("precision", usual.precision),
        is_unfolded=given.get("unfolded") == "1",
    )


def _number(given: Mapping[str, str], name: str, usual: int) -> int:
    text = given.get(name, "").strip()
    if not text:
        return usual
    found = whole_number(text, 7)
    if not found or found > MAX_NUMBER:
        raise UsageError(f"{name.capitalize()} is a whole number from 1 to {MAX_NUMBER:,}.")
    return found


def draw(wanted: Wanted, index: RunIndex) -> DesignTable:
    """The layer table. Raises SaccadeError with what to do, Refusal for a run that is not there."""
    input_CHW = parse_input(wanted.input) if wanted.input else None
    step = StepPlan(batch_size=wanted.batch, precision=wanted.precision, optimizer=wanted.optimizer)
    classes = wanted.classes or None
    if wanted.run:
        target = from_run(index.run(wanted.run).path, input_CHW, classes)
    else:
        target = from_words(wanted.network, input_CHW, classes)
    return layer_table(target.model, target.input_CHW, name=target.name, fold=not wanted.is_unfolded, step=step)
