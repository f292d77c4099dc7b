"""Every registered network leaves as ONNX and OpenVINO and is held to its own answers. About 5 CPU seconds a network.

python -m campaigns.export [NAME ...]
"""

import sys

import numpy as np
import torch

from saccade.core.errors import ModelError
from saccade.core.task import ONE_LABEL
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.models.architecture import MODELS, ModelSpec
from saccade.models.build import resolve_model
from saccade.ship.graph import shipped
from saccade.ship.onnx_file import onnx_bytes, run_onnx
from saccade.ship.openvino_file import openvino_files, run_openvino

INPUTS = ((3, 224, 224), (3, 32, 32), (1, 32, 32))  # the first that a network takes
TOLERANCE = 1e-4


def main() -> int:
    """The number of networks that answer otherwise in an engine."""
    names = sys.argv[1:] or list(MODELS)
    wrong = 0
    for name in names:
        found = differences(name)
        worst = float(np.max(list(found.values())))  # not a number, where one is none
        wrong += not worst <= TOLERANCE
        words = ", ".join(f"{engine} {value:.1e}" for engine, value in found.items())
        print(f"{name}: {words}{'' if worst <= TOLERANCE else '   WRONG'}", flush=True)
    print(f"{len(names)} networks, {wrong} wrong")
    return min(wrong, 100)


def differences(name: str) -> dict[str, float]:
    """By engine, the largest difference of a logit from the network's own, over three images of noise; as a share of
    the largest logit where that is above 1: untrained, deep residual networks give thousands."""
    torch.manual_seed(0)
    model, input_CHW = first_that_fits(name)
    channels, height_px, width_px = input_CHW
    preprocessing = Preprocessing(
        channels="rgb" if channels == 3 else "grey",
        input_height_px=height_px,
        input_width_px=width_px,
        mean=(0.5,) * channels,
        std=(0.25,) * channels,
    )
    image_BHWC = np.random.default_rng(0).integers(0, 256, (3, height_px, width_px, channels), dtype=np.uint8)
    with torch.inference_mode():
        image_BCHW = torch.from_numpy(image_BHWC).permute(0, 3, 1, 2)
        logits_BK = model(normalize(image_BCHW, preprocessing, torch.float32)).numpy()
    content = onnx_bytes(shipped(model, preprocessing, 1.0, ONE_LABEL), (height_px, width_px, channels), {})
    files = openvino_files(content, {}, half=False)
    answers = {"onnxruntime": run_onnx(content, image_BHWC)[0], "OpenVINO": run_openvino(files, image_BHWC)[0]}
    scale = max(1.0, float(np.abs(logits_BK).max()))
    return {engine: float(np.abs(found_BK - logits_BK).max()) / scale for engine, found_BK in answers.items()}


def first_that_fits(name: str) -> tuple[torch.nn.Module, tuple[int, int, int]]:
    """The network for ten classes, and the input it is built for. Raises ModelError where it takes none of INPUTS."""
    for input_CHW in INPUTS[:-1]:
        try:
            return resolve_model(name, ModelSpec(num_classes=10, input_CHW=input_CHW)).eval(), input_CHW
        except ModelError:
            continue
    return resolve_model(name, ModelSpec(num_classes=10, input_CHW=INPUTS[-1])).eval(), INPUTS[-1]


if __name__ == "__main__":
    sys.exit(main())
