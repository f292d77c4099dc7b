"""Judge a finished run on a source: the right images, the right class order, and what a person should know."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..core.errors import DataError, printable
from ..core.runtime import RuntimeConfig, start
from ..data.augment.policy import AugmentConfig
from ..data.base import DataSource, open_source
from ..data.loader import LoaderConfig, build_loader
from ..data.scan import ScanReport, scan_source
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.forward import collect_outputs
from ..evaluate.metrics import compute_metrics
from ..runs.checkpoint import find_checkpoint
from ..runs.names import MANIFEST, SEEN
from ..runs.seen import read_seen
from .evaluation import Evaluation


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
    index_N, judged_on, notes, kind = choose_images([run], source, scan)
    loader = build_loader(source, index_N, manifest.preprocessing, AugmentConfig(), LoaderConfig(), 0)
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
        judged_on=judged_on,
        notes=notes + match.messages,
        seed=manifest.origin.seed,
        seconds=time.monotonic() - started_s,
        temperature=manifest.temperature,
        logits_NK=outputs.logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in outputs.index_N),
        kind=kind,
    )


def choose_images(
    runs: Sequence[Path], source: DataSource, scan: ScanReport
) -> tuple[np.ndarray, str, tuple[str, ...], str]:
    """(indices, what they are, notes, their kind): never silently the images the run was trained on.

    The test part of the source where it has one; else the images whose content training did not see. The kind is
    `held-out`, or empty where no record says what a run has seen.
    """
    unknown = [run for run in runs if find_seen(run) is None]
    kind, doubts = ("", (_unknown_note(unknown[0]),)) if unknown else ("held-out", ())
    seen_N = np.logical_or.reduce([seen_before(run, scan) for run in runs])
    records = [source.record(int(index)) for index in scan.good_N]
    test_N = np.array([i for i, record in zip(scan.good_N, records) if record.split == "test"], dtype=np.int64)
    if len(test_N):
        num_seen = int(seen_N[test_N].sum())
        note = f"{num_seen:,} of these images are also among those the run was trained on: the figure flatters."
        notes = (note,) if num_seen else ()
        return test_N, f"the test part of {printable(source.name)}", notes + doubts, kind
    unseen_N = scan.good_N[~seen_N[scan.good_N]]
    if not len(unseen_N):
        raise DataError(
            f"All {len(scan.good_N):,} images of {printable(source.name)} were used to train this run.\n"
            f"Judge it on images it has not seen."
        )
    num_left_out = len(scan.good_N) - len(unseen_N)
    if not num_left_out:
        return unseen_N, f"all images of {printable(source.name)}", doubts, kind
    return (
        unseen_N,
        f"the {len(unseen_N):,} images of {printable(source.name)} that training did not see",
        (f"{num_left_out:,} images that the run was trained on, or chose its epoch by, are left out.", *doubts),
        kind,
    )


def find_seen(run: Path) -> Path | None:
    """The record of what a run, or a checkpoint in one, was trained on; None where there is none."""
    places = (run, run.parent) if (run / MANIFEST).is_file() else (run,)
    return next((place / SEEN for place in places if (place / SEEN).is_file()), None)


def _unknown_note(run: Path) -> str:
    return (
        f"nothing says which images {printable(str(run))} was trained on ({SEEN} is not there): if some of these are "
        f"among them, the figure flatters."
    )


def seen_before(run: Path, scan: ScanReport) -> np.ndarray:
    """For each image of the source (N), whether its content was among the run's training or validation images."""
    path = find_seen(run)
    if path is None:
        return np.zeros(len(scan.content_digest_N), dtype=bool)
    known = {row.tobytes() for row in read_seen(path, scan.content_digest_N.shape[1])}
    own = np.ascontiguousarray(scan.content_digest_N)
    own = own.view(np.uint8).reshape(len(own), -1)
    return np.array([row.tobytes() in known for row in own], dtype=bool)
