"""A source whose images must stay what the scan saw: a file that is replaced in mid-run means other data."""

from collections.abc import Callable

import numpy as np

from ...core.errors import DataError, ImageError
from ...core.types import Record
from ..images.digests import content_digest
from ..source import DataSource


def changed_error(key: str) -> DataError:
    """An ImageError: as a file that cannot be read, one that was changed may be left out of a run."""
    return ImageError(key, "it was changed after the run looked through the images.")


class Unchanged(DataSource):
    """`source` after the scan: `digest_NB` uint8 (N, 16) are of its files. What is read is compared, so that
    a run never learns from, or is judged on, an image that was not looked at. `error` makes what is raised of a key."""

    def __init__(
        self, source: DataSource, digest_NB: np.ndarray, error: Callable[[str], DataError] = changed_error
    ) -> None:
        self.name, self.classes, self.digest, self.notes = source.name, source.classes, source.digest, source.notes
        self.task, self.label_name = source.task, source.label_name
        self.source: DataSource = source.source if isinstance(source, Unchanged) else source  # compared once
        self.far_bytes = source.far_bytes
        self.digest_NB = digest_NB
        self.error = error

    def __len__(self) -> int:
        return len(self.source)

    def record(self, index: int) -> Record:
        """Key, label and given split of an image."""
        return self.source.record(index)

    def shard_N(self) -> np.ndarray | None:
        """As of the source."""
        return self.source.shard_N()

    def expect(self, index_N: np.ndarray) -> None:
        """Hand it on."""
        self.source.expect(index_N)

    def read(self, index: int) -> bytes | np.ndarray:
        """What the source has there. Raises `error` where it is not what the scan saw, and what the source raises."""
        content = self.source.read(index)
        if content_digest(content) != self.digest_NB[index].tobytes():
            raise self.error(self.record(index).key)
        return content
