"""A transfer that is killed in each of its stages goes on to the same bits, and keeps what was finished."""

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.group import start_group
from tests.transfer.test_together import CHILD, KILLED, adapted, given, ready, what_counts

__all__ = ["given"]  # the fixture
pytestmark = pytest.mark.skipif(sys.platform == "darwin", reason="torch's processes of one machine are tried on Linux")

# Where it dies (function, at which call), in the order of the stages, by what is frozen.
STAGES = {
    "auto": [
        ("saccade.transfer.features:_keep", 2),
        ("saccade.transfer.ladder:judge_probe", 2),
        ("saccade.transfer.evidence:_train", 3),
        ("saccade.transfer.start_point:right_images", 1),  # the last layer is fitted, and not yet kept
        ("saccade.train.final_evaluation:write_verdict", 1),
    ],
    "stem": [
        ("saccade.train.step:TrainingStep.run", 4),
        ("saccade.train.final_evaluation:write_verdict", 1),
    ],
}


@pytest.mark.parametrize("freeze", [*STAGES])
def test_a_transfer_that_is_killed_in_each_stage_is_the_one_that_was_not(freeze: str, given: Path, tmp_path: Path):
    folders = [tmp_path / name for name in ("whole", "killed")]
    for folder in folders:
        folder.mkdir()
    whole, folder = (ready(folder, given) for folder in folders)
    said = adapted(freeze, 1, whole)
    finished: dict[str, Any] = {}
    for place, call in STAGES[freeze]:
        (program,) = start_group([KILLED, signal.SIGKILL.value, place, "0", call, CHILD, freeze], 1, folder)
        done = program.communicate()
        assert done.returncode == -signal.SIGKILL, (place, done)
        path = folder / "run" / "measured.json"
        kept = json.loads(path.read_text())["fits"] if path.exists() else {}
        assert finished.items() <= kept.items(), f"{place}: what was finished was made again"
        finished = kept
    again = adapted(freeze, 1, folder)
    fits = json.loads((folder / "run" / "measured.json").read_text())["fits"] if finished else {}
    assert finished.items() <= fits.items()
    assert {**again, "counts": 0} == {**said, "counts": 0}
    assert what_counts(folder) == what_counts(whole)
