"""The end of a run: the kept weights on the images held out, and the evidence on disk for everything that looks."""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from safetensors.torch import load as parse_tensors
from torch import nn

from ..classify.classifier import member_of
from ..classify.crops import CENTRE
from ..classify.stream import items_of_source, prepared_stream
from ..core import atomic
from ..core.agreement import agreed, from_first
from ..core.runtime import Runtime
from ..core.types import Preprocessing
from ..data.images.bands import as_picture
from ..data.source import DataSource
from ..evaluate.caveats import sentences
from ..evaluate.copies import WithoutCopies, leave_out_copies
from ..evaluate.forward import keep_going, untold
from ..evaluate.label_words import CROSS_VALIDATED
from ..evaluate.verdict import AnyMetrics, metrics_json, warnings
from ..models.build import resolve_model
from ..models.surgery import ALL
from ..runs.checkpoint import Checkpoint, find_checkpoint, tensor_content, update_manifest
from ..runs.evaluation_files import MAX_SEEN_BYTES, THUMBNAIL_PX, JudgedOutputs, JudgedPictures, write_verdict
from ..runs.folds_folder import FoldsVerdict
from ..runs.manifest import Manifest, manifest_text
from ..runs.names import FOLDS, FOLDS_VERDICT, SEEN, UNLIKE_UNKNOWN
from .answers import Answers, fit_answers
from .config import RunConfig
from .cross_validated import CrossValidated
from .data_caveats import data_caveats, loss_caveats
from .held_back import KeptFeatures, Passes, known_features, measured_files, validation_outputs, why_untold
from .prepare import Images


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the kept weights are worth: `metrics` on the images of `split` that are no copies of what training saw.

    `kind` says what these are (as in `verdict`), `copies` what was left out, `caveats` what qualifies the figures.
    """

    checkpoint: Checkpoint
    metrics: AnyMetrics
    split: str
    caveats: tuple[str, ...]
    copies: WithoutCopies
    kind: str
    folds: FoldsVerdict | None = None  # what the folds gave, of a run with folds
    unlike_unknown: str = ""  # why no image is told to be unlike those of training, where none is

    def folds_lines(self) -> list[str]:
        """What the folds gave, where the verdict is of a given test part instead."""
        return (
            [f"Cross-validated: {self.folds.verdict}", *self.folds.notes] if self.folds and self.split == "test" else []
        )


def judge(
    run_dir: Path,
    checkpoint: Checkpoint,
    images: Images,
    config: RunConfig,
    runtime: Runtime,
    check: Callable[[], None] = keep_going,
    kept: KeptFeatures | None = None,
    crossed: CrossValidated | None = None,
    passed: Callable[[int], None] = untold,
) -> Judgement:
    """Evaluate `checkpoint` in float32 on the test images (validation, then training ones, where there are none).

    Where folds have judged, what they say, `crossed`, stands in the place of images that training saw.

    What makes answers of logits comes from the validation images, shrunk towards what it is without any where they are
    few, and is stored with the weights. What they say of these images is kept, and features of training images by which
    others are told to be unlike them; `kept` gives what is known of all these without a pass. The run of a fold is only
    judged: it tells no strangers, and what is kept judges it. `passed` hears how many images passed.

    The processes of a run share the passes out, and the first one writes.
    """
    is_fold = config.split.fold > 0
    split = images.split.judged_part
    is_crossed = crossed is not None and split != "test"
    model = _same_network(checkpoint, runtime, str(run_dir))
    passes = Passes(model=model, images=images, config=config, runtime=runtime, check=check, kept=kept, passed=passed)
    held_back = validation_outputs(passes, tells_strangers=not is_fold)
    is_spare = is_crossed or split == "test"  # the validation part judges nothing
    answers = fit_answers(held_back.outputs if is_spare and held_back else None, images, config)
    novelty = known_features(held_back, passes)
    unlike_unknown = "" if is_fold or novelty is not None else why_untold(held_back)
    folds = crossed.as_verdict(answers.metrics(crossed.outputs_for(answers.task), images.classes)) if crossed else None
    unlike_N = None
    if crossed is not None and is_crossed:
        split, kind, copies, outputs = FOLDS, CROSS_VALIDATED, crossed.copies, crossed.outputs_for(answers.task)
        num_lost = 0  # the notes of the folds have it
    else:
        index_N = images.split.indices(split)
        whole, unlike_N = (
            (passes.known_outputs(index_N), None) if is_fold else passes.outputs_and_unlike(index_N, novelty)
        )
        copies = leave_out_copies(answers.right(whole), np.isin(whole.index_N, images.split.copied_N), images.task)
        outputs, kind = whole.of(copies.is_judged_N), copies.kind("training" if split == "train" else "held-out")
        unlike_N = None if unlike_N is None else unlike_N[copies.is_judged_N]
        num_lost = len(index_N) - len(whole.index_N)
    metrics = answers.metrics(outputs, images.classes)
    values = metrics_json(metrics) | {"split": split} | answers.values(outputs, images.classes)
    told = [
        *(folds.notes if folds and is_crossed else ()),
        *data_caveats(images, split, chose_epoch=config.transfer.frozen != ALL),
        *copies.caveats(),
        *loss_caveats(run_dir, num_lost),
        *warnings(metrics, kind),
    ]
    caveats = sentences(told) + answers.caveats(outputs)
    values |= {"kind": kind, **copies.as_json(images.task), "caveats": caveats}
    values |= {UNLIKE_UNKNOWN: unlike_unknown} if unlike_unknown else {}
    judged = JudgedOutputs(
        logits_NK=outputs.logits_NK, label_N=outputs.label_N, index_N=outputs.index_N, unlike_N=unlike_N
    )
    with agreed(runtime.ranks):
        if runtime.ranks.is_first:
            if folds is not None:
                atomic.write_text(run_dir / FOLDS_VERDICT, json.dumps(folds.model_dump(mode="json"), indent=1) + "\n")
            _write_evidence(run_dir, judged, images, values, answers, runtime.num_threads)
            measured = measured_files(held_back, novelty, passes)
            checkpoint = update_manifest(checkpoint, values, answers.temperature, answers.task, measured)
    return Judgement(
        checkpoint=checkpoint,
        metrics=metrics,
        split=split,
        caveats=tuple(values["caveats"]),
        copies=copies,
        kind=kind,
        folds=folds,
        unlike_unknown=unlike_unknown,
    )


def kept_checkpoint(run_dir: Path, runtime: Runtime) -> Checkpoint:
    """The checkpoint that is judged, as the first process finds it: on a shared folder others may see an older one."""
    found: list[Checkpoint] = []

    def find() -> bytes:
        found.append(find_checkpoint(run_dir))
        return json.dumps({"folder": str(found[0].folder), "manifest": manifest_text(found[0].manifest)}).encode()

    content = from_first(runtime.ranks, find)
    if found:
        return found[0]
    values = json.loads(content)
    manifest = Manifest.parse(json.loads(values["manifest"]), "the manifest of the first process")
    return Checkpoint(folder=Path(values["folder"]), manifest=manifest)


def _same_network(checkpoint: Checkpoint, runtime: Runtime, name: str) -> nn.Module:
    """The network of `checkpoint` on the device, with the weights that the first process reads."""
    own: list[nn.Module] = []

    def read() -> bytes:
        own.append(member_of(checkpoint, runtime, name).model)
        if runtime.ranks.is_alone:
            return b""
        return tensor_content(own[0].state_dict())

    content = from_first(runtime.ranks, read)
    if own:
        return own[0]
    model = resolve_model(checkpoint.manifest.model, checkpoint.manifest.spec)
    model.load_state_dict(parse_tensors(content))
    return model.eval().to(device=runtime.device, memory_format=runtime.memory_format)  # type: ignore[call-overload,no-any-return]


def _write_evidence(
    run_dir: Path, judged: JudgedOutputs, images: Images, values: dict[str, Any], answers: Answers, num_threads: int
) -> None:
    keys = [images.key(int(index)) for index in judged.index_N]
    pictures = keep_pictures(judged, images.source, images.preprocessing, answers, num_threads)
    write_verdict(run_dir, values | {"classes": list(images.classes)}, keys, judged, pictures)


def keep_pictures(
    judged: JudgedOutputs, source: DataSource, preprocessing: Preprocessing, answers: Answers, num_threads: int = 1
) -> JudgedPictures:
    """What the report will show, since it opens no source. An image that cannot be read any more is not among them,
    which the report tells."""
    surest, behind = answers.shown(judged, source.classes)
    wanted = list(dict.fromkeys(surest + behind))
    prepared: dict[int, np.ndarray] = {}
    waiting = iter(wanted)
    for batch in prepared_stream(
        items_of_source(source, judged.index_N[wanted]), [preprocessing], [CENTRE], num_threads
    ):
        positions = list(islice(waiting, len(batch.keys)))
        good = [position for place, position in enumerate(positions) if place not in batch.errors]
        if good:
            prepared |= dict(zip(good, batch.prepared[preprocessing][:, 0], strict=True))
    most = MAX_SEEN_BYTES // (math.prod(preprocessing.input_CHW) * np.dtype(preprocessing.pixel_type).itemsize)
    return JudgedPictures(
        seen={position: prepared[position] for position in surest[:most] if position in prepared},
        thumbnails={
            position: _thumbnail(as_picture(image_HWC, preprocessing)) for position, image_HWC in prepared.items()
        },
    )


def _thumbnail(image_HWC: np.ndarray) -> np.ndarray:
    """uint8 (H, W, C) of at most 96 pixels, in proportion."""
    image = Image.fromarray(image_HWC[..., 0] if image_HWC.shape[2] == 1 else image_HWC)
    image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BICUBIC)
    thumbnail = np.array(image)
    return thumbnail[..., None] if thumbnail.ndim == 2 else thumbnail


def write_seen(run_dir: Path, images: Images) -> None:
    """Record which images training saw, so that a later evaluation can tell."""
    atomic.write_bytes(run_dir / SEEN, images.seen)
