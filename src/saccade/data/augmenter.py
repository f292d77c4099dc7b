"""From strengths to pixels: draw everything first, for a whole batch, then apply it."""

from dataclasses import dataclass

import cv2
import numpy as np

from ..core.types import MAX_16_BIT, Preprocessing
from .augment.pca_colour import PcaColourStrengths, measured
from .augment.shared import colour, geometry
from .augment.shared.lossless import move_pixels
from .augment.shared.mixing import partners
from .augment.shared.operations import Step, change_image, chosen_geometry, chosen_steps, is_lossless
from .augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Choosing,
    Colouring,
    Drawn,
    Erasing,
    Framing,
    Geometric,
    Mixing,
    Operation,
    Pixel,
    Scene,
    Warping,
    identities,
    matrices_of,
    num_drawn,
)
from .augmentation_policy import AugmentConfig
from .images.bands import network_pixels
from .images.decode import decode_image
from .images.decode_for_training import as_luma, read_rgbx
from .images.opencv import written
from .images.preprocess import mean_levels
from .random_numbers import permutation, uniform
from .source import DataSource

NUM_MEASURED = 1000  # images whose colours are measured
MEASURED_SIDE_PX = 64  # about so many pixels squared of each


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What will happen to the B samples of one batch: parameters by augmentation, and the matrices they compose to."""

    index_B: np.ndarray
    scene: Scene
    drawn: dict[str, Drawn]
    geometry_B33: np.ndarray
    colour_B34: np.ndarray
    stretch_B: np.ndarray  # the most that geometry_B33 lengthens a source axis

    def take(self, row_B: np.ndarray) -> "Plan":
        """The plan of some of the samples."""
        drawn: dict[str, Drawn] = {
            name: {key: value[row_B] for key, value in values.items()} for name, values in self.drawn.items()
        }
        return Plan(
            index_B=self.index_B[row_B],
            scene=self.scene,
            drawn=drawn,
            geometry_B33=self.geometry_B33[row_B],
            colour_B34=self.colour_B34[row_B],
            stretch_B=self.stretch_B[row_B],
        )


def usable(config: AugmentConfig, preprocessing: Preprocessing) -> list[Augmentation]:
    """The augmentations of `config` that can change an image of `preprocessing`: of bands, all but those of colours."""
    return [entry for entry in config.active() if not preprocessing.has_bands or not _is_of_colours(entry)]


def left_out_of_bands(config: AugmentConfig) -> list[str]:
    """Names of the augmentations of `config` that mean nothing to bands, and are left out of them in part or whole."""
    choosing = [e for e in config.active() if isinstance(e, Choosing) and not all(map(_serves_bands, e.operations))]
    named = [f"{entry.name} (those of its operations that change colours)" for entry in choosing]
    return [entry.name for entry in config.active() if _is_of_colours(entry)] + named


def _is_of_colours(entry: Augmentation) -> bool:
    return isinstance(entry, Colouring) or (isinstance(entry, Pixel) and not entry.any_channels)


def _serves_bands(operation: Operation) -> bool:
    return not operation.augmentation or not _is_of_colours(AUGMENTATIONS.get(operation.augmentation))


class Augmenter:
    """Applies an AugmentConfig. Every result is a pure function of (seed, epoch, sample index, source pixels).

    `sees_source`: whether the geometry resamples the source pixels; otherwise every image is first prepared as
    evaluation prepares it, and at most mirrored and moved by whole pixels. `moves_whole_pixels`: whether nothing else
    than that happens to it, but for boxes that are covered. `canvas`: what is drawn on; `mean_C`: what covers.
    """

    def __init__(self, config: AugmentConfig, preprocessing: Preprocessing, seed: int) -> None:
        self.config = config
        self.preprocessing = preprocessing
        self.seed = seed
        self._active = usable(config, preprocessing)
        self._framing = next((entry for entry in self._active if isinstance(entry, Framing)), None)
        # Perspective acts last, on the output itself, where it is known to lie in front of the horizon.
        self._geometric = [e for e in self._active if isinstance(e, Geometric) and not e.projective]
        self._projective = [e for e in self._active if isinstance(e, Geometric) and e.projective]
        self._choosing = [entry for entry in self._active if isinstance(entry, Choosing)]
        self._pixel = [entry for entry in self._active if isinstance(entry, Pixel)]
        self._warping = [entry for entry in self._active if isinstance(entry, Warping)]
        self._colouring = [entry for entry in self._active if isinstance(entry, Colouring)]
        self._erasing = [entry for entry in self._active if isinstance(entry, Erasing)]
        self._mixing = [entry for entry in self._active if isinstance(entry, Mixing)]
        lossless = all(e.lossless for e in self._geometric) and all(is_lossless(e) for e in self._choosing)
        self.sees_source = bool(self._framing or self._warping or self._projective) or not lossless
        self._changes = bool(self._colouring or self._choosing or self._pixel)
        fills = any(entry.fill for entry in self._erasing)
        self.moves_whole_pixels = not (self.sees_source or self._changes or fills or self._mixing)
        self.mean_C = mean_levels(preprocessing)
        self.canvas = geometry.canvas_for(preprocessing, config.border)

    def plan(self, epoch: int, index_B: np.ndarray, draw_B: np.ndarray | None = None) -> Plan:
        """Draw the parameters of the samples `index_B` in `epoch`; nothing is read.

        `draw_B` are the sample indices that are drawn by, where they are others: a sample shown twice has two.
        """
        scene = Scene(preprocessing=self.preprocessing, epoch=epoch, border=self.canvas.border)
        draw_B = index_B if draw_B is None else draw_B
        drawn = {entry.name: self.draw(entry, scene, draw_B) for entry in self._active}
        if self.preprocessing.has_bands:
            for choosing in self._choosing:  # what is left out of bands does not happen
                places = [k for k, operation in enumerate(choosing.operations) if not _serves_bands(operation)]
                drawn[choosing.name]["operation"][np.isin(drawn[choosing.name]["operation"], places)] = -1
        geometry_B33, colour_B34 = identities(len(index_B)), identities(len(index_B), columns=4)
        for entry in self._geometric:
            geometry_B33 = geometry_B33 @ matrices_of(entry, drawn[entry.name], scene, len(index_B))
        for choosing in self._choosing:
            chosen = drawn[choosing.name]
            own_B33 = chosen_geometry(choosing.operations, chosen["operation"], chosen["value"], scene)
            geometry_B33 = geometry_B33 @ own_B33
        for entry in self._projective:
            geometry_B33 = geometry_B33 @ matrices_of(entry, drawn[entry.name], scene, len(index_B))
        for colouring in self._colouring:
            own_B34 = matrices_of(colouring, drawn[colouring.name], scene, len(index_B))
            colour_B34 = colour.compose(colour_B34, own_B34)
        return Plan(
            index_B=index_B,
            scene=scene,
            drawn=drawn,
            geometry_B33=geometry_B33,
            colour_B34=colour_B34,
            stretch_B=geometry.largest_stretches(geometry_B33, self.canvas.size_HW),
        )

    def read(self, content: bytes | np.ndarray, key: str, plan: Plan, row: int) -> np.ndarray:
        """The pixels that `render` needs of a sample: decoded at reduced scale where they are shrunk by half or more.

        Those it does not need may be undefined. Raises ImageError naming `key`.
        """
        if self.preprocessing.channels != "rgb":
            return self._channels(content, key)
        return read_rgbx(
            content,
            key,
            lambda height, width: self._shrink(plan, row, (height, width)),
            lambda height, width: self._num_rows(plan, row, (height, width)),
            self.preprocessing.white_16_bit,
        )

    def read_whole(self, content: bytes | np.ndarray, key: str) -> np.ndarray:
        """The pixels that `render` needs of a sample in any epoch, at full scale. Raises ImageError naming `key`."""
        if self.preprocessing.channels != "rgb":
            return self._channels(content, key)
        return read_rgbx(content, key, lambda height, width: 1.0, white=self.preprocessing.white_16_bit)

    def _channels(self, content: bytes | np.ndarray, key: str) -> np.ndarray:
        """Grey (H, W, 1), or all bands (H, W, C)."""
        decoded = decode_image(content, key, None, self.preprocessing.white_16_bit)
        if self.preprocessing.has_bands:
            return network_pixels(decoded, key, self.preprocessing)
        return as_luma(decoded.image_HWC)

    def source_matrix(self, plan: Plan, row: int, source_HW: tuple[int, int]) -> np.ndarray:
        """matrix_33 from centred output to centred source coordinates: the framing after everything else."""
        if self._framing is None:
            frame_33 = geometry.centre_frame(source_HW, self.preprocessing)
        else:
            frame_33 = self._framing.frame(plan.drawn[self._framing.name], row, source_HW, plan.scene)
        return frame_33 @ plan.geometry_B33[row]

    def render(self, pixels_HWC: np.ndarray, plan: Plan, row: int, out_HWC: np.ndarray) -> None:
        """Resample what `read` gave into `out_HWC` (H, W, C) at the input size, and change its pixels.

        Only where `sees_source`; otherwise an image is prepared as evaluation does it, and `finish` does the rest.
        """
        displacements = [w.displacement(plan.drawn[w.name], row, plan.scene) for w in self._warping]
        displacement_HW2 = sum(displacements[1:], start=displacements[0]) if displacements else None
        matrix_33 = self.source_matrix(plan, row, (pixels_HWC.shape[0], pixels_HWC.shape[1]))
        plain_HWC = np.empty_like(out_HWC) if self._changes else out_HWC
        if self.preprocessing.channels == "rgb" and pixels_HWC.shape[2] == 4:
            seen_HWC = np.empty((*self.canvas.size_HW, 4), np.uint8)
            geometry.resample(pixels_HWC, matrix_33, displacement_HW2, self.canvas, seen_HWC)
            written(cv2.cvtColor(seen_HWC, cv2.COLOR_RGBA2RGB, dst=plain_HWC), plain_HWC)
        else:
            geometry.resample(pixels_HWC, matrix_33, displacement_HW2, self.canvas, plain_HWC)
        if self._changes:
            self._change(plain_HWC, plan, row, out_HWC)

    def _change(self, image_HWC: np.ndarray, plan: Plan, row: int, out_HWC: np.ndarray) -> None:
        """Colours, then chosen operations in their order, then pixel augmentations; `out_HWC` is other memory."""
        steps: list[Step] = []
        for choosing in self._choosing:
            chosen = plan.drawn[choosing.name]
            steps += chosen_steps(choosing.operations, chosen["operation"][row], chosen["value"][row], plan.scene)
        steps += [(entry, plan.drawn[entry.name], row) for entry in self._pixel]
        change_image(image_HWC, plan.colour_B34[row] if self._colouring else None, steps, plan.scene, out_HWC)

    def _shrink(self, plan: Plan, row: int, source_HW: tuple[int, int]) -> float:
        """Source pixels per output pixel, in the direction that is shrunk least; 1 where it cannot be 2."""
        height, width = self.canvas.size_HW
        if min(source_HW[0] / height, source_HW[1] / width) * plan.stretch_B[row] < 2:
            return 1.0
        return min(geometry.shrink_factors(self.source_matrix(plan, row, source_HW), self.canvas.size_HW))

    def _num_rows(self, plan: Plan, row: int, source_HW: tuple[int, int]) -> int:
        """How many rows from the top `render` reads of a source of that size."""
        if self._warping or self.canvas.interpolation == "nearest":
            return source_HW[0]
        box = geometry.whole_box(self.source_matrix(plan, row, source_HW), source_HW, self.canvas)
        return box.rows.stop if box else source_HW[0]

    def finish(
        self,
        plan: Plan,
        image_BHWC: np.ndarray,
        label_B: np.ndarray,
        num_classes: int,
        lane_sizes: tuple[int, ...] = (),
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rendered images with all the rest applied, and their targets: label_B, or target_BK where images are mixed.

        `image_BHWC` may be written to. Of several labels, `label_B` is label_BK, and targets always are.
        Images are mixed with those of their own lane; without `lane_sizes` all are of one.
        """
        if not self.sees_source:
            if self._geometric:
                image_BHWC = move_pixels(image_BHWC, plan.geometry_B33, self.canvas.border, self.canvas.fill_C)
            if self._changes:
                for row, image_HWC in enumerate(image_BHWC):
                    self._change(image_HWC.copy(), plan, row, image_HWC)
        for entry, box_B4 in zip(self._erasing, self.boxes(plan)):
            for row, (top, bottom, left, right) in enumerate(box_B4.tolist()):
                shape_HWC = (bottom - top, right - left, image_BHWC.shape[3])
                fill = None if self.preprocessing.has_bands else entry.fill  # which draws colours
                filled = fill(plan.drawn[entry.name], row, shape_HWC) if fill else self.mean_C
                image_BHWC[row, top:bottom, left:right] = filled
        if not self._mixing:
            return image_BHWC, label_B
        target_BK = label_B if label_B.ndim == 2 else np.eye(num_classes, dtype=np.float32)[label_B]
        partner_B = partners(*(lane_sizes or (len(label_B),)))
        for mixing in self._mixing:
            image_BHWC, target_BK = mixing.mix(plan.drawn[mixing.name], image_BHWC, partner_B, target_BK)
        return image_BHWC, target_BK

    def boxes(self, plan: Plan) -> list[np.ndarray]:
        """box_B4 of every augmentation that covers a part of an image: (top, bottom, left, right) in output pixels."""
        return [entry.boxes(plan.drawn[entry.name], plan.scene) for entry in self._erasing]

    def draw(self, entry: Augmentation, scene: Scene, index_B: np.ndarray) -> Drawn:
        """The parameters of `entry` for the samples `index_B`."""
        strengths = self.config.strengths_of(entry)
        epoch = scene.epoch if entry.every_epoch else 0
        numbers_BN = uniform(self.seed, epoch, entry.name, index_B, num_drawn(entry, strengths, scene))
        return entry.draw(strengths, numbers_BN, scene)


def measure_colours(
    config: AugmentConfig, source: DataSource, index_N: np.ndarray, seed: int, white: int = MAX_16_BIT
) -> AugmentConfig:
    """`config` with what pca_colour needs: the principal colours of up to 1,000 of the training images `index_N`.

    A config that does not use them, or has them already, comes back as it is. `white` as in
    `decode_image`. Raises ImageError where a file is bad.
    """
    strengths = getattr(config, "pca_colour", None)
    if not isinstance(strengths, PcaColourStrengths) or not strengths.is_active or strengths.eigenvalues:
        return config
    chosen = np.sort(np.asarray(index_N)[permutation(seed, 0, len(index_N))[:NUM_MEASURED]])
    pixels = []
    for index in chosen.tolist():
        content, key = source.read(index), source.record(index).key
        pixel_N3 = decode_image(content, key, MEASURED_SIDE_PX, white).image_HWC.reshape(-1, 3)
        pixels.append(pixel_N3[:: max(1, len(pixel_N3) // MEASURED_SIDE_PX**2)])
    return config.model_copy(update={"pca_colour": measured(strengths, np.concatenate(pixels))})
