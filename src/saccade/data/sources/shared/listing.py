"""What listings of labelled images share: packed names, split names, class names and their checks."""

import hashlib
import os
import re
import unicodedata
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

import numpy as np

from ....core.errors import DataError, did_you_mean, printable
from ....core.types import SPLITS
from ...limits import MAX_CLASS_NAME_CHARACTERS, MAX_CLASSES, MAX_NUMBER_DIGITS

SPLIT_NAMES = {
    **dict.fromkeys(("train", "training", "trainset", "trainingset", "trainval", "trn"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "valset", "validset", "validationset"), "validation"),
    **dict.fromkeys(("test", "testing", "testset", "testingset", "tst", "holdout"), "test"),
    # to some the part that chooses the epoch, to others the one that is judged: as a test part it does neither harm
    **dict.fromkeys(("eval", "evaluation"), "test"),
    "development": "validation",
    # German, French, Spanish, Portuguese, Italian, Russian, Chinese, Japanese, Korean
    **dict.fromkeys(("trainingsdaten", "trainingsset", "entraînement", "entrainement", "apprentissage"), "train"),
    **dict.fromkeys(("entrenamiento", "treino", "treinamento", "addestramento", "обучение"), "train"),
    **dict.fromkeys(("训练", "训练集", "訓練", "訓練集", "学習", "훈련", "학습"), "train"),
    **dict.fromkeys(("validierung", "validierungsdaten", "validationsdaten", "validación", "validacion"), "validation"),
    **dict.fromkeys(
        ("validação", "validacao", "convalida", "валидация", "验证", "验证集", "驗證", "検証", "검증"), "validation"
    ),
    **dict.fromkeys(("testdaten", "testsatz", "prueba", "pruebas", "teste", "testes", "тест"), "test"),
    **dict.fromkeys(("测试", "测试集", "測試", "測試集", "テスト", "테스트", "시험"), "test"),
}
# words that a class may have too: of parts only where all folders are called after parts
WEAK_SPLIT_NAMES = {"eval", "evaluation", "development"}
# words that say nothing of what is in a folder beside which split it is, or that it holds images
GENERIC_WORDS = {
    *("set", "sets", "data", "dataset", "datasets", "split", "splits", "part", "file", "files", "folder", "all"),
    *("image", "images", "img", "imgs", "photo", "photos", "picture", "pictures", "pic", "pics", "jpg", "png", "jpeg"),
    *("labelled", "labeled", "unlabelled", "unlabeled", "example", "examples", "sample", "samples", "input", "inputs"),
    *("mask", "masks", "label", "labels", "annotation", "annotations", "doc", "docs", "output", "outputs", "original"),
}
# how folders are called that hold what is said of images in a folder beside them
LABEL_FOLDERS = {"annotation", "annotations", "label", "labels", "meta", "metadata", "csv", "csvs"}
# how folders are called whose images nobody has labelled
UNLABELLED_WORDS = {"pred", "predict", "prediction", "predictions", "unsup", "unsupervised", "extra", "inference"}
UNSPLIT = -1
MAX_PART_FOLDERS = 20  # among which the parts of a set are looked for
SEPARATORS = (";", "|")  # seldom in the name of a class; a comma often is
LIST_SIGNS = (*SEPARATORS, ",")  # between the labels of an image that has several


class PackedNames:
    """N byte strings in one buffer with their ends: their length and 9 bytes each, where a list takes 90 more."""

    def __init__(self, names: Iterable[bytes] = ()) -> None:
        self._packed = bytearray()
        self._ends = array("q")
        for name in names:
            self.append(name)

    def append(self, name: bytes) -> None:
        self._packed += name
        self._ends.append(len(self._packed))

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> bytes:
        start = self._ends[index - 1] if index else 0
        return bytes(self._packed[start : self._ends[index]])

    @property
    def nbytes(self) -> int:
        return len(self._packed) + self._ends.itemsize * len(self._ends)

    def digest(self, *more: bytes | np.ndarray) -> str:
        """SHA-256 over the names, where each ends, and whatever else makes up a listing."""
        digest = hashlib.sha256(self._packed)
        digest.update(self._ends)
        for part in more:
            digest.update(part if isinstance(part, bytes) else np.ascontiguousarray(part).data)
        return digest.hexdigest()


def split_number(name: str | None) -> int:
    """The place of a split in SPLITS, or UNSPLIT: one byte a file instead of a word."""
    return UNSPLIT if name is None else SPLITS.index(name)


def split_name(number: int) -> str | None:
    """The split that `split_number` numbered."""
    return None if number == UNSPLIT else SPLITS[number]


def parse_split(text: str, where: str) -> str:
    """`train`, `validation` or `test` for the usual names of each. Raises DataError naming `where`."""
    name = SPLIT_NAMES.get(text.lower()) or splits_among([text]).get(text)
    if name is None:
        raise DataError(
            f"{where}: '{printable(text[:40])}' is not a split.{did_you_mean(text[:40], SPLITS)}\n"
            f"Use train, validation or test."
        )
    return name


def splits_of_files(files: Sequence[Path], where: str) -> list[int]:
    """The number of each file's split, from the words of its name, or else of its folders; none where they are of one
    split only, so that the files are divided like any others. Raises DataError where just some are of a split."""
    words = [next(filter(None, map(split_of_name, [file.stem, *file.parent.parts[::-1]])), None) for file in files]
    if len(set(words)) <= 1:
        return [UNSPLIT] * len(files)
    if None in words:
        raise DataError(
            f"{where}: {printable(str(files[words.index(None)]))} is of no split, but other files are.\n"
            f"Begin its name with train, validation or test, or move it out of the folder."
        )
    return [split_number(word) for word in words]


def parts_by_folder(names: PackedNames) -> np.ndarray | None:
    """The split of each file, int8 (N,), where the first folder that not all of them lie in is a part of the set, one
    of them for training; None where the folders are no parts."""
    common: bytes = names[0].rpartition(b"/")[0] if len(names) else b""
    while common and not all(names[index].startswith(common + b"/") for index in range(len(names))):
        common = common.rpartition(b"/")[0]
    skipped = len(common) + 1 if common else 0
    number_of: dict[bytes, int] = {}
    folder_N = np.empty(len(names), np.int8)
    for index in range(len(names)):
        folder, slash, _ = names[index][skipped:].partition(b"/")
        if not slash or (folder not in number_of and len(number_of) == MAX_PART_FOLDERS):
            return None
        folder_N[index] = number_of.setdefault(folder, len(number_of))
    split_of = splits_among(map(os.fsdecode, number_of))
    if len(split_of) < len(number_of) or "train" not in split_of.values() or len(set(split_of.values())) == 1:
        return None
    return np.array([split_number(split_of[os.fsdecode(folder)]) for folder in number_of], np.int8)[folder_N]


def is_split_folder(name: str) -> bool:
    """Whether a word of a folder's name says which split is in it."""
    return split_of_name(name) is not None


def splits_among(names: Iterable[str]) -> dict[str, str]:
    """{name: split} of the folders that are parts of a set rather than classes, by the words of their names.

    A part is called after a split and nothing else (`train`, `Test_data`, `training_set`, `test1`), or differs from
    another part in the split alone (`seg_train`, `seg_test`). `test tube` and `training shoe` are classes; so is
    `evaluation`, where a folder beside it is called after no split.
    """
    names = list(names)
    found: dict[str, tuple[str, tuple[str, ...]]] = {}
    for name in names:
        split = split_of_name(name)
        if split is not None:
            found[name] = split, words_beside_split(name)
    others = {name: {rest for split, rest in found.values() if split != found[name][0]} for name in found}
    parts = {name: split for name, (split, rest) in found.items() if set(rest) <= GENERIC_WORDS or rest in others[name]}
    if len(parts) == len(set(names)):
        return parts
    return {name: split for name, split in parts.items() if not WEAK_SPLIT_NAMES & set(name_words(name))}


def is_generic(name: str) -> bool:
    """Whether a folder's name says only that it holds images, or what belongs to them: `Dataset`, `images`, `masks`."""
    words = name_words(name)
    return bool(words) and set(words) <= GENERIC_WORDS


def name_words(name: str) -> list[str]:
    """The words of a name in lower case: `Train_data`, `trainData` and `train-data2` are of two words."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", unicodedata.normalize("NFC", name)).lower()
    return re.findall(r"[^\W\d_]+", re.sub(r"(?<![^\W\d_])(hold|held)[\W_]*out(?![^\W\d_])", "holdout", apart))


def split_of_name(name: str) -> str | None:
    """The split that a word of a name says, whatever else the name says."""
    return next((SPLIT_NAMES[word] for word in name_words(name) if word in SPLIT_NAMES), None)


def words_beside_split(name: str) -> tuple[str, ...]:
    """The words of a name that say no split: `car` of `car_train`."""
    return tuple(word for word in name_words(name) if word not in SPLIT_NAMES)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """Class names in label order: alphabetical, but numbers in them by their value, so that 10 follows 9."""
    return tuple(sorted(set(names), key=_natural))


def _natural(name: str) -> tuple[tuple[tuple[str, int, str], ...], str]:
    """Numbers compare by their length without leading zeros, then by their digits: as values, however long they are."""
    parts = re.findall(r"([^0-9]*)([0-9]*)", name)
    numbers = [(text, number.lstrip("0"), bool(number)) for text, number in parts]
    return tuple((text, len(number) if is_number else -1, number) for text, number, is_number in numbers), name


def number_twins(names: Iterable[str]) -> list[tuple[str, str]]:
    """Pairs of class names that are one number written in two ways, such as 1, 01 and 1.0."""
    first: dict[float, str] = {}
    pairs = []
    for name in names:
        if len(name) <= MAX_NUMBER_DIGITS and re.fullmatch(r"[0-9]+(\.[0-9]*)?", name):
            other = first.setdefault(float(name), name)
            if other != name:
                pairs.append((other, name))
    return pairs


def is_number(name: str) -> bool:
    """Whether a label is a class number: digits, as many as a number of 64 bits has."""
    return name.isascii() and name.isdecimal() and len(name) <= MAX_NUMBER_DIGITS


def refuse_many_classes(where: str, num_classes: int) -> None:
    """Raise DataError where labels are numbers of images rather than of classes."""
    if num_classes > MAX_CLASSES:
        raise DataError(
            f"{where} has {num_classes:,} different labels; at most {MAX_CLASSES:,} classes are told apart.\n"
            f"Check that its labels are classes, and not numbers of images."
        )


def is_text(name: str) -> bool:
    """Whether a name can be written as UTF-8: half of a surrogate pair, as undecodable bytes become, cannot."""
    return name == name.encode("utf-8", "replace").decode("utf-8")


def refuse_no_text(where: str, classes: Iterable[str]) -> None:
    """Raise DataError for a class name that no file of a run could hold."""
    wrong = next((name for name in classes if not is_text(name)), None)
    if wrong is not None:
        raise DataError(
            f"{where} has a class whose name is not valid text: '{printable(wrong[:40])}'.\nGive it another name."
        )


_ONE_IS_ENOUGH: ContextVar[bool] = ContextVar("one class is enough", default=False)


@contextmanager
def one_class_is_enough() -> Iterator[None]:
    """In the enclosed work a source may have a single class, grade or number: its images are asked for, added to
    others, or judge a run that knows more."""
    token = _ONE_IS_ENOUGH.set(True)
    try:
        yield
    finally:
        _ONE_IS_ENOUGH.reset(token)


def is_one_enough() -> bool:
    """Whether a source may have a single class just now."""
    return _ONE_IS_ENOUGH.get()


def check_classes(where: str, classes: Sequence[str], remedy: str) -> None:
    """Raise DataError where there is a single class, unless one is enough, more than MAX_CLASSES, or a name that is no
    text or too long."""
    if len(classes) == 1 and not is_one_enough():
        raise DataError(
            f"{where} has one class only, '{printable(classes[0])}': there is nothing to tell apart.\n{remedy}"
        )
    refuse_many_classes(where, len(classes))
    refuse_no_text(where, classes)
    long = next((name for name in classes if len(name) > MAX_CLASS_NAME_CHARACTERS), None)
    if long is not None:
        raise DataError(
            f"{where} has a class whose name has {len(long):,} characters, '{printable(long[:40])}...'; "
            f"at most {MAX_CLASS_NAME_CHARACTERS} are read.\nGive it a shorter name."
        )


def refuse_twins(where: str, names: Iterable[str], remedy: str, what: str = "classes") -> None:
    """Names that look alike (letter case, accents, spaces, invisible marks) are a slip that halves a class, or puts one
    group on two sides of a split."""
    seen: dict[str, str] = {}
    for name in names:
        plain = _plain(name)
        if plain in seen:
            raise DataError(
                f"{where} has two {what} whose names differ only in letter case, accent encoding or spaces: "
                f"{seen[plain]!a} and {name!a}.\n{remedy}"
            )
        seen[plain] = name


def _plain(name: str) -> str:
    """A name without what a reader does not see: characters that format, spaces at its ends and doubled ones."""
    text = "".join(letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return unicodedata.normalize("NFC", " ".join(text.split()).casefold())


def list_sign(known: set[str]) -> str:
    """The sign between the classes of lists that share them, where most labels are lists; "" where nothing says so.

    Of `a|b`, `b|c` and `a|c` the parts stand in other labels at other places. Steps of a path (`animal|cat`,
    `animal|dog`) and attributes (`red|round`, `blue|round`) keep their places; unlike names share nothing.
    """
    for sign in SEPARATORS:
        lists = [[part.strip() for part in name.split(sign)] for name in known if sign in name]
        if 2 * len(lists) <= len(known):
            continue
        num_labels = Counter(part for parts in lists for part in set(parts))
        places: dict[str, set[int]] = {}
        for parts in lists:
            for place, part in enumerate(parts):
                places.setdefault(part, set()).add(place)
        num_shared = sum(number > 1 for number in num_labels.values())
        moves = any(len(places[part]) > 1 and number > 1 and part for part, number in num_labels.items())
        if moves and 2 * num_shared > len(num_labels):
            return sign
    return ""


def is_list_of_known(name: str, known: set[str], signs: Sequence[str] = LIST_SIGNS) -> bool:
    """Whether `name` is made of two or more of the `known` names, with a sign between them."""
    for sign in signs:
        parts = [part.strip() for part in name.split(sign)]
        if len(parts) > 1 and all(part in known for part in parts):
            return True
    return False


def refuse_absent_classes(where: str, classes: Sequence[str], label_N: np.ndarray, remedy: str) -> None:
    """Raise DataError naming the classes that have no image at all."""
    count_K = np.bincount(label_N, minlength=len(classes))
    empty = [classes[int(label)] for label in np.flatnonzero(count_K == 0)]
    if empty:
        shown = ", ".join(f"'{printable(name)}'" for name in empty[:5])
        more = f" and {len(empty) - 5:,} more" if len(empty) > 5 else ""
        raise DataError(f"{where} has classes without a single image: {shown}{more}.\n{remedy}")
