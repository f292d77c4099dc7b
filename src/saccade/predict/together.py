"""Judge several runs, or several looks, together: how good, how much better than one look of one run, at what cost."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.runtime import RuntimeConfig, start
from ..data.base import open_source
from ..data.scan import scan_source
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.compare import compare_answers
from ..evaluate.metrics import compute_metrics
from .crops import Look
from .ensemble import Ensemble, PassResult, make_ensemble, run_ensemble, weights_bytes
from .evaluation import Evaluation, Member, Together
from .judge import choose_images
from .predictor import load_predictor

SMALLEST_PROBABILITY = 1e-300


def evaluate_together(
    runs: Sequence[Path], source_text: str, wanted: Sequence[Look], runtime_config: RuntimeConfig
) -> Evaluation:
    """Judge the mean probability of `runs` over the `wanted` looks, in float32 and in one pass.

    Images that any of the runs was trained on are left out. Raises UsageError, CheckpointError, DataError, ImageError.
    """
    started_s = time.monotonic()
    runtime = start(runtime_config)
    ensemble = make_ensemble([load_predictor(run, runtime_config) for run in runs])
    source = open_source(source_text)
    match = match_classes(ensemble.classes, source.classes)
    refuse_extra_classes(match)
    scan = scan_source(source, runtime.num_threads, "error")
    index_N, judged_on, notes = choose_images(runs, source, scan)
    result = run_ensemble(ensemble, source, index_N, wanted)
    label_N = match.label_map_S[result.label_N]
    logits_NK = np.log(np.maximum(result.probability_NK, SMALLEST_PROBABILITY))
    metrics = compute_metrics(logits_NK, label_N, ensemble.classes)
    return Evaluation(
        runs=tuple(runs),
        model=" + ".join(dict.fromkeys(member.architecture for member in ensemble.members)),
        source=source_text,
        metrics=metrics,
        judged_on=judged_on,
        notes=notes + match.messages,
        seed=ensemble.members[0].seed,
        seconds=time.monotonic() - started_s,
        temperature=1.0,
        logits_NK=logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in index_N),
        together=_together(runs, ensemble, result, label_N, len(wanted)),
    )


def _together(
    runs: Sequence[Path], ensemble: Ensemble, result: PassResult, label_N: np.ndarray, num_looks: int
) -> Together:
    right_MN = result.centre_logits_MNK.argmax(axis=2) == label_N
    best = int(right_MN.sum(axis=1).argmax())
    num_bytes = weights_bytes(ensemble)
    members = [
        Member(
            run=run,
            metrics=compute_metrics(result.centre_logits_MNK[number], label_N, ensemble.classes),
            against_best=None if number == best else compare_answers(right_MN[best], right_MN[number]),
        )
        for number, run in enumerate(runs)
    ]
    num_images = max(len(label_N), 1)
    return Together(
        members=tuple(members),
        num_looks=num_looks,
        gain=compare_answers(right_MN[best], result.probability_NK.argmax(axis=1) == label_N),
        single_ms=1000 * result.centre_s / num_images,
        together_ms=1000 * result.forward_s / num_images,
        single_bytes=num_bytes[0],
        together_bytes=sum(num_bytes),
    )
