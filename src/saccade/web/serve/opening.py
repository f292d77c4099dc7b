"""From what a person names to models that answer: exports as they are, runs exported first, in a process with torch."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ...core.errors import ExportError, SaccadeError, UsageError, printable
from ...runs.names import BUNDLE, SERVED
from ...ship.engine import ServedModel, join_networks, open_network
from ...ship.needed import refuse_absent_for_serving

EXPORT = "export"  # what exports are called inside a run, which is no name for a model
MAX_NAME = 64
MAX_MODELS = 16
TOGETHER = "together"  # the name of several that answer as one
NOT_PLAIN = re.compile("[^A-Za-z0-9._-]")


def open_models(
    given: Sequence[Path], together: bool, num_streams: int, note: Callable[[str], None]
) -> dict[str, ServedModel]:
    """The models by name; with `together` one. `note` is told of work that takes long. Raises SaccadeError."""
    if not 1 <= len(given) <= MAX_MODELS:
        raise UsageError(f"saccade serve takes 1 to {MAX_MODELS} runs or exports, got {len(given)}.")
    if together and len(given) == 1:
        raise UsageError("--together is for several runs or exports, and one was given.\nLeave it out, or add another.")
    found = [_exports_of(path, note) for path in given]
    names = [TOGETHER] if together else model_names(given)
    if together:
        found = [tuple(folder for folders in found for folder in folders)]
    models = {}
    for name, folders in zip(names, found, strict=True):
        models[name] = join_networks(name, [open_network(folder, num_streams) for folder in folders])
    return models


def model_names(given: Sequence[Path]) -> list[str]:
    """A name for each: its last part, with as many in front of it as tell them apart. Raises UsageError where one is
    named twice."""
    parts = [_plain_parts(path) for path in given]
    for number in range(1, max(map(len, parts)) + 1):
        names = ["-".join(part[-number:])[-MAX_NAME:] for part in parts]
        if len(set(names)) == len(names):
            return names
    twice = next(path for path, part in zip(given, parts, strict=True) if parts.count(part) > 1)
    raise UsageError(f"{printable(str(twice))} is named twice.\nName each run or export once.")


def _plain_parts(path: Path) -> list[str]:
    """The parts of a path, as names in an address may be, without the folder that exports lie in."""
    parts = [part for part in Path(os.path.abspath(path)).parts if part != os.sep]
    if len(parts) > 1 and parts[-1] == EXPORT:
        parts = parts[:-1]
    return [NOT_PLAIN.sub("-", part) for part in parts] or ["model"]


def _exports_of(path: Path, note: Callable[[str], None]) -> tuple[Path, ...]:
    if (path / BUNDLE).is_file():
        return (path,)
    if not path.is_dir():
        raise UsageError(
            f"{printable(str(path))} is not a folder.\nName a run, or an export that 'saccade export' has written."
        )
    if not any(folder.is_dir() for folder in (path / SERVED, path.parent / SERVED, *path.glob(f"*/{SERVED}"))):
        refuse_absent_for_serving()
    note(f"{printable(str(path))}: looking for its export for OpenVINO, or making it")
    return _kept_exports(path)


def _kept_exports(run: Path) -> tuple[Path, ...]:
    """What `ship/kept.py` says, in a process of its own. Raises SaccadeError with its message."""
    command = [sys.executable, "-m", "saccade.ship.kept", str(run)]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False)
    try:
        answer = json.loads(done.stdout.splitlines()[-1]) if done.stdout else {}
    except ValueError:
        answer = {}
    if "folders" in answer:
        return tuple(map(Path, answer["folders"]))
    if "error" in answer:
        kind = UsageError if answer.get("exit_code") == UsageError.exit_code else SaccadeError
        raise kind(answer["error"])
    raise ExportError(
        f"The export of {printable(str(run))} ended with status {done.returncode} and said nothing.\n"
        f"Where the memory ran out, export it on a larger machine: saccade export RUN --format openvino"
    )
