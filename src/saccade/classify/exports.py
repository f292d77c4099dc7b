"""Answers in the files of labelling tools: as pre-annotations for Label Studio, as a labelled set for FiftyOne.

Label Studio (labelstud.io/guide/predictions): a list of tasks, each with its image, the answer as a choice and its
probability as the score, by which tasks can be sorted. Of several labels all that are said are choices, and the score
is the probability of the least sure yes or no. A number is a number, without a score. Beside it stands the labelling
configuration that the answers are for. FiftyOne: FiftyOneImageClassificationDataset, `data/` with copies of the images,
and `labels.json`. Both are written as answers come; images that cannot be used are not in them, and one without an
answer has no pre-annotation, or no label.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from pathlib import Path, PurePath
from urllib.parse import quote

import numpy as np

from ..core import atomic
from ..core.errors import ImageError, UsageError, printable, shell_word
from ..core.task import ONE_LABEL, Task
from ..core.types import Prediction
from ..data.images.encode import file_content
from ..data.images.formats.table import ENDINGS as IMAGE_ENDINGS
from ..data.sources.in_memory import HeldImage

QUESTION, NUMBER, IMAGE = "class", "number", "image"
STEP = "0.001"  # of the field for a number; Label Studio's own is 1
LOCAL_FILES = "/data/local-files/?d="
DATA, LABELS = "data", "labels.json"


@dataclass(kw_only=True)
class Exported:
    """What became of an export: images that are in it, those of them without an answer, by why there is none, and
    images that could not be used."""

    path: Path
    num_answered: int = 0
    num_bad: int = 0
    withheld: dict[str, int] = field(default_factory=lambda: {"unlike_training": 0, "low_confidence": 0})

    def count(self, answer: Prediction) -> None:
        """Add an answer that was written."""
        self.num_answered += 1
        if answer.no_answer:
            self.withheld[answer.no_answer] += 1


def configuration_path(path: Path) -> Path:
    """Where the labelling configuration stands for the tasks in `path`."""
    return path.with_name(f"{path.name}.xml")


def labelling_configuration(classes: Sequence[str], task: Task = ONE_LABEL) -> str:
    """The configuration of a Label Studio project that asks for one of `classes`, for any number of them, or for a
    number, as `task` says."""
    if task.is_number:
        asked = f'<Number name="{NUMBER}" toName="{IMAGE}" step="{STEP}"/>'
        return f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n  {asked}\n</View>\n'
    choice = "multiple" if task.is_several else "single"
    choices = "\n".join(f'    <Choice value="{escape(name)}"/>' for name in classes)
    return (
        f'<View>\n  <Image name="{IMAGE}" value="${IMAGE}"/>\n'
        f'  <Choices name="{QUESTION}" toName="{IMAGE}" choice="{choice}">\n{choices}\n  </Choices>\n</View>\n'
    )


def export_label_studio(
    path: Path,
    model_version: str,
    classes: Sequence[str],
    answers: Iterable[Prediction | ImageError],
    bad: Callable[[ImageError], None],
    kind: Task = ONE_LABEL,
) -> Exported:
    """Write `answers` as tasks with predictions to `path`; `kind` says what is answered.

    Images are named relative to its folder, which Label Studio has to serve (LOCAL_FILES_DOCUMENT_ROOT). Raises
    UsageError for an image that lies elsewhere, StorageError."""
    written = Exported(path=path)
    root = Path(os.path.abspath(path.parent))
    atomic.make_folder(path.parent)

    def fill(temporary: Path) -> None:
        with open(temporary, "w", encoding="utf-8") as file:
            file.write("[")
            for answer in answers:
                if isinstance(answer, ImageError):
                    written.num_bad += 1
                    bad(answer)
                    continue
                file.write(",\n" if written.num_answered else "\n")
                file.write(json.dumps(_task(answer, model_version, root, path)))
                written.count(answer)
            file.write("\n]\n")

    atomic.write_with(path, fill)
    atomic.write_text(configuration_path(path), labelling_configuration(classes, kind))
    return written


def _task(answer: Prediction, model_version: str, root: Path, path: Path) -> dict[str, object]:
    data = {IMAGE: _image_address(answer.key, root, path)}
    if answer.answer is None:
        return {"data": data}
    if answer.value is not None:
        said = {"from_name": NUMBER, "to_name": IMAGE, "type": "number", "value": {"number": answer.value}}
        return {"data": data, "predictions": [{"model_version": model_version, "result": [said]}]}
    names, score = [answer.top(1)[0][0]], answer.top(1)[0][1]
    if answer.labels is not None:
        names, score = list(answer.labels), _least_sure(answer)
    choice = {
        "from_name": QUESTION,
        "to_name": IMAGE,
        "type": "choices",
        "value": {"choices": names},
        "score": score,
    }
    result = [choice] if names else []  # no choice is how an annotation says that none applies
    return {"data": data, "predictions": [{"model_version": model_version, "score": score, "result": result}]}


def _least_sure(answer: Prediction) -> float:
    """The probability of the least sure yes or no of several labels."""
    sides = (
        probability if name in (answer.labels or ()) else 1 - probability
        for name, probability in zip(answer.classes, answer.probabilities, strict=True)
    )
    return min(sides)


def _image_address(key: str, root: Path, path: Path) -> str:
    if key.startswith("https://"):
        return key
    inside = os.path.relpath(os.path.abspath(key), root)
    if inside.split(os.sep)[0] == os.pardir or not os.path.exists(key):
        why = "is not a file" if not os.path.exists(key) else f"does not lie below {printable(str(root))}"
        raise UsageError(
            f"{printable(key)} {why}, so Label Studio could not show it.\n"
            f"Give image files, and put {printable(path.name)} above them, as in --label-studio "
            f"{shell_word(PurePath(os.path.commonpath([os.path.abspath(key), root])) / path.name)}"
        )
    return f"{LOCAL_FILES}{quote(PurePath(inside).as_posix().encode('utf-8', 'surrogateescape'))}"


def export_fiftyone(
    folder: Path,
    classes: Sequence[str],
    items: Iterable[HeldImage],
    predict: Callable[[Iterable[HeldImage]], Iterable[Prediction | ImageError]],
    bad: Callable[[ImageError], None],
) -> Exported:
    """Write copies of the images and their answers to the new folder `folder`, labels last. Raises UsageError where it
    is there already, StorageError."""
    if os.path.lexists(folder):
        raise UsageError(f"{printable(str(folder))} is there already.\nName a folder that is not, or remove it.")
    written, labels = Exported(path=folder), {}
    copies = _Copies(folder / DATA)
    with _whole_folder(folder):
        atomic.make_folder(folder / DATA)
        for answer in predict(copies.copied(items)):
            name = copies.next_name()
            if isinstance(answer, ImageError):
                written.num_bad += 1
                bad(answer)
                (folder / DATA / name).unlink(missing_ok=True)
                continue
            labels[os.path.splitext(name)[0]] = _target(answer, classes)
            written.count(answer)
        atomic.write_text(folder / LABELS, json.dumps({"classes": list(classes), "labels": labels}, indent=0) + "\n")
    return written


def _target(answer: Prediction, classes: Sequence[str]) -> dict[str, object] | list[dict[str, object]] | None:
    """A Classification, or of several labels the list of Classifications; None where there is no answer."""
    if answer.answer is None:
        return None
    if answer.labels is not None:
        probability_of = dict(zip(answer.classes, answer.probabilities, strict=True))
        return [{"label": classes.index(name), "confidence": probability_of[name]} for name in answer.labels]
    return {"label": classes.index(answer.answer), "confidence": answer.top(1)[0][1]}


@contextmanager
def _whole_folder(folder: Path) -> Iterator[None]:
    """Take the folder away again where not all of it could be written."""
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


class _Copies:
    """Copies of images as they pass, numbered so that no two share a name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._names: list[str] = []
        self._num_taken = 0

    def copied(self, items: Iterable[HeldImage]) -> Iterator[HeldImage]:
        """`items`, each of which is copied when it is read."""
        for number, item in enumerate(items, start=1):
            name = f"{number:06d}-{_plain(item.key)}"
            self._names.append(name)
            yield HeldImage(item.key, lambda item=item, name=name: self._copy(item, name), item.label)  # type: ignore[misc]

    def next_name(self) -> str:
        """The name of the copy of the next image that is answered."""
        self._num_taken += 1
        return self._names[self._num_taken - 1]

    def _copy(self, item: HeldImage, name: str) -> bytes | np.ndarray:
        content = item.read()
        with atomic.storage_errors(self._folder / name), open(self._folder / name, "wb") as file:
            file.write(file_content(content))
        return content


def _plain(key: str) -> str:
    """The end of an image's name as that of a file, with an ending that says it is an image."""
    stem, ending = os.path.splitext(PurePath(key).name)
    kept = "".join(letter if letter.isalnum() and letter.isascii() or letter in "-_" else "_" for letter in stem)
    return f"{kept[-60:] or 'image'}{ending.lower() if ending.lower() in IMAGE_ENDINGS else '.png'}"
