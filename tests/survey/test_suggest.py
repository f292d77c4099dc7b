"""`saccade suggest`: BADGE, held to gradients that are written out in full; what is left out is said."""

import csv
import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import saccade as library
from saccade import api
from saccade.core.task import SEVERAL_LABELS
from saccade.data.sources.digits import Digits
from saccade.survey.label_next import choose_badge, choose_spread

DIGITS = Digits()


def gradients(feature_ND: np.ndarray, probability_NK: np.ndarray) -> np.ndarray:
    """float64 (N, K * D): of the loss of the answer at the last layer, by torch's own gradient."""
    found = []
    for feature_D, probability_K in zip(feature_ND, probability_NK, strict=True):
        weight_KD = torch.zeros(len(probability_K), len(feature_D), dtype=torch.float64, requires_grad=True)
        logits_K = torch.log(torch.from_numpy(probability_K)) + weight_KD @ torch.from_numpy(feature_D).double()
        loss = torch.nn.functional.cross_entropy(logits_K[None], torch.tensor([int(probability_K.argmax())]))
        loss.backward()
        found.append(weight_KD.grad.numpy().ravel())
    return np.stack(found)


def drawn_by_the_book(gradient_NX: np.ndarray, count: int, seed: int) -> list[int]:
    """k-means++ on the gradients themselves, the longest first."""
    draw = np.random.default_rng(seed)
    chosen = [int((gradient_NX**2).sum(1).argmax())]
    while len(chosen) < count:
        distance_N = np.min([((gradient_NX - gradient_NX[place]) ** 2).sum(1) for place in chosen], axis=0)
        chosen.append(int(np.searchsorted(np.cumsum(distance_N), draw.random() * distance_N.sum(), side="right")))
    return chosen


@pytest.mark.parametrize("seed", range(5))
def test_images_are_drawn_by_distances_between_their_gradients(seed: int):
    draw = np.random.default_rng(seed)
    feature_ND = draw.normal(size=(60, 7)).astype(np.float32)
    probability_NK = draw.dirichlet(np.ones(4), 60)
    expected = drawn_by_the_book(gradients(feature_ND, probability_NK), 12, seed)
    assert choose_badge(feature_ND, probability_NK, 12, seed).tolist() == expected


def gradients_of_several(feature_ND: np.ndarray, probability_NK: np.ndarray) -> np.ndarray:
    """float64 (N, K * D): of the summed binary cross-entropy, were the more probable side of every class right."""
    found = []
    for feature_D, probability_K in zip(feature_ND, probability_NK, strict=True):
        weight_KD = torch.zeros(len(probability_K), len(feature_D), dtype=torch.float64, requires_grad=True)
        logits_K = torch.logit(torch.from_numpy(probability_K)) + weight_KD @ torch.from_numpy(feature_D).double()
        right_K = torch.from_numpy(probability_K.round())
        torch.nn.functional.binary_cross_entropy_with_logits(logits_K, right_K, reduction="sum").backward()
        found.append(weight_KD.grad.numpy().ravel())
    return np.stack(found)


@pytest.mark.parametrize("seed", range(3))
def test_the_doubts_of_all_classes_count_where_an_image_may_have_several(seed: int):
    draw = np.random.default_rng(seed)
    feature_ND = draw.normal(size=(60, 7)).astype(np.float32)
    probability_NK = draw.random((60, 4))
    expected = drawn_by_the_book(gradients_of_several(feature_ND, probability_NK), 12, seed)
    assert choose_badge(feature_ND, probability_NK, 12, seed, SEVERAL_LABELS).tolist() == expected


@pytest.mark.parametrize("num_known", [0, 15])
def test_numbers_are_drawn_by_distance_from_what_is_known_and_from_each_other(num_known: int):
    draw = np.random.default_rng(3)
    unit_ND = draw.normal(size=(50, 6))
    unit_ND /= np.linalg.norm(unit_ND, axis=1, keepdims=True)
    known_MD = unit_ND[:num_known] if num_known else None
    found = choose_spread(3 * unit_ND, known_MD, 10, seed=1).tolist()
    draw, chosen = np.random.default_rng(1), []
    seen = list(unit_ND[:num_known])
    while len(chosen) < 10:
        if not seen:
            chosen.append(int(draw.integers(50)))
        else:
            distance_N = np.min([((unit_ND - one) ** 2).sum(axis=1) for one in seen], axis=0)
            distance_N[distance_N < 1e-9] = 0
            chosen.append(int(np.searchsorted(np.cumsum(distance_N), draw.random() * distance_N.sum(), side="right")))
        seen.append(unit_ND[chosen[-1]])
    assert found == chosen
    assert len(set(found)) == 10
    assert not set(found) & set(range(num_known))  # the images that are known already
    assert sorted(choose_spread(np.repeat(np.eye(3), 4, axis=0), None, 9) // 4) == [0, 1, 2]


def test_equal_images_are_drawn_once_and_sure_ones_never_twice():
    feature_ND = np.repeat(np.eye(3, dtype=np.float32), [20, 20, 20], axis=0)
    probability_NK = np.tile([0.6, 0.4], (60, 1))
    assert sorted(choose_badge(feature_ND, probability_NK, 10) // 20) == [0, 1, 2]
    sure_NK = np.tile([1.0, 0.0], (60, 1))
    assert len(choose_badge(feature_ND, sure_NK, 10)) == 1
    assert sorted(choose_badge(feature_ND[:1], probability_NK[:1], 10)) == [0]


def test_suggestions_are_listed_written_and_stay_the_same(saccade: Callable, digits_run: Path, new: Path):
    done = saccade("suggest", digits_run, new, "--count", "8", "--csv", "next.csv", "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    assert (told["num_images"], told["num_known"], told["notes"]) == (40, 0, [])
    files = [one["file"] for one in told["suggested"]]
    assert len(set(files)) == 8
    with Path("next.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["image"] for row in rows] == files
    paths = [str(path) for path in sorted(new.iterdir())]
    answers = {answer.key: answer for answer in api.predict(digits_run, paths)}
    probability_NK = np.array([answers[path].probabilities for path in paths])
    expected = choose_badge(library.load(digits_run).features(paths), probability_NK, 8)
    assert files == [paths[place] for place in expected]
    assert [one["class"] for one in told["suggested"]] == [answers[file].top(1)[0][0] for file in files]
    assert [one.key for one in api.suggest(digits_run, new, count=8).suggested] == files
    assert [one.key for one in api.suggest(digits_run, new, count=8, seed=1).suggested] != files


def test_training_images_are_left_out_and_said(saccade: Callable, digits_run: Path, new: Path):
    picture = np.random.default_rng(5).integers(0, 256, (32, 32)).astype(np.uint8)
    for number in range(4):
        Image.fromarray(np.roll(picture, number, axis=1)).save(new / f"noise{number}.png")
    seen = list(islice((index for index in range(300) if library_trained(digits_run, index)), 3))
    for index in seen:
        Image.fromarray(DIGITS.read(index)).save(new / f"seen{index}.png")
    done = saccade("suggest", digits_run, new, "--count", "900", "--json")
    assert done.status == 0, done.errors
    told = json.loads(done.output)
    assert told["num_known"] == 3
    assert not [one for one in told["suggested"] if "seen" in one["file"]]
    assert told["notes"] == [
        "3 images are left out: the run was trained on them, or on nearly the same ones.",
        "900 were asked for, and there are 44.",
    ]
    for path in new.iterdir():
        if "seen" not in path.name:
            path.unlink()
    done = saccade("suggest", digits_run, new)
    assert (done.status, done.errors) == (
        1,
        "error: The run was trained on all 3 images, or on nearly the same ones: they have labels.\n"
        "Give images that it has not seen.\n",
    )
    for path in sorted(new.iterdir())[1:]:
        path.unlink()
    assert saccade("suggest", digits_run, new).errors == (
        "error: The run was trained on the image, or on nearly the same one: it has a label.\n"
        "Give images that it has not seen.\n"
    )


def library_trained(run: Path, index: int) -> bool:
    """Whether the digit `index` was trained on, by what `predict` says of it alone."""
    notes: list[str] = []
    list(api.predict(run, [DIGITS.read(index)], note=notes.append))
    return bool(notes)


def test_bad_files_one_image_and_an_empty_folder(saccade: Callable, digits_run: Path, new: Path):
    (new / "05.png").write_bytes(b"")
    done = saccade("suggest", digits_run, new, "--count", "2", "--quiet")
    assert done.status == 1
    assert done.errors == (
        "error: new/05.png: the file is empty (0 bytes).\n"
        "error: 1 of 40 could not be read; the others were looked at.\n"
    )
    assert done.output.splitlines()[-2:] == [
        "2 images to label next, of 39, by how unsure the network is and how much they differ.",
        "Next: label these, put them among the training images, and train again.",
    ]
    one = json.loads(saccade("suggest", digits_run, "new/06.png", "--json").output)
    assert [image["file"] for image in one["suggested"]] == ["new/06.png"]
    assert one["notes"] == ["50 were asked for, and there are 1."]
    Path("empty").mkdir()
    done = saccade("suggest", digits_run, "empty", "--json")
    assert (done.status, done.output) == (1, "")
    assert done.errors.endswith("error: No image could be used, so none is suggested.\n")
    done = saccade("similar", digits_run, "new/06.png", "empty")
    assert done.output == "0 images compared with new/06.png: no other image is there.\n"
    assert (done.status, done.errors.splitlines()[-1]) == (1, "error: No image could be used.")
    done = saccade("suggest", digits_run, new, "--count", "0")
    assert (done.status, done.errors) == (
        2,
        "error: --count must be 1 or more, not 0.\nHelp: saccade suggest --help\n",
    )


def test_features_that_are_equal_leave_little_to_suggest(saccade: Callable, digits_run: Path, new: Path):
    content = (new / "00.png").read_bytes()
    for path in new.iterdir():
        path.write_bytes(content)
    told = json.loads(saccade("suggest", digits_run, new, "--json").output)
    assert len(told["suggested"]) == 1
    assert told["notes"] == [
        "Only 1 image can teach the network something new: to it, each of the others is like one of these, or beyond "
        "doubt."
    ]


def test_a_list_that_cannot_be_written_is_told_before_the_images_are_read(
    saccade: Callable, digits_run: Path, new: Path
):
    (new / "05.png").write_bytes(b"")  # would be told first
    Path("folder").mkdir()
    for arguments in (["suggest", digits_run, new, "--csv", "folder"], ["similar", digits_run, new / "00.png", new]):
        more = [] if arguments[0] == "suggest" else ["--sheet", "folder.svg"]
        Path("folder.svg").mkdir(exist_ok=True)
        done = saccade(*arguments, *more)
        name = "folder" if arguments[0] == "suggest" else "folder.svg"
        assert (done.status, done.errors) == (
            1,
            f"error: Cannot write {name}: it is a folder.\nGive the name of a file.\n",
        )
