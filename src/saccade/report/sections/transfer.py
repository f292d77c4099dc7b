"""What a pretrained network brought: how deep it is frozen, why, and everything that was measured to decide it."""

from ...core.display import figure
from ...evaluate.verdict import percent
from ...models.surgery import ALL
from ...runs.manifest import Origin
from ...runs.start_point import NO_BETTER_EPOCH, Rung, StartPoint, validation_use
from ..html import Child, Markup, element, section, table
from ..ladder_chart import WORDS
from ..record import RunRecord
from .classes import interval_strip

HEADINGS: list[Child] = [
    "frozen up to",
    "what is trained",
    "taken",
    "images",
    "correct, 0 to 100 %",
    "correct %",
    "95 % interval",
    "p, better",
    "parameters",
]
MEASURED = (
    "All of it on training images that were left out of the fit{judged}. The run "
    "itself has one new last layer; two are measured to compare. p: one-sided, against the best choice until then. A "
    "higher figure alone is not taken: it must be better beyond chance, p below 0.05, and below less where the "
    "evidence is looked at several times."
)
NO_TIME = "leaves no time to fine-tune"  # what the sentence says of a depth that would have been better
NEVER_BY_CHANCE = 0.05  # p from which on a depth that was taken is a trial

_JUDGED_APART = ", none on the images this report judges by"
_JUDGED_BY_FOLDS = ": it chose the depth of this model; each fold chose its own, without the images it is judged on"


def transfer_section(start: StartPoint, record: RunRecord) -> Markup:
    """The sentence that chose the depth, the origin of the weights, and the ladder as a table."""
    rungs = sorted(start.rungs, key=lambda rung: -rung.num_images)  # the fits that decided come first
    rows = [_row(rung, start, rungs[0].num_images) for rung in rungs]
    used = validation_use(start, record.temperature_images, record.folds is not None)
    kept = NO_BETTER_EPOCH if start.frozen != ALL and record.epochs and not record.manifest.epoch else ""
    words = [start.sentence, kept, _weights(record.manifest.origin.transfer), _start(start), used, _seconds(start)]
    listing = [
        element("h3", {}, "What was measured"),
        element("p", {}, MEASURED.format(judged=_JUDGED_BY_FOLDS if record.split == "folds" else _JUDGED_APART)),
        table(HEADINGS, rows, "Accuracy on images left out, by how deep is frozen and what is trained", numeric_from=3),
    ]
    return section(
        "transfer",
        "Transfer",
        *(element("p", {}, text) for text in words if text),
        *(listing if rows else ()),
    )


def _row(rung: Rung, start: StartPoint, num_deciding: int) -> list[Child]:
    """Depths are compared with each other by the fits on most images alone."""
    is_compared = rung.trained == "tail" and rung.num_images == num_deciding
    return [
        rung.depth,
        WORDS.get(rung.trained, rung.trained),
        taken(rung, start) if is_compared or _is_new_last_layer(rung, num_deciding) else "only to compare",
        f"{rung.num_images:,}",
        interval_strip(rung.accuracy, rung.low, rung.high),
        percent(rung.accuracy),
        f"{percent(rung.low)} to {percent(rung.high)}",
        ("<0.001" if rung.p_better < 0.001 else f"{rung.p_better:.3f}") if is_compared else "-",
        f"{rung.num_parameters:,}",
    ]


def _is_new_last_layer(rung: Rung, num_deciding: int) -> bool:
    return rung.trained == "linear" and rung.depth == ALL and rung.num_images == num_deciding


def taken(rung: Rung, start: StartPoint) -> str:
    """Whether the depth was taken, and if not, why not."""
    tails = [each for each in start.rungs if each.trained == "tail" and each.num_images == rung.num_images]
    taken = next((each for each in tails if each.depth == start.frozen), None)
    is_trial = taken is not None and taken.p_better >= NEVER_BY_CHANCE
    if rung.depth == start.frozen:
        return "on trial" if is_trial else "yes"
    if taken is None and NO_TIME in start.sentence and rung.p_better < NEVER_BY_CHANCE:
        return "no: no time was left"
    if taken is None or (not is_trial and rung in tails[tails.index(taken) :]):
        return "no: not better beyond chance"
    if is_trial:
        return "no: promises less than the trial" if rung in tails else "if no epoch is better"
    return f"no: {taken.depth} is better"


def _weights(origin: Origin) -> str:
    if not origin.backbone:
        return ""
    licence = f", licence {origin.licence}" if origin.licence else ""
    return f"Weights: {origin.backbone} from {origin.weights}{licence}, SHA-256 {origin.weights_sha256[:16]}."


def _start(start: StartPoint) -> str:
    validation = start.validation_accuracy
    if start.validation_map >= 0:
        return (
            f"The fitted last layer alone has every label right on {percent(start.held_out_accuracy)} % of the "
            f"training images, each left out in turn, and a mAP of {percent(start.validation_map)} % on the validation "
            f"images."
        )
    if start.held_out_mae >= 0:
        also = f", {figure(start.validation_mae)} on the validation images" if start.validation_mae >= 0 else ""
        return (
            f"The fitted last layer alone has a mean absolute error of {figure(start.held_out_mae)} on the training "
            f"images, each left out in turn{also}."
        )
    also = f", {percent(validation)} % of the validation images" if validation >= 0 else ""
    return (
        f"The fitted last layer alone is right on {percent(start.held_out_accuracy)} % of the training images, each "
        f"left out in turn{also}."
    )


def _seconds(start: StartPoint) -> str:
    depth = f"choosing the depth {start.depth_s:.1f} s, " if start.depth_s else ""
    return (
        f"Features took {start.features_s:.1f} s ({start.num_computed:,} images computed, "
        f"{start.num_found:,} read from the cache), {depth}"
        f"the last layer {start.heads_s - start.depth_s:.1f} s."
    )
