"""A file of a checkpoint that holds arrays which were measured with its weights; it is optional.

The letters behind the last `_` of an array's name are its axes: one letter is one size wherever it stands.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import save as tensor_bytes

from .checkpoint import Checkpoint
from .files import REMEDY, take_array


@dataclass(frozen=True, kw_only=True)
class ArrayFile:
    """The file `name`, and the arrays that it must hold with their types."""

    name: str
    types: Mapping[str, type[np.generic]]

    def content(self, arrays: Mapping[str, np.ndarray]) -> bytes:
        """The file as bytes."""
        return tensor_bytes({name: np.ascontiguousarray(arrays[name], dtype) for name, dtype in self.types.items()})

    def read(self, checkpoint: Checkpoint, sizes: Mapping[str, int]) -> dict[str, np.ndarray] | None:
        """The arrays; None where the checkpoint has no such file. `sizes` are those of axes that are known.

        Raises CheckpointError where an array is missing or of another type or shape.
        """
        arrays = checkpoint.load_measured(self.name)
        if arrays is None:
            return None
        found, known = {}, dict(sizes)
        for name, dtype in self.types.items():
            axes = name.rpartition("_")[2]
            array = take_array(
                arrays, name, dtype, tuple(known.get(axis) for axis in axes), (self.path_in(checkpoint), REMEDY)
            )
            known |= dict(zip(axes, array.shape, strict=True))
            found[name] = array
        return found

    def path_in(self, checkpoint: Checkpoint) -> Path:
        """Where the file of `checkpoint` is."""
        return checkpoint.folder / self.name
