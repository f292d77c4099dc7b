"""From a folder of images to a classifier that answers for a new file.

The folder is made here of the digits that come with scikit-learn: digits/0/0010.png, digits/1/0001.png, ...
Put your own folder in its place: one sub-folder of images per class.
"""

import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits

from saccade import api


def write_folder(folder: Path) -> Path:
    """Write the digits as PNG files, one sub-folder per class; returns one of the files, which is kept apart."""
    digits = load_digits()
    pixels_NHW = np.rint(digits.images * 255 / 16).astype(np.uint8)
    for number, (pixels_HW, label) in enumerate(zip(pixels_NHW[1:], digits.target[1:]), start=1):
        path = folder / str(label) / f"{number:04}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels_HW).save(path)
    apart = folder.parent / "new.png"
    Image.fromarray(pixels_NHW[0]).save(apart)  # a zero
    return apart


def main() -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "digits"
        new_file = write_folder(folder)

        result = api.train(api.TrainRequest(source=str(folder), epochs=3, out=Path(temporary) / "run"))
        metrics = result.judgement.metrics
        print(f"{100 * metrics.top1:.1f} % of {metrics.num_samples} held-out images correct")
        print(f"95 % interval: {100 * metrics.top1_low:.1f} to {100 * metrics.top1_high:.1f} %")

        for answer in api.predict(result.run_dir, [new_file]):
            name, probability = answer.top(1)[0]
            print(f"{new_file.name} is a '{name}' ({100 * probability:.1f} %)")


if __name__ == "__main__":
    main()
