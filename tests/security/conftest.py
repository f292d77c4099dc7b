"""One run of one epoch, for every test of this folder."""

from pathlib import Path

import pytest

from saccade import api


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a stranger; it is copied before it is changed."""
    out = tmp_path_factory.mktemp("stranger") / "run"
    settings = ["runtime.num_threads=1", "loader.threads=1", "batch_size=256"]
    return api.train(api.TrainRequest(source="digits", epochs=1, out=out, settings=settings)).run_dir
