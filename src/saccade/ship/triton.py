"""A model repository of Triton: the ONNX file under a version, what it takes and gives, and the names of the classes.

https://docs.nvidia.com/deeplearning/triton-inference-server, "Model Repository" and "Model Configuration".
"""

from collections.abc import Sequence

from ..core.errors import ExportError, printable
from .bundle import DISTANCE, IMAGE, LOGITS, PROBABILITIES

REPOSITORY, MODEL = "triton", "classifier"  # Triton calls the model as its folder is called
LABELS = "labels.txt"
MAX_BATCH = 32


def triton_files(
    onnx_content: bytes, input_HWC: tuple[int, int, int], classes: Sequence[str], has_distance: bool = False
) -> dict[str, bytes]:
    """The repository's files by their place in the export. Raises ExportError for a class that takes two lines."""
    for name in classes:
        if len(name.splitlines()) != 1 or not name.strip():
            raise ExportError(
                f"Triton reads the names of the classes from a file, one a line; '{printable(name[:80])}' is none.\n"
                f"Rename the class, and train again."
            )
    folder = f"{REPOSITORY}/{MODEL}"
    return {
        f"{folder}/1/model.onnx": onnx_content,
        f"{folder}/config.pbtxt": config_text(input_HWC, len(classes), has_distance).encode(),
        f"{folder}/{LABELS}": "".join(f"{name}\n" for name in classes).encode(),
    }


def config_text(input_HWC: tuple[int, int, int], num_classes: int, has_distance: bool = False) -> str:
    """`config.pbtxt`, protobuf's text format of Triton's `ModelConfig`; the batch is in front of every `dims`."""
    pixels = ", ".join(map(str, input_HWC))
    outputs = [
        f'  {{ name: "{LOGITS}", data_type: TYPE_FP32, dims: [ {num_classes} ] }}',
        f'  {{ name: "{PROBABILITIES}", data_type: TYPE_FP32, dims: [ {num_classes} ], label_filename: "{LABELS}" }}',
    ]
    if has_distance:  # one number an image: Triton's dims cannot be empty, so they are taken away again
        outputs.append(f'  {{ name: "{DISTANCE}", data_type: TYPE_FP32, dims: [ 1 ], reshape: {{ shape: [ ] }} }}')
    return "\n".join(
        [
            'backend: "onnxruntime"',
            f"max_batch_size: {MAX_BATCH}",
            f'input [ {{ name: "{IMAGE}", data_type: TYPE_UINT8, dims: [ {pixels} ] }} ]',
            "output [",
            ",\n".join(outputs),
            "]",
            "",
        ]
    )
