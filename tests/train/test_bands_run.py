"""Images of five channels and 16 bits through every verb: one small run, whose classes only the last two tell apart."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from saccade import api, load
from saccade.core.errors import ConfigError, DataError, UsageError
from saccade.models.architecture import ModelSpec, build_model
from saccade.runs.checkpoint import find_checkpoint
from saccade.train.progress import Silent

NUM = 60
WHITE = 4095


class Heard(Silent):
    """What a person is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def five_bands(draw: np.random.Generator, label: int, dtype: type = np.uint16) -> np.ndarray:
    """(16, 16, 5): three bands of noise, and two of one level, of which that of `label` is brighter."""
    values_HWC = draw.integers(0, WHITE + 1, (16, 16, 5))
    level = draw.integers(1000, 3000)
    values_HWC[..., 3], values_HWC[..., 4] = level, level
    values_HWC[..., 3 + label] += WHITE // 4
    return values_HWC.astype(dtype)


def write_set(folder: Path, num: int = NUM, seed: int = 0) -> Path:
    draw = np.random.default_rng(seed)
    for label, name in enumerate(("left", "right")):
        (folder / name).mkdir(parents=True)
        for number in range(num):
            np.save(folder / name / f"{number}.npy", five_bands(draw, label))
    return folder


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_set(tmp_path_factory.mktemp("bands") / "set")


@pytest.fixture(scope="module")
def trained(source: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """(a run, what was told)."""
    settings = ["optimizer.learning_rate=0.01", "batch_size=16"]
    settings += [
        "augment.brightness.max_change=0.4",
        "augment.mirror.probability=0.5",
        "augment.rotation.max_degrees=5",
    ]
    heard, out = Heard(), tmp_path_factory.mktemp("run") / "run"
    request = api.TrainRequest(source=str(source), model="lenet5", epochs=6, out=out, settings=settings)
    return api.train(request, heard).run_dir, heard.notes


def test_the_run_keeps_the_bands_and_their_bits_and_says_so(trained: tuple[Path, list[str]], source: Path):
    run, notes = trained
    pixels = find_checkpoint(run).manifest.preprocessing
    assert (pixels.channels, pixels.depth_bits, pixels.num_channels, pixels.white_16_bit) == ("bands", 16, 5, WHITE)
    assert "images of 5 channels of 16 bits; shown: the first three as red, green and blue" in notes
    assert "augmentations of colours are left out, which such channels are not: brightness" in notes
    assert "16-bit values use 0 to 4,095: scaled by that" in notes
    values_NHWC = np.stack([np.load(path) for path in sorted(source.rglob("*.npy"))]) / WHITE
    assert pixels.mean == pytest.approx(values_NHWC.mean(axis=(0, 1, 2)), abs=0.02)  # of the training images
    assert pixels.std == pytest.approx(values_NHWC.std(axis=(0, 1, 2)), abs=0.02)
    assert find_checkpoint(run).load_weights()["stem.convolution.weight"].shape[1] == 5


def test_every_verb_sees_all_bands(trained: tuple[Path, list[str]], source: Path, tmp_path: Path):
    run, _ = trained
    fresh = write_set(tmp_path / "new", 20, seed=9)
    assert api.evaluate([run], str(fresh)).metrics.top1 > 0.9  # bands 1 to 3 are noise: they give 0.5
    model = load(run)
    first = fresh / "right" / "0.npy"
    answer = model(first)
    assert answer.answer == "right"
    swapped_HWC = np.load(first)[:, :, [0, 1, 2, 4, 3]]
    np.save(tmp_path / "swapped.npy", swapped_HWC)
    assert model(tmp_path / "swapped.npy").answer == "left"
    assert answer.notes == ()
    assert model.features(first).shape == (1, 400)
    explained = api.explain(run, first, out=tmp_path / "sheet.png", source=str(fresh))
    assert explained.subject.prepared_HWC.shape == (32, 32, 3)
    page = api.report(run, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "5 channels of 16 bits; shown: the first three as red, green and blue" in page


def test_images_of_other_channels_are_refused_by_name(trained: tuple[Path, list[str]], source: Path, tmp_path: Path):
    run, _ = trained
    np.save(tmp_path / "four.npy", np.zeros((16, 16, 4), np.uint16))
    with pytest.raises(DataError) as caught:
        load(run)(tmp_path / "four.npy")
    assert caught.value.message == f"{tmp_path}/four.npy: it has 4 channels, and the network takes 5."
    mixed = write_set(tmp_path / "mixed", 5)
    np.save(mixed / "right" / "2.npy", np.zeros((16, 16, 3), np.uint8))
    np.save(mixed / "right" / "3.npy", np.zeros((16, 16, 8), np.uint8))
    with pytest.raises(DataError) as caught:
        api.train(api.TrainRequest(source=str(mixed), epochs=1, out=tmp_path / "run"))
    assert caught.value.message == (
        f"{mixed}: images differ in their channels: left/0.npy has 5 channels, right/2.npy is grey or RGB.\n"
        "Give images of one kind; or take what is shown of all of them, the first three channels: "
        "--set input.channels=rgb."
    )


def test_what_is_for_colours_is_refused_in_words(trained: tuple[Path, list[str]], source: Path, tmp_path: Path):
    run, _ = trained
    with pytest.raises(UsageError) as caught:
        api.export(run, formats=["hub"])
    assert caught.value.message == (
        "--format hub is for grey or colours, and the run takes images of 5 channels.\n"
        "Export a graph, which takes pixels that are prepared already: --format onnx or openvino."
    )
    settings = ["input.normalisation=imagenet"]
    with pytest.raises(ConfigError) as refused:
        api.train(api.TrainRequest(source=str(source), epochs=1, out=tmp_path / "run", settings=settings))
    assert refused.value.message == (
        "input.normalisation=imagenet is that of red, green and blue, and these images have 5 channels.\n"
        "Leave it out: theirs are measured over the training images."
    )


def colour_weights(folder: Path) -> Path:
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(3, 32, 32)))
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, folder / "model.safetensors")
    (folder / "pixels.json").write_text(json.dumps({"input_height_px": 32, "input_width_px": 32}))
    return folder


def test_weights_of_colours_are_transferred_to_bands(source: Path, tmp_path: Path):
    folder = colour_weights(tmp_path)
    request = api.TransferRequest(
        source=str(source),
        backbone="lenet5",
        weights=str(folder),
        freeze="all",
        out=tmp_path / "run",
        cache="none",
        preprocessing=folder / "pixels.json",
    )
    result = api.transfer(request)
    assert result.run.judgement.metrics.top1 > 0.7  # random filters and a fitted layer
    checkpoint = find_checkpoint(tmp_path / "run")
    pixels = checkpoint.manifest.preprocessing
    assert (pixels.channels, pixels.depth_bits, pixels.num_channels) == ("bands", 16, 5)
    assert api.evaluate([tmp_path / "run"], str(source)).metrics.num_samples > 0
