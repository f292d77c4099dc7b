"""The contract of an augmentation: `check_augmentation` runs it and says which promise is broken, and where."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from pydantic import Field, create_model

from ..core.errors import printable
from ..core.types import Preprocessing
from ..data.augment.pca_colour import PcaColourStrengths, measured
from ..data.augment.shared.mixing import partners
from ..data.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Choosing,
    Colouring,
    Drawn,
    Erasing,
    Framing,
    Geometric,
    Mixing,
    Pixel,
    Scene,
    Strengths,
    Warping,
)
from ..data.augmentation_policy import AugmentConfig
from ..data.augmenter import Augmenter, Plan
from ..data.loading.loader import LoaderConfig, build_loader
from ..data.random_numbers import uniform
from ..data.source import DataSource
from .augmentation_references import REFERENCES, SHARE_OUTSIDE, Reference, Spread
from .contract import broken, errors_told, require_subject
from .pictures import Pictures, bitmaps, input_sized, photos

COLOUR = Preprocessing(input_height_px=24, input_width_px=32, resize_px=36)
GREY = Preprocessing(channels="grey", input_height_px=24, input_width_px=32, resize_px=36, mean=(0.4,), std=(0.2,))
INPUT_SIZED = Preprocessing(input_height_px=24, input_width_px=32)
SEED = 11
NUM_EPOCHS = 3
# Half a level of rounding; fixed-point arithmetic and positions to 1/32 pixel add less than another on soft waves.
TOLERANCE_LEVELS = 1.5
TEXTURE_LEVELS = 20
MAX_NUMBER = 12  # the largest strength that is tried: more moves an image of 24 pixels out of sight


@dataclass(frozen=True, kw_only=True)
class Subject:
    """An augmentation under test, with the strengths and the configuration that turn it on."""

    entry: Augmentation
    strengths: Strengths
    config: AugmentConfig

    def broken(self, what: str, remedy: str, function: Callable[..., Any] | None = None) -> NoReturn:
        """Raise ContractError for this augmentation."""
        broken(f"augmentation '{printable(self.entry.name)}'", what, remedy, function)


def check_augmentation(
    augmentation: str | Augmentation = "",
    reference: Reference | None = None,
    strengths: Strengths | None = None,
    share_outside: float | None = None,
) -> None:
    """Raise ContractError with what to write and where, unless a registered augmentation keeps its promises.

    `reference` computes in float64, by other means than the augmentation, what it does: see
    `saccade.testing.augmentation_references`; the augmentations of Saccade have theirs. `strengths` are those it is
    tried with, well above zero; without them every number goes halfway to its limit. `share_outside` is the share of
    pixels that may differ from the reference, 0 but for chains in which half a level before a step is many after it.
    """
    require_subject(
        augmentation, Augmentation, "check_augmentation", "Write check_augmentation('mine', reference=mine)"
    )
    subject = subject_of(augmentation, strengths)
    if reference is not None and not callable(reference):
        subject.broken(
            f"its reference is a value of type {type(reference).__name__}",
            "Pass the function: check_augmentation(..., reference=expected)",
        )
    with errors_told(f"augmentation '{printable(subject.entry.name)}'", subject.entry.draw):
        _check_promises(subject, reference, share_outside)


def _check_promises(subject: Subject, reference: Reference | None, share_outside: float | None) -> None:
    check_description(subject)
    check_draws(subject)
    check_identity(subject)
    check_kind(subject)
    check_threads(subject)
    reference = reference or REFERENCES.get(subject.entry.name)
    if reference is None:
        subject.broken(
            "it has no reference, so nothing says that it does what its name says",
            "Write 'def expected(image_HWC, drawn, scene)' that computes the float64 image from the drawn parameters "
            "with NumPy, without calling the augmentation, and pass it as check_augmentation(..., reference=expected)",
        )
    check_reference(subject, reference, share_outside)


def subject_of(augmentation: str | Augmentation, strengths: Strengths | None = None) -> Subject:
    """The registered augmentation with strengths that turn it on. Raises UnknownNameError or ContractError."""
    name = augmentation if isinstance(augmentation, str) else augmentation.name
    if isinstance(augmentation, Augmentation) and (
        name not in AUGMENTATIONS or AUGMENTATIONS.get(name) != augmentation
    ):
        broken(
            f"augmentation '{printable(name)}'",
            "it is not registered under its name",
            "Write 'register(entry, __name__)' below it, with 'from saccade.data.augmentation import register'",
            augmentation.draw,
        )
    entry = AUGMENTATIONS.get(name)
    if strengths is not None and not isinstance(strengths, entry.strengths):
        wanted = entry.strengths.__name__
        broken(
            f"augmentation '{printable(entry.name)}'",
            f"its strengths are a value of type {type(strengths).__name__}",
            f"Pass an instance: check_augmentation(..., strengths={wanted}(...))",
        )
    chosen = strengths or strong(entry)
    subject = Subject(entry=entry, strengths=chosen, config=only(entry, chosen))
    if not chosen.is_active:
        subject.broken(
            "strengths well above zero do not turn it on",
            "Let is_active of its strengths be true for them, or pass strengths= that do",
            type(chosen),
        )
    return subject


def strong(entry: Augmentation) -> Strengths:
    """Strengths well above zero: every number and switch whose default is off goes halfway to its limit."""
    values: dict[str, object] = {}
    for name, field in entry.strengths.model_fields.items():
        highest = [item.le for item in field.metadata if hasattr(item, "le")]
        lowest = [getattr(item, "ge", getattr(item, "gt", 0)) for item in field.metadata]
        if field.default is False:
            values[name] = True
        elif field.default in (0, 0.0) and highest:
            values[name] = type(field.default)(min(highest[0] / 2, MAX_NUMBER))
        elif name.startswith("min_") and highest and field.default == highest[0]:
            values[name] = type(field.default)((max(lowest) + highest[0]) / 2)
    strengths = entry.strengths.parse(values)
    if isinstance(strengths, PcaColourStrengths):
        return measured(strengths, np.random.default_rng(3).integers(0, 256, (500, 3)))
    return strengths


def only(entry: Augmentation, strengths: Strengths) -> AugmentConfig:
    """A configuration in which one augmentation is on, also one that was registered after AugmentConfig was made."""
    if entry.name in AugmentConfig.model_fields:
        return AugmentConfig().model_copy(update={entry.name: strengths})
    fields: dict[str, Any] = {entry.name: (entry.strengths, Field(entry.strengths()))}
    return create_model("AugmentConfigOfATest", __base__=AugmentConfig, **fields)().model_copy(
        update={entry.name: strengths}
    )


def check_description(subject: Subject) -> None:
    """It says what it is, where it comes from and what its values mean; the defaults are off."""
    entry = subject.entry
    if not entry.name.isidentifier():
        subject.broken(
            "its name is not an identifier, so it cannot be a configuration key", "Use letters, digits and _"
        )
    if not entry.summary:
        subject.broken("its summary is empty", "Write summary= in a few words, as 'saccade augmentations' lists it")
    if not any(character.isdigit() for character in entry.source) and "public" not in entry.source:
        subject.broken(
            f"its source '{printable(entry.source)}' has no year", "Write source= with author, year and section"
        )
    for name, field in entry.strengths.model_fields.items():
        if not field.description:
            subject.broken(
                f"'{name}' has no description", "Write Field(..., description=...) with its unit", entry.strengths
            )
    if entry.strengths().is_active:
        subject.broken(
            "its default strengths are on", "Choose defaults that leave every image as it is", entry.strengths
        )


def check_draws(subject: Subject) -> None:
    """Draws depend on (seed, epoch, sample) and on nothing else, and differ between them."""
    entry, index_B = subject.entry, np.array([5, 900, 17, 2**31])
    augmenter = Augmenter(subject.config, COLOUR, SEED)
    for name, value in augmenter.draw(entry, Scene(preprocessing=COLOUR, epoch=3), index_B).items():
        if not isinstance(value, np.ndarray) or len(value) != len(index_B):
            subject.broken(
                f"the parameter '{name}' does not have one value for each sample",
                "Return arrays whose first axis is the batch, as long as uniform_BN",
                entry.draw,
            )
    plan, again = augmenter.plan(3, index_B), Augmenter(subject.config, COLOUR, SEED).plan(3, index_B)
    alone = [Augmenter(subject.config, COLOUR, SEED).plan(3, index_B[[row]]) for row in range(len(index_B))]
    is_pure = all(same_draws(plan.take(np.array([row])), alone[row]) for row in range(len(index_B)))
    if not same_draws(plan, again) or not is_pure:
        subject.broken(
            "two draws of one sample differ",
            "Let draw(strengths, uniform_BN, scene) use its arguments alone, each row its own numbers: no other "
            "random numbers, no batch size, no neighbour",
            entry.draw,
        )
    epochs = range(2 if entry.every_epoch else 1)
    plans = [
        Augmenter(subject.config, COLOUR, seed).plan(epoch, np.arange(300))
        for seed in (SEED, SEED + 1)
        for epoch in epochs
    ]
    if any(same_draws(left, right) for left in plans for right in plans if left is not right):
        subject.broken(
            "it draws the same for every seed or epoch",
            "Let draw use uniform_BN, of which it gets as many columns as num_draws says",
            entry.draw,
        )


def same_draws(left: Plan, right: Plan) -> bool:
    """Whether two plans of the same samples hold the same parameters."""
    return all(
        np.array_equal(value, right.drawn[name][key])
        for name, values in left.drawn.items()
        for key, value in values.items()
    )


def check_identity(subject: Subject) -> None:
    """Strength zero leaves every image as it is, bit for bit."""
    entry, scene = subject.entry, Scene(preprocessing=COLOUR, epoch=1)
    off = entry.strengths()
    num = 50
    drawn = entry.draw(off, uniform(SEED, 1, entry.name, np.arange(num), entry.num_draws(off, scene)), scene)
    picture_BHWC = np.random.default_rng(0).integers(0, 256, (num, *scene.size_HW, 3), dtype=np.uint8)
    function: Callable[..., Any] = entry.draw
    is_identity = True
    if isinstance(entry, Geometric):
        function, is_identity = entry.matrices, bool((entry.matrices(drawn, scene) == np.eye(3)).all())
    elif isinstance(entry, Colouring):
        error = np.abs(entry.matrices(drawn, scene) - np.eye(3, 4)).max()
        function, is_identity = entry.matrices, bool(error < 1e-15)
    elif isinstance(entry, Warping):
        function = entry.displacement
        is_identity = all((entry.displacement(drawn, row, scene) == 0).all() for row in range(num))
    elif isinstance(entry, Pixel):
        function = entry.change
        changed = [entry.change(drawn, row, picture_BHWC[row], scene) for row in range(num)]
        is_identity = bool((np.stack(changed) == picture_BHWC).all())
    elif isinstance(entry, Choosing):
        is_identity = all(not entry.operations[place].augmentation for place in drawn["operation"].ravel())
    elif isinstance(entry, Erasing):
        top_B, bottom_B, left_B, right_B = entry.boxes(drawn, scene).T
        function, is_identity = entry.boxes, not ((bottom_B - top_B) * (right_B - left_B)).any()
    elif isinstance(entry, Mixing):
        target_BK = np.eye(3, dtype=np.float32)[np.arange(num) % 3]
        mixed_BHWC, mixed_BK = entry.mix(drawn, picture_BHWC.copy(), partners(num), target_BK)
        function = entry.mix
        is_identity = bool((mixed_BHWC == picture_BHWC).all() and (mixed_BK == target_BK).all())
    if not is_identity:
        subject.broken("its default strengths change images", "Let strength zero be the identity, exactly", function)


def check_kind(subject: Subject) -> None:
    """What is composed has the form that its kind promises."""
    entry, scene = subject.entry, Scene(preprocessing=COLOUR, epoch=1)
    drawn = Augmenter(subject.config, COLOUR, SEED).plan(1, np.arange(200)).drawn[entry.name]
    if isinstance(entry, Geometric):
        _check_matrices(subject, entry, entry.matrices(drawn, scene), scene)
    elif isinstance(entry, Framing):
        _check_frames(subject, entry, drawn, scene)
    elif isinstance(entry, Erasing):
        top_B, bottom_B, left_B, right_B = entry.boxes(drawn, scene).T
        height, width = scene.size_HW
        inside_B = (top_B >= 0) & (top_B <= bottom_B) & (bottom_B <= height)
        if not (inside_B & (left_B >= 0) & (left_B <= right_B) & (right_B <= width)).all():
            subject.broken("a box reaches out of the image", "Clip boxes to scene.size_HW", entry.boxes)
    elif isinstance(entry, Pixel):
        for channels in (1, 3):
            _check_change(subject, entry, drawn, scene, channels)
    elif isinstance(entry, Choosing):
        _check_operations(subject, entry, drawn)


def _check_matrices(subject: Subject, entry: Geometric, matrix_B33: np.ndarray, scene: Scene) -> None:
    height, width = scene.size_HW
    if entry.lossless:
        moves_B2 = matrix_B33[:, :2, 2]
        diagonal = np.abs(matrix_B33[:, :2, :2]) == np.eye(2)
        if not diagonal.all() or (moves_B2 != np.rint(moves_B2)).any():
            subject.broken(
                "it is registered as lossless and does more than mirror and move by whole pixels",
                "Write lossless=False",
                entry.matrices,
            )
    if not entry.projective and (matrix_B33[:, 2] != [0, 0, 1]).any():
        subject.broken(
            "the last row of a matrix is not (0, 0, 1)", "Write projective=True, or keep that row", entry.matrices
        )
    corner_43 = np.array([[x, y, 1] for x in (-width / 2, width / 2) for y in (-height / 2, height / 2)])
    if ((corner_43 @ matrix_B33.transpose(0, 2, 1))[:, :, 2] <= 0).any():
        subject.broken(
            "a corner of the output lies behind the horizon",
            "Limit its strengths so that the last row times (x, y, 1) stays above 0 in all of the output",
            entry.matrices,
        )


def _check_frames(subject: Subject, entry: Framing, drawn: Drawn, scene: Scene) -> None:
    height, width = scene.size_HW
    for row in range(200):
        source_HW = (40 + 9 * (row % 4), 72 - 11 * (row % 3))
        matrix_33 = entry.frame(drawn, row, source_HW, scene)
        scale_2, middle_2 = np.array([matrix_33[0, 0] * width, matrix_33[1, 1] * height]), matrix_33[:2, 2]
        source_2 = np.array(source_HW[::-1])
        edges = np.concatenate([source_2 / 2 + middle_2 - scale_2 / 2, source_2 / 2 + middle_2 + scale_2 / 2])
        is_inside = (edges[:2] > -1e-6).all() and (edges[2:] < source_2 + 1e-6).all()
        if np.abs(edges - np.rint(edges)).max() > 1e-6 or not is_inside:
            subject.broken(
                "the box that is seen does not have whole pixels inside the image as its borders",
                "Round the box to whole source pixels and keep it inside",
                entry.frame,
            )


def _check_change(subject: Subject, entry: Pixel, drawn: Drawn, scene: Scene, channels: int) -> None:
    before_HWC = np.random.default_rng(0).integers(0, 256, (*scene.size_HW, channels), dtype=np.uint8)
    for row in range(20):
        image_HWC = before_HWC.copy()
        changed_HWC = entry.change(drawn, row, image_HWC, scene)
        if changed_HWC.dtype != np.uint8 or changed_HWC.shape != image_HWC.shape:
            subject.broken(
                f"from uint8 {image_HWC.shape} it makes {changed_HWC.dtype} {changed_HWC.shape}",
                "Return rounded and clipped uint8 of the same shape, for 1 and for 3 channels",
                entry.change,
            )
        if not np.array_equal(image_HWC, before_HWC):
            subject.broken("it writes to the image it is given", "Work on a copy", entry.change)


def _check_operations(subject: Subject, entry: Choosing, drawn: Drawn) -> None:
    for operation in entry.operations:
        kind = AUGMENTATIONS.get(operation.augmentation) if operation.augmentation else None
        if kind is not None and not isinstance(kind, Geometric | Colouring | Pixel):
            subject.broken(
                f"it chooses '{operation.augmentation}', of the kind {type(kind).__name__}",
                "Choose Geometric, Colouring and Pixel augmentations only",
                operation.parameters,
            )
    places = drawn["operation"]
    if places.shape != drawn["value"].shape or places.max() >= len(entry.operations):
        subject.broken("it draws operations that it does not have", "Draw places in operations", entry.draw)


def check_threads(subject: Subject) -> None:
    """The bits are the same for any number of threads, in memory or not, in colour and in grey."""
    ways: tuple[dict[str, int], ...] = ({"threads": 1}, {"threads": 3}, {"memory_limit_bytes": 0, "threads": 2})
    for preprocessing in (COLOUR, GREY):
        results = [
            b"".join(image_BHWC.tobytes() + target.tobytes() for image_BHWC, target, _ in run)
            for run in (batches(photos(), subject.config, preprocessing, settings=way) for way in ways)
        ]
        if len(set(results)) > 1:
            subject.broken(
                "its images depend on threads or on what is kept in memory",
                "Let its functions be pure: no state between calls, no global random numbers",
                subject.entry.draw,
            )


Batches = list[tuple[np.ndarray, np.ndarray, np.ndarray]]


def batches(
    source: DataSource,
    config: AugmentConfig,
    preprocessing: Preprocessing = COLOUR,
    epoch: int = 1,
    settings: dict[str, int] | None = None,
) -> Batches:
    """image_BHWC, target and index_B of every batch of an epoch, as training gets them."""
    loader_config = LoaderConfig.parse({"batch_size": 5, "threads": 2, **(settings or {})})
    with build_loader(source, np.arange(len(source)), preprocessing, config, loader_config, SEED) as loader:
        return [
            (batch.image_BCHW.permute(0, 2, 3, 1).numpy(), batch.target.numpy(), batch.index_B)
            for batch in loader.epoch(epoch)
        ]


def check_reference(subject: Subject, reference: Reference, share_outside: float | None = None) -> None:
    """What the pipeline of training makes of pictures equals what `reference` computes in float64."""
    entry = subject.entry
    if isinstance(entry, Mixing):
        _check_mixing(subject, entry, reference)
        return
    source, preprocessing = pictures_for(entry)
    num_changed, outcomes = 0, []
    for epoch in range(NUM_EPOCHS):
        for image_BHWC, _, index_B in batches(source, subject.config, preprocessing, epoch=epoch):
            plan = Augmenter(subject.config, preprocessing, SEED).plan(epoch, index_B)
            for row, index in enumerate(index_B):
                before_HWC = source.pixels[index]
                values = {key: value[row] for key, value in plan.drawn[entry.name].items()}
                expected = expected_of(subject, reference, (before_HWC, values, plan.scene))
                outcomes.append(compared(before_HWC, image_BHWC[row], expected))
                num_changed += not np.array_equal(image_BHWC[row], before_HWC)
    judge(subject, outcomes, SHARE_OUTSIDE.get(entry.name, 0.0) if share_outside is None else share_outside)
    if num_changed < NUM_EPOCHS * len(source) // 4:
        subject.broken("strengths well above zero leave most images as they are", "Pass stronger strengths=")


def pictures_for(entry: Augmentation, num: int = 12) -> tuple[Pictures, Preprocessing]:
    """Pictures on which an augmentation shows what it does, and how they become inputs.

    They are smooth where it looks between pixels, textured where it does not, and of several sizes where it frames.
    """
    if isinstance(entry, Framing):
        return bitmaps(num), COLOUR
    is_pointwise = isinstance(entry, Colouring | Pixel | Erasing)
    return input_sized(INPUT_SIZED, num, TEXTURE_LEVELS if is_pointwise else 0), INPUT_SIZED


def expected_of(subject: Subject, reference: Reference, arguments: tuple[Any, ...]) -> Any:
    """What the reference gives. Raises ContractError where it knows other parameters than those that were drawn."""
    try:
        return reference(*arguments)
    except KeyError as error:
        subject.broken(
            f"its reference asks for the parameter {error}, which draw does not give",
            f"Name the parameters alike; drawn are: {', '.join(arguments[1])}",
            subject.entry.draw,
        )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One image beside its reference: how far each pixel lies off, in levels; of random pixels the residuals in
    standard deviations, and what was there before."""

    difference_N: np.ndarray
    residual_M: np.ndarray
    before_M: np.ndarray


def compared(before_HWC: np.ndarray, shown_HWC: np.ndarray, expected: Any) -> Outcome:
    """The outcome of one image; `expected` is an image in float64 or a Spread."""
    if not isinstance(expected, Spread):
        difference_HWC = np.abs(shown_HWC - np.asarray(expected, dtype=np.float64))
        return Outcome(difference_N=difference_HWC.ravel(), residual_M=np.zeros(0), before_M=np.zeros(0))
    deviation_HWC = expected.deviation_HWC
    difference_HWC = np.abs(shown_HWC - expected.mean_HWC) - expected.width * deviation_HWC
    reach_HWC = min(3.0, expected.width) * deviation_HWC  # where clipping cannot be felt
    open_HWC = (expected.mean_HWC - reach_HWC > -2) & (expected.mean_HWC + reach_HWC < 257) & (deviation_HWC > 3)
    residual_HWC = (shown_HWC - expected.mean_HWC) / np.maximum(deviation_HWC, 1e-9)
    return Outcome(
        difference_N=difference_HWC.ravel(), residual_M=residual_HWC[open_HWC], before_M=before_HWC[open_HWC]
    )


def judge(subject: Subject, outcomes: list[Outcome], share_outside: float) -> None:
    """Raise ContractError where images are not what the reference expects."""
    difference_N = np.concatenate([outcome.difference_N for outcome in outcomes])
    share = (difference_N > TOLERANCE_LEVELS).mean()
    if share > share_outside:
        subject.broken(
            f"{100 * share:.1f} % of its pixels differ from the reference by more than {TOLERANCE_LEVELS} levels of "
            f"255, the worst by {difference_N.max():.1f}",
            f"Either the augmentation or the reference does not do what the summary says, "
            f"'{printable(subject.entry.summary)}': change the wrong one",
            function_of(subject.entry),
        )
    residual_M = np.concatenate([outcome.residual_M for outcome in outcomes])
    before_M = np.concatenate([outcome.before_M for outcome in outcomes])
    if len(residual_M) < 1000:
        return
    mean, deviation = residual_M.mean(), residual_M.std()
    likeness = float(np.corrcoef(residual_M, before_M)[0, 1]) if deviation else 1.0
    if max(abs(mean), abs(deviation - 1), abs(likeness)) > 0.1:
        subject.broken(
            f"its random pixels lie {mean:.2f} +- {deviation:.2f} standard deviations from their expected mean, with a "
            f"correlation of {likeness:.2f} with the image",
            "Draw them with the mean and the standard deviation that the reference gives (0 +- 1), whatever the image",
            function_of(subject.entry),
        )


def _check_mixing(subject: Subject, entry: Mixing, reference: Reference) -> None:
    source = input_sized(INPUT_SIZED)
    num_changed = 0
    for epoch in range(NUM_EPOCHS):
        for image_BHWC, target_BK, index_B in batches(source, subject.config, INPUT_SIZED, epoch=epoch):
            drawn = Augmenter(subject.config, INPUT_SIZED, SEED).plan(epoch, index_B).drawn[entry.name]
            before_BHWC = np.stack([source.pixels[index] for index in index_B])
            label_BK = np.eye(len(source.classes))[index_B % 3]
            arguments = (before_BHWC, drawn, partners(len(index_B)), label_BK)
            expected_BHWC, expected_BK = expected_of(subject, reference, arguments)
            difference = np.abs(image_BHWC - expected_BHWC).max()
            if difference > TOLERANCE_LEVELS or np.abs(target_BK - expected_BK).max() > 1e-6:
                subject.broken(
                    "images or targets differ from its reference",
                    "Mix pixels and targets by the same weight, the own image with partner_B",
                    entry.mix,
                )
            num_changed += int((image_BHWC != before_BHWC).any(axis=(1, 2, 3)).sum())
    if num_changed < NUM_EPOCHS * len(source) // 4:
        subject.broken("strengths well above zero leave most images as they are", "Pass stronger strengths=")


def function_of(entry: Augmentation) -> Callable[..., Any]:
    """The function that acts: what a broken promise about pixels points to."""
    if isinstance(entry, Geometric | Colouring):
        return entry.matrices
    if isinstance(entry, Pixel):
        return entry.change
    if isinstance(entry, Framing):
        return entry.frame
    if isinstance(entry, Warping):
        return entry.displacement
    if isinstance(entry, Erasing):
        return entry.boxes
    return entry.draw
