"""Distances to the fifth nearest training image against scikit-learn; what is falsely called strange against its
share."""

import numpy as np
import pytest
from sklearn.neighbors import NearestNeighbors

from saccade.evaluate.novelty import (
    MIN_VALIDATION,
    Novelty,
    agreed,
    kept_rows,
    measure_novelty,
    nearest_distance,
    unit_rows,
    unlike_sentence,
)


def test_the_distance_is_that_to_the_fifth_nearest_direction():
    draw = np.random.default_rng(0)
    known_MD, feature_ND = draw.normal(size=(300, 17)), draw.normal(size=(700, 17)) * draw.uniform(0.01, 100, (700, 1))
    unit_MD, unit_ND = (value / np.linalg.norm(value, axis=1, keepdims=True) for value in (known_MD, feature_ND))
    wanted_N = NearestNeighbors(n_neighbors=5).fit(unit_MD).kneighbors(unit_ND)[0][:, 4]
    found_N = nearest_distance(feature_ND.astype(np.float32), unit_rows(known_MD.astype(np.float32)))
    np.testing.assert_allclose(found_N, wanted_N, atol=1e-5)
    assert nearest_distance(np.zeros((0, 17), np.float32), unit_rows(known_MD)).shape == (0,)


def test_no_more_are_falsely_called_strange_than_is_said():
    """Of images drawn as the validation images are; on average over 300 draws of these."""
    draw = np.random.default_rng(1)
    for num, share in ((19, 1 / 20), (99, 0.01), (400, 0.01)):
        rates = []
        for _ in range(300):
            novelty = Novelty(
                unit_MD=np.ones((1, 1), np.float16), distance_V=draw.gamma(3, 0.1, num).astype(np.float32)
            )
            rates.append((draw.gamma(3, 0.1, 400) > novelty.threshold).mean())
        assert novelty.share == pytest.approx(share)
        assert np.mean(rates) <= 1.25 * share


def test_strangers_are_told_and_values_that_are_no_numbers_are_strange():
    draw = np.random.default_rng(2)
    train_MD, validation_VD = (draw.normal(0, 0.1, (num, 8)) + np.eye(8)[0] for num in (200, 120))
    novelty = measure_novelty(train_MD, validation_VD)
    assert novelty is not None
    same_ND, other_ND = draw.normal(0, 0.1, (200, 8)) + np.eye(8)[0], draw.normal(0, 0.1, (200, 8)) + np.eye(8)[3]
    assert novelty.is_unlike(other_ND).all()
    assert novelty.is_unlike(same_ND).mean() < 0.05
    assert novelty.is_unlike(train_MD).mean() < 0.05
    assert novelty.is_unlike(np.full((1, 8), np.nan, np.float32)).all()


def test_few_images_tell_nothing():
    train_MD = np.random.default_rng(3).normal(size=(30, 4))
    assert measure_novelty(train_MD, train_MD[: MIN_VALIDATION - 1]) is None
    assert measure_novelty(train_MD, train_MD[:MIN_VALIDATION]) is not None
    assert measure_novelty(train_MD[:4], train_MD) is None


def test_small_classes_are_kept_as_well_as_large_ones():
    label_N = np.repeat([0, 1, 2], [500, 3, 40])
    order_N = np.random.default_rng(4).permutation(543)
    kept = kept_rows(label_N, order_N, 33)
    assert np.bincount(label_N[kept]).tolist() == [15, 3, 15]
    assert (np.diff(kept) > 0).all()
    first = np.flatnonzero(label_N == 0)
    assert set(kept[:15]) == set(first[np.argsort(order_N[first])[:15]])
    assert kept_rows(label_N, order_N, 10_000).tolist() == list(range(543))


def test_of_several_networks_more_than_half_must_say_so():
    yes, no = np.array([True]), np.array([False])
    assert agreed([]) is None
    assert agreed([yes]).all()
    assert not agreed([yes, no]).any()
    assert agreed([yes, no, yes]).all()


def test_how_many_are_strange_is_told_with_what_is_false():
    assert unlike_sentence(4, 400, 0.01) == (
        "4 of 400 images (1.0 %) are unlike anything seen in training; of images that are like those of training, "
        "about 1.0 % are falsely called so."
    )
    assert unlike_sentence(1, 1, 0.05).startswith("1 of 1 image (100.0 %) is unlike anything")
