"""`saccade.json` of an export: what its files are, how pixels become inputs, and what the weights are worth.

It is written last and names every file with its digest, so an export is whole or it is none; a file changed in one
byte is refused.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from ..core.config import FrozenConfig
from ..core.errors import CheckpointError, ExportError, printable
from ..core.plain_files import open_plain_file
from ..core.task import ONE_LABEL, Task
from ..core.types import Preprocessing
from ..runs.files import ClassNames, FileRecord, Rate, Text, damaged, read_json_file, record_of
from ..runs.names import BUNDLE, NOVELTY

REMEDY = "Export the run again."
FORMAT_VERSION = 1
IMAGE, LOGITS, PROBABILITIES = "image", "logits", "probabilities"  # the names of a graph's input and of its outputs
NUMBER = "number"  # the output of graphs that answer with a number, in the place of probabilities
DISTANCE = "distance"  # an output of graphs that tell images unlike those of training


def without_nothing(values: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    """`values` without those of `names` that are None."""
    return {name: value for name, value in values.items() if name not in names or value is not None}


class CheckedImage(FrozenConfig):
    """One generated photograph and what the run says of it."""

    file: Text = Field(description="where it lies in the export, a PNG file")
    prepared_sha256: str = Field(pattern="^[0-9a-f]{64}$", description="digest of its pixels as the network sees them")
    probabilities: Annotated[tuple[Rate, ...], Field(strict=False)] = Field(
        description="in the order of the classes; none where a number is asked for"
    )
    number: float | None = Field(None, description="where a number is asked for: the number")

    @property
    def said(self) -> tuple[float, ...]:
        """The probabilities, or the one number."""
        return self.probabilities if self.number is None else (self.number,)

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without a number where there is none: files stay what they were."""
        values: dict[str, Any] = serialize(self)
        return {name: value for name, value in values.items() if name != "number" or value is not None}


class Int8(FrozenConfig):
    """What 8 bits cost: float32 and int8 on the validation images. Rates are fractions, intervals of 95 %."""

    num_calibration: int = Field(description="training images whose values set the ranges")
    num_validation: int = Field(description="images that both are judged on")
    float32_top1: Rate = Field(description="accuracy of float32")
    float32_low: Rate = Field(description="lower end of its interval")
    float32_high: Rate = Field(description="upper end")
    int8_top1: Rate = Field(description="accuracy of int8")
    int8_low: Rate = Field(description="lower end of its interval")
    int8_high: Rate = Field(description="upper end")
    difference: float = Field(description="accuracy of int8 less that of float32, on the same images")
    difference_low: float = Field(description="lower end of its interval (Tango's score interval of paired shares)")
    difference_high: float = Field(description="upper end")
    num_lost: int = Field(description="images on which only float32 is right")
    num_won: int = Field(description="images on which only int8 is right")
    p_value: float = Field(description="exact McNemar test that both are equally good")
    same_answers: Rate = Field(description="share of images to which both say the same class")
    float32_ece: Rate = Field(description="expected calibration error of float32")
    int8_ece: Rate = Field(description="that of int8, with its own temperature")
    temperature: float = Field(description="what the logits of int8 are divided by, in its graph")
    max_drop: float = Field(description="loss that was allowed, a fraction")
    check: Annotated[tuple[Annotated[tuple[Rate, ...], Field(strict=False)], ...], Field(strict=False)] = Field(
        (), description="what int8 says of the check images"
    )
    unlike_training: "UnlikeTraining | None" = Field(None, description="as of the bundle, of the graph in 8 bits")
    float32_mae: float | None = Field(None, description="grades: how far float32 is off on average")
    int8_mae: float | None = Field(None, description="grades: how far int8 is off on average")

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not there: files stay what they were."""
        return without_nothing(serialize(self), ("unlike_training", "float32_mae", "int8_mae"))

    @property
    def said(self) -> list[tuple[float, ...]]:
        """What int8 says of each check image: its probabilities."""
        return list(self.check)


class Int8Number(FrozenConfig):
    """What 8 bits cost a network that says a number: both on the validation images, in the unit of the labels."""

    num_calibration: int = Field(description="training images whose values set the ranges")
    num_validation: int = Field(description="images that both are judged on")
    float32_mae: float = Field(ge=0, description="mean absolute error of float32")
    int8_mae: float = Field(ge=0, description="that of int8")
    difference: float = Field(description="error of int8 less that of float32, on the same images")
    difference_low: float = Field(description="lower end of its 95 % interval (paired bootstrap)")
    difference_high: float = Field(description="upper end")
    largest_change: float = Field(ge=0, description="how far int8 and float32 are apart, at most")
    half_width: float = Field(ge=0, description="nine of ten truths are this near to what int8 says; 0: not known")
    max_drop: float = Field(description="growth of the error that was allowed, in the unit of the labels")
    check: Annotated[tuple[float, ...], Field(strict=False)] = Field((), description="its numbers of the check images")
    unlike_training: "UnlikeTraining | None" = Field(None, description="as of the bundle, of the graph in 8 bits")

    @model_serializer(mode="wrap")
    def _without_nothing(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return without_nothing(serialize(self), ("unlike_training",))

    @property
    def said(self) -> list[tuple[float, ...]]:
        """What int8 says of each check image: its number."""
        return [(number,) for number in self.check]


class UnlikeTraining(FrozenConfig):
    """By what an image is told to be unlike anything seen in training: the graph's output `distance`."""

    threshold: float = Field(ge=0, le=2.01, description="an image whose distance is above it is unlike them")
    share: Rate = Field(description="of images like those of training, at most so many are above it, falsely")
    neighbour: int = Field(description="the distance is that to this nearest training image")
    num_known: int = Field(description="training images whose features the graph holds")
    num_features: int = Field(description="numbers that a feature has, each of two bytes")
    largest_difference: dict[str, float] = Field(description="by format, of squared distances to those of the run")
    check: Annotated[tuple[float, ...], Field(strict=False)] = Field(description="distances of the check images")
    same_verdicts: Rate | None = Field(
        None, description="8 bits: share of the validation images of which both say the same, like or unlike"
    )

    @model_serializer(mode="wrap")
    def _as_before(self, serialize: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without what is not there: files stay what they were."""
        return without_nothing(serialize(self), ("same_verdicts",))


class Bundle(FrozenConfig):
    """Everything an export says of itself."""

    model_config = ConfigDict(strict=True)

    format_version: int = Field(FORMAT_VERSION, ge=1, le=FORMAT_VERSION, description="version of this file format")
    formats: Annotated[tuple[Literal["onnx", "openvino", "hub", "browser", "triton"], ...], Field(strict=False)] = (
        Field(
            description="what it holds: model.onnx; model.xml with model.bin; config.json with model.safetensors; "
            "any-size.onnx with index.html; triton/classifier"
        )
    )
    half: bool = Field(False, description="whether OpenVINO's weights are stored as float16")
    int8: Int8 | Int8Number | None = Field(
        None, description="where OpenVINO's file computes in 8 bits: what that costs, and its own unlike_training"
    )
    unlike_training: UnlikeTraining | None = Field(
        None,
        description="where graphs in float32 have the output distance, or a folder for the hub the features for it",
    )
    model: Text = Field(description="name of the network, or its one-line notation")
    preprocessing: Preprocessing = Field(description="how pixels become inputs; the file takes what comes of it")
    classes: ClassNames = Field(
        description="class names in the order of logits and probabilities, or the name of what is measured"
    )
    task: Task = Field(
        ONE_LABEL, description="one label an image, several, a number or a grade, and what makes answers of logits"
    )
    temperature: float = Field(description="what the logits are divided by before the softmax, in the graph")
    metrics: dict[str, Any] = Field(description="figures measured with these weights before they were exported")
    provenance: dict[str, Any] = Field(description="weights, versions")
    largest_difference: dict[str, float] = Field(description="by format, of logits to those of the run, when exported")
    read_by: str = Field("", description="hub: who loaded the folder again before it was kept")
    check: Annotated[tuple[CheckedImage, ...], Field(strict=False)] = Field(description="images to check it by")
    files: dict[str, FileRecord] = Field(description="the other files of the export")
    sha256: Text = Field("", description="of this file without this line; exports of before have none")

    @model_validator(mode="after")
    def _classes_fit(self) -> "Bundle":
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("a class stands there twice")
        self.task.refuse_other_classes(len(self.classes))
        return self


def task_in_8_bits(task: Task, figures: Int8 | Int8Number) -> Task:
    """`task` as a graph in 8 bits has it: of a number with the width of its own interval."""
    if not isinstance(figures, Int8Number):
        return task
    num_images = figures.num_validation if figures.half_width else 0
    return task.model_copy(update={"half_width": figures.half_width, "half_width_images": num_images})


def own_outputs(names: Iterable[str]) -> list[str]:
    """Logits, then probabilities or the number, and the distance where a graph with outputs of these `names` has it."""
    known = set(names)
    return [LOGITS, NUMBER if NUMBER in known else PROBABILITIES, *([DISTANCE] if DISTANCE in known else [])]


def novelty_digest(files: Mapping[str, FileRecord]) -> dict[str, str]:
    """Of a checkpoint's `files`: by which known features the graph tells images unlike those of training, if it
    does."""
    return {"novelty_sha256": files[NOVELTY].sha256} if NOVELTY in files else {}


def bundle_bytes(bundle: Bundle) -> bytes:
    """The content of `saccade.json`."""
    values = _values(bundle)
    return _text({**values, "sha256": _digest(values)})


def _values(bundle: Bundle) -> dict[str, Any]:
    """All that it says but its own digest."""
    return bundle.model_dump(mode="json", exclude={"sha256", *(() if bundle.unlike_training else ("unlike_training",))})


def _text(values: Mapping[str, Any]) -> bytes:
    return (json.dumps(values, indent=1, allow_nan=False) + "\n").encode()


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(_text(values)).hexdigest()


def read_bundle(folder: Path) -> Bundle:
    """The export in `folder`, every file of it checked. Raises CheckpointError where it is none, or was changed."""
    bundle = read_json_file(Bundle, folder / BUNDLE, REMEDY)
    if bundle is None:
        raise CheckpointError(
            f"{printable(str(folder))} is not an export: it has no {BUNDLE}.\nMake one: saccade export RUN"
        )
    for name in bundle.files:
        read_bundle_file(folder, bundle, name)
    if bundle.sha256 and bundle.sha256 != _digest(_values(bundle)):
        raise damaged(folder / BUNDLE, "its content is not what was exported", REMEDY)
    return bundle.model_copy(update={"sha256": ""})


def read_bundle_file(folder: Path, bundle: Bundle, name: str) -> bytes:
    """The content of a file of the export. Raises CheckpointError where it is not what was written."""
    record, path = bundle.files[name], folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise damaged(folder / BUNDLE, f"it names a file outside: '{printable(name[:200])}'", REMEDY)
    try:
        with open_plain_file(path) as file:
            is_as_long = os.fstat(file.fileno()).st_size == record.num_bytes  # before that much memory is taken
            content = file.read(record.num_bytes + 1) if is_as_long else b""
    except OSError as error:
        raise damaged(path, error.strerror or str(error), REMEDY) from None
    if not is_as_long or record_of(content) != record:
        raise damaged(path, "its content is not what was exported", REMEDY)
    return content


def refuse_foreign(folder: Path) -> None:
    """Raise ExportError where something else than an export, or nothing, stands at `folder`."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        what = "a link" if folder.is_symlink() else "a file"
        raise ExportError(f"{printable(str(folder))} is {what}, not a folder.\nChoose another place with --out.")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / BUNDLE).is_file():
        raise ExportError(
            f"{printable(str(folder))} holds other files than an export, and they would be replaced.\n"
            f"Choose a new folder with --out."
        )
