"""What a user's type checker sees of the package is not Any. Nothing here runs: mypy reads it with the package."""

from typing import assert_type

import saccade
from saccade.train.run import TrainResult


def train(source: str) -> TrainResult:
    """`assert_type` is exact: Any would not pass."""
    request = saccade.api.TrainRequest(source=source)
    assert_type(request.epochs, int | None)
    return assert_type(saccade.api.train(request), TrainResult)
