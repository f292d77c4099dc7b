"""The verdict of a run: `evaluation.json`, the outputs it was counted from, and small pictures of what was judged.

The pictures stand in the run because nothing that only looks at a run may open the source it names.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field
from safetensors.numpy import save as tensor_bytes

from ..core import atomic
from ..core.errors import printable, storable
from ..core.task import MAX_NUMBER, ONE_LABEL, Task
from ..core.types import Preprocessing
from .files import (
    REMEDY,
    ClassNames,
    Count,
    FileRecord,
    RunFile,
    Text,
    check_record,
    damaged,
    parse_tensor_file,
    read_json_file,
    read_run_file,
    take_array,
)
from .names import EVALUATION, EVALUATION_TENSORS, PICTURES

THUMBNAIL_PX = 96  # the longer side
MAX_SEEN = 12  # pictures at the size the network sees, for maps of evidence
MAX_SEEN_BYTES = 8 << 20
MAX_THUMBNAILS = 200
Key = Annotated[str, Field(max_length=10_000)]
Keys = Annotated[tuple[Key, ...], Field(strict=False)]


class Verdict(RunFile):
    """`evaluation.json`, as far as it is read again: which images were judged, by `storable` name, in the order of the
    outputs.

    `files` are the size and digest of the two files beside it. `caveats` qualify the verdict. Runs of before 0.2 have
    neither, and `kind` is not in those of before 0.3.
    """

    split: Literal["train", "validation", "test", "folds"] = "test"
    kind: Literal["held-out", "training", "cross-validated"] | None = Field(
        None, description="what the judged images are"
    )
    caveats: tuple[Text, ...] | None = Field(None, strict=False)
    temperature_images: Count = Field(0, description="validation images the temperature was fitted on; 0: not known")
    calibration_images: Count = Field(
        0, description="the same of several labels: images their calibration was fitted on"
    )
    half_width_images: Count = Field(0, description="the same of numbers: images the width of intervals is from")
    keys: Keys = ()
    classes: ClassNames = ()
    files: Annotated[dict[str, FileRecord], Field(max_length=10)] = Field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class JudgedOutputs:
    """`evaluation.safetensors`: logits_NK float32, label_N and index_N (into the source) int64.

    Of several labels `label_N` is label_NK uint8, 0 and 1, and is called so in the file; of numbers value_N float64.
    `unlike_N` (bool, uint8 in the file) says which images are unlike anything seen in training; None where nothing
    told.
    """

    logits_NK: np.ndarray
    label_N: np.ndarray
    index_N: np.ndarray
    unlike_N: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class JudgedPictures:
    """`pictures.safetensors`, by position among the judged images.

    `seen` are prepared images (H, W, C) at the network's input size, `thumbnails` uint8 pictures of the same at no more
    than 96 pixels, grey or RGB.
    """

    seen: dict[int, np.ndarray]
    thumbnails: dict[int, np.ndarray]


def write_verdict(
    run: Path, values: dict[str, Any], keys: Sequence[str], outputs: JudgedOutputs, pictures: JudgedPictures
) -> None:
    """Write the three files of a verdict, `evaluation.json` last. `values` are its figures. Raises StorageError."""
    contents = {EVALUATION_TENSORS: _output_bytes(outputs), PICTURES: _picture_bytes(pictures)}
    for name, content in contents.items():
        atomic.write_bytes(run / name, content)
    files = {
        name: {"num_bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        for name, content in contents.items()
    }
    text = json.dumps(values | {"keys": [storable(key) for key in keys], "files": files}, allow_nan=False)
    atomic.write_text(run / EVALUATION, text + "\n")


def read_verdict(run: Path, classes: Sequence[str], task: Task = ONE_LABEL) -> tuple[Verdict, JudgedOutputs] | None:
    """What a run was judged to be, with the outputs, both of `classes`; None where it has not been judged.

    Raises CheckpointError.
    """
    verdict = read_json_file(Verdict, run / EVALUATION)
    path = run / EVALUATION_TENSORS
    content = read_run_file(path)
    if verdict is None or content is None:
        return None
    if verdict.classes and verdict.classes != tuple(classes):
        raise damaged(run / EVALUATION, "its classes are not those of the checkpoint")
    check_record(content, verdict.files.get(EVALUATION_TENSORS), path)
    arrays, where = parse_tensor_file(content, path), (path, REMEDY)
    logits_NK = take_array(arrays, "logits_NK", np.float32, (None, len(classes)), where)
    num_images = len(logits_NK)
    if task.is_number:
        label_N = take_array(arrays, "value_N", np.float64, (num_images,), where)
        if not (np.abs(label_N) <= MAX_NUMBER).all():
            raise damaged(path, f"'value_N' holds numbers that are not finite, or beyond {MAX_NUMBER:.0e}")
    elif task.is_several:
        label_N = take_array(arrays, "label_NK", np.uint8, (num_images, len(classes)), where)
    else:
        label_N = take_array(arrays, "label_N", np.int64, (num_images,), where)
    index_N = take_array(arrays, "index_N", np.int64, (num_images,), where)
    if not num_images:
        raise damaged(path, "it holds no image")
    if not np.isfinite(logits_NK).all():
        raise damaged(path, "'logits_NK' holds values that are not finite")
    if np.abs(logits_NK).max() > 1e30:
        raise damaged(path, "'logits_NK' holds values beyond 1e30")
    if task.is_several and label_N.max(initial=0) > 1:
        raise damaged(path, "'label_NK' holds values other than 0 and 1")
    if task.is_one and (label_N.min() < 0 or label_N.max() >= len(classes)):
        raise damaged(path, f"'label_N' holds labels outside 0 to {len(classes) - 1}")
    if len(verdict.keys) != num_images:
        raise damaged(run / EVALUATION, "its keys are not those of the judged images")
    unlike_N = take_array(arrays, "unlike_N", np.uint8, (num_images,), where) > 0 if "unlike_N" in arrays else None
    return verdict, JudgedOutputs(logits_NK=logits_NK, label_N=label_N, index_N=index_N, unlike_N=unlike_N)


def read_pictures(run: Path, verdict: Verdict, preprocessing: Preprocessing) -> JudgedPictures | str:
    """The pictures of a verdict, or the sentence that says why there are none. Raises CheckpointError."""
    path = run / PICTURES
    content = read_run_file(path)
    if content is None:
        where = printable(str(path))
        return (
            f"{where} was removed"
            if PICTURES in verdict.files
            else f"the run is of an earlier version, without {where}"
        )
    check_record(content, verdict.files.get(PICTURES), path)
    arrays, num_images = parse_tensor_file(content, path), len(verdict.keys)
    channels, height_px, width_px = preprocessing.input_CHW
    kind = preprocessing.pixel_type
    seen = _by_position(arrays, "seen", path, num_images, (height_px, width_px, channels), kind)
    thumbnails = _by_position(arrays, "thumbnail", path, num_images, (None, None, 3 if channels >= 3 else 1), np.uint8)
    if len(seen) > MAX_SEEN or len(thumbnails) > MAX_THUMBNAILS:
        raise damaged(path, f"it holds more than {MAX_SEEN} and {MAX_THUMBNAILS} pictures")
    if any(not 0 < side <= THUMBNAIL_PX for picture_HWC in thumbnails.values() for side in picture_HWC.shape[:2]):
        raise damaged(path, f"a picture is larger than {THUMBNAIL_PX} pixels, or empty")
    return JudgedPictures(seen=seen, thumbnails=thumbnails)


def _by_position(
    arrays: dict[str, np.ndarray],
    name: str,
    path: Path,
    num_images: int,
    shape: tuple[int | None, ...],
    kind: type[np.generic],
) -> dict[int, np.ndarray]:
    where = (path, REMEDY)
    position_M = take_array(arrays, f"{name}_position_M", np.int64, (None,), where)
    if not len(position_M):
        return {}
    picture_MHWC = take_array(arrays, f"{name}_MHWC", kind, (len(position_M), *shape), where)
    positions = position_M.tolist()
    if len(set(positions)) < len(positions) or any(not 0 <= position < num_images for position in positions):
        raise damaged(path, f"'{name}_position_M' holds a number twice, or one outside 0 to {num_images - 1}")
    return dict(zip(positions, picture_MHWC, strict=True))


def _output_bytes(outputs: JudgedOutputs) -> bytes:
    label_N = outputs.label_N
    name, kind = ("label_NK", "uint8") if label_N.ndim == 2 else ("label_N", "int64")
    if label_N.ndim == 1 and label_N.dtype.kind == "f":
        name, kind = "value_N", "float64"
    return tensor_bytes(
        {
            "logits_NK": np.ascontiguousarray(outputs.logits_NK, np.float32),
            name: np.ascontiguousarray(label_N, kind),
            "index_N": np.ascontiguousarray(outputs.index_N, np.int64),
            **({} if outputs.unlike_N is None else {"unlike_N": outputs.unlike_N.astype(np.uint8)}),
        }
    )


def _picture_bytes(pictures: JudgedPictures) -> bytes:
    arrays = {}
    for name, found in (("seen", pictures.seen), ("thumbnail", pictures.thumbnails)):
        arrays[f"{name}_position_M"] = np.array(list(found), np.int64)
        arrays[f"{name}_MHWC"] = (
            np.ascontiguousarray(np.stack(list(found.values()))) if found else np.zeros((0, 1, 1, 1), np.uint8)
        )
    return tensor_bytes(arrays)
