"""What the policies of the literature choose from, and how the chosen operations reach the pixels.

A policy's table says how strong an operation is at the weakest and at the strongest level; this module says which
augmentation does it. The names are those of the papers.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from ...augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Choosing,
    Colouring,
    Drawn,
    Geometric,
    Operation,
    Pixel,
    Scene,
    changed_by,
    identities,
    matrices_of,
)
from .colour import compose, recolour

Step = tuple[Augmentation, Drawn, int]  # an augmentation, parameters, and the row of them that counts


@dataclass(frozen=True)
class Choice:
    """A row of a policy's table: an operation, its value at level 0 and at level 1, and whether its sign is drawn."""

    operation: str
    weakest: float = 0.0
    strongest: float = 0.0
    is_signed: bool = False


def _shear(axis: str, value_B: np.ndarray) -> Drawn:
    degrees = {"horizontal_degrees": np.zeros_like(value_B), "vertical_degrees": np.zeros_like(value_B)}
    return degrees | {axis: np.rad2deg(np.arctan(value_B))}


def _move(axis: str, fraction_B: np.ndarray) -> Drawn:
    fractions = {"right_fraction": np.zeros_like(fraction_B), "down_fraction": np.zeros_like(fraction_B)}
    return fractions | {axis: fraction_B}


def _bits(value_B: np.ndarray) -> np.ndarray:
    return np.ceil(value_B - 1e-9).astype(np.int64).clip(1, 8)  # a bit is lost with the whole level, as in Pillow


def _factor(value_B: np.ndarray, scene: Scene) -> Drawn:
    return {"factor": value_B}


def _applied(value_B: np.ndarray, scene: Scene) -> Drawn:
    return {"applied": np.ones(len(value_B), bool)}


# Values: shears are tangents, moves are pixels or shares of the side, rotations degrees, bits are rounded up.
OPERATIONS: dict[str, Operation] = {
    "identity": Operation(augmentation="", parameters=lambda value_B, scene: {}, words="identity".format),
    "shear-x": Operation(
        augmentation="shear", parameters=lambda v, scene: _shear("horizontal_degrees", v), words="shear-x {:.2f}".format
    ),
    "shear-y": Operation(
        augmentation="shear", parameters=lambda v, scene: _shear("vertical_degrees", v), words="shear-y {:.2f}".format
    ),
    "translate-x": Operation(
        augmentation="translation",
        parameters=lambda v, scene: _move("right_fraction", v),
        words=lambda v: f"translate-x {100 * v:.0f} %",
    ),
    "translate-y": Operation(
        augmentation="translation",
        parameters=lambda v, scene: _move("down_fraction", v),
        words=lambda v: f"translate-y {100 * v:.0f} %",
    ),
    "translate-x-px": Operation(
        augmentation="translation",
        parameters=lambda v, scene: _move("right_fraction", v / scene.size_HW[1]),
        words="translate-x {:.0f} px".format,
    ),
    "translate-y-px": Operation(
        augmentation="translation",
        parameters=lambda v, scene: _move("down_fraction", v / scene.size_HW[0]),
        words="translate-y {:.0f} px".format,
    ),
    "rotate": Operation(
        augmentation="rotation", parameters=lambda v, scene: {"angle_degrees": v}, words="rotate {:.0f}°".format
    ),
    "brightness": Operation(augmentation="brightness", parameters=_factor, words="brightness x {:.2f}".format),
    "colour": Operation(augmentation="saturation", parameters=_factor, words="colour x {:.2f}".format),
    "contrast": Operation(augmentation="contrast", parameters=_factor, words="contrast x {:.2f}".format),
    "sharpness": Operation(augmentation="sharpness", parameters=_factor, words="sharpness x {:.2f}".format),
    "posterize": Operation(
        augmentation="posterize",
        parameters=lambda v, scene: {"bits": _bits(v)},
        words=lambda value: f"posterize to {_bits(np.array([value]))[0]} bits",
    ),
    "solarize": Operation(
        augmentation="solarize",
        parameters=lambda v, scene: {"threshold_levels": v},
        words="solarize from {:.0f}".format,
    ),
    "autocontrast": Operation(augmentation="autocontrast", parameters=_applied, words="autocontrast".format),
    "equalize": Operation(augmentation="equalize", parameters=_applied, words="equalize".format),
}


def operations_of(table: Sequence[Choice]) -> tuple[Operation, ...]:
    """The operations of a policy's table, in its order."""
    return tuple(OPERATIONS[choice.operation] for choice in table)


def values_of(
    table: Sequence[Choice], operation_BN: np.ndarray, level_BN: np.ndarray, uniform_BN: np.ndarray
) -> np.ndarray:
    """The value of each chosen operation: from its weakest to its strongest with the level, a sign by the number."""
    weakest_BN = np.array([choice.weakest for choice in table])[operation_BN]
    strongest_BN = np.array([choice.strongest for choice in table])[operation_BN]
    is_signed_BN = np.array([choice.is_signed for choice in table])[operation_BN]
    value_BN = weakest_BN + level_BN * (strongest_BN - weakest_BN)
    return np.where(is_signed_BN & (uniform_BN < 0.5), -value_BN, value_BN)


def chosen_words(operations: Sequence[Operation], operation_N: np.ndarray, value_N: np.ndarray) -> str:
    """The operations of one sample in their order, with their values; -1 stands for none."""
    texts = [
        operations[place].words(value) for place, value in zip(operation_N.tolist(), value_N.tolist()) if place >= 0
    ]
    return ", ".join(texts)


def chosen_geometry(
    operations: Sequence[Operation], operation_BN: np.ndarray, value_BN: np.ndarray, scene: Scene
) -> np.ndarray:
    """matrix_B33 of all geometric operations of each sample, in their drawn order."""
    matrix_B33 = identities(len(operation_BN))
    for number in range(operation_BN.shape[1]):
        for place, operation in enumerate(operations):
            rows = np.flatnonzero(operation_BN[:, number] == place)
            entry = AUGMENTATIONS.get(operation.augmentation) if len(rows) and operation.augmentation else None
            if isinstance(entry, Geometric):
                parameters = operation.parameters(value_BN[rows, number], scene)
                matrix_B33[rows] = matrix_B33[rows] @ matrices_of(entry, parameters, scene, len(rows))
    return matrix_B33


def chosen_steps(
    operations: Sequence[Operation], operation_N: np.ndarray, value_N: np.ndarray, scene: Scene
) -> list[Step]:
    """The operations of one sample that act on colours and pixels, in their drawn order."""
    steps: list[Step] = []
    for place, value in zip(operation_N.tolist(), value_N.tolist()):
        if place < 0 or not operations[place].augmentation:
            continue
        entry = AUGMENTATIONS.get(operations[place].augmentation)
        if isinstance(entry, Colouring | Pixel):
            steps.append((entry, operations[place].parameters(np.array([value]), scene), 0))
    return steps


def change_image(
    image_HWC: np.ndarray, matrix_34: np.ndarray | None, steps: Iterable[Step], scene: Scene, out_HWC: np.ndarray
) -> None:
    """Write `image_HWC`, recoloured by `matrix_34` and changed by `steps`, to `out_HWC`, other memory.

    Matrices that follow each other become one; levels are rounded and clipped where a step needs pixels and at the end.
    """
    for entry, drawn, row in steps:
        if isinstance(entry, Colouring):
            own_B34 = matrices_of(entry, drawn, scene, 1)[[row]]
            matrix_34 = (own_B34 if matrix_34 is None else compose(matrix_34[None], own_B34))[0]
        elif isinstance(entry, Pixel):
            if matrix_34 is not None:
                image_HWC, matrix_34 = recolour(image_HWC, matrix_34), None
            image_HWC = changed_by(entry, drawn, row, image_HWC, scene)
    if matrix_34 is not None:
        recolour(image_HWC, matrix_34, out_HWC)
    else:
        out_HWC[...] = image_HWC


def is_lossless(choosing: Choosing) -> bool:
    """Whether the geometry of every operation only mirrors and moves by whole pixels."""
    entries = [AUGMENTATIONS.get(operation.augmentation) for operation in choosing.operations if operation.augmentation]
    return all(entry.lossless for entry in entries if isinstance(entry, Geometric))
