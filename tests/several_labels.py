"""A small set of images with several labels, which a small network learns in seconds: coloured marks on grey noise."""

import csv
from pathlib import Path

import cv2
import numpy as np

CLASSES = ("blue", "green", "red")
COLOURS = {"blue": (40, 40, 230), "green": (40, 200, 40), "red": (230, 40, 40)}
CORNERS = {"blue": (1, 1), "green": (1, 9), "red": (9, 5)}


def draw(labels: tuple[str, ...], generator: np.random.Generator) -> np.ndarray:
    """image_HWC uint8 RGB of 16x16 px: a square of each colour that is a label, near its own place."""
    image_HWC = generator.integers(90, 150, (16, 16, 3)).astype(np.uint8)
    for label in labels:
        top, left = np.array(CORNERS[label]) + generator.integers(-1, 2, 2)
        image_HWC[max(0, top) : top + 5, max(0, left) : left + 5] = COLOURS[label]
    return image_HWC


def write_marks(folder: Path, num: int, seed: int = 0) -> list[tuple[str, tuple[str, ...]]]:
    """`num` images in `folder/images`, each with any of three labels or none; (file, labels) of each."""
    generator = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(num):
        labels = tuple(name for name in CLASSES if generator.random() < {"blue": 0.5, "green": 0.4, "red": 0.25}[name])
        name = f"images/{number:04}.png"
        cv2.imwrite(str(folder / name), draw(labels, generator)[..., ::-1])
        rows.append((name, labels))
    return rows


def write_list(folder: Path, num: int, seed: int = 0, sign: str = ";") -> Path:
    """A set whose CSV file has lists: `file,label` with `red;blue`."""
    rows = write_marks(folder, num, seed)
    path = folder / "labels.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "label"], *([name, sign.join(labels)] for name, labels in rows)])
    return path


def write_one_hot(folder: Path, num: int, seed: int = 0) -> Path:
    """The same set with a column of 0 and 1 for each class."""
    rows = write_marks(folder, num, seed)
    path = folder / "labels.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        lines = [[name, *(int(label in labels) for label in CLASSES)] for name, labels in rows]
        csv.writer(file).writerows([["file", *CLASSES], *lines])
    return path
