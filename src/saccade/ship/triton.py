"""A model repository of Triton: the ONNX file under a version, what it takes and gives, and the names of the classes.

https://docs.nvidia.com/deeplearning/triton-inference-server, "Model Repository" and "Model Configuration".
"""

from collections.abc import Sequence

from ..core.errors import ExportError, printable
from .bundle import DISTANCE, IMAGE, LOGITS, PROBABILITIES

REPOSITORY, MODEL = "triton", "classifier"  # Triton calls the model as its folder is called
LABELS = "labels.txt"
MAX_BATCH = 32
USUAL = (LOGITS, PROBABILITIES)


def triton_files(
    onnx_content: bytes,
    input_HWC: tuple[int, int, int],
    classes: Sequence[str],
    outputs: Sequence[str] = USUAL,
    depth_bits: int = 8,
) -> dict[str, bytes]:
    """The repository's files by their place in the export. Raises ExportError for a class that takes two lines.

    `outputs` are those of the graph, and `depth_bits` the bits of its pixels.
    """
    for name in classes:
        if len(name.splitlines()) != 1 or not name.strip():
            raise ExportError(
                f"Triton reads the names of the classes from a file, one a line; '{printable(name[:80])}' is none.\n"
                f"Rename the class, and train again."
            )
    folder = f"{REPOSITORY}/{MODEL}"
    return {
        f"{folder}/1/model.onnx": onnx_content,
        f"{folder}/config.pbtxt": config_text(input_HWC, len(classes), outputs, depth_bits).encode(),
        f"{folder}/{LABELS}": "".join(f"{name}\n" for name in classes).encode(),
    }


def config_text(
    input_HWC: tuple[int, int, int], num_classes: int, outputs: Sequence[str] = USUAL, depth_bits: int = 8
) -> str:
    """`config.pbtxt`, protobuf's text format of Triton's `ModelConfig`; the batch is in front of every `dims`."""
    pixels = ", ".join(map(str, input_HWC))
    special = {
        PROBABILITIES: f', label_filename: "{LABELS}"',
        DISTANCE: ", reshape: { shape: [ ] }",  # Triton's dims cannot be empty, so they are taken away again
    }
    lines = [
        f'  {{ name: "{name}", data_type: TYPE_FP32, dims: [ {1 if name == DISTANCE else num_classes} ]'
        f"{special.get(name, '')} }}"
        for name in outputs
    ]
    return "\n".join(
        [
            'backend: "onnxruntime"',
            f"max_batch_size: {MAX_BATCH}",
            f'input [ {{ name: "{IMAGE}", data_type: TYPE_UINT{depth_bits}, dims: [ {pixels} ] }} ]',
            "output [",
            ",\n".join(lines),
            "]",
            "",
        ]
    )
