"""Confident mistakes, suspected labels and their CSV."""

import csv
import io

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits

from saccade.evaluate.mistakes import (
    cross_validated_probabilities,
    find_mistakes,
    mistakes_csv,
    safe_cell,
    suspected_labels,
    write_mistakes,
)


def noisy_case(seed, num=300, num_classes=4, num_flipped=15):
    """Good probabilities for true classes, and labels of which `num_flipped` were changed."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(num_classes, size=num)
    logits = draw.normal(0, 1, (num, num_classes))
    logits[np.arange(num), truth] += 5
    labels = truth.copy()
    labels[:num_flipped] = (labels[:num_flipped] + 1) % num_classes
    return softmax(logits, axis=1), labels


def slow_confident_learning(probability_NK, label_N):
    """Section 3.1 of the paper, image by image."""
    num_classes = probability_NK.shape[1]
    threshold = [np.mean([p[k] for p, label in zip(probability_NK, label_N) if label == k]) for k in range(num_classes)]
    found = []
    for i, p in enumerate(probability_NK):
        counted = [k for k in range(num_classes) if p[k] >= threshold[k]]
        likely = max(counted, key=lambda k: p[k], default=label_N[i])
        if likely != label_N[i] and p.argmax() != label_N[i]:
            found.append(i)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_suspected_labels_follow_the_paper_and_find_flipped_ones(seed):
    probabilities, labels = noisy_case(seed)
    found = suspected_labels(probabilities, labels)
    assert sorted(found.tolist()) == slow_confident_learning(probabilities, labels)
    assert len(set(found.tolist()) & set(range(15))) >= 11  # the mean as threshold leaves some out
    assert len(set(found.tolist()) - set(range(15))) <= 3
    own = probabilities[found, labels[found]]
    assert (np.diff(own) >= 0).all()


@pytest.mark.parametrize("seed", range(3))
def test_suspected_labels_are_those_of_cleanlab(seed):
    cleanlab = pytest.importorskip("cleanlab.filter", reason="cleanlab is not installed; it is only compared with")
    probabilities, labels = noisy_case(seed)
    theirs = cleanlab.find_label_issues(labels, probabilities, filter_by="confident_learning", n_jobs=1)
    assert sorted(suspected_labels(probabilities, labels).tolist()) == np.flatnonzero(theirs).tolist()


def test_an_unsure_network_accuses_nobody():
    probability = np.array([[0.4, 0.35, 0.25]] * 30)
    labels = np.array([0] * 10 + [1] * 10 + [2] * 10)
    found = find_mistakes(np.log(probability), labels, [str(i) for i in range(30)], ["a", "b", "c"])
    assert len(found) == 20
    assert not any(mistake.may_be_mislabelled for mistake in found)
    probability[29] = [0.9, 0.05, 0.05]
    found = find_mistakes(np.log(probability), labels, [str(i) for i in range(30)], ["a", "b", "c"])
    assert [mistake.key for mistake in found if mistake.may_be_mislabelled] == ["29"]


def test_a_class_without_images_is_never_suspected():
    probabilities = np.array([[0.1, 0.2, 0.7], [0.6, 0.1, 0.3], [0.2, 0.6, 0.2]])
    assert suspected_labels(probabilities, np.array([0, 0, 1])).tolist() == []


def test_cross_validation_finds_flipped_labels_of_real_digits():
    digits = load_digits()
    image_ND, label_N = digits.data[:600].astype(np.float64), digits.target[:600].copy()
    flipped = np.arange(0, 600, 30)
    label_N[flipped] = (label_N[flipped] + 5) % 10
    probabilities = cross_validated_probabilities(image_ND, label_N, 10, seed=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    found = set(suspected_labels(probabilities, label_N).tolist())
    assert len(found & set(flipped.tolist())) >= 13
    assert len(found - set(flipped.tolist())) <= 5


def test_cross_validation_survives_a_class_with_one_image():
    feature_ND = np.random.default_rng(0).normal(size=(21, 3))
    label_N = np.array([0] * 10 + [1] * 10 + [2])
    probabilities = cross_validated_probabilities(feature_ND, label_N, 4)
    assert probabilities[20, 2] == 0
    assert (probabilities[:, 3] == 0).all()


def test_mistakes_come_surest_first_with_both_probabilities():
    logits = np.log(np.array([[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.05, 0.05, 0.9], [0.7, 0.2, 0.1]]))
    found = find_mistakes(logits, np.array([1, 1, 0, 1]), ["a", "b", "c", "d"], ["cat", "dog", "cow"])
    assert [(m.key, m.label, m.said) for m in found] == [("c", "cat", "cow"), ("d", "dog", "cat"), ("a", "dog", "cat")]
    assert (found[0].said_probability, found[0].label_probability) == (pytest.approx(0.9), pytest.approx(0.05))
    assert found[0].position == 2


@pytest.mark.parametrize(
    "text", ["=1+1", "+1", "-2+3", "@SUM(A1)", "\t=1", " =1", "\n=1", "|x", "%x", "\r=cmd|' /C calc'!A0"]
)
def test_no_text_is_run_by_a_spreadsheet(text):
    assert safe_cell(text).startswith("'")
    assert "\n" not in safe_cell(text)


def test_csv_keeps_odd_names_in_their_own_cells(tmp_path):
    logits = np.array([[0.0, 3.0], [0.0, 2.0]])
    keys = ['cat/a,"b".jpg', "=cat/\nx.jpg"]
    found = find_mistakes(logits, np.array([0, 0]), keys, ["cat", "@dog"])
    write_mistakes(tmp_path / "mistakes.csv", found)
    text = (tmp_path / "mistakes.csv").read_bytes().decode()
    assert text == mistakes_csv(found)
    rows = list(csv.reader(io.StringIO(text)))
    assert rows[0] == ["image", "label", "said", "said_probability", "label_probability", "label_may_be_wrong"]
    assert rows[1] == ['cat/a,"b".jpg', "cat", "'@dog", "0.952574", "0.047426", "no"]
    assert rows[2][0] == "'=cat/\\nx.jpg"
