"""A backbone's weights: found in a file, a folder or on the hub, with the card that says what they are."""

import hashlib
import math
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

from torch import nn

from ..core.addresses import is_address, shown
from ..core.errors import ConfigError, ModelError, UnknownNameError, WeightsError, printable
from ..core.types import Preprocessing
from ..models.architecture import MODELS, Architecture, ModelSpec
from ..models.build import resolve_model, without_weights
from ..runs.checkpoint import Checkpoint, open_checkpoint
from ..runs.names import WEIGHTS
from .card import CARD_NAME, Card, card_beside, card_in_file, parse_preprocessing, public_preprocessing, read_json
from .hub import HUB_PREFIX, USUAL_NAME, download_weights, weights_in
from .of_run import check_network, checkpoint_of, network_of
from .public_table import network_of_public, refuse_unknown_name
from .tensors import (
    AUXILIARY,
    UNUSED_COUNTER,
    check_tensors,
    load_weights,
    match_names,
    parse_header,
    parse_metadata,
    read_file,
    same_shapes_other_names,
    tensor_shapes,
)

OWN_LICENCE = "own: trained from random weights"  # of a run under nobody else's
LICENCE_FILES = ("LICENSE", "LICENSE.txt", "LICENSE.md", "LICENCE")
TIMM_STEM = "conv_stem"  # what only timm calls a layer
FILE_ENDINGS = (".safetensors", ".pth", ".pt", ".th", ".bin", ".ckpt", ".onnx", ".h5", ".pkl")  # a file is meant
MAX_TRIED = 10  # weight files of a folder that are read to find the one of a network


@dataclass(frozen=True, kw_only=True)
class BackboneWeights:
    """A weight file on this machine that fits the registered network `model`, and what is known of it.

    `sha256` is the file's; `num_classes` the outputs of the head in it, 0 without one; `classes` is empty and `licence`
    "" where unknown. `source` is a file's name or hub:OWNER/NAME@COMMIT; `notes` are sentences a person should hear.
    """

    path: Path
    sha256: str
    model: str
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    num_classes: int
    licence: str
    source: str
    notes: tuple[str, ...]


def find_weights(text: str, model: str, preprocessing: Path | Preprocessing | None = None) -> BackboneWeights:
    """The weights `text` (a .safetensors file, a folder with one, a run, or hub:OWNER/NAME[@REVISION]) for network
    `model`.

    A run says of itself what a card says. Else the card is `preprocessing` (or a JSON file of it), else the file's own
    metadata, else config.json beside it, else that of torchvision's public files. Raises WeightsError, CheckpointError,
    ConfigError, or UnknownNameError for `model`.
    """
    architecture = MODELS.get(model)
    model, given = architecture.name, preprocessing
    if isinstance(given, Path):
        given = parse_preprocessing(read_json(given, "file"), printable(str(given)))
    checkpoint = checkpoint_of(text)
    if checkpoint is not None:
        return _of_run(checkpoint, model, given)
    path, source, beside, told = _locate(text, architecture)
    where = source if text.startswith(HUB_PREFIX) else printable(str(path))
    content = read_file(path)
    shapes = parse_header(content, path)
    card = _merge(card_in_file(parse_metadata(content), where), beside)
    _refuse_lookalike(architecture, card.architecture, where)
    notes = [*told, *card.notes]
    chosen = given or card.preprocessing
    if chosen is None:
        chosen, note = public_preprocessing(model, where)
        notes.append(note)
    num_classes = _check_architecture(architecture, chosen, shapes, path)
    names = match_names(list(shapes), _expected(architecture, chosen, num_classes), architecture.rename_key)[0].values()
    classes, more = _usable_classes(card.classes, num_classes, where)
    more += _lookalike_note(architecture, card, shapes, where)
    return BackboneWeights(
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
        model=model,
        preprocessing=chosen,
        classes=classes,
        num_classes=num_classes,
        licence=card.licence,
        source=card.source or source,
        notes=tuple(notes + more + _other_notes(architecture, set(names), card.licence, path, where)),
    )


def network_of_weights(text: str, among: Collection[str] = ()) -> str:
    """The registered network whose weights `text` are, as `find_weights` takes it: by the run, by the architecture that
    config.json names, or by the tensors; where these fit several networks, the one of them that is `among` those asked
    for. Raises WeightsError where none fits, or several do."""
    own = network_of(text)
    if own:
        return own
    path, source, beside, _ = _locate(text)
    named = _architecture_beside(path.parent)
    if named:
        return named
    where = source if text.startswith(HUB_PREFIX) else printable(str(path))
    content = read_file(path)
    card = _merge(card_in_file(parse_metadata(content), where), beside)
    fitting = list(_fitting(parse_header(content, path), path, "", card.preprocessing))
    asked = [name for name in fitting if name in among]
    fitting = asked if len(asked) == 1 else fitting
    if len(fitting) != 1:
        several = f"fit several networks: {', '.join(fitting[:4])}" if fitting else "are those of no network here"
        raise WeightsError(
            f"The tensors of {where} {several}.\nSay which one is meant with --backbone; 'saccade models' lists them."
        )
    return fitting[0]


def _architecture_beside(folder: Path) -> str:
    """The registered network that timm's config.json names in `folder`; "" where it names none of ours."""
    config = folder / CARD_NAME
    values = read_json(config, "card") if config.is_file() else {}
    named = values.get("architecture") if isinstance(values, dict) else None
    if not isinstance(named, str):
        return ""
    try:
        return MODELS.get(named[:200]).name
    except UnknownNameError:
        return network_of_public(named[:200])


def load_backbone(weights: BackboneWeights) -> nn.Module:
    """The network with these weights, all of its public head included; without one in the file, one fresh output.
    Raises WeightsError."""
    spec = ModelSpec(num_classes=weights.num_classes or 1, input_CHW=weights.preprocessing.input_CHW)
    network = resolve_model(weights.model, spec)
    rename_key = MODELS.get(weights.model).rename_key if weights.model in MODELS else None  # a new head is ours
    loaded = load_weights(network, weights.path, rename_key, needs_head=weights.num_classes > 0)
    if loaded.sha256 != weights.sha256:
        raise WeightsError(
            f"{printable(str(weights.path))} has changed since it was looked at: its SHA-256 is "
            f"{loaded.sha256[:12]}..., expected {weights.sha256[:12]}....\n"
            f"Run the command again when nothing writes to it."
        )
    return network


def _of_run(checkpoint: Checkpoint, model: str, given: Preprocessing | None) -> BackboneWeights:
    """What a checkpoint's manifest says of its weights. Raises WeightsError."""
    check_network(checkpoint, model)
    checkpoint = open_checkpoint(checkpoint.folder, check_content=True)
    manifest, path = checkpoint.manifest, checkpoint.folder / WEIGHTS
    origin, where = manifest.origin.transfer, printable(str(checkpoint.folder))
    licence = origin.licence or ("" if origin.weights else OWN_LICENCE)
    notes = []
    if not licence:
        begun = printable(origin.weights[:200])
        notes.append(f"{where} began with {begun}, whose licence is not known; look where you got those weights.")
    return BackboneWeights(
        path=path,
        sha256=hashlib.sha256(read_file(path)).hexdigest(),
        model=manifest.model,
        preprocessing=given or manifest.preprocessing,
        classes=manifest.classes,
        num_classes=len(manifest.classes),
        licence=licence,
        source=str(checkpoint.folder),
        notes=tuple(notes),
    )


def head_outputs(architecture: Architecture, spec: ModelSpec) -> set[str]:
    """Names of the tensors whose first size is the number of classes: those that change when it does."""
    one, other = (
        _expected_of(architecture, ModelSpec(num_classes=num, input_CHW=spec.input_CHW))
        for num in (spec.num_classes, spec.num_classes + 1)
    )
    return {name for name in one if one[name] != other[name]}


def _locate(text: str, architecture: Architecture | None = None) -> tuple[Path, str, Card, list[str]]:
    """(the weight file, its source in words, the card beside it, what to hear of the choice). Of several files in a
    folder it is the one that fits the network, if it alone does."""
    if text.startswith(HUB_PREFIX):
        folder, source = download_weights(text)
        path, _, _ = _file_in(folder)
        return path, source, card_beside(folder), []
    if is_address(text):
        raise WeightsError(
            f"'{shown(text)}' is an address; weights are a file on this machine, or on the hub.\n"
            f"Download the .safetensors file and give it, or write hub:OWNER/NAME."
        )
    if Path(text).is_dir():
        path, name, note = _file_in(Path(text), architecture)
        return (path, name, Card(), [note]) if note else (path, name, card_beside(Path(text)), [])
    path = Path(text)
    if not path.exists() and path.name == text and path.suffix not in FILE_ENDINGS:
        refuse_unknown_name(text, architecture.name if architecture is not None else "")
    others = [other for other in path.parent.glob("*.safetensors") if other.name != path.name]
    if path.name == USUAL_NAME or not others:
        return path, path.name, card_beside(path.parent), []
    note = f"{printable(str(path.parent / CARD_NAME))} is not used: {len(others) + 1} weight files lie beside it."
    return path, path.name, Card(notes=(note,) if (path.parent / CARD_NAME).is_file() else ()), []


def _file_in(folder: Path, architecture: Architecture | None = None) -> tuple[Path, str, str]:
    """(the weight file of a folder, its source in words, why it of several, "" where there is no choice)."""
    files = weights_in(folder)
    usual, own_name = folder / USUAL_NAME, folder.resolve().name
    if usual in files or len(files) == 1:
        path = usual if usual in files else files[0]
        return path, f"{own_name}/{path.name}", ""
    where = printable(str(folder))
    if files:
        fits = ""
        if architecture is not None and len(files) <= MAX_TRIED:
            fitting = [file for file in files if _is_file_of(architecture, file)]
            if len(fitting) == 1:
                path = fitting[0]
                only = f"{printable(path.name)} is the only one of {architecture.name}"
                return path, f"{own_name}/{path.name}", f"{where} holds {len(files)} weight files; {only}."
            names = ", ".join(printable(file.name) for file in fitting)
            own = architecture.name
            fits = f"; those of {own} are {names}" if fitting else f"; none has the tensors of {own}"
        shown = ", ".join(printable(file.name) for file in files[:3]) + (", ..." if len(files) > 3 else "")
        raise WeightsError(f"{where} holds {len(files)} weight files: {shown}{fits}.\nGive the one that you want.")
    pickles = sorted(file for file in folder.iterdir() if file.suffix in (".pth", ".pt", ".th", ".bin", ".ckpt"))
    if pickles:
        raise WeightsError(
            f"{where} holds no .safetensors file, only pickles such as {printable(pickles[0].name)}.\n"
            f"saccade convert {printable(str(pickles[0]))} --model NAME --out FILE.safetensors"
        )
    raise WeightsError(
        f"{where} holds no .safetensors file.\nGive the file, a folder with {USUAL_NAME}, or hub:OWNER/NAME."
    )


def _merge(own: Card, beside: Card) -> Card:
    """The file's own card, completed by the one beside it."""
    settled = own.preprocessing is not None
    return Card(
        preprocessing=own.preprocessing or beside.preprocessing,
        classes=own.classes or beside.classes,
        licence=own.licence or beside.licence,
        source=own.source,
        architecture=beside.architecture,
        notes=own.notes + (() if settled else beside.notes),
    )


@lru_cache(maxsize=256)
@lru_cache(maxsize=256)
def _expected_of(architecture: Architecture, spec: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Shapes of the network's tensors by name; not to be changed, since they are kept: to know a file, each network is
    asked several times."""
    with without_weights():
        network = architecture.build(spec)
    return tensor_shapes(network)


def _expected(architecture: Architecture, preprocessing: Preprocessing, num: int) -> dict[str, tuple[int, ...]]:
    return _expected_of(architecture, ModelSpec(num_classes=num or 1, input_CHW=preprocessing.input_CHW))


def _check_architecture(
    architecture: Architecture, preprocessing: Preprocessing, shapes: dict[str, tuple[int, ...]], path: Path
) -> int:
    """The number of classes in the file, 0 where it has no head and needs none. Raises WeightsError, naming the network
    that fits where another one does."""
    spec = ModelSpec(num_classes=1000, input_CHW=preprocessing.input_CHW)
    num_classes = _classes_of(architecture, spec, shapes)
    if num_classes is None:
        num_classes = spec.num_classes if architecture.public_head else 0
    expected = _expected(architecture, preprocessing, num_classes)
    try:
        check_tensors(expected, shapes, path, architecture.rename_key, architecture.public_head)
    except WeightsError as error:
        fitting = list(_fitting(shapes, path, architecture.name))
        if not fitting:
            _refuse_other_names(architecture, preprocessing, shapes, path)
            raise
        first_line = error.message.splitlines()[0]
        raise WeightsError(
            f"{first_line}\nThese look like the weights of {' or '.join(fitting)}, not of {architecture.name}."
        ) from None
    return num_classes


def _refuse_other_names(
    architecture: Architecture, preprocessing: Preprocessing, shapes: dict[str, tuple[int, ...]], path: Path
) -> None:
    """Raise WeightsError where the file has the network's shapes, for some number of classes, under other names."""
    for num_classes in sorted({shape[0] for shape in shapes.values() if len(shape) == 1 and shape[0] > 0}):
        expected = _expected(architecture, preprocessing, num_classes)
        names, unused = match_names(list(shapes), expected, architecture.rename_key)
        missing = [name for name in expected if name not in names.values() and not name.endswith(UNUSED_COUNTER)]
        if missing and unused and same_shapes_other_names(shapes, expected):
            alike = next((name for name in unused if shapes[name] == expected[missing[0]]), unused[0])
            raise WeightsError(
                f"{printable(str(path))} has tensors of just the shapes of {architecture.name}, under names that are "
                f"not known: '{printable(alike)}', where the network has '{missing[0]}'.\n"
                f"It may be the same network written by somebody else. Where it is, rename its tensors to those of "
                f"saccade.models.architecture.build_model('{architecture.name}', ...).state_dict()."
            )


def _fitting(
    shapes: dict[str, tuple[int, ...]], path: Path, not_this: str, preprocessing: Preprocessing | None = None
) -> Iterator[str]:
    """Registered networks whose tensors are those of the file, for inputs of `preprocessing` or of their own."""
    num_values = sum(math.prod(shape) for shape in shapes.values())
    for name in MODELS.names():
        architecture = MODELS.get(name)
        known = architecture.references[0].parameters if architecture.references else 0
        if known and architecture.rename_key and not 0.3 * known < num_values < 3 * known:
            continue  # whatever its classes; building all networks to compare them takes seconds
        if name != not_this and _has_tensors_of(architecture, shapes, path, preprocessing):
            yield name


def _has_tensors_of(
    architecture: Architecture, shapes: dict[str, tuple[int, ...]], path: Path, preprocessing: Preprocessing | None
) -> bool:
    """Whether the tensors of the file are those of the network, for inputs of `preprocessing` or of its own."""
    spec = architecture.default_spec
    spec = spec if preprocessing is None else replace(spec, input_CHW=preprocessing.input_CHW)
    num_classes = _classes_of(architecture, spec, shapes)
    if num_classes is None and architecture.public_head:
        return False
    try:
        expected = _expected_of(architecture, replace(spec, num_classes=num_classes or 1))
        check_tensors(expected, shapes, path, architecture.rename_key, architecture.public_head)
    except (WeightsError, ModelError):
        return False
    return True


def _is_file_of(architecture: Architecture, path: Path) -> bool:
    """Whether `path` is a whole weight file with the tensors of the network."""
    try:
        content = read_file(path)
        shapes = parse_header(content, path)
        card = card_in_file(parse_metadata(content), printable(str(path)))
    except (WeightsError, ConfigError):
        return False
    return _has_tensors_of(architecture, shapes, path, card.preprocessing)


def _classes_of(architecture: Architecture, spec: ModelSpec, shapes: dict[str, tuple[int, ...]]) -> int | None:
    """The outputs of the head in the file; None where it has no such tensor, or the network cannot be built."""
    try:
        outputs = head_outputs(architecture, spec)
    except ModelError:
        return None
    names, _ = match_names(list(shapes), dict.fromkeys(outputs, ()), architecture.rename_key)
    sizes = [shapes[theirs][0] for theirs, ours in names.items() if shapes[theirs] and not ours.startswith(AUXILIARY)]
    return sizes[0] if sizes and sizes[0] > 0 else None


def _refuse_lookalike(architecture: Architecture, theirs: str, where: str) -> None:
    """Raise WeightsError for weights of timm's network `theirs`, which has the tensors of ours and is another one."""
    if theirs in architecture.lookalikes:
        raise WeightsError(
            f"{where} holds weights of timm's {printable(theirs)}, which has the same tensors as {architecture.name} "
            f"and {architecture.lookalikes[theirs]}.\n"
            f"Its answers here would be wrong; take the weights of another one (docs/weights.md)."
        )


def _lookalike_note(architecture: Architecture, card: Card, names: Iterable[str], where: str) -> list[str]:
    """What to hear of a file under timm's names that does not say which network it is of."""
    if card.architecture or not any(TIMM_STEM in name.split(".") for name in names):
        return []
    return [
        f"{where} does not say which of timm's networks it is of; {theirs} has the same tensors and {words}: "
        f"its answers here would be wrong."
        for theirs, words in architecture.lookalikes.items()
    ]


def _usable_classes(classes: tuple[str, ...], num_classes: int, where: str) -> tuple[tuple[str, ...], list[str]]:
    if classes and len(classes) != num_classes:
        return (), [f"{where}: {len(classes)} class names for {num_classes} outputs; the names are not used."]
    return classes, []


def _other_notes(architecture: Architecture, names: set[str], licence: str, path: Path, where: str) -> list[str]:
    notes = []
    wanted = {name for name in _expected_of(architecture, architecture.default_spec) if name.startswith(AUXILIARY)}
    if wanted and not wanted & names:
        notes.append(f"{where} has no side branches; those of {architecture.name} start anew.")
    if not licence:
        beside = next((name for name in LICENCE_FILES if (path.parent / name).is_file()), "")
        remedy = f"read {beside} beside it" if beside else "ask where you got it"
        notes.append(f"{where} does not say under which licence it may be used; {remedy}.")
    return notes
