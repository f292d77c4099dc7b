"""The card of a weight file: preprocessing, classes, licence, source; from the file itself or from what lies beside it.

Whatever no card says is assumed, and the assumption is said aloud.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.errors import WeightsError, printable
from ..core.plain_files import open_plain_file
from ..core.types import Preprocessing
from ..data.limits import MAX_CLASS_NAME_CHARACTERS, MAX_CLASSES
from ..data.sources.shared.listing import is_text
from ..models.architecture import MODELS, PHOTO_CHW, TORCHVISION_INPUT

KEY_PREPROCESSING, KEY_CLASSES = "saccade.preprocessing", "saccade.classes"
KEY_LICENCE, KEY_SOURCE, KEY_ORIGINAL = "saccade.licence", "saccade.source", "saccade.original_sha256"
KEY_ASSUMED = "saccade.preprocessing_assumed"  # the sentence that says so
CARD_NAME = "config.json"
MAX_CARD_BYTES = 16 << 20
MAX_LICENCE_CHARACTERS = 10_000
HOW_TO_SAY = "Give a JSON file of it with --preprocessing."


@dataclass(frozen=True, kw_only=True)
class Card:
    """What is known of a weight file. `preprocessing` None, `classes` empty and texts "" are unknown; `architecture` is
    timm's name of the network.
    """

    preprocessing: Preprocessing | None = None
    classes: tuple[str, ...] = ()
    licence: str = ""
    source: str = ""
    architecture: str = ""
    notes: tuple[str, ...] = ()


def read_json(path: Path, what: str) -> Any:
    """The content of a JSON file of at most 16 MiB; `what` is its name in messages. Raises WeightsError."""
    where = printable(str(path))
    try:
        with open_plain_file(path) as file:
            content = file.read(MAX_CARD_BYTES + 1)
    except FileNotFoundError:
        raise WeightsError(f"There is no {what} {where}.\nCheck the path and its spelling.") from None
    except OSError as error:
        raise WeightsError(f"{what} {where} cannot be read: {error.strerror or error}.") from None
    return (
        parse_json(content.decode("utf-8", "replace"), where) if len(content) <= MAX_CARD_BYTES else _too_large(where)
    )


def parse_json(text: str, where: str) -> Any:
    """`text` as JSON. Raises WeightsError naming `where`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise WeightsError(f"{where} is not valid JSON: {printable(str(error)[:100])}.") from None


def parse_preprocessing(values: Any, where: str) -> Preprocessing:
    """A Preprocessing from JSON values. Raises ConfigError naming the key, WeightsError for what is no object."""
    if not isinstance(values, dict):
        raise WeightsError(f'{where} must hold one JSON object of preprocessing, such as {{"resize_px": 256}}.')
    return Preprocessing.parse(values, where)


def parse_classes(values: Any, where: str) -> tuple[str, ...]:
    """Class names from a JSON list. Raises WeightsError."""
    if not isinstance(values, list) or not values or not all(isinstance(name, str) and name for name in values):
        raise WeightsError(f"{where} must hold one JSON list of class names, in the order of the network's outputs.")
    if max(map(len, values)) > MAX_CLASS_NAME_CHARACTERS or len(values) > MAX_CLASSES:
        raise WeightsError(
            f"{where} has {len(values):,} classes, the longest name with {max(map(len, values)):,} characters; "
            f"at most {MAX_CLASSES:,} and {MAX_CLASS_NAME_CHARACTERS} are read."
        )
    wrong = next((name for name in values if not is_text(name)), None)
    if wrong is not None:
        raise WeightsError(f"{where} has a class whose name is not valid text: '{printable(wrong[:40])}'.")
    return told_apart(values)


def told_apart(names: Sequence[str]) -> tuple[str, ...]:
    """`names` with its output's number behind each that stands there more than once: ImageNet has two classes `crane`,
    a bird (134) and a machine (517), and an answer must say which."""
    count = Counter(names)
    return tuple(f"{name} ({number})" if count[name] > 1 else name for number, name in enumerate(names))


def card_in_file(metadata: dict[str, str], where: str) -> Card:
    """The card that `saccade convert` wrote into a safetensors file. Raises WeightsError or ConfigError."""
    preprocessing, classes = metadata.get(KEY_PREPROCESSING), metadata.get(KEY_CLASSES)
    place = f"{where}, {KEY_PREPROCESSING}"
    return Card(
        preprocessing=parse_preprocessing(parse_json(preprocessing, place), place) if preprocessing else None,
        classes=parse_classes(parse_json(classes, f"{where}, {KEY_CLASSES}"), f"{where}, {KEY_CLASSES}")
        if classes
        else (),
        licence=_short(metadata.get(KEY_LICENCE, ""), f"{where}, {KEY_LICENCE}"),
        source=metadata.get(KEY_SOURCE, ""),
        notes=(printable(metadata[KEY_ASSUMED]),) if KEY_ASSUMED in metadata else (),
    )


def card_beside(folder: Path) -> Card:
    """The card of a folder: timm's config.json, a list of classes, the licence in a README. Raises WeightsError."""
    config = folder / CARD_NAME
    card = card_of_timm(read_json(config, "card"), printable(str(config))) if config.is_file() else Card()
    lists = sorted(folder.glob("*classes*.json"))
    classes, notes = card.classes, card.notes
    if len(lists) == 1:
        classes = parse_classes(read_json(lists[0], "list of classes"), printable(str(lists[0])))
    elif lists:
        notes += (f"{len(lists)} lists of classes lie beside the weights; none of them is used.",)
    licence = card.licence or _licence_of_readme(folder / "README.md")
    return replace(card, classes=classes, licence=licence, notes=notes)


def card_of_timm(values: Any, where: str) -> Card:
    """What timm's config.json says. Raises WeightsError where its preprocessing is none of ours."""
    if not isinstance(values, dict):
        raise WeightsError(f"{where} must hold one JSON object.")
    config = values.get("pretrained_cfg", values)
    architecture = str(values.get("architecture") or "")
    if not isinstance(config, dict) or "input_size" not in config:
        return Card(architecture=architecture, notes=(f"{where} says nothing of the preprocessing.",))
    names = config.get("label_names", values.get("label_names"))
    licence = config.get("license") or values.get("license") or ""
    return Card(
        preprocessing=_timm_preprocessing(config, where),
        classes=parse_classes(names, f"{where}, label_names") if names else (),
        licence=_short(str(licence), f"{where}, license"),
        architecture=architecture,
    )


def _short(licence: str, where: str) -> str:
    """`licence` as a manifest can keep it. Raises WeightsError."""
    if len(licence) > MAX_LICENCE_CHARACTERS or not is_text(licence):
        raise WeightsError(
            f"{where} is not a licence: it has {len(licence):,} characters, or some that are not text; at most "
            f"{MAX_LICENCE_CHARACTERS:,} are kept.\nWrite its name there, such as apache-2.0."
        )
    return licence


def _timm_preprocessing(config: dict[str, Any], where: str) -> Preprocessing:
    """As timm 1.0.31, data/transforms_factory.py: short side to floor(size / crop_pct), then the centre; with
    crop_pct 1 also crop_mode squash, both sides to the input, and border, the whole picture and the mean colour around
    it."""
    try:
        channels, height_px, width_px = (int(size) for size in config["input_size"])
        fraction = float(config.get("crop_pct") or 0.875)
        resize_px = math.floor(height_px / fraction)
        kind = {1: "grey", 3: "rgb"}[channels]
    except (TypeError, ValueError, KeyError, ZeroDivisionError, OverflowError):
        raise WeightsError(f"{where} has no usable input_size and crop_pct.\n{HOW_TO_SAY}") from None
    mode, interpolation = str(config.get("crop_mode") or "center"), str(config.get("interpolation") or "bicubic")
    sees_all = mode in ("squash", "border") and fraction == 1
    if not sees_all and (mode != "center" or height_px != width_px):
        raise WeightsError(
            f"{where} asks for preprocessing that Saccade does not have: crop_mode '{printable(mode[:40])}' with "
            f"crop_pct {fraction:g} at {height_px}x{width_px}.\n{HOW_TO_SAY}"
        )
    values = {
        "channels": kind,
        "fit": "pad" if mode == "border" else "crop",
        "resize_px": None if sees_all else resize_px,
        "input_height_px": height_px,
        "input_width_px": width_px,
        "interpolation": interpolation,
        "mean": config.get("mean") or Preprocessing().mean,
        "std": config.get("std") or Preprocessing().std,
    }
    return Preprocessing.parse(values, where)


def public_preprocessing(model: str, where: str) -> tuple[Preprocessing, str]:
    """How the public weights of `model` want their pixels, and the note that it was assumed.

    Raises WeightsError for networks whose weights nobody publishes for photos.
    """
    architecture = MODELS.get(model)
    public = architecture.public_input
    if public is None and architecture.default_spec.input_CHW != PHOTO_CHW:
        raise WeightsError(f"{where} does not say how pixels become inputs of {model}.\n{HOW_TO_SAY}")
    public = public or TORCHVISION_INPUT
    pixels = public.preprocessing
    note = (
        f"{where} does not say how pixels become inputs; assumed as for {public.whose} public files: short side to "
        f"{pixels.resize_px}, centre {pixels.input_height_px}x{pixels.input_width_px}, {pixels.interpolation}, "
        f"{_scale_words(pixels)}. Another one: --preprocessing FILE.json."
    )
    return pixels, note


def _scale_words(pixels: Preprocessing) -> str:
    usual = Preprocessing()
    if (pixels.mean, pixels.std) == (usual.mean, usual.std):
        return "ImageNet's mean and deviation"
    mean, std = (f"{values[0]:.3g}" for values in (pixels.mean, pixels.std))
    return f"mean and deviation {mean}" if mean == std else f"mean {mean} and deviation {std}"


def _licence_of_readme(path: Path) -> str:
    """The `license:` of a model card's front matter; "" where there is none."""
    if not path.is_file():
        return ""
    with open_plain_file(path) as file:
        text = file.read(64 << 10).decode("utf-8", "replace")
    front = re.match(r"---\r?\n(.*?)\r?\n---", text, re.S)
    found = re.search(r"^license:[ \t]*['\"]?([^\s'\"#]{1,80})", front[1], re.M) if front else None
    return found[1] if found else ""


def _too_large(where: str) -> Any:
    raise WeightsError(f"{where} is larger than {MAX_CARD_BYTES:,} bytes: no card is so large.")
