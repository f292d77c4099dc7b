"""The run directory: the only interface between a training and everything that looks at it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from ..core import atomic, lock
from ..core.config import MAX_SHOWN
from ..core.errors import (
    CheckpointError,
    ConfigError,
    ModelError,
    NotationError,
    UnknownNameError,
    UsageError,
    brief,
    did_you_mean,
    printable,
    shell_word,
)
from ..core.plug_ins import GONE
from ..data.augmentation_policy import AugmentConfig
from ..data.source_text import split_source_text
from ..runs.at_path import holds_checkpoint
from ..runs.files import refuse_link
from ..runs.manifest import read_manifest
from ..runs.names import BEST, CONFIG, DATA, ENVIRONMENT, LAST, MANIFEST, START
from ..runs.settings import RunSettings, read_settings, with_found, write_settings
from .config import RunConfig

RUNS = Path("runs")  # where runs lie that are given no place
REMEDY = "Put the file back from a copy, or start a new run with another --out."


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """Where a run lives. `resume` says that it goes on with what stands there."""

    path: Path
    resume: bool = False

    @property
    def has_run(self) -> bool:
        """Whether a run was begun here."""
        with atomic.storage_errors(self.path):
            return (self.path / CONFIG).exists()

    def check(self) -> None:
        """Raise CheckpointError where the folder does not fit what was asked for, before any work is done.

        Raises RunInUseError where another process holds the run.
        """
        if not self.resume and self.path == Path():
            raise UsageError(
                "--out is empty, or the current folder, among whose files a run's would lie.\n"
                "Name a folder of its own, such as --out runs/first."
            )
        if self.has_run:
            lock.refuse_held(self.path)
        self._check_begun()

    def refuse_another_network(self, model: str) -> None:
        """Raise CheckpointError where a checkpoint of the run is not of `model`.

        Asked before the network is built, since what a stranger's configuration names may fill the memory.
        """
        where = printable(str(self.path / CONFIG))
        for name in (LAST, BEST, START):
            if not (self.path / name / MANIFEST).is_file():
                continue
            saved = read_manifest(self.path / name).model
            if saved != model:
                raise CheckpointError(
                    f"{where} names the network '{brief(model)}', but {name} holds weights of '{brief(saved)}'.\n"
                    f"Put the file back from a copy, or start a new run with another --out."
                )

    def _check_begun(self) -> None:
        where = printable(str(self.path))
        for name in (LAST, BEST, START):
            refuse_link(self.path / name, "run")
        has_checkpoint = holds_checkpoint(self.path)  # asked first: of a run that begins now, both are seen, or neither
        if has_checkpoint and not self.has_run:
            raise CheckpointError(
                f"{where} holds checkpoints of a run, but not its {CONFIG}.\n"
                f"Put that file back from a copy, or choose another place with --out."
            )
        if self.resume and not self.has_run:
            raise CheckpointError(
                f"There is no run to resume in {where}.\nLeave out --resume to start one there, or check --out."
            )
        if self.has_run and not self.resume:
            raise CheckpointError(
                f"{where} already holds a run.\nGo on with it by --resume, or choose another place with --out."
            )

    def begin(self, asked: RunConfig, config: RunConfig, environment: dict[str, Any], data: dict[str, Any]) -> None:
        """Write what the run is made of; `config.toml` last, since its presence says that the run has begun.

        `config` is what was `asked` with what was found.
        """
        self._check_begun()  # again, now that the folder is ours: another process may have begun a run in it
        atomic.remove_temporaries(self.path)
        if self.resume:
            return
        atomic.write_text(self.path / ENVIRONMENT, json.dumps(environment, indent=1) + "\n")
        atomic.write_text(self.path / DATA, json.dumps(data, indent=1) + "\n")
        write_settings(self.path / CONFIG, asked, config)

    def load_config(self) -> RunConfig:
        """The configuration the run was begun with: what was asked and what was found. Raises ConfigError for what it
        says, CheckpointError for a file that cannot be read."""
        path = self.path / CONFIG
        settings = read_settings(path, REMEDY)
        if settings is None:
            raise ConfigError(f"No configuration file at {printable(str(path))}.")
        refuse_unregistered(settings, path)
        asked = RunConfig.parse(settings.values, printable(str(path)))
        return with_found(asked, settings, path, REMEDY)


def refuse_unregistered(settings: RunSettings, path: Path, table: str = "") -> None:
    """Raise ConfigError where a run has values of an augmentation that is not registered here; `table` is where the
    file `path` has its configuration."""
    values = settings.values.get(table, {}) if table else settings.values
    augment = values.get("augment") if isinstance(values, dict) else None
    for name, value in augment.items() if isinstance(augment, dict) else ():
        if name in AugmentConfig.model_fields or not isinstance(value, dict):
            continue
        key = ".".join(filter(None, (table, "augment", name)))
        unused = " If the run did not use it, remove its table." if settings.is_complete else ""
        raise ConfigError(
            f"{printable(str(path))}: '{_value(key)}' belongs to an augmentation that is not registered here."
            f"{did_you_mean(name[:MAX_SHOWN], list(AugmentConfig.model_fields))}\n"
            f"The run was made with a plug-in that brings it: install that plug-in again.{unused}"
        )


@contextmanager
def naming_config(folder: RunFolder, name: str = CONFIG) -> Iterator[None]:
    """What a resumed run asks for stands in its configuration: say so where it cannot be had."""
    try:
        yield
    except (UsageError, ModelError) as error:
        kinds = (UsageError, UnknownNameError, ModelError, NotationError)  # their subclasses name their own file
        if not folder.resume or type(error) not in kinds:
            raise
        where = printable(str(folder.path / name))
        remedy = f"\n{GONE}" if type(error) is UnknownNameError else ""
        raise type(error)(error.message if where in error.message else f"{where}: {error.message}{remedy}") from None


# What a run may go on with another value of: how images are read, not what is computed of them.
ADJUSTABLE = (
    "loader.threads",
    "loader.prefetch_batches",
    "loader.timeout_s",
    "loader.on_bad_image",
    "loader.store",
    "stop.save_every_s",
    "scale.timeout_s",
    "scale.max_restarts",
)


def refuse_changes(begun: RunConfig, wanted: RunConfig) -> None:
    """Raise ConfigError naming the first value in which `wanted` differs from what was `begun`, if it is not one of
    those that may be adjusted."""
    for key, (was, now) in flat_differences(begun.model_dump(mode="json"), wanted.model_dump(mode="json")).items():
        if key in ADJUSTABLE:
            continue
        raise ConfigError(
            f"A resumed run goes on as it began: {key} was {_value(was)}, now {_value(now)}.\n"
            f"Leave that option out, or start a new run with another --out."
        )


def _value(value: Any) -> str:
    return printable(str(value)[:200])


def flat_differences(a: dict[str, Any], b: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """Dotted keys whose values differ between two nested dictionaries; None where a key is missing."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in a | b:
        if isinstance(a.get(key), dict) and isinstance(b.get(key), dict):
            found |= flat_differences(a[key], b[key], f"{prefix}{key}.")
        elif a.get(key) != b.get(key):
            found[prefix + key] = (a.get(key), b.get(key))
    return found


def refuse_among_images(source: str, out: Path) -> None:
    """Raise UsageError where a run at `out` would lie in the folder of its own images, or be that folder: its pictures
    would be taken for images of the set the next time."""
    folder = Path(split_source_text(source)[0])
    if not folder.is_dir():
        return
    whole, place = folder.resolve(), out.resolve()
    if place == whole or whole in place.parents:
        elsewhere = shell_word(whole.parent / "runs" / whole.name)
        raise UsageError(
            f"The run {printable(str(out))} would lie among its own images in {printable(str(folder))}, and be taken "
            f"for some of them the next time.\nChoose a place elsewhere: --out {elsewhere}"
        )


def new_run_path(source: str, model: str, runs: Path = RUNS) -> Path:
    """A folder name nobody has: `runs/<source>-<model>-<number>`, made by an exclusive mkdir, so that two runs that
    start at the same moment get two folders."""
    stem = _stem(source, model)
    atomic.make_folder(runs)
    number = 1
    while True:
        path = runs / f"{stem}-{number}"
        with atomic.storage_errors(path):
            try:
                path.mkdir()
            except FileExistsError:
                number += 1
                continue
        return path


def free_run_path(source: str, model: str, runs: Path = RUNS) -> Path:
    """The name that `new_run_path` would take now; nothing is made."""
    stem = _stem(source, model)
    return next(path for number in count(1) if not (path := runs / f"{stem}-{number}").exists())


def _stem(source: str, model: str) -> str:
    return "-".join(_word(text) for text in (Path(source).name or source, model))


def _word(text: str) -> str:
    kept = "".join(character if character.isascii() and character.isalnum() else "-" for character in text.lower())
    return "-".join(part for part in kept.split("-") if part)[:40] or "run"
