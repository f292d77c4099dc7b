"""Confident mistakes, suspected labels and their CSV."""

import csv
import io

import numpy as np
import pytest
from scipy.special import softmax
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tests.evaluate.cleanlab_table import read_cases

from saccade.core.task import Task
from saccade.evaluate.label_errors import suspect_labels
from saccade.evaluate.mistakes import (
    cross_validated_probabilities,
    find_mistakes,
    mistakes_csv,
    name_suspects,
    safe_cell,
    suspect_answers,
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


def test_labels_of_every_kind_are_suspected_by_what_is_said_of_their_images():
    draw = np.random.default_rng(3)
    label_NK = draw.integers(2, size=(400, 3))
    label_NK[:, 2] = 1  # of one side only: nothing tells
    probability_NK = 1 / (1 + np.exp(-(draw.normal(0, 1, (400, 3)) + np.where(label_NK, 5, -5))))
    given_NK, several = label_NK.copy(), Task(kind="several labels")
    given_NK[:12, 0] ^= 1
    found = suspect_answers(several, probability_NK, given_NK)
    assert set(found.position_S.tolist()) == set(range(12))
    named = name_suspects(several, found.listed(), probability_NK, given_NK, [f"{i}" for i in range(400)], list("abc"))
    assert {(one.key, one.label, one.suggested) for one in named} == {
        (f"{i}", *(("a", "not a") if given_NK[i, 0] else ("not a", "a"))) for i in range(12)
    }
    value_N = draw.uniform(0, 100, 400)
    said_N = value_N + draw.normal(0, 2, 400)
    given_N, number = value_N.copy(), Task(kind="number")
    given_N[:12] = (given_N[:12] + 50) % 100
    far = suspect_answers(number, said_N[:, None], given_N)
    assert set(far.position_S.tolist()) == set(range(12))
    told = name_suspects(number, far.listed(), said_N[:, None], given_N, [""] * 400, ["size"])
    assert [one.numbers for one in told] == [(given_N[one.position], said_N[one.position]) for one in told]


@pytest.mark.parametrize("case", read_cases())
def test_of_as_many_labels_as_cleanlab_lists_at_least_as_many_are_wrong(case):
    """What cleanlab 2.9.0 lists of the same probabilities is written down (`cleanlab_table.py` asks it again)."""
    order_N = suspect_labels(case.probability_NK, case.label_N).order_N
    for listed_N in (case.default_N, case.thorough_N):
        assert listed_N.sum() >= 4
        assert case.is_wrong_N[order_N[: listed_N.sum()]].sum() >= case.is_wrong_N[listed_N].sum()


def marked(probability_NK, label_N):
    """Positions of the mistakes that are marked."""
    keys = [str(i) for i in range(len(label_N))]
    found = find_mistakes(np.log(probability_NK), label_N, keys, [f"c{k}" for k in range(probability_NK.shape[1])])
    return {mistake.position for mistake in found if mistake.may_be_mislabelled}


def test_a_good_network_marks_flipped_labels():
    probabilities, labels = noisy_case(0)
    positions = marked(probabilities, labels)
    assert len(positions & set(range(15))) >= 11
    assert len(positions - set(range(15))) <= 2


def test_a_weak_network_marks_nothing():
    """Its mistakes are as many as its confidences say."""
    draw = np.random.default_rng(1)
    probabilities = softmax(1.5 * draw.normal(size=(300, 4)), axis=1)
    labels = (draw.random((300, 1)) < probabilities.cumsum(axis=1)).argmax(axis=1)
    assert 0.4 < (probabilities.argmax(axis=1) == labels).mean() < 0.7
    assert suspect_labels(probabilities, labels).num_named > 90
    assert marked(probabilities, labels) == set()


def test_cross_validation_finds_flipped_labels_of_real_digits():
    digits = load_digits()
    image_ND, label_N = digits.data[:600].astype(np.float64), digits.target[:600].copy()
    flipped = np.arange(0, 600, 30)
    label_N[flipped] = (label_N[flipped] + 5) % 10
    probabilities = cross_validated_probabilities(image_ND, label_N, 10, seed=1)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    found = set(suspect_labels(probabilities, label_N).position_S.tolist())
    assert len(found & set(flipped.tolist())) >= 16
    assert len(found - set(flipped.tolist())) <= 5


def test_copies_do_not_vouch_for_each_others_labels():
    """Each digit twice, its copy with the same label, wrong for 5 %: apart, nearly none was found."""
    digits = load_digits()
    once_ND, once_N = digits.data[:400].astype(np.float64), digits.target[:400].copy()
    flipped = np.arange(0, 400, 20)
    once_N[flipped] = (once_N[flipped] + 5) % 10
    image_ND, label_N, group_N = np.repeat(once_ND, 2, axis=0), np.repeat(once_N, 2), np.repeat(np.arange(400), 2)
    wrong = set(np.flatnonzero(np.isin(group_N, flipped)).tolist())
    apart, together = (
        set(
            suspect_labels(
                cross_validated_probabilities(image_ND, label_N, 10, 1, groups), label_N, groups
            ).position_S.tolist()
        )
        for groups in (None, group_N)
    )
    assert len(together & wrong) >= 26  # of 40
    assert len(together & wrong) / len(together) >= 0.7
    assert len(apart & wrong) < len(together & wrong) / 2


def test_the_penalty_follows_what_answers_well_for_images_left_out():
    """Few images in many dimensions of noise want a strong penalty, clean classes a weak one; scikit-learn's own
    answers with each are the reference."""
    draw = np.random.default_rng(2)
    label_N = np.arange(120) % 3
    for spread in (0.3, 6.0):
        feature_ND = 3 * np.eye(3)[label_N] + spread * draw.normal(size=(120, 3))
        feature_ND = np.hstack([feature_ND, draw.normal(size=(120, 60))])
        found = cross_validated_probabilities(feature_ND, label_N, 3, seed=4)
        losses = []
        for freedom in (0.001, 0.01, 0.1, 1.0, 10.0):
            model = make_pipeline(StandardScaler(), LogisticRegression(C=freedom, max_iter=1000))
            folds = StratifiedKFold(5, shuffle=True, random_state=0)
            theirs = cross_val_predict(model, feature_ND, label_N, cv=folds, method="predict_proba")
            losses.append(log_loss(label_N, theirs))
        assert log_loss(label_N, found) < min(losses) + 0.15  # a standard error, and other folds
        assert log_loss(label_N, found) < max(losses) / 1.5


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
