"""One tiny run and its export, made once for all tests of exports and of the server. Not to be changed."""

from pathlib import Path

import pytest

from saccade import api

SETTINGS = ["runtime.num_threads=1", "loader.threads=1", "batch_size=256"]


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One epoch on the digits."""
    out = tmp_path_factory.mktemp("trained") / "run"
    return api.train(api.TrainRequest(source="digits", epochs=1, out=out, settings=SETTINGS)).run_dir


@pytest.fixture(scope="session")
def exported(run: Path) -> Path:
    """Both formats, beside the run's other files."""
    return api.export(run, formats=["openvino", "onnx"]).folder
