"""Judge several runs, or several looks, together: how good, how much better than one look of one run, at what cost."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.runtime import RuntimeConfig, start
from ..data.scan import scan_source
from ..data.source import open_source
from ..evaluate.classes import match_classes, refuse_extra_classes
from ..evaluate.metrics import compute_metrics
from ..evaluate.significance import compare_answers, paired_bootstrap
from ..runs.checkpoint import find_checkpoint
from .ensemble import Ensemble, PassResult, batch_bytes, make_ensemble, run_ensemble, weights_bytes
from .evaluation import Evaluation, Gain, Member, Together
from .judge import JudgedImages, choose_images
from .looks import Look
from .predictor import load_predictor

SMALLEST_PROBABILITY = 1e-300


def evaluate_together(
    runs: Sequence[Path], source_text: str, wanted: Sequence[Look], runtime_config: RuntimeConfig
) -> Evaluation:
    """Judge the mean probability of `runs` over the `wanted` looks, in float32 and in one pass.

    Images that any of the runs was trained on are left out. Raises UsageError, CheckpointError, DataError, ImageError.
    """
    runtime = start(runtime_config)
    source = open_source(source_text)
    match = match_classes(find_checkpoint(runs[0]).manifest.classes, source.classes)
    refuse_extra_classes(match)
    scan = scan_source(source, runtime.num_threads, "error")
    return judge_together(runs, choose_images(runs, source_text, source, scan), wanted, runtime_config)


def judge_together(
    runs: Sequence[Path], images: JudgedImages, wanted: Sequence[Look], runtime_config: RuntimeConfig
) -> Evaluation:
    """Judge the mean probability of `runs` on `images`, each read and decoded once. Raises as `evaluate_together`."""
    started_s = time.monotonic()
    source = images.source
    ensemble = make_ensemble([load_predictor(run, runtime_config) for run in runs])
    match = match_classes(ensemble.classes, source.classes)
    result = run_ensemble(ensemble, source, images.index_N, wanted)
    label_N = match.label_map_S[result.label_N]
    logits_NK = np.log(np.maximum(result.probability_NK, SMALLEST_PROBABILITY))
    metrics = compute_metrics(logits_NK, label_N, ensemble.classes)
    return Evaluation(
        runs=tuple(runs),
        model=" + ".join(dict.fromkeys(member.architecture for member in ensemble.members)),
        source=images.source_text,
        metrics=metrics,
        judged_on=images.judged_on,
        notes=images.notes + match.messages,
        caveats=images.all_caveats(metrics, logits_NK.argmax(axis=1) == label_N, images.index_N),
        seed=ensemble.members[0].seed,
        seconds=time.monotonic() - started_s,
        temperature=1.0,
        logits_NK=logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in images.index_N),
        together=_together(runs, ensemble, result, label_N, len(wanted)),
        kind=images.kind,
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
    right_N = result.probability_NK.argmax(axis=1) == label_N
    return Together(
        members=tuple(members),
        num_looks=num_looks,
        gain=compare_answers(right_MN[best], right_N),
        gain_over_mean=_gain_over_mean(right_MN, right_N) if len(runs) > 1 else None,
        single_ms=1000 * float(result.centre_M_s[best]) / num_images,
        together_ms=1000 * result.forward_s / num_images,
        single_bytes=num_bytes[best],
        together_bytes=sum(num_bytes),
        single_batch_bytes=batch_bytes(make_ensemble([ensemble.members[best]]), 1),
        together_batch_bytes=batch_bytes(ensemble, num_looks),
    )


def _gain_over_mean(right_MN: np.ndarray, right_N: np.ndarray) -> Gain:
    """What answering together gains over a member taken at random, by a paired bootstrap over the images."""
    mean_N = right_MN.mean(axis=0)
    low, high = paired_bootstrap(mean_N, right_N.astype(np.float64))
    return Gain(single=float(mean_N.mean()), difference=float(right_N.mean() - mean_N.mean()), low=low, high=high)
