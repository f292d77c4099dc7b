"""A small run on digits, and pictures of digits that it has not seen."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from saccade import api
from saccade.data.sources.digits import Digits

DIGITS = Digits()


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two epochs on the built-in digits."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    api.train(api.TrainRequest(source="digits", epochs=2, out=out, settings=["runtime.num_threads=1"]))
    return out


@pytest.fixture
def new(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Forty pictures in the folder `new`, each a digit with noise of its own, so that none equals one of the set."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "new"
    folder.mkdir()
    draw = np.random.default_rng(0)
    for index in range(40):
        noise = draw.integers(0, 40, (8, 8))
        picture = np.clip(DIGITS.read(7 * index).astype(int) + noise, 0, 255).astype(np.uint8)
        Image.fromarray(picture).save(folder / f"{index:02d}.png")
    return Path("new")
