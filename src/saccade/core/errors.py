"""Every error Saccade raises on purpose, as one tree.

    SaccadeError                 exit 1
    ├── UsageError               exit 2  the command or its arguments
    │   ├── ConfigError          exit 2  a configuration value
    │   └── UnknownNameError     exit 2  a name that is not registered
    ├── DataError                exit 1  a data set
    │   ├── ImageError           exit 1  one image
    │   ├── NoLabelColumn        exit 1  a table that does not say what its images are
    │   └── NothingUnseen        exit 1  no image that a run has not learned from
    ├── ModelError               exit 1  a network: sizes, channels, layers
    │   ├── NotationError        exit 2  a network written as one line
    │   └── WeightsError         exit 1  a weight file
    ├── CheckpointError          exit 1  a checkpoint or a run directory
    │   ├── DeniedRun            exit 1  a file of a run that this user may not read
    │   └── RunInUseError        exit 1  another process holds the run directory
    ├── ExportError              exit 1  a file for other programs that cannot be made, or answers otherwise
    ├── EndpointError            exit 1  the server of a deployed model: no answer, or none of the protocol
    ├── PortInUse                exit 1  somebody else listens at the port of a server
    ├── StorageError             exit 1  the disk: full, read-only, not permitted
    ├── TrainingError            exit 1  the optimisation itself, such as a loss that is not finite
    ├── GroupError               exit 1  another process of the run has an error
    │   └── NoAnswerError        exit 1  another process of the run does not answer
    ├── ContractError            exit 1  a plug-in does not do what its kind promises
    └── Stopped                  exit 130 the user asked to stop; everything is saved

A message has one to four lines: what is wrong and where, what was received, the likely cause, the next step.
An `assert` states what cannot happen; it never guards what a person can type or a disk can do.
"""

import difflib
import shlex
from collections.abc import Iterable
from typing import Any

MAX_TYPED = 200  # characters of a name that a command in a message repeats
TOO_LONG_NAME = "The name '{name}...' is longer than a name on this disk can be.\nGive the path of a file or a folder."


class SaccadeError(Exception):
    """Base of the tree. `exit_code` is the status of the command; `is_agreed`: every process of the run knows of it."""

    exit_code = 1
    is_agreed = False

    @property
    def message(self) -> str:
        """What, where, the likely cause and the next step, in one to four lines."""
        return str(self.args[0]) if self.args else type(self).__name__

    def __reduce__(self) -> tuple[Any, ...]:
        """For pickle, as it is: a pool of processes waits for ever for an error that cannot be made again."""
        return _made_again, (type(self), self.args), dict(self.__dict__)


def _made_again(kind: type[SaccadeError], args: tuple[object, ...]) -> SaccadeError:
    """An error as it was, without its constructor, which may take other arguments than it keeps."""
    error = kind.__new__(kind)
    error.args = args
    return error


class UsageError(SaccadeError):
    exit_code = 2


class ConfigError(UsageError):
    pass


class UnknownNameError(UsageError):
    pass


class DataError(SaccadeError):
    pass


class ImageError(DataError):
    """One image cannot be used. `reason` is the part of the message without the file's name."""

    def __init__(self, key: str, reason: str) -> None:
        super().__init__(f"{printable(key)}: {reason}")
        self.key = key
        self.reason = reason


class NoLabelColumn(DataError):
    """A table lists images, but does not say clearly what they are."""


class NothingUnseen(DataError):
    """A run learned from every image of a source: nothing in it can judge the run."""


class ModelError(SaccadeError):
    pass


class NotationError(ModelError):
    exit_code = 2


class WeightsError(ModelError):
    pass


class CheckpointError(SaccadeError):
    pass


class DeniedRun(CheckpointError):
    pass


class RunInUseError(CheckpointError):
    pass


class ExportError(SaccadeError):
    pass


class PortInUse(SaccadeError):
    """Somebody else listens at the port that a server was to have."""


class StorageError(SaccadeError):
    pass


class EndpointError(SaccadeError):
    """A server that a deployed model runs on cannot be asked, or answers what nothing can be made of."""


class TrainingError(SaccadeError):
    pass


class GroupError(SaccadeError):
    """Another of the processes that compute a run together has failed."""


class NoAnswerError(GroupError):
    """Another of the processes that compute a run together does not answer: it was killed, or cannot be reached."""


class ContractError(SaccadeError):
    """A plug-in breaks a promise of its kind; `saccade.testing` raises it, with what to write and where."""


class Stopped(SaccadeError):
    """Somebody stopped a training (Ctrl-C, SIGTERM, `request_stop`); all of it is saved, and the message resumes it."""

    exit_code = 130


def printable(text: str) -> str:
    """`text` with control, bidirectional and undecodable characters written as escapes, for messages and logs."""
    if text.isprintable():  # nearly always, and a report asks it of thousands of texts
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def storable(name: str) -> str:
    """`name` as UTF-8 text that a file can hold: bytes of no encoding, as a file's name may have, as escapes."""
    return name.encode("utf-8", "backslashreplace").decode("utf-8")


def counted(number: int, noun: str) -> str:
    """`1 epoch`, `2 epochs`."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def brief(value: object, num_characters: int = 200) -> str:
    """The beginning of what was received, as `printable` has it."""
    return printable(str(value)[:num_characters])


def printable_lines(text: str) -> str:
    """`printable` for text of several lines: the last guard where something is written for a person. A received line
    break has to be escaped where the text is put together; here it cannot be told from our own."""
    return "\n".join(printable(line) for line in text.split("\n"))


def shell_word(path: object) -> str:
    """A path as one word of a command that a person can copy: in quotes where it needs them."""
    return shlex.quote(printable(str(path)))


def typed_word(text: str, otherwise: str) -> str:
    """A name of somebody else's as one word of a command, or `otherwise`, in capitals, where it is too long to type."""
    return shell_word(text) if len(text) <= MAX_TYPED else otherwise


MOST_LONGER = 3  # names that one hint gives


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """` Did you mean 'x'?` for the nearest of `known`, or an empty string where none is near. Where a few go on behind
    `name` with a hyphen, all of them are named: `sobel` may be 'sobel-x' or 'sobel-y'."""
    known = list(known)
    longer = sorted(other for other in known if name and other.startswith(f"{name.lower()}-"))
    if 2 <= len(longer) <= MOST_LONGER:
        return f" Did you mean {' or '.join(map(repr, longer))}?"
    spelled = {_alike(other): other for other in sorted(known, reverse=True)}
    nearest = difflib.get_close_matches(_alike(name), sorted(spelled), n=1, cutoff=0.5)
    return f" Did you mean '{spelled[nearest[0]]}'?" if nearest else ""


def _alike(name: str) -> str:
    """`name` with letters that look like digits, o and l, as those: `resnet5o` is meant for resnet50."""
    return name.lower().translate(str.maketrans("ol", "01"))
