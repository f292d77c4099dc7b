"""What an augmentation is. A new one is one file in `data/augment/` that registers itself; nothing else changes.

Every augmentation is two pure functions. `draw` turns uniform numbers, which depend on (seed, epoch, sample index)
only, into parameters; the second one turns parameters into what is composed with all others of its kind:

    Framing     a 3x3 matrix      which part of the source is seen (at most one)     \
    Geometric   a 3x3 matrix      mirrors, turns, slants, moves, perspective          } one resample of the source
    Warping     a displacement    of every output pixel                              /
    Colouring   a 3x4 matrix      of RGB                                               one matrix
    Choosing    operations        of the kinds Geometric, Colouring and Pixel, drawn for each image from a table
    Pixel       pixels            whatever is no matrix: noise, blur, JPEG, histograms
    Erasing     a box             that is filled with the mean colour, or with pixels of its own
    Mixing      pairs of a batch  whose pixels and targets are mixed

They are applied in this order, and within a kind in the alphabetical order of their names; chosen operations keep
their drawn order, but for their geometry, which joins the one resample. All of them act on uint8 RGB pixels, before
normalisation. Strengths default to zero, which leaves every image as it is, bit for bit.

Coordinates: `centred` ones have their origin in the middle of the image, x to the right, y down, unit one pixel, so
that turning and mirroring do not depend on sizes. Pixel (column, row) lies at its middle.
"""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NoReturn

import numpy as np

from ..core.config import FrozenConfig
from ..core.errors import ContractError
from ..core.registry import Registry
from ..core.types import Preprocessing

Border = Literal["reflect", "edge", "mean", "black"]


class Strengths(FrozenConfig):
    """The values of one augmentation. The defaults leave every image as it is."""

    @property
    @abstractmethod
    def is_active(self) -> bool:
        """Whether any draw can change an image."""


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What the functions of an augmentation may know besides its strengths: the network's input, epoch and border."""

    preprocessing: Preprocessing
    epoch: int
    border: Border = "reflect"

    @property
    def size_HW(self) -> tuple[int, int]:
        """Height and width of the output in pixels."""
        return self.preprocessing.input_height_px, self.preprocessing.input_width_px


Drawn = Mapping[str, np.ndarray]  # parameter, with its unit in the name -> values, first axis B


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """What all kinds have in common.

    `draw(strengths, uniform_BN, scene)` gets N = `num_draws(strengths, scene)` numbers in 0 to 1 for each sample.
    `every_epoch`: whether the numbers differ between epochs. `source` says where the augmentation was described.
    `words(drawn, row)` is what a preview prints for a sample, nothing where nothing happens; without it, the
    parameters that are not zero.
    """

    name: str
    summary: str
    source: str
    strengths: type[Strengths]
    num_draws: Callable[[Any, Scene], int]
    draw: Callable[[Any, np.ndarray, Scene], Drawn]
    every_epoch: bool = True
    words: Callable[[Drawn, int], str] | None = None


@dataclass(frozen=True, kw_only=True)
class Framing(Augmentation):
    """`frame(drawn, row, source_HW, scene)` gives matrix_33 from centred output to centred source coordinates.

    It only scales and moves, and the box of the source that it shows has whole pixels as its borders.
    """

    frame: Callable[[Drawn, int, tuple[int, int], Scene], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Geometric(Augmentation):
    """`matrices(drawn, scene)` gives matrix_B33 from centred output to centred output coordinates before it.

    `lossless`: every matrix only mirrors and moves by whole pixels. `projective`: the last row may differ from
    (0, 0, 1); such matrices act last, nearest to the output, all of which must lie in front of the horizon.
    """

    matrices: Callable[[Drawn, Scene], np.ndarray]
    lossless: bool = False
    projective: bool = False


@dataclass(frozen=True, kw_only=True)
class Warping(Augmentation):
    """`displacement(drawn, row, scene)` gives float32 (H, W, 2), in output pixels right and down: where to look."""

    displacement: Callable[[Drawn, int, Scene], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Colouring(Augmentation):
    """`matrices(drawn, scene)` gives matrix_B34 from (red, green, blue, 1) to RGB, in 0 to 1."""

    matrices: Callable[[Drawn, Scene], np.ndarray]


@dataclass(frozen=True, kw_only=True)
class Pixel(Augmentation):
    """`change(drawn, row, image_HWC, scene)` gives the changed image: uint8 of the same shape, 1 or 3 (RGB) channels.
    With `any_channels` also of bands, uint8 or uint16 with any number of channels, as deep as `scene.preprocessing`.

    It gets images of the input's size and must not write to them; where nothing changes, it returns the image itself.
    Random pixels come from `noise.py`, from a seed that was drawn.
    """

    change: Callable[[Drawn, int, np.ndarray, Scene], np.ndarray]
    any_channels: bool = False


@dataclass(frozen=True, kw_only=True)
class Operation:
    """What one augmentation does for a value: a row of a policy's table.

    `augmentation` is the name of a Geometric, Colouring or Pixel entry, empty where nothing happens;
    `parameters(value_B, scene)` gives what that entry would have drawn, `words(value)` what a preview prints.
    """

    augmentation: str
    parameters: Callable[[np.ndarray, Scene], Drawn]
    words: Callable[[float], str]


@dataclass(frozen=True, kw_only=True)
class Choosing(Augmentation):
    """Draws which `operations` happen to an image, in which order, and how strongly.

    `draw` gives `operation`, int64 (B, N), places in `operations`, and `value`, float64 (B, N).
    """

    operations: tuple[Operation, ...]


@dataclass(frozen=True, kw_only=True)
class Erasing(Augmentation):
    """`boxes(drawn, scene)` gives box_B4, int64 (top, bottom, left, right) in output pixels; empty where equal.

    `fill(drawn, row, shape_HWC)` gives the uint8 pixels of the box; without it, it shows the mean colour.
    """

    boxes: Callable[[Drawn, Scene], np.ndarray]
    fill: Callable[[Drawn, int, tuple[int, int, int]], np.ndarray] | None = None


@dataclass(frozen=True, kw_only=True)
class Mixing(Augmentation):
    """`mix(drawn, image_BHWC, partner_B, target_BK)` gives a new image_BHWC (uint8) and target_BK (float32)."""

    mix: Callable[[Drawn, np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


KINDS = (Framing, Geometric, Warping, Colouring, Choosing, Pixel, Erasing, Mixing)
NO_STRENGTHS = ("border", "active", "strengths_of")  # what AugmentConfig has besides one field for each augmentation


def _what_is_wrong(augmentation: Augmentation) -> str:
    """Its name is a field of AugmentConfig, and a key of `--set`; without strengths nothing may happen."""
    name = augmentation.name
    if not isinstance(augmentation, KINDS):
        return f"it must be one of {', '.join(kind.__name__ for kind in KINDS)}, not a plain Augmentation"
    if not name.isidentifier() or hasattr(FrozenConfig, name) or name in NO_STRENGTHS:
        return "its name is no key of a configuration: use letters, digits and _, and no name that means something else"
    try:
        strengths = augmentation.strengths()
    except Exception as error:  # noqa: BLE001  somebody else's class raises anything
        return f"its strengths cannot be made without values ({type(error).__name__}); give each a default"
    try:
        acts = strengths.is_active
    except Exception as error:  # noqa: BLE001
        return f"by the defaults of its strengths it does not say whether it acts ({type(error).__name__})"
    return "by the defaults of its strengths it changes images; give each the value that does nothing" if acts else ""


AUGMENTATIONS: Registry[Augmentation] = Registry(
    "augmentation", "augmentations", "saccade.data.augment", Augmentation, _what_is_wrong
)


def register(augmentation: Augmentation, origin: str) -> None:
    """Enter `augmentation` under its name; `origin` is the module's `__name__`."""
    AUGMENTATIONS.add(augmentation, origin)


def num_drawn(entry: Augmentation, strengths: Strengths, scene: Scene) -> int:
    """How many numbers `entry` draws for a sample. Raises ContractError where it does not give a number of them."""
    num = entry.num_draws(strengths, scene)
    if not isinstance(num, int | np.integer) or num < 0:
        _refuse_result(entry, "num_draws", repr(num)[:40], "a whole number from 0")
    return int(num)


def matrices_of(entry: Geometric | Colouring, drawn: Drawn, scene: Scene, num: int) -> np.ndarray:
    """matrix_B33 of a Geometric, or matrix_B34 of a Colouring, for B = `num` samples.

    Raises ContractError where they are not, or not finite: another shape would be stretched to fit in silence.
    """
    matrices = entry.matrices(drawn, scene)
    shape = (num, 3, 3 if isinstance(entry, Geometric) else 4)
    if not isinstance(matrices, np.ndarray) or matrices.shape != shape:
        _refuse_result(entry, "matrices", matrices, f"numbers of the shape {shape}")
    if not np.isfinite(matrices).all():
        _refuse_result(entry, "matrices", "a value that is not finite", "finite numbers")
    return matrices


def changed_by(entry: Pixel, drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """The image as `entry` changes it. Raises ContractError where it has another shape or type than before."""
    changed_HWC = entry.change(drawn, row, image_HWC, scene)
    is_array = isinstance(changed_HWC, np.ndarray)
    if not is_array or changed_HWC.shape != image_HWC.shape or changed_HWC.dtype != image_HWC.dtype:
        _refuse_result(entry, "change", changed_HWC, f"{image_HWC.dtype} of the shape {image_HWC.shape}")
    return changed_HWC


def _refuse_result(entry: Augmentation, function: str, given: object, wanted: str) -> NoReturn:
    """Raise ContractError for what a function of an augmentation gives."""
    if isinstance(given, np.ndarray):
        given = f"{given.dtype} of the shape {given.shape}"
    elif not isinstance(given, str):
        given = f"a value of type {type(given).__name__}"
    raise ContractError(
        f"The augmentation '{entry.name}' of {AUGMENTATIONS.origin(entry.name)} breaks a promise: its {function} gives "
        f"{given}, not {wanted}.\n"
        f"Leave it out, or correct it there; saccade.testing.check_augmentation('{entry.name}') tells more."
    )


def identities(num: int, columns: int = 3) -> np.ndarray:
    """`num` matrices that change nothing, float64 (num, 3, columns), to be filled in place."""
    return np.tile(np.eye(3, columns), (num, 1, 1))


def between(uniform: np.ndarray, low: float, high: float) -> np.ndarray:
    """Uniform numbers in 0 to 1 stretched to `low` to `high`."""
    return low + uniform * (high - low)


def normal(uniform_BN: np.ndarray) -> np.ndarray:
    """Standard normal numbers (B, N / 2) from uniform ones (Box and Muller 1958)."""
    radius_BN = np.sqrt(-2 * np.log(uniform_BN[:, 0::2]))
    return radius_BN * np.cos(2 * np.pi * uniform_BN[:, 1::2])
