"""`model.xml` and `model.bin`: OpenVINO's form, made of the ONNX file and never of the module, which it would trace."""

import tempfile
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ..core.errors import ExportError
from ..core.plain_files import open_plain_file
from .bundle import IMAGE, own_outputs
from .needed import MISSING_OPENVINO
from .reports import without_reports

FLOAT32 = {"INFERENCE_PRECISION_HINT": "f32"}  # else it computes in bfloat16 where the processor can, without a word
Found = TypeVar("Found")


def require_openvino() -> None:
    """Raise ExportError where OpenVINO is not installed."""
    try:
        with without_reports():
            import openvino  # noqa: F401
    except ImportError:
        raise ExportError(MISSING_OPENVINO) from None


def openvino_core() -> Any:
    """A Core of OpenVINO, whose part for processors was begun on a thread that ends.

    That part gives the thread that begins it a stack for signals of its own, and unmaps that at its end. Of two Cores
    whose lives overlap, the one that ends last puts back the stack of the other, which is gone: the next signal (Ctrl-C
    in a training) ends the process by SIGSEGV. What it does to a thread of its own does no harm.
    """
    require_openvino()
    import openvino

    core = openvino.Core()
    on_its_own_thread(lambda: core.get_property("CPU", "FULL_DEVICE_NAME"))  # the processor's part is loaded by this
    return core


def on_its_own_thread(work: Callable[[], Found]) -> Found:
    """What `work` gives or raises, on a thread of its own: what OpenVINO does to a thread ends with it. Ctrl-C does not
    wait for it."""
    found: Future[Found] = Future()

    def run() -> None:
        try:
            found.set_result(work())
        except BaseException as error:  # noqa: BLE001  raised again on the thread that waits
            found.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return found.result()


def openvino_files(onnx_content: bytes, metadata: Mapping[str, str], half: bool) -> dict[str, bytes]:
    """The content of `model.xml` and `model.bin`. With `half` weights are stored as float16, computed as float32."""
    return model_files(openvino_core().read_model(onnx_content, b""), metadata, half)


def model_files(model: Any, metadata: Mapping[str, str], half: bool) -> dict[str, bytes]:
    """The content of both files of a model of OpenVINO, without names that are numbered by a counter of the process."""
    import openvino

    for number, operation in enumerate(model.get_ordered_ops()):
        if operation.get_friendly_name() == operation.get_name():
            operation.set_friendly_name(f"{operation.get_type_name()}_{number}")
    for name, value in sorted(metadata.items()):
        model.set_rt_info(value, name.split("."))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        openvino.save_model(model, path, compress_to_fp16=half)
        return {name: _content(Path(folder) / name) for name in ("model.xml", "model.bin")}


def _content(path: Path) -> bytes:
    with open_plain_file(path) as file:
        return file.read()


def run_openvino(files: Mapping[str, bytes], image_BHWC: np.ndarray) -> tuple[np.ndarray, ...]:
    """(logits_BK, probability_BK or number_B1) float32 of prepared images, by OpenVINO on the processor, in float32;
    with distance_B where the graph gives it."""
    core = openvino_core()
    model: Any = core.read_model(files["model.xml"], files["model.bin"])
    compiled = core.compile_model(model, "CPU", FLOAT32)
    found = compiled({IMAGE: image_BHWC})
    names = {name for output in compiled.outputs for name in output.get_names()}
    return tuple(found[name] for name in own_outputs(names))
