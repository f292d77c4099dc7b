"""Exports that answer, by OpenVINO alone: torch is not imported here, nor by anything below.

An export is opened only if it is whole, fits its own description, and says of its check images what its run said. A
worker thread owns one infer request of each network, on its own stream of one thread.
"""

import hashlib
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..core.errors import CheckpointError, DataError, ModelError, brief, printable
from ..core.free_memory import free_memory_bytes
from ..core.task import Task
from ..core.types import Preprocessing
from ..data.images.bands import network_pixels
from ..data.images.decode import DecodedImage, decode_image
from ..data.images.preprocess import decoded_short_side_px, prepare_image, refuse_large_resize
from ..evaluate.novelty import agreed, is_beyond
from .bundle import (
    DISTANCE,
    IMAGE,
    NUMBER,
    REMEDY,
    Bundle,
    CheckedImage,
    Int8,
    Int8Number,
    UnlikeTraining,
    bundle_bytes,
    own_outputs,
    read_bundle,
    read_bundle_file,
    task_in_8_bits,
)
from .openvino_file import FLOAT32, openvino_core, require_openvino

COPIES = 2  # of the weights, while a network is compiled
SELF_TEST_TOLERANCE = 1e-4  # of probabilities: another processor adds up in another order
INT8_TOLERANCE = 2e-2  # of networks in 8 bits, where a value near a border falls on its other side


@dataclass(frozen=True, kw_only=True)
class Seen:
    """An image as every network of a model wants it: prepared (1, H, W, C) by preprocessing.

    `rotated` says whether EXIF turned it, `notes` what is damaged beside its pixels.
    """

    prepared: dict[Preprocessing, np.ndarray]
    rotated: bool
    notes: tuple[str, ...]
    decode_s: float
    prepare_s: float


class Said(NamedTuple):
    """logits_NK and probability_NK float64 of images, and bool (N,): which are unlike anything seen in training, None
    where nothing tells. Where a number is asked for, probability_NK are the numbers, (N, 1)."""

    logits_NK: np.ndarray
    probability_NK: np.ndarray
    unlike_N: np.ndarray | None = None


class Network:
    """The network of one export, compiled for `num_streams` threads that each run one image at a time."""

    def __init__(self, folder: Path, num_streams: int) -> None:
        """Open it. Raises CheckpointError where it is none, was changed, or cannot be run; ExportError without
        OpenVINO."""
        require_openvino()
        self.where = printable(str(folder))
        self.bundle = read_bundle(folder)
        self.digest = hashlib.sha256(bundle_bytes(self.bundle)).hexdigest()
        self.format = _served_format(self.where, self.bundle)
        _refuse_too_large(self.where, self.bundle)
        self._compiled = _compiled(folder, self.bundle, self.format, num_streams)
        self._refuse_other_shapes()
        self._of_thread = threading.local()

    @property
    def unlike_training(self) -> UnlikeTraining | None:
        """By what its graph tells images that are unlike those of training; None where it does not."""
        return self._int8.unlike_training if self._int8 else self.bundle.unlike_training

    @property
    def _int8(self) -> Int8 | Int8Number | None:
        """What 8 bits cost, where it computes in them."""
        return self.bundle.int8 if self.format == "openvino" else None

    @property
    def task(self) -> Task:
        """What is asked of an image; of a number in 8 bits with the width of its own interval."""
        return task_in_8_bits(self.bundle.task, self._int8) if self._int8 else self.bundle.task

    def answer(self, image_NHWC: np.ndarray) -> Said:
        """What it says of prepared images. Raises ModelError where the logits are not finite. A number is made of its
        logit in float64, as `predict` makes it."""
        logits_NK, probability_NK, *distances = self._outputs(image_NHWC)
        unlike = self.unlike_training
        return Said(
            logits_NK.astype(np.float64),
            probability_NK.astype(np.float64),
            is_beyond(distances[0], unlike.threshold) if unlike else None,
        )

    def _outputs(self, image_NHWC: np.ndarray) -> list[np.ndarray]:
        """logits_NK float32, probability_NK float32 or number_N1 float64, and distance_N float32 where the graph gives
        it; all of our own memory."""
        if not hasattr(self._of_thread, "request"):
            self._of_thread.request = self._compiled.create_infer_request()
        found = self._of_thread.request.infer({IMAGE: image_NHWC})
        outputs = [np.array(found[name], np.float32) for name in self._output_names]
        if not np.isfinite(outputs[0]).all():
            raise ModelError(f"{self.where} gives values that are not finite for this image.")
        if self.bundle.task.is_number:
            outputs[1] = self.bundle.task.probabilities_of(outputs[0])
        return outputs

    @property
    def _output_names(self) -> list[str]:
        number, distance = [NUMBER] * self.bundle.task.is_number, [DISTANCE] * (self.unlike_training is not None)
        return own_outputs([*number, *distance])

    def self_test(self, folder: Path) -> None:
        """Raise CheckpointError where it says of a check image what its run did not say."""
        tolerance = SELF_TEST_TOLERANCE + 2 * self.bundle.largest_difference.get(self.format, 0.0)
        said = [checked.said for checked in self.bundle.check]
        if self._int8:
            tolerance, said = INT8_TOLERANCE, self._int8.said
        if {len(said_K) for said_K in said} != {len(self.bundle.classes)} or len(said) != len(self.bundle.check):
            raise CheckpointError(f"{self.where} is damaged: its check images do not fit its classes.\n{REMEDY}")
        unlike = self.unlike_training
        if unlike and len(unlike.check) != len(said):
            raise CheckpointError(f"{self.where} is damaged: its distances do not fit its check images.\n{REMEDY}")
        for number, (checked, said_K) in enumerate(zip(self.bundle.check, said, strict=True)):
            image_HWC, is_same = self._prepared(folder, checked)
            _, answer_1K, *distances = self._outputs(image_HWC[None])
            difference = float(np.abs(answer_1K[0] - np.array(said_K)).max())
            what = "numbers" if self.bundle.task.is_number else "probabilities"
            self._require_near(f"{what} of {checked.file}", difference, self._allowed(tolerance, said_K), is_same)
            if unlike:
                difference = abs(float(distances[0][0]) ** 2 - unlike.check[number] ** 2)
                allowed = SELF_TEST_TOLERANCE + 2 * unlike.largest_difference.get(self.format, 0.0)
                allowed = INT8_TOLERANCE if self._int8 else allowed
                self._require_near(f"squared distances of {checked.file}", difference, allowed, is_same)

    def _allowed(self, tolerance: float, said_K: Sequence[float]) -> float:
        """How far an answer may be from `said_K`: of a number `tolerance` is a share of how far it lies from the mean
        of the training images' numbers, of a standard deviation at least."""
        task = self.bundle.task
        return tolerance * max(task.deviation, abs(said_K[0] - task.mean)) if task.is_number else tolerance

    def _require_near(self, what: str, difference: float, tolerance: float, is_same: bool) -> None:
        """Raise CheckpointError where `difference` is larger; `is_same` says whether the pixels are those exported."""
        if difference <= tolerance:
            return
        why = "" if is_same else " Pillow prepares images otherwise here than where it was exported."
        raise CheckpointError(
            f"{self.where} answers otherwise here than its run did: {what} differ by {difference:.2g}; allowed are "
            f"{tolerance:.1g}.{why}\n"
            f"It is not served. Export the run again on this machine."
        )

    def _prepared(self, folder: Path, checked: CheckedImage) -> tuple[np.ndarray, bool]:
        """(a check image as the network sees it, whether its pixels are those that were exported)."""
        if checked.file not in self.bundle.files:
            raise CheckpointError(f"{self.where} is damaged: its check images do not fit its classes.\n{REMEDY}")
        content = read_bundle_file(folder, self.bundle, checked.file)
        preprocessing = self.bundle.preprocessing
        decoded = decode_image(content, checked.file)
        image_HWC = prepare_image(network_pixels(decoded, checked.file, preprocessing), preprocessing)
        return image_HWC, hashlib.sha256(image_HWC.tobytes()).hexdigest() == checked.prepared_sha256

    def _refuse_other_shapes(self) -> None:
        channels, height_px, width_px = self.bundle.preprocessing.input_CHW
        wanted = {IMAGE: ["?", height_px, width_px, channels]}
        wanted |= {name: ["?", len(self.bundle.classes)] for name in self._output_names[:2]}
        wanted |= {DISTANCE: ["?"]} if self.unlike_training else {}
        ports: dict[str, Any] = {}
        for port in (*self._compiled.inputs, *self._compiled.outputs):
            ports[_name(port, wanted.keys() - ports.keys())] = port
        found = {name: _shape(port) for name, port in ports.items()}
        if (
            found != wanted
            or ports[IMAGE].get_element_type().get_type_name() != f"u{self.bundle.preprocessing.depth_bits}"
        ):
            raise CheckpointError(
                f"{self.where} is damaged: its graph takes {brief(found)}, its description says {brief(wanted)}.\n"
                f"{REMEDY}"
            )


@dataclass(frozen=True, kw_only=True)
class ServedModel:
    """What answers under one name: a network, or several that answer together.

    `order_MK[m, k]` is where class k stands among the outputs of network m.
    """

    name: str
    networks: tuple[Network, ...]
    classes: tuple[str, ...]
    order_MK: np.ndarray

    @cached_property
    def digest(self) -> str:
        """64 hexadecimal characters that change with any byte of its files."""
        digests = [network.digest for network in self.networks]
        return digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()

    @cached_property
    def task(self) -> Task:
        """What makes answers of the mean probability: of several labels the mean of the networks' thresholds. The
        interval of a number is of one network."""
        first = self.networks[0].task
        if len(self.networks) > 1 and first.is_number:
            return first.model_copy(update={"half_width": 0.0, "half_width_images": 0})
        if len(self.networks) == 1 or not first.is_several:
            return first
        threshold_MK = [
            network.bundle.task.threshold_K(len(self.classes))[order_K]
            for network, order_K in zip(self.networks, self.order_MK, strict=True)
        ]
        goals = {network.bundle.task.thresholds_for for network in self.networks}
        goal = goals.pop() if len(goals) == 1 else ""
        return Task(kind=first.kind, thresholds=tuple(np.mean(threshold_MK, axis=0).tolist()), thresholds_for=goal)

    @cached_property
    def preprocessings(self) -> tuple[Preprocessing, ...]:
        """The distinct ways in which its networks see an image."""
        return tuple(dict.fromkeys(network.bundle.preprocessing for network in self.networks))

    def see(self, content: bytes) -> Seen:
        """Decode and prepare one encoded image, as `predict` does. Raises ImageError."""
        decoded: dict[tuple[int | None, int], DecodedImage] = {}
        prepared: dict[Preprocessing, np.ndarray] = {}
        notes: dict[str, None] = {}
        decode_s, begin = 0.0, time.perf_counter()
        for kind in self.preprocessings:
            way = (decoded_short_side_px(kind), kind.white_16_bit)
            if way not in decoded:
                start = time.perf_counter()
                decoded[way] = decode_image(content, "image", *way)
                decode_s += time.perf_counter() - start
            refuse_large_resize("image", decoded[way].image_HWC.shape[:2], kind)
            prepared[kind] = prepare_image(network_pixels(decoded[way], "image", kind), kind)[None]
            notes |= dict.fromkeys(decoded[way].notes_on_bands if kind.has_bands else decoded[way].notes)
        return Seen(
            prepared=prepared,
            rotated=any(image.rotated for image in decoded.values()),
            notes=tuple(notes),
            decode_s=decode_s,
            prepare_s=time.perf_counter() - begin - decode_s,
        )

    @property
    def tells_unlike(self) -> bool:
        """Whether it tells images that are unlike anything seen in training: whether one of its networks does."""
        return any(network.unlike_training for network in self.networks)

    def answer(self, prepared: dict[Preprocessing, np.ndarray]) -> Said:
        """What it says of prepared images; of several networks the mean of the probabilities, and its logits. An image
        is unlike those of training where more than half say so, of those that can tell."""
        if len(self.networks) == 1:
            return self.networks[0].answer(prepared[self.networks[0].bundle.preprocessing])
        total_NK: Any = 0.0
        unlike = []
        for network, order_K in zip(self.networks, self.order_MK, strict=True):
            said = network.answer(prepared[network.bundle.preprocessing])
            total_NK = total_NK + said.probability_NK[:, order_K]
            if said.unlike_N is not None:
                unlike.append(said.unlike_N)
        mean_NK: np.ndarray = total_NK / len(self.networks)
        return Said(self.task.logits_of(mean_NK), mean_NK, agreed(unlike))


def open_network(folder: Path, num_streams: int) -> Network:
    """The network of the export in `folder`, tested. Raises CheckpointError, ExportError."""
    network = Network(folder, num_streams)
    network.self_test(folder)
    return network


def join_networks(name: str, networks: Sequence[Network]) -> ServedModel:
    """`networks` as one model, in the order of the first one's classes. Raises DataError where they know others."""
    first = networks[0]
    for other in networks[1:]:
        if set(other.bundle.classes) != set(first.bundle.classes) or other.bundle.task.kind != first.bundle.task.kind:
            raise DataError(
                f"Only models of the same classes answer together; {first.where} and {other.where} know others.\n"
                f"Leave out --together to serve each under its own name."
            )
    classes = first.bundle.classes
    order = [[network.bundle.classes.index(known) for known in classes] for network in networks]
    return ServedModel(
        name=name, networks=tuple(networks), classes=classes, order_MK=np.array(order, np.int64).reshape(len(order), -1)
    )


def _served_format(where: str, bundle: Bundle) -> str:
    for name in ("openvino", "onnx"):
        if name in bundle.formats:
            return name
    raise CheckpointError(
        f"{where} holds {printable(', '.join(bundle.formats))}, which OpenVINO does not run.\n"
        f"Export the run again: saccade export RUN --format openvino"
    )


def _refuse_too_large(where: str, bundle: Bundle) -> None:
    """Raise CheckpointError where a network would not fit: read, and once more as the processor wants it."""
    needed_bytes = COPIES * max((record.num_bytes for record in bundle.files.values()), default=0)
    free_bytes = free_memory_bytes()
    if free_bytes is not None and needed_bytes > free_bytes:
        raise CheckpointError(
            f"{where} takes about {needed_bytes / 1e9:,.1f} GB of memory to open, and {free_bytes / 1e9:,.1f} GB are "
            f"free.\nServe it on a machine with more memory, or fewer models at once."
        )


def _compiled(folder: Path, bundle: Bundle, name: str, num_streams: int) -> Any:
    """The network as OpenVINO runs it, of the bytes whose digests were tested."""
    files = ("model.xml", "model.bin") if name == "openvino" else ("model.onnx",)
    missing = [file for file in files if file not in bundle.files]
    if missing:
        raise CheckpointError(f"{printable(str(folder))} is damaged: it has no {missing[0]}.\n{REMEDY}")
    content = [read_bundle_file(folder, bundle, file) for file in files]
    one_thread_each = {"NUM_STREAMS": num_streams, "INFERENCE_NUM_THREADS": num_streams, "ENABLE_CPU_PINNING": False}
    try:
        core = openvino_core()
        model = core.read_model(content[0], content[1] if len(content) > 1 else b"")
        return core.compile_model(model, "CPU", FLOAT32 | one_thread_each)
    except RuntimeError as error:
        raise CheckpointError(
            f"OpenVINO cannot run {printable(str(folder))}: {brief(' '.join(str(error).split()), 200)}.\n{REMEDY}"
        ) from error


def _name(port: Any, wanted: Iterable[str]) -> str:
    """The name that is wanted among those of a port; a step that is left out (times 1) leaves its name to the next."""
    names: set[str] = port.get_names()
    return min(names.intersection(wanted) or names, default="")


def _shape(port: Any) -> list[Any]:
    return ["?" if side.is_dynamic else side.get_length() for side in port.get_partial_shape()]
