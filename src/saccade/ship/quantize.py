"""`--int8`: OpenVINO's file in whole numbers of 8 bits, judged beside float32 on the run's validation images.

NNCF sets the range of every layer by training images, through the run's preprocessing. What that costs is not known
before it is measured, so the file is kept only where the loss of accuracy is shown to be small: by the upper end of its
95 % interval, on the same images for both.
"""

import io
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classify.crops import CENTRE
from ..classify.stream import items_of_source, prepared_stream
from ..core.display import figure
from ..core.errors import ExportError, UsageError
from ..core.given import settle_fields
from ..core.task import ONE_LABEL, Task
from ..core.types import Preprocessing
from ..data.source import DataSource
from ..evaluate.calibration import shrunk_temperature
from ..evaluate.metrics import calibration_error, wilson_interval
from ..evaluate.novelty import MIN_VALIDATION, Novelty, is_beyond
from ..evaluate.number_metrics import conformal_half_width
from ..evaluate.rates import percent
from ..evaluate.scores import probabilities_from_logits
from ..evaluate.significance import images_to_show, mcnemar_exact, paired_bootstrap, paired_score_interval
from ..train.own_images import OwnParts
from .bundle import (
    DISTANCE,
    IMAGE,
    LOGITS,
    NUMBER,
    PROBABILITIES,
    Bundle,
    Int8,
    Int8Number,
    UnlikeTraining,
    task_in_8_bits,
)
from .openvino_file import FLOAT32, model_files, on_its_own_thread, openvino_core
from .reports import without_reports

NUM_CALIBRATION = 300  # training images, as NNCF's own default
MAX_DROP = 0.5  # points of accuracy; of a number hundredths of a standard deviation
MIN_NUMBERS = 30  # validation images of numbers; the bootstrap of fewer is too narrow
MISSING = "Export in 8 bits needs nncf, which is not installed.\nInstall it: pip install 'saccade-learn[int8]'."


@dataclass(frozen=True, kw_only=True)
class AskedInt8:
    """What is asked of `--int8`: the loss that is allowed, in points of accuracy, or of a number in hundredths of the
    standard deviation of the training images' numbers; and where the run's images lie, or "" for where the run found
    them."""

    max_drop: float = MAX_DROP
    source: str = ""

    def __post_init__(self) -> None:
        settle_fields(self)
        if not 0 < self.max_drop <= 100:
            raise UsageError(f"--max-drop takes points of accuracy above 0, at most 100, got {self.max_drop:g}.")


def require_nncf() -> None:
    """Raise ExportError where nncf is not installed."""
    with _alone():
        try:
            import nncf  # noqa: F401
        except ImportError:
            raise ExportError(MISSING) from None


def quantized(
    files: Mapping[str, bytes],
    parts: OwnParts,
    bundle: Bundle,
    seed: int,
    max_drop: float,
    num_threads: int,
    known_MD: np.ndarray | None = None,
) -> tuple[Any, Int8 | Int8Number]:
    """(OpenVINO's model in 8 bits with the outputs of the float32 model `files`, what it costs).

    `max_drop` is a fraction of all images, or of a number of a standard deviation. Where `known_MD` are the features of
    training images that `files` measures distances from, so does the model, and the distance from which on an image is
    unlike them is set anew, by what 8 bits give for the validation images. Raises ExportError where a loss within
    `max_drop` is not shown.
    """
    preprocessing, task = bundle.preprocessing, bundle.task
    if not len(parts.validation_N):
        raise ExportError(
            "int8 is judged on the run's validation images, and it has none.\n"
            "Train with some (split.validation_fraction), or export without --int8."
        )
    if len(parts.validation_N) < MIN_VALIDATION:
        known_MD = None  # too few to say from which distance on
    calibration_N = chosen(parts.train_N, seed)
    image_NHWC = np.concatenate(list(_prepared(parts.source, calibration_N, preprocessing, num_threads)))
    core = openvino_core()
    float_model = core.read_model(files["model.xml"], files["model.bin"])
    small_model = quantized_network(float_model, image_NHWC, known_MD is not None)
    images = _prepared(parts.source, parts.validation_N, preprocessing, num_threads)
    names = [LOGITS] if known_MD is None else [LOGITS, DISTANCE]
    (float_NK, *float_distances), (small_NK, *small_distances) = _answers(
        core, (float_model, small_model), names, images
    )
    if task.is_number:
        figures: Int8 | Int8Number = number_figures(
            float_NK, small_NK, parts.label_N, task, len(calibration_N), max_drop
        )
        model = _with_answers(small_model, task, task.deviation, task.mean)
    else:
        own = bundle.temperature if task.is_grade else shrunk_temperature(small_NK, parts.label_N)
        temperatures = (bundle.temperature, own)
        figures = int8_figures(float_NK, small_NK, parts.label_N, temperatures, len(calibration_N), max_drop, task)
        model = _with_answers(small_model, task, 1 / own, 0.0)
    require_small_loss(figures)
    if known_MD is not None and bundle.unlike_training is not None:
        unlike = _unlike_training(bundle.unlike_training, known_MD, float_distances[0], small_distances[0])
        figures = figures.model_copy(update={"unlike_training": unlike})
    return model, figures


def _answers(
    core: Any, models: Sequence[Any], names: Sequence[str], images: Iterator[np.ndarray]
) -> list[list[np.ndarray]]:
    """The outputs `names` of each of `models` for all images."""
    engines = [core.compile_model(model, "CPU", FLOAT32) for model in models]
    found: list[list[list[np.ndarray]]] = [[[] for _ in names] for _ in engines]
    for image_BHWC in images:
        for engine, of_engine in zip(engines, found, strict=True):
            answer = engine({IMAGE: image_BHWC})
            for name, values in zip(names, of_engine, strict=True):
                values.append(np.array(answer[name]))
    return [[np.concatenate(values) for values in of_engine] for of_engine in found]


def _unlike_training(
    of_float32: UnlikeTraining, known_MD: np.ndarray, float_N: np.ndarray, small_N: np.ndarray
) -> UnlikeTraining:
    """From which distance on an image is unlike those of training, of the graph in 8 bits: the rule of float32 on its
    own distances, which new images are measured by, too, so that it falsely calls as few of them so."""
    own = Novelty(unit_MD=known_MD, distance_V=small_N.astype(np.float32))
    is_same_N = is_beyond(small_N, own.threshold) == is_beyond(float_N, of_float32.threshold)
    difference = float(np.abs(small_N**2 - float_N**2).max())
    return of_float32.model_copy(
        update={
            "threshold": own.threshold,
            "share": own.share,
            "largest_difference": {"openvino": difference},
            "check": (),
            "same_verdicts": float(is_same_N.mean()),
        }
    )


def chosen(train_N: np.ndarray, seed: int) -> np.ndarray:
    """The images that set the ranges: at most NUM_CALIBRATION of `train_N`, drawn by `seed`, in their order."""
    if len(train_N) <= NUM_CALIBRATION:
        return np.sort(train_N)
    drawn = np.random.Generator(np.random.PCG64(seed)).choice(train_N, NUM_CALIBRATION, replace=False)
    return np.sort(drawn)


def int8_figures(
    float_NK: np.ndarray,
    small_NK: np.ndarray,
    label_N: np.ndarray,
    temperatures: tuple[float, float],
    num_calibration: int,
    max_drop: float,
    task: Task = ONE_LABEL,
) -> Int8:
    """Both on the same images, by their logits; `temperatures` are those of float32 and int8. Of grades an answer is
    the median."""
    num = len(label_N)
    probabilities = [
        probabilities_from_logits(logits_NK, temperature)
        for logits_NK, temperature in zip((float_NK, small_NK), temperatures, strict=True)
    ]
    said_N, small_said_N = (task.answer_of(probability_NK) for probability_NK in probabilities)
    right_N, small_right_N = said_N == label_N, small_said_N == label_N
    lost, won = int((right_N & ~small_right_N).sum()), int((small_right_N & ~right_N).sum())
    low, high = paired_score_interval(lost, won, num)
    float_low, float_high = wilson_interval(int(right_N.sum()), num)
    small_low, small_high = wilson_interval(int(small_right_N.sum()), num)
    row_N = np.arange(num)
    errors = [
        calibration_error(probability_NK[row_N, answer_N], is_right_N)
        for probability_NK, answer_N, is_right_N in zip(
            probabilities, (said_N, small_said_N), (right_N, small_right_N), strict=True
        )
    ]
    off = [float(np.abs(answer_N - label_N).mean()) if task.is_grade else None for answer_N in (said_N, small_said_N)]
    return Int8(
        num_calibration=num_calibration,
        num_validation=num,
        float32_top1=float(right_N.mean()),
        float32_low=float_low,
        float32_high=float_high,
        int8_top1=float(small_right_N.mean()),
        int8_low=small_low,
        int8_high=small_high,
        difference=(won - lost) / num,
        difference_low=low,
        difference_high=high,
        num_lost=lost,
        num_won=won,
        p_value=mcnemar_exact(lost, won),
        same_answers=float((said_N == small_said_N).mean()),
        float32_ece=errors[0],
        int8_ece=errors[1],
        temperature=temperatures[1],
        max_drop=max_drop,
        float32_mae=off[0],
        int8_mae=off[1],
    )


def number_figures(
    float_N1: np.ndarray, small_N1: np.ndarray, value_N: np.ndarray, task: Task, num_calibration: int, max_drop: float
) -> Int8Number:
    """Both on the same images, by their logits; `max_drop` is in standard deviations of the training images' numbers.

    Raises ExportError for fewer images than MIN_NUMBERS, whose interval says too little.
    """
    if len(value_N) < MIN_NUMBERS:
        raise ExportError(
            f"int8 is judged on the run's validation images: that takes {MIN_NUMBERS}, and there are {len(value_N)}.\n"
            f"Train with more (split.validation_fraction), or export without --int8."
        )
    said_N, small_said_N = (task.probabilities_of(logits_N1)[:, 0] for logits_N1 in (float_N1, small_N1))
    error_N, small_error_N = np.abs(said_N - value_N), np.abs(small_said_N - value_N)
    low, high = paired_bootstrap(error_N, small_error_N)
    return Int8Number(
        num_calibration=num_calibration,
        num_validation=len(value_N),
        float32_mae=float(error_N.mean()),
        int8_mae=float(small_error_N.mean()),
        difference=float((small_error_N - error_N).mean()),
        difference_low=low,
        difference_high=high,
        largest_change=float(np.abs(small_said_N - said_N).max()),
        half_width=conformal_half_width(small_error_N) if task.half_width else 0.0,
        max_drop=max_drop * task.deviation,
    )


def figures_words(figures: Int8) -> str:
    """Both accuracies and their difference, in words."""
    grades = ""
    if figures.float32_mae is not None and figures.int8_mae is not None:
        grades = f"; they are off by {figures.float32_mae:.3f} and {figures.int8_mae:.3f} grades on average"
    return (
        f"on {figures.num_validation:,} validation images float32 is right on {percent(figures.float32_top1)} % and "
        f"int8 on {percent(figures.int8_top1)} % (difference {100 * figures.difference:+.1f} points, 95 % interval "
        f"{100 * figures.difference_low:+.1f} to {100 * figures.difference_high:+.1f}){grades}"
    )


def number_words(figures: Int8Number) -> str:
    """Both errors and their difference, in words."""
    return (
        f"on {figures.num_validation:,} validation images float32 has a mean absolute error of "
        f"{figure(figures.float32_mae)} and int8 of {figure(figures.int8_mae)} (difference {figures.difference:+.3g}, "
        f"95 % interval {figures.difference_low:+.3g} to {figures.difference_high:+.3g})"
    )


def int8_sentence(figures: Int8 | Int8Number) -> str:
    """What 8 bits cost, in a sentence or two."""
    ranges = f"ranges by {figures.num_calibration:,} training images."
    if isinstance(figures, Int8Number):
        apart = f"they are {figure(figures.largest_change)} apart at most"
        return f"int8: {number_words(figures)}; {apart}, {ranges}"
    return (
        f"int8: {figures_words(figures)}; both say the same to {percent(figures.same_answers)} % of them. Calibration "
        f"error {percent(figures.float32_ece)} and {percent(figures.int8_ece)} %, temperature of int8 "
        f"{figures.temperature:.3f}, {ranges}"
    )


def require_small_loss(figures: Int8 | Int8Number) -> None:
    """Raise ExportError where it is not shown that int8 loses at most what is allowed."""
    if isinstance(figures, Int8Number):
        _require_small_growth(figures)
        return
    if -figures.difference_low <= figures.max_drop:
        return
    allowed = f"{100 * figures.max_drop:g} points"
    needed = images_to_show(figures.num_lost, figures.num_won, figures.num_validation, figures.max_drop)
    if needed is None:
        raise ExportError(
            f"int8 loses more than {allowed} of accuracy: {figures_words(figures)}.\n"
            f"Nothing was written. Export without --int8, or allow more with --max-drop."
        )
    raise ExportError(
        f"That int8 loses at most {allowed} cannot be shown: {figures_words(figures)}.\n"
        f"It would take about {needed:,} validation images, if answers go on to differ as often. Nothing was written.\n"
        f"Train with more (split.validation_fraction), allow more with --max-drop, or export without --int8."
    )


def _require_small_growth(figures: Int8Number) -> None:
    if figures.difference_high <= figures.max_drop:
        return
    raise ExportError(
        f"That the mean absolute error of int8 is at most {figure(figures.max_drop)} larger cannot be shown: "
        f"{number_words(figures)}.\n"
        f"Nothing was written. Train with more validation images (split.validation_fraction), allow more with "
        f"--max-drop (hundredths of a standard deviation), or export without --int8."
    )


def int8_files(model: Any, metadata: Mapping[str, str], figures: Int8 | Int8Number, task: Task) -> dict[str, bytes]:
    """The content of `model.xml` and `model.bin`."""
    if isinstance(figures, Int8Number):
        own = {"saccade.number": task_in_8_bits(task, figures).model_dump_json()}
    else:
        own = {"saccade.temperature": repr(figures.temperature)}
    return model_files(model, {**metadata, **own}, half=False)


def _prepared(
    source: DataSource, index_N: np.ndarray, preprocessing: Preprocessing, num_threads: int
) -> Iterator[np.ndarray]:
    """image_BHWC uint8 of the images `index_N`, in batches. Raises ImageError."""
    for batch in prepared_stream(items_of_source(source, index_N), [preprocessing], [CENTRE], num_threads):
        batch.refuse_bad_images()
        yield np.ascontiguousarray(batch.prepared[preprocessing][:, 0])


def quantized_network(model: Any, image_NHWC: np.ndarray, with_distance: bool = False) -> Any:
    """The part of `model` that gives logits, in 8 bits; with the distance from training images, which is computed in
    float32 of the features that 8 bits give."""
    import openvino
    from openvino import opset13

    logits = model.output(LOGITS).get_node().input_value(0)
    kept, results = [], [opset13.result(logits)]
    if with_distance:
        distance = model.output(DISTANCE).get_node().input_value(0)
        shared = {node.get_friendly_name() for node in _above(logits.get_node())}
        kept = [
            node.get_friendly_name()
            for node in _above(distance.get_node())
            if node.get_friendly_name() not in shared and node.get_type_name() not in ("Constant", "Parameter")
        ]
        distance.get_tensor().set_names({DISTANCE})
        results.append(opset13.result(distance))
    logits.get_tensor().set_names({LOGITS})
    network = openvino.Model(results, model.get_parameters(), "network")
    with _alone():
        import nncf

        data = nncf.Dataset([image_HWC[None] for image_HWC in image_NHWC])
        preset, ignored = nncf.QuantizationPreset.MIXED, nncf.IgnoredScope(names=kept, validate=False) if kept else None
        # It begins Cores of its own, whose stacks for signals are not to be those of this thread.
        return on_its_own_thread(
            lambda: nncf.quantize(network, data, preset=preset, subset_size=len(image_NHWC), ignored_scope=ignored)
        )


def _above(node: Any) -> list[Any]:
    """`node` and everything that it is computed from."""
    found, waiting = {}, [node]
    while waiting:
        node = waiting.pop()
        if node.get_friendly_name() not in found:
            found[node.get_friendly_name()] = node
            waiting += [node.input_value(place).get_node() for place in range(node.get_input_size())]
    return list(found.values())


def _with_answers(network: Any, task: Task, slope: float, shift: float) -> Any:
    """The network with all outputs that its export has: logits, then what is made of them by `slope` and `shift`,
    probabilities or the number, and the distance where it gives one."""
    import openvino
    from openvino import opset13

    distances = [output.get_node() for output in network.outputs if DISTANCE in output.get_names()]
    logits = next(output for output in network.outputs if LOGITS in output.get_names()).get_node().input_value(0)
    logits.get_tensor().set_names({LOGITS})
    answer = opset13.multiply(logits, opset13.constant(np.float32(slope)))
    if task.is_number:
        answer = opset13.add(answer, opset13.constant(np.float32(shift)))
    else:
        answer = opset13.softmax(answer, 1)
    answer.output(0).get_tensor().set_names({NUMBER if task.is_number else PROBABILITIES})
    results = [opset13.result(logits), opset13.result(answer)]
    for distance in distances:
        value = distance.input_value(0)
        value.get_tensor().set_names({DISTANCE})
        results.append(opset13.result(value))
    return openvino.Model(results, network.get_parameters(), "network")


@contextmanager
def _alone() -> Iterator[None]:
    """NNCF prints progress, reports to its maker, and makes all loggers of its own kind: none of it."""
    logger_class = logging.getLoggerClass()
    try:
        with without_reports(), redirect_stdout(io.StringIO()):
            yield
    finally:
        logging.setLoggerClass(logger_class)
