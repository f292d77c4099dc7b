"""The images that a command line names for a verb that asks many of them: how they are opened, and what is told."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from ..core.errors import SaccadeError
from .output import print_error, print_json, print_notes, print_opening, print_result

if TYPE_CHECKING:
    from ..classify.listing import Listing
    from ..core.errors import ImageError

ALLOW_URL = typer.Option(False, "--allow-url", help="Fetch images at https:// addresses, 16 MiB each.")


class AskedImages:
    """The `items` that `texts` name, and how a person wants to hear of them; `notes` say what is not used.

    With `reads_labels`, a folder of labelled images is a source.
    """

    def __init__(
        self,
        texts: Sequence[str],
        quiet: bool,
        as_json: bool,
        allow_url: bool,
        reads_labels: bool = False,
    ) -> None:
        from ..classify.asked_images import asked_images
        from ..data.left_out import PassedOver
        from ..data.opening_line import untold

        self.quiet, self.as_json = quiet, as_json
        self.opened = untold if quiet else print_opening
        self._passed_over = PassedOver()
        self._further: list[str] = []
        self._texts, self._allow_url = texts, allow_url
        self._tell_unused = self.add_note if reads_labels else None
        self.items = asked_images(texts, self._passed_over, allow_url, opened=self.opened, unused=self._tell_unused)

    def listing(self) -> "Listing":
        """The same images as a list that other processes make, too."""
        from ..classify.listing import asked_listing

        return asked_listing(self._texts, self._passed_over, self._allow_url, self.opened, self._tell_unused)

    def add_note(self, text: str) -> None:
        """Tell this, too."""
        self._further.append(text)

    def notes(self) -> list[str]:
        """What is not used of the images, and else to be told; known behind the last of them."""
        return [*self._further, *filter(None, [self._passed_over.sentence()])]

    def print_answer(self, run: Path, lines: Sequence[str], values: dict[str, Any]) -> None:
        """Print what was found: `lines` for a person, with notes behind them, or `values` as the JSON object."""
        if self.as_json:
            print_json({"run": str(run), **values, "notes": [*values.get("notes", ()), *self.notes()]})
            return
        print_result("\n".join(lines))
        if not self.quiet:
            print_notes(self.notes())


def print_bad(error: "ImageError") -> None:
    """Name an image that cannot be used, when it is met."""
    print_error(error.message)


def refuse_bad(num_bad: int, num_good: int, what: str) -> None:
    """Raise SaccadeError where files could not be read, with `what` became of the others or of them."""
    if num_bad and num_good:
        raise SaccadeError(f"{num_bad:,} of {num_bad + num_good:,} could not be read; {what}.")
    refuse_nothing(num_bad, num_good)


def refuse_nothing(num_bad: int, num_good: int) -> None:
    """Raise SaccadeError where files could not be read, and there was no other."""
    if num_bad and not num_good:
        raise SaccadeError("No image could be used.")
