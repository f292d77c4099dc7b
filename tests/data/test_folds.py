"""Folds: each image in one, groups whole, every class spread as evenly as scikit-learn spreads it."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold
from tests.data.test_split_groups import Grouped

from saccade.core.errors import DataError
from saccade.core.types import Record
from saccade.data.folds import deal_folds
from saccade.data.scan import scan_source
from saccade.data.split import split_source


def folds(source: Grouped, num_folds: int, seed: int = 0) -> np.ndarray:
    index_N, fold_N = deal_folds(source, scan_source(source, 1), num_folds, seed)
    assert index_N.tolist() == list(range(len(source)))
    return fold_N


def unevenness(label_N: np.ndarray, fold_N: np.ndarray, num_folds: int) -> float:
    """The mean over classes of the standard deviation of a class's images over the folds, over what is wanted."""
    count_FK = np.array([np.bincount(label_N[fold_N == k + 1], minlength=label_N.max() + 1) for k in range(num_folds)])
    wanted_K = count_FK.sum(axis=0) / num_folds
    return float((count_FK.std(axis=0) / wanted_K).mean())


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_every_image_is_in_one_fold_and_its_group_with_it(data: st.DataObject):
    num_folds = data.draw(st.integers(2, 6))
    labels = data.draw(st.lists(st.integers(0, 2), min_size=0, max_size=80)) + [0, 1, 2] * num_folds
    drawn = data.draw(st.lists(st.none() | st.sampled_from("abcd"), min_size=len(labels), max_size=len(labels)))
    groups = [*drawn[: -3 * num_folds], *[None] * (3 * num_folds)]
    fold_N = folds(Grouped(labels, groups), num_folds, data.draw(st.integers(0, 3)))
    assert set(fold_N.tolist()) == set(range(1, num_folds + 1))
    for group in set(groups) - {None}:
        assert len({fold for fold, own in zip(fold_N.tolist(), groups, strict=True) if own == group}) == 1


@pytest.mark.parametrize("seed", range(4))
def test_single_images_are_spread_as_by_scikit_learn_to_within_one_image_a_class(seed: int):
    label_N = np.random.default_rng(seed).choice(4, 203, p=[0.5, 0.3, 0.15, 0.05])
    label_N[:20] = 3
    fold_N = folds(Grouped(label_N.tolist(), [None] * 203), 5, seed)
    reference = StratifiedKFold(5, shuffle=True, random_state=seed).split(label_N, label_N)
    wanted = sorted(Counter(label_N[test_M].tolist())[3] for _, test_M in reference)
    assert sorted(Counter(label_N[fold_N == k + 1].tolist())[3] for k in range(5)) == wanted
    sizes = np.bincount(fold_N)[1:]
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("seed", range(6))
def test_groups_of_any_size_are_spread_no_worse_than_by_scikit_learn(seed: int):
    generator = np.random.default_rng(seed)
    groups, labels = [], []
    for patient in range(40):
        size = int(generator.integers(1, 25))
        groups += [f"patient {patient}"] * size
        labels += generator.choice(3, size, p=generator.dirichlet([0.6, 0.6, 0.6])).tolist()
    label_N, group_N = np.array(labels), np.array(groups)
    own = unevenness(label_N, folds(Grouped(labels, groups), 5, seed), 5)
    reference_N = np.zeros(len(labels), int)
    for number, (_, test_M) in enumerate(StratifiedGroupKFold(5).split(label_N, label_N, group_N)):
        reference_N[test_M] = number + 1
    assert own < 0.12
    assert own < 0.02 + unevenness(label_N, reference_N, 5)


def test_given_folds_are_kept_as_groups():
    folds_given = [f"fold {index % 5}" for index in range(200)]
    fold_N = folds(Grouped([index % 4 for index in range(200)], folds_given), 5)
    assert len({(given, fold) for given, fold in zip(folds_given, fold_N.tolist(), strict=True)}) == 5


class Copied(Grouped):
    """Images of which each is there twice."""

    def read(self, index: int) -> np.ndarray:
        return super().read(index // 2)


def test_equal_images_are_in_one_fold_and_another_order_changes_nothing():
    labels = [index // 2 % 3 for index in range(120)]
    source = Copied(labels, [None] * 120)
    fold_N = folds(source, 4)
    assert (fold_N[::2] == fold_N[1::2]).all()

    class Turned(Copied):
        def record(self, index: int) -> Record:
            return super().record(119 - index)

        def read(self, index: int) -> np.ndarray:
            return super().read(119 - index)

    assert (folds(Turned(labels, [None] * 120), 4)[::-1] == fold_N).all()
    assert (folds(source, 4, seed=1) != fold_N).any()


class Given(Grouped):
    """The first third is a given test part, the next ten images a given validation part."""

    def record(self, index: int) -> Record:
        split = "test" if index < 40 else "validation" if index < 50 else "train"
        return Record(key=str(index), label=self.labels[index], split=split)


def test_given_parts_are_in_no_fold_and_serve_what_they_are_for():
    source = Given([index % 2 for index in range(120)], [None] * 120)
    scan = scan_source(source, 1)
    index_N, fold_N = deal_folds(source, scan, 5, 0)
    assert index_N.tolist() == list(range(50, 120))
    of_fold = split_source(source, scan, 0, fold=(index_N[fold_N == 2], "fold 2 of 5"))
    assert of_fold.test_N.tolist() == index_N[fold_N == 2].tolist()
    assert of_fold.validation_N.tolist() == list(range(40, 50))
    assert of_fold.train_N.tolist() == index_N[fold_N != 2].tolist()
    assert of_fold.origin == "fold 2 of 5; train, validation, test as given"
    for_use = split_source(source, scan, 0, fold=(np.zeros(0, np.int64), "judged by 5 folds"))
    assert for_use.test_N.tolist() == list(range(40))
    assert for_use.train_N.tolist() == list(range(50, 120))


def test_all_images_train_the_run_for_use_but_those_that_choose_its_epoch():
    source = Grouped([index % 2 for index in range(100)], [None] * 100)
    split = split_source(source, scan_source(source, 1), 0, fold=(np.zeros(0, np.int64), "judged by 5 folds"))
    assert (len(split.train_N), len(split.validation_N), len(split.test_N)) == (90, 10, 0)


@pytest.mark.parametrize(
    ("labels", "groups", "message"),
    [
        (
            [0, 1, 0],
            [None] * 3,
            "grouped has 3 training images, fewer than the 5 folds.\nAdd images, or take fewer folds.",
        ),
        (
            [0, 1] * 20,
            ["a", "b", "c", "d"] * 10,
            "grouped has 4 groups of training images that must stay together (equal ones, near duplicates, groups of "
            "the source), fewer than the 5 folds.\nAdd images from elsewhere, or take fewer folds.",
        ),
        (
            [0, 1] * 20,
            ["a"] * 40,
            "grouped has one group of training images that must stay together (equal ones, near duplicates, groups of "
            "the source), fewer than the 5 folds.\nAdd images from elsewhere, or take fewer folds.",
        ),
        (
            [0] * 20 + [1],
            [None] * 21,
            "'class 1' has 1 training image, fewer than the 5 folds, so some folds could not judge it.\n"
            "Take fewer folds, add images of it, or leave the class out.",
        ),
        (
            [0] * 20 + [1] * 6,
            [None] * 20 + ["one scene"] * 6,
            "All 6 training images of 'class 1' must stay together (equal ones, near duplicates, or one group of the "
            "source): the model that judges them would not know the class.\n"
            "Add images of it from elsewhere, or leave the class out.",
        ),
    ],
)
def test_sets_that_are_too_small_are_refused(labels: list[int], groups: list[str | None], message: str):
    source = Grouped(labels, groups)
    with pytest.raises(DataError) as error:
        deal_folds(source, scan_source(source, 1), 5, 0)
    assert str(error.value) == message
