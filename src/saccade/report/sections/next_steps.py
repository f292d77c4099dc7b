"""What to do next, from what was measured: the few steps that promise most, each with its reason and its command."""

import math
from dataclasses import dataclass

from ...core.errors import counted, shell_word
from ...core.types import Metrics, Preprocessing
from ...evaluate.rates import FEW_IMAGES, percent
from ...evaluate.shown_images import wrong_pairs
from ..html import Markup, element, join, section
from ..record import RunRecord

FEW_TO_LEARN = 100  # training images of a class; also six tenths of the mean class
MOST_STEPS = 4
PAIR_SHARE, FEWEST_OF_A_PAIR = 0.1, 3  # of all mistakes that a pair has, to be worth a look of its own
POOR_CALIBRATION, FEWEST_TO_CALIBRATE = 0.08, 100
WIDE = 0.10  # of an interval, from end to end
MEMORISED = 0.10  # that training is right more often than the verdict
NOT_GOOD, FEW_PHOTOS = 0.9, 20_000  # the interval ends below, and so few images were trained on: public weights help


@dataclass(frozen=True, kw_only=True)
class NextStep:
    """What was measured and what it suggests; the command that does it, or the place on the page, if there is one."""

    text: str
    command: str = ""
    link: str = ""


def next_section(record: RunRecord) -> Markup:
    """The steps as a list, the most promising first."""
    items = [
        element(
            "li",
            {},
            step.text,
            join([" ", element("a", {"href": f"#{step.link}"}, "See them.")]) if step.link else None,
            element("pre", {"tabindex": "0"}, element("code", {}, step.command)) if step.command else None,
        )
        for step in next_steps(record)
    ]
    return section("next", "What to do next", element("ul", {"class": "steps"}, *items))


def next_steps(record: RunRecord) -> list[NextStep]:
    """At most four steps; to use the run is the last of them."""
    metrics = record.any_metrics
    found = _of_classes(record, metrics) if isinstance(metrics, Metrics) and metrics.num_samples else []
    run = shell_word(record.path)
    use = NextStep(text="Use it on photos that it has not seen:", command=f"saccade predict {run} PHOTO.jpg")
    return [*found[: MOST_STEPS - 1], use]


def _of_classes(record: RunRecord, metrics: Metrics) -> list[NextStep]:
    memorised = _memorised(record, metrics)
    steps = [_guessing(metrics), None if memorised else _pretrained(record, metrics)]
    steps += [_pair(record, metrics), _few(record, metrics), memorised]
    steps += [_calibration(record), _interval(record, metrics)]
    return [step for step in steps if step is not None]


def _guessing(metrics: Metrics) -> NextStep | None:
    if metrics.top1_low > metrics.majority_rate:
        return None
    return NextStep(
        text="It is not shown to be better than guessing: look first whether the labels are those of the images, and "
        "whether there are enough of them.",
        command="saccade inspect SOURCE",
    )


def weights_would_help(metrics: Metrics, num_train: int, preprocessing: Preprocessing | None) -> bool:
    """Whether a network that was trained from nothing on few photos would probably be better with public weights: they
    are of photos in colour."""
    is_photo = preprocessing is not None and preprocessing.input_CHW[0] == 3
    return is_photo and metrics.top1_high < NOT_GOOD and num_train <= FEW_PHOTOS


def _pretrained(record: RunRecord, metrics: Metrics) -> NextStep | None:
    data = record.data
    num_train = sum(data.counts.get("train", ())) if data else 0
    if (
        record.transfer
        or not num_train
        or not weights_would_help(metrics, num_train, data.preprocessing if data else None)
    ):
        return None
    return NextStep(
        text=f"It began from nothing, with {counted(num_train, 'image')}. A network that has learned from a million "
        f"others needs far fewer of yours, and is usually much better on photos:",
        command="saccade transfer SOURCE",
    )


def _pair(record: RunRecord, metrics: Metrics) -> NextStep | None:
    pairs = wrong_pairs(metrics)
    num_wrong = sum(count for _, _, count in pairs)
    if not pairs or pairs[0][2] < max(FEWEST_OF_A_PAIR, PAIR_SHARE * num_wrong):
        return None
    true, said, count = pairs[0]
    names = metrics.classes
    has_pictures = record.pictures is not None
    return NextStep(
        text=f"{count:,} of {counted(num_wrong, 'mistake')} take '{names[true]}' for '{names[said]}'. Look at these "
        f"images: are the labels right, is the difference to be seen at all? If it is, add images of both that are "
        f"hard to tell apart.",
        command=f"saccade evaluate {shell_word(record.path)} SOURCE --label-errors labels.csv",
        link=f"pair-{true}-{said}" if has_pictures else "",
    )


def _few(record: RunRecord, metrics: Metrics) -> NextStep | None:
    """Classes that have few training images and are recognised less often than all images are, beyond chance."""
    counts = record.data.counts.get("train", ()) if record.data else ()
    if len(counts) != len(metrics.classes):
        return None
    weak = [
        (counts[k], name)
        for k, name in enumerate(metrics.classes)
        if counts[k] < max(FEW_TO_LEARN, 0.6 * sum(counts) / len(counts))
        and metrics.support_K[k]
        and metrics.recall_high_K[k] < metrics.top1
    ]
    if not weak:
        return None
    shown = ", ".join(f"'{name}' ({count:,})" for count, name in sorted(weak)[:3])
    more = f" and {len(weak) - 3:,} more" if len(weak) > 3 else ""
    return NextStep(
        text=f"Few training images, and recognised less often than the rest: {shown}{more}. More images of these help "
        f"most; among images without labels this finds the ones to label:",
        command=f"saccade suggest {shell_word(record.path)} UNLABELLED/ --count 50",
    )


def _memorised(record: RunRecord, metrics: Metrics) -> NextStep | None:
    accuracy = record.epochs[-1].train_accuracy if record.epochs else 0.0
    if accuracy - metrics.top1 < MEMORISED or accuracy < 0.95:
        return None
    return NextStep(
        text=f"The training images are known by heart ({percent(accuracy)} % right), others less well. More images, a "
        f"pretrained network or more augmentation help; more epochs do not.",
        command="saccade transfer SOURCE",
    )


def _calibration(record: RunRecord) -> NextStep | None:
    metrics = record.calibrated
    if metrics.num_samples < FEWEST_TO_CALIBRATE or not metrics.ece > POOR_CALIBRATION:
        return None
    return NextStep(
        text=f"Confidences are off by {percent(metrics.ece)} points on average: do not decide by them alone. More "
        f"validation images fit them better; the chart below shows where they are off.",
        link="confidence",
    )


def _interval(record: RunRecord, metrics: Metrics) -> NextStep | None:
    width = metrics.top1_high - metrics.top1_low
    if width <= WIDE:
        return None
    share = min(max(metrics.top1, 0.05), 0.95)
    needed = math.ceil(share * (1 - share) * (2 * 1.96 / WIDE) ** 2 / 50) * 50
    few = " Some classes have few of them." if (metrics.support_K < FEW_IMAGES).any() else ""
    return NextStep(
        text=f"The interval is {percent(width)} points wide, from {counted(metrics.num_samples, 'image')}; an "
        f"interval of {percent(WIDE)} points takes about {needed:,} images, kept out of training.{few} In a small set "
        f"every image can judge, by a model that has not seen it:",
        command=f"saccade {'transfer' if record.transfer else 'train'} SOURCE --folds 5",
    )
