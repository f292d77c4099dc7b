"""Costs of answers and the decision of least expected cost, against enumeration; tables that are refused."""

from pathlib import Path

import numpy as np
import pytest

from saccade.core.errors import DataError, SaccadeError, UsageError
from saccade.evaluate.costs import (
    CostTable,
    LabelCosts,
    decide,
    measure_costs,
    measure_label_costs,
    read_costs,
    read_label_costs,
)

CLASSES = ("cat", "dog", "fox")


@pytest.mark.parametrize("seed", range(50))
def test_no_other_decision_has_a_smaller_expected_cost(seed: int):
    draw = np.random.default_rng(seed)
    num_columns = 3 + seed % 2
    table = CostTable(cost_KJ=draw.integers(0, 10, (3, num_columns)).astype(float))
    probability_NK = draw.dirichlet(np.ones(3), 40)
    chosen_N = decide(probability_NK, table)
    for probability_K, chosen in zip(probability_NK, chosen_N, strict=True):
        expected = [sum(probability_K[k] * table.cost_KJ[k, j] for k in range(3)) for j in range(num_columns)]
        assert expected[chosen] == pytest.approx(min(expected), abs=1e-9)


def test_where_all_mistakes_cost_the_same_the_most_probable_class_is_the_answer():
    probability_NK = np.random.default_rng(0).dirichlet(np.ones(3), 200)
    assert (decide(probability_NK, CostTable(cost_KJ=1 - np.eye(3))) == probability_NK.argmax(axis=1)).all()
    assert (decide(probability_NK, CostTable(cost_KJ=np.zeros((3, 4)))) == probability_NK.argmax(axis=1)).all()


def test_the_costs_are_the_means_over_images():
    table = CostTable(cost_KJ=np.array([[0.0, 1.0, 0.4], [10.0, 0.0, 0.4]]))
    assert table.may_abstain
    probability_NK = np.array([[0.7, 0.3], [0.99, 0.01], [0.2, 0.8], [0.6, 0.4]])
    costs = measure_costs(probability_NK, np.array([0, 0, 1, 1]), table)
    assert costs.said == pytest.approx((0 + 0 + 0 + 10) / 4)
    assert decide(probability_NK, table).tolist() == [2, 0, 1, 2]
    assert costs.least == pytest.approx((0.4 + 0 + 0 + 0.4) / 4)
    assert (costs.num_changed, costs.num_unanswered) == (2, 2)
    assert costs.difference == pytest.approx(costs.least - costs.said)
    assert costs.low <= costs.difference <= costs.high
    assert costs.sentence() == (
        f"The answers cost 2.5 an image. Those of least expected cost cost 0.2 (-2.3, 95 % interval {costs.low:+.4g} "
        f"to {costs.high:+.4g}; no difference is shown): 2 of 4 answers change, 2 of them to no answer."
    )


def test_calibrated_probabilities_make_the_decision_cheaper_than_the_answers():
    draw = np.random.default_rng(1)
    probability_NK = draw.dirichlet(np.ones(3), 3000)
    label_N = (probability_NK.cumsum(axis=1) > draw.random((3000, 1))).argmax(axis=1)
    table = CostTable(cost_KJ=np.array([[0.0, 1, 1], [1, 0, 1], [20, 20, 0]]))
    costs = measure_costs(probability_NK, label_N, table)
    assert costs.high < 0
    expected = (probability_NK @ table.cost_KJ).min(axis=1).mean()
    assert costs.least == pytest.approx(expected, rel=0.1)


def test_a_table_is_read_by_names_in_any_order(tmp_path: Path):
    path = tmp_path / "costs.csv"
    path.write_text("true,fox,cat,dog,no answer\ndog,1,2,0,0.5\nfox,0,3,4,0.5\ncat,5,0,6,0.5\n")
    table = read_costs(path, CLASSES)
    assert table.cost_KJ.tolist() == [[0, 6, 5, 0.5], [2, 0, 1, 0.5], [3, 4, 0, 0.5]]
    path.write_bytes(b"\xef\xbb\xbftrue,cat,dog,fox\r\ncat,0,1,1\r\ndog,1,0,1\r\nfox,1,1,0\r\n")
    assert not read_costs(path, CLASSES).may_abstain


@pytest.mark.parametrize("sign", [";", "\t"])
def test_a_table_of_a_spreadsheet_that_writes_decimal_commas_is_read(tmp_path: Path, sign: str):
    path = tmp_path / "costs.csv"
    rows = (
        ("true", "cat", "dog", "fox"),
        ("cat", "0", "0,5", "1"),
        ("dog", "1", "0", "2.5"),
        ("fox", "10,25", "1", "0"),
    )
    path.write_text("\r\n".join(sign.join(row) for row in rows))
    assert read_costs(path, CLASSES).cost_KJ.tolist() == [[0, 0.5, 1], [1, 0, 2.5], [10.25, 1, 0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path} holds no table: it takes the answers in the first line and a line for each class.\n"),
        ("true,cat,dog\n", "{path} holds no table: "),
        ("true,cat,dog\ncat,0,1\ndog,1,0\n", "{path}, line 1: there is no column for 'fox'.\nEvery class of the run"),
        ("true,cat,dog,fix\ncat,0,1,1\n", "{path}, line 1: the run does not know a class 'fix'. Did you mean 'fox'?"),
        ("true,cat,dog,dog\ncat,0,1,1\n", "{path}, line 1: 'dog' stands there twice."),
        ("true,cat,dog,fox\ncat,0,1,1\ndog,1,0,1\n", "{path}, column 1: there is no line for 'fox'.\nEvery class"),
        ("true,cat,dog,fox\ncat,0,1\ndog,1,0,1\nfox,1,1,0\n", "{path}, line 2 has 3 cells, and line 1 has 4.\n"),
        (
            'true,cat,dog,fox\ncat,0,"1,000",1\ndog,1,0,1\nfox,1,1,0\n',
            "{path}, line 2, column 'dog': '1,000' is not a cost.\nWrite decimals with a point: 0.5.",
        ),
        ("true,cat,dog,fox\ncat,0,x,1\ndog,1,0,1\nfox,1,1,0\n", "{path}, line 2, column 'dog': 'x' is not a cost."),
        ("true,cat,dog,fox\ncat,0,inf,1\ndog,1,0,1\nfox,1,1,0\n", "{path}, line 2, column 'dog': 'inf' is not a cost."),
        ("true,cat,dog,fox\ncat,0,1e99,1\ndog,1,0,1\nfox,1,1,0\n", "{path}, line 2, column 'dog': '1e99' is not a"),
    ],
)
def test_a_table_with_a_slip_is_refused_by_its_place(tmp_path: Path, text: str, message: str):
    path = tmp_path / "costs.csv"
    path.write_text(text)
    with pytest.raises(DataError) as error:
        read_costs(path, CLASSES)
    assert error.value.message.startswith(message.format(path=path))
    assert len(error.value.message.splitlines()) <= 4


def test_what_is_no_table_at_all_is_refused(tmp_path: Path):
    with pytest.raises(UsageError) as error:
        read_costs(tmp_path / "gone.csv", CLASSES)
    assert error.value.message == f"There is no file of costs at {tmp_path / 'gone.csv'}."
    (tmp_path / "bytes.csv").write_bytes(b"true,\xff\n")
    with pytest.raises(DataError, match="byte 6 is not UTF-8 text"):
        read_costs(tmp_path / "bytes.csv", CLASSES)
    with pytest.raises(SaccadeError):
        read_costs(tmp_path, CLASSES)


def test_of_several_labels_what_is_missed_and_what_is_given_wrongly_is_added_up():
    """By hand: image 1 misses the first label (5), image 2 is given the second wrongly (2), image 3 is right."""
    table = LabelCosts(missed_K=np.array([5.0, 1.0]), given_K=np.array([1.0, 2.0]))
    label_NK = np.array([[1, 0], [0, 0], [1, 1]])
    probability_NK = np.array([[0.3, 0.1], [0.1, 0.6], [0.9, 0.7]])
    said_NK = probability_NK >= 0.5
    found = measure_label_costs(probability_NK, label_NK, table, said_NK)
    assert found.said == pytest.approx((5 + 2 + 0) / 3)
    # said from 1 / 6 and from 2 / 3 on: the first label is not missed, the second not given wrongly
    assert found.least == 0
    assert (found.num_changed, found.num_images, found.num_unanswered) == (2, 3, 0)
    free = LabelCosts(missed_K=np.zeros(2), given_K=np.zeros(2))
    assert measure_label_costs(probability_NK, label_NK, free, said_NK).num_changed == 0


def test_a_table_of_several_labels_is_read_by_names_and_refused_in_words(tmp_path: Path):
    path = tmp_path / "costs.csv"
    path.write_text("class,given,missed\ndog,1,5\ncat,0.5,2\n")
    table = read_label_costs(path, ("cat", "dog"))
    assert (table.missed_K.tolist(), table.given_K.tolist()) == ([2, 5], [0.5, 1])
    for text, message in {
        "class,given,missed\ndog,1,5\n": (
            f"{path}, column 1: there is no line for 'cat'.\nEvery class of the run has one."
        ),
        "class,given,missed\ndog,1,5\ncat,x,5\n": f"{path}, line 3, column 'given': 'x' is not a cost.",
    }.items():
        path.write_text(text)
        with pytest.raises(DataError) as caught:
            read_label_costs(path, ("cat", "dog"))
        assert caught.value.message == message


@pytest.mark.parametrize(("num_images", "is_shown"), [(1, False), (5, False), (6, True)])
def test_a_few_images_that_all_go_one_way_show_nothing(num_images: int, is_shown: bool):
    """The bootstrap draws nothing else from them; by the sign test five of five have p = 2 / 2^5 = 0.06."""
    table = CostTable(cost_KJ=np.array([[0.0, 1.0, 0.4], [1.0, 0.0, 0.4]]))
    costs = measure_costs(np.tile([0.55, 0.45], (num_images, 1)), np.ones(num_images, int), table)
    assert (costs.low, costs.high) == pytest.approx((-0.6, -0.6))
    assert costs.is_shown == is_shown
    assert ("no difference is shown" in costs.sentence()) == (not is_shown)
