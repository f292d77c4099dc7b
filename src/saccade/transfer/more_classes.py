"""The images of classes that are added to a run."""

from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UsageError, printable, shell_word
from ..data.joined import open_classes
from ..data.source import DataSource
from ..data.sources.shared.listing import refuse_twins


def open_more(text: str, known: Sequence[str], run: Path, several: bool = False) -> DataSource:
    """The images of new classes: a folder of one class or of several, or any source. Raises DataError, and UsageError
    where the run knows one of the classes.

    Where an image may have `several` labels, a source with all labels of its images, among them at least one new one.
    """
    more = open_classes(text, several)
    if several:
        _refuse_half_labelled(more, known, run)
        new = [name for name in more.classes if name not in known]
        refuse_twins(printable(more.name), [*known, *new], "Name the new class so that it can be told apart.")
        return more
    more.task.refuse_unknown("saccade add-class")
    twice = [name for name in more.classes if name in known]
    if twice:
        raise UsageError(
            f"{printable(str(run))} knows the class '{printable(twice[0])}' already.\n"
            f"A class is added by its new name. To learn from more images of it, put them beside the others: "
            f"saccade transfer SOURCE --weights {shell_word(run)}"
        )
    refuse_twins(printable(more.name), [*known, *more.classes], "Name the new class so that it can be told apart.")
    return more


def _refuse_half_labelled(more: DataSource, known: Sequence[str], run: Path) -> None:
    """Raise UsageError where nothing says which of the known classes an image has, or no class is new."""
    name = printable(more.name)
    if not more.task.is_several:
        raise UsageError(
            f"{printable(str(run))} knows several labels an image, and {name} has one: nothing says which of the "
            f"others its images have, too.\n"
            f"List them in a table with all of their labels, of the classes that are there and of the new one: "
            f"saccade add-class {shell_word(run)} labels.csv"
        )
    if not set(more.classes) - set(known):
        raise UsageError(
            f"{printable(str(run))} knows all classes of {name} already.\n"
            f"To learn from more images of them, put them beside the others: "
            f"saccade transfer SOURCE --weights {shell_word(run)}"
        )
