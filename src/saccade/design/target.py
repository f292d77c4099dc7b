"""The network a person means: a name, a line of notation, a trained run, or a function in a file of theirs."""

import importlib.util
import inspect
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.errors import ModelError, UsageError, brief, did_you_mean, printable
from ..core.runtime import DRAWS
from ..models.architecture import MODELS, ModelSpec
from ..models.build import is_notation, registered_name, resolve_model, without_weights
from ..models.new_head import network_words
from ..runs.checkpoint import find_checkpoint

DEFAULT_INPUT_CHW = (3, 224, 224)
DEFAULT_NOTATION_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Target:
    """A network without weights, what to call it, and the input it is drawn up for."""

    name: str
    model: nn.Module
    input_CHW: tuple[int, int, int]


def parse_input(text: str) -> tuple[int, int, int]:
    """(channels, height, width) of `HEIGHTxWIDTHxCHANNELS`; one number is a square, no third one is three channels."""
    match = re.fullmatch(r"(\d{1,6})(?:x(\d{1,6})(?:x(\d{1,6}))?)?", text.strip().lower())
    height, width, channels = match.groups() if match else ("0", None, None)
    sizes = [int(size) for size in (height, width or height, channels or "3")]
    if 0 in sizes:
        raise UsageError(
            f"An input is written HEIGHTxWIDTHxCHANNELS, such as 224x224x3 or 28x28x1, or 224 for 224x224x3, got "
            f"'{printable(text[:80])}'."
        )
    return sizes[2], sizes[0], sizes[1]


def resolve_target(text: str, input_CHW: tuple[int, int, int] | None = None, num_classes: int | None = None) -> Target:
    """Build what `text` names. Input and classes default to the run's, the network's own, or 224x224x3.

    Raises UnknownNameError, NotationError, CheckpointError, UsageError or ModelError, each saying what to do.
    """
    if _looks_like_file(text):
        return _from_file(text, input_CHW or DEFAULT_INPUT_CHW, num_classes)
    if is_notation(text) or text in MODELS:
        return from_words(text, input_CHW, num_classes)
    if Path(text).is_dir() or "/" in text:
        return from_run(Path(text), input_CHW, num_classes)
    return from_words(text, input_CHW, num_classes)


def from_words(text: str, input_CHW: tuple[int, int, int] | None, num_classes: int | None) -> Target:
    """The network of a name or a line of notation. Raises UnknownNameError, NotationError or ModelError."""
    text, spec = spec_of_words(text, input_CHW, num_classes)
    with without_weights():
        return Target(name=text, model=resolve_model(text, spec), input_CHW=spec.input_CHW)


def drawn_from_words(text: str, input_CHW: tuple[int, int, int] | None, num_classes: int | None, seed: int) -> Target:
    """The same with weights as a training begins with, drawn by `seed`; the process's own draws go on as before."""
    text, spec = spec_of_words(text, input_CHW, num_classes)
    with DRAWS, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return Target(name=text, model=resolve_model(text, spec), input_CHW=spec.input_CHW)


def spec_of_words(text: str, input_CHW: tuple[int, int, int] | None, num_classes: int | None) -> tuple[str, ModelSpec]:
    """(the network as it is registered, what it is built for). Raises UnknownNameError."""
    if is_notation(text):
        return text, ModelSpec(
            num_classes=num_classes or DEFAULT_NOTATION_CLASSES, input_CHW=input_CHW or DEFAULT_INPUT_CHW
        )
    text = registered_name(text)
    default = MODELS.get(text.partition("+")[0]).default_spec
    return text, ModelSpec(num_classes=num_classes or default.num_classes, input_CHW=input_CHW or default.input_CHW)


def from_run(path: Path, input_CHW: tuple[int, int, int] | None, num_classes: int | None) -> Target:
    """The network of a run. Raises CheckpointError or ModelError."""
    checkpoint = find_checkpoint(path)
    own = checkpoint.manifest.spec
    spec = ModelSpec(num_classes=num_classes or own.num_classes, input_CHW=input_CHW or own.input_CHW)
    name = f"{network_words(checkpoint.manifest.model)} ({path.name})"
    return Target(name=name, model=checkpoint.build(spec), input_CHW=spec.input_CHW)


def _looks_like_file(text: str) -> bool:
    return text.endswith(".py") or ".py:" in text


def _from_file(text: str, input_CHW: tuple[int, int, int], num_classes: int | None) -> Target:
    file, _, name = text.rpartition(":") if ".py:" in text else (text, "", "")
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"There is no file '{printable(file)}'.\nA network in a file is written module.py:function.")
    if not name:
        raise UsageError(f"Say which function of {printable(file)} builds the network: {printable(file)}:function.")
    make = _function(path, name)
    given: dict[str, Any] = {}
    parameters = inspect.signature(make).parameters
    if num_classes is not None and "num_classes" not in parameters:
        raise UsageError(f"{printable(name)} in {printable(file)} takes no num_classes, so --classes cannot change it.")
    if num_classes is not None:
        given["num_classes"] = num_classes
    return Target(name=text, model=_call(make, given, text), input_CHW=input_CHW)


def _function(path: Path, name: str) -> Callable[..., Any]:
    """`name` of the file, run as a module of its own; modules beside the file can be imported."""
    module_spec = importlib.util.spec_from_file_location(f"_saccade_design_{path.stem}", path.resolve())
    if module_spec is None or module_spec.loader is None:
        raise UsageError(f"{printable(str(path))} is not a Python file.")
    module = importlib.util.module_from_spec(module_spec)
    sys.path.insert(0, str(path.resolve().parent))
    try:
        module_spec.loader.exec_module(module)
    except Exception as error:  # noqa: BLE001  whatever a person's own file raises
        raise ModelError(f"{printable(str(path))} cannot be run: {_said(error, path)}") from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    found: Callable[..., Any] | None = getattr(module, name, None)
    if not callable(found):
        known = [key for key, value in vars(module).items() if callable(value) and not key.startswith("_")]
        raise UsageError(f"{printable(str(path))} has no function '{printable(name)}'.{did_you_mean(name, known)}")
    return found


def _call(make: Callable[..., Any], given: dict[str, Any], text: str) -> nn.Module:
    """Without weights where the function allows it; some compute with values while they build."""
    try:
        with without_weights():
            made = make(**given)
    except Exception:  # noqa: BLE001  the same call with real memory says what is wrong, or works
        try:
            made = make(**given)
        except Exception as error:  # noqa: BLE001  whatever a person's own function raises
            raise ModelError(f"{printable(text)} cannot be built: {_said(error, None)}") from error
    if not isinstance(made, nn.Module):
        raise ModelError(
            f"{printable(text)} returned {brief(type(made).__name__, 40)}; a network is a torch.nn.Module."
        )
    return made


def _said(error: Exception, path: Path | None) -> str:
    """`ValueError: ... (line 12)` of the innermost line in the person's file."""
    line = error.lineno if isinstance(error, SyntaxError) else None
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        if path is None or Path(code.co_filename) == path.resolve():
            line = trace.tb_lineno if line is None or path is not None else line
        trace = trace.tb_next
    said = printable(str(error).splitlines()[0] if str(error) else "")
    place = f" (line {line})" if line and path is not None else ""
    return f"{type(error).__name__}: {said}{place}."
