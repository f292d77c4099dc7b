"""Files of strangers that cost far more than their size, and links that led a resumed run elsewhere."""

import io
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saccade import api
from saccade.classify.classifier import open_classifier
from saccade.classify.items import items_of
from saccade.classify.stream import stream
from saccade.core.errors import CheckpointError, ImageError, ModelError
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing
from saccade.data.images.decode import decode_image, decode_opened
from saccade.data.images.preprocess import refuse_large_resize
from saccade.evaluate.forward import forward


def encoded(image: Image.Image, kind: str, **options: bool) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (2_010, 10)])
def test_a_picture_whose_resized_side_would_fill_the_memory_is_refused(size: tuple[int, int]):
    content = encoded(Image.new("L", size), "PNG")
    assert len(content) < 500
    with pytest.raises(ImageError) as caught:
        decode_image(content, "long.png")
    assert caught.value.message == (
        f"long.png: the image has {size[0]}x{size[1]} pixels: one side is more than 200 times the other. "
        f"Cut it into pieces."
    )
    assert decode_image(encoded(Image.new("L", (2_000, 10)), "PNG"), "panorama.png").image_HWC.shape == (10, 2_000, 3)


@pytest.mark.parametrize("size", [(20_000, 1), (1, 20_000), (1, 65_000)])
def test_a_long_picture_in_memory_is_refused_like_the_file(size: tuple[int, int]):
    shape = f"{size[0]}x{size[1]}"
    message = f"long: the image has {shape} pixels: one side is more than 200 times the other. Cut it into pieces."
    for pixels in (np.zeros(size[::-1], np.uint8), np.zeros((*size[::-1], 3), np.uint8)):
        with pytest.raises(ImageError) as caught:
            decode_image(pixels, "long")
        assert caught.value.message == message
    with pytest.raises(ImageError) as caught:
        decode_opened(Image.new("L", size), "long")
    assert caught.value.message == message


def test_a_picture_that_resizing_would_make_enormous_is_refused_and_all_others_are_prepared():
    usual, large = Preprocessing(resize_px=256), Preprocessing(resize_px=8192)
    refuse_large_resize("a", (10, 2000), usual)  # 256 x 51,200
    refuse_large_resize("a", (7000, 7000), large.model_copy(update={"resize_px": 6000}))
    with pytest.raises(ImageError) as caught:
        refuse_large_resize("a", (10, 2000), usual, scale=4.0)
    assert caught.value.message == (
        "a: the image has 2000x10 pixels; with a short side of 1024 it becomes 204800x1024, more than 50,000,000. "
        "Cut it into pieces."
    )
    with pytest.raises(ImageError):
        refuse_large_resize("a", (10, 100), large)


def test_predict_answers_for_the_others_where_one_picture_is_too_long(stopped: Path):
    good, long = np.zeros((8, 8), np.uint8), np.zeros((1, 20_000), np.uint8)
    classifier = open_classifier([stopped], RuntimeConfig(device="cpu"))
    (batch,) = stream(classifier, items_of([good, long, good]))
    assert list(batch.errors) == [1]
    assert batch.num_good == 2


def test_a_progressive_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    noise_HWC = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    honest = encoded(Image.fromarray(noise_HWC), "JPEG", progressive=True)
    assert 2 < honest.count(b"\xff\xda") < 20
    assert decode_image(honest, "honest.jpg").image_HWC.shape == (64, 64, 3)
    start_of_last = honest.rindex(b"\xff\xda")
    last = honest[start_of_last:-2]
    hostile = honest[:-2] + last * 200 + b"\xff\xd9"
    with pytest.raises(ImageError, match=r"^endless\.jpg: .*scans; at most 100 are decoded"):
        decode_image(hostile, "endless.jpg")
    (length,) = struct.unpack(">H", last[2:4])
    assert length < 20  # what was repeated is a scan


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch."""
    run = tmp_path_factory.mktemp("links") / "run"
    api.train(api.TrainRequest(source="digits", epochs=1, out=run))
    return run


@pytest.mark.parametrize("name", ["checkpoint-best", "checkpoint-last"])
def test_a_resumed_run_does_not_write_through_a_linked_checkpoint(stopped: Path, tmp_path: Path, name: str):
    run, victim = tmp_path / "run", tmp_path / "victim"
    shutil.copytree(stopped, run)
    shutil.copytree(run / name, victim)
    shutil.rmtree(run / name)
    (run / name).symlink_to(victim)
    before = {path.name: path.read_bytes() for path in victim.iterdir()}
    with pytest.raises(CheckpointError) as caught:
        api.train(api.TrainRequest(out=run, resume=True))
    assert caught.value.message == (
        f"{run}/{name} is a link, and a run writes nothing through one.\n"
        f"Put the folder itself there, or start a new run with another --out."
    )
    assert {path.name: path.read_bytes() for path in victim.iterdir()} == before


def test_a_resumed_ensemble_does_not_write_through_a_linked_member(tmp_path: Path):
    ensemble, victim = tmp_path / "five", tmp_path / "victim"
    api.train_ensemble(api.TrainRequest(source="digits", epochs=1, ensemble=2, out=ensemble))
    shutil.move(ensemble / "member-1", victim)
    (ensemble / "member-1").symlink_to(victim)
    before = {path: path.stat().st_mtime_ns for path in victim.rglob("*")}
    with pytest.raises(CheckpointError, match=r"member-1 is a link, and an ensemble writes nothing through one\.\n"):
        api.train_ensemble(api.TrainRequest(out=ensemble, resume=True))
    assert {path: path.stat().st_mtime_ns for path in victim.rglob("*")} == before


class Hungry(nn.Module):
    """Asks for more memory than any machine has."""

    def forward(self, image_BCHW: torch.Tensor) -> torch.Tensor:
        return torch.empty(1 << 50, dtype=torch.uint8)


def test_a_network_that_needs_more_memory_than_there_is_gives_an_error_in_words():
    preprocessing = Preprocessing(input_height_px=32, input_width_px=32)
    image_BCHW = torch.zeros(2, 3, 32, 32, dtype=torch.uint8)
    with pytest.raises(ModelError, match=r"^The network needs more memory than there is for \d+ images of 32x32\.\n"):
        forward(Hungry(), image_BCHW, preprocessing, start(RuntimeConfig(device="cpu")), torch.float32)


def test_a_resumed_run_does_not_build_another_network_than_it_saved(stopped: Path, tmp_path: Path):
    run = tmp_path / "run"
    shutil.copytree(stopped, run)
    config = run / "config.toml"
    line = 'model = "fc 1000000 | fc 1000000"\n'  # four terabytes
    text = config.read_text()
    config.write_text(text.replace("\n", f"\n{line}", 1) if "model =" not in text else text)
    with pytest.raises(CheckpointError) as caught:
        api.train(api.TrainRequest(out=run, resume=True))
    assert caught.value.message == (
        f"{config} names the network 'fc 1000000 | fc 1000000', but checkpoint-last holds weights of 'lenet5'.\n"
        f"Put the file back from a copy, or start a new run with another --out."
    )


def test_memory_that_runs_out_anywhere_is_told_in_words(saccade: Callable, monkeypatch: pytest.MonkeyPatch):
    def hungry(target: str, request: object, fold: bool) -> None:
        raise MemoryError

    monkeypatch.setattr(api, "table", hungry)
    finished = saccade("table", "lenet5")
    assert finished.status == 1
    assert finished.errors.startswith("error: The memory ran out.\n")
    assert len(finished.errors.splitlines()) == 3
