"""Answers as a CSV file that grows as they come, and goes on where it was stopped.

A line is an image, in the order asked, so that the lines that are there say how many images are done. Beside the file
stands NAME.run.json: which networks answer, and how; other ones never write into the same file. A last line that was
cut is taken away, and its image answered again.
"""

import csv
import fcntl
import hashlib
import io
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from ..core import atomic
from ..core.documents import DocumentError, parse_object, read_plain_file
from ..core.errors import DataError, ImageError, UsageError, printable, shell_word
from ..core.task import ONE_LABEL, Task, classes_of
from ..core.types import Prediction
from ..data.sources.in_memory import HeldImage
from ..evaluate.label_mistakes import joined
from ..evaluate.mistakes import safe_cell
from ..runs.checkpoint import find_checkpoint
from ..runs.names import WEIGHTS
from .classifier import Classifier
from .evaluation import Evaluation

FORMAT = 2
LINE_END = b"\r\n"
MAX_LINE_BYTES = 1 << 20
MAX_RECORD_BYTES = 64 << 10
FLUSH_EVERY = 32  # lines; what a batch of images gives


@dataclass(kw_only=True)
class AnswersWritten:
    """What became of a file of answers: lines that stood there, the errors among them, answers and errors that were
    added."""

    path: Path
    num_before: int = 0
    num_bad_before: int = 0
    num_answered: int = 0
    num_bad: int = 0


def headings(top: int, several: bool = False, number: bool = False) -> list[str]:
    """The first line: the image, its class and probability, the next ones, why the file cannot be read; whether the
    image is unlike anything seen in training, why there is no answer, and what it would be.

    Where an image may have `several` labels, those that are said stand behind the image, in one cell. Of a `number`:
    it, and the ends of the interval that nine of ten truths lie in, empty where that is not known."""
    if number:
        return ["image", "number", "low", "high", "error", *WITHHELD_NUMBER]
    next_ones = (f"{what}_{n}" for n in range(2, top + 1) for what in NEXT)
    first = ["image", "labels"] if several else ["image"]
    return [*first, "class", "probability", *next_ones, "error", *WITHHELD]


NEXT = ("class", "probability")
WITHHELD = ("unlike_training", "no_answer", "withheld_class", "withheld_probability")
WITHHELD_NUMBER = ("unlike_training", "no_answer", "withheld_number")


def digest_of(runs: Sequence[Path], classifier: Classifier) -> str:
    """Changes when the weights, the classes, the preprocessing or the temperature of a run do, or their order."""
    digest = hashlib.sha256()
    for run, member in zip(runs, classifier.members, strict=True):
        weights = find_checkpoint(run).manifest.files.get(WEIGHTS)
        values = [weights.sha256 if weights else "", member.classes, member.preprocessing.digest(), member.temperature]
        values += [] if member.task.is_one else [member.task.as_values()]
        digest.update(json.dumps(values).encode())
    return digest.hexdigest()


class AnswersFile:
    """A CSV file of answers, opened for going on. Close it, or use it in `with`.

    Raises UsageError where the file is there and is not of these runs, StorageError where it cannot be written.
    """

    def __init__(
        self, path: Path, runs_digest: str, top: int, min_confidence: float = 0.0, task: Task = ONE_LABEL
    ) -> None:
        self.written = AnswersWritten(path=path)
        self._path = path
        self._headings = headings(top, task.is_several, task.is_number)
        self._num_behind = len(WITHHELD_NUMBER if task.is_number else WITHHELD)
        self._top = top
        self._record = path.with_name(f"{path.name}.run.json")
        wanted = {"format": FORMAT, "runs": runs_digest, "top": top, "min_confidence": min_confidence}
        if path.is_dir():
            raise UsageError(
                f"{printable(str(path))} is a folder, and answers are written to a file.\n"
                f"Name one in it: {shell_word(path / 'answers.csv')}"
            )
        with atomic.storage_errors(path):
            if path.exists() or path.is_symlink():
                self._check_record(wanted)
            else:
                atomic.make_folder(path.parent)
                atomic.write_text(self._record, json.dumps(wanted) + "\n")
            self._file = open(os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666), "r+b")
        try:
            self._lock()
            self._repair()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> "AnswersFile":
        return self

    def __exit__(self, *_: object) -> None:
        with atomic.storage_errors(self._path), self._file:
            self._file.flush()
            os.fsync(self._file.fileno())

    def remaining(self, items: Iterable[HeldImage]) -> Iterator[HeldImage]:
        """`items` without those that the file has. Raises UsageError where it has another image in their place."""
        self._file.seek(0)
        self._file.readline()
        waiting = iter(items)
        for number, row in _rows(self._file, len(self._headings), self._path):
            item = next(waiting, None)
            if item is None or safe_cell(item.key) != row[0]:
                asked = f"'{printable(item.key[:200])}' is asked for there" if item else "no more images are asked for"
                where = f"{printable(str(self._path))}, line {number:,}"
                raise UsageError(
                    f"{where} answers '{printable(row[0][:200])}', and now {asked}.\n"
                    f"A file goes on with the images it began with, in their order: name another file for others."
                )
            self.written.num_before += 1
            self.written.num_bad_before += row[-self._num_behind - 1] != ""
        self._file.seek(0, os.SEEK_END)
        yield from waiting

    def add(self, answer: Prediction | ImageError) -> None:
        """Write one line."""
        if isinstance(answer, ImageError):
            num_empty = len(self._headings) - self._num_behind - 2
            cells = [safe_cell(answer.key), *[""] * num_empty, safe_cell(answer.reason), *[""] * self._num_behind]
            self.written.num_bad += 1
        else:
            cells = answer_cells(answer, self._top)
            self.written.num_answered += 1
        with atomic.storage_errors(self._path):
            self._file.write(_line(cells))
            if (self.written.num_answered + self.written.num_bad) % FLUSH_EVERY == 0:
                self._file.flush()

    def _check_record(self, wanted: dict[str, object]) -> None:
        where = printable(str(self._path))
        try:
            found = parse_object(read_plain_file(self._record, MAX_RECORD_BYTES))
        except (FileNotFoundError, NotADirectoryError, DocumentError):
            raise UsageError(
                f"{where} is there already, and {printable(self._record.name)} does not say whose answers it holds.\n"
                f"Name another file, or remove this one."
            ) from None
        if found != wanted:
            what = "another run, or of one that was changed"
            if found.get("format") != FORMAT:
                what = "an earlier version, which has other columns"
            elif found.get("runs") == wanted["runs"]:
                what = "another --top" if found.get("top") != wanted["top"] else "another --min-confidence"
            raise UsageError(
                f"{where} holds answers of {what}.\nName another file, or remove it: rm {shell_word(self._path)}."
            )

    def _lock(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise UsageError(
                f"{printable(str(self._path))} is being written by another process.\nWait for it, or name another file."
            ) from None

    def _repair(self) -> None:
        """Take away a last line that was cut, and write the first line where there is none."""
        first = _line(self._headings)
        self._file.seek(0)
        begun = self._file.read(len(first))
        with atomic.storage_errors(self._path):
            if begun != first:
                if not first.startswith(begun):
                    raise UsageError(
                        f"{printable(str(self._path))} does not begin with the columns of answers.\n"
                        f"Name another file, or remove this one."
                    )
                self._file.truncate(0)
                self._file.seek(0)
                self._file.write(first)
                self._file.flush()
            self._file.truncate(_end_of_lines(self._file))


def answer_cells(answer: Prediction, top: int) -> list[str]:
    """The cells of a line, below `headings`."""
    unlike = {None: "", True: "yes", False: "no"}[answer.unlike_training]
    if answer.value is not None:
        number, ends = f"{answer.value:.7g}", ["", ""]
        if answer.interval is not None:
            ends = [f"{end:.7g}" for end in answer.interval]
        cells = ["", "", ""] if answer.no_answer else [number, *ends]
        return [safe_cell(answer.key), *cells, "", unlike, answer.no_answer, number if answer.no_answer else ""]
    ranked = [(safe_cell(name), f"{probability:.6f}") for name, probability in answer.top(top)]
    first, others = ranked[0], [cell for pair in ranked[1:] for cell in pair]
    others += [""] * (2 * (top - len(ranked)))
    said, withheld = (("", ""), first) if answer.no_answer else (first, ("", ""))
    labels = (
        [] if answer.labels is None else ["" if answer.no_answer else safe_cell(joined(answer.labels, answer.classes))]
    )
    return [safe_cell(answer.key), *labels, *said, *others, "", unlike, answer.no_answer, *withheld]


def write_answers(file: AnswersFile, answers: Iterable[Prediction | ImageError]) -> Iterator[Prediction | ImageError]:
    """Pass `answers` on, each once its line is written."""
    for answer in answers:
        file.add(answer)
        yield answer


def write_judged(path: Path, evaluation: Evaluation, top: int) -> None:
    """The answer to every judged image, in the columns of `headings` with `label` behind them. Raises StorageError."""
    task, classes = evaluation.task, evaluation.metrics.classes
    several = task.is_several
    lines = [_line([*headings(top, several, task.is_number), "label"])]
    for row, answer in enumerate(evaluation.predictions()):
        if task.is_number:
            lines.append(_line([*answer_cells(answer, top), repr(float(evaluation.label_N[row]))]))
            continue
        names = [classes[label] for label in classes_of(evaluation.label_N, row)]
        if answer.labels is not None:  # in the order of the labels beside them, so that equal cells are right answers
            answer = replace(answer, labels=tuple(sorted(answer.labels, key=classes.index)))
        lines.append(_line([*answer_cells(answer, top), safe_cell(joined(names, classes) if several else names[0])]))
    atomic.write_bytes(path, b"".join(lines))


def _line(cells: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator=LINE_END.decode()).writerow(cells)
    return text.getvalue().encode("utf-8", "backslashreplace")


def _end_of_lines(file: IO[bytes]) -> int:
    """Where the last whole line ends."""
    size = file.seek(0, os.SEEK_END)
    start = max(size - MAX_LINE_BYTES, 0)
    file.seek(start)
    return start + file.read().rfind(LINE_END) + len(LINE_END)


def _rows(file: IO[bytes], num_cells: int, path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line number, cells) of each line behind the first; no cell has a line break in it."""
    number = 1
    while line := file.readline(MAX_LINE_BYTES):
        number += 1
        try:
            row = next(csv.reader([line.decode("utf-8")], strict=True), [])
        except (csv.Error, UnicodeDecodeError):
            row = []
        if len(row) != num_cells or not line.endswith(LINE_END):
            raise DataError(
                f"{printable(str(path))}, line {number:,} is damaged: it is not an answer.\n"
                f"Remove it and all lines below it, and go on; or name another file."
            )
        yield number, row
