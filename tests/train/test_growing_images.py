"""Images that grow during training: sizes by epoch, what the network sees, and networks that cannot."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from saccade.train.config import InputConfig
from saccade.train.schedule import input_size


@pytest.mark.parametrize(
    ("start", "full_from", "full_HW", "sides"),
    [
        (1.0, 0.8, (32, 32), [32] * 10),
        (0.5, 0.8, (32, 32), [16, 16, 20, 24, 24, 24, 28, 32, 32, 32]),
        (0.5, 0.0, (32, 32), [32] * 10),
        (0.5714, 0.9, (224, 224), [128, 128, 160, 160, 160, 192, 192, 192, 224, 224]),
    ],
)
def test_the_side_grows_by_a_straight_line_in_steps(
    start: float, full_from: float, full_HW: tuple[int, int], sides: list[int]
):
    config = InputConfig(start_fraction=start, full_from_fraction=full_from)
    assert [input_size(config, full_HW, epoch, 10) for epoch in range(10)] == [(side, side) for side in sides]


def test_shrunk_images_are_pillows_up_to_its_rounding():
    image_HW = torch.randint(0, 256, (32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    expected = Image.fromarray(image_HW.numpy()).resize((20, 20), Image.Resampling.BILINEAR)
    found = torch.nn.functional.interpolate(image_HW[None, None].float(), (20, 20), mode="bilinear", antialias=True)
    difference = (found[0, 0] - torch.from_numpy(np.array(expected))).abs().max()
    assert difference <= 1


def test_a_network_that_fits_one_size_only_is_named(saccade: Callable, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    finished = saccade("train", "digits", "--out", "run", "--set", "input.start_fraction=0.5", "--quiet")
    assert finished.status == 2
    assert finished.errors == (
        "error: 'input.start_fraction' 0.5 begins with images of 16x16, which lenet5 cannot take.\n"
        "Its layers fit one size. Leave the value out, or take a network that averages its maps, such as resnet20.\n"
    )
    assert not (tmp_path / "run").exists()
