"""`digits`: 1,797 handwritten digits of 8x8 pixels that scikit-learn carries; needs no file and no network.

E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998 (its test
part). Pixel values 0 to 16 become 0 to 255.
"""

import hashlib
import importlib.util
from pathlib import Path

import numpy as np

from ...core.errors import DataError
from ...core.types import Record
from ..source import DataSource, SourceFormat, register


class Digits(DataSource):
    """The ten digits, classes `0` to `9`, grey, 8x8 pixels."""

    def __init__(self) -> None:
        value_ND = read_digits()
        self.name = "digits"
        self.classes = tuple(str(digit) for digit in range(10))
        self._image_NHW = np.round(value_ND[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
        self._label_N = value_ND[:, 64].astype(np.int64)
        self.digest = hashlib.sha256(self._image_NHW.tobytes() + self._label_N.tobytes()).hexdigest()

    def __len__(self) -> int:
        return len(self._label_N)

    def record(self, index: int) -> Record:
        return Record(key=str(index), label=int(self._label_N[index]))

    def read(self, index: int) -> np.ndarray:
        return self._image_NHW[index]


def read_digits() -> np.ndarray:
    """value_ND float64 (1797, 65): 64 pixels of 0 to 16 and the label, from the file in the scikit-learn package.

    The file is read without importing scikit-learn, which would take longer than the training itself. Raises
    DataError where the package is not installed as its wheels lay it out.
    """
    package = importlib.util.find_spec("sklearn")
    path = Path(package.origin or "").parent / "datasets" / "data" / "digits.csv.gz" if package else None
    if path is None or not path.is_file():
        raise DataError("The built-in digits need scikit-learn's data files.\nInstall it: pip install scikit-learn.")
    return np.loadtxt(path, delimiter=",")


register(
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
