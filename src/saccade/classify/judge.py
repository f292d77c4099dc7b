"""Judge a finished run on a source: the right images, the right class order, and what a person should know."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch

from ..core.errors import DataError, printable
from ..core.runtime import RuntimeConfig, start
from ..core.types import Metrics
from ..data.augment.policy import AugmentConfig
from ..data.loader import LoaderConfig, build_loader
from ..data.scan import MAX_COMPARED, ScanReport, scan_source
from ..data.source import DataSource, open_source
from ..evaluate.caveats import sentences, without_copies
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.forward import collect_outputs
from ..evaluate.metrics import compute_metrics
from ..evaluate.words import warnings
from ..runs.checkpoint import find_checkpoint
from ..runs.names import SEEN
from ..runs.seen import find_seen, read_seen
from .evaluation import Evaluation


@dataclass(frozen=True, kw_only=True)
class JudgedImages:
    """The images `index_N` of `source` that are judged, and what they are in words. `kind`: as in `Evaluation`.

    `caveats` qualify every figure of them, `notes` do not; `copied_N` are those that training saw, or nearly so.
    """

    source: DataSource
    source_text: str
    index_N: np.ndarray
    judged_on: str
    notes: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    copied_N: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    kind: str = "held-out"

    def all_caveats(self, metrics: Metrics, right_N: np.ndarray, index_N: np.ndarray) -> tuple[str, ...]:
        """What qualifies the figures `metrics` of the images `index_N`, of which `right_N` (bool) were right."""
        copies = without_copies(right_N, np.isin(index_N, self.copied_N))
        return tuple(sentences([*self.caveats, *copies, *warnings(metrics, self.kind)]))


def evaluate_run(run: Path, source_text: str, runtime_config: RuntimeConfig) -> Evaluation:
    """Judge `run` on `source_text`, in float32. Raises CheckpointError, DataError, ImageError."""
    started_s = time.monotonic()
    checkpoint = find_checkpoint(run)
    manifest = checkpoint.manifest
    runtime = start(runtime_config)
    source = open_source(source_text)
    match = match_classes(manifest.classes, source.classes)
    refuse_extra_classes(match)
    scan = scan_source(source, runtime.num_threads, "error")
    images = choose_images([run], source_text, source, scan)
    loader = build_loader(source, images.index_N, manifest.preprocessing, AugmentConfig(), LoaderConfig(), 0)
    model = checkpoint.load_model().to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload]
    try:
        outputs = collect_outputs(model, loader, manifest.preprocessing, runtime, torch.float32)
    finally:
        loader.close()
    label_N = match.label_map_S[outputs.label_N]
    metrics = compute_metrics(outputs.logits_NK, label_N, manifest.classes)
    return Evaluation(
        runs=(run,),
        model=manifest.model,
        source=source_text,
        metrics=metrics,
        judged_on=images.judged_on,
        notes=images.notes + match.messages,
        caveats=images.all_caveats(metrics, outputs.logits_NK.argmax(axis=1) == label_N, outputs.index_N),
        seed=manifest.origin.seed,
        seconds=time.monotonic() - started_s,
        temperature=manifest.temperature,
        logits_NK=outputs.logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in outputs.index_N),
        kind=images.kind,
    )


def choose_images(runs: Sequence[Path], source_text: str, source: DataSource, scan: ScanReport) -> JudgedImages:
    """The images to judge `runs` on: never silently those they were trained on.

    The test part of the source where it has one, whole, as published figures are: copies of what training saw are told.
    Else the images that training did not see, nor nearly. The kind is `held-out`, or empty where nothing says what a
    run has seen.
    """
    seen = {run: read_seen(run) for run in runs}
    unknown = [run for run in runs if seen[run] is None]
    known = [found for found in seen.values() if found is not None]
    equal_N, near_N = (
        np.logical_or.reduce([np.zeros(len(source), bool), *found])
        for found in ([record.equal(scan) for record in known], [record.near(scan) for record in known])
    )
    near_N &= ~equal_N
    where = printable(source.name)
    notes: list[str] = []
    caveats = [_unknown_note(unknown[0])] if unknown else []
    if known and scan.likeness is None:
        caveats.append(f"near duplicates are not looked for among more than {MAX_COMPARED:,} images, only equal ones")
    test_N = np.array([i for i in scan.good_N if source.record(int(i)).split == "test"], dtype=np.int64)
    if len(test_N):
        index_N, judged_on = test_N, f"the test part of {where}"
        caveats += _copies(int(equal_N[test_N].sum()), int(near_N[test_N].sum()))
    else:
        index_N = scan.good_N[~(equal_N | near_N)[scan.good_N]]
        judged_on = f"all images of {where}"
        if len(index_N) < len(scan.good_N):
            judged_on = f"the {len(index_N):,} images of {where} that training did not see"
            notes = _left_out(int(equal_N[scan.good_N].sum()), int(near_N[scan.good_N].sum()))
    if not len(index_N):
        raise DataError(
            f"All {len(scan.good_N):,} images of {where} were used to train this run, or are nearly the same as some "
            f"that were.\nJudge it on images it has not seen."
        )
    return JudgedImages(
        source=source,
        source_text=source_text,
        index_N=index_N,
        judged_on=judged_on,
        notes=tuple(notes),
        caveats=tuple(caveats),
        copied_N=np.flatnonzero(equal_N | near_N),
        kind="" if unknown else "held-out",
    )


def _copies(num_equal: int, num_near: int) -> list[str]:
    told = [
        f"{num_equal:,} of these images are also among those the run was trained on" if num_equal else "",
        f"{num_near:,} of these images are nearly the same as some the run was trained on" if num_near else "",
    ]
    return [f"{text}: the figure flatters." for text in told if text]


def _left_out(num_equal: int, num_near: int) -> list[str]:
    told = [
        f"{num_equal:,} images that the run was trained on, or chose its epoch by, are left out." if num_equal else "",
        f"{num_near:,} images that are nearly the same as some of these are left out." if num_near else "",
    ]
    return [text for text in told if text]


def _unknown_note(run: Path) -> str:
    where, found = printable(str(run)), find_seen(run)
    why = f"{SEEN} is not there" if found is None else f"its manifest does not answer for {SEEN}"
    return (
        f"nothing says which images {where} was trained on ({why}): if some of these are among them, the figure "
        f"flatters."
    )
