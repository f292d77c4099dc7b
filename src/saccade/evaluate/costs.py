"""What wrong answers cost: a table of costs, the cost of the answers, and of those that cost least by the
probabilities.

An image costs what the table says for its class and the answer. The decision of least expected cost takes the answer
with the smallest sum of probability times cost (Elkan 2001, IJCAI, section 2), and no answer where that is cheaper
(Chow 1970, IEEE Transactions on Information Theory 16, 41-46); it is as good as the probabilities are calibrated.

Where an image may have several labels, each class costs by itself: what is missed, and what is given wrongly. It is
said where its probability times the first is more than the rest times the second; an image costs the sum.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..core.documents import DocumentError, read_plain_file
from ..core.errors import DataError, UsageError, did_you_mean, printable
from ..core.plain_numbers import plain_float
from .significance import paired_bootstrap

NO_ANSWER = "no answer"
MAX_BYTES = 64 << 20
MAX_COST = 1e12
SEPARATORS = (",", ";", "\t")  # the first that cuts line 1; spreadsheets write the others where 0,5 is a half

FEWEST_DIFFERING = 6


@dataclass(frozen=True, kw_only=True)
class CostTable:
    """`cost_KJ[true, said]`; J is K, or K + 1 where the last column is what no answer costs."""

    cost_KJ: np.ndarray

    @property
    def may_abstain(self) -> bool:
        """Whether the table says what no answer costs."""
        return bool(self.cost_KJ.shape[1] > self.cost_KJ.shape[0])


@dataclass(frozen=True, kw_only=True)
class LabelCosts:
    """Of several labels: what a label of each class costs that is missed, and one that is given wrongly."""

    missed_K: np.ndarray
    given_K: np.ndarray

    def of_answers(self, label_NK: np.ndarray, said_NK: np.ndarray) -> np.ndarray:
        """float64 (N,): what each image costs; both are 0 and 1, or bool."""
        label_NK, said_NK = label_NK.astype(bool), said_NK.astype(bool)
        cost_N: np.ndarray = (label_NK & ~said_NK) @ self.missed_K + (~label_NK & said_NK) @ self.given_K
        return cost_N


@dataclass(frozen=True, kw_only=True)
class Costs:
    """Mean cost of an image: `said` of the answers as they are, `least` of the decisions of least expected cost, and by
    how much these differ, `difference` within `low` to `high` (95 %, paired bootstrap). `num_changed` decisions differ
    from the answers, `num_unanswered` of them are to give none; `num_differing` images cost more or less by them."""

    said: float
    least: float
    difference: float
    low: float
    high: float
    num_images: int
    num_changed: int
    num_unanswered: int
    num_differing: int

    @property
    def is_shown(self) -> bool:
        """Whether a difference is: of fewer than six images that differ all may go one way by chance (sign test,
        2 / 2^5 = 6 %), however narrow the interval."""
        return self.low * self.high > 0 and self.num_differing >= FEWEST_DIFFERING

    def sentence(self) -> str:
        """Both costs, and whether one is shown to be lower."""
        changed = f"{self.num_changed:,} of {self.num_images:,} answers change"
        if self.num_unanswered:
            changed += f", {self.num_unanswered:,} of them to no answer"
        shown = "" if self.is_shown else "; no difference is shown"
        return (
            f"The answers cost {self.said:.4g} an image. Those of least expected cost cost {self.least:.4g} "
            f"({self.difference:+.4g}, 95 % interval {self.low:+.4g} to {self.high:+.4g}{shown}): {changed}."
        )

    def as_json(self) -> dict[str, Any]:
        """The value of `costs` in `evaluate --json`; its keys are a contract."""
        return {
            "cost": self.said,
            "least_expected_cost": self.least,
            "difference": self.difference,
            "difference_low": self.low,
            "difference_high": self.high,
            "num_changed": self.num_changed,
            "num_unanswered": self.num_unanswered,
        }


def decide(probability_NK: np.ndarray, table: CostTable) -> np.ndarray:
    """int64 (N,): the column of least expected cost for each image; of equal ones the most probable class."""
    expected_NJ = probability_NK @ table.cost_KJ
    least_N1 = expected_NJ.min(axis=1, keepdims=True)
    is_least_NJ = expected_NJ <= least_N1 + 1e-12 * np.maximum(np.abs(least_N1), 1)
    rank_NJ = np.zeros_like(expected_NJ)
    rank_NJ[:, : probability_NK.shape[1]] = 1 + probability_NK
    chosen_N: np.ndarray = np.where(is_least_NJ, rank_NJ, -1.0).argmax(axis=1)
    return chosen_N


def measure_costs(
    probability_NK: np.ndarray, label_N: np.ndarray, table: CostTable, said_N: np.ndarray | None = None
) -> Costs:
    """What the answers `said_N`, by default the most probable classes, and the decisions of least expected cost come to
    on labelled images, at least one."""
    said_N = probability_NK.argmax(axis=1) if said_N is None else said_N
    least_N = decide(probability_NK, table)
    said_cost_N, least_cost_N = table.cost_KJ[label_N, said_N], table.cost_KJ[label_N, least_N]
    is_unanswered_N = least_N == len(table.cost_KJ)
    return _compared(said_cost_N, least_cost_N, said_N != least_N, int(is_unanswered_N.sum()))


def decide_labels(probability_NK: np.ndarray, table: LabelCosts, said_NK: np.ndarray) -> np.ndarray:
    """bool (N, K): the classes that are said at the least expected cost; where both cost the same, as in `said_NK`."""
    gain_NK = probability_NK * table.missed_K - (1 - probability_NK) * table.given_K
    is_equal_NK = np.abs(gain_NK) <= 1e-12 * np.maximum(np.abs(table.missed_K), np.abs(table.given_K))
    chosen_NK: np.ndarray = np.where(is_equal_NK, said_NK, gain_NK > 0)
    return chosen_NK


def measure_label_costs(
    probability_NK: np.ndarray, label_NK: np.ndarray, table: LabelCosts, said_NK: np.ndarray
) -> Costs:
    """As `measure_costs`, where an image may have several labels; an answer changes with any of its labels."""
    least_NK = decide_labels(probability_NK, table, said_NK)
    said_cost_N, least_cost_N = table.of_answers(label_NK, said_NK), table.of_answers(label_NK, least_NK)
    return _compared(said_cost_N, least_cost_N, (said_NK != least_NK).any(axis=1), num_unanswered=0)


def _compared(
    said_cost_N: np.ndarray, least_cost_N: np.ndarray, is_changed_N: np.ndarray, num_unanswered: int
) -> Costs:
    """The costs of what was said beside those of the decisions of least expected cost, image by image."""
    low, high = paired_bootstrap(said_cost_N, least_cost_N)
    return Costs(
        said=float(said_cost_N.mean()),
        least=float(least_cost_N.mean()),
        difference=float((least_cost_N - said_cost_N).mean()),
        low=low,
        high=high,
        num_images=len(said_cost_N),
        num_changed=int(is_changed_N.sum()),
        num_unanswered=num_unanswered,
        num_differing=int((said_cost_N != least_cost_N).sum()),
    )


def read_label_costs(path: Path, classes: Sequence[str]) -> LabelCosts:
    """The costs in a CSV file with the columns `missed` and `given` and a line for each class, by name, in any order.

    Cells and errors as in `read_costs`.
    """
    rows, has_decimal_commas = _rows(path)
    where = printable(str(path))
    if sorted(rows[0][1:]) != ["given", "missed"]:
        raise DataError(
            f"{where}, line 1: where an image may have several labels, the columns are 'missed' and 'given': what a "
            f"label costs that is missed, and one that is given wrongly.\n"
            f"Such as: class,missed,given  cat,5,1  dog,1,1"
        )
    _check_names([row[0] for row in rows[1:]], list(classes), f"{where}, column 1", "line")
    cost_KJ = np.zeros((len(classes), 2))
    _fill(cost_KJ, rows, classes, ["missed", "given"], where, has_decimal_commas)
    return LabelCosts(missed_K=cost_KJ[:, 0], given_K=cost_KJ[:, 1])


def read_costs(path: Path, classes: Sequence[str]) -> CostTable:
    """The table in a CSV file: in the first line the answers, in the first column the true classes, by name, in any
    order.

    Cells are separated by commas; or by semicolons or tabs, and then 0,5 is 0.5. A column
    called `no answer` is what no answer costs. Raises DataError, or UsageError where there is no such file.
    """
    rows, has_decimal_commas = _rows(path)
    where = printable(str(path))
    columns = [name for name in rows[0][1:]]
    wanted = [*classes, NO_ANSWER] if NO_ANSWER in columns and NO_ANSWER not in classes else list(classes)
    _check_names(columns, wanted, f"{where}, line 1", "column")
    names = [row[0] for row in rows[1:]]
    _check_names(names, list(classes), f"{where}, column 1", "line")
    cost_KJ = np.zeros((len(classes), len(wanted)))
    _fill(cost_KJ, rows, classes, wanted, where, has_decimal_commas)
    return CostTable(cost_KJ=cost_KJ)


def _fill(
    cost_KJ: np.ndarray,
    rows: Sequence[Sequence[str]],
    classes: Sequence[str],
    wanted: Sequence[str],
    where: str,
    has_decimal_commas: bool,
) -> None:
    """Put the cells in their places. Raises DataError."""
    columns = rows[0][1:]
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise DataError(
                f"{where}, line {number:,} has {len(row):,} cells, and line 1 has {len(rows[0]):,}.\n"
                f"Write 0.5 with a point; or put semicolons between the cells, as a spreadsheet does that writes 0,5."
            )
        for name, cell in zip(columns, row[1:], strict=True):
            cell = cell.replace(",", ".") if has_decimal_commas else cell
            cost_KJ[classes.index(row[0]), wanted.index(name)] = _cost(cell, f"{where}, line {number:,}", name)


def _rows(path: Path) -> tuple[list[list[str]], bool]:
    """(the cells, whether commas in them are decimal ones: where they do not separate)."""
    where = printable(str(path))
    try:
        text = read_plain_file(path, MAX_BYTES, may_be_link=True).decode("utf-8-sig")
        lines = text.splitlines()
        sign = next((sign for sign in SEPARATORS if lines and sign in lines[0]), SEPARATORS[0])
        rows = [[cell.strip() for cell in row] for row in csv.reader(lines, delimiter=sign, strict=True) if any(row)]
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(f"There is no file of costs at {where}.") from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"{where}: byte {error.start + 1:,} is not UTF-8 text.\nSave the table as CSV in UTF-8."
        ) from None
    except (DocumentError, csv.Error) as error:
        raise DataError(f"{where} cannot be read as CSV: {printable(str(error))}.") from None
    if len(rows) < 2:
        raise DataError(
            f"{where} holds no table: it takes the answers in the first line and a line for each class.\n"
            f"Such as: true,cat,dog  cat,0,1  dog,5,0"
        )
    return rows, sign != SEPARATORS[0]


def _check_names(found: Sequence[str], wanted: Sequence[str], where: str, what: str) -> None:
    """Raise DataError unless `found` are exactly the names `wanted`, in any order."""
    for name in found:
        if name not in wanted:
            raise DataError(
                f"{where}: the run does not know a class '{printable(name[:200])}'.{did_you_mean(name[:200], wanted)}"
            )
        if list(found).count(name) > 1:
            raise DataError(f"{where}: '{printable(name)}' stands there twice.")
    missing = [name for name in wanted if name not in found]
    if missing:
        raise DataError(f"{where}: there is no {what} for '{printable(missing[0])}'.\nEvery class of the run has one.")


def _cost(cell: str, where: str, name: str) -> float:
    try:
        value = plain_float(cell)
    except ValueError:
        value = float("nan")
    if not math.isfinite(value) or abs(value) > MAX_COST:
        point = "\nWrite decimals with a point: 0.5." if "," in cell else ""
        raise DataError(f"{where}, column '{printable(name)}': '{printable(cell[:200])}' is not a cost.{point}")
    return value
