"""The images of classes that are added to a run."""

from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UsageError, printable, shell_word
from ..data.joined import open_classes
from ..data.source import DataSource
from ..data.sources.shared.listing import refuse_twins


def open_more(text: str, known: Sequence[str], run: Path) -> DataSource:
    """The images of new classes: a folder of one class or of several, or any source. Raises DataError, and UsageError
    where the run knows one of the classes."""
    more = open_classes(text)
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
