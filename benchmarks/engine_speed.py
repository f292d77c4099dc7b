"""One image by the served engine (OpenVINO, float32) against torch as `predict` runs it, and onnxruntime by hand.

    python -m benchmarks.engine_speed --networks squeezenet1.1 resnet18 mobilenet_v2

Every contestant has one thread and takes the same prepared uint8 pixels to probabilities. Weights are random: they
decide nothing about the time. Besides the ratios stands the share of the matrix-product peak of one thread.
"""

import time
from collections.abc import Callable, Mapping

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


def main() -> None:
    """Run the benchmark."""
    parser = common.argument_parser(__doc__ or "")
    parser.add_argument("--networks", nargs="+", default=["squeezenet1.1", "resnet18", "mobilenet_v2"])
    parser.add_argument("--images", type=int, default=40, help="images of one turn (default 40)")
    arguments = parser.parse_args()
    arguments.threads = 1
    header = common.start(arguments)
    pairs, num_images = (1, 2) if arguments.smoke else (arguments.pairs, arguments.images)
    found, lines = {}, []
    for name in arguments.networks:
        rates = common.interleave(contestants(name, num_images), pairs)
        ratios = {peer: common.paired_ratio(rates["served"], rates[peer]) for peer in ("torch", "onnxruntime")}
        peak = 1e12 * header["matmul_float32_tflops"]
        share = 2 * multiply_adds(name) * float(np.median(rates["served"])) / peak
        found[name] = {"images_per_s": rates, "ratios": ratios, "share_of_peak": share}
        lines.append(
            f"{name}: {ratios['torch']} times torch, {ratios['onnxruntime']} times onnxruntime; "
            f"{100 * share:.0f} % of the matrix-product peak"
        )
    common.report(arguments, {"header": header, "networks": found}, "\n".join(lines))


def contestants(name: str, num_images: int) -> Mapping[str, Callable[[], float]]:
    """Images per second of each engine, one image at a time, on one thread."""
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
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def by_torch() -> None:
        with torch.inference_mode():
            pixels_1CHW = torch.from_numpy(image_1HWC).permute(0, 3, 1, 2)
            model(normalize(pixels_1CHW, preprocessing, torch.float32)).softmax(dim=1)

    def rate(run: Callable[[], object]) -> Callable[[], float]:
        def turn() -> float:
            started = time.perf_counter()
            for _ in range(num_images):
                run()
            return num_images / (time.perf_counter() - started)

        return turn

    return {
        "served": rate(lambda: request.infer({"image": image_1HWC})),
        "torch": rate(by_torch),
        "onnxruntime": rate(lambda: session.run(["probabilities"], {"image": image_1HWC})),
    }


def multiply_adds(name: str) -> int:
    """Of one 224-pixel photo, as `saccade table` counts them."""
    from saccade import api

    return api.table(name).totals.multiply_adds


if __name__ == "__main__":
    main()
