"""A small set of images with a number each, which a small network learns in seconds: a bar at an angle."""

import csv
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from saccade import api


def draw(angle: float, generator: np.random.Generator) -> np.ndarray:
    """image_HW uint8 of 16x16 px: a bar through the middle, `angle` degrees from upright, on grey noise."""
    image_HW = generator.integers(40, 90, (16, 16)).astype(np.uint8)
    turn = np.deg2rad(angle)
    ends = [(8 + side * 6 * np.sin(turn), 8 - side * 6 * np.cos(turn)) for side in (-1, 1)]
    points = [(round(16 * x), round(16 * y)) for x, y in ends]  # in sixteenths of a pixel
    cv2.line(image_HW, points[0], points[1], 230, 2, cv2.LINE_AA, 4)
    return image_HW


def write_angles(folder: Path, num: int, seed: int = 0) -> Path:
    """A CSV file `file,angle` of `num` images at angles from -60 to 60 degrees."""
    generator = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True)
    rows = []
    for number in range(num):
        angle = round(float(generator.uniform(-60, 60)), 1)
        name = f"images/{number:04}.png"
        cv2.imwrite(str(folder / name), draw(angle, generator))
        rows.append([name, f"{angle}"])
    path = folder / "angles.csv"
    with open(path, "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([["file", "angle"], *rows])
    return path


def calls_for_classes(run: Path, out: Path) -> dict[str, Callable[[], object]]:
    """What knows neither numbers nor grades, by the name that refuses `run`; images are not there."""
    gone = out / "gone"
    return {
        "saccade add-class": lambda: api.add_class(run, gone, out / "new"),
    }


def refusal(what: str, target: str) -> str:
    """The message of a refusal, whole."""
    return (
        f"{what} does not know {target}s: it is for classes.\n"
        f"Give a run or images of classes, without --target {target}."
    )
