"""PCA colour augmentation: shifts along the directions in which the training set's colours vary."""

import numpy as np
from pydantic import Field

from ...core.errors import ConfigError
from ..augmentation import Colouring, Drawn, Scene, Strengths, normal, register
from .shared.colour import shifts


class PcaColourStrengths(Strengths):
    """How far the colour moves, and along what; the components are measured on the training set (`measure`)."""

    deviation: float = Field(
        0.0, ge=0, le=10, description="standard deviation of the draws that the eigenvalues are multiplied by"
    )
    eigenvalues: tuple[float, ...] = Field(
        (), max_length=3, description="of the covariance of RGB in 0 to 1; empty: measured on the training set"
    )
    eigenvectors: tuple[tuple[float, float, float], ...] = Field(
        (), max_length=3, description="unit vectors (red, green, blue), one for each eigenvalue"
    )

    @property
    def is_active(self) -> bool:
        return self.deviation > 0


def measured(strengths: PcaColourStrengths, pixel_N3: np.ndarray) -> PcaColourStrengths:
    """`strengths` with the principal components of uint8 RGB pixels (N, 3), largest first."""
    covariance_33 = np.cov(pixel_N3.astype(np.float64) / 255, rowvar=False)
    value_3, vector_33 = np.linalg.eigh(covariance_33)
    order = np.argsort(-value_3)
    vector_33 = vector_33[:, order].T
    vector_33 *= np.where(vector_33.sum(axis=1, keepdims=True) < 0, -1, 1)  # one sign, so that equal sets agree
    return strengths.model_copy(
        update={
            "eigenvalues": tuple(float(round(value, 9)) for value in value_3[order].clip(0)),
            "eigenvectors": tuple(tuple(float(round(x, 9)) for x in vector) for vector in vector_33),
        }
    )


def draw(strengths: PcaColourStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    """`red_levels`, `green_levels`, `blue_levels` (of 0 to 255): sum of draw * eigenvalue * eigenvector, float64 (B,).

    Raises ConfigError where the components have not been measured.
    """
    if strengths.deviation and len(strengths.eigenvalues) != 3:
        raise ConfigError(
            "pca_colour needs the principal colours of the training set, and they have not been measured.\n"
            "Training and preview measure them; in Python call saccade.data.augmenter.measure_colours first."
        )
    vector_33 = np.array(strengths.eigenvectors or np.eye(3))
    value_3 = np.array(strengths.eigenvalues or np.zeros(3))
    weight_B3 = 255 * (strengths.deviation * normal(uniform_BN) * value_3)
    # Not a matrix product: on some processors its last bits depend on how many samples are in the batch.
    level_B3 = sum(weight_B3[:, [k]] * vector_33[k] for k in range(3))
    return {"red_levels": level_B3[:, 0], "green_levels": level_B3[:, 1], "blue_levels": level_B3[:, 2]}


def matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    """The drawn levels are added."""
    return shifts(np.stack([drawn["red_levels"], drawn["green_levels"], drawn["blue_levels"]], axis=1) / 255)


register(
    Colouring(
        name="pca_colour",
        summary="shift along the principal colours of the training set",
        source="Krizhevsky et al. 2012, ImageNet classification with deep convolutional networks, section 4.1",
        strengths=PcaColourStrengths,
        num_draws=lambda strengths, scene: 6,
        draw=draw,
        matrices=matrices,
    ),
    __name__,
)
