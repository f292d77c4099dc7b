"""`model.onnx`: one file with its weights inside, the same bytes each time, and nothing of the machine in it."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ..core.errors import ExportError, brief
from ..core.packages import first_missing
from .bundle import IMAGE, own_outputs
from .graph import Shipped
from .needed import MISSING, ONNX_PACKAGES

if TYPE_CHECKING:
    import onnx

OPSET = 18
MAX_BYTES = (2 << 30) - (1 << 20)  # of a protocol buffer, which an ONNX file with its weights inside is
NO_REPORTS = "ORT_DISABLE_TELEMETRY"  # else onnxruntime reports to its maker, and keeps an identity in the cache folder


def require_onnx() -> None:
    """Raise ExportError where a package that an ONNX file is made or run by is missing."""
    os.environ.setdefault(NO_REPORTS, "1")
    if missing := first_missing(ONNX_PACKAGES):
        raise ExportError(MISSING.format(name=missing))


def onnx_bytes(network: Shipped, input_HWC: tuple[int, int, int], metadata: Mapping[str, str]) -> bytes:
    """The content of the file: `image` (batch, H, W, C), uint8 or of bands of 16 bits uint16, to the outputs of the
    network; `metadata` as text.

    Raises ExportError where torch cannot follow the network, or the file would be larger than ONNX allows.
    """
    require_onnx()
    size_bytes = sum(tensor.nbytes for tensor in network.state_dict().values())
    if size_bytes > MAX_BYTES:
        raise ExportError(
            f"The weights take {size_bytes / 1e9:,.1f} GB; an ONNX file with its weights inside holds up to 2.1 GB.\n"
            f"Export another format, or a smaller network."
        )
    example_BHWC = torch.zeros((2, *input_HWC), dtype=network.pixel_type)
    with _quiet(), without_bar_threads():
        try:
            program = torch.onnx.export(
                network,
                (example_BHWC,),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=[IMAGE],
                output_names=network.outputs,
                dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise ExportError(
                f"torch cannot follow this network for an export: {brief(_cause(error), 200)}.\n"
                f"Layers that decide by the values of their input have no place in a fixed graph; take that out of "
                f"forward()."
            ) from error
    if program is None:
        raise ExportError("torch wrote no ONNX graph and did not say why.\nReport it with the network's name.")
    model = program.model_proto
    _forget_the_machine(model)
    for name, value in sorted(metadata.items()):
        entry = model.metadata_props.add()
        entry.key, entry.value = name, value
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def run_onnx(content: bytes, image_BHWC: np.ndarray) -> tuple[np.ndarray, ...]:
    """(logits_BK, probability_BK or number_B1) float32 of prepared images, by onnxruntime on the processor; with
    distance_B where the graph gives it."""
    session = open_session(content)
    return tuple(session.run(own_outputs(output.name for output in session.get_outputs()), {IMAGE: image_BHWC}))


def open_session(content: bytes) -> Any:
    """onnxruntime's session of a file, on the processor."""
    os.environ.setdefault(NO_REPORTS, "1")
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone: its warnings are about graphs that others could have optimised
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _forget_the_machine(model: "onnx.ModelProto") -> None:
    """Take out what torch notes of how the graph came about: stack traces with the paths of your files."""
    model.doc_string = ""
    graphs: list[Any] = [model.graph, *model.functions]
    for graph in graphs:
        graph.doc_string = ""
        named = [*graph.node, *graph.value_info, graph]
        if hasattr(graph, "initializer"):
            named += [*graph.initializer, *graph.input, *graph.output]
        for part in named:
            part.doc_string = ""
            del part.metadata_props[:]


def _cause(error: BaseException) -> str:
    """The innermost reason, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()).rstrip(".")


@contextmanager
def without_bar_threads() -> Iterator[None]:
    """torch draws a progress bar that nobody sees: it leaves no thread, and chooses no way to start processes."""
    if first_missing(("tqdm",)):
        yield  # torch goes without it, too
        return
    bar: Any = import_module("tqdm").tqdm
    interval_s, had_lock = bar.monitor_interval, hasattr(bar, "_lock")
    bar.monitor_interval = 0
    if not had_lock:
        bar.set_lock(threading.RLock())
    try:
        yield
    finally:
        bar.monitor_interval = interval_s
        if not had_lock:
            del bar._lock


@contextmanager
def _quiet() -> Iterator[None]:
    """torch's notes on packages that are not installed and on its own deprecations are not for who exports."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
