"""The ladder judges all images up to a cost: more images never give weaker evidence, and the cost stays bounded."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from saccade import api
from saccade.models.architecture import ModelSpec, build_model
from saccade.transfer.ladder_images import choose_images, multiply_adds_behind
from saccade.transfer.request import TransferRequest

LENET, RESNET18, RESNET50, VGG16 = 1e6, 4.162e9, 10.35e9, 32.04e9  # multiply-adds of an image through all tails
EPOCHS = 3


@pytest.mark.parametrize(
    ("cost", "num_images", "expected"),
    [  # (images, folds, judged folds)
        (LENET, 300, (300, 5, 5)),
        (LENET, 301, (301, 3, 3)),
        (LENET, 610, (610, 3, 3)),
        (LENET, 4000, (4000, 3, 3)),
        (RESNET18, 610, (610, 3, 3)),
        (RESNET18, 1200, (1200, 3, 3)),  # 3e13 / (6 passes of 4.162e9)
        (RESNET18, 1300, (1200, 3, 3)),
        (RESNET18, 2000, (1800, 3, 2)),  # as many judged by fits that learn from more
        (RESNET18, 4000, (4000, 3, 1)),
        (VGG16, 610, (600, 3, 3)),
        (VGG16, 900, (900, 3, 2)),
        (VGG16, 1800, (1800, 3, 1)),
        (float("inf"), 4000, (4000, 3, 1)),
    ],
)
def test_what_is_judged_follows_from_the_number_of_images_and_the_cost(
    cost: float, num_images: int, expected: tuple[int, int, int]
):
    chosen = choose_images(num_images, cost)
    assert (chosen.num_images, chosen.num_folds, chosen.num_judged_folds) == expected


@pytest.mark.parametrize("cost", [LENET, RESNET18, RESNET50, VGG16, float("inf")])
def test_more_images_never_give_weaker_evidence_and_the_cost_stays_bounded(cost: float):
    judged = [choose_images(number, cost).num_judged for number in range(40, 4001)]
    assert judged == sorted(judged)
    assert judged[610 - 40] >= judged[600 - 40] == 600
    if cost < float("inf"):
        before = EPOCHS * 2 * 4000 / 3 * cost  # one fold of three, at the most images that the settings allow
        always = EPOCHS * 2 * 600 * cost  # three folds of 600
        for number in range(301, 4001):
            chosen = choose_images(number, cost)
            passes = chosen.num_judged_folds * EPOCHS * chosen.num_images * 2 / 3
            assert passes * cost <= max(3e13, before, always) * 1.001


def test_the_cost_of_tails_is_counted_by_hand():
    model = build_model("lenet5", ModelSpec(num_classes=10, input_CHW=(1, 32, 32)))
    convolution, dense = 5 * 5 * 6 * 16 * 10 * 10, 400 * 120 + 120 * 84 + 84 * 10
    behind = multiply_adds_behind(model, ["stem", "stage1"], (1, 32, 32))
    assert behind == {"stem": convolution + dense, "stage1": dense}


def test_a_ladder_of_610_images_judges_each_of_them(tmp_path: Path):
    draw, rows = np.random.default_rng(0), ["file,label,split"]
    for number in range(640):
        image_HW = (20 * (number % 2) + draw.integers(0, 200, (32, 32))).astype(np.uint8)
        Image.fromarray(image_HW).save(tmp_path / f"{number}.png")
        split = "train" if number < 610 else ("val" if number < 620 else "test")
        rows.append(f"{number}.png,{'ab'[number % 2]},{split}")
    (tmp_path / "set.csv").write_text("\n".join(rows) + "\n")
    torch.manual_seed(3)
    model = build_model("lenet5", ModelSpec(num_classes=7, input_CHW=(1, 32, 32)))
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, tmp_path / "model.safetensors")
    pixels = {"channels": "grey", "input_height_px": 32, "input_width_px": 32, "mean": [0.5], "std": [0.25]}
    (tmp_path / "pixels.json").write_text(json.dumps(pixels))
    request = TransferRequest(
        source=str(tmp_path / "set.csv"),
        backbone="lenet5",
        weights=str(tmp_path / "model.safetensors"),
        epochs=1,
        out=tmp_path / "run",
        cache="none",
        preprocessing=tmp_path / "pixels.json",
        settings=["batch_size=32", "runtime.precision=float32", "runtime.num_threads=1"],
    )
    start = api.transfer(request).start
    assert {rung.num_judged for rung in start.rungs} == {610}
