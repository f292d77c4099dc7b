"""What is around every page of a run: its verdict, how it stands, the pages that it has."""

import time
from typing import Any

from ....classify.run_list import progress_words, verdict_words
from ....core.errors import printable, shell_word
from ....report.record import RunRecord
from ....report.sections.verdict import verdict_header
from ....runs.standing import Standing
from ...refusal import Refusal
from .index import Run
from .records import Records
from .words import duration_words, left_words, parts_of, stage_words, time_words


def frame_of(run: Run, standing: Standing, records: Records) -> dict[str, Any]:
    """What the head of every page of a run shows. A run that cannot be read whole is shown as far as it can."""
    record, problem = None, standing.problem
    if standing.is_judged and not standing.is_ensemble:
        try:
            record = records.record(run)
        except Refusal as refusal:
            problem = problem or f"{refusal.reason.text} {refusal.reason.hint}".strip()
    return {
        "run": run,
        "name": printable(run.name),
        "record": record,
        "standing": standing,
        "head": verdict_header(record) if record else None,
        "verdict": verdict_words(standing.figure) if standing.figure else "",
        "parts": parts_of(run),
        "problem": printable(problem.replace("\n", " ")),
        "status": status_of(run, standing),
        "tabs": _tabs(record),
        "command": standing.resume_command,
        "changed": time_words(standing.active_s),
        "begun": time_words(standing.begun_s or 0),
        "path": shell_word(run.path),
    }


def _tabs(record: RunRecord | None) -> list[tuple[str, str, str]]:
    """(name, title, what follows the address of the run) of each page that there is."""
    if record is None:
        return []
    of_one = [("mistakes", "Mistakes"), ("classes", "Classes"), ("calibration", "Calibration"), ("ranking", "ROC")]
    judged = of_one if has_cells(record) else [("answers", "Answers")]
    rest = [("network", "Network"), ("data", "Data and reproduce")]
    return [("overview", "Overview", ""), *((name, title, f"/{name}") for name, title in [*judged, *rest])]


def has_cells(record: RunRecord | None) -> bool:
    """Whether an image has one class, so that a matrix can show what is confused."""
    return record is not None and not record.task.is_several and not record.task.is_number


def status_of(run: Run, standing: Standing) -> dict[str, Any]:
    """What a page polls; its keys are read by `static/runs/run.js`."""
    now_s = time.time()
    silent_s = standing.silent_s(now_s)
    is_stale = standing.is_stale(now_s)
    return {
        "state": standing.state,
        "version": run.watched.changes,
        "changed_s": round(silent_s, 1),
        "is_stale": is_stale,
        "stage": stage_words(standing) if standing.state == "running" else progress_words(standing),
        "left": left_words(standing.left_s(now_s)),
        "silence": f"The training has been silent for {duration_words(silent_s)}." if is_stale else "",
    }
