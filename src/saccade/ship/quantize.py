"""`--int8`: OpenVINO's file in whole numbers of 8 bits, judged beside float32 on the run's validation images.

NNCF sets the range of every layer by training images, through the run's preprocessing. What that costs is not known
before it is measured, so the file is kept only where the loss of accuracy is shown to be small: by the upper end of its
95 % interval, on the same images for both.
"""

import io
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..classify.crops import CENTRE
from ..classify.stream import items_of_source, prepared_stream
from ..core.errors import ExportError, UsageError
from ..core.types import Preprocessing
from ..data.source import DataSource
from ..evaluate.calibration import shrunk_temperature
from ..evaluate.metrics import calibration_error, wilson_interval
from ..evaluate.rates import percent
from ..evaluate.scores import probabilities_from_logits
from ..evaluate.significance import images_to_show, mcnemar_exact, paired_score_interval
from ..train.own_images import OwnParts
from .bundle import IMAGE, LOGITS, PROBABILITIES, Bundle, Int8
from .openvino_file import FLOAT32, model_files, on_its_own_thread, openvino_core
from .reports import without_reports

NUM_CALIBRATION = 300  # training images, as NNCF's own default
MAX_DROP = 0.5  # points of accuracy
MISSING = "Export in 8 bits needs nncf, which is not installed.\nInstall it: pip install 'saccade-learn[int8]'."


@dataclass(frozen=True, kw_only=True)
class AskedInt8:
    """What is asked of `--int8`: the loss that is allowed, in points of accuracy, and where the run's images lie, or ""
    for where the run found them."""

    max_drop: float = MAX_DROP
    source: str = ""

    def __post_init__(self) -> None:
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
) -> tuple[Any, Int8]:
    """(OpenVINO's model with logits and probabilities in 8 bits, what it costs) of the float32 model `files`.

    `max_drop` is a fraction. Raises ExportError where a loss within it is not shown.
    """
    preprocessing = bundle.preprocessing
    if not len(parts.validation_N):
        raise ExportError(
            "int8 is judged on the run's validation images, and it has none.\n"
            "Train with some (split.validation_fraction), or export without --int8."
        )
    calibration_N = chosen(parts.train_N, seed)
    image_NHWC = np.concatenate(list(_prepared(parts.source, calibration_N, preprocessing, num_threads)))
    core = openvino_core()
    float_model = core.read_model(files["model.xml"], files["model.bin"])
    small_model = quantized_network(float_model, image_NHWC)
    engines = [core.compile_model(model, "CPU", FLOAT32) for model in (float_model, small_model)]
    logits: list[list[np.ndarray]] = [[], []]
    for image_BHWC in _prepared(parts.source, parts.validation_N, preprocessing, num_threads):
        for engine, found in zip(engines, logits):
            found.append(engine({IMAGE: image_BHWC})[LOGITS].copy())
    float_NK, small_NK = (np.concatenate(found) for found in logits)
    own = shrunk_temperature(small_NK, parts.label_N)
    figures = int8_figures(float_NK, small_NK, parts.label_N, (bundle.temperature, own), len(calibration_N), max_drop)
    require_small_loss(figures)
    return _with_probabilities(small_model, own), figures


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
) -> Int8:
    """Both on the same images, by their logits; `temperatures` are those of float32 and int8."""
    num = len(label_N)
    said_N, small_said_N = float_NK.argmax(axis=1), small_NK.argmax(axis=1)
    right_N, small_right_N = said_N == label_N, small_said_N == label_N
    lost, won = int((right_N & ~small_right_N).sum()), int((small_right_N & ~right_N).sum())
    low, high = paired_score_interval(lost, won, num)
    float_low, float_high = wilson_interval(int(right_N.sum()), num)
    small_low, small_high = wilson_interval(int(small_right_N.sum()), num)
    errors = [
        calibration_error(probabilities_from_logits(logits_NK, temperature).max(axis=1), is_right_N)
        for logits_NK, temperature, is_right_N in zip(
            (float_NK, small_NK), temperatures, (right_N, small_right_N), strict=True
        )
    ]
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
    )


def figures_words(figures: Int8) -> str:
    """Both accuracies and their difference, in words."""
    return (
        f"on {figures.num_validation:,} validation images float32 is right on {percent(figures.float32_top1)} % and "
        f"int8 on {percent(figures.int8_top1)} % (difference {100 * figures.difference:+.1f} points, 95 % interval "
        f"{100 * figures.difference_low:+.1f} to {100 * figures.difference_high:+.1f})"
    )


def int8_sentence(figures: Int8) -> str:
    """What 8 bits cost, in a sentence or two."""
    return (
        f"int8: {figures_words(figures)}; both say the same to {percent(figures.same_answers)} % of them. Calibration "
        f"error {percent(figures.float32_ece)} and {percent(figures.int8_ece)} %, temperature of int8 "
        f"{figures.temperature:.3f}, ranges by {figures.num_calibration:,} training images."
    )


def require_small_loss(figures: Int8) -> None:
    """Raise ExportError where it is not shown that int8 loses at most what is allowed."""
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


def int8_files(model: Any, metadata: Mapping[str, str], figures: Int8) -> dict[str, bytes]:
    """The content of `model.xml` and `model.bin`."""
    return model_files(model, {**metadata, "saccade.temperature": repr(figures.temperature)}, half=False)


def _prepared(
    source: DataSource, index_N: np.ndarray, preprocessing: Preprocessing, num_threads: int
) -> Iterator[np.ndarray]:
    """image_BHWC uint8 of the images `index_N`, in batches. Raises ImageError."""
    for batch in prepared_stream(items_of_source(source, index_N), [preprocessing], [CENTRE], num_threads):
        batch.refuse_bad_images()
        yield np.ascontiguousarray(batch.prepared[preprocessing][:, 0])


def quantized_network(model: Any, image_NHWC: np.ndarray) -> Any:
    """The part of `model` that gives logits, in 8 bits."""
    import openvino
    from openvino import opset13

    logits = model.output(LOGITS).get_node().input_value(0)
    network = openvino.Model([opset13.result(logits)], model.get_parameters(), "network")
    with _alone():
        import nncf

        data = nncf.Dataset([image_HWC[None] for image_HWC in image_NHWC])
        preset = nncf.QuantizationPreset.MIXED
        # It begins Cores of its own, whose stacks for signals are not to be those of this thread.
        return on_its_own_thread(lambda: nncf.quantize(network, data, preset=preset, subset_size=len(image_NHWC)))


def _with_probabilities(network: Any, temperature: float) -> Any:
    """The network with both outputs, as every export has them."""
    import openvino
    from openvino import opset13

    logits = network.outputs[0].get_node().input_value(0)
    logits.get_tensor().set_names({LOGITS})
    scaled = opset13.multiply(logits, opset13.constant(np.float32(1 / temperature)))
    probabilities = opset13.softmax(scaled, 1)
    probabilities.output(0).get_tensor().set_names({PROBABILITIES})
    results = [opset13.result(logits), opset13.result(probabilities)]
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
