"""What the configuration of a transfer takes from its weights: digest, place, and how pixels become inputs."""

from ..core.errors import WeightsError, printable
from ..core.types import Preprocessing
from ..train.config import RunConfig
from ..weights.public import BackboneWeights


def with_weights(config: RunConfig, weights: BackboneWeights) -> RunConfig:
    """`config` with what is known of its weights. Raises WeightsError where they are not those it was begun with."""
    known = config.transfer
    if known.weights_sha256 and known.weights_sha256 != weights.sha256:
        raise WeightsError(
            f"The weights {printable(known.weights)} are not those this run was begun with: their SHA-256 is "
            f"{weights.sha256[:12]}..., it was {known.weights_sha256[:12]}....\n"
            f"Put the file back, or start a new run with another --out."
        )
    preprocessing = known.preprocessing or _resized(weights.preprocessing, config.input.size_px)
    source = weights.source if weights.source.startswith("hub:") else known.weights
    found = {"weights": source, "weights_sha256": weights.sha256, "preprocessing": preprocessing}
    return config.model_copy(update={"transfer": known.model_copy(update=found)})


def _resized(preprocessing: Preprocessing, size_px: int) -> Preprocessing:
    """`preprocessing` for a square input of another size, 0 for its own; the margin around it stays in proportion."""
    if not size_px:
        return preprocessing
    margin = (preprocessing.resize_px or 0) / min(preprocessing.input_height_px, preprocessing.input_width_px)
    sizes = {"input_height_px": size_px, "input_width_px": size_px, "resize_px": round(margin * size_px) or None}
    return preprocessing.model_copy(update=sizes)
