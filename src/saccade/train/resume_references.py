"""What a run names outside of itself, and what of it `--resume` follows (docs/security.md).

A run may come from somebody else. So a resumed training opens of its own accord only what lies on this machine: a plain
path, or a built-in set. An address, a set or weights of the hub, and a pattern are opened where the person names them
again.
"""

import os
from pathlib import Path

from ..core.addresses import is_hub, is_plain_path, shown
from ..core.errors import CheckpointError, UsageError, brief, printable, shell_word, typed_word
from ..core.in_memory import is_given
from ..data.source import is_builtin, is_there
from ..data.source_text import split_source_text
from .config import RunConfig


def is_followed(source: str) -> bool:
    """Whether `--resume` opens the source of a run unasked. Images from Python are nowhere: they are given again."""
    place, _ = split_source_text(source)  # columns behind it name nothing outside
    return (
        is_given(source)
        or is_builtin(source)
        or (is_plain_path(place) and (":" not in place or os.path.lexists(place)))
    )


def refuse_unnamed_source(begun: RunConfig, given: str, run: Path) -> None:
    """Raise UsageError where the run's source is not followed, and was not `given` again."""
    if given == begun.source or is_followed(begun.source):
        return
    raise UsageError(
        f"The run {printable(str(run))} reads its images from '{shown(begun.source)}'.\n"
        f"A run from somebody else may name any place, so --resume opens only paths on this machine unasked.\n"
        f"If you want that one, name it again: {resume_command(begun, run)}"
    )


def refuse_moved_source(begun: RunConfig, run: Path) -> None:
    """Raise CheckpointError where the run's images do not lie where it says, as after a move of either."""
    if not is_followed(begun.source) or is_there(begun.source):
        return
    place, _ = split_source_text(begun.source)
    seen_from = "" if os.path.isabs(place) else f" (looked in {printable(os.getcwd())})"
    link = f"ln -s IMAGES {shell_word(place[:200])}"
    raise CheckpointError(
        f"The images of the run {printable(str(run))} are not where it began with them: '{brief(place)}'{seen_from}.\n"
        f"Go on in the folder where it was begun, or let that name lead to them: {link}\n"
        f"They have to be the same images; for others, start a new run with another --out."
    )


def refuse_unnamed_weights(begun: RunConfig, given: str, run: Path) -> None:
    """Raise UsageError where the run would download its weights, and nobody named any again."""
    weights = begun.transfer.weights
    if given or not is_hub(weights):
        return
    raise UsageError(
        f"The run {printable(str(run))} has not read its weights yet: '{shown(weights)}'.\n"
        f"A run from somebody else may name any, so --resume downloads nothing unasked.\n"
        f"If you want those, name them again: {resume_command(begun, run)}"
    )


def resume_command(config: RunConfig, run: Path) -> str:
    """What a person types to go on with a run: what is not followed unasked is named in it."""
    words = ["saccade", config.verb]
    if not is_followed(config.source):
        words.append(typed_word(config.source, "SOURCE"))
    words += ["--resume", "--out", shell_word(run)]
    if is_hub(config.transfer.weights):
        words += ["--weights", typed_word(config.transfer.weights, "WEIGHTS")]
    return " ".join(words)
