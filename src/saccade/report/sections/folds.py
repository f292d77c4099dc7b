"""Cross-validation: the figure of all folds, each fold's own, and how they differ."""

from ...core.display import figure
from ...evaluate.verdict import percent
from ...runs.folds_folder import FoldsVerdict, FoldVerdict
from ..html import Child, Markup, element, section, table
from ..record import RunRecord
from .classes import interval_strip


def folds_section(found: FoldsVerdict, record: RunRecord) -> Markup:
    """The sentences of the folds, and a row for each."""
    is_frozen, is_number = any(fold.frozen for fold in found.folds), found.figure == "mae"
    name = "mAP" if found.figure == "map" else "correct"
    figures: list[Child] = [f"{name}, 0 to 100 %", f"{name} %"]
    headings: list[Child] = [
        "fold",
        "trained on",
        "judged on",
        *(["mean absolute error"] if is_number else figures),
        "95 % interval",
        *(["frozen up to"] if is_frozen else []),
    ]
    rows = [_row(fold, is_frozen, is_number) for fold in found.folds]
    judged = "" if record.split == "folds" else "The figure at the head of this page is of the test images. "
    return section(
        "folds",
        "Folds",
        element("p", {}, f"{judged}{found.verdict}"),
        *(element("p", {}, note) for note in found.notes),
        table(headings, rows, "What each fold is worth", numeric_from=1),
    )


def _row(fold: FoldVerdict, is_frozen: bool, is_number: bool) -> list[Child]:
    figures: list[Child] = ["-", "-"] if is_number else [None, "-", "-"]
    if fold.value is not None and fold.low is not None and fold.high is not None:
        show = figure if is_number else percent
        strip: list[Child] = [] if is_number else [interval_strip(fold.value, fold.low, fold.high)]
        figures = [*strip, show(fold.value), f"{show(fold.low)} to {show(fold.high)}"]
    return [fold.name, f"{fold.num_train:,}", f"{fold.num_judged:,}", *figures, *([fold.frozen] if is_frozen else [])]
