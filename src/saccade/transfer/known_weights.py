"""What the configuration of a transfer takes from its weights: digest, place, and how pixels become inputs."""

from ..core.errors import ConfigError, WeightsError, printable
from ..core.types import Preprocessing
from ..train.choose_preprocessing import RESIZE_MARGIN, fit_to
from ..train.config import InputConfig, RunConfig
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
    preprocessing = known.preprocessing or _in_grey(_resized(weights.preprocessing, config.input), config.input)
    source = weights.source if weights.source.startswith("hub:") else known.weights
    found = {"weights": source, "weights_sha256": weights.sha256, "preprocessing": preprocessing}
    return config.model_copy(update={"transfer": known.model_copy(update=found)})


def _resized(own: Preprocessing, wanted: InputConfig) -> Preprocessing:
    """`own`, that of the weights, with the size and the fit that are asked for; the margin around a crop stays in
    proportion. Weights that see pictures whole go on to, unless a crop is asked for."""
    if wanted.size_HW is None and wanted.fit == "auto":
        return own
    own_HW = (own.input_height_px, own.input_width_px)
    input_HW = wanted.size_HW or own_HW
    margin = own.resize_px / min(own_HW) if own.resize_px else RESIZE_MARGIN
    fit, resize_px = fit_to(wanted.fit, input_HW, margin)
    if wanted.fit == "auto" and own.is_whole:
        fit, resize_px = own.fit, None
    sizes = {"input_height_px": input_HW[0], "input_width_px": input_HW[1]}
    return own.model_copy(update={"fit": fit, "resize_px": resize_px, **sizes})


def _in_grey(own: Preprocessing, wanted: InputConfig) -> Preprocessing:
    """`own` for grey inputs where they are asked for: the means of the channels' means and deviations, as the filters
    of the first convolution are summed. Raises ConfigError where colours are asked for that the weights never saw."""
    if wanted.channels in ("auto", "bands", own.channels) or own.has_bands:  # bands are settled by the images
        return own
    if wanted.channels == "rgb":
        raise ConfigError(
            "input.channels=rgb asks for colours, and these weights take grey images.\n"
            "Leave it out, or take weights that were trained on colour images."
        )
    values = {name: (round(sum(found) / len(found), 6),) for name, found in (("mean", own.mean), ("std", own.std))}
    return own.model_copy(update={"channels": "grey", **values})
