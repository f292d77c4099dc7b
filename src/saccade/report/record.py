"""A run directory read for the report: all but the evaluation is optional, so that an old or partial run shows too."""

import json
import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse_tensors

from ..checkpoint import Manifest, find_checkpoint
from ..core.errors import CheckpointError, DataError, ImageError, printable
from ..core.log import read_events
from ..core.types import Metrics
from ..data.base import DataSource, open_source
from ..evaluate.metrics import compute_metrics

EVALUATION, EVALUATION_TENSORS = "evaluation.json", "evaluation.safetensors"


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run left: its configuration, environment, data summary and epochs as values, its outputs as arrays.

    `caveats` qualify the verdict; None for a run of an earlier Saccade, which did not store them."""

    path: Path
    config: dict[str, Any]
    config_text: str
    environment: dict[str, Any]
    data: dict[str, Any]
    epochs: list[dict[str, Any]]
    transfer: dict[str, Any]
    split: str
    caveats: tuple[str, ...] | None
    manifest: Manifest
    keys: tuple[str, ...]
    logits_NK: np.ndarray = field(repr=False)
    label_N: np.ndarray = field(repr=False)
    index_N: np.ndarray = field(repr=False)

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def temperature(self) -> float:
        return self.manifest.temperature

    @property
    def source_name(self) -> str:
        """The source as a heading says it: the last part of its path."""
        text = str(self.config.get("source", ""))
        return Path(text).name or text

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of the logits as they are."""
        return compute_metrics(self.logits_NK, self.label_N, self.classes)

    @cached_property
    def calibrated(self) -> Metrics:
        """The metrics of the logits divided by the temperature."""
        return compute_metrics(self.logits_NK / self.temperature, self.label_N, self.classes)

    @cached_property
    def source(self) -> tuple[DataSource | None, str]:
        """The images the run was judged on and "", or None and why they cannot be shown."""
        text = str(self.config.get("source", ""))
        try:
            source = open_source(text)
            for index, key in zip(self.index_N[:100].tolist(), self.keys):
                if not (0 <= index < len(source)) or source.record(index).key != key:
                    return None, f"the images in '{text}' are not those the run was judged on any more"
        except (DataError, OSError) as error:
            return None, str(error).splitlines()[0]
        return source, ""

    def read_image(self, position: int) -> bytes | np.ndarray:
        """The judged image at `position`, as the source gives it. Raises ImageError."""
        source, why = self.source
        if source is None:
            raise ImageError(self.keys[position], why)
        return source.read(int(self.index_N[position]))


def read_run(path: Path) -> RunRecord:
    """Read a finished run. Raises CheckpointError naming the file that is missing or damaged."""
    manifest = find_checkpoint(path).manifest
    config_text = _read_text(path / "config.toml")
    config = _parse_toml(path / "config.toml", config_text)
    if not (path / EVALUATION).is_file() or not (path / EVALUATION_TENSORS).is_file():
        raise CheckpointError(
            f"The run {printable(str(path))} has not been judged yet: it has no {EVALUATION}.\n"
            f"Finish it with: saccade {_verb(config)} --resume --out {printable(str(path))}"
        )
    evaluation = _read_json(path / EVALUATION)
    try:
        tensors = parse_tensors((path / EVALUATION_TENSORS).read_bytes())
        outputs = {name: tensors[name] for name in ("logits_NK", "label_N", "index_N")}
    except (SafetensorError, KeyError, OSError) as error:
        raise _damaged(path / EVALUATION_TENSORS, error) from None
    keys = evaluation.get("keys")
    if not isinstance(keys, list) or len(keys) != len(outputs["label_N"]):
        raise _damaged(path / EVALUATION, ValueError("its keys are not those of the judged images"))
    return RunRecord(
        path=path,
        config=config,
        config_text=config_text,
        environment=_read_json(path / "environment.json"),
        data=_read_json(path / "data.json"),
        epochs=[event for event in read_events(path / "metrics.jsonl") if event.get("event") == "epoch"],
        transfer=_read_json(path / "transfer.json"),
        split=str(evaluation.get("split", "test")),
        caveats=_caveats(path, evaluation),
        manifest=manifest,
        keys=tuple(str(key) for key in keys),
        **outputs,
    )


def _caveats(path: Path, evaluation: dict[str, Any]) -> tuple[str, ...] | None:
    """What qualifies the verdict, as the run said it; None for a run of before this was stored."""
    caveats = evaluation.get("caveats")
    if caveats is None:
        return None
    if not isinstance(caveats, list) or not all(isinstance(text, str) for text in caveats):
        raise _damaged(path / EVALUATION, ValueError("its caveats are no list of sentences"))
    return tuple(caveats)


def _verb(config: dict[str, Any]) -> str:
    """The command that the run was begun with."""
    transfer = config.get("transfer")
    return "transfer" if isinstance(transfer, dict) and transfer.get("backbone") else "train"


def _read_text(path: Path) -> str:
    return path.read_text(encoding="utf-8") if path.is_file() else ""


def _read_json(path: Path) -> dict[str, Any]:
    text = _read_text(path)
    try:
        values = json.loads(text) if text else {}
    except ValueError as error:
        raise _damaged(path, error) from None
    return values if isinstance(values, dict) else {}


def _parse_toml(path: Path, text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{printable(str(path))} is damaged: {printable(str(error))}.\nPut the file back from a copy, or train again."
    )
