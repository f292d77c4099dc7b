"""Arguments of two kinds, runs and images, told apart: one that stands in the place of the other is named, with the
command that was meant."""

import os
from collections.abc import Sequence
from pathlib import Path

from ..core.errors import UsageError, printable, shell_word

MOST_WORDS = 6  # images that a command in a message repeats


def is_run(text: str) -> bool:
    """Whether the folder `text` holds a run, a checkpoint or an ensemble, finished or not."""
    from ..runs import at_path

    return bool(text) and os.path.isdir(text) and at_path.is_run(Path(text))  # nor where the name is too long


def refuse_swapped(verb: str, runs: Sequence[str], others: Sequence[str], mark: str = "", options: str = "") -> None:
    """Raise UsageError where one of `others` is a run, and each of `runs` is one or may be what `others` should be.

    `others` are images, or what stands behind the option `mark`. The message has the command in the right order, with
    `options` at its end.
    """
    found = [text for text in others if is_run(text)]
    if not found:
        return
    strangers = [text for text in runs if not is_run(text)]
    if not mark and not all(map(_may_be_images, strangers)):
        return  # a run that is not there, as it will be told
    meant = [*strangers, *(text for text in others if text not in found)]
    right = [text for text in runs if text not in strangers] + found
    if not meant:
        told = "The images are missing: each argument is a run."
        meant_words = ["SOURCE"]
    else:
        is_a_run = f"{_brief(found[0])} is a run" + (f", {_brief(strangers[0])} is not" if strangers else "")
        told = f"Wrong order: {is_a_run}; runs come before {mark or 'the images'}."
        meant_words = [shell_word(text) for text in meant[:MOST_WORDS]] + ["..."] * (len(meant) > MOST_WORDS)
    command = " ".join(
        ["saccade", verb, *map(shell_word, right), *filter(None, [mark]), *meant_words, *filter(None, [options])]
    )
    raise UsageError(f"{told}\nWrite: {command}")


def meant_command(verb: str, words: Sequence[str], metavars: Sequence[str]) -> str:
    """The command that was probably meant by the arguments `words`, of which there are too many or too few; "" where
    nothing says which. `metavars` are the names of the verb's arguments."""
    if verb in ("train", "transfer") and len(words) == 2:
        return _of_two_sources(verb, words)
    if len(words) == 1 and len(metavars) > 1 and metavars[0].startswith("RUN"):
        rest = " ".join(metavars[1:])
        if is_run(words[0]):
            return f"saccade {verb} {shell_word(words[0])} {rest}"
        if _may_be_images(words[0]):
            rest = " ".join([shell_word(words[0]), *metavars[2:]])
            return f"saccade {verb} RUN {rest} (RUN: see saccade runs)"
    return ""


def too_many(verb: str, words: Sequence[str], metavars: Sequence[str]) -> str:
    """What to say of the arguments `words` of a verb that takes fewer: `metavars`."""
    extra = words[len(metavars) :]
    joined = " ".join(words)
    if len(metavars) == 1 and os.path.exists(joined):
        return f"A name with spaces stands in quotes.\nWrite: saccade {verb} {shell_word(joined)}"
    takes = " ".join(name.strip("[]") for name in metavars) or "no argument"
    shown = ", ".join(f"'{_brief(word)}'" for word in extra[:MOST_WORDS])
    more = f" and {len(extra) - MOST_WORDS:,} more" if len(extra) > MOST_WORDS else ""
    return f"'saccade {verb}' takes {takes}; beyond that it got {shown}{more}."


def no_command(arguments: Sequence[str]) -> str:
    """What to write where images, a set or a run stand in the place of a command; "" where nothing says it."""
    text = next((argument for argument in arguments if not argument.startswith("-")), "")
    if is_run(text):
        meant = f"saccade evaluate {shell_word(text)} SOURCE"
    elif os.path.isfile(text) and text.lower().endswith(_image_endings()):
        meant = f"saccade predict RUN {shell_word(text)}"
    elif text and _may_be_images(text):
        meant = f"saccade inspect {shell_word(text)}"
    else:
        return ""
    return f"'{_brief(text)}' is no command; a command comes first.\nWrite: {meant}"


def _image_endings() -> tuple[str, ...]:
    from ..data.images.formats.table import ENDINGS

    return ENDINGS


def _of_two_sources(verb: str, words: Sequence[str]) -> str:
    """What two words behind `train` or `transfer` mean, of which one alone can be the images."""
    from ..data.sources.shared.listing import splits_among
    from ..models.architecture import MODELS

    runs = [word for word in words if is_run(word)]
    networks = [word for word in words if word not in runs and word in MODELS and not os.path.exists(word)]
    others = [word for word in words if word not in runs and word not in networks]
    if len(others) == 1 and runs:
        return f"saccade transfer {shell_word(others[0])} --weights {shell_word(runs[0])}"
    if len(others) == 1 and networks:
        option = "--model" if verb == "train" else "--backbone"
        return f"saccade {verb} {shell_word(others[0])} {option} {networks[0]}"
    folders = [Path(word) for word in others]
    parents = {folder.parent for folder in folders}
    if len(folders) == 2 and len(parents) == 1 and len(splits_among(folder.name for folder in folders)) == 2:
        return f"saccade {verb} {shell_word(parents.pop())}"
    return ""


def refuse_run(source: str) -> None:
    """Raise UsageError where a run is given as SOURCE."""
    if is_run(source):
        where = shell_word(source)
        raise UsageError(
            f"{_brief(source)} is a run, not a set of images.\n"
            f"Give the images; or go on with it: saccade train --resume --out {where}\n"
            f"To judge it: saccade evaluate {where} SOURCE"
        )


def refuse_images(verb: str, text: str) -> None:
    """Raise UsageError where images are given to a verb that takes networks and runs only."""
    from ..core.plain_files import refuse_denied_run
    from ..data.source import is_builtin
    from ..runs.names import CONFIG

    refuse_denied_run(text)
    is_begun = os.path.isfile(os.path.join(text, CONFIG))
    if is_builtin(text) or (os.path.isdir(text) and not is_begun and not is_run(text)):
        raise UsageError(
            f"{_brief(text)} names images, and {verb} shows networks and runs.\n"
            f"To judge runs on images: saccade evaluate RUN... {shell_word(text)}"
        )


def _may_be_images(text: str) -> bool:
    from ..core.addresses import is_address, is_hub
    from ..data.source import is_builtin
    from ..data.source_text import split_source_text

    place, _ = split_source_text(text)
    return is_builtin(place) or is_address(place) or is_hub(place) or os.path.exists(place)


def _brief(text: str) -> str:
    return printable(text if len(text) <= 200 else f"{text[:200]}...")
