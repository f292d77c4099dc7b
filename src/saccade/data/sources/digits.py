"""`digits`: 1,797 handwritten digits of 8x8 pixels that scikit-learn carries; needs no file and no network.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its test
part). Pixel values 0 to 16 become 0 to 255.
"""

import hashlib

import numpy as np

from ...core.types import Record
from ..base import SOURCES, DataSource, SourceFormat


class Digits(DataSource):
    """The ten digits, classes `0` to `9`, grey, 8x8 pixels."""

    def __init__(self) -> None:
        from sklearn.datasets import load_digits

        data = load_digits()
        self.name = "digits"
        self.classes = tuple(str(digit) for digit in range(10))
        self._image_NHW = np.round(data.images * (255 / 16)).astype(np.uint8)
        self._label_N = data.target.astype(np.int64)
        self.digest = hashlib.sha256(self._image_NHW.tobytes() + self._label_N.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=int(self._label_N[index]))

    def read(self, index: int) -> np.ndarray:
        return self._image_NHW[index]


SOURCES.add(
    "digits",
    SourceFormat(
        name="digits",
        summary="1,797 handwritten digits of 8x8 pixels, built in (Alpaydin and Kaynak 1998)",
        example="digits",
        recognises=lambda text: text == "digits",
        open=lambda text: Digits(),
        priority=0,
    ),
    __name__,
)
