"""Judge a classifier on a source: the right images, the right class order, and what a person should know of them.

One network by one look, several runs together, several looks at every image: one pass over the images answers for all
of them, and says what answering together gains and costs.
"""

import hashlib
import json
import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load as parse_arrays
from safetensors.numpy import save as array_bytes

from ..core.agreement import agreed as together
from ..core.agreement import refuse_other_images
from ..core.errors import DataError, printable
from ..core.ranks import current_ranks
from ..core.runtime import RuntimeConfig
from ..core.task import Task
from ..data.labels import labels_of
from ..data.left_out import OnBadImage
from ..data.opening_line import Told, opening_line, untold
from ..data.scan import channels_of, scan_source
from ..data.source import DataSource, open_source
from ..data.sources.shared.listing import SEPARATORS, one_class_is_enough
from ..evaluate.caveats import worse_calibrated, worse_scaled
from ..evaluate.classes import ClassMatch, match_classes, refuse_extra_classes
from ..evaluate.copies import leave_out_copies
from ..evaluate.forward import shared_out
from ..evaluate.novelty import agreed
from ..evaluate.significance import compare_answers, paired_bootstrap
from ..evaluate.verdict import metrics_of
from ..runs.ensemble_folder import expand_runs
from .chosen_threshold import Answering, promised_precision, refuse_confidence_of_labels
from .classifier import Classifier, open_classifier, same_weights
from .crops import CENTRE, Look
from .evaluation import Evaluation, Gain, MemberResult, Together
from .further import Further, prepare
from .judged_images import JudgedImages, choose_images
from .mean_probability import MeanProbability
from .stream import BATCH_SIZE, items_of_source, stream


@dataclass(frozen=True, kw_only=True)
class PassResult:
    """What one pass over N images gave.

    `probability_NK` (float64) averages members and looks; `centre_logits_MNK` (float32) are each member's ordinary
    answers; both in the order of the classifier's classes. `centre_M_s` is each member's computing time for its centre
    look alone, `forward_s` that of everything. `image_notes` name files with damage beside the pixels. `unlike_N`
    (bool) says which images are unlike those of training; None where nothing tells.
    """

    probability_NK: np.ndarray
    centre_logits_MNK: np.ndarray
    label_N: np.ndarray
    centre_M_s: np.ndarray
    forward_s: float
    image_notes: tuple[str, ...] = ()
    unlike_N: np.ndarray | None = None

    def of(self, is_kept_N: np.ndarray) -> "PassResult":
        """The answers for those images of which `is_kept_N` (bool) is true, with their share of the times."""
        share = float(is_kept_N.mean()) if len(is_kept_N) else 1.0
        return replace(
            self,
            centre_M_s=self.centre_M_s * share,
            forward_s=self.forward_s * share,
            probability_NK=self.probability_NK[is_kept_N],
            centre_logits_MNK=self.centre_logits_MNK[:, is_kept_N],
            label_N=self.label_N[is_kept_N],
            unlike_N=None if self.unlike_N is None else self.unlike_N[is_kept_N],
        )


def evaluate(
    runs: Sequence[Path],
    source_text: str,
    looks: Sequence[Look],
    runtime_config: RuntimeConfig,
    opened: Told = untold,
    answering: Answering | None = None,
    further: Further | None = None,
    on_bad_image: OnBadImage = "error",
) -> Evaluation:
    """Judge the mean probability of `runs` over `looks` on the images of a source, in float32 and in one pass.

    Images that any of the runs was trained on are left out. `opened` hears the line that names the classes. `answering`
    says when an answer counts as sure, `further` what else is measured; with `on_bad_image` "skip" files that cannot be
    read are left out.
    Raises UsageError, CheckpointError, DataError, ImageError.
    """
    started_s = time.monotonic()
    folders, ranks = expand_runs(runs), current_ranks()
    with together(ranks):
        classifier = open_classifier(folders, runtime_config, looks)
        with one_class_is_enough():
            source = open_source(source_text, several=True, target=classifier.task.target)
        opened(opening_line(source))
        refuse_other_labels(classifier, source)
        refuse_confidence_of_labels(classifier.task, answering.min_confidence if answering else None)
        if not classifier.task.is_number:
            refuse_extra_classes(match_classes(classifier.classes, source.classes))
        pixels, num_threads = classifier.members[0].preprocessing, classifier.runtime.num_threads
        ready = prepare(further or Further(), source_text, classifier.classes, classifier.task)
        white, channels = pixels.white_16_bit, channels_of(pixels)
        scan = scan_source(source, num_threads, on_bad_image, white=white, channels=channels, ranks=ranks)
        images = choose_images(folders, source_text, source, scan)
    if not ranks.is_alone:
        digest = hashlib.sha256(images.index_N.tobytes() + scan.bytes_digest_N[images.index_N].tobytes())
        refuse_other_images(ranks, digest.hexdigest(), len(scan.good_N))
    judged = judge(classifier, folders, images, started_s, answering or Answering())
    return ready.measure(judged, source, images.index_N[judged.copies.is_judged_N], classifier)


def refuse_other_labels(classifier: Classifier, source: DataSource) -> None:
    """Raise DataError where images have several labels and the classifier knows one, or the other way round."""
    run, images = classifier.task, source.task
    if run.kind != images.kind:
        knows, has = (f"a {task.kind}" if task.target else task.kind for task in (run, images))
        signs = [sign for sign in SEPARATORS if any(sign in name for name in source.classes)] if run.is_several else []
        if signs and not images.target:
            step = f"If '{signs[0]}' stands between several labels there, say so: --labels '{signs[0]}'."
        else:
            step = "Judge it on images that are labelled as those it learned from."
        raise DataError(
            f"The run knows {knows} an image, and {printable(source.name[:200])} has {has}: nothing says "
            f"which answers are right.\n{step}"
        )


def match_numbers(classifier: Classifier, source: DataSource) -> ClassMatch | None:
    """Of a run that says a number: that its images may call it otherwise. None where it knows classes."""
    if not classifier.task.is_number:
        return None
    own, other = classifier.classes[0], source.classes[0]
    told = f"The run says '{printable(own)}'; these images have '{printable(other)}', taken to be the same."
    return ClassMatch(label_map_S=np.zeros(1, np.int64), missing=(), extra=(), messages=() if own == other else (told,))


def run_labels(label_N: np.ndarray, label_map_S: np.ndarray, num_classes: int) -> np.ndarray:
    """Labels of the source's classes as labels of the run's classes; classes that the run does not know are left out of
    several labels, and are -1 of one."""
    if label_N.dtype.kind == "f" and label_N.ndim == 1:
        return label_N  # numbers
    if label_N.ndim == 1:
        mapped_N: np.ndarray = label_map_S[label_N]
        return mapped_N
    rows_NK = np.zeros((len(label_N), num_classes), label_N.dtype)
    is_known_S = label_map_S >= 0
    rows_NK[:, label_map_S[is_known_S]] = label_N[:, is_known_S]
    return rows_NK


def judge(
    classifier: Classifier,
    runs: Sequence[Path],
    images: JudgedImages,
    started_s: float,
    answering: Answering = Answering(),  # noqa: B008  frozen
) -> Evaluation:
    """Judge `classifier`, opened from `runs`, on `images`, each read and decoded once; `started_s` is when the work was
    begun (`time.monotonic`). Raises ImageError naming a file that cannot be read, DataError."""
    source = images.source
    match = match_numbers(classifier, source) or match_classes(classifier.classes, source.classes)
    whole, is_plain = pass_over(classifier, source, images.index_N), classifier.is_plain
    task, num_classes = classifier.task, len(classifier.classes)
    whole_N = run_labels(whole.label_N, match.label_map_S, num_classes)
    scores_NK = whole.centre_logits_MNK[0] if is_plain and task.is_one and not task.is_grade else whole.probability_NK
    right_N = task.right(whole_N, scores_NK)
    copies = leave_out_copies(right_N, np.isin(images.index_N, images.copied_N), task)
    result, index_N = whole.of(copies.is_judged_N), images.index_N[copies.is_judged_N]
    label_N = whole_N[copies.is_judged_N]
    logits_NK = result.centre_logits_MNK[0] if is_plain else task.logits_of(result.probability_NK)
    metrics = metrics_of(logits_NK, label_N, classifier.classes, task)
    temperature = classifier.members[0].temperature if is_plain else 1.0
    return Evaluation(
        runs=tuple(runs),
        model=" + ".join(dict.fromkeys(member.architecture for member in classifier.members)),
        source=images.source_text,
        metrics=metrics,
        judged_on=images.judged_on,
        notes=source.notes + images.notes + match.messages,
        caveats=(
            *_equal_members(classifier),
            *images.all_caveats(metrics, copies),
            *(worse_scaled(logits_NK, label_N, temperature) if task.is_one else ()),
            *(worse_calibrated(logits_NK, label_N, task) if task.is_several else ()),
        ),
        seed=classifier.members[0].seed,
        seconds=time.monotonic() - started_s,
        temperature=temperature,
        logits_NK=logits_NK,
        label_N=label_N,
        keys=tuple(source.record(int(index)).key for index in index_N),
        together=None if is_plain else _together(classifier, runs, result, label_N),
        kind=copies.kind(images.kind),
        copies=copies,
        image_notes=result.image_notes,
        task=task,
        unlike_N=result.unlike_N,
        unlike_share=max((member.novelty.share for member in classifier.members if member.novelty), default=0.0),
        unlike_unknown=classifier.unlike_unknown,
        promised=promised_precision(classifier, runs, answering.precision) if classifier.looks == (CENTRE,) else None,
        min_confidence=answering.min_confidence,
    )


def _equal_members(classifier: Classifier) -> list[str]:
    """A sentence for each member that only repeats another one."""
    return [
        f"{printable(second.name)} has the same weights as {printable(first.name)}: together they count as one network."
        for first, second in same_weights(classifier.members)
    ]


def pass_over(classifier: Classifier, source: DataSource, index_N: np.ndarray) -> PassResult:
    """The answers of all members by all looks to the images `index_N` of `source`.

    Each member's own temperature is applied first. The processes of a group share the images out by whole batches, and
    each has all answers then. Raises ImageError naming a file that cannot be read.
    """
    num_images, num_classes, num_members = len(index_N), len(classifier.classes), len(classifier.members)
    for member in classifier.members:  # the first call sets up kernels: it belongs to no image
        member.logits(torch.zeros(1, *member.preprocessing.input_CHW, dtype=torch.uint8))
    ranks = classifier.runtime.ranks

    def answered(own: range) -> Iterator[PassResult]:
        return _answered(classifier, source, index_N[own.start * BATCH_SIZE : own.stop * BATCH_SIZE])

    parts = shared_out(ranks, math.ceil(num_images / BATCH_SIZE), answered)
    if not ranks.is_alone:
        parts = [part for content in ranks.gather(_as_bytes(parts), patiently=True) for part in _from_bytes(content)]
    known = [part.unlike_N for part in parts if part.unlike_N is not None]
    return PassResult(
        probability_NK=np.concatenate([np.zeros((0, num_classes)), *(part.probability_NK for part in parts)]),
        centre_logits_MNK=np.concatenate(
            [np.zeros((num_members, 0, num_classes), np.float32), *(part.centre_logits_MNK for part in parts)], axis=1
        ),
        label_N=labels_of(source, index_N),
        centre_M_s=sum((part.centre_M_s for part in parts), np.zeros(num_members)),
        forward_s=sum(part.forward_s for part in parts),
        image_notes=tuple(note for part in parts for note in part.image_notes),
        unlike_N=np.concatenate(known) if known else None,
    )


def _answered(classifier: Classifier, source: DataSource, index_N: np.ndarray) -> Iterator[PassResult]:
    """The answers to each batch of the images `index_N`."""
    looks = classifier.looks
    views = looks if CENTRE in looks else (CENTRE, *looks)
    num_classes, num_members = len(classifier.classes), len(classifier.members)
    start = 0
    for batch in stream(classifier, items_of_source(source, index_N), views):
        batch.refuse_bad_images()
        part_B = index_N[start : start + batch.num_good]
        start += batch.num_good
        centre_MBK, centre_M_s = np.zeros((num_members, batch.num_good, num_classes), np.float32), np.zeros(num_members)
        mean, unlike_MB, forward_s = MeanProbability(batch.num_good, num_classes), [], 0.0
        for number, member in enumerate(classifier.members):
            image_BVHWC = batch.prepared[member.preprocessing]
            for view, look in enumerate(views):
                begun_s = time.perf_counter()
                logits_BK, unlike_B = classifier.look_at(number, image_BVHWC[:, view], look)
                seconds = time.perf_counter() - begun_s
                if unlike_B is not None:
                    unlike_MB.append(unlike_B)
                if look == CENTRE:
                    centre_MBK[number] = logits_BK.numpy()
                    centre_M_s[number] += seconds
                if look in looks:
                    forward_s += seconds
                    mean.add(logits_BK, member.temperature, classifier.task_of(number))
        yield PassResult(
            probability_NK=mean.value(),
            centre_logits_MNK=centre_MBK,
            label_N=labels_of(source, part_B),
            centre_M_s=centre_M_s,
            forward_s=forward_s,
            image_notes=tuple(
                f"{printable(batch.keys[place])}: {' '.join(notes)}" for place, notes in batch.notes.items()
            ),
            unlike_N=agreed(unlike_MB),
        )


def _as_bytes(parts: Sequence[PassResult]) -> bytes:
    """The answers of this process, for the others of its group."""
    arrays: dict[str, np.ndarray] = {}
    for number, part in enumerate(parts):
        arrays[f"{number} probability"] = np.ascontiguousarray(part.probability_NK)
        arrays[f"{number} centre"] = part.centre_logits_MNK
        arrays[f"{number} seconds"] = np.array([part.forward_s, *part.centre_M_s])
        if part.unlike_N is not None:
            arrays[f"{number} unlike"] = part.unlike_N
    notes = json.dumps([part.image_notes for part in parts]).encode()
    return len(notes).to_bytes(8, "little") + notes + array_bytes(arrays)


def _from_bytes(content: bytes) -> Iterator[PassResult]:
    end = 8 + int.from_bytes(content[:8], "little")
    arrays = parse_arrays(content[end:])
    for number, notes in enumerate(json.loads(content[8:end])):
        probability_NK, seconds = arrays[f"{number} probability"], arrays[f"{number} seconds"]
        yield PassResult(
            probability_NK=probability_NK,
            centre_logits_MNK=arrays[f"{number} centre"],
            label_N=np.zeros(0),
            centre_M_s=seconds[1:],
            forward_s=float(seconds[0]),
            image_notes=tuple(notes),
            unlike_N=arrays.get(f"{number} unlike"),
        )


def weights_bytes(classifier: Classifier) -> list[int]:
    """The size of each member's weights in memory, in bytes."""
    return [sum(tensor.nbytes for tensor in member.model.state_dict().values()) for member in classifier.members]


def _together(classifier: Classifier, runs: Sequence[Path], result: PassResult, label_N: np.ndarray) -> Together:
    """What answering together gains over the best member by one look, and what it costs. An image of several labels is
    right where every label is."""
    tasks = [classifier.task_of(number) for number in range(len(classifier.members))]
    right_MN = np.stack(
        [
            task.right(label_N, task.scores_of(logits_NK))
            for task, logits_NK in zip(tasks, result.centre_logits_MNK, strict=True)
        ]
    )
    best = _best(right_MN, result.centre_logits_MNK, label_N, tasks)
    num_bytes = weights_bytes(classifier)
    error_MN = _errors(tasks, result.centre_logits_MNK, label_N) if tasks[0].is_number else None
    members = [
        MemberResult(
            run=run,
            metrics=metrics_of(result.centre_logits_MNK[number], label_N, classifier.classes, tasks[number]),
            against_best=None if number == best else compare_answers(right_MN[best], right_MN[number]),
            error_against_best=None if number == best else _error_change(error_MN, best, number),
        )
        for number, run in enumerate(runs)
    ]
    num_images, num_looks = max(len(label_N), 1), len(classifier.looks)
    right_N = classifier.task.right(label_N, result.probability_NK)
    image_bytes = {kind: math.prod(kind.input_CHW) for kind in classifier.preprocessings}
    return Together(
        members=tuple(members),
        num_looks=num_looks,
        gain=compare_answers(right_MN[best], right_N),
        gain_over_mean=_gain_over_mean(right_MN, right_N) if len(runs) > 1 else None,
        single_ms=1000 * float(result.centre_M_s[best]) / num_images,
        together_ms=1000 * result.forward_s / num_images,
        single_bytes=num_bytes[best],
        together_bytes=sum(num_bytes),
        single_batch_bytes=BATCH_SIZE * image_bytes[classifier.members[best].preprocessing],
        error_gain=None if error_MN is None else _change(error_MN[best], np.abs(result.probability_NK[:, 0] - label_N)),
        together_batch_bytes=BATCH_SIZE * num_looks * sum(image_bytes.values()),
    )


def _best(right_MN: np.ndarray, logits_MNK: np.ndarray, label_N: np.ndarray, tasks: Sequence[Task]) -> int:
    """The member that is right most often; of numbers the one with the smallest mean absolute error."""
    if not tasks[0].is_number:
        return int(right_MN.sum(axis=1).argmax())
    return int(_errors(tasks, logits_MNK, label_N).mean(axis=1).argmin())


def _errors(tasks: Sequence[Task], logits_MNK: np.ndarray, label_N: np.ndarray) -> np.ndarray:
    """float64 (M, N): how far from the truth each member's number is."""
    said_MN = [task.probabilities_of(logits_NK)[:, 0] for task, logits_NK in zip(tasks, logits_MNK, strict=True)]
    error_MN: np.ndarray = np.abs(np.stack(said_MN) - label_N)
    return error_MN


def _error_change(error_MN: np.ndarray | None, first: int, second: int) -> Gain | None:
    """The change of the mean absolute error from member `first` to `second`; None where there are no errors."""
    return None if error_MN is None else _change(error_MN[first], error_MN[second])


def _change(first_N: np.ndarray, second_N: np.ndarray) -> Gain:
    low, high = paired_bootstrap(first_N, second_N)
    single = float(first_N.mean())
    return Gain(single=single, difference=float(second_N.mean()) - single, low=low, high=high)


def _gain_over_mean(right_MN: np.ndarray, right_N: np.ndarray) -> Gain:
    """What answering together gains over a member taken at random, by a paired bootstrap over the images."""
    mean_N = right_MN.mean(axis=0)
    low, high = paired_bootstrap(mean_N, right_N.astype(np.float64))
    return Gain(single=float(mean_N.mean()), difference=float(right_N.mean() - mean_N.mean()), low=low, high=high)
