"""One image by the served engine (OpenVINO, float32) against torch as `predict` runs it, and onnxruntime by hand.

    python -m benchmarks.engine_speed --networks squeezenet1.1 resnet18 mobilenet_v2
    python -m benchmarks.engine_speed --int8        besides, the same export in 8 bits against float32: needs nncf

Every contestant has one thread and takes the same prepared uint8 pixels to probabilities. Weights are random: they
decide nothing about the time, and neither do the images that set the ranges of 8 bits. Time is processor time, which
other work on the machine disturbs least. Besides the ratios stands the share of the matrix-product peak of one thread.
"""

import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from benchmarks import common
from saccade.core.task import ONE_LABEL
from saccade.core.types import Preprocessing
from saccade.data.images.normalize import normalize
from saccade.models.architecture import MODELS, build_model
from saccade.ship.graph import shipped
from saccade.ship.onnx_file import onnx_bytes
from saccade.ship.openvino_file import FLOAT32, openvino_files
from saccade.ship.quantize import quantized_network

NUM_CALIBRATION_IMAGES = 10


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", nargs="+", default=["squeezenet1.1", "resnet18", "mobilenet_v2"])
    parser.add_argument("--images", type=int, default=40, help="images of one turn (default 40)")
    parser.add_argument("--int8", action="store_true", help="also the export in 8 bits; needs nncf")
    arguments = parser.parse_args()
    arguments.threads = 1
    header = common.start(arguments)
    pairs, num_images = (1, 2) if arguments.smoke else (arguments.pairs, arguments.images)
    found, lines = {}, []
    for name in arguments.networks:
        rates = common.interleave(contestants(name, num_images, arguments.int8), pairs)
        ratios = {peer: common.paired_ratio(rates["served"], rates[peer]) for peer in ("torch", "onnxruntime")}
        if arguments.int8:
            ratios["int8"] = common.paired_ratio(rates["int8"], rates["served"])
        peak = 1e12 * header["matmul_float32_tflops"]
        share = 2 * multiply_adds(name) * float(np.median(rates["served"])) / peak
        found[name] = {"images_per_s": rates, "ratios": ratios, "share_of_peak": share}
        lines.append(
            f"{name}: {ratios['torch']} times torch, {ratios['onnxruntime']} times onnxruntime; "
            f"{100 * share:.0f} % of the matrix-product peak"
        )
        if arguments.int8:
            lines.append(f"{name} in 8 bits: {ratios['int8']} times float32")
    common.report(arguments, {"header": header, "networks": found}, "\n".join(lines))


def contestants(name: str, num_images: int, is_int8: bool) -> Mapping[str, Callable[[], float]]:
    """Images per second of processor time of each engine, one image at a time, on one thread."""
    import onnxruntime
    import openvino

    torch.manual_seed(0)
    preprocessing = Preprocessing()
    model = build_model(name, MODELS.get(name).default_spec).eval().to(memory_format=torch.channels_last)
    image_1HWC = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3), np.uint8)
    content = onnx_bytes(shipped(model, preprocessing, 1.0, ONE_LABEL), (224, 224, 3), {})
    files = openvino_files(content, {}, False)
    core = openvino.Core()
    read = core.read_model(files["model.xml"], files["model.bin"])
    one_thread = {"NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": 1, "ENABLE_CPU_PINNING": False}
    request = core.compile_model(read, "CPU", FLOAT32 | one_thread).create_infer_request()
    small = core.compile_model(in_8_bits(read), "CPU", FLOAT32 | one_thread).create_infer_request() if is_int8 else None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def by_torch() -> None:
        with torch.inference_mode():
            pixels_1CHW = torch.from_numpy(image_1HWC).permute(0, 3, 1, 2)
            model(normalize(pixels_1CHW, preprocessing, torch.float32)).softmax(dim=1)

    def rate(run: Callable[[], object]) -> Callable[[], float]:
        def turn() -> float:
            started = time.process_time()
            for _ in range(num_images):
                run()
            return num_images / (time.process_time() - started)

        return turn

    found = {
        "served": rate(lambda: request.infer({"image": image_1HWC})),
        "torch": rate(by_torch),
        "onnxruntime": rate(lambda: session.run(["probabilities"], {"image": image_1HWC})),
    }
    return found | {"int8": rate(lambda: small.infer({"image": image_1HWC}))} if small else found


def in_8_bits(read: Any) -> Any:
    """OpenVINO's model as `saccade export --int8` quantises it, its ranges set by noise."""
    noise_NHWC = np.random.default_rng(1).integers(0, 256, (NUM_CALIBRATION_IMAGES, 224, 224, 3), np.uint8)
    return quantized_network(read, noise_NHWC)


def multiply_adds(name: str) -> int:
    """Of one 224-pixel photo, as `saccade table` counts them."""
    from saccade import api

    return api.table(name).totals.multiply_adds


if __name__ == "__main__":
    main()
