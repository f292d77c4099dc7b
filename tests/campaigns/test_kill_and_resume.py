"""A small run of the kill campaign: every setting, kills after steps and inside saves."""

import json
from pathlib import Path
from typing import get_args

from tests.processes import run_python

from saccade.train.config import OptimizerConfig, ScheduleConfig

REPOSITORY = Path(__file__).parent.parent.parent


def test_killed_trainings_resume_to_the_same_bits():
    done = run_python(["-m", "campaigns.kill_and_resume", "--trials", "13", "--seed", "156"], REPOSITORY)
    assert done.returncode in (0, 1), done.stderr
    result = json.loads(done.stdout)
    assert result["failures"] == []
    assert result["settings"] >= 13
    kills = result["kills"]
    assert kills["after a step"] + kills["inside a save"] >= 13
    assert kills["inside a save"] >= 0.4 * (kills["after a step"] + kills["inside a save"])


def test_the_campaign_trains_with_every_optimizer_and_schedule(monkeypatch):
    monkeypatch.syspath_prepend(REPOSITORY)
    from campaigns.small_training import SETTINGS

    chosen = {setting for settings in SETTINGS.values() for setting in settings}
    for key, config in (("optimizer.name", OptimizerConfig), ("schedule.name", ScheduleConfig)):
        names = get_args(config.model_fields["name"].annotation)
        assert {f"{key}={name}" for name in names} <= chosen
