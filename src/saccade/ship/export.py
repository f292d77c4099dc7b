"""A run becomes files that other programs read; each is run by its own engine and compared before any is kept."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .. import __version__
from ..classify.chosen_threshold import Answering, promised_precision
from ..classify.classifier import Classifier, join_members, member_of
from ..core import atomic
from ..core.display import Displayed
from ..core.errors import UnknownNameError, UsageError, did_you_mean, printable
from ..core.lock import exclusive_place
from ..core.runtime import RuntimeConfig, start
from ..core.types import Preprocessing
from ..data.images.bands import channel_words
from ..evaluate.novelty import NEIGHBOUR, Novelty
from ..runs.at_path import is_ensemble
from ..runs.checkpoint import Checkpoint, find_checkpoint
from ..runs.ensemble_folder import num_members
from ..runs.files import record_of
from ..runs.names import BUNDLE, WEIGHTS
from ..train.own_images import own_parts, run_folder
from .any_size import any_size_bytes
from .browser import compare_any_size, page_files, self_test_photos
from .bundle import (
    Bundle,
    CheckedImage,
    Int8,
    Int8Number,
    UnlikeTraining,
    bundle_bytes,
    novelty_digest,
    refuse_foreign,
)
from .card import card_text
from .check import FLOAT32_TOLERANCE, HALF_TOLERANCE, Difference, Reference, compare, reference_of, require_equal
from .check_images import SIZES_HW, check_file, check_name
from .graph import shipped
from .hub import check_hub, hub_folder
from .hub_card import hub_card_text, with_hub
from .needed import GRAPH_FORMATS
from .onnx_file import onnx_bytes, require_onnx, run_onnx
from .openvino_file import openvino_files, require_openvino, run_openvino
from .quantize import AskedInt8, int8_files, int8_sentence, quantized, require_nncf
from .triton import MODEL, REPOSITORY, triton_files
from .web_runtime import web_runtime

Format = Literal["onnx", "openvino", "hub", "browser", "triton"]
FORMATS: tuple[Format, ...] = ("onnx", "openvino", "hub", "browser", "triton")
NAMES = f"{', '.join(FORMATS[:-1])} or {FORMATS[-1]}"
OF_PHOTOS = frozenset({"hub", "browser"})  # these decode images themselves
ENGINES = {"onnx": "onnxruntime", "openvino": "OpenVINO", "browser": "onnxruntime", "triton": "onnxruntime"}
MODEL_FILES = {
    "onnx": ("model.onnx",),
    "openvino": ("model.xml", "model.bin"),
    "hub": ("model.safetensors",),
    "browser": ("any-size.onnx",),
    "triton": (f"{REPOSITORY}/{MODEL}/1/model.onnx",),
}
FOLDER = "export"  # of the run, where nothing else is asked


@dataclass(frozen=True, kw_only=True, repr=False)
class ExportedRun(Displayed):
    """An export that was written: its folder, what it says of itself, and how far each engine is from the run."""

    folder: Path
    bundle: Bundle
    differences: dict[str, Difference]

    def display_lines(self) -> list[str]:
        """Each format with its size and difference, then the folder."""
        lines = []
        for name, found in self.differences.items():
            files = MODEL_FILES[name]
            size = sum(self.bundle.files[file].num_bytes for file in files)
            engine = ENGINES.get(name, self.bundle.read_by)
            lines.append(
                f"{', '.join(files)}: {size / 1e6:,.1f} MB; {engine} answers as the run does "
                f"(logits within {found.logits:.1g} on {found.num_images} generated images)."
            )
        if self.bundle.int8:
            lines.append(int8_sentence(self.bundle.int8))
        if "browser" in self.differences:
            page = printable(str(self.folder / "index.html"))
            return [*lines, f"Export: {printable(str(self.folder))}", f"Open {page} in a browser."]
        return [*lines, f"Export: {printable(str(self.folder))}"]


def export_run(
    run: Path,
    formats: Sequence[str],
    out: Path | None,
    half: bool,
    runtime: Path | None = None,
    note: Callable[[str], None] = lambda text: None,
    int8: AskedInt8 | None = None,
) -> ExportedRun:
    """Write `formats` of `run` to the folder `out`, default `RUN/export`.

    `runtime` is where onnxruntime-web lies, which `browser` needs; else it is downloaded once, and `note` is told.
    With `int8` OpenVINO's file computes in 8 bits, and is kept where it is shown to lose little.

    Raises UsageError for what cannot be asked, CheckpointError for a run that cannot be read, ExportError where an
    engine is missing or answers otherwise (nothing is written then), StorageError.
    """
    wanted = _asked(run, formats, half, runtime)
    _check_int8(int8, wanted, half)
    folder = out if out is not None else run / FOLDER
    refuse_foreign(folder)
    checkpoint = find_checkpoint(run)
    _refuse_bands(checkpoint, wanted)
    if "hub" in wanted:
        check_hub(checkpoint)
    if GRAPH_FORMATS & set(wanted):
        require_onnx()
    if "openvino" in wanted:
        require_openvino()
    parts = None
    if int8:
        checkpoint.manifest.task.refuse_unknown("saccade export --int8", "number", "grade")
        require_nncf()
        num_threads = start(RuntimeConfig(device="cpu")).num_threads
        parts = own_parts(run_folder(run), checkpoint.manifest, int8.source, num_threads)
    engine = web_runtime(runtime, note) if "browser" in wanted else {}
    member = member_of(checkpoint, start(RuntimeConfig(device="cpu")), printable(str(run)))
    classifier = join_members([member])
    reference = reference_of(classifier, checkpoint.manifest.preprocessing)
    files, differences = _files(checkpoint, classifier, reference, wanted, half)
    preprocessing = checkpoint.manifest.preprocessing
    files |= {check_name(number, preprocessing): check_file(number, preprocessing) for number in range(len(SIZES_HW))}
    bundle = _bundle(checkpoint, reference, wanted, half, differences)
    if member.novelty and GRAPH_FORMATS & set(wanted):
        bundle = bundle.model_copy(update={"unlike_training": _unlike_training(member.novelty, reference, differences)})
    if "hub" in wanted:
        hub = hub_folder(checkpoint, member.model, reference, member.novelty)
        files |= hub.files
        differences["hub"] = hub.difference
        bundle = with_hub(bundle, checkpoint, hub)
        if member.novelty and hub.difference.squared_distances is not None:
            bundle = bundle.model_copy(
                update={"unlike_training": _unlike_training(member.novelty, reference, differences)}
            )
    if int8 and parts:
        seed = checkpoint.manifest.origin.seed
        known_MD = member.novelty.unit_MD if member.novelty and bundle.unlike_training else None
        num_threads = classifier.runtime.num_threads
        model, figures = quantized(files, parts, bundle, seed, int8.max_drop / 100, num_threads, known_MD)
        files |= int8_files(model, _metadata(checkpoint), figures, bundle.task)
        bundle = _with_int8(bundle, figures, run_openvino(files, reference.image_NHWC[: len(SIZES_HW)]))
    files["README.md"] = (hub_card_text if "hub" in wanted else card_text)(bundle).encode()
    if "browser" in wanted:
        photos = self_test_photos(classifier, bundle.preprocessing)
        promised = promised_precision(classifier, [run], Answering().precision)
        files |= page_files(files["any-size.onnx"], bundle, photos, promised, engine)
    bundle = bundle.model_copy(update={"files": {name: record_of(content) for name, content in files.items()}})

    def fill(temporary: Path) -> None:
        for name, content in files.items():
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            atomic.write_bytes(temporary / name, content)
        atomic.write_bytes(temporary / BUNDLE, bundle_bytes(bundle))

    needed_bytes = sum(map(len, files.values()))
    atomic.make_folder(folder.parent)
    with exclusive_place(folder):  # of two exports into one folder the second waits, and stays
        refuse_foreign(folder)
        atomic.replace_folder(folder, fill, BUNDLE, False, needed_bytes, atomic.aside_folder(folder))
    return ExportedRun(folder=folder, bundle=bundle, differences=differences)


def _with_int8(bundle: Bundle, figures: Int8 | Int8Number, said: Sequence[np.ndarray]) -> Bundle:
    """`bundle` with what 8 bits cost, and what they say of the check images: logits, answers, and distances where the
    graph gives them. Where no graph in float32 is left, nothing is told by one."""
    _, answer_NK, *distances = said
    check: tuple[Any, ...] = tuple(answer_NK[:, 0].tolist())
    if isinstance(figures, Int8):
        check = tuple(tuple(said_K) for said_K in np.clip(answer_NK, 0, 1).tolist())
    unlike = figures.unlike_training
    if unlike is not None and distances:
        unlike = unlike.model_copy(update={"check": tuple(distances[0].tolist())})
    own = figures.model_copy(update={"check": check, "unlike_training": unlike})
    others = set(bundle.formats) - {"openvino"}
    in_float32 = bundle.unlike_training if others else None
    return bundle.model_copy(update={"int8": own, "unlike_training": in_float32})


def _refuse_bands(checkpoint: Checkpoint, formats: Sequence[Format]) -> None:
    """Raise UsageError where bands are asked to leave as what takes photos."""
    pixels = checkpoint.manifest.preprocessing
    photos = [f"--format {name}" for name in formats if name in OF_PHOTOS]
    if pixels.has_bands and photos:
        raise UsageError(
            f"{photos[0]} is for grey or colours, and the run takes images of {channel_words(pixels.num_channels)}.\n"
            f"Export a graph, which takes pixels that are prepared already: --format onnx or openvino."
        )


def _asked(run: Path, formats: Sequence[str], half: bool, runtime: Path | None) -> tuple[Format, ...]:
    """The formats, each once, in the order of FORMATS. Raises UsageError."""
    if is_ensemble(run):
        where = printable(str(run))
        raise UsageError(
            f"{where} is an ensemble of {num_members(run)} runs, and an export is one network.\n"
            f"Export a member, such as {where}/member-1, or train one run to answer as they do together:\n"
            f"saccade train SOURCE --teacher {where}"
        )
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise UnknownNameError(
            f"'{printable(unknown[0])}' is not a format of an export.{did_you_mean(unknown[0], FORMATS)} Use {NAMES}."
        )
    if not formats:
        raise UsageError(f"An export needs a format: {NAMES}.")
    if half and "openvino" not in formats:
        raise UsageError("--half is for OpenVINO's weights.\nAdd --format openvino, or leave --half out.")
    if runtime is not None and "browser" not in formats:
        raise UsageError("--runtime is for the page of a browser.\nAdd --format browser, or leave --runtime out.")
    return tuple(name for name in FORMATS if name in formats)


def _check_int8(int8: AskedInt8 | None, formats: Sequence[Format], half: bool) -> None:
    """Raise UsageError where 8 bits are asked of what has none."""
    if int8 and "openvino" not in formats:
        raise UsageError("--int8 is for OpenVINO's file.\nAdd --format openvino, or leave --int8 out.")
    if int8 and half:
        raise UsageError("--half and --int8 are two ways to store the same weights.\nLeave one out.")


def _files(
    checkpoint: Checkpoint, classifier: Classifier, reference: Reference, formats: Sequence[Format], half: bool
) -> tuple[dict[str, bytes], dict[str, Difference]]:
    """(content by name of the models, how far each format is from the run)."""
    manifest = checkpoint.manifest
    novelty = classifier.members[0].novelty if reference.distance_N is not None else None
    known_MD = novelty.unit_MD if novelty else None
    network = shipped(
        classifier.members[0].model, manifest.preprocessing, manifest.temperature, manifest.task, known_MD
    )
    channels, height_px, width_px = manifest.preprocessing.input_CHW
    metadata = _metadata(checkpoint)
    files: dict[str, bytes] = {}
    differences: dict[str, Difference] = {}
    if not GRAPH_FORMATS & set(formats):
        return files, differences
    content = onnx_bytes(network, (height_px, width_px, channels), metadata)
    if {"onnx", "triton"} & set(formats):
        found = compare(reference, lambda image_BHWC: run_onnx(content, image_BHWC))
        require_equal(reference, found, ENGINES["onnx"], FLOAT32_TOLERANCE)
        differences |= {name: found for name in ("onnx", "triton") if name in formats}
    if "onnx" in formats:
        files["model.onnx"] = content
    if "triton" in formats:
        depth_bits = manifest.preprocessing.depth_bits
        files |= triton_files(content, (height_px, width_px, channels), manifest.classes, network.outputs, depth_bits)
    if "openvino" in formats:
        made = openvino_files(content, metadata, half)
        differences["openvino"] = compare(reference, lambda image_BHWC: run_openvino(made, image_BHWC))
        tolerance = HALF_TOLERANCE if half else FLOAT32_TOLERANCE
        require_equal(reference, differences["openvino"], ENGINES["openvino"], tolerance)
        files |= made
    if "browser" in formats:
        files["any-size.onnx"] = any_size_bytes(content, manifest.preprocessing)
        differences["browser"] = compare_any_size(files["any-size.onnx"], classifier, manifest.preprocessing)
    return files, differences


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the model files say of themselves; `model_info` are the names that OpenVINO's Model API reads."""
    manifest = checkpoint.manifest
    preprocessing = manifest.preprocessing
    own = {
        "saccade.format": "1",
        "saccade.preprocessing": preprocessing.model_dump_json(),
        "saccade.classes": json.dumps(list(manifest.classes)),
        "saccade.temperature": repr(manifest.temperature),
        "saccade.task": manifest.task.kind,
        "saccade.metrics": json.dumps(_figures(manifest.metrics)),
    }
    if manifest.task.is_number:  # as its mean and deviation, and how near nine of ten answers are
        return own | {"saccade.number": manifest.task.model_dump_json()}
    if preprocessing.has_bands:
        return own  # Model API reads photos
    return own | {
        "model_info.model_type": "Classification",
        "model_info.labels": " ".join(name.replace(" ", "_") for name in manifest.classes),
        "model_info.multilabel": str(manifest.task.is_several),
    }


def _figures(metrics: dict[str, Any]) -> dict[str, Any]:
    """The figures that say how good it is, without tables."""
    return {name: value for name, value in metrics.items() if isinstance(value, (int, float, str)) and value != ""}


def _bundle(
    checkpoint: Checkpoint,
    reference: Reference,
    formats: Sequence[Format],
    half: bool,
    differences: dict[str, Difference],
) -> Bundle:
    manifest = checkpoint.manifest
    caveats = manifest.metrics.get("caveats")
    return Bundle(
        formats=tuple(formats),
        half=half,
        model=manifest.model,
        preprocessing=manifest.preprocessing,
        classes=manifest.classes,
        task=manifest.task,
        temperature=manifest.temperature,
        metrics=_figures(manifest.metrics) | ({"caveats": caveats} if caveats else {}),
        provenance={
            "saccade": __version__,
            "weights_sha256": manifest.files[WEIGHTS].sha256,
            **novelty_digest(manifest.files),
            "seed": manifest.origin.seed,
            "licence": manifest.origin.transfer.licence,
            "packages": {
                name: _version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino", "nncf")
            },
        },
        largest_difference={name: found.logits for name, found in differences.items()},
        check=tuple(_checked(reference, number, manifest.preprocessing) for number in range(len(SIZES_HW))),
        files={},
    )


def _unlike_training(
    novelty: Novelty, reference: Reference, differences: dict[str, Difference]
) -> UnlikeTraining | None:
    """What the distances of the graphs mean; None where the network tells none."""
    if reference.distance_N is None:
        return None
    return UnlikeTraining(
        threshold=novelty.threshold,
        share=novelty.share,
        neighbour=NEIGHBOUR,
        num_known=len(novelty.unit_MD),
        num_features=novelty.num_features,
        largest_difference={
            name: found.squared_distances for name, found in differences.items() if found.squared_distances is not None
        },
        check=tuple(reference.distance_N[: len(SIZES_HW)].tolist()),
    )


def _checked(reference: Reference, number: int, preprocessing: Preprocessing) -> CheckedImage:
    said, is_number = tuple(reference.probability_NK[number].tolist()), reference.deviation is not None
    return CheckedImage(
        file=check_name(number, preprocessing),
        prepared_sha256=hashlib.sha256(reference.image_NHWC[number].tobytes()).hexdigest(),
        probabilities=() if is_number else said,
        number=said[0] if is_number else None,
    )


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
