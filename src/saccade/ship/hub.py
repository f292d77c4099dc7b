"""The folder that timm and transformers load: `config.json` in timm's layout, weights under timm's names.

It is loaded again before it is kept: by timm where it is installed, with timm's own resizing of whole pictures, else by
our own reader of such folders.
"""

import importlib
import importlib.util
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import save as array_bytes
from safetensors.torch import save as tensor_bytes
from torch import nn

from ..core import atomic
from ..core.errors import ExportError, shell_word
from ..core.task import Task
from ..core.types import Preprocessing
from ..data.images.normalize import normalize
from ..data.images.preprocess import place_on_input, prepare_image
from ..evaluate.novelty import Novelty
from ..models.penultimate import MAX_KEPT, with_features
from ..runs.checkpoint import Checkpoint
from ..runs.names import CONFIG as RUN_CONFIG
from ..weights.public import find_weights, load_backbone
from ..weights.tensors import tensor_shapes
from .check import FLOAT32_STEP, FLOAT32_TOLERANCE, Difference, Reference, compare, largest, require_equal
from .check_images import SIZES_HW, check_image
from .timm_names import TimmNetwork, timm_network, under_timm_names

WEIGHTS, CONFIG = "model.safetensors", "config.json"
KNOWN, UNIT_FEATURES = "unlike_training.safetensors", "unit_features"  # float16 (M, D), of unit length
Features = Callable[[torch.Tensor], torch.Tensor]
PIXEL_TOLERANCE = 0.01  # of a level of 255: both resize by Pillow
PROBLEMS = {"several labels": "multi_label_classification", "number": "regression"}
GRAPH = "Export a graph, which takes pixels that are prepared already: --format onnx."


@dataclass(frozen=True, kw_only=True)
class HubFolder:
    """Content by name, how far the reader's answers are from the run's, and who read it. `untold`: why the folder does
    not tell images that are unlike those of training, "" where it does."""

    files: dict[str, bytes]
    difference: Difference
    read_by: str
    untold: str


def check_hub(checkpoint: Checkpoint) -> TimmNetwork:
    """timm's network for the run. Raises ExportError where timm has none, or would prepare pictures otherwise."""
    manifest = checkpoint.manifest
    with_shapes = tensor_shapes(checkpoint.build(manifest.spec))
    network = timm_network(manifest.model, with_shapes, manifest.spec, _plain_layer_words(checkpoint))
    timm_crop(manifest.preprocessing)
    if len(manifest.classes) == 1 and manifest.task.is_one:
        raise ExportError(
            "transformers answers with a sigmoid where there is one class.\nExport a graph: --format onnx."
        )
    return network


def _plain_layer_words(checkpoint: Checkpoint) -> str:
    """How a transfer gets a last layer that timm has, and keeps its body; "" where it is none."""
    manifest, run = checkpoint.manifest, checkpoint.folder.parent
    if not (manifest.origin.transfer.weights and (run / RUN_CONFIG).is_file()):
        return ""
    plain = run.with_name(f"{run.name}-linear")
    return (
        f"Or fit a plain last layer to the same features, which is judged anew, "
        f"and export that run:\n"
        f"saccade transfer --config {shell_word(run / RUN_CONFIG)} --weights {shell_word(run)} --freeze all --set "
        f"transfer.head=linear --out {shell_word(plain)}"
    )


def hub_folder(
    checkpoint: Checkpoint, model: nn.Module, reference: Reference, novelty: Novelty | None = None
) -> HubFolder:
    """The files, loaded again and compared with the run; with `novelty` those features, too, by which images unlike
    those of training are told, where the reader gives the same features of an image. Raises ExportError."""
    manifest, network = checkpoint.manifest, check_hub(checkpoint)
    slope_K, shift_K = logit_scale(manifest.task, manifest.temperature, len(manifest.classes))
    weights = under_timm_names(manifest.model, network, {k: v.cpu() for k, v in model.state_dict().items()})
    files = {
        CONFIG: config_bytes(network, checkpoint),
        WEIGHTS: tensor_bytes(scaled(weights, network.last_layer, slope_K, shift_K), metadata={"format": "pt"}),
    }
    wanted, tolerance = _wanted(reference, manifest.task, slope_K, shift_K)
    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            atomic.write_bytes(Path(folder) / name, content)
        read_by, found, features_of = _load(Path(folder), manifest.model.partition("+")[0], manifest.preprocessing)
    found = found.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def answer(image_NHWC: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            image_BCHW = torch.from_numpy(image_NHWC).permute(0, 3, 1, 2)
            logits_BK = found(normalize(image_BCHW, manifest.preprocessing, torch.float32)).float()
            if manifest.task.is_number:
                number_B1 = logits_BK.double().numpy()
                return manifest.task.logits_of(number_B1), number_B1
            probability_BK = logits_BK.sigmoid() if manifest.task.is_several else logits_BK.softmax(dim=1)
        return logits_BK.numpy(), probability_BK.numpy()

    difference = compare(wanted, answer, batches=(len(reference.image_NHWC),))
    require_equal(wanted, difference, read_by, tolerance)
    untold = "the run keeps no features of its training images"
    if novelty is not None and reference.distance_N is not None:
        squared = _squared_distances(features_of, reference, novelty, manifest.preprocessing)
        untold = "timm gives other features of an image than the run compares"
        if squared <= FLOAT32_TOLERANCE:
            files[KNOWN] = array_bytes({UNIT_FEATURES: novelty.unit_MD})
            difference, untold = replace(difference, squared_distances=squared), ""
    return HubFolder(files=files, difference=difference, read_by=read_by, untold=untold)


def _wanted(reference: Reference, task: Task, slope_K: torch.Tensor, shift_K: torch.Tensor) -> tuple[Reference, float]:
    """(what the folder has to answer, how far it may be off). A number is compared as the run's own logit, in standard
    deviations; it is float32 there, which rounds one that is large beside its deviation."""
    if task.is_number:
        rounded = largest(reference.probability_NK) * FLOAT32_STEP / task.deviation
        return replace(reference, distance_N=None), FLOAT32_TOLERANCE + 2 * rounded
    slope_1K, shift_1K = slope_K.numpy().astype(np.float32)[None], shift_K.numpy().astype(np.float32)[None]
    logits_NK = reference.logits_NK * slope_1K + shift_1K
    return replace(reference, logits_NK=logits_NK, distance_N=None), FLOAT32_TOLERANCE


def _squared_distances(
    features_of: Features, reference: Reference, novelty: Novelty, preprocessing: Preprocessing
) -> float:
    """How far squared distances by the reader's features are from the run's, at most; without end where it has none of
    that length."""
    image_BCHW = torch.from_numpy(reference.image_NHWC).permute(0, 3, 1, 2)
    with torch.inference_mode():
        feature_BD = features_of(normalize(image_BCHW, preprocessing, torch.float32))
    if feature_BD.shape != (len(reference.image_NHWC), novelty.num_features) or reference.distance_N is None:
        return math.inf
    return largest(novelty.distance(feature_BD.float().numpy()) ** 2 - reference.distance_N**2)


def logit_scale(task: Task, temperature: float, num_classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(slope_K, shift_K) float64: what the logits are multiplied by and what is added, before softmax or sigmoid; of a
    number, to be it."""
    if task.is_number:
        return torch.tensor([task.deviation], dtype=torch.float64), torch.tensor([task.mean], dtype=torch.float64)
    slopes = task.slopes if task.slopes else (1.0 if task.is_several else 1 / temperature,) * num_classes
    shifts = task.shifts if task.shifts else (0.0,) * num_classes
    return torch.tensor(slopes, dtype=torch.float64), torch.tensor(shifts, dtype=torch.float64)


def scaled(
    weights: Mapping[str, torch.Tensor], last_layer: str, slope_K: torch.Tensor, shift_K: torch.Tensor
) -> dict[str, torch.Tensor]:
    """`weights` with the scale of the logits folded into the last layer."""
    weight, bias = weights[f"{last_layer}.weight"], weights[f"{last_layer}.bias"]
    slope = slope_K.reshape(-1, *[1] * (weight.ndim - 1))
    folded = {
        f"{last_layer}.weight": (weight.double() * slope).to(weight.dtype),
        f"{last_layer}.bias": (bias.double() * slope_K + shift_K).to(bias.dtype),
    }
    return {**weights, **folded}


def config_bytes(network: TimmNetwork, checkpoint: Checkpoint) -> bytes:
    """`config.json` as timm 1.0 and transformers' TimmWrapper read it."""
    manifest = checkpoint.manifest
    preprocessing = manifest.preprocessing
    crop_mode, crop_pct = timm_crop(preprocessing)
    pretrained = {
        "custom_load": False,
        "input_size": list(preprocessing.input_CHW),
        "fixed_input_size": False,
        "interpolation": preprocessing.interpolation,
        "crop_pct": crop_pct,
        "crop_mode": crop_mode,
        "mean": list(preprocessing.mean),
        "std": list(preprocessing.std),
        "num_classes": len(manifest.classes),
        "classifier": network.last_layer,
    }
    licence = manifest.origin.transfer.licence
    values: dict[str, Any] = {
        "architecture": network.name,
        "num_classes": len(manifest.classes),
        "label_names": list(manifest.classes),
        "problem_type": PROBLEMS.get(manifest.task.kind, "single_label_classification"),
        "pretrained_cfg": pretrained | ({"license": licence} if licence else {}),
    }
    values |= {"model_args": dict(network.model_args)} if network.model_args else {}
    return (json.dumps(values, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def timm_crop(preprocessing: Preprocessing) -> tuple[str, float]:
    """(crop_mode, crop_pct) by which timm makes the same pixels. Raises ExportError where it cannot."""
    height_px, width_px = preprocessing.input_height_px, preprocessing.input_width_px
    if preprocessing.channels == "grey":
        raise _refused("turn pictures grey")
    if preprocessing.fast_decode:
        raise _refused("decode large JPEG files at a fraction of their size (fast_decode)")
    if preprocessing.fit == "pad":
        raise _refused("round the sides of a picture that is fitted whole (fit pad) as we do")
    if preprocessing.resize_px is None:
        return "squash", 1.0
    if height_px != width_px:
        raise _refused(f"cut an input of {width_px}x{height_px} px as we do, which is not square")
    return "center", crop_share(height_px, preprocessing.resize_px)


def crop_share(input_px: int, resize_px: int) -> float:
    """The share of the short side that is cut out, for which timm's floor(input_px / share) is `resize_px`: the nearest
    to their quotient. Raises ExportError where there is none."""
    below = above = input_px / resize_px
    for _ in range(8):
        found = [share for share in (below, above) if math.floor(input_px / share) == resize_px]
        if found:
            return found[0]
        below, above = math.nextafter(below, 0), math.nextafter(above, math.inf)
    raise _refused(f"resize to {resize_px} px for an input of {input_px} px")


def _refused(what: str) -> ExportError:
    return ExportError(f"timm cannot {what}, so whole pictures would get other answers there.\n{GRAPH}")


def _load(folder: Path, model: str, preprocessing: Preprocessing) -> tuple[str, nn.Module, Features]:
    """(who read the folder, the network in it, what gives the features of normalised images in front of its last
    layer). Raises ExportError where its pictures would be prepared otherwise."""
    timm, why = _timm()
    if timm is None:
        ours = _load_ourselves(folder, model, preprocessing)
        return f"Saccade's own reader ({why})", ours, partial(_own_features, ours)
    network: Any = timm.create_model(f"local-dir:{folder}", pretrained=True)
    config = timm.data.resolve_data_config({}, pretrained_cfg=network.pretrained_cfg)
    transform = timm.data.create_transform(**config, is_training=False)
    std_C11 = torch.tensor(preprocessing.std)[:, None, None]
    for number in range(len(SIZES_HW)):
        theirs_CHW = transform(Image.fromarray(check_image(number)))
        ours_HWC = torch.tensor(prepare_image(check_image(number), preprocessing))
        ours_CHW = normalize(ours_HWC.permute(2, 0, 1)[None], preprocessing, torch.float32)[0]
        is_of_shape = theirs_CHW.shape == ours_CHW.shape
        levels = float(((theirs_CHW - ours_CHW) * std_C11 * 255).abs().max()) if is_of_shape else 255.0
        if levels > PIXEL_TOLERANCE:
            raise ExportError(
                f"timm {timm.__version__} prepares a picture otherwise than the run: pixels differ by up to "
                f"{levels:.3g} levels of 255.\nNothing was written. {GRAPH}"
            )
    return f"timm {timm.__version__}", network, partial(_timm_features, network)


def _timm_features(network: Any, image_BCHW: torch.Tensor) -> torch.Tensor:
    """As the card says it."""
    found: torch.Tensor = network.forward_head(network.forward_features(image_BCHW), pre_logits=True)
    return found


def _own_features(network: nn.Module, image_BCHW: torch.Tensor) -> torch.Tensor:
    """What the run compares; nothing where the network does not name its parts."""
    looking = with_features(network, MAX_KEPT)
    if looking is None:
        return torch.zeros(0)
    both_BX: torch.Tensor = looking(image_BCHW)
    return both_BX[:, network(image_BCHW[:1]).shape[1] :]


def _timm() -> tuple[Any, str]:
    """(timm, "") or (None, why it cannot be used)."""
    if importlib.util.find_spec("timm") is None:
        return None, "timm is not installed"
    try:
        return importlib.import_module("timm"), ""
    except (ImportError, RuntimeError, AttributeError, OSError) as error:
        return None, f"timm does not start: {type(error).__name__}"  # its words may hold paths, and this is published


def _load_ourselves(folder: Path, model: str, preprocessing: Preprocessing) -> nn.Module:
    weights = find_weights(str(folder), model)
    theirs = weights.preprocessing
    said, wanted = (
        (
            (each.interpolation, each.channels, each.mean, each.std, each.input_CHW),
            [place_on_input(size_HW, each) for size_HW in SIZES_HW],
        )
        for each in (theirs, preprocessing)
    )
    if said != wanted:
        raise ExportError(
            f"{CONFIG} says otherwise than the run how pictures are prepared.\nNothing was written. {GRAPH}"
        )
    return load_backbone(weights)
