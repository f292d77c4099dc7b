"""A deployed model as a classifier: what it takes, what it answers, and which class each number stands for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..core.errors import ConfigError, EndpointError, UsageError, printable
from ..core.plain_files import open_plain_file
from ..core.plain_numbers import plain_float
from ..core.task import GRADE, ONE_LABEL, SEVERAL_LABELS, Task
from ..core.task import NUMBER as NUMBERS
from ..core.types import Preprocessing
from ..data.images.encode import file_content
from ..models.architecture import MODELS
from ..runs.at_path import holds_checkpoint
from ..runs.checkpoint import find_checkpoint
from ..runs.names import BUNDLE
from ..ship.bundle import NUMBER, PROBABILITIES, read_bundle
from ..weights.card import MAX_CARD_BYTES, parse_classes, parse_preprocessing, public_preprocessing, read_json
from .protocol import ModelInfo, ProtocolClient, TensorInfo, WantedOutput

FILES, PIXELS = "BYTES", ("UINT8", "UINT16", "FP16", "FP32", "FP64")
SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How pixels become inputs where the server does not do it, and the classes of what it was taken from, if known."""

    preprocessing: Preprocessing
    classes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """A model of a server that is ready to be asked. `preparation` None: it takes image files as they are.

    `output` is asked for; `classes` are in the order of its values, empty where it gives a number. `task` is what the
    server says it is asked of an image, else what the person says; None: neither of them.
    """

    client: ProtocolClient
    model_input: TensorInfo
    output: str
    classes: tuple[str, ...]
    preparation: Preparation | None
    task: Task | None = None

    @property
    def takes_files(self) -> bool:
        """Whether the server decodes and prepares images itself."""
        return self.preparation is None

    def answer(self, image: np.ndarray | bytes, key: str) -> np.ndarray:
        """value_K float64, as the server gives them, for the content of an image file, or pixels that were prepared
        (H, W, C) uint8. Raises EndpointError naming the image."""
        try:
            found = self.client.infer(
                self.model_input.name, self.model_input.datatype, self._tensor(image), [WantedOutput(name=self.output)]
            )
        except EndpointError as error:
            raise EndpointError(f"Image '{printable(key[:200])}': {error.message}") from None
        return self._row(found, key)

    def _tensor(self, image: np.ndarray | bytes) -> np.ndarray | bytes:
        return image if isinstance(image, bytes) else as_input(image, self.model_input, self.preparation)

    def _row(self, found: dict[str, np.ndarray], key: str) -> np.ndarray:
        values = found.get(self.output)
        where = f"{printable(self.client.address)}, image '{printable(key[:200])}'"
        if values is None or values.dtype == object or values.size != max(1, len(self.classes)):
            got = "no such output" if values is None else f"shape {list(values.shape)}"
            needs = f"for each of the {len(self.classes):,} classes" if self.classes else "for an image"
            raise EndpointError(
                f"{where}: output '{printable(self.output[:80])}' must have one number {needs}, got {got}.\n"
                f"Choose another output: --output NAME."
            )
        row_K = values.ravel().astype(np.float64)
        if not np.isfinite(row_K).all():
            raise EndpointError(f"{where}: the model answers with values that are not finite.\nIts log may say why.")
        return row_K


def as_input(prepared_HWC: np.ndarray, info: TensorInfo, preparation: Preparation | None) -> np.ndarray:
    """Prepared pixels as a batch of one, in the order and the kind of number that the input wants; numbers that are not
    whole are normalised by the preparation: (pixel / full scale - mean) / std."""
    image, num_channels = prepared_HWC, prepared_HWC.shape[2]
    if not info.datatype.startswith("UINT") and preparation is not None:
        pixels = preparation.preprocessing
        mean, std = np.asarray(pixels.mean, np.float64), np.asarray(pixels.std, np.float64)
        image = (image / pixels.full_scale - mean) / std
    return (image if _is_channels_last(info, num_channels) else image.transpose(2, 0, 1))[None]


def open_endpoint(
    client: ProtocolClient,
    preparation: Preparation | None,
    classes: Sequence[str] = (),
    output: str = "",
    target: str = "",
) -> Endpoint:
    """Ask the server what the model takes and answers, and settle what every value means.

    `classes` are its class names in order, empty: those that the server says, else those of `preparation`. `target` is
    number or grade where a person says that the labels are, "" where nothing is said. Raises EndpointError or
    UsageError naming the option that settles what nothing says.
    """
    info = client.info()
    model_input = _the_input(client, info)
    parameters = client.parameters()
    task = told_task(parameters) or {"number": NUMBERS, "grade": GRADE}.get(target)
    is_number = task is not None and task.is_number
    name = output or _the_output(client, info, NUMBER if is_number else PROBABILITIES)
    if model_input.datatype == FILES:
        if not client.binary:
            raise EndpointError(
                f"{printable(client.address)} takes image files, and its server does not know tensors in binary.\n"
                "Image files cannot be sent as JSON: serve the model by another server."
            )
        needed = None
    else:
        needed = preparation
        _refuse_other_size(client, model_input, preparation)
    told: tuple[str, ...] = ()
    if not is_number:
        told = tuple(classes) or told_classes(parameters, printable(client.address))
        told = told or _asked_or_known_classes(client, info, model_input, name, preparation)
    return Endpoint(client=client, model_input=model_input, output=name, classes=told, preparation=needed, task=task)


def told_task(parameters: Mapping[str, str]) -> Task | None:
    """What `saccade serve` says in a model's configuration of the kind of its answers, of a number also their scale;
    None of servers that say nothing of it."""
    known: dict[str, Task] = {task.kind: task for task in (ONE_LABEL, SEVERAL_LABELS, GRADE, NUMBERS)}
    found = known.get(parameters.get("task", ""))
    if found is None or not found.is_number:
        return found
    try:
        values = {name: plain_float(parameters[name]) for name in ("mean", "deviation") if name in parameters}
        half_width = plain_float(parameters.get("half_width", "0"))
        return Task.parse({"kind": "number", "half_width": half_width, **values})
    except (ValueError, ConfigError):  # no scale that there can be
        return found


def read_preparation(text: str) -> Preparation:
    """What `--preprocessing` names: a run, an export, a JSON file, or a network as its public weights want it.

    Raises SaccadeError.
    """
    path = Path(text)
    if (path / BUNDLE).is_file():
        bundle = read_bundle(path)
        return Preparation(preprocessing=bundle.preprocessing, classes=bundle.classes)
    if holds_checkpoint(path):
        manifest = find_checkpoint(path).manifest
        return Preparation(preprocessing=manifest.preprocessing, classes=manifest.classes)
    if path.is_file():
        return Preparation(preprocessing=parse_preprocessing(read_json(path, "file"), printable(text)))
    if text in MODELS:
        return Preparation(preprocessing=public_preprocessing(text, printable(text))[0])
    raise UsageError(
        f"--preprocessing takes a run, an export, a JSON file or a network; '{printable(text[:200])}' is none of these."
    )


def read_class_names(path: Path) -> tuple[str, ...]:
    """Class names in the order of the outputs: a JSON list, or a text file with one name a line. Raises WeightsError,
    UsageError."""
    if path.suffix.lower() == ".json":
        return parse_classes(read_json(path, "file"), printable(str(path)))
    where = printable(str(path))
    try:
        with open_plain_file(path) as file:
            lines = file.read(MAX_CARD_BYTES).decode("utf-8").splitlines()
    except OSError as error:
        raise UsageError(f"--class-names: {where} cannot be read: {error.strerror or error}.") from None
    except UnicodeDecodeError:
        raise UsageError(f"--class-names: {where} is not text in UTF-8; it has one name a line.") from None
    return parse_classes([line.strip() for line in lines if line.strip()], where)


def _the_input(client: ProtocolClient, info: ModelInfo) -> TensorInfo:
    """The one input, which takes image files or pixels."""
    if len(info.inputs) == 1:
        found = info.inputs[0]
        if found.datatype == FILES or (found.datatype in PIXELS and len(found.shape) in (3, 4)):
            return found
    takes = "; ".join(one.words() for one in info.inputs[:5]) or "nothing"
    raise EndpointError(
        f"{printable(client.address)} takes {takes}.\n"
        "A classifier that can be judged has one input: image files (BYTES), or pixels (UINT8 or FP32) in three "
        "colours or grey."
    )


def _the_output(client: ProtocolClient, info: ModelInfo, preferred: str) -> str:
    names = [one.name for one in info.outputs]
    if len(names) == 1:
        return names[0]
    if preferred in names:
        return preferred
    has = ", ".join(printable(name[:80]) for name in names[:8]) or "none"
    raise UsageError(
        f"{printable(client.address)} has several outputs or none: {has}.\nChoose one: --output NAME."
        if names
        else f"{printable(client.address)} does not name its outputs.\nName the one of the classes: --output NAME."
    )


def _is_channels_last(info: TensorInfo, num_channels: int) -> bool:
    return info.shape[-1] in (1, 3, num_channels)


def _refuse_other_size(client: ProtocolClient, info: TensorInfo, preparation: Preparation | None) -> None:
    """Raise where pixels are wanted and nothing says how they are made, or what says it makes another size."""
    if preparation is None:
        raise UsageError(
            f"{printable(client.address)} takes pixels, {info.words()}, and does not say how they are made.\n"
            "Say it: --preprocessing with the run or export that was deployed, a JSON file, or a network's name."
        )
    channels, height, width = preparation.preprocessing.input_CHW
    if all(info.shape[place] not in (1, 3, channels) for place in (-1, -3)):
        raise EndpointError(
            f"{printable(client.address)} takes {info.words()}: nothing says where the channels lie.\n"
            "Serve the model with 3 or 1 as the first or the last size of an image."
        )
    has = (height, width, channels) if _is_channels_last(info, channels) else (channels, height, width)
    wants = info.shape[-3:]
    if any(side not in (-1, own) for side, own in zip(wants, has, strict=True)):
        raise UsageError(
            f"{printable(client.address)} takes {info.words()}; --preprocessing makes {list(has)}.\n"
            "Name the run or export that was deployed."
        )


def told_classes(parameters: Mapping[str, str], where: str) -> tuple[str, ...]:
    """The classes that `saccade serve` says in a model's configuration; none of servers that say nothing of them."""
    try:
        names = json.loads(parameters.get("classes", "[]"))
    except (ValueError, RecursionError):
        return ()
    return parse_classes(names, where) if isinstance(names, list) and names else ()


def _asked_or_known_classes(
    client: ProtocolClient, info: ModelInfo, model_input: TensorInfo, output: str, preparation: Preparation | None
) -> tuple[str, ...]:
    """The classes as the server says them when asked (its extension `classification`), else those of the
    preparation."""
    sizes = [one.shape[-1] for one in info.outputs if one.name == output and one.shape]
    size = sizes[0] if sizes and sizes[0] > 0 else 0
    told = _asked_classes(client, model_input, output, size, preparation)
    if told:
        return told
    if preparation is not None and preparation.classes and size in (0, len(preparation.classes)):
        return preparation.classes
    raise UsageError(
        f"{printable(client.address)} does not say what its classes are called.\n"
        "Name them in the order of its outputs: --class-names FILE, one a line."
    )


def _asked_classes(
    client: ProtocolClient, model_input: TensorInfo, output: str, size: int, preparation: Preparation | None
) -> tuple[str, ...]:
    """Ask for all classes of a grey picture. Empty where the server does not know them."""
    image = _grey_picture(model_input, preparation)
    wanted = [WantedOutput(name=output, top=size or 2**20)]
    try:
        texts = client.infer(model_input.name, model_input.datatype, image, wanted).get(output)
    except EndpointError:
        return ()  # the extension is optional: a server that lacks it may refuse
    if texts is None or texts.dtype != object:
        return ()
    parts = [str(text).split(":", 2) for text in texts.ravel()]
    numbered = [part for part in parts if len(part) == 3 and part[1].isdecimal() and len(part[1]) < 10 and part[2]]
    named = {int(number): name for _, number, name in numbered}
    complete = len(named) == len(parts) > 1 and sorted(named) == list(range(len(named)))
    return parse_classes([named[k] for k in range(len(named))], printable(client.address)) if complete else ()


def _grey_picture(model_input: TensorInfo, preparation: Preparation | None) -> np.ndarray | bytes:
    if preparation is None or model_input.datatype == FILES:
        return file_content(np.full((64, 64, 3), 128, np.uint8))
    channels, height, width = preparation.preprocessing.input_CHW
    return as_input(np.full((height, width, channels), 128, np.uint8), model_input, preparation)
