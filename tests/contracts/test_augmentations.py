"""What every augmentation promises, looped over the registry: a new file is tested the day it appears."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from saccade.core.types import Preprocessing, Record
from saccade.data.augment.base import (
    AUGMENTATIONS,
    Augmentation,
    Colouring,
    Erasing,
    Framing,
    Geometric,
    Mixing,
    Scene,
    Strengths,
    Warping,
)
from saccade.data.augment.mixing import partners
from saccade.data.augment.pca_colour import PcaColourStrengths, measured
from saccade.data.augment.policy import POLICIES, AugmentConfig, get_policy
from saccade.data.augmenter import Augmenter, Plan
from saccade.data.base import DataSource
from saccade.data.draws import uniform
from saccade.data.loader import LoaderConfig, build_loader
from saccade.data.preprocess import prepare_image

COLOUR = Preprocessing(input_height_px=24, input_width_px=32, resize_px=36)
GREY = Preprocessing(channels="grey", input_height_px=24, input_width_px=32, resize_px=36, mean=(0.4,), std=(0.2,))
SEED = 11
NAMES = AUGMENTATIONS.names()


class Photos(DataSource):
    """Smooth pictures of several sizes and shapes; two thirds JPEG files, the others pixels."""

    name = "photos"
    classes = ("a", "b", "c")
    digest = "0" * 64

    def __init__(self, num: int = 12) -> None:
        rng = np.random.default_rng(1)
        self.pixels = []
        for number in range(num):
            height, width = 40 + 9 * (number % 4), 72 - 11 * (number % 3)
            y, x = np.mgrid[:height, :width]
            waves = [np.sin(x / 9 + phase) + np.cos(y / 8 - phase) for phase in rng.uniform(0, 6, 3)]
            self.pixels.append(np.rint(127 + 60 * np.stack(waves, axis=-1)).astype(np.uint8))

    def __len__(self) -> int:
        return len(self.pixels)

    def record(self, index: int) -> Record:
        return Record(key=f"{index}.jpg", label=index % 3)

    def read(self, index: int) -> bytes | np.ndarray:
        if index % 3 == 0:
            pixels = self.pixels[index].view()
            pixels.setflags(write=False)  # as of a file that is mapped into memory
            return pixels
        file = io.BytesIO()
        Image.fromarray(self.pixels[index]).save(file, "JPEG", quality=95)
        return file.getvalue()


def strong(entry: Augmentation) -> Strengths:
    """Strengths well above zero: every number and switch whose default is off, halfway to its limit."""
    values: dict[str, object] = {}
    for name, field in entry.strengths.model_fields.items():
        if field.default is False:
            values[name] = True
        limits = [item.le for item in field.metadata if hasattr(item, "le")]
        if field.default in (0, 0.0) and limits:
            values[name] = type(field.default)(min(limits[0] / 2, 12))
    if entry.name == "crop":
        values = {"min_area": 0.3, "max_aspect": 1.5}
    if entry.name == "elastic":
        values = {"max_px": 3.0, "spacing_px": 8.0}
    strengths = entry.strengths.parse(values)
    if isinstance(strengths, PcaColourStrengths):
        return measured(strengths, np.random.default_rng(3).integers(0, 256, (500, 3)))
    return strengths


def only(name: str, strengths: Strengths | None = None) -> AugmentConfig:
    return AugmentConfig(**{name: strengths or strong(AUGMENTATIONS.get(name))})


def everything() -> AugmentConfig:
    """All at once, but for one of the two framings."""
    return AugmentConfig(**{name: strong(AUGMENTATIONS.get(name)) for name in NAMES if name != "window"})


def same(left: Plan, right: Plan) -> bool:
    """Whether two plans of the same samples hold the same numbers."""
    return all(
        np.array_equal(value, right.drawn[name][key])
        for name, values in left.drawn.items()
        for key, value in values.items()
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_defaults_are_off_and_strengths_turn_it_on(name: str):
    entry = AUGMENTATIONS.get(name)
    assert not entry.strengths().is_active
    assert strong(entry).is_active
    assert AugmentConfig().active() == []
    assert [active.name for active in only(name).active()] == [name]


@pytest.mark.parametrize("name", NAMES)
def test_it_says_what_it_is_where_it_comes_from_and_what_its_values_mean(name: str):
    entry = AUGMENTATIONS.get(name)
    assert name.isidentifier()
    assert entry.summary
    assert any(character.isdigit() for character in entry.source) or "public" in entry.source
    assert AugmentConfig.model_fields[name].description == entry.summary
    for field in entry.strengths.model_fields.values():
        assert field.description
        assert field.description[0].islower() or field.description.startswith("RGB")


@pytest.mark.parametrize("name", NAMES)
def test_draws_depend_on_seed_epoch_and_sample_and_on_nothing_else(name: str):
    index_B = np.array([5, 900, 17, 2**31])
    plan = Augmenter(only(name), COLOUR, SEED).plan(3, index_B)
    assert same(plan, Augmenter(only(name), COLOUR, SEED).plan(3, index_B))
    for row in range(4):
        alone = Augmenter(only(name), COLOUR, SEED).plan(3, index_B[row : row + 1])
        assert same(plan.take(np.array([row])), alone)
    if name != "window":
        among_others = Augmenter(everything(), COLOUR, SEED).plan(3, index_B[::-1]).take(np.array([3, 2, 1, 0]))
        assert same(plan, among_others)


@pytest.mark.parametrize("name", NAMES)
def test_no_two_equal_draws_in_samples_epochs_and_seeds(name: str, monkeypatch: pytest.MonkeyPatch):
    numbers, epochs = [], (0, 1, 2) if AUGMENTATIONS.get(name).every_epoch else (0,)

    def listening(*arguments: object) -> np.ndarray:
        numbers.append(uniform(*arguments))
        return numbers[-1]

    monkeypatch.setattr("saccade.data.augmenter.uniform", listening)
    plans = [
        Augmenter(only(name), COLOUR, seed).plan(epoch, np.arange(300)) for seed in (SEED, SEED + 1) for epoch in epochs
    ]
    row_N = np.concatenate(numbers)
    assert len(row_N) == 300 * 2 * len(epochs)
    assert len(np.unique(row_N, axis=0)) == len(row_N)
    assert not any(same(left, right) for left in plans for right in plans if left is not right)


def test_no_two_augmentations_share_their_numbers(monkeypatch: pytest.MonkeyPatch):
    first_numbers = []

    def listening(*arguments: object) -> np.ndarray:
        drawn = uniform(*arguments)
        first_numbers.append(drawn[0, 0])
        return drawn

    monkeypatch.setattr("saccade.data.augmenter.uniform", listening)
    Augmenter(everything(), COLOUR, SEED).plan(0, np.arange(1))
    assert len(set(first_numbers)) == len(first_numbers) == len(NAMES) - 1


@pytest.mark.parametrize("name", NAMES)
def test_strength_zero_is_the_identity(name: str):
    entry = AUGMENTATIONS.get(name)
    scene = Scene(preprocessing=COLOUR, epoch=1)
    off = entry.strengths()
    drawn = entry.draw(off, uniform(SEED, 1, name, np.arange(50), entry.num_draws(off, scene)), scene)
    if isinstance(entry, Geometric):
        assert (entry.matrices(drawn, scene) == np.eye(3)).all()
    if isinstance(entry, Colouring):
        assert np.abs(entry.matrices(drawn, scene) - np.eye(3, 4)).max() < 1e-15
    if isinstance(entry, Warping):
        assert (entry.displacement(drawn, 7, scene) == 0).all()
    if isinstance(entry, Erasing):
        top, bottom, left, right = entry.boxes(drawn, scene).T
        assert ((bottom - top) * (right - left) == 0).all()
    if isinstance(entry, Mixing):
        image_BHWC = np.random.default_rng(0).integers(0, 256, (50, 24, 32, 3), dtype=np.uint8)
        target_BK = np.eye(3, dtype=np.float32)[np.arange(50) % 3]
        mixed_BHWC, mixed_BK = entry.mix(drawn, image_BHWC, partners(50), target_BK)
        assert (mixed_BHWC == image_BHWC).all()
        assert (mixed_BK == target_BK).all()


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("memory_limit_bytes", [0, 2**30])
def test_no_augmentation_gives_every_bit_as_evaluation_sees_it(preprocessing: Preprocessing, memory_limit_bytes: int):
    source = Photos()
    every_default = AugmentConfig(**{name: AUGMENTATIONS.get(name).strengths() for name in NAMES})
    for image_BHWC, _, index_B in batches(source, every_default, preprocessing, memory_limit_bytes=memory_limit_bytes):
        for image_HWC, index in zip(image_BHWC, index_B):
            assert (image_HWC == prepare_image(source[index].image_HWC, preprocessing)).all()


def batches(
    source: DataSource, config: AugmentConfig, preprocessing: Preprocessing = COLOUR, epoch: int = 1, **values: object
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    settings = LoaderConfig.parse({"batch_size": 5, "threads": 2, **values})
    with build_loader(source, np.arange(len(source)), preprocessing, config, settings, SEED) as loader:
        return [
            (batch.image_BCHW.permute(0, 2, 3, 1).numpy(), batch.target.numpy(), batch.index_B)
            for batch in loader.epoch(epoch)
        ]


@pytest.mark.parametrize("preprocessing", [COLOUR, GREY], ids=["colour", "grey"])
@pytest.mark.parametrize("name", [*NAMES, "everything"])
def test_the_same_bits_for_any_number_of_threads_and_in_memory_or_not(name: str, preprocessing: Preprocessing):
    config = everything() if name == "everything" else only(name)
    source = Photos()
    results = [
        [
            image_BHWC.tobytes() + target.tobytes()
            for image_BHWC, target, _ in batches(source, config, preprocessing, **how)
        ]
        for how in ({"threads": 1}, {"threads": 4}, {"memory_limit_bytes": 0}, {"memory_limit_bytes": 0, "threads": 3})
    ]
    assert results[0] == results[1] == results[2] == results[3]
    plain = [image_BHWC.tobytes() for image_BHWC, _, _ in batches(source, AugmentConfig(), preprocessing)]
    if preprocessing is COLOUR:
        assert plain != [image_BHWC.tobytes() for image_BHWC, _, _ in batches(source, config, preprocessing)]


@pytest.mark.parametrize("name", POLICIES)
def test_policies_name_their_source_and_can_be_written_and_read_back(name: str):
    policy = get_policy(name)
    assert policy.name == name
    assert AugmentConfig.parse(policy.config.model_dump(mode="json")) == policy.config
    assert bool(policy.config.active()) == (name != "none")
    assert policy.source


class InputSized(Photos):
    """Smooth pictures that have the size of the input already, so that a matrix alone says what is seen."""

    def __init__(self) -> None:
        super().__init__()
        self.pixels = [prepare_image(pixels, COLOUR) for pixels in self.pixels]

    def read(self, index: int) -> np.ndarray:
        return self.pixels[index]


INPUT_SIZED = Preprocessing(input_height_px=24, input_width_px=32)


def looked_up(image_HWC: np.ndarray, place_HW2: np.ndarray) -> np.ndarray:
    """float64 bilinear interpolation at (column, row), mirrored at the borders (scipy)."""
    place = [place_HW2[:, :, 1], place_HW2[:, :, 0]]
    planes = [image_HWC[:, :, channel].astype(float) for channel in range(3)]
    return np.stack([ndimage.map_coordinates(plane, place, order=1, mode="mirror") for plane in planes], axis=-1)


def expected_image(entry: Augmentation, plan: Plan, row: int, image_HWC: np.ndarray) -> np.ndarray:
    """What one augmentation makes of one image of the input's size, in float64."""
    drawn, scene = plan.drawn[entry.name], plan.scene
    y, x = np.mgrid[:24, :32].astype(float)
    centred_HW3 = np.stack([x - 15.5, y - 11.5, np.ones_like(x)], axis=-1)
    if isinstance(entry, Geometric):
        source = centred_HW3 @ entry.matrices(drawn, scene)[row].T
        return looked_up(image_HWC, source[:, :, :2] + [15.5, 11.5])
    if isinstance(entry, Warping):
        moved = centred_HW3[:, :, :2] + entry.displacement(drawn, row, scene).astype(float)
        return looked_up(image_HWC, moved + [15.5, 11.5])
    if isinstance(entry, Framing):
        matrix = entry.frame(drawn, row, (24, 32), scene)
        width, height = 32 * matrix[0, 0], 24 * matrix[1, 1]
        left, top = matrix[0, 2] + 16 - width / 2, matrix[1, 2] + 12 - height / 2
        box = tuple(round(side) for side in (left, top, left + width, top + height))
        return np.asarray(Image.fromarray(image_HWC).crop(box).resize((32, 24), Image.Resampling.BILINEAR), float)
    if isinstance(entry, Colouring):
        matrix_34 = entry.matrices(drawn, scene)[row]
        return (255 * (image_HWC / 255 @ matrix_34[:, :3].T + matrix_34[:, 3])).clip(0, 255)
    expected = image_HWC.astype(float)
    if isinstance(entry, Erasing):
        top, bottom, left, right = entry.boxes(drawn, scene)[row]
        expected[top:bottom, left:right] = 255 * np.array(COLOUR.mean)
    return expected


@pytest.mark.parametrize("name", [name for name in NAMES if not isinstance(AUGMENTATIONS.get(name), Mixing)])
def test_what_is_applied_equals_a_float64_reference(name: str):
    entry, source = AUGMENTATIONS.get(name), InputSized()
    preprocessing = COLOUR if isinstance(entry, Framing) else INPUT_SIZED
    changed = 0
    for epoch in range(3):
        for image_BHWC, _, index_B in batches(source, only(name), preprocessing, epoch=epoch):
            plan = Augmenter(only(name), preprocessing, SEED).plan(epoch, index_B)
            for row, index in enumerate(index_B):
                expected = expected_image(entry, plan, row, source.pixels[index])
                # Rounding is half a level; fixed-point arithmetic and positions to 1/32 pixel add less than another.
                assert np.abs(image_BHWC[row] - expected).max() <= 1.5
                changed += not np.array_equal(image_BHWC[row], source.pixels[index])
    assert changed > 9
