"""A set of bands: measured per channel, of one number of channels, told apart by every band."""

from pathlib import Path

import numpy as np
import pytest

from saccade.core.errors import ConfigError, DataError
from saccade.core.types import Preprocessing, Split
from saccade.data.checkup.inspection import inspect_source
from saccade.data.checkup.text import inspection_text
from saccade.data.scan import ScanReport, scan_source
from saccade.data.sources.folder.source import ImageFolder
from saccade.train.choose_preprocessing import choose_preprocessing
from saccade.train.config import RunConfig

RANDOM = np.random.default_rng(8)
VALUES_NHWC = RANDOM.integers(0, 4096, (6, 20, 24, 5), dtype=np.uint16)


def written(folder: Path, images: list[np.ndarray]) -> ImageFolder:
    for number, image in enumerate(images):
        place = folder / ("a", "b")[number % 2]
        place.mkdir(parents=True, exist_ok=True)
        np.save(place / f"{number}.npy", image)
    return ImageFolder(folder)


def numbers(source: ImageFolder) -> list[int]:
    return [int(Path(source.record(index).key).stem) for index in range(len(source))]


def everything(scan: ScanReport) -> Split:
    nothing_N = np.zeros(0, np.int64)
    return Split(train_N=scan.good_N, validation_N=nothing_N, test_N=nothing_N, origin="all")


def config(weights: Preprocessing | None = None, **settings: str) -> RunConfig:
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in settings.items()]
    made = RunConfig(source="set", model="lenet5").with_overrides(overrides)
    if weights is None:
        return made
    return made.model_copy(update={"transfer": made.transfer.model_copy(update={"preprocessing": weights})})


def test_the_scan_measures_every_band_by_what_is_white_in_the_set(tmp_path: Path):
    source = written(tmp_path, list(VALUES_NHWC))
    scan = scan_source(source, threads=2)
    part_NHWC = VALUES_NHWC[numbers(source)] / 4095
    assert (scan.num_bands, scan.depth_bits, scan.white_16_bit, scan.notes) == (5, 16, 4095, ())
    assert scan.mean_NC == pytest.approx(part_NHWC.mean(axis=(1, 2)), rel=1e-5)
    assert scan.square_NC == pytest.approx((part_NHWC**2).mean(axis=(1, 2)), rel=1e-5)
    assert not scan.is_grey_N.any()
    pixels = choose_preprocessing(config(), scan, everything(scan))
    assert (pixels.channels, pixels.depth_bits, pixels.num_channels) == ("bands", 16, 5)
    assert pixels.mean == pytest.approx(part_NHWC.mean(axis=(0, 1, 2)), abs=1e-5)
    assert pixels.std == pytest.approx(part_NHWC.std(axis=(0, 1, 2)), abs=1e-5)


def test_what_is_shown_of_bands_can_be_asked_for(tmp_path: Path):
    source = written(tmp_path, list(VALUES_NHWC))
    scan = scan_source(source, threads=1, channels="colour")
    shown_NHWC = np.floor(VALUES_NHWC[numbers(source)][..., :3] * (255 / 4095) + 0.5) / 255
    assert (scan.num_bands, scan.depth_bits) == (0, 8)
    assert scan.mean_NC == pytest.approx(shown_NHWC.mean(axis=(1, 2)), rel=1e-5)
    assert [note.split(": ")[1] for note in scan.notes] == ["it has 5 channels; the first three are read."] * 6


def test_grey_pictures_keep_their_bits_where_bands_are_asked_for(tmp_path: Path):
    source = written(tmp_path, [*VALUES_NHWC[:5, :, :, 0], (VALUES_NHWC[5, :, :, 0] // 16).astype(np.uint8)])
    scan = scan_source(source, threads=1, channels="bands")
    assert (scan.num_bands, scan.depth_bits) == (1, 16)
    part_N1 = [
        [VALUES_NHWC[number, :, :, 0].mean() / 4095 if number < 5 else (VALUES_NHWC[5, :, :, 0] // 16).mean() / 255]
        for number in numbers(source)
    ]
    assert scan.mean_NC == pytest.approx(np.array(part_N1), rel=1e-5)


def test_images_that_differ_in_one_band_are_two_and_equal_ones_are_one(tmp_path: Path):
    other_HWC = VALUES_NHWC[0].copy()
    other_HWC[3, 4, 4] ^= 1
    images = [VALUES_NHWC[0], other_HWC, np.asfortranarray(VALUES_NHWC[0]), VALUES_NHWC[0]]
    source = written(tmp_path, images)
    for channels in ("auto", "bands", "colour"):
        scan = scan_source(source, threads=1, channels=channels)
        digest = {number: scan.pixel_digest_N[place].tobytes() for place, number in enumerate(numbers(source))}
        assert digest[0] == digest[2] == digest[3]
        assert digest[1] != digest[0]


@pytest.mark.parametrize("other", [np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9), np.uint8)], ids=["4", "grey"])
def test_a_set_of_mixed_channels_is_refused_by_name_and_inspect_says_the_same(
    tmp_path: Path, other: np.ndarray, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    source = written(tmp_path / "set", [*VALUES_NHWC, other])
    with pytest.raises(DataError) as caught:
        scan_source(source, threads=1)
    kind = "has 4 channels" if other.ndim == 3 else "is grey or RGB"
    message = (
        f"{tmp_path}/set: images differ in their channels: a/0.npy has 5 channels, a/6.npy {kind}.\n"
        "Give images of one kind; or take what is shown of all of them, the first three channels: "
        "--set input.channels=rgb."
    )
    assert caught.value.message == message
    found = inspect_source(str(tmp_path / "set"), 1)
    assert any(message.splitlines()[0] in str(finding) for finding in found.findings)
    assert "6 images have 5 channels that are not colours." in found.notes


def test_inspect_gives_the_mean_of_every_band_also_where_it_was_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, values in {"five": list(VALUES_NHWC), "two": [image[..., :2] for image in VALUES_NHWC]}.items():
        written(tmp_path / name, [np.ascontiguousarray(image) for image in values])
        pixels_NHWC = np.stack(values) / 4095
        for num_measured in (len(values), 0):
            found = inspect_source(str(tmp_path / name), 1)
            assert found.num_measured == num_measured
            np.testing.assert_allclose(found.mean_C, pixels_NHWC.mean(axis=(0, 1, 2)), atol=1e-6)
            np.testing.assert_allclose(found.std_C, pixels_NHWC.std(axis=(0, 1, 2)), atol=1e-6)
        assert "(each band in turn, 0 to 1)" in inspection_text(found)


OWN = Preprocessing()
BANDS = Preprocessing(channels="bands", mean=(0.1,) * 5, std=(0.2,) * 5)


def test_weights_keep_their_normalisation_unless_another_is_asked_for_or_they_never_saw_these_bands(tmp_path: Path):
    photos = [np.ascontiguousarray(image[..., :3] // 16).astype(np.uint8) for image in VALUES_NHWC]
    colour = scan_source(written(tmp_path / "colour", photos), threads=1)
    bands = scan_source(written(tmp_path / "bands", list(VALUES_NHWC)), threads=1)
    pixels_NHWC = np.stack(photos) / 255
    part_NHWC = VALUES_NHWC / 4095

    def chosen(weights: Preprocessing, scan: ScanReport, **settings: str) -> Preprocessing:
        return choose_preprocessing(config(weights, **settings), scan, everything(scan))

    assert chosen(OWN, colour).mean == OWN.mean
    assert chosen(OWN, colour, input__normalisation="measured").mean == pytest.approx(
        pixels_NHWC.mean(axis=(0, 1, 2)), abs=1e-5
    )
    other = OWN.model_copy(update={"mean": (0.5,) * 3})
    assert chosen(other, colour, input__normalisation="imagenet").mean == OWN.mean
    adapted = chosen(OWN, bands)
    assert (adapted.channels, adapted.depth_bits, adapted.input_CHW) == ("bands", 16, (5, 224, 224))
    assert adapted.mean == pytest.approx(part_NHWC.mean(axis=(0, 1, 2)), abs=1e-5)
    assert chosen(BANDS, bands).mean == BANDS.mean
    assert chosen(BANDS, bands, input__normalisation="measured").mean == adapted.mean
    with pytest.raises(ConfigError) as refused:
        chosen(BANDS, colour)
    assert refused.value.message == (
        "These weights were trained on images of 5 channels, and these images are grey or RGB.\n"
        "Take weights that were trained on such images; or give images with those channels."
    )
