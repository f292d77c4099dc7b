"""The top of the page: how good it is, how sure that is, and what a person must know before trusting it."""

import math
from collections.abc import Sequence

from ...core.types import Metrics
from ...evaluate.grades import grades_sentence
from ...evaluate.label_metrics import LabelMetrics
from ...evaluate.number_metrics import NumberMetrics
from ...evaluate.verdict import AnyMetrics, percent, warnings
from ...models.new_head import network_words
from ...models.surgery import ALL
from ...runs.summary import DataSummary
from ..html import Markup, element, join
from ..record import RunRecord
from .labels import label_headline
from .numbers import number_figures, number_headline

SPLIT_WORDS = {
    "validation": "There were no test images: these images also chose the epoch kept, so the figure flatters a little.",
    "train": "No image could be held out: this is the accuracy on the training images themselves.",
}
RISE, RISE_AT_LEAST = 1.1, 0.02


def verdict_header(record: RunRecord) -> Markup:
    """The verdict as the page's heading, its interval on a scale, and the key figures."""
    kicker = f"{network_words(record.manifest.model)} on {record.source_name}, run {record.path.name}"
    return join([headline(kicker, record.any_metrics, record.kind), _key_figures(record)])


def headline(kicker: str, metrics: AnyMetrics, kind: str) -> Markup:
    """A line that says what was judged, the verdict, its interval in words and on a scale."""
    scale: Markup | None
    if isinstance(metrics, NumberMetrics):
        (title, interval), scale = number_headline(metrics, kind), None
    elif isinstance(metrics, LabelMetrics):
        (title, interval), scale = label_headline(metrics, kind), _label_scale(metrics)
    else:
        (title, interval), scale = _headline(metrics, kind), _scale(metrics)
    return join(
        [
            element("p", {"class": "kicker"}, kicker),
            element("h1", {}, title),
            element("p", {"class": "lead"}, interval),
            scale,
        ]
    )


def _headline(metrics: Metrics, kind: str) -> tuple[str, str]:
    """The heading of the page and the line below it."""
    images = "image" if metrics.num_samples == 1 else "images"
    return (
        f"{percent(metrics.top1)} % of {metrics.num_samples:,} {f'{kind} {images}'.strip()} correct",
        f"95 % interval {percent(metrics.top1_low)} to {percent(metrics.top1_high)}. "
        f"Always guessing the largest class, '{metrics.majority_class}': {percent(metrics.majority_rate)} %."
        + (f" {grades_sentence(metrics.grades, metrics.classes)}" if metrics.grades else ""),
    )


def warning_list(told: Sequence[str]) -> Markup | None:
    """Every warning that is true, or None."""
    if not told:
        return None
    items = [element("li", {}, text) for text in told]
    return element(
        "section",
        {"class": "warnings", "aria-labelledby": "warnings-title"},
        element("h2", {"id": "warnings-title"}, "What to know before trusting it"),
        element("ul", {}, *items),
    )


def run_warnings(record: RunRecord) -> list[str]:
    """What qualifies the verdict, then warnings from the curves; each only when it is true."""
    caveats = _earlier_caveats(record) if record.caveats is None else list(record.caveats)
    return caveats + _curve_warnings(record)


def _earlier_caveats(record: RunRecord) -> list[str]:
    """Those of a run that did not store them, as far as its files tell."""
    chose_nothing = record.split == "validation" and record.transfer is not None and record.transfer.frozen == ALL
    found = [SPLIT_WORDS[record.split]] if record.split in SPLIT_WORDS and not chose_nothing else []
    found += warnings(record.any_metrics, record.kind)
    data = record.data or DataSummary()
    if data.bad_images:
        num = len(data.bad_images)
        found.append(
            f"{num:,} file{'s' * (num > 1)} could not be read and {'were' if num > 1 else 'was'} left out; see Data."
        )
    return [*found, *data.notes]


def _curve_warnings(record: RunRecord) -> list[str]:
    epochs = record.epochs
    found = []
    losses = [(e.epoch, e.validation_loss) for e in epochs if e.validation_loss is not None]
    if losses:
        best_epoch, best = min(losses, key=lambda pair: pair[1])
        if losses[-1][1] > max(RISE * best, best + RISE_AT_LEAST):
            found.append(f"The validation loss rises since epoch {best_epoch}: later epochs overfit.")
    metrics = record.any_metrics
    rate = metrics.map if isinstance(metrics, LabelMetrics) else metrics.top1
    if record.task.is_number:
        rate = 1.0  # no training answer is wrong or right
    if epochs and epochs[-1].train_accuracy >= 1 and rate < 1:
        found.append("The training accuracy is 100 %: more epochs cannot help; more images or augmentation can.")
    wanted = record.config.epochs
    if epochs and wanted is not None and epochs[-1].epoch < wanted:
        found.append(f"Training ended after epoch {epochs[-1].epoch} of {wanted}.")
    return found


def _scale(metrics: Metrics) -> Markup:
    words = f"Accuracy {percent(metrics.top1)} % with its interval, against guessing, on a scale from 0 to 100 %."
    rates = (metrics.majority_rate, metrics.top1_low, metrics.top1_high, metrics.top1)
    return _rate_scale(rates, words, f"guessing {percent(metrics.majority_rate)} %")


def _label_scale(metrics: LabelMetrics) -> Markup | None:
    rates = (metrics.map_baseline, metrics.map_low, metrics.map_high, metrics.map)
    if any(math.isnan(rate) for rate in rates):
        return None
    words = f"mAP {percent(metrics.map)} % with its interval, against the classes' shares, from 0 to 100 %."
    return _rate_scale(rates, words, f"by how often each class occurs {percent(metrics.map_baseline)} %")


def _rate_scale(rates: tuple[float, float, float, float], words: str, guess_words: str) -> Markup:
    """From 0 to 100 %: what guessing gives, the interval's ends, and the rate itself."""
    guess, low, high, value = (round(1000 * rate, 1) for rate in rates)
    shapes = [
        element("rect", {"class": "track", "x": 0, "y": 9, "width": 1000, "height": 4, "rx": 2}),
        element("rect", {"class": "interval", "x": low, "y": 6, "width": max(2.0, high - low), "height": 10, "rx": 2}),
        element("rect", {"class": "value", "x": min(max(0, value - 1.5), 997), "y": 1, "width": 3, "height": 20}),
        element("rect", {"class": "guess", "x": min(max(0, guess - 1.5), 997), "y": 4, "width": 3, "height": 14}),
    ]
    picture = element(
        "svg", {"viewBox": "0 0 1000 22", "preserveAspectRatio": "none", "role": "img", "aria-label": words}, *shapes
    )
    guess_key = element("span", {}, element("i", {"class": "swatch guess"}), guess_words)
    own_key = element("span", {}, element("i", {"class": "swatch interval"}), "95 % interval of this run")
    ends = element("div", {"class": "ends"}, element("span", {}, "0 %"), element("span", {}, "100 %"))
    keys = element("div", {"class": "keys"}, guess_key, own_key)
    return element("div", {"class": "scale"}, picture, element("div", {"aria-hidden": "true"}, ends, keys))


def _key_figures(record: RunRecord) -> Markup:
    best = max((event.epoch for event in record.epochs if event.is_best), default=None)
    seconds = sum(event.seconds for event in record.epochs)
    figures = [
        *_judged_figures(record),
        ("Kept epoch", f"{best} of {record.epochs[-1].epoch}") if best and record.epochs else None,
        ("Training", _duration(seconds)) if seconds else None,
    ]
    pairs = [
        element("div", {}, element("dt", {}, pair[0]), element("dd", {}, pair[1]))
        for pair in figures
        if pair is not None
    ]
    return element("dl", {"class": "figures"}, *pairs)


def _judged_figures(record: RunRecord) -> list[tuple[str, str]]:
    if record.task.is_number:
        return number_figures(record.number_metrics)
    if record.task.is_several:
        labels = record.label_metrics
        rates = [("Macro-F1", labels.macro_f1), ("Micro-F1", labels.micro_f1), ("Calibration error", labels.ece)]
        return [*((name, f"{percent(rate)} %") for name, rate in rates), ("Log loss", f"{labels.loss:.3f}")]
    metrics, calibrated = record.metrics, record.calibrated
    top5 = [("Top-5", f"{percent(metrics.top5)} %")] if metrics.top5 is not None else []
    return [
        *top5,
        ("Macro-F1", f"{percent(metrics.macro_f1)} %"),
        ("Log loss", f"{calibrated.loss:.3f}"),
        ("Calibration error", f"{percent(calibrated.ece)} %"),
    ]


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest_s = divmod(round(seconds), 60)
    return f"{minutes} min {rest_s} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
