"""What has to be installed to make and run the graphs of an export. Nothing here needs it."""

from ..core.errors import ExportError
from ..core.packages import first_absent

ONNX_PACKAGES = ("onnx", "onnxscript", "onnxruntime")
MISSING = (
    "Export to ONNX needs onnx, onnxscript and onnxruntime, of which '{name}' is not installed.\n"
    "Install them: pip install 'saccade-learn[export]'."
)
MISSING_TORCH = (
    "A run is exported before it is served, which needs torch, and that is not installed here.\n"
    "Export it where it was trained: saccade export RUN --format openvino. Then serve the folder that this writes."
)


def refuse_absent() -> None:
    """Raise ExportError where something is not there that exports a run, without importing any of it."""
    if first_absent(["torch"]):
        raise ExportError(MISSING_TORCH)
    if absent := first_absent(ONNX_PACKAGES):
        raise ExportError(MISSING.format(name=absent))
