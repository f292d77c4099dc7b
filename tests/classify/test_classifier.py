"""Ensembles: one pass, probabilities averaged by class name, class lists checked, every file read once."""

import io
import math
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from saccade.classify.classifier import Member, join_members
from saccade.classify.crops import looks, prepare_looks
from saccade.classify.judge import judge, pass_over, weights_bytes
from saccade.classify.judged_images import JudgedImages
from saccade.core.errors import DataError, ImageError, UsageError
from saccade.core.runtime import RuntimeConfig, start
from saccade.core.types import Preprocessing, Record
from saccade.data.images.decode import decode_image
from saccade.data.images.preprocess import prepare_image
from saccade.data.source import DataSource

LARGE = Preprocessing(resize_px=36, input_height_px=32, input_width_px=32)
TINY = Preprocessing(channels="grey", input_height_px=12, input_width_px=10, mean=(0.4,), std=(0.3,))


class Photos(DataSource):
    """Seventy small PNG photos of noise in memory; counts how often each is read."""

    name, classes, digest = "photos", ("cat", "dog", "cow"), "0"

    def __init__(self):
        self.num_reads = Counter()
        draw = np.random.default_rng(5)
        self.files = []
        for _ in range(70):
            size = draw.integers(20, 60, 2)
            file = io.BytesIO()
            Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(file, "PNG")
            self.files.append(file.getvalue())

    def __len__(self):
        return len(self.files)

    def record(self, index):
        return Record(key=f"{index}.png", label=index % 3)

    def read(self, index):
        self.num_reads[index] += 1
        return self.files[index]


def member(preprocessing, classes=("cat", "dog", "cow"), temperature=1.0, seed=0, name="run"):
    torch.manual_seed(seed)
    channels, height_px, width_px = preprocessing.input_CHW
    model = nn.Sequential(nn.Flatten(), nn.Linear(channels * height_px * width_px, len(classes))).eval()
    return Member(
        model=model,
        classes=classes,
        preprocessing=preprocessing,
        temperature=temperature,
        runtime=start(RuntimeConfig(device="cpu", num_threads=1)),
        name=name,
    )


def mean_softmax(one, image_VHWC, temperature=1.0):
    """probability_K by hand in float64: the mean over the looks of softmax(logits / temperature)."""
    logits_VK = one.logits(torch.from_numpy(image_VHWC).permute(0, 3, 1, 2)).numpy().astype(np.float64) / temperature
    exponential_VK = np.exp(logits_VK - logits_VK.max(axis=1, keepdims=True))
    return (exponential_VK / exponential_VK.sum(axis=1, keepdims=True)).mean(axis=0)


def test_one_pass_is_the_mean_of_separate_predictions_and_reads_each_file_once():
    source = Photos()
    first = member(LARGE, seed=1, temperature=0.5)
    second = member(TINY, classes=("cow", "cat", "dog"), seed=2, temperature=2.0)
    wanted = looks(10)
    index_N = np.arange(3, 70)
    result = pass_over(join_members([first, second], wanted), source, index_N)
    assert set(source.num_reads.values()) == {1}
    for place in (0, 31, 32, 66):
        image_HWC = decode_image(source.files[index_N[place]], "x").image_HWC
        p_first = mean_softmax(first, prepare_looks(image_HWC, LARGE, wanted), 0.5)
        p_second = mean_softmax(second, prepare_looks(image_HWC, TINY, wanted), 2.0)
        np.testing.assert_allclose(result.probability_NK[place], (p_first + p_second[[1, 2, 0]]) / 2, atol=1e-6)
        centre_BCHW = torch.from_numpy(prepare_image(image_HWC, LARGE)).permute(2, 0, 1)[None]
        np.testing.assert_allclose(result.centre_logits_MNK[0, place], first.logits(centre_BCHW)[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(result.probability_NK.sum(axis=1), 1)
    assert result.label_N.tolist() == [int(i) % 3 for i in index_N]


def test_a_grid_without_a_centre_leaves_the_centre_out_of_the_mean():
    source, only = Photos(), member(LARGE, seed=1)
    wanted = looks(4)
    result = pass_over(join_members([only], wanted), source, np.array([8]))
    image_HWC = decode_image(source.files[8], "x").image_HWC
    expected = mean_softmax(only, prepare_looks(image_HWC, LARGE, wanted))
    np.testing.assert_allclose(result.probability_NK[0], expected, atol=1e-6)
    assert result.forward_s > 0 < result.centre_M_s[0]


def test_members_with_other_classes_are_refused_by_name():
    with pytest.raises(DataError) as error:
        join_members([member(TINY, name="runs/a"), member(TINY, classes=("cat", "dog", "c\x07w"), name="runs/b")])
    assert str(error.value) == (
        "An ensemble needs the same classes in every run: runs/a knows 'cow', runs/b does not.\n"
        "Train its members on the same set of classes."
    )
    with pytest.raises(DataError, match=r"^An ensemble needs the same classes in every run: b knows 'hen', a does not"):
        join_members([member(TINY, name="a"), member(TINY, classes=("cat", "dog", "cow", "hen"), name="b")])
    with pytest.raises(UsageError, match=r"^An ensemble has 2 to 15 runs, got 16\.$"):
        join_members([member(TINY)] * 16)


def test_a_file_that_cannot_be_read_is_named():
    source = Photos()
    source.files[5] = b"no image"
    with pytest.raises(ImageError, match=r"^5\.png: "):
        pass_over(join_members([member(TINY)]), source, np.arange(10))


def test_memory_counts_every_weight_and_one_batch_of_every_look():
    source = Photos()
    images = JudgedImages(source=source, source_text="photos", index_N=np.arange(3), judged_on="three")
    members = [member(TINY), member(LARGE, seed=1), member(LARGE, seed=2)]
    classifier = join_members(members, looks(10))
    together = judge(classifier, [Path("a"), Path("b"), Path("c")], images, time.monotonic()).together
    assert together.together_batch_bytes == 32 * 10 * (math.prod(TINY.input_CHW) + math.prod(LARGE.input_CHW))
    assert weights_bytes(classifier) == [4 * (120 * 3 + 3), 4 * (3072 * 3 + 3), 4 * (3072 * 3 + 3)]
