"""A run becomes files that other programs read; each is run by its own engine and compared before any is kept."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Literal

from torch import nn

from .. import __version__
from ..classify.classifier import join_members, member_of
from ..core import atomic
from ..core.display import Displayed
from ..core.errors import UnknownNameError, UsageError, did_you_mean, printable
from ..core.runtime import RuntimeConfig, start
from ..data.images.bands import channel_words
from ..runs.checkpoint import Checkpoint, find_checkpoint
from ..runs.ensemble_folder import is_ensemble, num_members
from ..runs.files import record_of
from ..runs.names import BUNDLE, WEIGHTS
from .bundle import Bundle, CheckedImage, bundle_bytes, refuse_foreign
from .card import card_text
from .check import FLOAT32_TOLERANCE, HALF_TOLERANCE, Difference, Reference, compare, reference_of, require_equal
from .check_images import SIZES_HW, check_image, png_bytes
from .graph import shipped
from .onnx_file import onnx_bytes, require_onnx, run_onnx
from .openvino_file import openvino_files, require_openvino, run_openvino

Format = Literal["onnx", "openvino"]
FORMATS: tuple[Format, ...] = ("onnx", "openvino")
ENGINES = {"onnx": "onnxruntime", "openvino": "OpenVINO"}
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
            files = [file for file in self.bundle.files if file.startswith("model.") and _format_of(file) == name]
            size = sum(self.bundle.files[file].num_bytes for file in files)
            lines.append(
                f"{', '.join(files)}: {size / 1e6:,.1f} MB; {ENGINES[name]} answers as the run does "
                f"(logits within {found.logits:.1g} on {found.num_images} generated images)."
            )
        return [*lines, f"Export: {printable(str(self.folder))}"]


def export_run(run: Path, formats: Sequence[str], out: Path | None, half: bool) -> ExportedRun:
    """Write `formats` of `run` to the folder `out`, default `RUN/export`.

    Raises UsageError for what cannot be asked, CheckpointError for a run that cannot be read, ExportError where an
    engine is missing or answers otherwise (nothing is written then), StorageError.
    """
    wanted = _asked(run, formats, half)
    folder = out if out is not None else run / FOLDER
    refuse_foreign(folder)
    checkpoint = find_checkpoint(run)
    checkpoint.manifest.task.refuse_unknown("saccade export", "several labels")
    _refuse_bands(checkpoint, printable(str(run)))
    require_onnx()
    if "openvino" in wanted:
        require_openvino()
    runtime = start(RuntimeConfig(device="cpu"))
    member = member_of(checkpoint, runtime, printable(str(run)))
    classifier = join_members([member])
    reference = reference_of(classifier, checkpoint.manifest.preprocessing)
    files, differences = _files(checkpoint, member.model, reference, wanted, half)
    for number in range(len(SIZES_HW)):
        files[f"check/image-{number + 1}.png"] = png_bytes(check_image(number))
    bundle = _bundle(checkpoint, reference, wanted, half, differences)
    files["README.md"] = card_text(bundle).encode()
    bundle = bundle.model_copy(update={"files": {name: record_of(content) for name, content in files.items()}})

    def fill(temporary: Path) -> None:
        (temporary / "check").mkdir()
        for name, content in files.items():
            atomic.write_bytes(temporary / name, content)
        atomic.write_bytes(temporary / BUNDLE, bundle_bytes(bundle))

    needed_bytes = sum(map(len, files.values()))
    atomic.replace_folder(folder, fill, BUNDLE, keep_previous=False, needed_bytes=needed_bytes)
    return ExportedRun(folder=folder, bundle=bundle, differences=differences)


def _refuse_bands(checkpoint: Checkpoint, where: str) -> None:
    pixels = checkpoint.manifest.preprocessing
    if pixels.has_bands:
        raise UsageError(
            f"{where} takes images of {channel_words(pixels.num_channels)}, and an export takes grey or colours.\n"
            f"Use 'saccade predict', or train a run on what is shown of the images: --set input.channels=rgb."
        )


def _asked(run: Path, formats: Sequence[str], half: bool) -> tuple[Format, ...]:
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
        known = " or ".join(FORMATS)
        raise UnknownNameError(
            f"'{printable(unknown[0])}' is not a format of an export.{did_you_mean(unknown[0], FORMATS)} Use {known}."
        )
    if not formats:
        raise UsageError(f"An export needs a format: {' or '.join(FORMATS)}.")
    if half and "openvino" not in formats:
        raise UsageError("--half is for OpenVINO's weights.\nAdd --format openvino, or leave --half out.")
    return tuple(name for name in FORMATS if name in formats)


def _files(
    checkpoint: Checkpoint, model: nn.Module, reference: Reference, formats: Sequence[Format], half: bool
) -> tuple[dict[str, bytes], dict[str, Difference]]:
    """(content by name of the models, how far each format is from the run)."""
    manifest = checkpoint.manifest
    network = shipped(model, manifest.preprocessing, manifest.temperature, manifest.task)
    channels, height_px, width_px = manifest.preprocessing.input_CHW
    metadata = _metadata(checkpoint)
    content = onnx_bytes(network, (height_px, width_px, channels), metadata)
    files: dict[str, bytes] = {}
    differences: dict[str, Difference] = {}
    if "onnx" in formats:
        differences["onnx"] = compare(reference, lambda image_BHWC: run_onnx(content, image_BHWC))
        require_equal(reference, differences["onnx"], ENGINES["onnx"], FLOAT32_TOLERANCE)
        files["model.onnx"] = content
    if "openvino" in formats:
        made = openvino_files(content, metadata, half)
        differences["openvino"] = compare(reference, lambda image_BHWC: run_openvino(made, image_BHWC))
        tolerance = HALF_TOLERANCE if half else FLOAT32_TOLERANCE
        require_equal(reference, differences["openvino"], ENGINES["openvino"], tolerance)
        files |= made
    return files, differences


def _metadata(checkpoint: Checkpoint) -> dict[str, str]:
    """What the model files say of themselves; `model_info` are the names that OpenVINO's Model API reads."""
    manifest = checkpoint.manifest
    preprocessing = manifest.preprocessing
    return {
        "saccade.format": "1",
        "saccade.preprocessing": preprocessing.model_dump_json(),
        "saccade.classes": json.dumps(list(manifest.classes)),
        "saccade.temperature": repr(manifest.temperature),
        "saccade.task": manifest.task.kind,
        "saccade.metrics": json.dumps(_figures(manifest.metrics)),
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
            "seed": manifest.origin.seed,
            "licence": manifest.origin.transfer.licence,
            "packages": {name: _version(name) for name in ("torch", "onnx", "onnxscript", "onnxruntime", "openvino")},
        },
        largest_difference={name: found.logits for name, found in differences.items()},
        check=tuple(_checked(reference, number) for number in range(len(SIZES_HW))),
        files={},
    )


def _checked(reference: Reference, number: int) -> CheckedImage:
    return CheckedImage(
        file=f"check/image-{number + 1}.png",
        prepared_sha256=hashlib.sha256(reference.image_NHWC[number].tobytes()).hexdigest(),
        probabilities=tuple(reference.probability_NK[number].tolist()),
    )


def _format_of(file: str) -> str:
    return "onnx" if file.endswith(".onnx") else "openvino"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
