"""What every augmentation promises, looped over the registry: a new file is tested the day it appears."""

import dataclasses
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import pytest
from pydantic import Field

from saccade.core.errors import ContractError, UnknownNameError
from saccade.core.types import Preprocessing
from saccade.data.augmentation import (
    AUGMENTATIONS,
    Augmentation,
    Choosing,
    Colouring,
    Drawn,
    Erasing,
    Framing,
    Geometric,
    Mixing,
    Operation,
    Pixel,
    Scene,
    Strengths,
    Warping,
    identities,
)
from saccade.data.augmentation_policy import POLICIES, AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter
from saccade.data.images.preprocess import prepare_image
from saccade.data.random_numbers import uniform
from saccade.testing import check_augmentation
from saccade.testing.augmentation_references import REFERENCES, SHARE_OUTSIDE, Spread
from saccade.testing.augmentations import (
    COLOUR,
    GREY,
    SEED,
    Outcome,
    Subject,
    batches,
    check_reference,
    compared,
    expected_of,
    judge,
    only,
    pictures_for,
    strong,
    subject_of,
)
from saccade.testing.contract import place_of
from saccade.testing.pictures import Pictures, photos

NAMES = AUGMENTATIONS.names()


@pytest.mark.parametrize("name", NAMES)
def test_it_keeps_the_contract_of_its_kind_and_equals_a_float64_reference(name: str):
    check_augmentation(name)


def test_every_augmentation_has_a_reference_of_its_own_and_no_reference_is_left_over():
    assert set(REFERENCES) == set(NAMES)
    assert set(SHARE_OUTSIDE) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_off_and_the_configuration_names_it(name: str):
    entry = AUGMENTATIONS.get(name)
    assert AugmentConfig().active() == []
    assert [active.name for active in only(entry, strong(entry)).active()] == [name]
    assert AugmentConfig.model_fields[name].description == entry.summary
    for field in entry.strengths.model_fields.values():
        assert (field.description or "")[:1].islower() or (field.description or "").startswith("RGB")


def everything() -> AugmentConfig:
    """All at once, but for one of the two framings."""
    return AugmentConfig(**{name: strong(AUGMENTATIONS.get(name)) for name in NAMES if name != "window"})


def test_no_two_augmentations_share_their_numbers(monkeypatch: pytest.MonkeyPatch):
    first_numbers = []

    def listening(*arguments: Any) -> np.ndarray:
        drawn = uniform(*arguments)
        first_numbers.append(drawn[0, 0])
        return drawn

    monkeypatch.setattr("saccade.data.augmenter.uniform", listening)
    Augmenter(everything(), COLOUR, SEED).plan(0, np.arange(1))
    assert len(set(first_numbers)) == len(first_numbers) == len(NAMES) - 1


@pytest.mark.parametrize("name", [name for name in NAMES if name != "window"])
def test_draws_do_not_depend_on_the_other_augmentations(name: str):
    entry, index_B = AUGMENTATIONS.get(name), np.array([5, 900, 17, 2**31])
    alone = Augmenter(only(entry, strong(entry)), COLOUR, SEED).plan(3, index_B).drawn[name]
    among_others = Augmenter(everything(), COLOUR, SEED).plan(3, index_B[::-1]).drawn[name]
    assert all(np.array_equal(value, among_others[key][::-1]) for key, value in alone.items())


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("memory_limit_bytes", [0, 2**30])
def test_no_augmentation_gives_every_bit_as_evaluation_sees_it(preprocessing: Preprocessing, memory_limit_bytes: int):
    source = photos()
    every_default = AugmentConfig(**{name: AUGMENTATIONS.get(name).strengths() for name in NAMES})
    settings = {"memory_limit_bytes": memory_limit_bytes}
    for image_BHWC, _, index_B in batches(source, every_default, preprocessing, settings=settings):
        for image_HWC, index in zip(image_BHWC, index_B):
            assert (image_HWC == prepare_image(source[index].image_HWC, preprocessing)).all()


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY], ids=["colour", "grey"])
def test_everything_at_once_has_the_same_bits_for_any_number_of_threads_and_in_memory_or_not(
    preprocessing: Preprocessing,
):
    ways = ({"threads": 1}, {"threads": 4}, {"memory_limit_bytes": 0}, {"memory_limit_bytes": 0, "threads": 3})
    results = [
        [image_BHWC.tobytes() + target.tobytes() for image_BHWC, target, _ in run]
        for run in (batches(photos(), everything(), preprocessing, settings=way) for way in ways)
    ]
    assert results[0] == results[1] == results[2] == results[3]


@pytest.mark.parametrize("name", POLICIES)
def test_policies_name_their_source_and_can_be_written_and_read_back(name: str):
    policy = get_policy(name)
    assert policy.name == name
    assert AugmentConfig.parse(policy.config.model_dump(mode="json")) == policy.config
    assert bool(policy.config.active()) == (name != "none")
    assert policy.source


# Mutations: one augmentation in the place of another one must not go unseen.

FUNCTION = {
    Geometric: "matrices",
    Colouring: "matrices",
    Pixel: "change",
    Warping: "displacement",
    Framing: "frame",
    Erasing: "boxes",
    Mixing: "mix",
    Choosing: "operations",
}
# Whose parameters mean the same: one of them in the place of the other is no mutation.
SAME_FUNCTION = [{"mirror", "alternating_mirror"}, {"colour_shift", "pca_colour"}]


@cache
def expected_by(name: str, num: int) -> list[list[np.ndarray | Spread]]:
    """What the reference of an augmentation expects of its pictures, by epoch and picture."""
    source, preprocessing = pictures_for(AUGMENTATIONS.get(name), num)
    subject, expected = subject_of(name), []
    for epoch in range(2):
        plan = Augmenter(subject.config, preprocessing, SEED).plan(epoch, np.arange(num))
        expected.append([])
        for row, pixels_HWC in enumerate(source.pixels):
            values = {key: value[row] for key, value in plan.drawn[name].items()}
            expected[-1].append(expected_of(subject, REFERENCES[name], (pixels_HWC, values, plan.scene)))
    return expected


MADE: dict[tuple[str, int, Preprocessing, bytes], np.ndarray] = {}  # most augmentations are tried on one of three sets


def made_by(subject: Subject, epoch: int, source: Pictures, preprocessing: Preprocessing) -> np.ndarray:
    """image_BHWC that the pipeline makes of `source` in an epoch; of the same pictures once."""
    key = (subject.entry.name, epoch, preprocessing, b"".join(pixels.tobytes() for pixels in source.pixels))
    if key not in MADE:
        num = len(source.pixels)
        augmenter = Augmenter(subject.config, preprocessing, SEED)
        own_plan = augmenter.plan(epoch, np.arange(num))
        image_BHWC = np.empty((num, 24, 32, 3), np.uint8)
        for row, pixels_HWC in enumerate(source.pixels):
            if augmenter.sees_source:
                augmenter.render(augmenter.read(pixels_HWC, "x", own_plan, row), own_plan, row, image_BHWC[row])
            else:
                image_BHWC[row] = prepare_image(pixels_HWC, preprocessing)
        MADE[key], _ = augmenter.finish(own_plan, image_BHWC, np.arange(num) % 3, 3)
    return MADE[key]


def outcomes_of(subject: Subject, as_named: str, num: int = 8) -> list[Outcome]:
    """What the pipeline makes of pictures in the place of another one, beside what that one's reference expects."""
    source, preprocessing = pictures_for(AUGMENTATIONS.get(as_named), num)
    outcomes = []
    for epoch in range(2):
        image_BHWC = made_by(subject, epoch, source, preprocessing)
        for row, pixels_HWC in enumerate(source.pixels):
            outcomes.append(compared(pixels_HWC, image_BHWC[row], expected_by(as_named, num)[epoch][row]))
    return outcomes


def is_caught(subject: Subject, as_named: str) -> bool:
    try:
        judge(subject, outcomes_of(subject, as_named), SHARE_OUTSIDE.get(as_named, 0.0))
    except ContractError:
        return True
    return False


COMPARABLE = [name for name in NAMES if not isinstance(AUGMENTATIONS.get(name), Mixing)]


@pytest.mark.parametrize("name", COMPARABLE)
def test_the_reference_takes_its_own_augmentation_and_no_other_one(name: str):
    taken = [other for other in COMPARABLE if not is_caught(subject_of(other), name)]
    assert taken == [name]


def same_parameters() -> list[tuple[str, str]]:
    """Pairs of one kind that draw parameters of the same names, so that one's function runs in the other's place."""
    scene, found = Scene(preprocessing=COLOUR, epoch=0), []
    keys = {}
    for name in NAMES:
        entry = AUGMENTATIONS.get(name)
        numbers_BN = uniform(0, 0, name, np.arange(2), entry.num_draws(strong(entry), scene))
        keys[name] = set(entry.draw(strong(entry), numbers_BN, scene))
    for name in NAMES:
        for other in NAMES:
            is_same_kind = type(AUGMENTATIONS.get(name)) is type(AUGMENTATIONS.get(other))
            if name != other and is_same_kind and keys[name] == keys[other] and {name, other} not in SAME_FUNCTION:
                found.append((name, other))
    return found


@pytest.mark.parametrize(("name", "other"), same_parameters())
def test_another_ones_function_in_its_place_breaks_the_contract(name: str, other: str, monkeypatch: pytest.MonkeyPatch):
    entry, taken = AUGMENTATIONS.get(name), AUGMENTATIONS.get(other)
    function = FUNCTION[type(entry)]
    mutant = dataclasses.replace(entry, **{function: getattr(taken, function)})
    monkeypatch.setitem(AUGMENTATIONS._entries, name, mutant)
    with pytest.raises(ContractError, match=f"^augmentation '{name}': "):
        check_augmentation(name)


def test_brightness_that_became_contrast_is_told_with_its_place(monkeypatch: pytest.MonkeyPatch):
    assert ("brightness", "contrast") in same_parameters()
    contrast = AUGMENTATIONS.get("contrast")
    assert isinstance(contrast, Colouring)
    monkeypatch.setitem(
        AUGMENTATIONS._entries,
        "brightness",
        dataclasses.replace(AUGMENTATIONS.get("brightness"), matrices=contrast.matrices),
    )
    with pytest.raises(ContractError) as error:
        check_augmentation("brightness")
    first, second, third = str(error.value).splitlines()
    assert first.startswith("augmentation 'brightness': 9")
    assert "% of its pixels differ from the reference by more than 1.5 levels of 255, the worst by " in first
    assert second == (
        "Either the augmentation or the reference does not do what the summary says, 'brighter or darker': "
        "change the wrong one."
    )
    assert third == f"Where: {place_of(contrast.matrices)}."


def test_mixup_and_cutmix_are_told_apart(monkeypatch: pytest.MonkeyPatch):
    for name, other in (("mixup", "cutmix"), ("cutmix", "mixup")):
        entry = AUGMENTATIONS.get(other)
        monkeypatch.setitem(AUGMENTATIONS._entries, name, dataclasses.replace(entry, name=name))
        subject = subject_of(name, strong(entry))
        with pytest.raises(ContractError, match="its reference asks for the parameter"):
            check_reference(subject, REFERENCES[name])
        monkeypatch.undo()


def test_a_policy_whose_table_is_in_another_order_breaks_the_contract(monkeypatch: pytest.MonkeyPatch):
    for name in ("trivial_augment", "rand_augment"):
        entry = AUGMENTATIONS.get(name)
        assert isinstance(entry, Choosing)
        operations = (*entry.operations[:5], entry.operations[7], entry.operations[6], entry.operations[5])
        mutant = dataclasses.replace(entry, operations=(*operations, *entry.operations[8:]))
        monkeypatch.setitem(AUGMENTATIONS._entries, name, mutant)
        with pytest.raises(ContractError, match="% of its pixels differ from the reference"):
            check_augmentation(name)


# What the author of a plug-in is told.


class TurnStrengths(Strengths):
    """How often."""

    probability: float = Field(0.0, ge=0, le=1, description="share of images that are turned upside down")

    @property
    def is_active(self) -> bool:
        return self.probability > 0


def draw_turn(strengths: TurnStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    return {"turned": uniform_BN[:, 0] < strengths.probability}


def turn_matrices(drawn: Drawn, scene: Scene) -> np.ndarray:
    matrix_B33 = identities(len(drawn["turned"]))
    matrix_B33[drawn["turned"], :2, :2] *= -1
    return matrix_B33


TURN = Geometric(
    name="half_turn",
    summary="turn upside down",
    source="a test, 2025",
    strengths=TurnStrengths,
    num_draws=lambda strengths, scene: 1,
    draw=draw_turn,
    matrices=turn_matrices,
    lossless=True,
)


def turned(image_HWC: np.ndarray, drawn: Drawn, scene: Scene) -> np.ndarray:
    return image_HWC[::-1, ::-1] if drawn["turned"] else image_HWC


def refused(monkeypatch: pytest.MonkeyPatch, entry: Augmentation, **arguments: Any) -> str:
    monkeypatch.setitem(AUGMENTATIONS._entries, entry.name, entry)
    monkeypatch.setitem(AUGMENTATIONS._origins, entry.name, __name__)
    with pytest.raises(ContractError) as error:
        check_augmentation(entry, **arguments)
    assert 2 <= len(str(error.value).splitlines()) <= 4
    return str(error.value)


def test_a_plug_in_that_keeps_its_promises_passes_also_when_it_is_registered_late(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(AUGMENTATIONS._entries, "half_turn", TURN)
    monkeypatch.setitem(AUGMENTATIONS._origins, "half_turn", __name__)
    check_augmentation(TURN, reference=turned)
    check_augmentation("half_turn", reference=turned)
    assert AugmentConfig().active() == []


def test_what_is_not_registered_is_told_how_to_be():
    with pytest.raises(ContractError) as error:
        check_augmentation(TURN, reference=turned)
    assert str(error.value) == (
        "augmentation 'half_turn': it is not registered under its name.\n"
        "Write 'register(entry, __name__)' below it, with 'from saccade.data.augmentation import register'.\n"
        f"Where: {place_of(draw_turn)}."
    )
    with pytest.raises(UnknownNameError, match="^Unknown augmentation 'half_turn'."):
        check_augmentation("half_turn")


def test_without_a_reference_it_says_what_to_write(monkeypatch: pytest.MonkeyPatch):
    assert refused(monkeypatch, TURN) == (
        "augmentation 'half_turn': it has no reference, so nothing says that it does what its name says.\n"
        "Write 'def expected(image_HWC, drawn, scene)' that computes the float64 image from the drawn parameters "
        "with NumPy, without calling the augmentation, and pass it as check_augmentation(..., reference=expected)."
    )


def always_on(drawn: Drawn, scene: Scene) -> np.ndarray:
    return -turn_matrices(drawn, scene)


def by_place_in_the_batch(strengths: TurnStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    return {"turned": (np.arange(len(uniform_BN)) % 2 == 1) & (strengths.probability > 0)}


def never_random(strengths: TurnStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    return {"turned": np.full(len(uniform_BN), strengths.probability > 0)}


def one_for_all(strengths: TurnStrengths, uniform_BN: np.ndarray, scene: Scene) -> Drawn:
    return {"turned": np.array([True])}


def slanted(drawn: Drawn, scene: Scene) -> np.ndarray:
    matrix_B33 = identities(len(drawn["turned"]))
    matrix_B33[drawn["turned"], 2, 0] = 0.01
    return matrix_B33


def beyond_the_horizon(drawn: Drawn, scene: Scene) -> np.ndarray:
    matrix_B33 = identities(len(drawn["turned"]))
    matrix_B33[drawn["turned"], 2, 0] = 0.1
    return matrix_B33


def mirrored(image_HWC: np.ndarray, drawn: Drawn, scene: Scene) -> np.ndarray:
    return image_HWC[:, ::-1] if drawn["turned"] else image_HWC


def misnamed(image_HWC: np.ndarray, drawn: Drawn, scene: Scene) -> np.ndarray:
    return image_HWC[:, ::-1] if drawn["is_turned"] else image_HWC


@pytest.mark.parametrize(
    ("changes", "reference", "told", "place"),
    [
        ({"source": "me"}, turned, "its source 'me' has no year", None),
        ({"summary": ""}, turned, "its summary is empty", None),
        ({"draw": by_place_in_the_batch}, turned, "two draws of one sample differ", by_place_in_the_batch),
        ({"draw": never_random}, turned, "it draws the same for every seed or epoch", never_random),
        (
            {"draw": one_for_all},
            turned,
            "the parameter 'turned' does not have one value for each sample",
            one_for_all,
        ),
        ({"matrices": always_on}, turned, "its default strengths change images", always_on),
        (
            {"matrices": slanted, "lossless": False},
            turned,
            "the last row of a matrix is not (0, 0, 1)",
            slanted,
        ),
        (
            {"matrices": beyond_the_horizon, "lossless": False, "projective": True},
            turned,
            "a corner of the output lies behind the horizon",
            beyond_the_horizon,
        ),
        ({}, misnamed, "its reference asks for the parameter 'is_turned', which draw does not give", draw_turn),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_broken_promises_are_told_with_the_function_that_breaks_them(
    monkeypatch: pytest.MonkeyPatch,
    changes: dict[str, Any],
    reference: Callable[..., Any],
    told: str,
    place: Callable[..., Any] | None,
):
    lines = refused(monkeypatch, dataclasses.replace(TURN, **changes), reference=reference).splitlines()
    assert lines[0] == f"augmentation 'half_turn': {told}."
    assert lines[-1] == f"Where: {place_of(place)}." if place else len(lines) == 2


def test_a_reference_that_says_something_else_is_told_with_the_share_of_pixels(monkeypatch: pytest.MonkeyPatch):
    message = refused(monkeypatch, TURN, reference=mirrored)
    assert message.startswith("augmentation 'half_turn': ")
    assert "of its pixels differ from the reference by more than 1.5 levels of 255" in message


def pixel(change: Callable[[Drawn, int, np.ndarray, Scene], np.ndarray]) -> Pixel:
    return Pixel(
        name="half_turn",
        summary="change pixels",
        source="a test, 2025",
        strengths=TurnStrengths,
        num_draws=lambda strengths, scene: 1,
        draw=draw_turn,
        change=change,
    )


def in_place(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    if drawn["turned"][row]:
        image_HWC[0] = 0
    return image_HWC


def wide(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    return image_HWC / 2 if drawn["turned"][row] else image_HWC


def louder(drawn: Drawn, row: int, image_HWC: np.ndarray, scene: Scene) -> np.ndarray:
    """Noise of 20 levels where the reference says 15."""
    if not drawn["turned"][row]:
        return image_HWC
    noise_HWC = np.random.default_rng(int(image_HWC.sum())).normal(0, 20, image_HWC.shape)
    return np.rint(image_HWC + noise_HWC).clip(0, 255).astype(np.uint8)


def noise_of_15(image_HWC: np.ndarray, drawn: Drawn, scene: Scene) -> Spread:
    deviation = 15.0 if drawn["turned"] else 0.0
    return Spread(mean_HWC=image_HWC.astype(float), deviation_HWC=np.full(image_HWC.shape, deviation), width=7)


def test_pixel_augmentations_must_work_on_a_copy_and_return_what_they_got(monkeypatch: pytest.MonkeyPatch):
    assert refused(monkeypatch, pixel(in_place), reference=turned) == (
        f"augmentation 'half_turn': it writes to the image it is given.\nWork on a copy.\nWhere: {place_of(in_place)}."
    )
    assert refused(monkeypatch, pixel(wide), reference=turned) == (
        "augmentation 'half_turn': from uint8 (24, 32, 1) it makes float64 (24, 32, 1).\n"
        "Return rounded and clipped uint8 of the same shape, for 1 and for 3 channels.\n"
        f"Where: {place_of(wide)}."
    )


def test_noise_of_another_strength_than_its_reference_is_told(monkeypatch: pytest.MonkeyPatch):
    message = refused(monkeypatch, pixel(louder), reference=noise_of_15)
    assert "its random pixels lie " in message
    assert " +- 1.3" in message


def test_operations_of_a_policy_are_geometric_colours_or_pixels(monkeypatch: pytest.MonkeyPatch):
    entry = AUGMENTATIONS.get("trivial_augment")
    assert isinstance(entry, Choosing)
    crop = Operation(augmentation="crop", parameters=lambda value_B, scene: {}, words="crop".format)
    message = refused(monkeypatch, dataclasses.replace(entry, operations=(*entry.operations[:-1], crop)))
    assert message.startswith("augmentation 'trivial_augment': it chooses 'crop', of the kind Framing.\n")
