"""What has to be installed to make and run the graphs of an export. Nothing here needs it."""

from collections.abc import Collection

from ..core.errors import ExportError
from ..core.packages import first_absent

GRAPH_FORMATS = frozenset({"onnx", "openvino", "browser", "triton"})  # these are made from ONNX
ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MISSING = (
    "Export to ONNX needs onnx, onnxscript and onnxruntime, of which '{name}' is not installed.\n"
    "Install them: pip install 'saccade-learn[export]'."
)
MISSING_OPENVINO = (
    "Export to OpenVINO needs openvino, which is not installed.\nInstall it: pip install 'saccade-learn[openvino]'."
)
MISSING_TORCH = (
    "A run is exported before it is served, which needs torch, and that is not installed here.\n"
    "Export it where it was trained: saccade export RUN --format openvino. Then serve the folder that this writes."
)


def refuse_absent(formats: Collection[str]) -> None:
    """Raise ExportError where something is not there that makes one of `formats`, without importing any of it."""
    if GRAPH_FORMATS.intersection(formats) and (absent := first_absent(ONNX_PACKAGES)):
        raise ExportError(MISSING.format(name=absent))
    if "openvino" in formats and first_absent(["openvino"]):
        raise ExportError(MISSING_OPENVINO)


def refuse_absent_for_serving() -> None:
    """Raise ExportError where something is not there that exports a run for a server, without importing any of it."""
    if first_absent(["torch"]):
        raise ExportError(MISSING_TORCH)
    refuse_absent(["openvino"])
