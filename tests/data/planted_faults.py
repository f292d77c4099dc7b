"""Writes a folder of images in which every fault of a check-up is planted, and says which."""

import shutil
import unicodedata
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("apple", "pear", "plum")
SIZE_PX = (120, 160)  # height, width


@dataclass(frozen=True)
class Planted:
    """The folder, and for every kind of finding the groups of keys that must be named."""

    folder: Path
    expected: dict[str, set[frozenset[str]]]


def picture(generator: np.random.Generator) -> Image.Image:
    """A smooth random picture with detail at several scales: unlike every other one."""
    height, width = SIZE_PX
    layers = [
        np.asarray(
            Image.fromarray(generator.integers(0, 256, (side, side, 3), dtype=np.uint8)).resize(
                (width, height), Image.Resampling.BICUBIC
            ),
            dtype=np.float32,
        )
        for side in (3, 6, 12)
    ]
    return Image.fromarray(np.clip(sum(layers) / 3, 0, 255).astype(np.uint8))


def plant(folder: Path, seed: int = 0, clean_each: int = 6) -> Planted:
    """A set with given splits: `clean_each` sound images a class and split, and one or two of every fault."""
    generator = np.random.default_rng(seed)

    def save(key: str, image: Image.Image | None = None, quality: int = 92) -> str:
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        (image or picture(generator)).save(path, quality=quality)
        return key

    for split in ("train", "val", "test"):
        for name in CLASSES:
            for number in range(clean_each):
                if (split, name) != ("test", "plum"):  # planted: a class missing from a split
                    save(f"{split}/{name}/{number}.jpg")
    expected: dict[str, set[frozenset[str]]] = {
        "class_missing_from_split": {frozenset({"plum"})},
        "only_one": {frozenset({"val/pear/larger.png"})},  # of 240x180 px
    }

    def copy(kind: str, first: str, *others: str) -> None:
        for other in others:
            (folder / other).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / first, folder / other)
        expected.setdefault(kind, set()).add(frozenset({first, *others}))

    def redo(kind: str, first: str, other: str, scale: float, quality: int) -> None:
        image = Image.open(folder / first)
        small = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.LANCZOS)
        save(other, small, quality)
        expected.setdefault(kind, set()).add(frozenset({first, other}))

    copy("same_image_in_two_splits", "train/apple/0.jpg", "test/apple/leak.jpg")
    copy("same_image_in_two_splits", "train/pear/0.jpg", "val/plum/leak.jpg")
    copy("same_image_in_two_classes", "train/apple/1.jpg", "train/pear/other-label.jpg")
    copy("same_image", "train/plum/0.jpg", "train/plum/again.jpg", "train/plum/and-again.jpg")
    redo("near_image_in_two_splits", "train/apple/2.jpg", "test/apple/smaller.jpg", 0.5, 70)
    redo("near_image_in_two_classes", "train/pear/2.jpg", "train/plum/recoded.jpg", 1.0, 40)
    redo("near_image", "val/pear/3.jpg", "val/pear/larger.png", 1.5, 92)
    _plant_files(folder, save, expected)
    return Planted(folder=folder, expected=expected)


def _plant_files(folder: Path, save, expected: dict[str, set[frozenset[str]]]) -> None:
    """Faults that are in files and names, not in pictures."""

    def named(kind: str, *keys: str) -> None:
        expected.setdefault(kind, set()).add(frozenset(keys))

    content = (folder / "train/apple/3.jpg").read_bytes()
    (folder / "train/apple/cut.jpg").write_bytes(content[: len(content) // 3])
    (folder / "train/pear/empty.png").write_bytes(b"")
    (folder / "train/plum/page.jpg").write_text("<html>not an image</html>", encoding="ascii")
    for key in ("train/apple/cut.jpg", "train/pear/empty.png", "train/plum/page.jpg"):
        named("unreadable", key)
    named("plain", save("train/pear/blank.png", Image.new("RGB", (80, 60), (120, 130, 140))))
    named("case_twins", save("train/apple/Photo.jpg"), save("train/apple/photo.jpg"))
    composed = save("train/pear/" + unicodedata.normalize("NFC", "café.jpg"))
    decomposed = save("train/pear/" + unicodedata.normalize("NFD", "café.jpg"))
    named("unicode_twins", composed, decomposed)
    (folder / "train/apple/.hidden.jpg").write_bytes(content)
    (folder / "train/apple/notes.txt").write_text("to do", encoding="ascii")
    (folder / "train/apple/.thumbs").mkdir()
    for key in ("train/apple/.hidden.jpg", "train/apple/notes.txt", "train/apple/.thumbs"):
        named("left_out", key)
