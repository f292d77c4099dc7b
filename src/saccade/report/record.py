"""A run directory read for the report: all but the evaluation is optional, so that an old or partial run shows too.

Nothing outside the run is read: not even the images, of which small pictures stand in the run.
"""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from ..core.errors import CheckpointError, printable, shell_word
from ..core.task import Task
from ..core.types import Metrics
from ..evaluate.label_metrics import LabelMetrics, compute_label_metrics
from ..evaluate.metrics import compute_metrics
from ..evaluate.novelty import Novelty
from ..evaluate.number_metrics import NumberMetrics, compute_number_metrics
from ..evaluate.scores import probabilities_from_logits
from ..evaluate.verdict import AnyMetrics
from ..runs.checkpoint import find_checkpoint
from ..runs.evaluation_files import JudgedPictures, read_pictures, read_verdict
from ..runs.files import MAX_TEXT
from ..runs.folds_folder import FoldsVerdict, read_folds
from ..runs.log import EpochEvent, read_epochs
from ..runs.manifest import Manifest
from ..runs.names import EVALUATION, METRICS_LOG, UNLIKE_UNKNOWN
from ..runs.novelty_file import read_known_features
from ..runs.start_point import StartPoint, read_start
from ..runs.summary import ConfigFacts, DataSummary, Environment, read_config_facts, read_data_summary, read_environment


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """What a run left: its configuration, environment, data summary and epochs as values, its outputs as arrays.

    What is None was not in the run. `pictures` are None and `no_pictures` says why where there are none. `caveats`
    qualify the verdict; None for a run of an earlier Saccade, which did not store them.
    `temperature_images` is 0 there. `unlike_N` (bool) says which judged images are unlike anything seen in training, as
    about `unlike_share` of others are falsely; None where nothing told, which `unlike_unknown` explains.
    """

    path: Path
    config: ConfigFacts
    config_text: str
    environment: Environment | None
    data: DataSummary | None
    epochs: tuple[EpochEvent, ...]
    transfer: StartPoint | None
    split: str
    kind: str
    caveats: tuple[str, ...] | None
    temperature_images: int
    manifest: Manifest
    keys: tuple[str, ...]
    logits_NK: np.ndarray = field(repr=False)
    label_N: np.ndarray = field(repr=False)
    index_N: np.ndarray = field(repr=False)
    unlike_N: np.ndarray | None = field(default=None, repr=False)
    unlike_share: float = 0.0
    unlike_unknown: str = ""
    pictures: JudgedPictures | None = field(default=None, repr=False)
    no_pictures: str = ""
    folds: FoldsVerdict | None = None

    @property
    def classes(self) -> tuple[str, ...]:
        return self.manifest.classes

    @property
    def temperature(self) -> float:
        return self.manifest.temperature

    @property
    def source_name(self) -> str:
        """The source as a heading says it: the last part of its path."""
        return self.config.source_name

    @property
    def task(self) -> Task:
        """Whether an image has one label or several, and what makes answers of the logits."""
        return self.manifest.task

    @property
    def any_metrics(self) -> AnyMetrics:
        """The metrics, whichever kind of labels they are of."""
        if self.task.is_number:
            return self.number_metrics
        return self.label_metrics if self.task.is_several else self.metrics

    @property
    def probability_NK(self) -> np.ndarray:
        """float64: what a person sees of each judged image; of numbers the numbers, (N, 1). Computed anew: of many
        classes it is larger than all that a record keeps."""
        if self.task.is_one:
            return probabilities_from_logits(self.logits_NK, self.temperature)
        return self.task.probabilities_of(self.logits_NK)

    @cached_property
    def numbers_N(self) -> np.ndarray:
        """float64 (N,): the numbers that were said."""
        return self.probability_NK[:, 0]

    @cached_property
    def number_metrics(self) -> NumberMetrics:
        """The metrics of numbers."""
        return compute_number_metrics(self.logits_NK, self.label_N, self.classes, self.task)

    @cached_property
    def label_metrics(self) -> LabelMetrics:
        """The metrics of several labels."""
        return compute_label_metrics(self.logits_NK, self.label_N, self.classes, self.task)

    @cached_property
    def metrics(self) -> Metrics:
        """The metrics of one label, of the logits as they are."""
        return compute_metrics(self.logits_NK, self.label_N, self.classes, self.task)

    @cached_property
    def calibrated(self) -> Metrics:
        """The metrics of the logits divided by the temperature."""
        return compute_metrics(self.logits_NK / self.temperature, self.label_N, self.classes, self.task)


def read_run(path: Path) -> RunRecord:
    """Read a finished run. Raises CheckpointError naming the file that is missing or damaged."""
    checkpoint = find_checkpoint(path)
    manifest = checkpoint.manifest
    config_text, config = read_config_facts(path)
    found = read_verdict(path, manifest.classes, manifest.task)
    again = f"saccade {config.verb} --resume --out {shell_word(path)}"
    if found is None:
        raise CheckpointError(
            f"The run {printable(str(path))} has not been judged yet: it has no {EVALUATION}.\nFinish it with: {again}"
        )
    verdict, outputs = found
    known = read_known_features(checkpoint)
    pictures = read_pictures(path, verdict, manifest.preprocessing)
    return RunRecord(
        path=path,
        config=config,
        config_text=config_text,
        environment=read_environment(path),
        data=read_data_summary(path),
        epochs=read_epochs(path / METRICS_LOG),
        transfer=read_start(path),
        split=verdict.split,
        kind=verdict.kind or ("training" if verdict.split == "train" else "held-out"),
        caveats=verdict.caveats,
        temperature_images=verdict.temperature_images or verdict.calibration_images or verdict.half_width_images,
        manifest=manifest,
        keys=verdict.keys,
        logits_NK=outputs.logits_NK,
        label_N=outputs.label_N,
        index_N=outputs.index_N,
        folds=read_folds(path),
        unlike_N=outputs.unlike_N,
        unlike_share=Novelty(unit_MD=known.unit_MD, distance_V=known.distance_V).share if known else 0.0,
        unlike_unknown=str(manifest.metrics.get(UNLIKE_UNKNOWN, ""))[:MAX_TEXT],
        pictures=None if isinstance(pictures, str) else pictures,
        no_pictures=f"{pictures}; it is judged again, and keeps them, by: {again}" if isinstance(pictures, str) else "",
    )
